//! Rows that were opened a moment ago.

use std::sync::{Mutex, PoisonError};

use aumbry_types::SecretBytes;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::unsync::Cache;

use crate::Kind;

/// Plaintexts of names, tokens and metadata by their rows, so that a request does not open the same directories and the same token again. Only the
/// kinds that [`Kind::stays_opened`] names are kept: no value, no key, no stored reply. It lives and is wiped with the barrier.
///
/// A plaintext is given only for the very bytes that were opened.
pub(crate) struct Opened {
    rows: Mutex<Cache<Bytes, Row, ByBytes>>,
}

struct Row {
    kind: Kind,
    body: Bytes,
    plain: SecretBytes,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Bytes, Row> for ByBytes {
    fn weight(&self, key: &Bytes, row: &Row) -> u64 {
        ROW_BYTES + (key.len() + row.body.len() + row.plain.len()) as u64
    }
}

impl Opened {
    pub(crate) fn new() -> Self {
        Self {
            rows: Mutex::new(Cache::with_weighter(ROWS, BYTES_MAX, ByBytes)),
        }
    }

    /// The plaintext, if exactly this was opened.
    pub(crate) fn find(&self, row_key: &[u8], kind: Kind, body: &Bytes) -> Option<SecretBytes> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.get(row_key)?;
        (row.kind == kind && row.body == *body).then(|| row.plain.duplicate())
    }

    /// Keeps the plaintext, if its kind may be kept.
    pub(crate) fn keep(&self, row_key: &[u8], kind: Kind, body: &Bytes, plain: &SecretBytes) {
        if !kind.stays_opened() {
            return;
        }
        let row = Row {
            kind,
            body: body.clone(),
            plain: plain.duplicate(),
        };
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(Bytes::copy_from_slice(row_key), row);
    }
}

/// What a row takes beside its bytes.
const ROW_BYTES: u64 = 256;
/// The names and metadata of some 10,000 secrets, and their tokens.
const BYTES_MAX: u64 = 16 << 20;
/// An estimate, for the first size of the table.
const ROWS: usize = 32_768;
