//! Waiting that does not run out while the whole machine stands still.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Waits until a condition holds, for at most a minute and a half in which this process was running: what one look takes counts for a few seconds at
/// most, so that processes that are stopped together, or a machine that sleeps, fail nothing.
pub(crate) async fn within<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> Result<()> {
    let mut left = LIVENESS;
    loop {
        let begun = Instant::now();
        if holds().await {
            return Ok(());
        }
        tokio::time::sleep(POLL).await;
        let Some(rest) = left.checked_sub(begun.elapsed().min(LOOK_MAX)) else {
            bail!("not within {LIVENESS:?}: {what}");
        };
        left = rest;
    }
}

/// What is promised after the last fault, on a machine that does much else at the same time. Elections take some hundred milliseconds.
pub(crate) const LIVENESS: Duration = Duration::from_secs(90);
pub(crate) const POLL: Duration = Duration::from_millis(25);
/// Above what a request to a node that does not answer takes.
const LOOK_MAX: Duration = Duration::from_secs(10);
