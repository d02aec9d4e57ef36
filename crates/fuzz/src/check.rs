//! What every decoder must keep to, whatever it decodes.

use std::fmt::{Debug, Display};

/// How much memory may be in use at once while an input is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// So many bytes for each byte of the input,
    pub per_byte: u64,
    /// and so many whatever the input.
    pub at_least: u64,
}

/// A decoder that copies what it keeps: a few times the input, and what its library takes for a start.
pub const USUAL: Memory = Memory {
    per_byte: 16,
    at_least: 64 << 10,
};

/// Decodes, and checks how much memory it took. That is counted on this thread alone.
///
/// # Panics
/// If it took more.
pub fn bounded<T>(input: &[u8], memory: Memory, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let used = allocation_counter::measure(|| decoded = Some(decode()));
    let limit = memory.at_least + memory.per_byte * input.len() as u64;
    assert!(
        used.bytes_max <= limit,
        "{} bytes of input took {} bytes of memory, at most {limit} are allowed",
        input.len(),
        used.bytes_max
    );
    decoded.expect("the measured closure was called")
}

/// Checks that an error repeats nothing of a secret text. `public` is what may be repeated: the beginning of its form.
///
/// # Panics
/// If it does.
pub fn silent(secret: &[u8], public: &[u8], error: &(impl Debug + Display)) {
    let mut told = format!("{error} {error:?}");
    if let Some(public) = core::str::from_utf8(public).ok().filter(|public| !public.is_empty()) {
        told = told.replace(public, "\0");
    }
    let secret = secret.strip_prefix(public).unwrap_or(secret);
    for window in secret.windows(SECRET_BYTES_TOLD_MAX + 1) {
        let is_repeated = core::str::from_utf8(window).is_ok_and(|window| told.contains(window));
        // A decoder may tell a number that it found, and numbers are alike anywhere.
        let is_number = window.iter().all(|byte| byte.is_ascii_digit() || *byte == b' ');
        let is_word = is_number
            || window.windows(2).all(|pair| pair[0] == pair[1])
            || public.windows(window.len()).any(|w| w == window);
        assert!(!is_repeated || is_word, "the error repeats a part of the secret");
    }
}

/// Words of a message may stand in an input by chance; so much of it in a row does not.
const SECRET_BYTES_TOLD_MAX: usize = 11;
