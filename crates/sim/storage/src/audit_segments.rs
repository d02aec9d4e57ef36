//! The audit bodies on a simulated disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aumbry_sim_world::disk::{self, Body};
use aumbry_sim_world::host;

use crate::{StorageError, fatal};

/// The audit bodies.
pub struct AuditSegments {
    directory: PathBuf,
    bodies: Mutex<Vec<Body>>,
}

impl AuditSegments {
    /// Opens what is there. Bodies past what was applied are cut.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if bodies are missing: a row must never survive the record of its change.
    pub fn open(directory: &Path, applied: impl Into<Option<u64>>) -> Result<Self, StorageError> {
        Self::open_above(directory, applied, 0)
    }

    /// As [`Self::open`], where those before a floor may have been pruned.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if bodies are missing.
    pub fn open_above(directory: &Path, applied: impl Into<Option<u64>>, floor: u64) -> Result<Self, StorageError> {
        let applied = applied.into();
        let mut bodies = disk::open_bodies(directory);
        if let Some((_, first, _)) = bodies.first().filter(|(_, first, _)| *first > floor) {
            let what = format!("it begins with audit record {first}, and the floor is {floor}");
            return Err(StorageError::damaged(directory, what));
        }
        bodies.retain(|(index, ..)| Some(*index) <= applied);
        let last = bodies.last().map(|(index, ..)| *index);
        if last < applied.filter(|applied| *applied > 0) {
            let what = format!("it ends at {last:?}, and the rows at {applied:?}");
            return Err(StorageError::damaged(directory, what));
        }
        disk::replace_bodies(directory, bodies.clone());
        Ok(Self {
            directory: directory.to_owned(),
            bodies: Mutex::new(bodies),
        })
    }

    /// Opens nothing of what is there, which is about to be replaced.
    ///
    /// # Errors
    /// Never.
    pub fn open_none(directory: &Path) -> Result<Self, StorageError> {
        Ok(Self {
            directory: directory.to_owned(),
            bodies: Mutex::default(),
        })
    }

    /// Appends bodies; a hole ends the process.
    pub fn append(&self, bodies: &[(u64, u64, Vec<u8>)]) {
        host::point("apply: before the bodies");
        let mut known = self.lock();
        let mut new = Vec::with_capacity(bodies.len());
        for (index, first_seq, bytes) in bodies {
            let last = known.last().map(|(index, first, _)| (*index, *first));
            if last == Some((*index, *first_seq)) {
                continue;
            }
            if last.is_some_and(|(last, first)| *index != last + 1 || *first_seq < first) {
                fatal("cannot append an audit body", format!("{index} does not follow {last:?}"));
            }
            let body = (*index, *first_seq, Arc::new(bytes.clone()));
            known.push(body.clone());
            new.push(body);
        }
        drop(known);
        disk::append_bodies(&self.directory, &new);
        host::point("apply: between bodies and rows");
    }

    /// Makes everything appended so far durable.
    pub fn sync(&self) {
        host::point("flush: before the bodies");
        disk::sync_bodies(&self.directory);
    }

    /// At most `limit` bodies, from the one that contains the record `from_seq` on.
    #[must_use]
    pub fn read(&self, from_seq: u64, limit: usize) -> Vec<Vec<u8>> {
        let bodies = self.lock();
        let at = bodies.partition_point(|(_, first, _)| *first <= from_seq).saturating_sub(1);
        bodies[at..].iter().take(limit).map(|(.., bytes)| bytes.to_vec()).collect()
    }

    /// Whether there are bodies of which all records are before this one.
    #[must_use]
    pub fn has_before(&self, seq: u64) -> bool {
        self.lock().get(1).is_some_and(|(_, first, _)| *first <= seq)
    }

    /// Removes bodies of which all records are before this one.
    pub fn prune(&self, seq: u64) {
        let mut bodies = self.lock();
        let keep = bodies.partition_point(|(_, first, _)| *first <= seq);
        drop(bodies.drain(..keep.saturating_sub(1)));
        disk::prune_bodies(&self.directory, seq);
    }

    /// Calls `each` with all bodies from the one that contains the record `floor`, up to a log index.
    pub fn export(&self, floor: u64, up_to_index: u64, mut each: impl FnMut(u64, u64, &[u8])) {
        let mut bodies = self.lock().clone();
        if floor > 0 {
            let keep = bodies.partition_point(|(_, first, _)| *first <= floor);
            drop(bodies.drain(..keep.saturating_sub(1)));
        }
        for (index, first_seq, bytes) in bodies.iter().filter(|(index, ..)| *index <= up_to_index) {
            each(*index, *first_seq, bytes);
        }
    }

    /// Replaces all bodies, durably.
    ///
    /// # Errors
    /// Never.
    pub fn replace_all(
        directory: &Path,
        bodies: impl IntoIterator<Item = (u64, u64, Vec<u8>)>,
    ) -> Result<(), StorageError> {
        host::point("install: before the bodies");
        let bodies = bodies.into_iter().map(|(index, first, bytes)| (index, first, Arc::new(bytes)));
        disk::replace_bodies(directory, bodies.collect());
        host::point("install: between bodies and rows");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Body>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
