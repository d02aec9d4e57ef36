//! How much room the disk has, measured now and then, so that a disk that fills up is noticed before a write fails: an error of a write ends
//! the process, and must.
//!
//! What it guarantees: asking costs one atomic read, and the answer does not flap: what is refused below a limit is taken again only well
//! above it. What it does not do: measure by itself, or find a disk that is filled within a second; that one ends the process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aumbry_state::Room;

use crate::DataDir;

/// The room on the file systems of a data directory.
#[derive(Debug)]
pub struct Space {
    /// They can be on file systems of their own; the one with the least room counts.
    places: Vec<PathBuf>,
    reserve: u64,
    free: AtomicU64,
    room: AtomicU8,
}

impl Space {
    /// Measures for the first time. Blocks.
    #[must_use]
    pub fn new(data: &DataDir, reserve: u64) -> Self {
        let space = Self {
            places: vec![
                data.path().to_owned(),
                data.audit(),
                data.log(),
                data.state(),
                data.snapshots(),
            ],
            reserve,
            free: AtomicU64::new(u64::MAX),
            room: AtomicU8::new(Room::Ample as u8),
        };
        space.measure();
        space
    }

    /// Asks the file systems. Blocks, on a disk that hangs for ever.
    pub fn measure(&self) {
        // One that is not made yet will be on the file system of the directory above it. One that does not answer is as it was: whoever writes to
        // it will notice.
        let Some(free) = self.places.iter().filter_map(|place| free_bytes(place)).min() else {
            return;
        };
        self.free.store(free, Ordering::Relaxed);
        let before = self.room();
        let now = judge(before, free, self.reserve);
        self.room.store(now as u8, Ordering::Relaxed);
        if now != before {
            self.tell(now, free);
        }
    }

    /// The bytes that were free when they were measured last.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// How many bytes are to stay free.
    #[must_use]
    pub const fn reserve(&self) -> u64 {
        self.reserve
    }

    /// What they amount to.
    #[must_use]
    pub fn room(&self) -> Room {
        match self.room.load(Ordering::Relaxed) {
            room if room == Room::Ample as u8 => Room::Ample,
            room if room == Room::Low as u8 => Room::Low,
            _ => Room::Spent,
        }
    }

    /// Whether a copy of everything in these directories could be written, and what replication needs would stay. Blocks.
    #[must_use]
    pub fn holds_a_copy(&self, directories: &[&Path]) -> bool {
        self.holds(directories.iter().map(|directory| bytes_below(directory)).sum())
    }

    /// Whether so many bytes could be written, and what replication needs would stay. Blocks.
    #[must_use]
    pub fn holds(&self, bytes: u64) -> bool {
        self.measure();
        self.free() >= bytes.saturating_add(self.reserve / FLOOR_PART)
    }

    fn tell(&self, room: Room, free: u64) {
        let (path, reserve) = (self.places[0].display(), self.reserve);
        match room {
            Room::Ample => tracing::info!(%path, free, reserve, "the disk has room again"),
            Room::Low => tracing::warn!(
                %path,
                free,
                reserve,
                "the disk has less room than the reserve: as leader this node refuses clients; make room, or lower limits.disk_reserve_bytes"
            ),
            Room::Spent => tracing::error!(
                %path,
                free,
                reserve,
                "the disk is nearly full: this node takes no more entries, and catches up when there is room; make room on it"
            ),
        }
    }
}

/// How many bytes this process may still write on the file system of a path; 0 if no more files can be made there. `None` if nobody knows.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    // File systems without a fixed number of files say 0.
    let has_files = stat.f_files == 0 || stat.f_favail >= FILES_MIN;
    Some(if has_files {
        stat.f_bavail.saturating_mul(stat.f_frsize)
    } else {
        0
    })
}

/// Each step back needs a quarter more than the step down, or the purge that a refusal makes possible would end it and begin it again.
fn judge(before: Room, free: u64, reserve: u64) -> Room {
    let floor = reserve / FLOOR_PART;
    let (low, spent) = match before {
        Room::Ample => (reserve, floor),
        Room::Low => (reserve.saturating_add(floor), floor),
        Room::Spent => (reserve.saturating_add(floor), floor.saturating_mul(2)),
    };
    match free {
        free if free < spent => Room::Spent,
        free if free < low => Room::Low,
        _ => Room::Ample,
    }
}

/// What the files below a directory take. One that goes away meanwhile takes nothing.
fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// The part of the reserve below which a follower takes no more entries. With the default it holds what is on its way without being asked: a flush of
/// the rows, the bodies beside them, and a file of the log.
const FLOOR_PART: u64 = 4;
/// A few minutes of tables, segments and snapshots.
const FILES_MIN: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_flap() {
        use Room::{Ample, Low, Spent};
        for (before, free, after) in [
            (Ample, 1_000, Ample),
            (Ample, 999, Low),
            (Low, 1_000, Low),
            (Low, 1_249, Low),
            (Low, 1_250, Ample),
            (Low, 250, Low),
            (Low, 249, Spent),
            (Ample, 249, Spent),
            (Spent, 250, Spent),
            (Spent, 499, Spent),
            (Spent, 500, Low),
            (Spent, 1_249, Low),
            (Spent, 1_250, Ample),
        ] {
            assert_eq!(judge(before, free, 1_000), after, "{before:?} {free}");
        }
        assert_eq!(judge(Ample, 0, 0), Ample, "there is no reserve");
        assert_eq!(judge(Spent, u64::MAX - 1, u64::MAX), Low, "nothing overflows");
    }

    #[test]
    fn a_copy_needs_what_is_there_and_the_floor() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(&root.path().join("data")).unwrap();
        let file = data.snapshots().join("file");
        std::fs::write(&file, [0; 1_000]).unwrap();
        assert_eq!(bytes_below(data.path()), bytes_below(&data.snapshots()) + 2);
        let modest = Space::new(&data, 1 << 10);
        assert!(modest.holds_a_copy(&[&data.snapshots()]) && modest.room() == Room::Ample);
        assert!(modest.free() > 0 && modest.free() < u64::MAX);
        let greedy = Space::new(&data, u64::MAX);
        assert!(!greedy.holds_a_copy(&[&data.snapshots()]) && greedy.room() == Room::Spent);
    }
}
