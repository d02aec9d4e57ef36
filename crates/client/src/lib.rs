//! The Rust SDK of Aumbry.
//!
//! What it guarantees:
//! - A request is tried again only if it certainly was not applied, or if trying again is safe: reads always, writes because each
//!   carries an idempotency key.
//! - All tries of a request have one request id, so that their audit records belong together.
//! - Tokens and shares are wiped when dropped, as far as the transport lets go of them.
//!
//! What it does not do: cache, or decide for the caller what an unknown outcome means.

mod backup;
mod builder;
mod client;
mod connection;
mod dispatch;
mod encoded;
mod error;

pub use aumbry_api::v1;
pub use backup::{Restoring, SavedBackup};
pub use builder::Builder;
pub use client::Client;
#[doc(hidden)]
pub use connection::{Authorize, Authorized};
pub use dispatch::Dispatch;
#[doc(hidden)]
pub use encoded::Encoded;
pub use error::Error;
