//! What calls leave on the stack.
//!
//! Whoever takes a request apart leaves parts of it on the stack of its thread, below what is in use. Nobody reads that; but a message with room in it that is
//! moved from there to the heap takes some along, to where it stays for as long as the message's place does. So a sealed node wipes its stack.

use std::hint::black_box;

use zeroize::Zeroize as _;

/// Wipes the stack of this thread as far down as requests reach.
#[inline(never)]
pub(crate) fn wipe() {
    let mut room = [0_u8; ROOM_BYTES];
    black_box(&mut room).zeroize();
}

/// An eighth of what a thread of the runtime has. The deepest calls of a request take less.
const ROOM_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves a word on the stack, and tells where nobody is any more.
    #[inline(never)]
    fn leave(word: u8) -> usize {
        let mut left = [0_u8; 4_096];
        black_box(&mut left).fill(word);
        left.iter().map(|byte| usize::from(*byte)).sum()
    }

    /// It takes no more than a thread of the runtime has, also of one with little.
    #[test]
    fn there_is_room_for_it() {
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let wiped = thread.spawn(|| {
            let sum = leave(7);
            wipe();
            sum
        });
        assert_eq!(wiped.expect("starts").join().expect("ends"), 7 * 4_096);
    }
}
