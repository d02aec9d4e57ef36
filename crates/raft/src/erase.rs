//! What was replaced or removed goes from this node's disk, and not only from what it answers.
//!
//! Rows that were written over stay in table files, entries in the log, and both in snapshots that were sent. What it guarantees: once [`Erasure::go_on`]
//! has given an index, no file of rows, log and snapshots holds what a row was before the state at that index.
//!
//! What it does not do: look at what operators moved aside or copied away; overwrite blocks that the file system has given back, which a disk may
//! keep for itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_state::{Erased, Obstacle};
use aumbry_types::LogIndex;
use tokio::time::Instant;

use crate::compaction::{needed_by_the_living, newer_snapshot, snapshot_index};
use crate::node::RaftNode;
use crate::snapshots::oldest_index;
use crate::transfer::parts;

/// An erasure that has begun. It is done in pieces, each of which can meet with an obstacle and be tried again; what is done stays done.
pub struct Erasure {
    node: Arc<RaftNode>,
    /// What was applied when it began.
    index: LogIndex,
    are_rows_done: bool,
    /// The last entry that may lie in files with what is to go.
    log_end: Option<u64>,
    parts: Option<Parts>,
}

impl Erasure {
    /// Begins to erase what came before the state that is applied now.
    #[must_use]
    pub fn begin(node: &Arc<RaftNode>) -> Self {
        Self {
            node: Arc::clone(node),
            index: LogIndex(node.shared.facts().last.map_or(0, |id| id.index)),
            are_rows_done: false,
            log_end: None,
            parts: None,
        }
    }

    /// Does what can be done now. Gives the index of the state before which nothing is left, once that is so.
    ///
    /// # Errors
    /// [`Obstacle`] if it is to be tried again later.
    pub async fn go_on(&mut self) -> Result<LogIndex, Obstacle> {
        if !self.are_rows_done {
            self.erase_rows().await?;
            self.are_rows_done = true;
        }
        self.purge_log().await?;
        self.remove_files().await?;
        Ok(self.index)
    }

    async fn erase_rows(&self) -> Result<(), Obstacle> {
        let (shared, space) = (Arc::clone(&self.node.shared), Arc::clone(&self.node.space));
        blocking(move || {
            // All rows are written once more.
            if !shared.has_room_for_copy(&space) {
                return Err(Obstacle::Room);
            }
            shared.flush();
            shared.db().erase_replaced().map_err(|_| Obstacle::Reader)
        })
        .await
    }

    async fn purge_log(&mut self) -> Result<(), Obstacle> {
        let node = &self.node;
        let end = *self.log_end.get_or_insert_with(|| {
            // All that is applied is durable since the rows were flushed, so it lies before the new file.
            node.log.renew();
            node.log.last_index().unwrap_or(0)
        });
        let is_purged = || node.log.first_index().is_none_or(|first| first > end) && snapshot_index(node) >= end;
        if !is_purged() {
            let covered = snapshot_index(node);
            if covered < end {
                // What is not applied yet is not covered.
                node.raft.trigger().snapshot().await.map_err(|_| Obstacle::Log)?;
                let _ = tokio::time::timeout(PATIENCE, newer_snapshot(node, covered)).await;
            }
            let upto = end.min(snapshot_index(node)).min(needed_by_the_living(node));
            if upto > 0 {
                node.raft.trigger().purge_log(upto).await.map_err(|_| Obstacle::Log)?;
            }
        }
        (is_purged() && node.log.is_renewed())
            .then_some(())
            .ok_or(Obstacle::Log)
    }

    async fn remove_files(&mut self) -> Result<(), Obstacle> {
        let (shared, index) = (Arc::clone(&self.node.shared), self.index.0);
        let parts = blocking(move || {
            let removed = shared.remove_reached();
            let left = oldest_index(&shared.snapshots);
            let is_left = !matches!((removed, left), (Ok(()), Ok(left)) if left.is_none_or(|left| left >= index));
            (!is_left)
                .then(|| Parts::find(&shared.snapshots, Instant::now()))
                .ok_or(Obstacle::Transfer)
        })
        .await?
        .follow(self.parts.take());
        let is_done = parts.found.is_empty();
        self.parts = Some(parts);
        is_done.then_some(()).ok_or(Obstacle::Transfer)
    }
}

/// Parts of snapshots that were on their way here, with their sizes, and since when they are so.
struct Parts {
    found: Vec<(PathBuf, u64)>,
    since: Instant,
}

impl Parts {
    fn find(directory: &Path, now: Instant) -> Self {
        let size = |path: &PathBuf| path.metadata().map_or(0, |found| found.len());
        Self {
            found: parts(directory).map(|path| (path.clone(), size(&path))).collect(),
            since: now,
        }
    }

    /// What is there now, as the successor of what was there before. What nobody went on with for a while is removed.
    fn follow(self, before: Option<Self>) -> Self {
        let Some(before) = before.filter(|before| before.found == self.found) else {
            return self;
        };
        if self.since.duration_since(before.since) < BROKEN_OFF {
            return before;
        }
        let is_left = |(path, _): &(PathBuf, u64)| std::fs::remove_file(path).is_err();
        Self {
            found: before.found.into_iter().filter(is_left).collect(),
            ..self
        }
    }
}

/// How far a node is, as a peer is told it.
#[must_use]
pub fn erased_to_wire(erased: &Erased) -> wire::Erased {
    let obstacle = match erased.obstacle {
        None => wire::Obstacle::Unspecified,
        Some(Obstacle::Reader) => wire::Obstacle::Reader,
        Some(Obstacle::Room) => wire::Obstacle::Room,
        Some(Obstacle::Log) => wire::Obstacle::Log,
        Some(Obstacle::Transfer) => wire::Obstacle::Transfer,
        Some(Obstacle::SetAside) => wire::Obstacle::SetAside,
    };
    wire::Erased {
        mark: bytes::Bytes::copy_from_slice(&erased.mark),
        index: erased.index.0,
        obstacle: obstacle.into(),
    }
}

/// What a peer told. One that knows nothing of it has erased nothing.
pub(crate) fn from_wire(erased: &wire::Erased) -> Erased {
    Erased {
        mark: erased.mark.as_ref().try_into().unwrap_or_default(),
        index: LogIndex(erased.index),
        obstacle: match erased.obstacle() {
            wire::Obstacle::Unspecified => None,
            wire::Obstacle::Reader => Some(Obstacle::Reader),
            wire::Obstacle::Room => Some(Obstacle::Room),
            wire::Obstacle::Log => Some(Obstacle::Log),
            wire::Obstacle::Transfer => Some(Obstacle::Transfer),
            wire::Obstacle::SetAside => Some(Obstacle::SetAside),
        },
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => aumbry_storage::fatal("erasing what was replaced", error),
    }
}

/// For a snapshot, which is a flush. Whoever waits longer tries again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a part may lie there as it is: much longer than the stall after which a transfer is given up, so that nobody writes to it any more.
const BROKEN_OFF: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_erased_survives_the_wire() {
        let obstacles = [
            Obstacle::Reader,
            Obstacle::Room,
            Obstacle::Log,
            Obstacle::Transfer,
            Obstacle::SetAside,
        ];
        for obstacle in obstacles.map(Some).into_iter().chain([None]) {
            let (mark, index) = ([7; 16], LogIndex(9));
            let erased = Erased { mark, index, obstacle };
            assert_eq!(from_wire(&erased_to_wire(&erased)), erased);
        }
        assert_eq!(from_wire(&wire::Erased::default()), Erased::default());
    }

    #[test]
    fn parts_that_broke_off_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let look = |seconds, before| Parts::find(dir.path(), start + Duration::from_secs(seconds)).follow(before);
        assert!(look(0, None).found.is_empty());
        let (old, young) = (dir.path().join("old.part"), dir.path().join("young.part"));
        std::fs::write(&old, "1").unwrap();
        let seen = look(0, None);
        // Somebody goes on with it.
        std::fs::write(&old, "12").unwrap();
        let seen = look(300, Some(seen));
        let seen = look(899, Some(seen));
        assert!(old.exists());
        std::fs::write(&young, "1").unwrap();
        let seen = look(900, Some(seen));
        assert!(
            old.exists() && seen.found.len() == 2,
            "another came: both are waited for"
        );
        assert!(look(1500, Some(seen)).found.is_empty() && !old.exists() && !young.exists());
    }
}
