//! Whether each way in beside the shares works, as this node found it last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How the last test of one way in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tested {
    /// The kind of seal.
    pub(crate) kind: &'static str,
    /// Which key it gave; empty if it gave none.
    pub(crate) key_id: String,
    /// Whether what it gave opens the store.
    pub(crate) works: bool,
    /// When, by this node's clock (ms since 1970).
    pub(crate) at_ms: u64,
}

/// The last test of each.
#[derive(Default)]
pub(crate) struct SealTests(Mutex<BTreeMap<&'static str, Tested>>);

impl SealTests {
    /// Takes note of a test. A way in that fails keeps the key that it gave before, so that people see which seal it is about.
    pub(crate) fn note(&self, mut tested: Tested) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tested.key_id.is_empty()
            && let Some(before) = all.get(tested.kind)
        {
            tested.key_id.clone_from(&before.key_id);
        }
        all.insert(tested.kind, tested);
    }

    /// All of them, by kind.
    pub(crate) fn all(&self) -> Vec<Tested> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().cloned().collect()
    }
}
