//! What this node knows of the voters' clocks: on which time a majority of them agrees, and whether its own is far off.
//!
//! A clock is wrong if a majority of all voters says so. Where no majority agrees nobody can say who is right, so no clock is believed: log time
//! goes on from where it was, by the time that elapses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_state::{Campaign, Status};
use aumbry_types::{Clock, LogTime, NodeId, WallTime};

use crate::Node;

/// The clocks that this node has heard, and the log's time as it has seen it.
#[derive(Default)]
pub(crate) struct Clocks {
    known: Mutex<Known>,
    is_off: AtomicBool,
}

#[derive(Default)]
struct Known {
    /// A peer's wall clock, and the time since boot when it was heard: it has gone on since.
    peers: BTreeMap<NodeId, (WallTime, u64)>,
    /// The log's time, and the time since boot when it was first seen.
    log: (LogTime, u64),
    verdict: Verdict,
}

/// What the clocks add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The median of the voters' clocks, if those of a majority are known.
    pub(crate) median: Option<WallTime>,
    /// The same, if a majority of all voters is close to it.
    pub(crate) agreed: Option<WallTime>,
    /// Whether hearing more clocks could still change that.
    pub(crate) is_open: bool,
}

impl Clocks {
    /// Takes note of a peer's clock.
    pub(crate) fn hear(&self, peer: NodeId, wall: WallTime, boottime_ms: u64) {
        self.lock().peers.insert(peer, (wall, boottime_ms));
    }

    /// Looks at all clocks and at the log.
    pub(crate) fn look(&self, clock: &dyn Clock, status: &Status) -> Verdict {
        let (own, now) = (clock.wall(), clock.boottime_ms());
        let voters: Vec<NodeId> = status.members.iter().filter(|m| m.voter).map(|m| m.id).collect();
        let mut known = self.lock();
        known.peers.retain(|id, (_, heard)| {
            now.saturating_sub(*heard) <= FRESH_MS && status.members.iter().any(|member| member.id == *id)
        });
        if known.log.0.0 < status.log_time {
            known.log = (LogTime(status.log_time), now);
        }
        let mut clocks: Vec<WallTime> = voters
            .iter()
            .filter_map(|id| known.peers.get(id))
            .map(|(wall, heard)| WallTime(wall.0.saturating_add(now.saturating_sub(*heard))))
            .collect();
        // A node that belongs to no cluster yet is all there is.
        if voters.is_empty() || voters.contains(&status.node) {
            clocks.push(own);
        }
        let verdict = judge(clocks, voters.len().max(1));
        known.verdict = verdict;
        drop(known);
        // While no majority agrees, what was found stands.
        if let Some(agreed) = verdict.agreed {
            self.conclude(own, agreed);
        }
        verdict
    }

    /// The log's time, and what has elapsed since it was seen. Never ahead of what a leader would give.
    pub(crate) fn carried(&self, clock: &dyn Clock) -> LogTime {
        let (time, seen) = self.lock().log;
        if time.0 == 0 {
            return time;
        }
        time.plus_ms(clock.boottime_ms().saturating_sub(seen))
    }

    /// Whether this node's own clock is far off that of a majority.
    pub(crate) fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    fn conclude(&self, own: WallTime, agreed: WallTime) {
        let is_off = !are_close(own, agreed);
        if self.is_off.swap(is_off, Ordering::Relaxed) == is_off {
            return;
        }
        if is_off {
            tracing::warn!(
                ahead_s = difference_ms(own.0, agreed.0) / 1_000,
                "this node's clock is far off those of the other voters: it leaves elections to them and admits no nodes; set its clock"
            );
        } else {
            tracing::info!("this node's clock is right again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// How long ago a peer was heard (ms); none if that is too long to count on it.
    #[must_use]
    pub fn silence_ms(&self, peer: NodeId) -> Option<u64> {
        let (_, heard) = *self.clocks.lock().peers.get(&peer)?;
        Some(self.clock.boottime_ms().saturating_sub(heard))
    }

    /// How far this node's clock is ahead of the median of the voters' clocks (ms), if those of a majority are known.
    #[must_use]
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let median = self.clocks.lock().verdict.median?;
        Some(difference_ms(self.clock.wall().0, median.0))
    }
}

/// Keeps log time near the voters' clocks while this node leads, and a node whose clock is far off, or whose disk is nearly full, from leading.
pub(crate) fn tend(node: &Node, status: &Status) {
    let verdict = node.clocks.look(&*node.clock, status);
    if let Some(time) = &mut node.sequencer.lock().time {
        time.steer(&*node.clock, verdict.agreed);
    }
    node.consensus
        .campaign(if node.clocks.is_off() || node.is_short_of_room() {
            Campaign::Late
        } else {
            Campaign::AtOnce
        });
}

/// Whether two clocks are as close as clocks are that any time service keeps.
pub(crate) const fn are_close(a: WallTime, b: WallTime) -> bool {
    a.0.abs_diff(b.0) <= DEVIATION_MS_MAX
}

/// How far `a` is ahead of `b`.
pub(crate) fn difference_ms(a: u64, b: u64) -> i64 {
    let apart = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a < b { -apart } else { apart }
}

fn judge(mut clocks: Vec<WallTime>, voters: usize) -> Verdict {
    let majority = voters / 2 + 1;
    clocks.sort_unstable();
    let median = clocks.get(clocks.len().saturating_sub(1) / 2).copied();
    let median = median.filter(|_| clocks.len() >= majority);
    let agreed = median.filter(|median| {
        let close = clocks.iter().filter(|clock| are_close(**clock, *median));
        close.count() >= majority
    });
    Verdict {
        median,
        agreed,
        is_open: agreed.is_none() && clocks.len() < voters,
    }
}

/// Clocks that are kept by any time service differ by far less.
const DEVIATION_MS_MAX: u64 = 30_000;
/// Peers are asked every second; a clock that was heard a few seconds ago can be counted on, also if its node has died since.
const FRESH_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use aumbry_state::Member;
    use aumbry_types::SimulatedClock;

    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_700_000_000_000;

    #[test]
    fn a_majority_of_all_voters_must_agree() {
        let check = |clocks: &[u64], voters: usize, median: Option<u64>, agreed: Option<u64>, is_open: bool| {
            let verdict = judge(clocks.iter().copied().map(WallTime).collect(), voters);
            let (median, agreed) = (median.map(WallTime), agreed.map(WallTime));
            let expected = Verdict {
                median,
                agreed,
                is_open,
            };
            assert_eq!(verdict, expected, "{clocks:?} of {voters}");
        };
        check(&[], 3, None, None, true);
        check(&[NOW], 1, Some(NOW), Some(NOW), false);
        check(&[NOW], 2, None, None, true);
        check(&[NOW, NOW + 30_000], 2, Some(NOW), Some(NOW), false);
        check(&[NOW, NOW + 30_001], 2, Some(NOW), None, false);
        check(&[NOW], 3, None, None, true);
        check(&[NOW, NOW + 1], 3, Some(NOW), Some(NOW), false);
        check(&[NOW, 87_600 * HOUR + NOW], 3, Some(NOW), None, true);
        check(
            &[87_600 * HOUR + NOW, NOW, NOW + 2],
            3,
            Some(NOW + 2),
            Some(NOW + 2),
            false,
        );
        // Show 3: nobody can say who is right.
        check(
            &[NOW + HOUR, NOW + 87_600 * HOUR, NOW - HOUR],
            3,
            Some(NOW + HOUR),
            None,
            false,
        );
        check(&[NOW, NOW, NOW + HOUR, NOW + HOUR], 5, Some(NOW), None, true);
        check(&[NOW, NOW, NOW, NOW + HOUR, 0], 5, Some(NOW), Some(NOW), false);
    }

    fn three_voters(log_time: u64) -> Status {
        let member = |id| Member {
            id: NodeId(id),
            voter: true,
            ..Member::default()
        };
        Status {
            node: NodeId(1),
            log_time,
            members: [1, 2, 3].map(member).to_vec(),
            ..Status::default()
        }
    }

    #[test]
    fn a_clock_that_is_off_is_noticed_and_that_stands_until_a_majority_says_otherwise() {
        let (clocks, status) = (Clocks::default(), three_voters(0));
        let clock = SimulatedClock::new(WallTime(NOW + HOUR));
        assert!(clocks.look(&clock, &status).is_open);
        assert!(!clocks.is_off(), "nobody knows");
        for peer in [2, 3] {
            clocks.hear(NodeId(peer), WallTime(NOW), clock.boottime_ms());
        }
        assert_eq!(clocks.look(&clock, &status).agreed, Some(WallTime(NOW)));
        assert!(clocks.is_off());
        // What was heard goes on with time, and is old at last.
        clock.advance_ms(FRESH_MS);
        assert_eq!(clocks.look(&clock, &status).agreed, Some(WallTime(NOW + FRESH_MS)));
        clock.advance_ms(1);
        assert_eq!(clocks.look(&clock, &status).agreed, None);
        assert!(clocks.is_off());
        clock.set_wall(WallTime(NOW));
        clocks.hear(NodeId(2), WallTime(NOW), clock.boottime_ms());
        clocks.look(&clock, &status);
        assert!(!clocks.is_off());
    }

    #[test]
    fn the_logs_time_is_carried_on_by_what_has_elapsed() {
        let clocks = Clocks::default();
        let clock = SimulatedClock::new(WallTime(NOW));
        clocks.look(&clock, &three_voters(0));
        assert_eq!(clocks.carried(&clock), LogTime(0));
        clocks.look(&clock, &three_voters(500));
        clock.advance_ms(100);
        clocks.look(&clock, &three_voters(500));
        assert_eq!(clocks.carried(&clock), LogTime(600));
        clocks.look(&clock, &three_voters(550));
        assert_eq!(clocks.carried(&clock), LogTime(550));
    }
}
