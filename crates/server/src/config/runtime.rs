//! On how many threads a node serves, and in what memory.

use serde::Deserialize;

/// How a node runs. Its log has a thread of its own, and so have flushes and snapshots.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// How many threads serve clients and peers; by the machine's processors by default.
    pub threads: Option<usize>,
    /// Whether it may start where the system can write its keys to a disk: there is swap, and no memory can be locked.
    pub allow_swap: bool,
}

impl Runtime {
    /// The threads to start.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| {
            let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            (processors / PROCESSORS_PER_THREAD).clamp(1, DEFAULT_THREADS_MAX)
        })
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self.threads {
            Some(threads) if !(1..=THREADS_MAX).contains(&threads) => Err("runtime.threads is 1 to 64"),
            _ => Ok(()),
        }
    }
}

/// Below that, what is handed from thread to thread costs more than a second thread brings: one thread takes 25 to 45 % less processor time.
const PROCESSORS_PER_THREAD: usize = 4;
/// Plans are made one after the other; more threads than this only encrypt connections.
const DEFAULT_THREADS_MAX: usize = 8;
const THREADS_MAX: usize = 64;
