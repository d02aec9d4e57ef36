//! Which pieces of the audit log can hold what: in memory alone, and thrown away when the node is sealed.
//!
//! Nothing of it is on a disk, so that no name can be guessed from one. It is made again by reading: while nothing else is to be done, and by every query that reads a
//! piece for want of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_audit::filter::{Probe, Sieve};
use aumbry_types::Entropy;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::pieces::PIECE_RECORDS;

/// The index of this node.
pub(crate) struct AuditIndex {
    kept: Mutex<Kept>,
    turns: Semaphore,
}

#[derive(Default)]
struct Kept {
    salt: Option<[u8; 16]>,
    sieves: BTreeMap<u64, Sieve>,
    /// How many records there were at the last look.
    size: u64,
    /// The pieces that were looked at in the background: from, and up to.
    tended: Option<(u64, u64)>,
}

impl Default for AuditIndex {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            turns: Semaphore::new(1),
        }
    }
}

impl AuditIndex {
    /// Waits for its turn.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// What keeps people from choosing names that look like others.
    pub(super) fn salt(&self, entropy: &dyn Entropy) -> [u8; 16] {
        *self.lock().salt.get_or_insert_with(|| {
            let mut salt = [0; 16];
            entropy.fill(&mut salt);
            salt
        })
    }

    /// Whether a piece can hold what is looked for with this salt.
    pub(super) fn may_hold(&self, salt: &[u8; 16], piece: u64, probe: &Probe) -> bool {
        let kept = self.lock();
        let sieve = kept.sieves.get(&piece).filter(|_| kept.salt == Some(*salt));
        sieve.is_none_or(|sieve| sieve.may_hold(probe))
    }

    /// Keeps what a piece holds, unless everything was forgotten since the salt was asked for. Of too many, the oldest goes.
    pub(super) fn keep(&self, salt: &[u8; 16], piece: u64, sieve: Sieve) {
        let mut kept = self.lock();
        if kept.salt != Some(*salt) {
            return;
        }
        let _ = kept.sieves.insert(piece, sieve);
        if kept.sieves.len() > SIEVES_MAX {
            let _ = kept.sieves.pop_first();
        }
    }

    /// A piece that is to be looked at in the background, if there is one, and there was little to do since the last time.
    pub(super) fn missing(&self, floor: u64, size: u64) -> Option<u64> {
        let mut kept = self.lock();
        let is_busy = size.saturating_sub(std::mem::replace(&mut kept.size, size)) > BUSY_RECORDS;
        let whole = size / PIECE_RECORDS;
        let (mut low, mut high) = kept.tended.unwrap_or((whole, whole));
        let mut wanted = None;
        // Those that queries have read are passed over.
        while wanted.is_none() && !is_busy {
            let piece = if high < whole {
                high += 1;
                high - 1
            } else if low > floor / PIECE_RECORDS && high - low < SIEVES_MAX as u64 {
                low -= 1;
                low
            } else {
                break;
            };
            wanted = Some(piece).filter(|piece| !kept.sieves.contains_key(piece));
        }
        kept.tended = Some((low, high));
        wanted
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 64 MiB, for 16 million records.
const SIEVES_MAX: usize = 65_536;
/// Records between two looks, which are a tenth of a second apart, that mean that there is something else to do.
const BUSY_RECORDS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_not_taken_up_again() {
        let index = AuditIndex::default();
        let entropy = aumbry_types::SimulatedEntropy::new(1);
        let before = index.salt(&entropy);
        let probe = Probe::new(
            &before,
            &aumbry_audit::Filter {
                accessors: vec!["a".to_owned()],
                ..aumbry_audit::Filter::default()
            },
        );
        index.keep(&before, 0, Sieve::default());
        assert!(!index.may_hold(&before, 0, &probe) && index.may_hold(&before, 1, &probe));
        index.clear();
        let after = index.salt(&entropy);
        index.keep(&before, 0, Sieve::default());
        assert!(index.may_hold(&before, 0, &probe) && index.may_hold(&after, 0, &probe));
        index.keep(&after, 0, Sieve::default());
        assert!(index.may_hold(&before, 0, &probe) && !index.may_hold(&after, 0, &probe));
    }

    #[test]
    fn every_piece_is_looked_at_once_and_the_newest_first() {
        let index = AuditIndex::default();
        let salt = index.salt(&aumbry_types::SimulatedEntropy::new(1));
        let mut size = 3 * PIECE_RECORDS + 10;
        assert_eq!(index.missing(0, size), None, "so much came since the last look");
        index.keep(&salt, 1, Sieve::default());
        assert_eq!(index.missing(0, size), Some(2));
        size += BUSY_RECORDS;
        assert_eq!(index.missing(0, size), Some(0), "a query has read the one between");
        assert_eq!(index.missing(0, size), None);
        size += PIECE_RECORDS;
        assert_eq!(index.missing(0, size), None, "there is more to do");
        assert_eq!(index.missing(0, size), Some(3));
        index.clear();
        assert_eq!((index.missing(0, 0), index.missing(0, 0)), (None, None));
    }
}
