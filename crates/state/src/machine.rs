//! Apply: entries in log order, to rows, audit bodies and outcomes.

use std::ops::Deref;

use aumbry_audit::{Body, Frontier, Leaf, Outcome, clear_commitment};
use aumbry_crypto::lthash::LtHash;
use aumbry_types::{LogId, LogIndex};
use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};
use crate::entry::{Entry, EntryError};
use crate::execute::{At, execute};
use crate::key;
use crate::overlay::Overlay;
use crate::row::Rev;
use crate::view::View;

/// What stands at a position of the log.
#[derive(Debug, Clone, Copy)]
pub enum Payload<'a> {
    /// A new leader's empty entry.
    Blank,
    /// A change of membership, in consensus's own encoding.
    Membership(&'a [u8]),
    /// An encoded [`Entry`].
    Command(&'a Bytes),
}

/// One position of the log.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The position.
    pub log_id: LogId,
    /// What stands there.
    pub payload: Payload<'a>,
}

/// What became of one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryResult {
    /// The audit sequence number of the first command.
    pub first_seq: u64,
    /// The outcome of each command.
    pub outcomes: Vec<Outcome>,
}

/// What one call changes. The rows go into one write batch.
#[derive(Debug, Default)]
pub struct Applied {
    /// Rows to write (`Some`) and to remove.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
    /// Audit bodies to append, one for each position, in order.
    pub bodies: Vec<(LogIndex, Vec<u8>)>,
    /// One for each input.
    pub results: Vec<EntryResult>,
}

/// The entry cannot be applied by this build, and skipping it would make this node differ from the others: the process must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log index {index}: {source}")]
pub struct ApplyError {
    /// Where the entry stands.
    pub index: LogIndex,
    /// Why.
    pub source: EntryError,
}

/// The machine's own row is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state machine's own row is damaged")]
pub struct LoadError;

/// The state machine's memory: what it must know beside the rows to apply the next entry.
pub struct Machine {
    frontier: Frontier,
    digest: LtHash,
    log_time: u64,
}

impl Machine {
    /// Loads the memory that belongs to the applied rows.
    ///
    /// # Errors
    /// [`LoadError`] if the machine's row is there and cannot be read.
    pub fn load(view: &dyn View) -> Result<Self, LoadError> {
        Self::from_row(view.get(&key::machine()))
    }

    /// The memory that the machine's own row holds; that of an empty state if there is none.
    ///
    /// # Errors
    /// [`LoadError`] if the row cannot be read.
    pub fn from_row(row: Option<Bytes>) -> Result<Self, LoadError> {
        let Some(row) = row else {
            return Ok(Self {
                frontier: Frontier::default(),
                digest: LtHash::default(),
                log_time: 0,
            });
        };
        Self::decode(row).map_err(|Malformed| LoadError)
    }

    /// Applies entries in order.
    ///
    /// # Errors
    /// [`ApplyError`] for an entry of a newer version; the machine must not be used any more.
    pub fn apply(&mut self, view: &dyn View, inputs: &[Input<'_>]) -> Result<Applied, ApplyError> {
        let mut state = Overlay::new(view);
        let mut applied = Applied::default();
        for input in inputs {
            let (result, body) = self.apply_one(&mut state, input)?;
            applied.results.push(result);
            applied.bodies.push((input.log_id.index, body));
        }
        applied.rows = state.into_changes(key::is_digested, |key, before, after| {
            self.update_digest(key, before, after);
        });
        applied.rows.push((key::machine(), Some(self.encode())));
        Ok(applied)
    }

    /// The digest of all rows: equal on all nodes at equal index.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest.digest()
    }

    /// The root of the audit tree: equal on all nodes at equal index.
    #[must_use]
    pub fn audit_root(&self) -> [u8; 32] {
        self.frontier.root()
    }

    /// How many leaves the audit tree has; the next record's sequence number.
    #[must_use]
    pub const fn audit_size(&self) -> u64 {
        self.frontier.size()
    }

    /// The log time of the last entry, in milliseconds.
    #[must_use]
    pub const fn log_time(&self) -> u64 {
        self.log_time
    }

    fn apply_one<'a, V>(
        &mut self,
        state: &mut Overlay<V>,
        input: &Input<'_>,
    ) -> Result<(EntryResult, Vec<u8>), ApplyError>
    where
        V: Deref<Target = dyn View + 'a>,
    {
        let index = input.log_id.index;
        let clear = match input.payload {
            Payload::Blank => [&b"blank"[..], &log_id_bytes(input.log_id)].concat(),
            Payload::Membership(bytes) => [b"membership", bytes].concat(),
            Payload::Command(bytes) => match Entry::decode(bytes) {
                Ok(entry) => return Ok(self.apply_entry(state, input.log_id, entry)),
                Err(source @ EntryError::Newer(_)) => return Err(ApplyError { index, source }),
                // Every node refuses the same bytes in the same way, and the refusal is on record.
                Err(EntryError::Malformed) => {
                    let clear = [&b"malformed"[..], &aumbry_crypto::sha256(&[bytes])].concat();
                    return Ok(self.finish(
                        input.log_id,
                        0,
                        vec![(Outcome::Rejected, clear_commitment(&clear))],
                        clear,
                        Vec::new(),
                    ));
                }
            },
        };
        Ok(self.finish(
            input.log_id,
            0,
            vec![(Outcome::Clear, clear_commitment(&clear))],
            clear,
            Vec::new(),
        ))
    }

    fn apply_entry<'a, V>(&mut self, state: &mut Overlay<V>, log_id: LogId, entry: Entry) -> (EntryResult, Vec<u8>)
    where
        V: Deref<Target = dyn View + 'a>,
    {
        self.log_time = self.log_time.max(entry.header.log_time);
        let mut leaves = Vec::with_capacity(entry.commands.len());
        for (k, command) in (0u32..).zip(&entry.commands) {
            let at = At {
                rev: Rev {
                    index: log_id.index.0,
                    k,
                },
                log_time: self.log_time,
            };
            leaves.push((execute(state, command, at), command.commitment));
        }
        self.finish(log_id, entry.header.wall_time, leaves, Vec::new(), entry.audit.to_vec())
    }

    /// Hashes the outcomes into the audit tree and forms the body that goes to the segment files.
    fn finish(
        &mut self,
        log_id: LogId,
        wall_time: u64,
        leaves: Vec<(Outcome, [u8; 32])>,
        clear: Vec<u8>,
        blob: Vec<u8>,
    ) -> (EntryResult, Vec<u8>) {
        let first_seq = self.frontier.size();
        for (k, (outcome, commitment)) in (0u32..).zip(&leaves) {
            let leaf = Leaf {
                seq: self.frontier.size(),
                index: log_id.index.0,
                k,
                log_time: self.log_time,
                outcome: *outcome,
                commitment: *commitment,
            };
            self.frontier.push(leaf.hash());
        }
        let outcomes = leaves.iter().map(|(outcome, _)| *outcome).collect();
        let body = Body {
            index: log_id.index.0,
            term: log_id.leader.term.0,
            first_seq,
            log_time: self.log_time,
            wall_time,
            leaves: (0u32..)
                .zip(leaves)
                .map(|(k, (outcome, commitment))| (k, outcome, commitment))
                .collect(),
            clear,
            blob,
        };
        (EntryResult { first_seq, outcomes }, body.encode())
    }

    fn update_digest(&mut self, key: &[u8], before: Option<&Bytes>, after: Option<&Bytes>) {
        if before == after {
            return;
        }
        if let Some(row) = before {
            self.digest.remove(key, row);
        }
        if let Some(row) = after {
            self.digest.add(key, row);
        }
    }

    fn encode(&self) -> Bytes {
        let mut w = Writer::with_capacity(4_096);
        w.u8(FORMAT);
        w.u64(self.log_time);
        w.bytes(&self.frontier.encode());
        w.raw(&self.digest.to_bytes());
        w.finish().into()
    }

    fn decode(row: Bytes) -> Result<Self, Malformed> {
        let mut r = Reader::new(row);
        if r.u8()? != FORMAT {
            return Err(Malformed);
        }
        let log_time = r.u64()?;
        let frontier = Frontier::decode(&r.bytes(FRONTIER_BYTES_MAX)?).ok_or(Malformed)?;
        let digest = LtHash::from_bytes(r.array()?);
        r.end()?;
        Ok(Self {
            frontier,
            digest,
            log_time,
        })
    }
}

fn log_id_bytes(id: LogId) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&id.leader.term.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&id.leader.node.0.to_be_bytes());
    bytes[16..].copy_from_slice(&id.index.0.to_be_bytes());
    bytes
}

const FORMAT: u8 = 2;
/// 64 peaks of 32 bytes and a small header.
const FRONTIER_BYTES_MAX: usize = 4_096;
