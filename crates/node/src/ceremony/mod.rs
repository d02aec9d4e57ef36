//! What the holders of key shares do together, while the cluster is open: [`rekey`] and [`generate_root`].
//!
//! What holds of both:
//! - One of a kind is under way at a time. It is a row, so that a leader that ends leaves it to the next one; it ends an hour after it began, and with the
//!   shares that it was begun for.
//! - A share counts for the session that it is shown to, by the session's nonce, and for no other. Each is checked by itself, and counts once.
//! - What was shown stands sealed in the session's row, and goes with it. Fewer shares than open the seal stand there.
//! - Every step is on record, and none of it takes a share from a request into a record.

pub mod generate_root;
pub mod rekey;

mod given;
mod session;
mod share_text;

pub use share_text::read as read_share;
