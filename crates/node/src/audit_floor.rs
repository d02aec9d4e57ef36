//! Pruning the audit log: one row says from where on records are kept, and every node obeys it by itself and without keys.
//!
//! What it guarantees:
//! - What goes is covered by a checkpoint that is signed in the very entry that prunes it, and the tree goes on: its root has every record that ever was, so
//!   everything from the floor on is verified as before, and what was exported before is verified against the same roots.
//! - Nobody is given a record below the floor, whatever a node still has of it: the same request has the same answer everywhere.
//! - A node removes nothing for a floor that does not fit its own tree.
//!
//! - Only what the leader's archive has goes, unless the caller says that it was exported.
//!
//! What it does not do: keep what goes, or look into the archive again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aumbry_audit::export::checkpoint_line;
use aumbry_audit::proof::{Stored, TILE, UNKNOWN};
use aumbry_audit::{Body, Checkpoint, Field, Floor};
use aumbry_barrier::{Kind, Txn};
use aumbry_state::{Counters, Put, Write, audit_floor, floor_in, key};
use aumbry_types::{SecretBytes, hex};
use serde_json::{Value, json};

use crate::audit_log::damaged;
use crate::{Class, Failure, Moment, Node, Reply};

/// What is to be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPrune {
    /// Everything before this record, or before the first of this time.
    pub before: Before,
    /// Whether the caller says that what goes was exported, where the leader's archive does not have it.
    pub without_archive: bool,
    /// Whether it is only to be told what would go.
    pub dry_run: bool,
}

/// Up to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// This record.
    Seq(u64),
    /// The first record of this time or later.
    Time(Moment),
}

impl AuditPrune {
    /// What is on record of it, and from where on the log is kept then.
    pub(crate) fn fields(&self, reply: Option<&Reply>) -> Vec<(String, Field)> {
        let mut fields = Vec::new();
        let mut clear = |name: &str, value: String| fields.push((name.to_owned(), Field::Clear(value)));
        match self.before {
            Before::Seq(seq) => clear("before", seq.to_string()),
            Before::Time(Moment::Ago(seconds)) => clear("older_than_s", seconds.to_string()),
            Before::Time(Moment::At(ms)) => clear("older_than_ms", ms.to_string()),
            Before::Time(Moment::Unsaid) => {}
        }
        clear("without_archive", self.without_archive.to_string());
        clear("dry_run", self.dry_run.to_string());
        if let Some(Reply::Json { data, .. }) = reply
            && let Ok(told) = serde_json::from_slice::<Value>(data.expose())
        {
            clear("floor", told["floor"].to_string());
        }
        fields
    }
}

/// How far a node has obeyed.
#[derive(Default)]
pub(crate) struct Obeyed {
    floor: AtomicU64,
    /// Whether the floor did not fit the node's tree, and its hashes were made anew for it.
    is_doubted: AtomicBool,
    turn: Mutex<()>,
}

impl Node {
    /// The first audit record that is kept.
    #[must_use]
    pub fn audit_floor(&self) -> u64 {
        audit_floor(&*self.consensus.view()).map_or(0, |floor| floor.seq())
    }

    /// How many audit records are applied here.
    #[must_use]
    pub fn audit_size(&self) -> u64 {
        self.consensus.status().audit_size
    }

    /// Refuses what begins with a record that was pruned.
    pub(crate) fn check_audit_floor(&self, from: u64) -> Result<(), Failure> {
        match self.audit_floor() {
            floor if from < floor => Err(pruned(from, floor)),
            _ => Ok(()),
        }
    }

    /// Removes from this node what was pruned, if there is anything left of it and its own tree agrees. Blocks on the disk; needs no key.
    pub fn obey_audit_floor(&self) {
        let Some(floor) = audit_floor(&*self.consensus.view()) else {
            return;
        };
        let seq = floor.seq();
        let obeyed = &self.audit_obeyed;
        let Ok(_turn) = obeyed.turn.try_lock() else { return };
        if obeyed.floor.load(Ordering::Acquire) >= seq {
            return;
        }
        let store = &*self.outside.audit_hashes;
        // What goes is hashed first: nobody could make up for it.
        if store.count(1) * TILE < seq {
            return;
        }
        let mut stored = Stored::new(seq, |tier, tile, count| match tier {
            0 => Ok(Vec::new()),
            _ => store.read(tier, tile * TILE, count),
        })
        .above(floor.tree().clone());
        match stored.root(seq) {
            Ok(root) if root == Some(floor.tree().root()) => {
                if self.consensus.prune_audit(seq) {
                    obeyed.floor.store(seq, Ordering::Release);
                }
            }
            Ok(_) if !obeyed.is_doubted.swap(true, Ordering::AcqRel) => {
                // It may be the hashes, which are a cache.
                let _turn = self.audit_turn.lock().unwrap_or_else(PoisonError::into_inner);
                if store.clear().is_ok() {
                    tracing::warn!(
                        seq,
                        "the floor of the audit log does not fit the kept hashes; they are made anew"
                    );
                }
            }
            Ok(_) => {
                obeyed.floor.store(seq, Ordering::Release);
                tracing::error!(
                    seq,
                    "the audit log was pruned under a checkpoint of another log than this node has: nothing is removed here; keep this node's data, and compare checkpoints with `aumbry-verify checkpoints`"
                );
            }
            Err(error) => {
                tracing::warn!(%error, "the hashes of the audit tree cannot be read; what was pruned stays for now")
            }
        }
    }

    /// Settles what a request to prune comes to, and signs the tree up to there. It looks at the disk, so not in a plan.
    pub(crate) fn prepare_prune(&self, ask: &AuditPrune) -> Result<Floor, Failure> {
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        let status = self.consensus.status();
        let (low, size) = (self.audit_floor(), status.audit_size);
        let asked = match ask.before {
            Before::Seq(seq) => seq,
            Before::Time(moment) => {
                let before = moment.resolve(status.log_time).unwrap_or_default();
                self.first_since(low, size, before)?
            }
        };
        if asked > size {
            return Err(Failure::invalid(format!(
                "the log has {size} records: name one of them, or the size for all"
            )));
        }
        let seq = asked - asked % TILE;
        if seq <= low {
            let text = format!(
                "nothing would go: records are kept from {low} on, and they are pruned by {TILE}, so up to {} at least",
                low + TILE
            );
            return Err(Failure::new(Class::FailedPrecondition, "NOTHING_TO_PRUNE", text));
        }
        if seq > self.archived() && !ask.without_archive && !ask.dry_run {
            return Err(not_archived(self.archived()));
        }
        let (tree, root) = self.find_tree(seq)?;
        let checkpoint = Checkpoint {
            origin: Checkpoint::origin_of(&barrier.storage_id()),
            size: seq,
            root,
        };
        let signing = barrier.keyring().checkpoint();
        let note = checkpoint.sign(signing);
        let note = note.map_err(|error| Failure::internal(error.to_string()))?;
        Floor::new(tree, note, *signing.verifying_key()).ok_or_else(|| Failure::internal("a floor that does not hold"))
    }

    /// The first record from `low` on that is of this time or later.
    fn first_since(&self, mut low: u64, mut high: u64, time: u64) -> Result<u64, Failure> {
        while low < high {
            let bodies = self.consensus.audit_bodies(low + (high - low) / 2, 1);
            let body = bodies
                .first()
                .and_then(|bytes| Body::decode(bytes))
                .ok_or_else(damaged)?;
            if body.log_time >= time {
                high = body.first_seq.max(low);
            } else {
                low = (body.first_seq + body.leaves.len() as u64).min(high);
            }
        }
        Ok(low)
    }

    /// The first record that this node still has, whatever the floor is.
    pub(crate) fn first_body(&self) -> u64 {
        let bodies = self.consensus.audit_bodies(0, 1);
        let body = bodies.first().and_then(|bytes| Body::decode(bytes));
        body.map_or(0, |body| body.first_seq)
    }

    /// Says of each whole tile below the floor that this node has no records of that its hash is unknown.
    pub(crate) fn pass_over_pruned(&self, floor: u64) -> std::io::Result<()> {
        let store = &*self.outside.audit_hashes;
        let next = store.count(1) * TILE;
        if next >= floor {
            return Ok(());
        }
        let end = self.first_body().min(floor).div_ceil(TILE) * TILE;
        for _ in 0..(end.saturating_sub(next) / TILE).min(PASSED_AT_ONCE) {
            store.append(1, &UNKNOWN)?;
        }
        Ok(())
    }
}

/// Plans a prune.
pub(crate) fn plan(txn: &mut Txn<'_>, ask: &AuditPrune, floor: &Floor) -> Result<Reply, Failure> {
    // Recorded: of two at once the second begins again.
    let row = txn.read_row(&key::audit_floor())?;
    let before = row.as_ref().and_then(|row| Floor::decode(&row.body));
    let low = before.as_ref().map_or(0, Floor::seq);
    if floor.seq() <= low {
        return Err(stale());
    }
    if !ask.dry_run {
        txn.write(Write::Put(Put {
            key: key::audit_floor(),
            kind: Kind::AuditFloor as u8,
            expires_at: 0,
            counters: Counters::Set([0, 0]),
            key_term: 0,
            container: key::AUDIT_FLOOR,
            body: floor.encode().into(),
        }));
    }
    told(&json!({
        "pruned": !ask.dry_run,
        "first": low,
        "floor": floor.seq(),
        "records": floor.seq() - low,
        "checkpoint": line(floor)?,
    }))
}

/// Tells the floor.
pub(crate) fn read(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    let row = txn.peek_row(&key::audit_floor())?;
    let floor = row.and_then(|row| floor_in(&row.encode()));
    told(&match floor {
        None => json!({ "floor": 0 }),
        Some(floor) => json!({
            "floor": floor.seq(),
            "frontier": hex::encode(&floor.tree().encode()),
            "checkpoint": line(&floor)?,
        }),
    })
}

/// What is told of a record that was pruned.
pub(crate) fn pruned(seq: u64, floor: u64) -> Failure {
    let text = format!(
        "record {seq} was pruned: the log begins with record {floor}; what was before is in the archive, or in the files that were exported before"
    );
    Failure::new(Class::NotFound, PRUNED, text)
}

fn not_archived(archived: u64) -> Failure {
    let text = if archived == 0 {
        "what is pruned is kept nowhere else: set [audit.archive] on every node, or export the log, keep the file, and say so (`aumbry audit export FILE`, then --without-archive)".to_owned()
    } else {
        format!(
            "the leader's archive has the records before {archived}: prune no more than those, wait for it, or export the log and say --without-archive"
        )
    };
    Failure::new(Class::FailedPrecondition, "NOT_ARCHIVED", text)
}

fn stale() -> Failure {
    let text = "somebody else pruned as much meanwhile; look with `aumbry audit floor`";
    Failure::new(Class::FailedPrecondition, "NOTHING_TO_PRUNE", text)
}

/// The signed checkpoint as its line in an export.
fn line(floor: &Floor) -> Result<Value, Failure> {
    let line = checkpoint_line(floor.note(), floor.key());
    serde_json::from_str(&line).map_err(|error| Failure::internal(error.to_string()))
}

fn told(data: &Value) -> Result<Reply, Failure> {
    Ok(Reply::Json {
        data: SecretBytes::from(data.to_string()),
        warnings: Vec::new(),
    })
}

/// The word for programs.
pub(crate) const PRUNED: &str = "AUDIT_PRUNED";
/// Two megabytes of a cache: sixteen million records.
const PASSED_AT_ONCE: u64 = 65_536;
