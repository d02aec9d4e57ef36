//! The applied rows: every block, every row, the state digest.

use std::path::Path;

use aumbry_audit::Frontier;
use aumbry_crypto::lthash::LtHash;
use aumbry_state::{Machine, Row, floor_in, key};
use bytes::Bytes;
use rocksdb::{DB, ReadOptions};

use super::{Check, Meter, Part};
use crate::{StorageError, generations, options, state_db};

/// What the rows say of themselves.
#[derive(Default)]
pub struct RowFacts {
    /// The row that the caller asked for.
    pub marked: Option<Bytes>,
    /// The size and root of the audit tree, unless the rows are damaged.
    pub audit: Option<(u64, [u8; 32])>,
    /// The tree of the audit records that were pruned.
    pub pruned: Frontier,
}

impl Check<'_> {
    /// Reads the rows in `dir`. `marked` is a row of its own that the caller wants to see, even if others are damaged.
    pub fn rows(&mut self, dir: &Path, marked: &[u8]) -> RowFacts {
        let opened = generations::look(dir).and_then(|current| match current {
            Some(path) => Ok(options::open_read_only(&state_db::state_options(), &path)?.map(|db| (path, db))),
            None => Ok(None),
        });
        let (path, db) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return RowFacts::default(),
            Err(error) => {
                self.find_error(Part::State, error);
                return RowFacts::default();
            }
        };
        let marked = db.get(marked).ok().flatten().map(Bytes::from);
        let audit = self.read_rows(&db, &path).unwrap_or_else(|error| {
            self.find_error(Part::State, error);
            None
        });
        let floor = db.get(key::audit_floor()).ok().flatten();
        let floor = floor.and_then(|row| floor_in(&Bytes::from(row)));
        RowFacts {
            marked,
            audit,
            pruned: floor.map(|floor| floor.tree().clone()).unwrap_or_default(),
        }
    }

    fn read_rows(&mut self, db: &DB, path: &Path) -> Result<Option<(u64, [u8; 32])>, StorageError> {
        let mut digest = LtHash::default();
        let mut own_row = None;
        let mut meter = Meter::new();
        let mut read = ReadOptions::default();
        read.fill_cache(false);
        let mut rows = db.raw_iterator_opt(read);
        rows.seek_to_first();
        while let Some((key, row)) = rows.item() {
            if key == key::machine() {
                own_row = Some(Bytes::copy_from_slice(row));
            } else if key::is_digested(key) {
                digest.add(key, row);
                if key::is_writable(key) && Row::decode(&Bytes::copy_from_slice(row)).is_err() {
                    return Err(StorageError::damaged(path, "a row cannot be read"));
                }
            }
            meter.add(self, Part::State, key.len() + row.len());
            rows.next();
        }
        rows.status().map_err(StorageError::database("read", path))?;
        meter.end(self, Part::State);
        let machine = Machine::from_row(own_row)
            .map_err(|_| StorageError::damaged(path, "the state machine's own row cannot be read"))?;
        if machine.digest() != digest.digest() {
            return Err(StorageError::damaged(
                path,
                "its rows are not those of its state digest",
            ));
        }
        Ok(Some((machine.audit_size(), machine.audit_root())))
    }
}
