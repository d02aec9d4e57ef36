//! Listeners with bounds: connections whose TLS handshake is done, or without TLS, bounded in number and in time, in all and for each address.
//!
//! What it guarantees: one address cannot take the places of all others, neither by connections nor by handshakes that it does not end; the
//! bytes that a client makes the node hold are counted against a budget of its address and one of the node.
//! What it does not do: know what is spoken on a connection, or who may speak.

mod connection;
mod listener;
mod share;

pub use connection::Connection;
pub use listener::{Bounds, Incoming, accept, accept_plain, accept_plain_as};
#[doc(hidden)]
pub use share::shares_for_tests;
pub use share::{Held, Memory, Share};
