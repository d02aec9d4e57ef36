//! Waiting for a secret to change. No server sends changes by itself: the secret's metadata is asked for at intervals, which shows no value and is on record
//! as what it is.

use std::time::Duration;

use aumbry_api::v1::KvGetMetadataRequest;
use aumbry_types::{Clock as _, SystemClock};

use crate::client::jittered;
use crate::{Client, Error};

/// What is known of a secret at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The current version; 0 if there is none.
    pub version: u64,
    /// Whether it can be read.
    pub is_readable: bool,
}

/// A secret that is looked at from time to time.
pub struct Watch {
    client: Client,
    path: String,
    interval: Duration,
    seen: Option<Seen>,
}

impl Watch {
    /// Looks at a secret at intervals of at most this, and at least a second.
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>, interval: Duration) -> Self {
        Self {
            client: client.clone(),
            path: path.into(),
            interval: interval.max(INTERVAL_MIN),
            seen: None,
        }
    }

    /// What is there: at once the first time, and then whenever it has changed. Changes between two looks are seen as one.
    ///
    /// # Errors
    /// [`Error`] if it may not be looked at, or nobody answers. The next call goes on.
    pub async fn changed(&mut self) -> Result<Seen, Error> {
        loop {
            if self.seen.is_some() {
                tokio::time::sleep(jittered(self.interval)).await;
            }
            let now = self.look().await?;
            if self.seen != Some(now) {
                self.seen = Some(now);
                return Ok(now);
            }
        }
    }

    async fn look(&self) -> Result<Seen, Error> {
        let request = KvGetMetadataRequest {
            path: self.path.clone(),
            ..KvGetMetadataRequest::default()
        };
        let reply = match self.client.call(request).await {
            Ok(reply) => reply,
            Err(error) if error.reason() == "NOT_FOUND" => return Ok(Seen::default()),
            Err(error) => return Err(error),
        };
        let version = reply.current_version;
        let current = reply.versions.iter().find(|info| info.version == version);
        Ok(Seen {
            version,
            is_readable: current.is_some_and(|info| !info.destroyed && !is_past(info.deleted_at_ms)),
        })
    }
}

/// Whether a time in milliseconds has come; 0 is never. A version may be due to be deleted later.
fn is_past(ms: u64) -> bool {
    ms > 0 && ms <= SystemClock.wall().0
}

/// More often than this, thousands of watchers would be a load that nobody asked for.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
