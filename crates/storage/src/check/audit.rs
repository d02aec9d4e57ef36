//! The audit bodies: every body that is kept, and the hash tree over all of them, with what was pruned.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use aumbry_audit::{Body, Frontier, Grown};

use super::{Check, Meter, Part};
use crate::audit_segments::follows;
use crate::segment::{Record, Records, first_seq_of};
use crate::{StorageError, files, generations};

impl Check<'_> {
    /// Reads the bodies in `dir` up to the applied log index, and compares them with the size and root of the tree as the rows have them. What is
    /// beyond is of no interest: it is cut at the next start, because it is applied again. `pruned` is the tree of what is kept no longer.
    pub fn audit(&mut self, dir: &Path, applied: Option<u64>, expected: Option<(u64, [u8; 32])>, pruned: &Frontier) {
        let Some(applied) = applied else { return };
        let tree = match self.read_bodies(dir, applied, pruned) {
            Ok(tree) => tree,
            Err(error) => return self.find_error(Part::Audit, error),
        };
        if expected.is_some_and(|expected| expected != (tree.size(), tree.root())) {
            self.find(Part::Audit, dir, "its records are not those of the audit root");
        }
    }

    fn read_bodies(&mut self, dir: &Path, applied: u64, pruned: &Frontier) -> Result<Frontier, StorageError> {
        let missing = || StorageError::damaged(dir, format!("it is missing, but log entry {applied} was applied"));
        let current = generations::look(dir)?.ok_or_else(missing)?;
        let mut grown = Grown::after(pruned.clone());
        let mut last = None;
        let mut meter = Meter::new();
        for name in files::names(&current)? {
            let path = current.join(name);
            if first_seq_of(&path).is_none() {
                continue;
            }
            let file = File::open(&path).map_err(StorageError::io("open", &path))?;
            let size = file
                .metadata()
                .map_err(StorageError::io("read the size of", &path))?
                .len();
            let mut records = Records::new(Arc::new(file), 0, size);
            while records.offset() < size {
                let start = records.offset();
                let damaged = |what: &str| StorageError::damaged(&path, format!("byte {start}: {what}"));
                let Some(record) = records.next().map_err(StorageError::io("read", &path))? else {
                    if last.is_some_and(|(index, _)| index >= applied) {
                        return Ok(grown.tree().clone());
                    }
                    return Err(damaged("no whole body"));
                };
                if record.index > applied {
                    break;
                }
                follows(last, record.index, record.first_seq).map_err(|what| damaged(&what))?;
                add(&mut grown, &record).map_err(damaged)?;
                last = Some((record.index, record.first_seq));
                meter.add(self, Part::Audit, record.bytes.len());
            }
        }
        meter.end(self, Part::Audit);
        match last {
            Some((index, _)) if index < applied => {
                let what = format!("it ends at log entry {index}, but {applied} was applied");
                Err(StorageError::damaged(&current, what))
            }
            None => Err(missing()),
            Some(_) => Ok(grown.tree().clone()),
        }
    }
}

fn add(grown: &mut Grown, record: &Record) -> Result<(), &'static str> {
    let body = Body::decode(&record.bytes).ok_or("a body that cannot be read")?;
    if (body.index, body.first_seq) != (record.index, record.first_seq) {
        return Err("audit records before it are missing");
    }
    grown.add(&body)
}
