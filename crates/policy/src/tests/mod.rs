//! Tests of the crate as its users see it.

mod decisions;
mod parsing;
mod reference;
mod vault;

use crate::Policy;

/// A policy that a test knows to be right.
fn policy(text: &str) -> Policy {
    match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => panic!("{text}: {error}"),
    }
}
