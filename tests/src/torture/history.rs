//! What clients asked and were told, written down while it happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aumbry_checker::{End, Event, History, Operation, Reply};
use aumbry_client::{Error, v1};

/// A history that grows.
pub(crate) struct Recorder {
    begun: Instant,
    state: Mutex<State>,
    answered: AtomicU64,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// Reasons of failures, and how often.
    failures: BTreeMap<String, u64>,
}

impl Recorder {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            state: Mutex::default(),
            answered: AtomicU64::default(),
        }
    }

    /// The time since it began, in microseconds.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Writes an operation down that has ended.
    pub(crate) fn note(&self, event: Event) {
        if event.reply().is_some() {
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
        self.state().events.push(event);
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, error: &Error) {
        *self.state().failures.entry(error.reason().to_owned()).or_default() += 1;
    }

    /// How many operations were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Everything so far.
    pub(crate) fn history(&self) -> History {
        History::new(self.state().events.clone())
    }

    /// Reasons of failures so far, and how often.
    pub(crate) fn failures(&self) -> BTreeMap<String, u64> {
        self.state().failures.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an error means for the history. A refusal that the state explains is an answer.
pub(crate) fn end_of(error: &Error, operation: &Operation, at: u64) -> End {
    let seq = error.failure().map(|failure| failure.audit_seq).filter(|seq| *seq > 0);
    let explained = match (error.reason(), operation) {
        ("NOT_FOUND", Operation::Delete { .. }) => Some(Reply::Unchanged),
        ("NOT_FOUND", _) => Some(Reply::NotFound),
        ("CAS_MISMATCH", _) => Some(Reply::CasMismatch { current: None }),
        ("TOKEN_INVALID", Operation::UseToken { .. }) => Some(Reply::Refused),
        _ => None,
    };
    let is_sure = error
        .failure()
        .is_none_or(|failure| failure.outcome() == v1::OutcomeClass::NotApplied);
    match explained {
        Some(reply) => End::Returned { at, reply, seq },
        None if is_sure => End::Failed { at },
        None => End::Open,
    }
}
