//! States of browser logins for which the issuer was asked already.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_types::ObjectId;

/// The states with which a code was shown that the issuer gave its word on, good or bad. With each it is asked once: whoever guesses codes begins anew for each
/// of them, where the beginnings are counted.
///
/// It is in the leader's memory: a new leader asks once more.
#[derive(Default)]
pub(crate) struct TriedStates(Mutex<VecDeque<(ObjectId, u64)>>);

impl TriedStates {
    /// Whether the issuer was asked with this one.
    pub(super) fn has(&self, state: ObjectId) -> bool {
        self.lock().iter().any(|(tried, _)| *tried == state)
    }

    /// Remembers one for as long as any state is good, by the time since boot. Beyond the bound the oldest is forgotten.
    pub(super) fn add(&self, state: ObjectId, boottime_ms: u64) {
        let mut tried = self.lock();
        while tried
            .front()
            .is_some_and(|(_, since)| boottime_ms.saturating_sub(*since) > KEPT_MS)
            || tried.len() >= STATES_MAX
        {
            tried.pop_front();
        }
        tried.push_back((state, boottime_ms));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(ObjectId, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state is good for five minutes, by a clock that may go a little slower than this one.
const KEPT_MS: u64 = 6 * 60 * 1_000;
/// Three a second for as long as a state is good, in 24 KiB; to look through them takes microseconds, beside a question over the network.
const STATES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(n: usize) -> ObjectId {
        ObjectId::from_bytes((n as u128).to_be_bytes())
    }

    #[test]
    fn states_are_remembered_while_they_are_good_and_within_a_bound() {
        let tried = TriedStates::default();
        tried.add(state(1), 0);
        tried.add(state(2), KEPT_MS);
        assert!(tried.has(state(1)) && tried.has(state(2)) && !tried.has(state(3)));
        tried.add(state(3), KEPT_MS + 1);
        assert!(!tried.has(state(1)) && tried.has(state(2)) && tried.has(state(3)));
        for n in 0..STATES_MAX {
            tried.add(state(10 + n), KEPT_MS + 2);
        }
        assert_eq!(tried.lock().len(), STATES_MAX);
        assert!(!tried.has(state(3)) && tried.has(state(10)));
    }
}
