//! Names in containers. A name stands in one place, its directory entry; everything else goes by id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aumbry_state::{Counters, Put, Row, Write, key};
use aumbry_types::ObjectId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{DamagedRow, Kind, Txn, record};

/// One child of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its name in the container.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: ObjectId,
}

/// Sorted names of containers, so that a page of a list does not decrypt the whole directory again.
///
/// Tagged with the container's count of insertions and removals. Whoever plans on commands in flight must [`ListCache::clear`] it
/// when some of them are lost, as their counts are then given again to other contents.
#[derive(Default)]
pub struct ListCache {
    lists: Mutex<BTreeMap<ObjectId, CachedList>>,
}

struct CachedList {
    /// The container's count of insertions and removals when it was listed.
    scan: u64,
    children: Arc<Vec<Child>>,
}

impl ListCache {
    /// Forgets everything.
    pub fn clear(&self) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn find(&self, container: ObjectId, scan: u64) -> Option<Arc<Vec<Child>>> {
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = lists.get(&container).filter(|cached| cached.scan == scan);
        cached.map(|cached| Arc::clone(&cached.children))
    }

    fn keep(&self, container: ObjectId, scan: u64, list: &Arc<Vec<Child>>) {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = lists.values().map(|cached| cached.children.len()).sum();
        if held + list.len() > CACHED_NAMES_MAX || lists.len() >= CACHED_LISTS_MAX {
            lists.clear();
        }
        if list.len() <= CACHED_NAMES_MAX {
            lists.insert(
                container,
                CachedList {
                    scan,
                    children: Arc::clone(list),
                },
            );
        }
    }
}

/// Why a name was not entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The container has [`CHILDREN_MAX`] children.
    #[error("{DIRECTORY_FULL}")]
    Full,
    /// It has as many as an operator allows.
    #[error("{0}")]
    Limited(&'static str),
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: ObjectId,
    name: String,
}

impl Txn<'_> {
    /// Finds a name. Not finding it is recorded too.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn lookup(&mut self, container: ObjectId, name: &str) -> Result<Option<Child>, DamagedRow> {
        let row_key = key::directory(container, self.barrier().hash_name(container, name));
        let Some(row) = self.read_row(&row_key)? else {
            return Ok(None);
        };
        let child = self.open_child(&row_key, &row)?;
        // Two names of one container with the same 128-bit hash are not expected in the life of the universe; serving the wrong
        // one would be worse than refusing.
        if child.name == name {
            Ok(Some(child))
        } else {
            Err(DamagedRow)
        }
    }

    /// Enters a name, which must not be there: the plan is refused if it is by then, or if the container was revoked.
    ///
    /// # Errors
    /// [`InsertError`]
    pub fn insert(&mut self, container: ObjectId, name: &str, kind: Kind, id: ObjectId) -> Result<(), InsertError> {
        let row_key = key::directory(container, self.barrier().hash_name(container, name));
        let is_new = self.read_row(&row_key)?.is_none();
        // Tokens are never listed.
        if is_new && kind != Kind::Token && self.container(container)?.children >= CHILDREN_MAX {
            // The refusal must not be told if it rests on a child in flight that is lost.
            self.fence_scan(container)?;
            return Err(InsertError::Full);
        }
        if is_new {
            self.take_limited_place(container, kind)?;
        }
        self.fence_generation(container)?;
        let entry = record::encode(
            ENTRY_VERSION,
            &Entry {
                id,
                name: name.to_owned(),
            },
        );
        let (key_term, body) = self.barrier().seal(&row_key, kind, entry.expose(), self.entropy());
        self.write(Write::Put(Put {
            key: row_key,
            kind: kind as u8,
            expires_at: 0,
            counters: Counters::Keep,
            key_term,
            container,
            body,
        }));
        Ok(())
    }

    /// Removes a name.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn remove(&mut self, container: ObjectId, name: &str) -> Result<(), DamagedRow> {
        let row_key = key::directory(container, self.barrier().hash_name(container, name));
        if self.read_row(&row_key)?.is_some() {
            self.write(Write::Delete(row_key));
            self.free_place(container);
        }
        Ok(())
    }

    /// All children, sorted by name. The scan is recorded: a plan that writes is refused if a child came or went since.
    ///
    /// # Errors
    /// [`DamagedRow`]
    pub fn list(&mut self, container: ObjectId) -> Result<Arc<Vec<Child>>, DamagedRow> {
        let scan = self.fence_scan(container)?;
        if let Some(list) = self.lists().find(container, scan) {
            return Ok(list);
        }
        let prefix = key::directory_prefix(container);
        let mut children = Vec::new();
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.scan_rows(&prefix, after.as_deref(), SCAN_ROWS);
            for (row_key, row) in &page {
                let row = Row::decode(row).map_err(|_| DamagedRow)?;
                children.push(self.open_child(row_key, &row)?);
            }
            match page.into_iter().next_back() {
                Some((last, _)) => after = Some(last),
                None => break,
            }
        }
        children.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let list = Arc::new(children);
        self.lists().keep(container, scan, &list);
        Ok(list)
    }

    /// Some children with their rows, at most so many, in no order that means anything. Unrecorded: for sweeps of containers that
    /// nobody enters. A damaged row is given as such, so that a sweep can go past it.
    #[must_use]
    pub fn some_children(&self, container: ObjectId, limit: usize) -> Vec<(Bytes, Result<Child, DamagedRow>)> {
        let page = self.scan_rows(&key::directory_prefix(container), None, limit);
        let children = page.into_iter().map(|(row_key, row)| {
            let row = Row::decode(&row).map_err(|_| DamagedRow);
            let child = row.and_then(|row| self.open_child(&row_key, &row));
            (row_key, child)
        });
        children.collect()
    }

    fn open_child(&self, row_key: &Bytes, row: &Row) -> Result<Child, DamagedRow> {
        let kind = Kind::from_u8(row.kind).ok_or(DamagedRow)?;
        let plain = self.barrier().open(row_key, kind, &row.body)?;
        let entry: Entry = record::decode(ENTRY_VERSION, plain.expose()).map_err(|_| DamagedRow)?;
        Ok(Child {
            name: entry.name,
            kind,
            id: entry.id,
        })
    }
}

/// The most children of one directory. A listing reads, opens and sorts all of them in one step that every other plan waits for, and
/// only a list of at most so many names is kept for the next page.
pub const CHILDREN_MAX: u64 = 1_000_000;
/// What is wrong with a full directory, and what to do.
pub const DIRECTORY_FULL: &str =
    "the directory holds 1,000,000 names, the most it can; use a subdirectory, or delete names first";
const ENTRY_VERSION: u8 = 1;
/// How many rows one step of a listing reads.
const SCAN_ROWS: usize = 1_024;
/// One full directory: about 100 MB of names at their usual length.
const CACHED_NAMES_MAX: usize = CHILDREN_MAX as usize;
/// Directories listed at about the same time.
const CACHED_LISTS_MAX: usize = 4_096;
