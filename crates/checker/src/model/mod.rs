//! What the answers would be if operations came one after the other: one file for each thing that has state of its own.

mod kv;
mod tokens;
mod wrapping;

use core::fmt;
use core::hash::Hash;

use crate::{Operation, Reply};

pub use kv::{Kv, Secret};
pub use tokens::{Token, Tokens};
pub use wrapping::{Wrapped, Wrapping};

/// A sequential specification.
pub trait Model {
    /// All that later answers depend on.
    type State: Clone + Eq + Hash + fmt::Debug;

    /// Before the first operation.
    fn initial(&self) -> Self::State;

    /// What the operation is told in this state, and the next state unless it stays as it is. `None` if the operation means nothing
    /// to this model.
    fn answer(&self, state: &Self::State, operation: &Operation) -> Option<(Reply, Option<Self::State>)>;

    /// Whether a client may be told this where the answer is that: where a client is told less, or where several answers are right.
    fn accepts(&self, state: &Self::State, operation: &Operation, answer: &Reply, told: &Reply) -> bool;
}
