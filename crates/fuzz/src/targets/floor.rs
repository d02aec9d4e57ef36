//! The floor of a log: whatever happens to its bytes, it says one of the last two things that were written, and the last unless that was
//! damaged; or nothing.

use aumbry_storage::fuzzing::{floor_bytes, floor_mark};

use crate::check::{USUAL, bounded};
use crate::{Choices, Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "floor",
    seeds,
    run,
    input_bytes_max: 64,
    ..Target::USUAL
};

const MARKS: [[u64; 3]; 4] = [[0, 0, 0], [7, 0, 1], [9, 0, 1], [8, 1, 2]];

fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![2],
        vec![3],
        vec![4],
        vec![4, 0, 0, 20, 0xff],
        vec![3, 0, 16, 20, 1],
        vec![4, 1, 0, 0, 0],
    ]
}

/// How many marks were written; then damages: which, where, what with.
fn run(input: &[u8]) -> Verdict {
    let mut choices = Choices::new(input);
    let marks = &MARKS[..1 + choices.below(MARKS.len())];
    let whole = floor_bytes(marks);
    let mut bytes = whole.clone();
    while !choices.is_empty() {
        let (kind, at) = (choices.byte(), usize::from(choices.u16()));
        match kind {
            0..=199 => {
                // Most of the damage is where something is.
                let at = (at % 2) * 4_096 + at / 2 % 64;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= choices.byte();
                }
            }
            200..=229 => bytes.truncate(at % (bytes.len() + 1)),
            _ => bytes.push(choices.byte()),
        }
    }
    let read = bounded(&bytes, USUAL, || floor_mark(&bytes));
    let slot = |number: usize| number % 2 * 4_096..(number % 2 * 4_096 + 48);
    let is_kept = |number: usize| bytes.get(slot(number)) == whole.get(slot(number));
    let last = marks.len() - 1;
    match read {
        Some((mark, is_whole)) => {
            let is_old = mark == [marks[last][0], marks[last][1], 0];
            let is_last = mark == marks[last] || is_old;
            let is_before =
                last > 0 && (mark == marks[last - 1] || mark == [marks[last - 1][0], marks[last - 1][1], 0]);
            assert!(
                is_last || (is_before && !is_kept(last)),
                "{mark:?} was never written, or is not the last"
            );
            assert!(!is_whole || mark == marks[last] || bytes != whole);
            assert!(bytes != whole || is_whole);
        }
        None => assert!(
            !is_kept(last) && (last == 0 || !is_kept(last - 1)),
            "a whole slot is refused"
        ),
    }
    Verdict::of(read.is_some())
}
