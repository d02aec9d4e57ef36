//! What older terms seal, sealed anew: a piece at a time, by the leader's round.

use aumbry_barrier::Txn;
use aumbry_crypto::keyring::Series;
use aumbry_state::{Counters, Put, Row, Write, key};
use bytes::Bytes;

use super::care::{Care, Pass};
use crate::Failure;

/// What one piece did.
#[derive(Debug, Default)]
pub(crate) struct Rewrapped {
    /// Where the next one begins.
    pub(crate) after: Option<Bytes>,
    /// Rows that it seals anew.
    pub(crate) rows: u64,
    /// Whether there may be more.
    pub(crate) is_more: bool,
    /// Whether it writes anything: a piece that found nothing is not worth an entry.
    pub(crate) is_written: bool,
}

/// Seals rows anew, behind the last one that was looked at. What the next piece begins with is kept in the row of the keys whenever something is written,
/// so that a new leader goes on from there. Does nothing if no older term is left, or the pass has ended.
pub(crate) fn rewrap(txn: &mut Txn<'_>, after: Option<&Bytes>) -> Result<Rewrapped, Failure> {
    let term = txn.barrier().keyring().term();
    if txn.barrier().keyring().generations(Series::Data).count() == 1 {
        return Ok(Rewrapped::default());
    }
    let mut care = Care::read(txn)?;
    if care.is_done(term) {
        return Ok(Rewrapped::default());
    }
    let now = txn.now().0;
    // The beginning is written whatever it finds: the next piece goes on from there.
    let (mut pass, after, is_begun) = match care.pass.take() {
        Some(pass) if pass.term == term => {
            let after = after.cloned().unwrap_or_else(|| Bytes::copy_from_slice(&pass.after));
            (pass, after, true)
        }
        _ => (Pass::begin(term, now), Bytes::new(), false),
    };
    let mut piece = Piece::take(txn, after)?;
    pass.rows += piece.rewrapped.rows;
    pass.damaged += piece.damaged;
    if !piece.rewrapped.is_more {
        pass.ended_ms = now.max(1);
    }
    // Damage is written too: a term that a damaged row has must not go.
    let is_found = piece.rewrapped.rows > 0 || piece.damaged > 0;
    piece.rewrapped.is_written = is_found || !is_begun || !piece.rewrapped.is_more;
    if piece.rewrapped.is_written {
        pass.after = piece.rewrapped.after.as_deref().unwrap_or_default().to_vec();
        care.pass = Some(pass);
        care.write(txn);
    }
    Ok(piece.rewrapped)
}

impl Pass {
    const fn begin(term: u32, now_ms: u64) -> Self {
        Self {
            term,
            began_ms: now_ms,
            ended_ms: 0,
            after: Vec::new(),
            rows: 0,
            damaged: 0,
        }
    }
}

/// Rows that one entry seals anew.
struct Piece {
    rewrapped: Rewrapped,
    damaged: u64,
}

impl Piece {
    fn take(txn: &mut Txn<'_>, after: Bytes) -> Result<Self, Failure> {
        let mut piece = Self {
            rewrapped: Rewrapped {
                after: Some(after),
                rows: 0,
                is_more: true,
                is_written: false,
            },
            damaged: 0,
        };
        let (mut seen, mut bytes) = (0, 0);
        while seen < SEEN_MAX && bytes < BYTES_MAX {
            let after = piece.rewrapped.after.clone().unwrap_or_default();
            let Some(table) = table_of(&after) else {
                piece.rewrapped.is_more = false;
                break;
            };
            let behind = (after.len() > 1).then_some(&after[..]);
            let rows = txn.scan_rows(&[table], behind, CHUNK);
            if rows.is_empty() {
                // One byte is a whole table: on to the next one.
                piece.rewrapped.after = Some(Bytes::copy_from_slice(&[table.saturating_add(1)]));
                continue;
            }
            for (row_key, row) in rows {
                seen += 1;
                bytes += piece.rewrap(txn, &row_key, &row)?;
                piece.rewrapped.after = Some(row_key);
            }
        }
        Ok(piece)
    }

    /// Seals one row anew if it is of an older term. Gives how many bytes were written.
    fn rewrap(&mut self, txn: &mut Txn<'_>, row_key: &Bytes, row: &Bytes) -> Result<usize, Failure> {
        let Ok(row) = Row::decode(row) else {
            self.damaged += 1;
            return Ok(0);
        };
        if row.key_term == 0 || row.key_term == txn.barrier().keyring().term() {
            return Ok(0);
        }
        let (key_term, body) = match txn.barrier().rewrap(row_key, row.kind, &row.body, txn.entropy()) {
            Ok(Some(sealed)) => sealed,
            Ok(None) => return Ok(0),
            Err(_) => {
                self.damaged += 1;
                return Ok(0);
            }
        };
        // Recorded: the row may change before this is applied.
        txn.read_row(row_key)?;
        let length = row_key.len() + body.len();
        self.rewrapped.rows += 1;
        txn.write(Write::Put(Put {
            key: row_key.clone(),
            kind: row.kind,
            expires_at: row.expires_at,
            counters: Counters::Keep,
            key_term,
            container: row.container,
            body,
        }));
        Ok(length)
    }
}

/// The table that a place is in: the first one, for the beginning; none behind the last.
fn table_of(after: &[u8]) -> Option<u8> {
    let table = after.first().copied().unwrap_or_default();
    key::SEALED_TABLES.into_iter().find(|known| *known >= table)
}

/// Rows that are read at once: most values are small, and the largest have a megabyte.
const CHUNK: usize = 16;
/// Rows that are looked at under the planner's lock, which requests wait for: about two milliseconds.
const SEEN_MAX: usize = 512;
/// What one entry writes: as much as a batch of requests.
const BYTES_MAX: usize = 256 << 10;
