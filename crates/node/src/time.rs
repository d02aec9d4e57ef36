//! The leader's log time.

use aumbry_types::{Clock, LogTime, WallTime};

use crate::clocks::{self, Verdict};

/// Gives log time while this node leads: from a start fixed at takeover, on by the time that elapsed, whatever the wall clock does. It is steered
/// gently towards the voters' clocks, never back and never by a step.
pub(crate) struct Timekeeper {
    at: LogTime,
    boottime_ms: u64,
    /// How far log time is behind the voters' clocks (+) or ahead of them (-): what is still to be made up.
    correction_ms: i64,
}

impl Timekeeper {
    /// Starts at takeover, from `carried`: the log's last time, and what has elapsed since this node has seen it. If a majority of the voters'
    /// clocks bears out this node's own, it starts from that, unless that is behind. A leader whose clock is years ahead must not expire everything
    /// and then freeze time.
    pub(crate) fn take_over(clock: &dyn Clock, carried: LogTime, verdict: &Verdict) -> Self {
        let own = clock.wall();
        let is_borne_out = verdict.agreed.is_some_and(|agreed| clocks::are_close(own, agreed));
        // An empty log has no time to go on from.
        let is_first = carried.0 == 0;
        let at = if is_borne_out || is_first {
            LogTime(own.0.max(carried.0))
        } else {
            carried
        };
        Self {
            at,
            boottime_ms: clock.boottime_ms(),
            correction_ms: 0,
        }
    }

    /// Now. Never runs backwards.
    pub(crate) fn now(&self, clock: &dyn Clock) -> LogTime {
        let elapsed = clock.boottime_ms().saturating_sub(self.boottime_ms);
        let slew_max = i64::try_from(elapsed / SLEW_PART).unwrap_or(i64::MAX);
        let slew = self.correction_ms.clamp(-slew_max, slew_max);
        LogTime(self.at.0.saturating_add(elapsed).saturating_add_signed(slew))
    }

    /// From now on goes towards the time that the voters' clocks agree on; if they do not, on by the time that elapses.
    pub(crate) fn steer(&mut self, clock: &dyn Clock, agreed: Option<WallTime>) {
        let now = self.now(clock);
        *self = Self {
            at: now,
            boottime_ms: clock.boottime_ms(),
            correction_ms: agreed.map_or(0, |agreed| clocks::difference_ms(agreed.0, now.0)),
        };
    }
}

/// Log time is at most a tenth faster or slower than time: a lifetime is kept within a tenth, and an hour is made up in ten.
const SLEW_PART: u64 = 10;

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedClock;

    use super::*;

    fn agreed(ms: Option<u64>) -> Verdict {
        Verdict {
            agreed: ms.map(WallTime),
            ..Verdict::default()
        }
    }

    #[test]
    fn takes_over_and_goes_on() {
        let year = 365 * 86_400_000;
        let check = |own: u64, carried: u64, median: Option<u64>, expect: u64| {
            let clock = SimulatedClock::new(WallTime(own));
            let keeper = Timekeeper::take_over(&clock, LogTime(carried), &agreed(median));
            assert_eq!(keeper.now(&clock), LogTime(expect));
            clock.set_wall(WallTime(0));
            clock.advance_ms(5);
            assert_eq!(
                keeper.now(&clock),
                LogTime(expect + 5),
                "elapsed time counts, the wall clock does not"
            );
        };
        // The first one of all.
        check(1_000, 0, None, 1_000);
        // Borne out, and not behind the log.
        check(1_000, 900, Some(1_001), 1_000);
        check(1_000, 2_000, Some(1_000), 2_000);
        // Ahead, behind, and nobody knows.
        check(10 * year, 2_000, Some(2_000), 2_000);
        check(100_000, 150_000, Some(200_000), 150_000);
        check(10 * year, 2_000, None, 2_000);
    }

    #[test]
    fn is_steered_gently_and_never_back() {
        let check = |median: Option<u64>, after_ms: u64, expect: u64| {
            let clock = SimulatedClock::new(WallTime(0));
            let mut keeper = Timekeeper::take_over(&clock, LogTime(1_000_000), &agreed(None));
            keeper.steer(&clock, median.map(WallTime));
            clock.advance_ms(after_ms);
            assert_eq!(keeper.now(&clock), LogTime(expect), "{median:?} after {after_ms} ms");
            keeper.steer(&clock, None);
            assert_eq!(keeper.now(&clock), LogTime(expect), "steering is no step");
            clock.advance_ms(10);
            assert_eq!(keeper.now(&clock), LogTime(expect + 10));
        };
        check(None, 1_000, 1_001_000);
        check(Some(1_000_000), 1_000, 1_001_000);
        // An hour ahead and an hour behind: a tenth faster, a tenth slower.
        check(Some(4_600_000), 1_000, 1_001_100);
        check(Some(0), 1_000, 1_000_900);
        check(Some(u64::MAX), 1_000, 1_001_100);
        // What is made up is made up.
        check(Some(1_000_050), 1_000, 1_001_050);
    }
}
