//! The end of the process, for errors after something was opened. Simulations bring their own.

use std::fmt::Display;

use crate::NEXT;

/// Ends the process at once, after one line in the log. For errors of storage at run time.
///
/// Unwinding would let other threads go on with a state that is no longer that of the disk, so nothing is unwound.
pub fn fatal(context: &str, error: impl Display) -> ! {
    tracing::error!("{context}: {error}; the process stops, because storage cannot be trusted: {NEXT}");
    std::process::abort()
}
