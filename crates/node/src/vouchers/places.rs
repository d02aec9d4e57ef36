//! The places of those for whom a service is asked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded number, of which nobody has all.
#[derive(Default)]
pub(super) struct Places(Mutex<BTreeMap<String, usize>>);

/// One that is taken, until it is dropped.
pub(super) struct Place<'a> {
    places: &'a Places,
    source: String,
}

impl Places {
    /// Takes a place for somebody from this address. `None` if all are taken, or all that may be from there.
    pub(super) fn take(&self, source: &str) -> Option<Place<'_>> {
        let mut taken = self.lock();
        let own = taken.get(source).copied().unwrap_or_default();
        if own >= SHARE_MAX || taken.values().sum::<usize>() >= PLACES_MAX {
            return None;
        }
        taken.insert(source.to_owned(), own + 1);
        Some(Place {
            places: self,
            source: source.to_owned(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

/// A service that answers does so within milliseconds; one that hangs leaves most places of the leader to others.
const PLACES_MAX: usize = 64;
/// Enough for many users behind one address, as answers come within milliseconds; and three others like it still get in.
const SHARE_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places() {
        let places = Places::default();
        let take = |source: &str| std::iter::from_fn(|| places.take(source)).collect::<Vec<_>>();
        let first = take("10.0.0.1");
        assert_eq!(first.len(), SHARE_MAX);
        let others: Vec<_> = (2..=4).map(|n| take(&format!("10.0.0.{n}"))).collect();
        assert!(others.iter().all(|others| others.len() == SHARE_MAX));
        assert!(places.take("10.0.0.5").is_none(), "all are taken");
        drop(first);
        assert_eq!(take("10.0.0.5").len(), SHARE_MAX);
        drop(others);
        assert!(places.lock().is_empty());
    }
}
