//! Refusals before authentication: the first of each kind one by one, the rest as a count. Nobody fills the log without a token.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts refusals by operation and source, a minute at a time.
#[derive(Default)]
pub(crate) struct Refusals {
    counts: Mutex<Counts>,
    /// When an entry was written last for those who wait for one, by the time since boot.
    proved_ms: AtomicU64,
}

#[derive(Default)]
struct Counts {
    minute: u64,
    by_source: BTreeMap<(&'static str, String), u64>,
    /// Of minutes that have ended; the flush takes them.
    ended: BTreeMap<(&'static str, String), u64>,
}

impl Refusals {
    /// Counts one. True if it is to be recorded by itself.
    pub(crate) fn count(&self, operation: &'static str, source: &str, boottime_ms: u64) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.turn(boottime_ms / 60_000);
        let key = (operation, source.to_owned());
        let is_full = counts.by_source.len() >= SOURCES_MAX && !counts.by_source.contains_key(&key);
        let key = if is_full { (operation, OTHERS.to_owned()) } else { key };
        let count = counts.by_source.entry(key).or_default();
        *count += 1;
        *count <= SINGLE_MAX && !is_full
    }

    /// Whether one who waits may have an entry written: now and then one of all may, however many they are.
    pub(crate) fn may_prove(&self, boottime_ms: u64) -> bool {
        let last = self.proved_ms.load(Ordering::Relaxed);
        let is_due = boottime_ms.saturating_sub(last) >= PROOF_MS;
        is_due
            && self
                .proved_ms
                .compare_exchange(last, boottime_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The counts of minutes that have ended, without those recorded one by one.
    pub(crate) fn take_ended(&self, boottime_ms: u64) -> Vec<(&'static str, String, u64)> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.turn(boottime_ms / 60_000);
        let ended = std::mem::take(&mut counts.ended);
        ended
            .into_iter()
            .map(|((op, source), count)| (op, source, count))
            .collect()
    }

    /// Takes back what could not be recorded.
    pub(crate) fn put_back(&self, ended: Vec<(&'static str, String, u64)>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for (operation, source, count) in ended {
            counts.end(operation, source, count);
        }
    }
}

impl Counts {
    fn turn(&mut self, minute: u64) {
        if minute == self.minute {
            return;
        }
        self.minute = minute;
        for ((operation, source), count) in std::mem::take(&mut self.by_source) {
            let single = if source == OTHERS { 0 } else { SINGLE_MAX };
            if count > single {
                self.end(operation, source, count - single);
            }
        }
    }

    /// Adds to the counts that wait for the flush: no count is lost, but beyond a bound its source is.
    fn end(&mut self, operation: &'static str, source: String, count: u64) {
        let is_full = self.ended.len() >= SOURCES_MAX && !self.ended.contains_key(&(operation, source.clone()));
        let source = if is_full { OTHERS.to_owned() } else { source };
        let ended = self.ended.entry((operation, source)).or_default();
        *ended = ended.saturating_add(count);
    }
}

/// Ten small entries a second at most: a flood without a token must not fill the log.
const PROOF_MS: u64 = 100;
/// Enough to see what an attempt looks like.
const SINGLE_MAX: u64 = 10;
/// Sources counted apart; further ones are counted together.
const SOURCES_MAX: usize = 1_024;
const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 85.
    #[test]
    fn counts_the_flood() {
        let refusals = Refusals::default();
        let single = (0..25).filter(|_| refusals.count("kv.get", "10.0.0.1", 0)).count();
        assert_eq!(single, 10);
        assert!(refusals.count("kv.get", "10.0.0.2", 0));
        assert_eq!(refusals.take_ended(59_999), vec![]);
        assert_eq!(refusals.take_ended(60_000), vec![("kv.get", "10.0.0.1".to_owned(), 15)]);
        assert_eq!(refusals.take_ended(120_000), vec![]);
        for n in 0..5_000 {
            refusals.count("kv.get", &n.to_string(), 120_000);
        }
        let ended = refusals.take_ended(180_000);
        assert_eq!(ended, vec![("kv.get", "others".to_owned(), 5_000 - 1_024)]);
    }

    #[test]
    fn what_is_put_back_is_taken_again_within_bounds() {
        let refusals = Refusals::default();
        refusals.put_back(vec![("kv.get", "a".to_owned(), 3), ("kv.put", "a".to_owned(), 4)]);
        refusals.put_back(vec![("kv.get", "a".to_owned(), 5)]);
        let expect = vec![("kv.get", "a".to_owned(), 8), ("kv.put", "a".to_owned(), 4)];
        assert_eq!(refusals.take_ended(0), expect);
        assert_eq!(refusals.take_ended(0), vec![]);
        for _ in 0..2 {
            refusals.put_back((0..5_000).map(|n| ("kv.get", n.to_string(), 1)).collect());
        }
        let ended = refusals.take_ended(0);
        assert_eq!(ended.len(), SOURCES_MAX + 1);
        assert_eq!(ended.iter().map(|(_, _, count)| count).sum::<u64>(), 10_000);
    }
}
