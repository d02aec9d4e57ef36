//! TLS certificates: who connects with a certificate that is named here, or that an authority named here signed, gets in.
//!
//! What it guarantees: the connection proved that its other end has the certificate's key; the chain, its times and its purpose are verified by webpki,
//! and what the certificate says is compared with what an entry demands. A token is renewed by who shows the certificate that it was given for, as long as
//! that would still get in, and is good for nothing beside a certificate of somebody else. Whatever is wrong, a client is told the same; why is on record.
//! What it does not do: fetch lists of revoked certificates or ask anybody (OCSP). Lists are written here.

mod binding;
mod config;
mod entry;
mod facts;
mod login;
mod request;

pub use binding::{check_renewal, is_beside_another, prepare_renewal};
pub use login::{Challenge, LoginRequest, Verified, login, prepare};
pub use request::{Request, plan};

/// What a client is told of any refusal.
pub const REFUSED: &str = "invalid certificate or no client certificate supplied";
