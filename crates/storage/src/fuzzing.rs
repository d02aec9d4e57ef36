//! What the fuzzer needs of formats that nothing else outside this crate sees. Not for any other use: it changes with them.

use std::path::Path;

use crate::floor::{self, Mark, SLOT_BYTES};
pub use crate::wal::fuzzing::{Change, Held, SegmentImage, held, image, mend};

/// The bytes of a floor to which these marks were written, one after the other: one past the last acknowledged index, truncations, votes.
#[must_use]
pub fn floor_bytes(marks: &[[u64; 3]]) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT_BYTES];
    for (sequence, [end, truncations, votes]) in (0..).zip(marks.iter().copied()) {
        let mark = Mark {
            end,
            truncations,
            votes,
        };
        let record = floor::encode(sequence, mark);
        bytes[(sequence % 2) as usize * SLOT_BYTES..][..record.len()].copy_from_slice(&record);
    }
    bytes
}

/// What these bytes of a floor say, and whether both slots are whole; none if neither is.
#[must_use]
pub fn floor_mark(bytes: &[u8]) -> Option<([u64; 3], bool)> {
    let (_, mark, is_whole) = floor::read(Path::new("floor"), bytes).ok()?;
    Some(([mark.end, mark.truncations, mark.votes], is_whole))
}
