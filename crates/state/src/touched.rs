//! The rows that one command touches, each read once.

use std::cell::RefCell;
use std::ops::Deref;

use bytes::Bytes;

use crate::overlay::Overlay;
use crate::view::View;

/// What was read of a state that has not changed since: a row is named by a plan, a precondition, a check and a change, and only the first of them
/// looks it up.
pub struct Reads {
    rows: RefCell<Vec<(Bytes, Option<Bytes>)>>,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            rows: RefCell::new(Vec::with_capacity(TYPICAL)),
        }
    }
}

impl Reads {
    /// The row in this state, which is the same one each time.
    pub fn get<'a, V: Deref<Target = dyn View + 'a>>(&self, state: &Overlay<V>, key: &Bytes) -> Option<Bytes> {
        let mut rows = self.rows.borrow_mut();
        if let Some((_, row)) = rows.iter().find(|(seen, _)| seen == key) {
            return row.clone();
        }
        let row = state.get(key);
        if rows.len() < KEPT_MAX {
            rows.push((key.clone(), row.clone()));
        }
        row
    }
}

/// A state, and what was read of it.
pub(crate) struct Touched<'s, V> {
    state: &'s mut Overlay<V>,
    reads: Reads,
}

impl<'s, 'a, V: Deref<Target = dyn View + 'a>> Touched<'s, V> {
    pub(crate) const fn new(state: &'s mut Overlay<V>, reads: Reads) -> Self {
        Self { state, reads }
    }

    pub(crate) fn get(&self, key: &Bytes) -> Option<Bytes> {
        self.reads.get(self.state, key)
    }

    pub(crate) fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        let seen = self.reads.rows.get_mut().iter_mut().find(|(seen, _)| *seen == key);
        let before = seen.map(|(_, seen)| std::mem::replace(seen, row.clone()));
        self.state.set_over(key, row, before);
    }
}

/// What most commands touch.
const TYPICAL: usize = 12;
/// More than most commands touch; to look through more of them would take longer than to read again.
const KEPT_MAX: usize = 32;
