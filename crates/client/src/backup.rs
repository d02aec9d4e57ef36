//! Backups: saved from a node to a stream of bytes, and restored from one.

use std::time::Duration;

use aumbry_api::failure_of;
use aumbry_api::v1::cluster_service_client::ClusterServiceClient;
use aumbry_api::v1::{self, SnapshotPart};
use futures::Stream;
use prost::bytes::Bytes;
use tonic::{Request, Status, Streaming};

use crate::{Client, Error};

/// A backup on its way from a node. It is whole only once [`Self::next`] has given `None`.
pub struct SavedBackup {
    parts: Streaming<SnapshotPart>,
    size: u64,
}

impl SavedBackup {
    /// How many bytes the backup has; 0 before its first part.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes; `None` once the backup is whole.
    ///
    /// # Errors
    /// [`Error`] if it is cut off, or the node fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let part = tokio::time::timeout(STALL_TIMEOUT, self.parts.message()).await;
        let part = part.unwrap_or_else(|_| Err(Status::deadline_exceeded("the node sent nothing for two minutes")));
        match part.map_err(failed)? {
            Some(part) if part.end => Ok(None),
            Some(part) => {
                self.size = self.size.max(part.size);
                Ok(Some(part.data))
            }
            None => Err(failed(Status::data_loss("the backup was cut off: take it again"))),
        }
    }
}

/// A restore on its way to a node.
pub struct Restoring {
    progress: Streaming<v1::SnapshotProgress>,
}

impl Restoring {
    /// What the node says next: how far it is, and in the last message what it has become.
    ///
    /// # Errors
    /// [`Error`] if the node refuses the backup. Then nothing was changed.
    pub async fn next(&mut self) -> Result<v1::SnapshotProgress, Error> {
        let progress = tokio::time::timeout(RESTORE_TIMEOUT, self.progress.message()).await;
        let progress = progress.unwrap_or_else(|_| Err(Status::deadline_exceeded("the node says nothing any more")));
        let cut_off = || failed(Status::unavailable("the node went away; see its log"));
        progress.map_err(failed)?.ok_or_else(cut_off)
    }
}

impl Client {
    /// Takes a backup of everything from an endpoint, the first by default.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn save_backup(&self, endpoint: Option<&str>) -> Result<SavedBackup, Error> {
        let mut service =
            ClusterServiceClient::new(self.connection(endpoint)?).max_decoding_message_size(PART_BYTES_MAX);
        let asking = service.snapshot_save(self.timed(v1::SnapshotSaveRequest::default()));
        let parts = self.once(asking).await?;
        Ok(SavedBackup { parts, size: 0 })
    }

    /// Restores a backup into an endpoint, the first by default, which must be a fresh node.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn restore_backup(
        &self,
        endpoint: Option<&str>,
        parts: impl Stream<Item = SnapshotPart> + Send + 'static,
    ) -> Result<Restoring, Error> {
        let mut service = ClusterServiceClient::new(self.connection(endpoint)?);
        // No deadline: it takes as long as the backup is large. Both sides notice when nothing moves.
        let progress = self.once(service.snapshot_restore(Request::new(parts))).await?;
        Ok(Restoring { progress })
    }
}

fn failed(status: Status) -> Error {
    Error::Failure(Box::new(failure_of(&status)))
}

/// A node adds up what it has written before it sends the first part.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// A node adds up what it has received, and builds its stores, before the last message.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(3_600);
const PART_BYTES_MAX: usize = 4 << 20;
