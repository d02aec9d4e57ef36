//! The leader's log time.

use aumbry_types::{Clock, LogTime, WallTime};

/// Gives log time while this node leads: from a start fixed at takeover, on by the time that elapsed, whatever the wall clock does.
pub(crate) struct Timekeeper {
    start: LogTime,
    boottime_ms: u64,
}

impl Timekeeper {
    /// Starts at takeover: from the node's own clock, if the median of the voters' clocks bears it out and it is not behind the log;
    /// from the log's last time otherwise. A leader whose clock is years ahead must not expire everything and then freeze time.
    pub(crate) fn take_over(clock: &dyn Clock, last: LogTime, peers: &[WallTime]) -> Self {
        let own = clock.wall();
        let mut clocks = peers.to_vec();
        clocks.push(own);
        clocks.sort_unstable();
        let median = clocks[(clocks.len() - 1) / 2];
        let is_borne_out = own.0.abs_diff(median.0) <= DEVIATION_MS_MAX;
        let start = if is_borne_out || last.0 == 0 {
            LogTime(own.0.max(last.0))
        } else {
            last
        };
        Self {
            start,
            boottime_ms: clock.boottime_ms(),
        }
    }

    /// Now. Never runs backwards.
    pub(crate) fn now(&self, clock: &dyn Clock) -> LogTime {
        self.start.plus_ms(clock.boottime_ms().saturating_sub(self.boottime_ms))
    }
}

/// Clocks that are kept by any time service differ by far less.
const DEVIATION_MS_MAX: u64 = 30_000;

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedClock;

    use super::*;

    #[test]
    fn takes_over_and_goes_on() {
        let year = 365 * 86_400_000;
        let check = |own: u64, last: u64, peers: &[u64], expect: u64| {
            let clock = SimulatedClock::new(WallTime(own));
            let peers: Vec<_> = peers.iter().map(|ms| WallTime(*ms)).collect();
            let keeper = Timekeeper::take_over(&clock, LogTime(last), &peers);
            assert_eq!(keeper.now(&clock), LogTime(expect));
            clock.set_wall(WallTime(0));
            clock.advance_ms(5);
            assert_eq!(
                keeper.now(&clock),
                LogTime(expect + 5),
                "elapsed time counts, the wall clock does not"
            );
        };
        check(1_000, 0, &[], 1_000);
        check(1_000, 900, &[1_001, 1_002], 1_000);
        check(1_000, 2_000, &[1_000, 1_000], 2_000);
        check(10 * year, 2_000, &[2_000, 2_001], 2_000);
        check(100_000, 150_000, &[200_000, 200_001], 150_000);
    }
}
