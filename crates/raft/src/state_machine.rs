//! openraft's state machine: the pure [`Machine`] between the log and the stores.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aumbry_state::{Applied, Change, Input, Machine, Payload, View};
use aumbry_storage::{
    AuditSegments, SnapshotHeader, SnapshotReader, SnapshotWriter, StateDb, fatal, install_state, switch_state,
};
use aumbry_types::LogIndex;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use crate::types::{
    RaftEntry, RaftLogId, Response, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, decode, encode, raft_log_id,
    to_log_id,
};

/// The applied state of one node; clones share it.
#[derive(Clone)]
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
}

/// What apply writes and others read.
pub(crate) struct Shared {
    directory: PathBuf,
    audit_directory: PathBuf,
    snapshots: PathBuf,
    db: RwLock<Arc<StateDb>>,
    applied: Mutex<AppliedState>,
    audit: RwLock<Arc<AuditSegments>>,
    pub(crate) change: watch::Sender<Change>,
}

/// The memory that belongs to the applied rows.
pub(crate) struct AppliedState {
    pub(crate) machine: Machine,
    pub(crate) last: Option<RaftLogId>,
    pub(crate) membership: StoredMembership,
}

impl StateMachine {
    /// Opens the stores. What a crash left in the audit segments past the applied index is cut.
    pub(crate) fn open(directory: PathBuf, audit_directory: PathBuf, snapshots: PathBuf) -> io::Result<Self> {
        let db = StateDb::open(&directory).map_err(io::Error::other)?;
        let (last, membership) = read_applied(&db)?;
        let machine = Machine::load(&db).map_err(io::Error::other)?;
        let audit = AuditSegments::open(&audit_directory, last.map(|id| id.index)).map_err(io::Error::other)?;
        let applied = last.map_or(0, |id| id.index);
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                audit_directory,
                snapshots,
                db: RwLock::new(Arc::new(db)),
                applied: Mutex::new(AppliedState {
                    machine,
                    last,
                    membership,
                }),
                audit: RwLock::new(Arc::new(audit)),
                change: watch::Sender::new(Change {
                    applied: LogIndex(applied),
                    ..Change::default()
                }),
            }),
        })
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    pub(crate) fn applied(&self) -> MutexGuard<'_, AppliedState> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn audit(&self) -> Arc<AuditSegments> {
        Arc::clone(&self.audit.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn db(&self) -> Arc<StateDb> {
        Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes everything applied so far durable, the audit bodies first: a row must never survive the record of its change.
    pub(crate) fn flush(&self) {
        // Nothing is applied in between, so no row can become durable before its body.
        let _applied = self.applied();
        self.audit().sync();
        self.db().flush();
    }

    /// Applies entries in order, in one write batch.
    fn apply(&self, entries: &[RaftEntry]) -> io::Result<Vec<Response>> {
        let mut applied = self.applied();
        let memberships: Vec<Option<Bytes>> = entries
            .iter()
            .map(|entry| match &entry.payload {
                EntryPayload::Membership(membership) => Some(encode(membership)),
                EntryPayload::Blank | EntryPayload::Normal(_) => None,
            })
            .collect();
        let inputs: Vec<Input<'_>> = entries
            .iter()
            .zip(&memberships)
            .map(|(entry, membership)| Input {
                log_id: to_log_id(&entry.log_id),
                payload: match (&entry.payload, membership) {
                    (EntryPayload::Normal(proposal), _) => Payload::Command(&proposal.0),
                    (EntryPayload::Membership(_), Some(bytes)) => Payload::Membership(bytes),
                    _ => Payload::Blank,
                },
            })
            .collect();
        let db = self.db();
        let Applied {
            mut rows,
            bodies,
            results,
        } = applied
            .machine
            .apply(&*db, &inputs)
            .unwrap_or_else(|error| fatal("applying the log", error));
        for entry in entries {
            applied.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = &entry.payload {
                applied.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
        }
        rows.push((APPLIED_KEY, Some(encode(&(applied.last, &applied.membership)))));
        let bodies: Vec<(u64, u64, Vec<u8>)> = bodies
            .into_iter()
            .zip(&results)
            .map(|((index, body), result)| (index.0, result.first_seq, body))
            .collect();
        self.audit().append(&bodies);
        db.write(rows);
        let index = LogIndex(applied.last.map_or(0, |id| id.index));
        drop(applied);
        self.change.send_modify(|change| change.applied = index);
        if db.unflushed_bytes() > FLUSH_BYTES {
            self.flush();
        }
        Ok(results
            .into_iter()
            .map(|result| Response {
                first_seq: result.first_seq,
                outcomes: result.outcomes.into_iter().map(|outcome| outcome as u8).collect(),
            })
            .collect())
    }

    /// Writes a snapshot file of the state as it is now. Blocks.
    fn build(&self) -> io::Result<Snapshot> {
        let db = self.db();
        let (snapshot, last, membership) = {
            let applied = self.applied();
            (db.snapshot(), applied.last, applied.membership.clone())
        };
        let index = last.map_or(0, |id| id.index);
        let header = SnapshotHeader {
            last_log_id: last.map_or([0; 3], |id| [id.leader_id.term, id.leader_id.node_id, id.index]),
            membership: encode(&membership).to_vec(),
        };
        let path = self.snapshots.join(format!("{index:020}.snap"));
        let mut writer = SnapshotWriter::create(&path, &header).map_err(io::Error::other)?;
        let mut failed = None;
        snapshot.for_each(|key, row| {
            let is_replicated = key.first().is_some_and(|table| *table < aumbry_state::key::RESERVED);
            if failed.is_none() && is_replicated {
                failed = writer.row(key, row).err();
            }
        });
        self.audit().export(index, |index, first_seq, body| {
            if failed.is_none() {
                failed = writer.body(index, first_seq, body).err();
            }
        });
        if let Some(error) = failed {
            return Err(io::Error::other(error));
        }
        writer.finish().map_err(io::Error::other)?;
        self.flush();
        remove_older_snapshots(&self.snapshots, index);
        Ok(Snapshot {
            meta: SnapshotMeta {
                last_log_id: last,
                last_membership: membership,
            },
            snapshot: path,
        })
    }

    /// Replaces the state by a snapshot that was received and lies in a file. Blocks.
    fn install(&self, meta: &SnapshotMeta, path: &Path) -> io::Result<()> {
        // Everything in the file is verified before anything of this node is touched.
        let reader = SnapshotReader::open(path).map_err(io::Error::other)?;
        let applied_row = encode(&(meta.last_log_id, &meta.last_membership));
        let rows = reader.rows().chain(std::iter::once((APPLIED_KEY, applied_row)));
        let mut applied = self.applied();
        // The bodies first: if the process dies in between, they reach beyond the rows, and are cut at the next start.
        AuditSegments::replace_all(&self.audit_directory, reader.bodies()).map_err(io::Error::other)?;
        let installed = install_state(&self.directory, rows).map_err(io::Error::other)?;
        switch_state(&self.directory, &installed).map_err(io::Error::other)?;
        let db = StateDb::open(&self.directory).map_err(io::Error::other)?;
        let machine = Machine::load(&db).map_err(io::Error::other)?;
        let last = meta.last_log_id.map(|id| id.index);
        let audit = AuditSegments::open(&self.audit_directory, last).map_err(io::Error::other)?;
        *self.audit.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(audit);
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(db);
        applied.machine = machine;
        applied.last = meta.last_log_id;
        applied.membership = meta.last_membership.clone();
        let index = LogIndex(last.unwrap_or(0));
        drop(applied);
        let kept = self.snapshots.join(format!("{:020}.snap", index.0));
        if kept != path {
            std::fs::rename(path, &kept)?;
        }
        remove_older_snapshots(&self.snapshots, index.0);
        self.change.send_modify(|change| change.applied = index);
        Ok(())
    }

    /// The newest snapshot on disk, if it is whole.
    fn current(&self) -> io::Result<Option<Snapshot>> {
        let Some(path) = newest_snapshot(&self.snapshots)? else {
            return Ok(None);
        };
        let reader = SnapshotReader::open(&path).map_err(io::Error::other)?;
        let header = reader.header();
        let membership =
            decode(&header.membership).map_err(|_| io::Error::other("a snapshot's membership cannot be read"))?;
        let [term, node, index] = header.last_log_id;
        let last_log_id = (index > 0).then(|| raft_log_id(term, node, index));
        Ok(Some(Snapshot {
            meta: SnapshotMeta {
                last_log_id,
                last_membership: membership,
            },
            snapshot: path,
        }))
    }
}

/// The applied rows, live: it follows when a snapshot replaces the database.
impl View for Shared {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.db().get(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        self.db().scan(prefix, after, limit)
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = PathBuf;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
        let applied = self.shared.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        loop {
            let mut batch = Vec::new();
            let mut responders = Vec::new();
            while batch.len() < APPLY_ENTRIES
                && let Some(next) = entries.next().await
            {
                let (entry, responder) = next?;
                batch.push(entry);
                responders.push(responder);
            }
            if batch.is_empty() {
                return Ok(());
            }
            let responses = self.shared.apply(&batch)?;
            for (responder, response) in responders.into_iter().zip(responses) {
                if let Some(responder) = responder {
                    responder.send(response);
                }
            }
        }
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: PathBuf) -> io::Result<()> {
        let (shared, meta) = (Arc::clone(&self.shared), meta.clone());
        blocking(move || shared.install(&meta, &snapshot)).await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.shared.current()
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = PathBuf;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.build()).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn read_applied(db: &StateDb) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
    let Some(bytes) = db.get(&APPLIED_KEY) else {
        return Ok((None, StoredMembership::default()));
    };
    decode(&bytes).map_err(|_| io::Error::other("the applied mark cannot be read: wipe this node and join it again"))
}

fn newest_snapshot(directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "snap") && Some(&path) > newest.as_ref() {
            newest = Some(path);
        }
    }
    Ok(newest)
}

/// A file that cannot be removed costs disk space, nothing else.
fn remove_older_snapshots(directory: &Path, newest: u64) {
    let kept = directory.join(format!("{newest:020}.snap"));
    let Ok(files) = std::fs::read_dir(directory) else {
        return;
    };
    for file in files.flatten().filter(|file| file.path() != kept) {
        if let Err(error) = std::fs::remove_file(file.path()) {
            tracing::warn!(%error, "an old snapshot could not be removed");
        }
    }
}

/// Which entry was applied last, and the membership as of it; in the same write batch as the rows.
const APPLIED_KEY: Bytes = Bytes::from_static(&[0xf0, 1]);
/// Entries of one write batch.
const APPLY_ENTRIES: usize = 256;
/// Bounds what is replayed from the log after a crash.
const FLUSH_BYTES: u64 = 64 << 20;
