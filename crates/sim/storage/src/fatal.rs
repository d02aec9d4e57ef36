//! The end of a simulated process.

use std::fmt::Display;

use aumbry_sim_world::host::{Death, die};

/// Ends the process whose code runs. What its other tasks still do has no effect.
pub fn fatal(context: &str, error: impl Display) -> ! {
    die(Death::Fatal(format!("{context}: {error}")))
}
