//! Looks through the audit log for records: a page at a time, each with a bounded amount of work, from the end or from the beginning.
//!
//! What it guarantees: the pages of one query together have every record that the filter takes, each once, as far as the log went when the first was asked for.
//! What it does not do: decide who may ask. That is a plan's, which is on record before anything is looked at.

mod index;
mod pieces;

use std::collections::VecDeque;

use aumbry_audit::Filter;
use aumbry_audit::filter::Probe;
use aumbry_audit::text;
use aumbry_barrier::Barrier;
use aumbry_types::SecretBytes;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Failure, Node, Reply, genesis};

pub(crate) use index::AuditIndex;
use pieces::{PIECE_RECORDS, Pieces};

/// What somebody asks of the log.
#[derive(Clone)]
pub struct AuditQuery {
    /// What the records must be. Its namespace and its times are set by the plan.
    pub filter: Filter,
    /// From when on.
    pub since: Moment,
    /// Until when.
    pub until: Moment,
    /// From this sequence number on.
    pub from_seq: u64,
    /// Up to this sequence number and with it.
    pub to_seq: Option<u64>,
    /// Whether the oldest come first, and not the newest.
    pub is_oldest_first: bool,
    /// At most so many records in a page.
    pub limit: usize,
    /// Where the page before ended, as it said.
    pub page: Option<u64>,
}

/// A time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// None was named.
    Unsaid,
    /// In milliseconds since 1970.
    At(u64),
    /// So many seconds before now.
    Ago(u64),
}

impl Moment {
    pub(crate) const fn resolve(self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Unsaid => None,
            Self::At(ms) => Some(ms),
            Self::Ago(s) => Some(now_ms.saturating_sub(s.saturating_mul(1_000))),
        }
    }
}

impl Node {
    /// One page of what a query finds. The query was admitted and is on record.
    pub(crate) async fn search(&self, query: &AuditQuery, deadline: Instant) -> Result<Reply, Failure> {
        // One after the other: reading the log takes the time of one thread at most from everything else.
        let turn = tokio::time::timeout_at(deadline, self.audit_index.turn()).await;
        let _turn = turn.map_err(|_| Failure::overloaded())?;
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        let mut pieces = Pieces::new(self, genesis::entry_index(&*self.consensus.view()));
        let floor = self.audit_floor();
        let (mut low, mut high) = bounds(&pieces, query, (floor, self.consensus.status().audit_size))?;
        // Who asked for what was before is told where the log begins.
        let floor = floor
            .checked_sub(query.from_seq)
            .filter(|below| *below > 0)
            .map(|_| floor);
        let salt = self.audit_index.salt(&*self.entropy);
        let probe = Probe::new(&salt, &query.filter);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let (mut read, mut looked_at) = (0, 0);
        while low < high && read < READ_PIECES_MAX && looked_at < LOOKED_PIECES_MAX {
            looked_at += 1;
            let piece = if query.is_oldest_first { low } else { high - 1 } / PIECE_RECORDS;
            let (start, end) = (low.max(piece * PIECE_RECORDS), high.min((piece + 1) * PIECE_RECORDS));
            if self.audit_index.may_hold(&salt, piece, &probe) {
                read += 1;
                let mut found = self
                    .read_piece(&mut pieces, &barrier, (start, end), &salt, &query.filter)
                    .await?;
                while let Some((seq, row)) = if query.is_oldest_first {
                    found.pop_front()
                } else {
                    found.pop_back()
                } {
                    if rows.len() == query.limit || (bytes > 0 && bytes + row.len() > PAGE_BYTES_MAX) {
                        // The page is full: the next one begins with this record.
                        let next = if query.is_oldest_first { seq } else { seq + 1 };
                        return told(&rows, (Some(next), floor), read);
                    }
                    bytes += row.len();
                    rows.push(row);
                }
            }
            if query.is_oldest_first {
                low = end;
            } else {
                high = start;
            }
        }
        let next = if query.is_oldest_first { low } else { high };
        told(&rows, ((low < high).then_some(next), floor), read)
    }

    /// The records of a piece that a filter takes, as they are shown, in order. A piece that is read whole is noted in the index.
    async fn read_piece(
        &self,
        pieces: &mut Pieces<'_>,
        barrier: &Barrier,
        (start, end): (u64, u64),
        salt: &[u8; 16],
        filter: &Filter,
    ) -> Result<VecDeque<(u64, String)>, Failure> {
        let mut found = VecDeque::new();
        let sieve = pieces.read(barrier, (start, end), salt, |leaf| {
            if leaf.is_taken(filter) {
                let shown = leaf.shown();
                found.push_back((leaf.place.seq, text::json(&shown).unwrap_or_default()));
            }
        });
        if let Some(sieve) = sieve.await? {
            self.audit_index.keep(salt, start / PIECE_RECORDS, sieve);
        }
        // Nothing of the store leaves a node that was sealed meanwhile.
        if self.is_unsealed() {
            Ok(found)
        } else {
            Err(Failure::sealed())
        }
    }

    /// Notes some pieces of the log in the index that are not in it, the newest first. For when there is nothing else to do.
    ///
    /// # Errors
    /// [`Failure`] if the node is sealed, or a record is damaged.
    pub(crate) async fn tend_audit_index(&self) -> Result<(), Failure> {
        // First, as what is told to be missing counts as looked at.
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        let Some(piece) = self
            .audit_index
            .missing(self.audit_floor(), self.consensus.status().audit_size)
        else {
            return Ok(());
        };
        let mut pieces = Pieces::new(self, genesis::entry_index(&*self.consensus.view()));
        let salt = self.audit_index.salt(&*self.entropy);
        let range = (piece * PIECE_RECORDS, (piece + 1) * PIECE_RECORDS);
        if let Some(sieve) = pieces.read(&barrier, range, &salt, |_| {}).await? {
            self.audit_index.keep(&salt, piece, sieve);
        }
        Ok(())
    }
}

/// The sequence numbers among which the page is, the last not with it. Times and indexes ascend with them, so their ends are found by halving.
fn bounds(pieces: &Pieces<'_>, query: &AuditQuery, (floor, size): (u64, u64)) -> Result<(u64, u64), Failure> {
    let filter = &query.filter;
    let (mut low, mut high) = (query.from_seq.max(floor), size);
    if let Some(last) = query.to_seq {
        high = high.min(last.saturating_add(1));
    }
    match query.page {
        Some(page) if query.is_oldest_first => low = low.max(page),
        Some(page) => high = high.min(page),
        None => {}
    }
    if low < high && (filter.since_ms > 0 || filter.from_index > 0) {
        low = pieces.first((low, high), |body| {
            body.log_time >= filter.since_ms && body.index >= filter.from_index
        })?;
    }
    if low < high && (filter.until_ms.is_some() || filter.to_index.is_some()) {
        high = pieces.first((low, high), |body| {
            filter.until_ms.is_some_and(|until| body.log_time > until)
                || filter.to_index.is_some_and(|last| body.index > last)
        })?;
    }
    Ok((low, high))
}

/// `records` are JSON texts already. `next` is there as long as there may be more, `floor` if records before it were pruned.
fn told(rows: &[String], (next, floor): (Option<u64>, Option<u64>), read: usize) -> Result<Reply, Failure> {
    let mut rest = json!({ "looked_at": read as u64 * PIECE_RECORDS });
    if let Some(next) = next {
        rest["next"] = Value::from(next);
    }
    if let Some(floor) = floor {
        rest["floor"] = Value::from(floor);
    }
    let rest = rest.to_string();
    let mut data = String::with_capacity(rest.len() + rows.iter().map(|row| row.len() + 1).sum::<usize>() + 16);
    data.push_str(r#"{"records":["#);
    data.push_str(&rows.join(","));
    data.push_str("],");
    data.push_str(&rest[1..]);
    Ok(Reply::Json {
        data: SecretBytes::from(data),
        warnings: Vec::new(),
    })
}

/// Pieces that are read for one page: 8,192 records, some tenth of a second.
const READ_PIECES_MAX: usize = 32;
/// Pieces of which one page asks the index, at some fifty nanoseconds each.
const LOOKED_PIECES_MAX: usize = 65_536;
/// What a page holds, unless its first record alone is longer. A record in JSON has at most some hundred kilobytes, and a message may have several megabytes.
const PAGE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(Moment::Unsaid.resolve(5), None);
        assert_eq!(Moment::At(3).resolve(5), Some(3));
        assert_eq!(Moment::Ago(2).resolve(5_000), Some(3_000));
        assert_eq!(Moment::Ago(u64::MAX).resolve(5_000), Some(0));
    }

    #[test]
    fn a_page_is_one_object() {
        for (rows, next, expected) in [
            (vec![], None, json!({ "records": [], "looked_at": 0 })),
            (
                vec![r#"{"a":1}"#.to_owned(), "{}".to_owned()],
                Some(7),
                json!({ "records": [{"a": 1}, {}], "looked_at": 512, "next": 7 }),
            ),
        ] {
            let Ok(Reply::Json { data, .. }) = told(&rows, (next, None), rows.len()) else {
                panic!("another reply");
            };
            let told: Value = serde_json::from_slice(data.expose()).expect("is JSON");
            assert_eq!(told, expected);
        }
    }
}
