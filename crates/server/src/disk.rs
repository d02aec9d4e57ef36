//! Measures the room on the node's disk, for as long as the node runs. Nobody waits for it: what is asked of the disk can take for ever.

use std::sync::Arc;
use std::time::Duration;

use aumbry_storage::Space;

use crate::lifecycle::Lifecycle;

/// Measures every second, until the node stops.
pub(crate) async fn watch(lifecycle: Arc<Lifecycle>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !lifecycle.is_stopping() {
        tick.tick().await;
        let space: Arc<Space> = Arc::clone(&lifecycle.space);
        // One at a time: a disk that hangs takes one thread, and not one more each second.
        if tokio::task::spawn_blocking(move || space.measure()).await.is_err() {
            return;
        }
    }
}

/// The reserve holds what comes in within some of them at the full rate of a disk.
const EVERY: Duration = Duration::from_secs(1);
