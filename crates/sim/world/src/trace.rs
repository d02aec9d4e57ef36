//! What has happened, as a hash: two runs with the same seed have the same.

use crate::with;

/// The hash so far.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    shown: bool,
    all_shown: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            shown: false,
            all_shown: false,
        }
    }
}

impl Trace {
    fn add(&mut self, bytes: &[u8]) {
        // FNV-1a.
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn note(&mut self, now: u64, host: u64, what: &str, numbers: &[u64]) {
        self.events += 1;
        self.add(&now.to_le_bytes());
        self.add(&host.to_le_bytes());
        self.add(what.as_bytes());
        for number in numbers {
            self.add(&number.to_le_bytes());
        }
        if self.all_shown {
            print(now, host, &format!("{what} {numbers:?}"));
        }
    }
}

/// Adds an event to the trace.
pub fn note(what: &str, numbers: &[u64]) {
    with(|world| {
        let (now, host) = (world.now_ms, world.current);
        world.trace.note(now, host, what, numbers);
    });
}

/// Adds an event of people's interest to the trace, and shows it if that was asked for. Its words do not count: they can name files of the machine.
pub fn tell(what: &str) {
    note("told", &[]);
    let (now, host, shown) = with(|world| (world.now_ms, world.current, world.trace.shown));
    if shown {
        print(now, host, what);
    }
}

#[expect(clippy::print_stderr, reason = "it was asked for")]
fn print(now: u64, host: u64, what: &str) {
    eprintln!("{:>7}.{:03}  {host:>4}  {what}", now / 1_000, now % 1_000);
}

/// Shows on standard error what is told from now on; or every event, to compare two runs.
pub fn show(are_all: bool) {
    with(|world| {
        world.trace.shown = true;
        world.trace.all_shown = are_all;
    });
}

/// The hash of everything so far, and the number of events.
#[must_use]
pub fn hash() -> (u64, u64) {
    with(|world| (world.trace.hash, world.trace.events))
}
