//! The audit log, read a piece at a time.

use aumbry_audit::filter::Sieve;
use aumbry_audit::{Body, Filter, Place, Record, shown};
use aumbry_barrier::Barrier;
use serde_json::Value;

use crate::audit_log::{SUPERSEDED, Salted, clear_operation, damaged, records};
use crate::{Failure, Node};

/// Reads pieces. Remembers the entry at the edge of the last one: a busy leader's have hundreds of records each, and reach over several pieces.
pub(super) struct Pieces<'a> {
    node: &'a Node,
    /// The log index of the first entry that counts.
    genesis: u64,
    /// The entry that the last piece began with, and that it ended with.
    edges: Vec<(u64, Vec<Salted>)>,
}

/// One leaf, as it was read.
pub(super) struct Leaf<'a> {
    pub(super) place: Place,
    /// None for what consensus itself did, and for what nobody can open any more.
    record: Option<Record>,
    is_withheld: bool,
    clear: &'a [u8],
}

impl Leaf<'_> {
    pub(super) fn is_taken(&self, filter: &Filter) -> bool {
        match &self.record {
            Some(record) => filter.takes(record, &self.place),
            None => filter.takes_clear(self.operation(), &self.place),
        }
    }

    pub(super) fn shown(&self) -> Value {
        let event = match &self.record {
            Some(record) => record.to_json().to_string(),
            None if self.is_withheld => SUPERSEDED.to_owned(),
            None => serde_json::json!({ "operation": self.operation() }).to_string(),
        };
        shown(&event, &self.place)
    }

    fn note(&self, sieve: &mut Sieve, salt: &[u8; 16]) {
        match &self.record {
            Some(record) => sieve.note(salt, record),
            None => sieve.note_clear(salt, self.operation()),
        }
    }

    fn operation(&self) -> &'static str {
        if self.is_withheld {
            "sys.init"
        } else {
            clear_operation(self.clear)
        }
    }
}

impl<'a> Pieces<'a> {
    pub(super) const fn new(node: &'a Node, genesis: u64) -> Self {
        Self {
            node,
            genesis,
            edges: Vec::new(),
        }
    }

    /// The first sequence number from `low` on whose entry is one of those; `high` if there is none below it. They are all behind those that are not.
    pub(super) fn first(
        &self,
        (mut low, mut high): (u64, u64),
        is_one: impl Fn(&Body) -> bool,
    ) -> Result<u64, Failure> {
        while low < high {
            let body = self.bodies(low + (high - low) / 2, 1)?.pop().ok_or_else(damaged)?;
            if is_one(&body) {
                high = body.first_seq.max(low);
            } else {
                low = (body.first_seq + body.leaves.len() as u64).min(high);
            }
        }
        Ok(low)
    }

    /// Reads the leaves from a sequence number up to another one, which is not with them. Gives the sieve of what was read if it was a whole piece.
    pub(super) async fn read(
        &mut self,
        barrier: &Barrier,
        (start, end): (u64, u64),
        salt: &[u8; 16],
        mut each: impl FnMut(&Leaf<'_>),
    ) -> Result<Option<Sieve>, Failure> {
        let mut sieve = Sieve::default();
        let mut edges: Vec<(u64, Vec<Salted>)> = Vec::new();
        let mut next = start;
        while next < end {
            let bodies = self.bodies(next, STEP_ENTRIES)?;
            if bodies.is_empty() {
                return Err(damaged());
            }
            for body in bodies {
                if body.first_seq >= end {
                    break;
                }
                let known = self.edges.iter().position(|(first, _)| *first == body.first_seq);
                let records = match known.filter(|_| !body.blob.is_empty()) {
                    Some(at) => self.edges.swap_remove(at).1,
                    None => records(barrier, &body, self.genesis)?,
                };
                for (position, leaf) in body.leaves().enumerate() {
                    if !(next..end).contains(&leaf.seq) {
                        continue;
                    }
                    let record = records.get(position).map_or(&[][..], |(record, _)| record);
                    let leaf = Leaf {
                        place: Place {
                            seq: leaf.seq,
                            index: leaf.index,
                            term: body.term,
                            log_time: body.log_time,
                            outcome: leaf.outcome as u8,
                        },
                        record: Record::decode(record),
                        is_withheld: record.is_empty() && !body.is_clear(leaf.outcome),
                        clear: &body.clear,
                    };
                    leaf.note(&mut sieve, salt);
                    each(&leaf);
                }
                let behind = body.first_seq + body.leaves.len() as u64;
                if body.first_seq < start || behind > end {
                    edges.push((body.first_seq, records));
                }
                next = behind.max(next);
            }
            // Whoever waits for an answer of another kind goes first.
            tokio::task::yield_now().await;
        }
        self.edges = edges;
        Ok((start.is_multiple_of(PIECE_RECORDS) && end == start + PIECE_RECORDS).then_some(sieve))
    }

    fn bodies(&self, from: u64, limit: usize) -> Result<Vec<Body>, Failure> {
        let bodies = self.node.consensus.audit_bodies(from, limit);
        bodies
            .iter()
            .map(|bytes| Body::decode(bytes).ok_or_else(damaged))
            .collect()
    }
}

/// The records of a piece, of which the index knows as one.
pub(super) const PIECE_RECORDS: u64 = 256;
/// An entry has up to 256 KiB, so this many are read and held in one step at most.
const STEP_ENTRIES: usize = 32;
