//! How often each kind of fault has struck. A kind that never does is a fault of the harness.

use std::collections::BTreeMap;

use crate::with;

/// The counts by kind.
pub type Strikes = BTreeMap<&'static str, u64>;

/// Counts a fault that has had an effect.
pub fn count(kind: &'static str) {
    with(|world| *world.strikes.entry(kind).or_default() += 1);
}

/// All counts so far.
#[must_use]
pub fn all() -> Strikes {
    with(|world| world.strikes.clone())
}
