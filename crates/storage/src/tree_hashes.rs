//! Hashes of whole tiles of the audit tree, so that a proof need not hash the whole log: one file for each tier, 32 bytes a hash.
//!
//! It is a cache. Nothing here is synced or checked: what a crash or a disk leaves in it is found when a proof made from it is verified,
//! and then it is cleared and made again from the audit bodies. So it is never copied, backed up or repaired.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{StorageError, files};

/// The hashes of a node.
pub struct TreeHashes {
    dir: PathBuf,
    /// The files of the tiers from 1 on, which is the first here.
    tiers: Mutex<Vec<Tier>>,
}

struct Tier {
    file: File,
    count: u64,
}

impl TreeHashes {
    /// Opens the hashes in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        files::create_dir(dir)?;
        let mut tiers = Vec::new();
        for number in 1..=TIERS_MAX {
            let path = path(dir, number);
            if !path.exists() {
                break;
            }
            tiers.push(tier(&path).map_err(StorageError::io("open", &path))?);
        }
        Ok(Self {
            dir: dir.to_owned(),
            tiers: Mutex::new(tiers),
        })
    }

    /// How many hashes a tier has; tiers are counted from 1.
    #[must_use]
    pub fn count(&self, number: u32) -> u64 {
        let tiers = self.lock();
        position(number)
            .and_then(|position| tiers.get(position))
            .map_or(0, |tier| tier.count)
    }

    /// So many hashes of a tier, from a position on; fewer if it has no more.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, number: u32, first: u64, count: u64) -> io::Result<Vec<[u8; 32]>> {
        let tiers = self.lock();
        let Some(tier) = position(number).and_then(|position| tiers.get(position)) else {
            return Ok(Vec::new());
        };
        let count = count.min(tier.count.saturating_sub(first)).min(READ_MAX);
        let mut hashes = Vec::new();
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default() * HASH_BYTES];
        tier.file.read_exact_at(&mut bytes, first * HASH_BYTES as u64)?;
        hashes.extend(bytes.as_chunks::<HASH_BYTES>().0);
        Ok(hashes)
    }

    /// Appends a hash to a tier.
    ///
    /// # Errors
    /// If the disk fails, or there is no such tier.
    pub fn append(&self, number: u32, hash: &[u8; 32]) -> io::Result<()> {
        let mut tiers = self.lock();
        let position = position(number).filter(|position| *position <= tiers.len());
        let position = position.ok_or_else(|| io::Error::other(format!("there is no tier {number}")))?;
        if position == tiers.len() {
            tiers.push(tier(&path(&self.dir, number))?);
        }
        if let Some(tier) = tiers.get_mut(position) {
            tier.file.write_all_at(hash, tier.count * HASH_BYTES as u64)?;
            tier.count += 1;
        }
        Ok(())
    }

    /// Forgets all hashes.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn clear(&self) -> io::Result<()> {
        let mut tiers = self.lock();
        // From the last: a tier without the one below it would be taken for none.
        for number in (1..=u32::try_from(tiers.len()).unwrap_or_default()).rev() {
            fs::remove_file(path(&self.dir, number))?;
            let _ = tiers.pop();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tier>> {
        self.tiers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the file of a tier. Part of a hash at its end counts for nothing, and is written over.
fn tier(path: &Path) -> io::Result<Tier> {
    let file = files::open_options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let count = file.metadata()?.len() / HASH_BYTES as u64;
    Ok(Tier { file, count })
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("tier-{number}"))
}

fn position(number: u32) -> Option<usize> {
    let position = number.checked_sub(1).filter(|_| number <= TIERS_MAX)?;
    usize::try_from(position).ok()
}

const HASH_BYTES: usize = 32;
/// With 256 hashes to a tile, seven tiers over the leaves hold more records than there are numbers for.
const TIERS_MAX: u32 = 7;
/// A tile: nobody reads more at once.
const READ_MAX: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kept_over_a_start_and_forgotten_when_cleared() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tree");
        let hashes = TreeHashes::open(&dir).unwrap();
        assert_eq!(hashes.read(1, 0, 256).unwrap(), Vec::<[u8; 32]>::new());
        for byte in 0..5 {
            hashes.append(1, &[byte; 32]).unwrap();
        }
        assert!(hashes.append(3, &[0; 32]).is_err(), "there is no tier 2 yet");
        assert!(hashes.append(0, &[0; 32]).is_err() && hashes.append(8, &[0; 32]).is_err());
        hashes.append(2, &[9; 32]).unwrap();
        drop(hashes);
        // A crash in the middle of a hash.
        let file = files::open_options().write(true).open(dir.join("tier-1")).unwrap();
        file.write_all_at(&[7; 10], 5 * 32).unwrap();
        let hashes = TreeHashes::open(&dir).unwrap();
        assert_eq!((hashes.count(1), hashes.count(2), hashes.count(3)), (5, 1, 0));
        assert_eq!(hashes.read(1, 3, 256).unwrap(), [[3; 32], [4; 32]]);
        assert_eq!(hashes.read(1, 9, 1).unwrap(), Vec::<[u8; 32]>::new());
        hashes.append(1, &[5; 32]).unwrap();
        assert_eq!(hashes.read(1, 5, 1).unwrap(), [[5; 32]]);
        hashes.clear().unwrap();
        assert_eq!((hashes.count(1), hashes.count(2)), (0, 0));
        hashes.append(1, &[1; 32]).unwrap();
        drop(hashes);
        let hashes = TreeHashes::open(&dir).unwrap();
        assert_eq!((hashes.count(1), hashes.count(2)), (1, 0));
    }
}
