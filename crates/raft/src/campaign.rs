//! When this node calls elections. One that should rather not lead leaves them to the others, but not for ever: it may be the only one that holds
//! all of the log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_state::Campaign;
use tokio::time::Instant;

use crate::node::{Config, RaftNode};

/// Whether this node holds back, and when it last heard a leader.
pub(crate) struct Campaigns {
    is_late: AtomicBool,
    may: AtomicBool,
    heard: Mutex<Instant>,
    /// After how long a silence a node that holds back calls an election all the same.
    late: Duration,
}

impl Campaigns {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            late: LATE.max(LATE_ELECTIONS * config.election_max),
            is_late: AtomicBool::new(false),
            may: AtomicBool::new(true),
            heard: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn set(&self, when: Campaign) {
        self.is_late.store(when == Campaign::Late, Ordering::Relaxed);
    }

    /// Notes that somebody leads.
    pub(crate) fn hear_leader(&self, now: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// Whether this node calls an election when its time has come.
    pub(crate) fn may(&self) -> bool {
        self.may.load(Ordering::Relaxed)
    }

    /// Decides anew. Gives the decision if it is another one.
    fn decide(&self, now: Instant) -> Option<bool> {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = now.saturating_duration_since(heard);
        let may = !self.is_late.load(Ordering::Relaxed) || silence >= self.late;
        (self.may.swap(may, Ordering::Relaxed) != may).then_some(may)
    }
}

/// Tells openraft.
pub(crate) async fn run(node: Arc<RaftNode>) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if node.leads() {
            node.campaigns.hear_leader(Instant::now());
        }
        let Some(may) = node.campaigns.decide(Instant::now()) else {
            continue;
        };
        node.raft.runtime_config().elect(may);
        if may {
            tracing::info!("this node calls elections again");
        } else {
            tracing::info!("this node calls no elections while others can");
        }
    }
}

/// Ten elections with the default times: others that can lead have done so by then.
const LATE: Duration = Duration::from_secs(10);
/// An election that is won by somebody else takes two or three of the longest silences.
const LATE_ELECTIONS: u32 = 10;
const TICK: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_not_never() {
        let config = |election_max| Config {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max,
            snapshot_log_bytes: 0,
        };
        assert_eq!(Campaigns::new(&config(3 * LATE)).late, 30 * LATE);
        let campaigns = Campaigns::new(&config(LATE / 20));
        let mut now = Instant::now();
        campaigns.hear_leader(now);
        assert_eq!(campaigns.decide(now + 2 * LATE), None);
        campaigns.set(Campaign::Late);
        assert_eq!((campaigns.decide(now), campaigns.may()), (Some(false), false));
        assert_eq!(campaigns.decide(now + LATE - TICK), None);
        now += LATE;
        campaigns.hear_leader(now - TICK);
        assert_eq!(campaigns.decide(now), None, "somebody leads");
        now += LATE;
        assert_eq!((campaigns.decide(now), campaigns.may()), (Some(true), true));
        campaigns.hear_leader(now);
        assert_eq!(campaigns.decide(now), Some(false));
        campaigns.set(Campaign::AtOnce);
        assert_eq!(campaigns.decide(now), Some(true));
    }
}
