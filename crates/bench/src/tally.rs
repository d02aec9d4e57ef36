//! What came of the requests.
//!
//! Two counts, for two questions. What the servers did in the window: replies that *arrived* in it, which is what rate and costs are
//! told by. How long requests took: those that were *to begin* in it, however late they ended, or slow ones at its end would be left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::fault::Fault;
use crate::sequence::Operation;

/// What came of the requests of a run.
pub(crate) struct Tally {
    window: Window,
    /// Answered at all, before and after the window too, faults included.
    pub(crate) answered: u64,
    /// Good replies that arrived in the window.
    pub(crate) replies: u64,
    /// Times of good replies to requests of the window, in microseconds.
    pub(crate) latencies: [Option<Histogram<u64>>; Operation::ALL.len()],
    /// How late requests of the window were sent, in microseconds.
    pub(crate) delays: Histogram<u64>,
    /// Faults of requests of the window.
    pub(crate) errors: Kinds,
    /// Faults of all other requests: of the warm-up, and of what was sent after the window.
    pub(crate) errors_outside: Kinds,
}

/// How many faults there were of each kind.
pub(crate) type Kinds = BTreeMap<String, u64>;

/// The part of the run that counts.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    begin: Option<Instant>,
    end: Option<Instant>,
}

impl Window {
    fn holds(self, at: Instant) -> bool {
        self.begin.is_some_and(|begin| at >= begin) && self.end.is_none_or(|end| at < end)
    }
}

/// One request.
pub(crate) struct Done {
    pub(crate) operation: Operation,
    /// When it was to be sent.
    pub(crate) intended: Instant,
    /// When it was.
    pub(crate) sent: Instant,
    pub(crate) result: Result<(), Fault>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            window: Window::default(),
            answered: 0,
            replies: 0,
            latencies: [const { None }; Operation::ALL.len()],
            delays: empty(),
            errors: Kinds::new(),
            errors_outside: Kinds::new(),
        }
    }

    /// From here on it counts.
    pub(crate) const fn begin(&mut self, at: Instant) {
        self.window.begin = Some(at);
    }

    /// From here on it does not.
    pub(crate) const fn end(&mut self, at: Instant) {
        self.window.end = Some(at);
    }

    /// Whether a request that was to begin then is of the window.
    pub(crate) fn holds(&self, at: Instant) -> bool {
        self.window.holds(at)
    }

    pub(crate) fn count(&mut self, done: Done, now: Instant) {
        self.answered += 1;
        let is_of_window = self.window.holds(done.intended);
        if is_of_window {
            self.delays.saturating_record(micros(done.sent - done.intended));
        }
        match done.result {
            Ok(()) => {
                self.replies += u64::from(self.window.holds(now));
                if is_of_window {
                    let latencies = self.latencies[done.operation as usize].get_or_insert_with(empty);
                    latencies.saturating_record(micros(now - done.intended));
                }
            }
            Err(fault) => {
                let errors = if is_of_window {
                    &mut self.errors
                } else {
                    &mut self.errors_outside
                };
                note(errors, fault);
            }
        }
    }

    /// The times of all operations together.
    pub(crate) fn all(&self) -> Histogram<u64> {
        let mut all = empty();
        for latencies in self.latencies.iter().flatten() {
            all.add(latencies).expect("both have the same bounds");
        }
        all
    }
}

fn note(errors: &mut Kinds, fault: Fault) {
    let is_known = errors.contains_key(&*fault.kind);
    let kind = if is_known || errors.len() < KINDS_MAX {
        fault.kind.into_owned()
    } else {
        OTHER.to_owned()
    };
    *errors.entry(kind).or_insert(0) += 1;
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MICROS_MAX, DIGITS).expect("the bounds are constants that fit each other")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Three digits are exact to a thousandth of each value.
const DIGITS: u8 = 3;
/// An hour; longer ones count as this.
const MICROS_MAX: u64 = 3_600_000_000;
/// Servers name their errors, so a strange one must not fill the memory with names.
const KINDS_MAX: usize = 32;
const OTHER: &str = "OTHER";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_what_arrived_and_times_are_of_what_began_in_the_window() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut tally = Tally::new();
        let count = |tally: &mut Tally, intended, sent, now, result| {
            let done = Done {
                operation: Operation::Read,
                intended: at(intended),
                sent: at(sent),
                result,
            };
            tally.count(done, at(now));
        };
        count(&mut tally, 0, 0, 1, Ok(()));
        tally.begin(at(10));
        // It began before the window, and one in it was sent late.
        count(&mut tally, 9, 9, 11, Ok(()));
        count(&mut tally, 12, 17, 20, Ok(()));
        count(&mut tally, 12, 12, 20, Err(Fault::TIMEOUT));
        tally.end(at(100));
        count(&mut tally, 99, 99, 600, Ok(()));
        count(&mut tally, 99, 99, 600, Err(Fault::TIMEOUT));
        count(&mut tally, 101, 101, 102, Err(Fault::TIMEOUT));
        assert_eq!((tally.answered, tally.replies), (7, 2));
        let all = tally.all();
        // A delay counts as latency: 8 ms, though the server took 3.
        assert_eq!((all.len(), all.min() / 100, all.max() / 1_000), (2, 80, 501));
        assert_eq!(tally.delays.max() / 1_000, 5);
        assert_eq!(tally.errors, Kinds::from([("TIMEOUT".to_owned(), 2)]));
        assert_eq!(tally.errors_outside, Kinds::from([("TIMEOUT".to_owned(), 1)]));
    }

    #[test]
    fn kinds_have_a_bound() {
        let mut tally = Tally::new();
        let now = Instant::now();
        tally.begin(now);
        for n in 0..100 {
            let done = Done {
                operation: Operation::Read,
                intended: now,
                sent: now,
                result: Err(Fault::refused(format!("KIND_{n}"))),
            };
            tally.count(done, now);
        }
        assert_eq!(tally.errors.len(), KINDS_MAX + 1);
        assert_eq!(tally.errors.values().sum::<u64>(), 100);
    }
}
