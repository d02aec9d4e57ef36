//! The audit log, read.

use std::time::Duration;

use aumbry_audit::proof::Proof;
use aumbry_audit::{Checkpoint, Receipt};
use aumbry_auth::namespace as namespaces;
use aumbry_barrier::{Barrier, Txn};
use aumbry_types::{NamespacePath, RequestId};

use super::Effect;
use crate::audit_tree::Found;
use crate::{
    AuditProof, AuditQuery, AuditRow, Failure, Node, Operation, Position, ProofAsk, Reply, Request, audit_log, genesis,
};

pub(super) fn read(from: u64, limit: usize) -> Result<Effect, Failure> {
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Failure::invalid("limit is 1 to 1,000"));
    }
    Ok(Effect::ReadAudit { from, limit })
}

/// Settles what a query is of: its own namespace since there is that, and the times that it names.
pub(super) fn query(txn: &mut Txn<'_>, namespace: &NamespacePath, query: &AuditQuery) -> Result<Effect, Failure> {
    if !(1..=LIMIT_MAX).contains(&query.limit) {
        return Err(Failure::invalid("limit is 1 to 1,000"));
    }
    let now = txn.now().0;
    let mut query = query.clone();
    let filter = &mut query.filter;
    filter.since_ms = query.since.resolve(now).unwrap_or_default();
    filter.until_ms = query.until.resolve(now);
    filter.namespace.clone_from(namespace);
    if !namespace.is_root() {
        // One of the same name that was there before was somebody else's.
        let id = txn.namespace();
        filter.since_ms = filter.since_ms.max(namespaces::created(txn, id)?);
    }
    Ok(Effect::QueryAudit(Box::new(query)))
}

/// Waits for more records, if the request wants to.
pub(crate) async fn wait_before(node: &Node, request: &Request) {
    let Operation::AuditRead {
        wait_size: size @ 1.., ..
    } = request.operation
    else {
        return;
    };
    // To wait is to hold a place in the node: only for who may read what is waited for. The reading itself is decided afterwards.
    if !node.is_allowed(request) {
        return;
    }
    let mut changed = node.consensus.changed();
    let enough = async { while node.consensus.status().audit_size <= size && changed.changed().await.is_ok() {} };
    let until = request
        .deadline
        .checked_sub(Duration::from_secs(1))
        .unwrap_or(request.deadline);
    // Waiting in vain is no failure: the answer is an empty page.
    let _ = tokio::time::timeout_at(until, enough).await;
}

/// Reads and decrypts records, after the record of this reading was committed.
pub(super) fn rows(node: &Node, from: u64, limit: usize) -> Result<Reply, Failure> {
    node.audit_rows(from, limit, limit).map(Reply::Audit)
}

impl Node {
    /// Reads and decrypts the records from `from` on: at most `limit`, of at most so many log entries. It is no request: nobody is asked whether
    /// he may, and no record is made. For what copies the whole log on this node.
    ///
    /// # Errors
    /// [`Failure`] if the node is sealed, the first record was pruned, or one is damaged.
    pub fn audit_rows(&self, from: u64, limit: usize, entries: usize) -> Result<Vec<AuditRow>, Failure> {
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        self.check_audit_floor(from)?;
        let genesis = genesis::entry_index(&*self.consensus.view());
        let (mut rows, mut next, mut left) = (Vec::new(), from, entries);
        // A few entries at a time: a busy leader's have hundreds of records each, of which a page takes two or three, and a quiet one's have one.
        while left > 0 && rows.len() < limit {
            let bodies = self.consensus.audit_bodies(next, left.min(STEP_ENTRIES));
            left -= bodies.len().min(left);
            let found = audit_log::open(&barrier, bodies, next, limit - rows.len(), genesis)?;
            let Some(last) = found.last() else { break };
            next = last.seq + 1;
            rows.extend(found);
        }
        Ok(rows)
    }
}

/// Signs the tree as it is applied here.
pub(super) fn checkpoint(node: &Node) -> Result<Reply, Failure> {
    let barrier = node.seal.barrier().ok_or_else(Failure::sealed)?;
    let status = node.consensus.status();
    Ok(Reply::Checkpoint {
        note: sign(&barrier, status.audit_size, status.audit_root)?,
        size: status.audit_size,
        storage_id: barrier.storage_id().to_string(),
        verifying_key: *barrier.keyring().checkpoint().verifying_key().as_bytes(),
    })
}

/// Finds a proof, after the record of this request was committed, and signs the trees that it is about.
pub(super) fn proof(node: &Node, ask: ProofAsk) -> Result<Reply, Failure> {
    let barrier = node.seal.barrier().ok_or_else(Failure::sealed)?;
    let origin = Checkpoint::origin_of(&barrier.storage_id());
    let found = node.find_proof(ask)?;
    let (proof, size, root, leaf_hash, old_note) = match found {
        Found::Inclusion { proof, leaf, root } => {
            let size = proof.size;
            let proof = Proof::Inclusion { origin, proof };
            (proof, size, root, Some(leaf), String::new())
        }
        Found::Consistency { proof, old, new } => {
            let (old_size, size) = (proof.old_size, proof.new_size);
            let proof = Proof::Consistency { origin, proof };
            (proof, size, new, None, sign(&barrier, old_size, old)?)
        }
    };
    Ok(Reply::AuditProof(AuditProof {
        proof: proof.encode(),
        note: sign(&barrier, size, root)?,
        size,
        old_note,
        leaf_hash,
        storage_id: barrier.storage_id().to_string(),
        verifying_key: *barrier.keyring().checkpoint().verifying_key().as_bytes(),
    }))
}

impl Node {
    /// A signed receipt of a request that was answered: where its record stands, and the tree as it is now, which has it. `None` if there is
    /// no record, or the node is sealed by now.
    #[must_use]
    pub fn receipt(&self, position: Position, request_id: RequestId) -> Option<String> {
        // A record is never the first of a log: only what has none stands there.
        if position.audit_seq == 0 {
            return None;
        }
        let barrier = self.seal.barrier()?;
        let leaf = self.audit_leaf(position.audit_seq)?;
        let status = self.consensus.status();
        let receipt = Receipt {
            storage_id: barrier.storage_id(),
            seq: leaf.seq,
            index: leaf.index,
            request_id,
            leaf: leaf.hash(),
            size: status.audit_size,
            root: status.audit_root,
        };
        Some(receipt.sign(barrier.keyring().checkpoint()))
    }
}

/// Signs a tree of this node's log.
pub(crate) fn sign(barrier: &Barrier, size: u64, root: [u8; 32]) -> Result<String, Failure> {
    let checkpoint = Checkpoint {
        origin: Checkpoint::origin_of(&barrier.storage_id()),
        size,
        root,
    };
    let signed = checkpoint.sign(barrier.keyring().checkpoint());
    signed.map_err(|error| Failure::internal(error.to_string()))
}

/// An entry has up to 256 KiB, so this many are read and held in one step at most.
const STEP_ENTRIES: usize = 32;
/// A page that fits into one message.
const LIMIT_MAX: usize = 1_000;
