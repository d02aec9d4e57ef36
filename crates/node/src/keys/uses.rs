//! How often the current term is used.

use aumbry_barrier::Txn;
use aumbry_state::{Slot, Write, key};

/// What a leader has reserved of the current term's uses.
///
/// The count stands in a counter of the keyring's row. A leader that ends leaves the rest of its block counted, so the count is too high by at most a block
/// for each leadership. What a leader sealed and nobody committed is less than the block that the next one begins with.
#[derive(Default)]
pub(crate) struct Uses {
    term: u32,
    /// Up to which count of the barrier's uses a block was reserved.
    until: u64,
}

impl Uses {
    /// Reserves a block with this plan, whatever comes of it, if what was reserved is used up.
    pub(crate) fn reserve(&mut self, txn: &mut Txn<'_>) {
        let (term, used) = (txn.barrier().keyring().term(), txn.barrier().uses());
        if self.term == term && used < self.until {
            return;
        }
        *self = Self {
            term,
            until: used + BLOCK,
        };
        txn.fence_write(Write::CounterAdd {
            key: key::keyring(),
            slot: Slot::First,
            delta: BLOCK.cast_signed(),
            floor: 0,
        });
    }
}

/// A million uses are a minute's work or more, so the counting costs nothing, and the block of each leadership is a four-thousandth of what a key may do.
const BLOCK: u64 = 1 << 20;
