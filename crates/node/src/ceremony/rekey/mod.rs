//! New key shares: the holders of the old ones show them, new ones are made, tried, and take the place of the old ones in one entry.
//!
//! ```text
//! start -> old shares, as many as open the seal -> new shares, told once -> new shares, as many as will open it -> the seal is changed
//! ```
//!
//! What it guarantees, beside what holds of all [`ceremonies`](super):
//! - One set of shares opens the seal at any time: the old one until the entry that replaces its configuration, the new one from then on. A leader that
//!   ends at any step leaves the session where it was, for the next leader to go on with.
//! - New shares are in no row until they are tried.
//! - Everything takes a token with `sudo`, and the old shares beside it.
//!
//! With `rotate_root` the entry replaces the root key as well: the keyring is wrapped under the new one, and what the old one opens, in a seal of a key, a backup or on a
//! copied disk, is a keyring of that time. Nodes that are open are handed the key of the new keyring, and stay open; that is taken away after an hour.

mod plan;
mod request;
mod session;

pub(crate) use plan::plan;
pub use request::Request;
