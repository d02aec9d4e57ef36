//! Tasks.

use std::time::Duration;

pub use tokio::task::*;

/// Does work that may block, on this thread, after a while.
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let wait = aumbry_sim_world::below(WAIT_MS_MAX);
    spawn(async move {
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        work()
    })
}

/// A pool of threads gets to it soon, as a rule.
const WAIT_MS_MAX: u64 = 4;
