//! A wrapped value, which can be taken out once.

use crate::model::Model;
use crate::{Operation, Reply};

/// The model of one wrapping.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrapping;

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrapped {
    /// Nothing was wrapped yet.
    Nothing,
    /// It holds this value.
    Full(u64),
    /// The value was taken out.
    Spent,
}

impl Model for Wrapping {
    type State = Wrapped;

    fn initial(&self) -> Wrapped {
        Wrapped::Nothing
    }

    fn answer(&self, state: &Wrapped, operation: &Operation) -> Option<(Reply, Option<Wrapped>)> {
        Some(match (operation, *state) {
            (Operation::Wrap { value, .. }, Wrapped::Nothing) => (Reply::Done, Some(Wrapped::Full(*value))),
            (Operation::Unwrap { .. }, Wrapped::Full(value)) => (Reply::Unwrapped { value }, Some(Wrapped::Spent)),
            (Operation::Wrap { .. } | Operation::Unwrap { .. }, _) => (Reply::Refused, None),
            _ => return None,
        })
    }

    fn accepts(&self, _: &Wrapped, _: &Operation, answer: &Reply, told: &Reply) -> bool {
        answer == told
    }
}
