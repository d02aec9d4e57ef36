//! What was taken of each quota, by whom.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aumbry_types::ObjectId;

use super::Quota;

/// Measures that refill with time, one for each quota and each who is counted apart.
#[derive(Default)]
pub(crate) struct Measures(Mutex<BTreeMap<(ObjectId, String), Measure>>);

struct Measure {
    /// Thousandths of requests that are left.
    left_milli: u64,
    /// When that was so, by the time since boot.
    at_ms: u64,
    blocked_until_ms: u64,
}

impl Measures {
    /// Takes one request. Fails with the milliseconds after which the next one may be made.
    pub(crate) fn take(&self, id: ObjectId, quota: &Quota, who: String, now_ms: u64) -> Result<(), u64> {
        let mut measures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (id, who);
        let is_known = measures.contains_key(&key);
        if !is_known && measures.len() >= MEASURES_MAX {
            // Who has not asked for an hour has a full measure anyway.
            measures.retain(|_, measure| now_ms.saturating_sub(measure.at_ms) < IDLE_MS);
        }
        // Beyond the bound they share one: many addresses do not make a limit go away.
        let key = match !is_known && measures.len() >= MEASURES_MAX {
            true => (id, OTHERS.to_owned()),
            false => key,
        };
        let size_milli = quota.rate_milli.max(ONE);
        let measure = measures.entry(key).or_insert(Measure {
            left_milli: size_milli,
            at_ms: now_ms,
            blocked_until_ms: 0,
        });
        if now_ms < measure.blocked_until_ms {
            return Err(measure.blocked_until_ms - now_ms);
        }
        let interval_ms = quota.interval_ms.max(1);
        let passed_ms = now_ms.saturating_sub(measure.at_ms);
        let gained = u128::from(passed_ms) * u128::from(quota.rate_milli) / u128::from(interval_ms);
        if gained > 0 || measure.left_milli >= size_milli {
            let full = u128::from(measure.left_milli)
                .saturating_add(gained)
                .min(u128::from(size_milli));
            measure.left_milli = u64::try_from(full).unwrap_or(size_milli);
            measure.at_ms = now_ms;
        }
        if measure.left_milli >= ONE {
            measure.left_milli -= ONE;
            return Ok(());
        }
        if quota.block_ms > 0 {
            measure.blocked_until_ms = now_ms.saturating_add(quota.block_ms);
            return Err(quota.block_ms);
        }
        let missing = u128::from(ONE - measure.left_milli);
        let wait_ms = (missing * u128::from(interval_ms)).div_ceil(u128::from(quota.rate_milli.max(1)));
        Err(u64::try_from(wait_ms).unwrap_or(u64::MAX).max(1))
    }
}

const ONE: u64 = 1_000;
/// Some megabytes.
const MEASURES_MAX: usize = 65_536;
const IDLE_MS: u64 = 3_600_000;
const OTHERS: &str = "others";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quotas::GroupBy;

    fn quota(rate_milli: u64, interval_ms: u64, block_ms: u64) -> Quota {
        Quota {
            name: "q".to_owned(),
            path: String::new(),
            role: String::new(),
            rate_milli,
            interval_ms,
            block_ms,
            group_by: GroupBy::Address,
        }
    }

    fn taken(measures: &Measures, quota: &Quota, who: &str, times: usize, now_ms: u64) -> usize {
        let take = |_: &usize| {
            measures
                .take(ObjectId::well_known(1), quota, who.to_owned(), now_ms)
                .is_ok()
        };
        (0..times).filter(take).count()
    }

    #[test]
    fn a_measure_refills_with_time() {
        let measures = Measures::default();
        let five = quota(5_000, 1_000, 0);
        assert_eq!(taken(&measures, &five, "a", 10, 0), 5);
        assert_eq!(taken(&measures, &five, "b", 10, 0), 5, "others are counted apart");
        assert_eq!(
            measures.take(ObjectId::well_known(1), &five, "a".to_owned(), 0),
            Err(200)
        );
        assert_eq!(taken(&measures, &five, "a", 10, 199), 0);
        assert_eq!(taken(&measures, &five, "a", 10, 400), 2);
        assert_eq!(
            taken(&measures, &five, "a", 10, 100_000),
            5,
            "and no more than it holds"
        );
        // Less than one a second, by small steps of time.
        let half = quota(500, 1_000, 0);
        let allowed: usize = (0..10_000)
            .step_by(7)
            .map(|now| taken(&measures, &half, "c", 1, now))
            .sum();
        assert_eq!(allowed, 1 + 4, "one at once, and one each two seconds");
    }

    #[test]
    fn who_is_blocked_waits_for_the_whole_time() {
        let measures = Measures::default();
        let blocking = quota(1_000, 1_000, 60_000);
        assert_eq!(taken(&measures, &blocking, "a", 3, 0), 1);
        assert_eq!(taken(&measures, &blocking, "a", 3, 59_999), 0);
        assert_eq!(taken(&measures, &blocking, "a", 3, 60_000), 1);
    }

    #[test]
    fn many_addresses_share_one_measure_beyond_the_bound() {
        let measures = Measures::default();
        let one = quota(1_000, 1_000_000, 0);
        let allowed: usize = (0..MEASURES_MAX + 100)
            .map(|n| taken(&measures, &one, &n.to_string(), 1, 0))
            .sum();
        assert_eq!(allowed, MEASURES_MAX + 1);
    }
}
