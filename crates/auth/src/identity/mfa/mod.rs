//! A second factor at logins: a one-time code by time, where an enforcement asks for it.
//!
//! What it guarantees: a code is good once, on whichever node; five wrong codes of an entity close its second factor for five minutes, whatever node they are
//! sent to; a login that waits for its code is good once, and for five minutes. What it does not do: hand out a code's secret again.

mod codes;
mod enforcement;
mod method;
mod pending;
mod plan;
mod request;

pub use codes::Codes;
pub use enforcement::{Enforcements, Wanted};
pub use pending::{LoginWaits, Validation, hold, validate};
pub use plan::plan;
pub use request::Request;
