//! Memory for keys that the system never writes to a disk.
//!
//! Places of 32 bytes in blocks that are locked into memory (`mlock`), never given back to the allocator, and wiped when a key is dropped. They are
//! handed out one by one: taking and giving back one is a push or a pop under a lock that is held for no longer.
//!
//! What it does not do: keep keys from a reader of the process' memory, or the copies that ciphers make on the stack while they work.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize as _;

/// A place for a key. It is zero while nobody has it.
pub(crate) type Place = &'static mut [u8; 32];

struct Arena {
    free: Vec<Place>,
    /// One for each block, for as long as the process lives.
    guards: Vec<region::LockGuard>,
    /// The first answer that was no.
    refused: Option<String>,
}

/// How keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyMemory {
    /// Where the system never writes them to a disk.
    Locked,
    /// As everything else, and why.
    Unlocked(String),
}

/// A free place in locked memory; `None` if there is none, and there can be no more.
pub(crate) fn take() -> Option<Place> {
    let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    if arena.free.is_empty() {
        arena.grow();
    }
    arena.free.pop()
}

/// Wipes a place and gives it back.
pub(crate) fn give(place: Place) {
    place.zeroize();
    ARENA.lock().unwrap_or_else(PoisonError::into_inner).free.push(place);
}

/// Makes sure that there is locked memory, and says so. A server asks before it holds a key.
#[must_use]
pub fn key_memory() -> KeyMemory {
    let mut arena = ARENA.lock().unwrap_or_else(PoisonError::into_inner);
    if arena.guards.is_empty() {
        arena.grow();
    }
    match (&arena.refused, arena.guards.is_empty()) {
        (Some(why), true) => KeyMemory::Unlocked(why.clone()),
        _ => KeyMemory::Locked,
    }
}

impl Arena {
    fn grow(&mut self) {
        if self.guards.len() == BLOCKS_MAX || self.refused.is_some() {
            return;
        }
        let block = Vec::leak(vec![[0; 32]; BLOCK_KEYS]);
        match region::lock(block.as_ptr(), size_of_val(block)) {
            Ok(guard) => self.guards.push(guard),
            Err(error) => {
                // A block is given up once in the life of a process.
                self.refused = Some(error.to_string());
                return;
            }
        }
        self.free.reserve(self.guards.len() * BLOCK_KEYS);
        self.free.extend(block.iter_mut());
    }
}

static ARENA: Mutex<Arena> = Mutex::new(Arena {
    free: Vec::new(),
    guards: Vec::new(),
    refused: None,
});
/// 64 KiB: more than a quiet node has keys.
const BLOCK_KEYS: usize = 2_048;
/// 1 MiB in all, an eighth of what Debian lets a process lock. Keys beyond that are those of single messages under a flood.
const BLOCKS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretKey, SimulatedEntropy};

    /// Of this process, in KiB, as the system counts it.
    fn locked_kib() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").expect("can be read");
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("is a number")
    }

    /// Keys lie in locked memory, one apart from the other, and a place that was given back is zero.
    #[test]
    fn keys_are_locked_apart_and_wiped() {
        assert_eq!(key_memory(), KeyMemory::Locked);
        assert!(locked_kib() >= 64, "{} KiB", locked_kib());
        let entropy = SimulatedEntropy::new(1);
        let keys: Vec<_> = (0..5_000).map(|_| SecretKey::make(&entropy)).collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().map(|key| *key.expose()).collect();
        assert_eq!(distinct.len(), 5_000);
        assert!(locked_kib() >= 128, "{} KiB: more blocks were locked", locked_kib());
        drop(keys);
        let arena = ARENA.lock().expect("is whole");
        assert!(arena.free.iter().all(|place| place.iter().all(|byte| *byte == 0)));
    }

    /// Beyond the bound there are keys all the same.
    #[test]
    fn a_flood_of_keys_has_room() {
        let entropy = SimulatedEntropy::new(2);
        let most = BLOCKS_MAX * BLOCK_KEYS;
        let keys: Vec<_> = (0..most + 100).map(|_| SecretKey::make(&entropy)).collect();
        assert_ne!(keys[most + 99].expose(), keys[0].expose());
        assert!(locked_kib() <= 1_024 + 64 * BLOCKS_MAX, "{} KiB", locked_kib());
    }
}
