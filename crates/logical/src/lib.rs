//! What engines and auth methods are asked by path, and how they answer, whatever the transport: a verb, a path and a body of named values.
//!
//! What it guarantees: a body is bounded in size and depth before any of it is looked at, a value is read as one type or refused by its
//! name, and neither `Debug` nor an error repeats a value.
//! What it does not do: route, decide, or know any engine.

mod body;
mod verb;

pub use body::{Body, BodyError, FieldError, Object};
pub use verb::Verb;
