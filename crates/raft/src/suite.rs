//! openraft's own conformance tests, on the real stores.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use aumbry_storage::{DataDir, Wal};
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};

use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::Snapshot;
use crate::types::{RaftEntry, RaftLogId, SnapshotMeta, StoredMembership, TypeConfig, raft_log_id};

/// The real state machine, with blank entries in the gaps that the tests leave between the entries they apply. Raft leaves none, and the
/// audit segments refuse them by ending the process.
struct Gapless(StateMachine);

impl RaftStateMachine<TypeConfig> for Gapless {
    type SnapshotData = PathBuf;
    type SnapshotBuilder = StateMachine;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        self.0.applied_state().await
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut next = self.applied_state().await?.0.map(|last| last.index + 1);
        let mut filled = Vec::new();
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let id = entry.log_id;
            for index in next.unwrap_or(id.index)..id.index {
                let log_id = raft_log_id(id.leader_id.term, id.leader_id.node_id, index);
                let payload = EntryPayload::Blank;
                filled.push(Ok((RaftEntry { log_id, payload }, None)));
            }
            filled.push(Ok((entry, responder)));
            next = Some(id.index + 1);
        }
        self.0.apply(futures::stream::iter(filled)).await
    }

    async fn get_snapshot_builder(&mut self) -> StateMachine {
        self.0.get_snapshot_builder().await
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: PathBuf) -> io::Result<()> {
        self.0.install_snapshot(meta, snapshot).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshot = self.0.get_current_snapshot().await?;
        // The tests hand it to another store, and so does a transfer: from a file.
        if let Some(snapshot) = &snapshot {
            self.0.shared().write_snapshot(|_| snapshot.snapshot.clone())?;
        }
        Ok(snapshot)
    }
}

struct Builder;

/// What must live as long as the stores: the directory and its lock.
type Guard = (tempfile::TempDir, DataDir);

impl StoreBuilder<TypeConfig, LogStore, Gapless, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, Gapless), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(&directory.path().join("data")).expect("a data directory");
        let log = Wal::open(&data.log()).expect("a log");
        let machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).expect("a state machine");
        Ok(((directory, data), LogStore::new(Arc::new(log)), Gapless(machine)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_conform() {
    Suite::test_all(Builder).await.expect("conforms");
}
