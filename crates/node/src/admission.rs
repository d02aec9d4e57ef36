//! How many requests are let in. What is let in is served soon; what would wait is refused at once, with a hint to try again.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts the requests inside of the node, and knows how long they wait.
pub(crate) struct Admission {
    places: Semaphore,
    /// How long the oldest command of the last entry had waited, in milliseconds.
    waited_ms: AtomicU64,
}

impl Admission {
    pub(crate) const fn new() -> Self {
        Self {
            places: Semaphore::const_new(PLACES),
            waited_ms: AtomicU64::new(0),
        }
    }

    /// Lets a request in until what is given is dropped, or refuses it.
    pub(crate) fn admit(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok()?;
        let inside = PLACES - self.places.available_permits();
        let is_slow = self.waited_ms.load(Ordering::Relaxed) > WAIT_MAX_MS;
        // A few are always served: without them nobody would learn that it is not slow any more.
        (inside <= PLACES_ALWAYS || !is_slow).then_some(place)
    }

    /// Notes how long the oldest command of an entry had waited when its outcome was known.
    pub(crate) fn note_wait(&self, waited_ms: u64) {
        self.waited_ms.store(waited_ms, Ordering::Relaxed);
    }
}

/// Each may hold a value of 1 MiB.
const PLACES: usize = 4_096;
/// Some four entries of a busy leader.
const PLACES_ALWAYS: usize = 256;
/// More than any quorum needs to answer; a client that waits longer asks again, and makes it worse.
const WAIT_MAX_MS: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_slow_lets_a_few_in() {
        let admission = Admission::new();
        let enter = |count: usize| (0..count).map_while(|_| admission.admit()).collect::<Vec<_>>();
        let few = enter(PLACES_ALWAYS);
        admission.note_wait(WAIT_MAX_MS + 1);
        assert!(admission.admit().is_none());
        drop(few);
        let few = enter(PLACES);
        assert_eq!(few.len(), PLACES_ALWAYS);
        admission.note_wait(WAIT_MAX_MS);
        let more = enter(PLACES);
        assert_eq!(few.len() + more.len(), PLACES);
    }
}
