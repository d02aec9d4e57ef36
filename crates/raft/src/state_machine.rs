//! openraft's state machine: the pure [`Machine`] between the log and the stores.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, TryLockError};

use aumbry_state::{Applied, ApplyError, Change, Input, Machine, Payload, View, audit_floor, key};
use aumbry_storage::{AuditSegments, Log, SnapshotReader, StateDb, StateSnapshot, StorageError, fatal};
use aumbry_types::LogIndex;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use crate::snapshots::{Taken, meta_of, newest_index, remove_unfinished};
use crate::tls::PeerIdentity;
use crate::types::{
    RaftEntry, RaftLogId, Response, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, decode, encode, to_log_id,
};

/// The applied state of one node; clones share it.
#[derive(Clone)]
pub(crate) struct StateMachine {
    shared: Arc<Shared>,
}

/// What apply writes and others read.
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) audit_directory: PathBuf,
    pub(crate) snapshots: PathBuf,
    db: RwLock<Arc<StateDb>>,
    /// Held while entries are applied, and by who keeps them from being applied, as long as the disk takes: for threads that may block. All others
    /// look at the facts.
    applied: Mutex<AppliedState>,
    facts: RwLock<Arc<Facts>>,
    audit: RwLock<Arc<AuditSegments>>,
    pub(crate) change: watch::Sender<Change>,
    /// What the last snapshot is of, whether or not a file of it was written.
    pub(crate) taken: Mutex<Option<SnapshotMeta>>,
    pub(crate) writing_file: Mutex<()>,
    /// Shared by those who read rows and audit bodies of one state, taken by who removes bodies.
    pub(crate) pruning: RwLock<()>,
    /// The log that the rows follow, once there is one.
    pub(crate) log: OnceLock<Arc<dyn Log>>,
    /// One flush at a time, and none of rows that an installation replaces.
    flushing: Mutex<()>,
    /// Whether a flush was begun in the background.
    is_flushing: AtomicBool,
}

/// The memory that belongs to the applied rows.
pub(crate) struct AppliedState {
    pub(crate) machine: Machine,
    pub(crate) last: Option<RaftLogId>,
    pub(crate) membership: Arc<StoredMembership>,
}

impl AppliedState {
    /// What a snapshot of it is of.
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.last,
            last_membership: (*self.membership).clone(),
        }
    }
}

/// What is applied, for those who only look.
pub(crate) struct Facts {
    pub(crate) last: Option<RaftLogId>,
    pub(crate) membership: Arc<StoredMembership>,
    /// The machine's own row.
    machine: Option<Bytes>,
}

impl Facts {
    /// The machine as of then.
    pub(crate) fn machine(&self) -> Machine {
        Machine::from_row(self.machine.clone()).expect("it was loaded from this row, or wrote it")
    }
}

impl StateMachine {
    /// Opens the stores. What a crash left in the audit segments past the applied index is cut.
    pub(crate) fn open(directory: PathBuf, audit_directory: PathBuf, snapshots: PathBuf) -> io::Result<Self> {
        Self::open_if(directory, audit_directory, snapshots, |_| Ok(()))
    }

    /// As [`Self::open`], if `fits` agrees with what was applied last. It is asked before anything is cut.
    pub(crate) fn open_if(
        directory: PathBuf,
        audit_directory: PathBuf,
        snapshots: PathBuf,
        fits: impl FnOnce(Option<RaftLogId>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let db = StateDb::open(&directory).map_err(io::Error::other)?;
        let (last, membership) = read_applied(&db, &directory)?;
        fits(last)?;
        let machine = Machine::load(&db).map_err(io::Error::other)?;
        let opened = AuditSegments::open_above(&audit_directory, last.map(|id| id.index), floor_of(&db));
        // A snapshot may begin where these rows never were. It was checked before its bodies were put there, is checked again, and replaces all of them.
        let waits = newest_index(&snapshots)?.is_some_and(|(index, _)| Some(index) > last.map(|id| id.index));
        let audit = match opened {
            Err(StorageError::Damaged { .. }) if waits => AuditSegments::open_none(&audit_directory),
            opened => opened,
        };
        let audit = audit.map_err(io::Error::other)?;
        remove_unfinished(&snapshots)?;
        // One that is damaged would be of no help when the rows are.
        Taken::in_directory(&snapshots).read().map_err(io::Error::other)?;
        let taken = match newest_index(&snapshots)? {
            // The process died before it was installed, which comes next.
            Some((index, path)) if Some(index) > last.map(|id| id.index) => {
                Some(meta_of(&SnapshotReader::header_of(&path).map_err(io::Error::other)?)?)
            }
            _ => last.is_some().then(|| SnapshotMeta {
                last_log_id: last,
                last_membership: membership.clone(),
            }),
        };
        let applied = last.map_or(0, |id| id.index);
        let membership = Arc::new(membership);
        let facts = Facts {
            last,
            membership: Arc::clone(&membership),
            machine: db.get(&key::machine()),
        };
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
                facts: RwLock::new(Arc::new(facts)),
                audit: RwLock::new(Arc::new(audit)),
                change: watch::Sender::new(Change {
                    applied: LogIndex(applied),
                    ..Change::default()
                }),
                taken: Mutex::new(taken),
                writing_file: Mutex::default(),
                pruning: RwLock::default(),
                log: OnceLock::new(),
                flushing: Mutex::default(),
                is_flushing: AtomicBool::default(),
            }),
        })
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Shared {
    /// What is applied, and nothing else is until it is given back. Blocks, for as long as a flush or an installation takes: not for tasks.
    pub(crate) fn applied(&self) -> MutexGuard<'_, AppliedState> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is applied. Never waits for the disk.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows what is applied, once it can be read.
    pub(crate) fn publish(&self, applied: &AppliedState, machine: Option<Bytes>) {
        let facts = Facts {
            last: applied.last,
            membership: Arc::clone(&applied.membership),
            machine,
        };
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(facts);
    }

    /// Whether this is a member by what is applied here: stricter than [`crate::admission`], for what only members get.
    pub(crate) fn is_member(&self, identity: &PeerIdentity) -> bool {
        let facts = self.facts();
        let member = facts.membership.membership().get_node(&identity.node.0);
        member.is_some_and(|member| member.spki_pin == identity.pin)
    }

    pub(crate) fn audit(&self) -> Arc<AuditSegments> {
        Arc::clone(&self.audit.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn db(&self) -> Arc<StateDb> {
        Arc::clone(&self.db.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes other stores into use.
    pub(crate) fn replace(&self, db: StateDb, audit: AuditSegments) {
        *self.audit.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(audit);
        *self.db.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(db);
    }

    /// Ties the rows to the log that they follow.
    pub(crate) fn follow(&self, log: &Arc<dyn Log>) {
        // Set once, at start.
        let _ = self.log.set(Arc::clone(log));
    }

    /// Makes everything applied so far durable, the audit bodies first: a row must never survive the record of its change. Nor its log entry: a leader
    /// may apply what only others hold yet, and rows that are ahead of the log are how a lost end of the log is noticed. Blocks; holds up apply only for
    /// what was applied since it began.
    pub(crate) fn flush(&self) {
        self.flush_then(|_| (), |(), _| ());
    }

    /// As [`Self::flush`]. Gives what `look` takes of the state that became durable, and calls `read` with its rows.
    pub(crate) fn flush_then<T, R>(
        &self,
        look: impl FnOnce(&AppliedState) -> T,
        read: impl FnOnce(T, StateSnapshot<'_>) -> R,
    ) -> R {
        let turn = self.hold_flushes();
        // Most of it while others go on.
        self.sync_before_rows();
        let db;
        let (looked, flush) = {
            // Nothing is applied in between, so no row can become durable before its body.
            let applied = self.applied();
            self.sync_before_rows();
            db = self.db();
            (look(&applied), db.begin_flush())
        };
        let rows = flush.finish();
        drop(turn);
        read(looked, rows)
    }

    fn sync_before_rows(&self) {
        self.sync_log();
        self.audit().sync();
    }

    /// Makes durable what was done to the log so far. Blocks.
    pub(crate) fn sync_log(&self) {
        if let Some(log) = self.log.get() {
            let (done, durable) = std::sync::mpsc::channel();
            log.sync(Box::new(move |result| drop(done.send(result))));
            if !matches!(durable.recv(), Ok(Ok(()))) {
                fatal("cannot sync the log", "its writer has ended");
            }
        }
    }

    /// Flushes in the background what was applied, now and then. `flush` waits for one that is under way.
    fn flush_if_due(self: &Arc<Self>) {
        if self.db().unflushed_bytes() > FLUSH_BYTES && !self.is_flushing.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                shared.flush();
                shared.is_flushing.store(false, Ordering::Release);
            });
        }
    }

    /// Removes audit bodies below the floor that the durable rows name, and not more than before this record. True if there is nothing left to do for now.
    /// Blocks.
    pub(crate) fn prune_audit(&self, before: u64) -> bool {
        if !self.audit().has_before(before) {
            return true;
        }
        // Whoever writes a snapshot has the rows already, which say where its bodies begin.
        let Ok(_turn) = self.pruning.try_write() else {
            return false;
        };
        let audit = self.audit();
        let floor = self.flush_then(|_| (), |(), rows| floor_of(&rows));
        audit.prune(before.min(floor));
        true
    }

    /// Holds back flushes.
    pub(crate) fn hold_flushes(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies entries in order, in one write batch. Blocks.
    pub(crate) fn apply(&self, entries: &[RaftEntry]) -> io::Result<Vec<Response>> {
        let responses = self.apply_to(self.applied(), entries)?;
        if self.is_full() {
            self.flush();
        }
        Ok(responses)
    }

    /// As [`Self::apply`], but gives nothing if that would block, and does not flush.
    fn try_apply(&self, entries: &[RaftEntry]) -> Option<io::Result<Vec<Response>>> {
        let applied = match self.applied.try_lock() {
            Ok(applied) => applied,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.apply_to(applied, entries))
    }

    /// Whether so much is not flushed that writers must wait.
    fn is_full(&self) -> bool {
        self.db().unflushed_bytes() > UNFLUSHED_BYTES_MAX
    }

    fn apply_to(&self, mut applied: MutexGuard<'_, AppliedState>, entries: &[RaftEntry]) -> io::Result<Vec<Response>> {
        let db = self.db();
        let Applied {
            mut rows,
            bodies,
            results,
        } = apply_entries(&mut applied.machine, &*db, entries).unwrap_or_else(|error| fatal("applying the log", error));
        for entry in entries {
            applied.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = &entry.payload {
                applied.membership = Arc::new(StoredMembership::new(Some(entry.log_id), membership.clone()));
            }
        }
        // It comes last.
        let machine = rows.iter().rev().find(|(key, _)| *key == key::machine());
        let machine = machine.and_then(|(_, row)| row.clone());
        rows.push((APPLIED_KEY, Some(encode(&(applied.last, &*applied.membership)))));
        let bodies: Vec<(u64, u64, Vec<u8>)> = bodies
            .into_iter()
            .zip(&results)
            .map(|((index, body), result)| (index.0, result.first_seq, body))
            .collect();
        self.audit().append(&bodies);
        db.write(rows);
        self.publish(&applied, machine);
        let index = LogIndex(applied.last.map_or(0, |id| id.index));
        drop(applied);
        self.change.send_modify(|change| change.applied = index);
        Ok(results
            .into_iter()
            .map(|result| Response {
                first_seq: result.first_seq,
                outcomes: result.outcomes.into_iter().map(|outcome| outcome as u8).collect(),
            })
            .collect())
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
        Ok((applied.last, (*applied.membership).clone()))
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
            let responses = match self.shared.try_apply(&batch) {
                Some(responses) => responses?,
                None => {
                    let shared = Arc::clone(&self.shared);
                    blocking(move || shared.apply(&batch)).await?
                }
            };
            if self.shared.is_full() {
                let shared = Arc::clone(&self.shared);
                blocking(move || {
                    shared.flush();
                    Ok(())
                })
                .await?;
            }
            self.shared.flush_if_due();
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
        Ok(self.shared.current())
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = PathBuf;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let shared = Arc::clone(&self.shared);
        blocking(move || Ok(shared.take())).await
    }
}

/// Applies entries in order to the machine, on these rows. Nothing is written.
pub(crate) fn apply_entries(
    machine: &mut Machine,
    view: &dyn View,
    entries: &[RaftEntry],
) -> Result<Applied, ApplyError> {
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
    machine.apply(view, &inputs)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The first audit record that is kept, by these rows.
pub(crate) fn floor_of(view: &dyn View) -> u64 {
    audit_floor(view).map_or(0, |floor| floor.seq())
}

pub(crate) fn read_applied(db: &StateDb, path: &Path) -> io::Result<(Option<RaftLogId>, StoredMembership)> {
    let Some(bytes) = db.get(&APPLIED_KEY) else {
        return Ok((None, StoredMembership::default()));
    };
    decode(&bytes).map_err(|_| io::Error::other(StorageError::damaged(path, "its applied mark cannot be read")))
}

/// Which entry was applied last, and the membership as of it; in the same write batch as the rows.
pub(crate) const APPLIED_KEY: Bytes = Bytes::from_static(&[0xf0, 1]);
/// Entries of one write batch.
pub(crate) const APPLY_ENTRIES: usize = 256;
/// Bounds what is replayed from the log after a crash.
const FLUSH_BYTES: u64 = 64 << 20;
/// A disk that is slower than the writers: they wait, so that memory stays bounded.
const UNFLUSHED_BYTES_MAX: u64 = 192 << 20;
