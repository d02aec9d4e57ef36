//! Takes commands in the order in which they were planned, and proposes them, one entry at a time.
//!
//! No timer: while an entry is on its way to the quorum the next one fills.

use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_audit::blob;
use aumbry_barrier::Barrier;
use aumbry_state::{Committed, Entry, EntryHeader, ProposeError};
use aumbry_types::{Clock, Entropy, LeaderId};
use tokio::sync::Notify;

use crate::node::Node;
use crate::planner::{Placed, Planner, Queued};

/// The planner, and a bell for the task that proposes.
pub(crate) struct Sequencer {
    planner: Mutex<Planner>,
    bell: Notify,
}

impl Sequencer {
    pub(crate) fn new(planner: Planner) -> Self {
        Self {
            planner: Mutex::new(planner),
            bell: Notify::new(),
        }
    }

    /// The planner. A panic in a plan leaves nothing half-written in it, so a poisoned lock is taken all the same.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the task that proposes.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Proposes one batch of the node whose sequencer this is, or waits until there is one. If the node is sealed, the queue fails.
    pub(crate) async fn step(&self, node: &Node) {
        // Whoever is about to plan, plans into this batch: larger batches cost less.
        tokio::task::yield_now().await;
        let Some((leader, tag, batch, header)) = self.next_batch(&*node.clock) else {
            self.bell.notified().await;
            return;
        };
        let Some(barrier) = node.seal.barrier() else {
            fail(batch, ProposeError::NotApplied("the node was sealed"));
            Self::reset(node, &mut self.lock());
            return;
        };
        let since_ms = batch.first().map_or(0, |oldest| oldest.since_ms);
        let (entry, waiting) = assemble(batch, header, &barrier, &*node.entropy);
        drop(barrier);
        let answer = node.consensus.propose(leader, entry.encode()).await;
        node.admission.note(since_ms, node.clock.boottime_ms());
        // Before anybody is answered: the entry may have sealed the whole cluster.
        node.obey_cluster_seal();
        let mut planner = self.lock();
        match answer {
            Ok(committed) if committed.outcomes.len() == waiting.len() => {
                planner.overlay.settle(tag);
                drop(planner);
                release(waiting, &committed);
            }
            Ok(_) => {
                Self::reset(node, &mut planner);
                drop(planner);
                fail_all(waiting, ProposeError::Unknown("the entry was not understood by apply"));
            }
            Err(error) => {
                Self::reset(node, &mut planner);
                drop(planner);
                fail_all(waiting, error);
            }
        }
    }

    /// Forgets what belongs to a leadership that may have ended.
    fn reset(node: &Node, planner: &mut Planner) {
        planner.reset();
        node.lists.clear();
    }

    fn next_batch(&self, clock: &dyn Clock) -> Option<(LeaderId, u64, Vec<Queued>, EntryHeader)> {
        let mut planner = self.lock();
        let leader = planner.leadership?;
        if planner.queue.is_empty() {
            return None;
        }
        let log_time = planner.time.as_ref()?.now(clock);
        let (tag, batch) = planner.take_batch();
        Some((
            leader,
            tag,
            batch,
            EntryHeader {
                log_time: log_time.0,
                wall_time: clock.wall().0,
            },
        ))
    }
}

type Waiting = Vec<tokio::sync::oneshot::Sender<Result<Placed, ProposeError>>>;

fn assemble(batch: Vec<Queued>, header: EntryHeader, barrier: &Barrier, entropy: &dyn Entropy) -> (Entry, Waiting) {
    let mut commands = Vec::with_capacity(batch.len());
    let mut records = Vec::with_capacity(batch.len());
    let mut waiting = Vec::with_capacity(batch.len());
    for queued in batch {
        commands.push(queued.command);
        records.push((queued.record, queued.salt));
        waiting.push(queued.done);
    }
    let commitments: Vec<[u8; 32]> = commands.iter().map(|command| command.commitment).collect();
    let keyring = barrier.keyring();
    let epoch = keyring.audit_epoch();
    let key = keyring.audit(epoch).expect("the keyring holds its current audit key");
    let audit = blob::seal(key, epoch, &barrier.storage_id(), &commitments, &records, entropy);
    (
        Entry {
            header,
            commands,
            audit: audit.into(),
        },
        waiting,
    )
}

fn release(waiting: Waiting, committed: &Committed) {
    for ((seq, outcome), done) in (committed.first_seq..).zip(&committed.outcomes).zip(waiting) {
        let placed = Placed {
            index: committed.log_id.index.0,
            term: committed.log_id.leader.term.0,
            seq,
            outcome: *outcome,
        };
        let _ = done.send(Ok(placed));
    }
}

fn fail(batch: Vec<Queued>, error: ProposeError) {
    fail_all(batch.into_iter().map(|queued| queued.done).collect(), error);
}

fn fail_all(waiting: Waiting, error: ProposeError) {
    for done in waiting {
        let _ = done.send(Err(error));
    }
}
