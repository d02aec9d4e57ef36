//! Tells the node's log when a sink is too far behind, and when it is not any more.

use std::sync::Arc;
use std::time::Duration;

use super::{Sinks, lines};
use crate::lifecycle::Lifecycle;

/// Watches the sinks for ever. Without one there is nothing to watch.
pub(super) async fn watch(sinks: Arc<Sinks>, lifecycle: Arc<Lifecycle>) {
    if sinks.sinks.is_empty() {
        return;
    }
    let bound = Duration::from_secs(lifecycle.config().audit.alarm_lag_s);
    let mut late = vec![false; sinks.sinks.len()];
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(member) = lifecycle.member() else {
            continue;
        };
        let size = lines::size(&member);
        let now = lifecycle.clock.wall().0;
        for (sink, was_late) in sinks.sinks.iter().zip(&mut late) {
            let (records, age) = sink.lag(&member, size, now);
            let is_late = age >= bound;
            if is_late == *was_late {
                continue;
            }
            *was_late = is_late;
            let (sink, seconds) = (&sink.labels.sink, age.as_secs());
            if is_late {
                tracing::error!(
                    sink,
                    records,
                    seconds,
                    "ALARM: an audit sink lags; see deploy/runbooks/audit-sink.md"
                );
            } else {
                tracing::info!(sink, records, seconds, "the audit sink has caught up");
            }
        }
    }
}

/// Far below any bound that makes sense for people.
const LOOK: Duration = Duration::from_secs(1);
