//! How many requests are let in. What is let in is served soon; what would wait is refused at once, with a hint to try again.
//!
//! A disk that stops for a moment makes everybody wait once. So nobody is refused before all entries were slow for a while, which is what a load does that
//! is too large.

use std::sync::atomic::{AtomicU64, Ordering};

use aumbry_types::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Counts the requests inside of the node, and knows how long they wait.
pub(crate) struct Admission {
    places: Semaphore,
    /// Since when all entries were slow, in milliseconds since boot; 0 if the last one was not.
    slow_since_ms: AtomicU64,
}

impl Admission {
    pub(crate) const fn new() -> Self {
        Self {
            places: Semaphore::const_new(PLACES),
            slow_since_ms: AtomicU64::new(0),
        }
    }

    /// Lets a request in until what is given is dropped, or refuses it.
    pub(crate) fn admit(&self, clock: &dyn Clock) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok()?;
        let inside = PLACES - self.places.available_permits();
        // A few are always served: without them nobody would learn that it is not slow any more.
        (inside <= PLACES_ALWAYS || !self.is_slow(clock.boottime_ms())).then_some(place)
    }

    fn is_slow(&self, now_ms: u64) -> bool {
        let since = self.slow_since_ms.load(Ordering::Relaxed);
        since != 0 && now_ms.saturating_sub(since) > SLOW_FOR_MS
    }

    /// Notes since when the oldest command of an entry had waited whose outcome is known now.
    pub(crate) fn note(&self, since_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(since_ms) <= WAIT_MAX_MS {
            self.slow_since_ms.store(0, Ordering::Relaxed);
        } else if self.slow_since_ms.load(Ordering::Relaxed) == 0 {
            self.slow_since_ms.store(now_ms.max(1), Ordering::Relaxed);
        }
    }
}

/// Each may hold a value of 1 MiB.
const PLACES: usize = 4_096;
/// Some four entries of a busy leader.
const PLACES_ALWAYS: usize = 256;
/// More than any quorum needs to answer; a client that waits longer asks again, and makes it worse.
const WAIT_MAX_MS: u64 = 250;
/// Longer than it takes to serve what has gathered while the disk stopped for as long as the above.
const SLOW_FOR_MS: u64 = 200;

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedClock;

    use super::*;

    #[test]
    fn a_node_that_is_slow_for_a_while_lets_a_few_in() {
        let admission = Admission::new();
        let clock = SimulatedClock::default();
        let now = || clock.boottime_ms();
        let enter = |count: usize| (0..count).map_while(|_| admission.admit(&clock)).collect::<Vec<_>>();
        clock.advance_ms(10_000);
        let slow = || admission.note(now() - WAIT_MAX_MS - 1, now());
        slow();
        assert_eq!(enter(PLACES + 1).len(), PLACES, "one that was slow is no load");
        clock.advance_ms(SLOW_FOR_MS + 1);
        slow();
        let few = enter(PLACES);
        assert_eq!(few.len(), PLACES_ALWAYS);
        assert!(admission.admit(&clock).is_none());
        admission.note(now() - WAIT_MAX_MS, now());
        let more = enter(PLACES);
        assert_eq!(few.len() + more.len(), PLACES);
    }
}
