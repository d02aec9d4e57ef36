//! Failed logins of names that have no row of their own, as a directory knows its people and not this store.
//!
//! Whoever has no token chooses these names, so what is kept of them is bounded: a name has its place in one of [`SETS`] rows of a mount, each of
//! which holds [`NAMES_EACH`] names and expires with the last of them. Where all places of a row are taken, the name whose failure is the longest
//! ago makes room, one that is locked after all others, and none within a minute of its failure: so no flood of made-up names writes faster
//! than so many new ones a minute. A name that finds no room is not counted. Which row a name belongs to is known to nobody outside, as it rests
//! on the mount's random id.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_crypto::sha256;
use aumbry_state::{Precondition, key};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

use super::{Lockout, Looked};
use crate::places::failures_of;

/// The failed logins of one name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: String,
    failures: u64,
    last_ms: u64,
}

impl Entry {
    const fn counted(&self) -> (u64, u64) {
        (self.failures, self.last_ms)
    }

    /// Whether it says nothing any more.
    const fn is_over(&self, lockout: &Lockout, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_ms) >= kept_ms(lockout)
    }
}

/// The row that one name belongs to.
pub(crate) struct Strangers {
    id: ObjectId,
    name: String,
    entries: Vec<Entry>,
}

impl Strangers {
    /// Reads what is counted of a name, and of those that have their places beside it.
    pub(crate) fn read(txn: &mut Txn<'_>, mount: ObjectId, name: &str) -> Result<Self, DamagedRow> {
        let name = counted_as(name);
        let digest = sha256(&[b"aumbry/strangers/1\0", mount.as_bytes(), name.as_bytes()]);
        let id = failures_of(mount, digest[0] % SETS);
        let object = txn.read_object(id, Kind::FailedLogins)?;
        let entries = object.map(|object| decode(object.plain.expose())).transpose()?;
        Ok(Self {
            id,
            name,
            entries: entries.unwrap_or_default(),
        })
    }

    /// Whether the name is locked.
    pub(crate) fn is_locked(&self, lockout: &Lockout, now_ms: u64) -> bool {
        let mut entries = self.entries.iter();
        let found = entries.find(|entry| entry.name == self.name);
        found.is_some_and(|entry| lockout.is_locked(entry.counted(), now_ms))
    }

    /// Counts a failed login, though its plan is refused. False if there is no room for the name.
    pub(crate) fn count(mut self, txn: &mut Txn<'_>, lockout: &Lockout) -> Result<bool, DamagedRow> {
        let now_ms = txn.now().0;
        if lockout.is_disabled || !self.enter(lockout, now_ms) {
            return Ok(false);
        }
        let row_key = key::object(self.id);
        // What is written rests on what was read, whatever becomes of the rest of the plan.
        txn.fence(match txn.peek_row(&row_key)? {
            Some(row) => Precondition::RowIs(row_key.clone(), row.writer),
            None => Precondition::Absent(row_key.clone()),
        });
        let plain = record::encode(VERSION, &self.entries);
        txn.fence_row(row_key, Kind::FailedLogins, plain.expose(), options(lockout, now_ms));
        Ok(true)
    }

    fn enter(&mut self, lockout: &Lockout, now_ms: u64) -> bool {
        self.entries.retain(|entry| !entry.is_over(lockout, now_ms));
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.name == self.name) {
            let begins = lockout.begins_anew(entry.counted(), now_ms);
            entry.failures = if begins { 1 } else { entry.failures.saturating_add(1) };
            entry.last_ms = now_ms;
            return true;
        }
        if self.entries.len() >= NAMES_EACH {
            let old = self.entries.iter().enumerate();
            let old = old.filter(|(_, entry)| now_ms.saturating_sub(entry.last_ms) >= HELD_MS);
            let oldest = old.min_by_key(|(_, entry)| (lockout.is_locked(entry.counted(), now_ms), entry.last_ms));
            let Some((place, _)) = oldest else {
                return false;
            };
            drop(self.entries.swap_remove(place));
        }
        self.entries.push(Entry {
            name: self.name.clone(),
            failures: 1,
            last_ms: now_ms,
        });
        true
    }

    /// Forgets the failed logins of the name. There may be none.
    pub(crate) fn forget(mut self, txn: &mut Txn<'_>, lockout: &Lockout) {
        let count = self.entries.len();
        self.entries.retain(|entry| entry.name != self.name);
        if self.entries.is_empty() && count > 0 {
            txn.delete_object(self.id);
        } else if self.entries.len() < count {
            let plain = record::encode(VERSION, &self.entries);
            let options = options(lockout, txn.now().0);
            txn.put_object(self.id, Kind::FailedLogins, plain.expose(), options);
        }
    }
}

/// Who is locked at a mount, of the names greater than this. All rows of it are looked at: there are few.
pub(crate) fn locked(txn: &Txn<'_>, mount: ObjectId, lockout: &Lockout, after: &str) -> Result<Looked, DamagedRow> {
    let now_ms = txn.now().0;
    let mut names = Vec::new();
    for set in 0..SETS {
        let Some(object) = txn.peek_object(failures_of(mount, set), Kind::FailedLogins)? else {
            continue;
        };
        let entries = decode(object.plain.expose())?;
        let is_told = |entry: &Entry| lockout.is_locked(entry.counted(), now_ms) && entry.name.as_str() > after;
        names.extend(entries.into_iter().filter(is_told).map(|entry| entry.name));
    }
    names.sort_unstable();
    Ok(Looked {
        names,
        count: usize::from(SETS),
        last: None,
    })
}

fn decode(plain: &[u8]) -> Result<Vec<Entry>, DamagedRow> {
    record::decode(VERSION, plain).map_err(|_| DamagedRow)
}

/// A row goes by itself: whoever stays away leaves nothing behind.
fn options(lockout: &Lockout, now_ms: u64) -> ObjectOptions {
    ObjectOptions {
        expires_at: now_ms.saturating_add(kept_ms(lockout)),
        ..ObjectOptions::default()
    }
}

const fn kept_ms(lockout: &Lockout) -> u64 {
    let most_s = if lockout.reset_s > lockout.duration_s {
        lockout.reset_s
    } else {
        lockout.duration_s
    };
    most_s.saturating_mul(1_000)
}

/// A directory compares names without case and spaces: no spelling of one gives further guesses.
fn counted_as(name: &str) -> String {
    let visible = name.chars().filter(|c| !c.is_whitespace());
    visible.flat_map(char::to_lowercase).collect()
}

/// With [`NAMES_EACH`]: 512 names at a mount, some hundred kilobytes at the most. A flood of names is then new ones at nine a second, about as
/// many as are recorded of other refusals.
const SETS: u8 = 64;
const NAMES_EACH: usize = 8;
const HELD_MS: u64 = 60_000;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Strangers {
        Strangers {
            id: ObjectId::well_known(200),
            name: counted_as(name),
            entries: Vec::new(),
        }
    }

    fn enter(set: &mut Strangers, name: &str, now_ms: u64) -> bool {
        set.name = counted_as(name);
        set.enter(&Lockout::default(), now_ms)
    }

    fn names(set: &Strangers) -> Vec<&str> {
        set.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn every_spelling_is_one_name() {
        let mut set = of("");
        for name in ["Ann Lee", "ann  lee", " ANNLEE"] {
            assert!(enter(&mut set, name, 1));
        }
        assert_eq!((names(&set), set.entries[0].failures), (vec!["annlee"], 3));
        assert_eq!(counted_as("\u{c4}rger"), "\u{e4}rger");
    }

    #[test]
    fn the_oldest_makes_room_and_the_locked_one_last() {
        let mut set = of("");
        for _ in 0..5 {
            assert!(enter(&mut set, "locked", 1));
        }
        for n in 1..8 {
            assert!(enter(&mut set, &format!("n{n}"), 10 + n));
        }
        assert!(!enter(&mut set, "late", 60_000), "none within a minute");
        assert_eq!(set.entries.len(), NAMES_EACH);
        assert!(enter(&mut set, "late", 60_011), "the oldest that is not locked goes");
        assert!(!names(&set).contains(&"n1") && names(&set).contains(&"locked"));
        set.name = "locked".to_owned();
        assert!(set.is_locked(&Lockout::default(), 60_011));
        // All go with time.
        assert!(enter(&mut set, "new", 960_011));
        assert_eq!(names(&set), ["new"]);
    }

    #[test]
    fn a_count_begins_anew_after_a_lock() {
        let mut set = of("");
        let lockout = Lockout {
            threshold: 2,
            duration_s: 10,
            reset_s: 100,
            is_disabled: false,
        };
        set.name = "a".to_owned();
        for (now_ms, failures, is_locked) in [(0, 1, false), (1, 2, true), (10_001, 1, false), (10_002, 2, true)] {
            assert!(set.enter(&lockout, now_ms));
            assert_eq!(
                (set.entries[0].failures, set.is_locked(&lockout, now_ms)),
                (failures, is_locked)
            );
        }
    }
}
