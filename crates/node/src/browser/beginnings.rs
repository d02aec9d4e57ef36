//! How many addresses of browser logins are given in a minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts what was given, by source, a minute at a time. Each address that leaves is on record by itself, and nobody fills the log without a token: so there is
/// a bound on them.
#[derive(Default)]
pub(crate) struct Beginnings(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    minute: u64,
    by_source: BTreeMap<String, u32>,
    /// Of all sources for which there was no place.
    others: u32,
}

impl Beginnings {
    /// Takes one of a source's.
    ///
    /// # Errors
    /// How long there is none (ms).
    pub(super) fn take(&self, source: &str, boottime_ms: u64) -> Result<(), u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = boottime_ms / MINUTE_MS;
        if counts.minute != minute {
            *counts = Counts {
                minute,
                ..Counts::default()
            };
        }
        let has_place = counts.by_source.len() < SOURCES_MAX || counts.by_source.contains_key(source);
        let (count, max) = match has_place {
            true => (counts.by_source.entry(source.to_owned()).or_default(), GIVEN_MAX),
            false => (&mut counts.others, OTHERS_MAX),
        };
        if *count >= max {
            return Err(MINUTE_MS - boottime_ms % MINUTE_MS);
        }
        *count += 1;
        Ok(())
    }
}

const MINUTE_MS: u64 = 60_000;
/// An office behind one address begins its day; and one a second fills no log.
const GIVEN_MAX: u32 = 60;
/// Sources counted apart, as many as of refusals; further ones are counted together.
const SOURCES_MAX: usize = 1_024;
/// Ten small entries a second at most, as of whatever else is asked for without a token.
const OTHERS_MAX: u32 = 600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_number_a_minute() {
        let given = Beginnings::default();
        let take = |source: &str, now| (0..1_000).take_while(|_| given.take(source, now).is_ok()).count();
        assert_eq!(take("10.0.0.1", 15_000), 60);
        assert_eq!(given.take("10.0.0.1", 15_000), Err(45_000));
        assert_eq!(take("10.0.0.2", 15_000), 60);
        assert_eq!(take("10.0.0.1", 60_000), 60);
        // Many sources have a number together, and take nothing from those that came before.
        for n in 1..1_024 {
            assert_eq!(given.take(&n.to_string(), 60_000), Ok(()));
        }
        assert_eq!(take("10.0.0.3", 60_000), 600);
        assert!(given.take("10.0.0.4", 60_000).is_err());
        assert_eq!(given.take("1", 60_000), Ok(()));
        assert_eq!(given.take("10.0.0.4", 120_000), Ok(()));
    }
}
