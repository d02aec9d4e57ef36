//! The rows that one command touches, each read once.

use std::cell::RefCell;
use std::ops::Deref;

use bytes::Bytes;

use crate::overlay::Overlay;
use crate::view::View;

/// A state, and what was read of it. A row is named by a precondition, a check and a change; only the first of them reads it.
pub(crate) struct Touched<'s, V> {
    state: &'s mut Overlay<V>,
    read: RefCell<Vec<(Bytes, Option<Bytes>)>>,
}

impl<'s, 'a, V: Deref<Target = dyn View + 'a>> Touched<'s, V> {
    pub(crate) const fn new(state: &'s mut Overlay<V>) -> Self {
        Self {
            state,
            read: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let mut read = self.read.borrow_mut();
        if let Some((_, row)) = read.iter().find(|(seen, _)| seen == key) {
            return row.clone();
        }
        let row = self.state.get(key);
        if read.len() < KEPT_MAX {
            read.push((Bytes::copy_from_slice(key), row.clone()));
        }
        row
    }

    pub(crate) fn set(&mut self, key: Bytes, row: Option<Bytes>) {
        if let Some((_, seen)) = self.read.get_mut().iter_mut().find(|(seen, _)| *seen == key) {
            seen.clone_from(&row);
        }
        self.state.set(key, row);
    }
}

/// More than most commands touch; to look through more of them would take longer than to read again.
const KEPT_MAX: usize = 32;
