//! When the leader was heard last: a follower that lost it goes on naming it, since no later one is elected where there is no quorum.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aumbry_types::NodeId;
use tokio::time::Instant;

/// Who sent the last entries or heartbeat, and when.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Option<(NodeId, Instant)>>);

impl Heard {
    /// Notes that a node leads, as far as its message says.
    pub(crate) fn note(&self, node: NodeId, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((node, now));
    }

    /// Whether this node was heard last, and less than this long ago.
    pub(crate) fn is_within(&self, silence: Duration, node: NodeId, now: Instant) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|(heard, at)| heard == node && now.saturating_duration_since(at) < silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_went_silent_is_no_longer_heard() {
        let (heard, silence, start) = (Heard::default(), Duration::from_secs(1), Instant::now());
        let hears = |node, after| heard.is_within(silence, NodeId(node), start + after);
        assert!(!hears(1, Duration::ZERO), "nobody was heard yet");
        heard.note(NodeId(1), start);
        assert!(hears(1, Duration::ZERO) && hears(1, silence / 2) && !hears(2, Duration::ZERO));
        assert!(!hears(1, silence));
        heard.note(NodeId(2), start + silence);
        assert!(hears(2, silence) && !hears(1, silence));
    }
}
