//! The machine's clocks and its generator, as libraries see them: `std::time::Instant` and `SystemTime`, and the seeds of hash maps.
//!
//! Libraries below us ask the C library for both, without a seam: h2 forgets streams after a second, hyper dates its answers, hash maps have an order. So
//! the program has functions of these names of its own, which give simulated time and chance while there is a world, and the machine's before.
#![expect(unsafe_code, reason = "functions that C declares")]

use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_int, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use rustix::time::ClockId;

/// The simulated time in milliseconds, from a start that is not 0; 0 while there is no world.
static NOW_MS: AtomicU64 = AtomicU64::new(0);
static CHANCE: AtomicU64 = AtomicU64::new(0);

/// From now on libraries see this time.
pub(crate) fn set_now(ms: u64) {
    NOW_MS.store(START_MS + ms, Ordering::Relaxed);
}

/// From now on libraries have this chance.
pub(crate) fn set_chance(seed: u64) {
    CHANCE.store(seed, Ordering::Relaxed);
}

/// The machine's own time in milliseconds, for figures of the harness.
#[must_use]
pub fn real_ms() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds * 1_000 + nanos / 1_000_000
}

/// Stands in for the C library's.
///
/// # Safety
/// `out` is null, or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let simulated = NOW_MS.load(Ordering::Relaxed);
    let (seconds, nanos) = match simulated {
        0 => {
            let clock = match clock {
                libc::CLOCK_REALTIME => ClockId::Realtime,
                libc::CLOCK_BOOTTIME => ClockId::Boottime,
                libc::CLOCK_PROCESS_CPUTIME_ID => ClockId::ProcessCPUTime,
                libc::CLOCK_THREAD_CPUTIME_ID => ClockId::ThreadCPUTime,
                _ => ClockId::Monotonic,
            };
            let now = rustix::time::clock_gettime(clock);
            (now.tv_sec, now.tv_nsec)
        }
        ms => ((ms / 1_000).cast_signed(), (ms % 1_000 * 1_000_000).cast_signed()),
    };
    if !out.is_null() {
        // SAFETY: the caller gives what can be written.
        unsafe {
            (*out).tv_sec = seconds;
            (*out).tv_nsec = nanos;
        }
    }
    0
}

/// Stands in for the C library's.
///
/// # Safety
/// So many bytes can be written at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, _: c_uint) -> ssize_t {
    // SAFETY: the caller gives what can be written.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
    if NOW_MS.load(Ordering::Relaxed) == 0 {
        return match rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => filled.cast_signed(),
            Err(_) => -1,
        };
    }
    let mut chance = crate::rng::Rng::new(CHANCE.load(Ordering::Relaxed));
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&chance.next().to_le_bytes()[..chunk.len()]);
    }
    CHANCE.store(chance.next(), Ordering::Relaxed);
    length.cast_signed()
}

/// Some day in 2025, for clocks of both kinds.
const START_MS: u64 = 1_750_000_000_000;
