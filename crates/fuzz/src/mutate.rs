//! How an input becomes another one.

use crate::Target;
use crate::random::Random;

/// Changes the input a few times. `other` is another input, to take pieces from.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], target: &Target, random: &mut Random) {
    for _ in 0..1 << random.below(5) {
        change(input, other, target.words, random);
    }
    input.truncate(target.input_bytes_max);
    // Most inputs get their checksums right again, or no change would reach what is behind them.
    if !random.one_in(MENDED_UNLESS_ONE_IN) {
        (target.mend)(input);
    }
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(14) {
        0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
        1 if !input.is_empty() => input[at] = random.number() as u8,
        2 if !input.is_empty() => input[at] = input[at].wrapping_add(random.below(9) as u8).wrapping_sub(4),
        3 => overwrite(input, at, &number(random)),
        4 => insert(input, random.below(input.len() + 1), &number(random)),
        5 => {
            let length = length(random, input.len() - at);
            input.drain(at..at + length);
        }
        6 => {
            let piece = input[at..at + length(random, input.len() - at)].to_vec();
            insert(input, random.below(input.len() + 1), &piece);
        }
        7 => {
            let piece = input[at..at + length(random, input.len() - at)].to_vec();
            overwrite(input, random.below(input.len()), &piece);
        }
        8 => {
            let from = random.below(other.len());
            let piece = &other[from..from + length(random, other.len() - from)];
            insert(input, random.below(input.len() + 1), piece);
        }
        9 => {
            let from = random.below(other.len());
            overwrite(input, at, &other[from..from + length(random, other.len() - from)]);
        }
        10 | 11 => {
            let word: &[u8] = random.pick(words).copied().unwrap_or(b"\0");
            match random.one_in(2) {
                true => insert(input, random.below(input.len() + 1), word),
                false => overwrite(input, at, word),
            }
        }
        12 => {
            let piece: Vec<u8> = (0..1 + random.below(8)).map(|_| random.number() as u8).collect();
            insert(input, random.below(input.len() + 1), &piece);
        }
        _ if random.one_in(8) => input.truncate(at),
        _ => {
            let byte = [input.get(at).copied().unwrap_or(b'0')];
            insert(input, at, &byte.repeat(1 + random.below(64)));
        }
    }
}

/// A number that decoders find hard, in some width and order of bytes.
fn number(random: &mut Random) -> Vec<u8> {
    let near = |power: u32| (1_u64 << power).wrapping_sub(1);
    let number = match random.below(5) {
        0 => random.below(260) as u64,
        1 => u64::MAX - random.below(3) as u64,
        2 => near(random.below(64) as u32).wrapping_add(random.below(3) as u64),
        3 => u64::from(u32::MAX - random.below(3) as u32),
        _ => random.number(),
    };
    let bytes = number.to_be_bytes();
    let width = [1, 2, 4, 8][random.below(4)];
    match random.below(4) {
        0 => number.to_le_bytes()[..width].to_vec(),
        1 => number.to_string().into_bytes(),
        _ => bytes[8 - width..].to_vec(),
    }
}

/// Short ones are the most likely.
fn length(random: &mut Random, max: usize) -> usize {
    let limit = [4, 16, 64, max][random.below(4)];
    random.below(limit.min(max) + 1)
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

fn overwrite(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let end = input.len().min(at + piece.len());
    input.splice(at..end, piece.iter().copied());
}

const MENDED_UNLESS_ONE_IN: usize = 4;
