//! Fuzzing: whatever bytes a decoder is given, it keeps what it promises.
//!
//! A [`Target`] is one decoder with the properties that it must have; one file in `targets/` for each. The [`Engine`] runs it over inputs
//! that were made by encoding real values, over those that ever failed, and over changes of both. `tests/smoke.rs` does so for half a
//! minute with fixed seeds; `cargo xtask fuzz` for as long as one likes, guided by coverage.
//!
//! What it guarantees: a run without coverage depends on its seed alone, and a failure is kept as a file and told with the one line that
//! repeats it.
//! What it does not do: replace the tests of a crate, which say what a decoder yields; here is said what it never does.

pub mod check;
mod choices;
mod corpus;
mod coverage;
mod engine;
mod mutate;
mod random;
#[path = "../../barrier/tests/common/mod.rs"]
mod store;
mod targets;

use std::time::Duration;

pub use choices::Choices;
pub use corpus::{corpus, hash, keep, regressions, repository};
pub use coverage::Coverage;
pub use engine::{Done, Engine, Finding, Until, attempt, on_small_stack};
pub use random::Random;
pub use targets::TARGETS;

/// One decoder.
#[derive(Debug)]
pub struct Target {
    /// What it decodes; the name of its file.
    pub name: &'static str,
    /// Inputs that it accepts, made by encoding real values.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Decodes, and panics if a property does not hold.
    pub run: fn(&[u8]) -> Verdict,
    /// Sets checksums right, so that changes reach what is behind them.
    pub mend: fn(&mut Vec<u8>),
    /// What is worth to be put into an input.
    pub words: &'static [&'static [u8]],
    /// Inputs of great depth or size.
    pub bombs: fn() -> Vec<Vec<u8>>,
    /// No longer input is tried, but for bombs.
    pub input_bytes_max: usize,
    /// How much time of the processor one input may take.
    pub time_max: Duration,
    /// How many changes the smoke test tries.
    pub smoke: u64,
}

/// What a decoder said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It decoded the input.
    Accepted,
    /// It refused it.
    Refused,
}

impl Verdict {
    /// Of something that is there if it was decoded.
    #[must_use]
    pub const fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

impl Target {
    /// What most targets have: no checksum, no words, the usual bombs.
    pub const USUAL: Self = Self {
        name: "",
        seeds: Vec::new,
        run: |_| Verdict::Refused,
        mend: |_| (),
        words: &[],
        bombs: targets::usual_bombs,
        input_bytes_max: 4 << 10,
        time_max: Duration::from_secs(5),
        smoke: 20_000,
    };
}
