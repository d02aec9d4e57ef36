//! Logins by a browser: the authorization code flow of OpenID Connect, with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0).
//!
//! Whoever logs in asks for an address ([`Begin`]), opens it in a browser, and brings what the issuer sent the browser back with ([`Callback`]). The code in
//! it is exchanged for an ID token, which is verified and compared as any token that is shown.
//!
//! What it guarantees:
//! - Nothing is stored for a login that has only begun. All there is to know of it is the state, sealed: any node can finish what another began, and nobody
//!   fills the store without a code of the issuer's.
//! - A state is good at its mount, for five minutes, while the configuration and the role are what they were, and once: the entry of the login that used it
//!   has a row of its id, and of two at once one finds the row of the other.
//! - The code is worth nothing without the verifier, and the answer nothing without the nonce of who asked; both are in the sealed state or not told at all.
//!
//! What it does not do: ask anybody. Whoever calls it exchanges the code, once for each request, outside of any plan. It does not ask for more about a user
//! than the ID token claims (`userinfo`).

pub(super) mod access;
mod begin;
mod callback;
mod exchange;
pub(super) mod redirect;
mod state;
mod text;

pub use begin::{Begin, BeginError, Begun, Known, begin, prepare_begin};
pub use callback::{Callback, login, prepare};
pub use exchange::{Exchange, Form, Tokens, TokensError};

/// What a client is told whose mount is not set up for it, as Vault says it: interfaces look for this text.
pub const NOT_SET_UP: &str = "OIDC login is not configured for this mount";
