//! The Rust SDK of Aumbry.
//!
//! What it guarantees:
//! - A request is tried again only if it certainly was not applied, or if trying again is safe: reads always, writes because each
//!   carries an idempotency key.
//! - All tries of a request have one request id, so that their audit records belong together.
//! - Tokens, shares and cached secrets are wiped when dropped, as far as the transport lets go of them.
//! - A [`Session`] keeps its token alive, and logs in anew before and when it ends; nobody else has to know.
//! - A [`Cache`] gives nothing that is older than its bound, and nothing once its own token is known to be none.
//!
//! What it does not do: decide for the caller what an unknown outcome means.

mod backup;
mod builder;
mod cache;
mod client;
mod connection;
mod dispatch;
mod encoded;
mod error;
mod login;
mod session;
mod watch;

pub use aumbry_api::{Reply, v1};
pub use backup::{Restoring, SavedBackup};
pub use builder::Builder;
pub use cache::{Bounds, Cache, Secret};
pub use client::{Client, Position};
#[doc(hidden)]
pub use connection::{Authorize, Authorized};
pub use dispatch::Dispatch;
#[doc(hidden)]
pub use encoded::Encoded;
pub use error::Error;
pub use login::{Evidence, Login};
pub use session::Session;
pub use watch::{Seen, Watch};
