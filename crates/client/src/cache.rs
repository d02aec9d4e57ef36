//! Secrets that were read a moment ago.
//!
//! What it guarantees:
//! - Nothing is given that was asked for longer ago than [`Bounds::stale`]; what is older than [`Bounds::fresh`] is given while it is asked for anew.
//! - Once its token is known to be none, by whatever request, all is dropped; a secret that is gone or refused is dropped when that is told.
//! - Entries and bytes are bounded; what was used longest ago goes first. Values are wiped when nobody holds them any more.
//!
//! What it does not do: see a change before its time is over. Whoever must, reads without it, or has a [`crate::Watch`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aumbry_api::v1::{Failure, KvGetRequest, OutcomeClass};
use aumbry_types::{Clock as _, SecretBytes, SystemClock};
use serde_json::{Map, Value};

use crate::{Client, Error};

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// So long a secret is given without a question.
    pub fresh: Duration,
    /// So long it is given at all.
    pub stale: Duration,
    /// So many secrets.
    pub entries_max: usize,
    /// So many bytes of all values together.
    pub bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            fresh: Duration::from_secs(30),
            stale: Duration::from_secs(300),
            entries_max: 1_000,
            bytes_max: 16 << 20,
        }
    }
}

/// A version of a secret.
pub struct Secret {
    data: SecretBytes,
    version: u64,
}

impl Secret {
    /// The data, one JSON object, as it was written.
    #[must_use]
    pub const fn data(&self) -> &SecretBytes {
        &self.data
    }

    /// The text under a key; none if there is no such key, or it is no text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<SecretBytes> {
        let mut object: Map<String, Value> = serde_json::from_slice(self.data.expose()).ok()?;
        match object.remove(key)? {
            Value::String(text) => Some(SecretBytes::from(text)),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

/// The cache. Clones share what it holds.
#[derive(Clone)]
pub struct Cache {
    client: Client,
    bounds: Bounds,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
    /// Counts the uses.
    clock: u64,
    /// How often the token was none when this was last looked at.
    denials: u64,
}

struct Entry {
    secret: Arc<Secret>,
    /// When it was asked for, by a clock that goes on while the machine sleeps: the answer is not newer.
    asked_ms: u64,
    used: u64,
    is_asked_again: bool,
}

/// What the cache has.
enum Found {
    Fresh(Arc<Secret>),
    /// It is given, and whoever was given it asks anew.
    Stale(Arc<Secret>),
    Nothing,
}

impl Cache {
    /// A cache of what this client may read.
    #[must_use]
    pub fn new(client: &Client, bounds: Bounds) -> Self {
        Self {
            client: client.clone(),
            bounds,
            held: Arc::default(),
        }
    }

    /// The current version of a secret.
    ///
    /// # Errors
    /// [`Error`] if it has to be asked for, and there is none, it may not be read, or nobody answers.
    pub async fn get(&self, path: &str) -> Result<Arc<Secret>, Error> {
        match self.find(path) {
            Found::Fresh(secret) => Ok(secret),
            Found::Stale(secret) => {
                let (cache, path) = (self.clone(), path.to_owned());
                // One for an entry: it is marked.
                drop(tokio::spawn(async move {
                    // If it fails the entry goes on until it is too old, or is dropped already.
                    let _ = cache.ask(&path).await;
                    if let Some(entry) = cache.held().entries.get_mut(&path) {
                        entry.is_asked_again = false;
                    }
                }));
                Ok(secret)
            }
            Found::Nothing => self.ask(path).await,
        }
    }

    /// Drops what it holds of a secret, so that the next reader asks.
    pub fn forget(&self, path: &str) {
        self.held().remove(path);
    }

    /// Drops all that it holds.
    pub fn clear(&self) {
        self.held().clear();
    }

    /// How many secrets it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let denials = self.client.denials();
        if held.denials != denials {
            held.denials = denials;
            held.clear();
        }
        held
    }

    fn find(&self, path: &str) -> Found {
        let mut held = self.held();
        held.clock += 1;
        let clock = held.clock;
        let Some(entry) = held.entries.get_mut(path) else {
            return Found::Nothing;
        };
        let age = Duration::from_millis(SystemClock.boottime_ms().saturating_sub(entry.asked_ms));
        if age >= self.bounds.stale.max(self.bounds.fresh) {
            held.remove(path);
            return Found::Nothing;
        }
        entry.used = clock;
        if age < self.bounds.fresh || entry.is_asked_again {
            return Found::Fresh(Arc::clone(&entry.secret));
        }
        entry.is_asked_again = true;
        Found::Stale(Arc::clone(&entry.secret))
    }

    async fn ask(&self, path: &str) -> Result<Arc<Secret>, Error> {
        let (asked_ms, denials) = (SystemClock.boottime_ms(), self.client.denials());
        let request = KvGetRequest {
            path: path.to_owned(),
            ..KvGetRequest::default()
        };
        let item = match self.client.call(request).await {
            Ok(reply) => reply.item.unwrap_or_default(),
            Err(error) => {
                if is_decided(&error) {
                    self.forget(path);
                }
                return Err(error);
            }
        };
        if !item.has_data {
            self.forget(path);
            return Err(deleted());
        }
        let secret = Arc::new(Secret {
            data: SecretBytes::new(item.data.to_vec()),
            version: item.version.unwrap_or_default().version,
        });
        // An answer to a token that is none by now is given to who asked, and to nobody else.
        if self.client.denials() == denials {
            self.held().insert(path, Arc::clone(&secret), asked_ms, &self.bounds);
        }
        Ok(secret)
    }
}

impl Held {
    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, path: &str) {
        if let Some(entry) = self.entries.remove(path) {
            self.bytes -= entry.secret.data.len();
        }
    }

    fn insert(&mut self, path: &str, secret: Arc<Secret>, asked_ms: u64, bounds: &Bounds) {
        // Of two answers that crossed, the one that was asked for later stays.
        if self.entries.get(path).is_some_and(|entry| entry.asked_ms > asked_ms) {
            return;
        }
        self.remove(path);
        let size = secret.data.len();
        if bounds.entries_max == 0 || size > bounds.bytes_max {
            return;
        }
        while self.entries.len() >= bounds.entries_max || self.bytes + size > bounds.bytes_max {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let oldest = oldest
                .map(|(path, _)| path.clone())
                .expect("what is over a bound is not empty");
            self.remove(&oldest);
        }
        self.bytes += size;
        self.clock += 1;
        let entry = Entry {
            secret,
            asked_ms,
            used: self.clock,
            is_asked_again: false,
        };
        self.entries.insert(path.to_owned(), entry);
    }
}

/// Whether somebody decided that there is nothing to be given, as against nobody having answered.
fn is_decided(error: &Error) -> bool {
    matches!(error.reason(), "NOT_FOUND" | "PERMISSION_DENIED" | "TOKEN_INVALID")
}

fn deleted() -> Error {
    let mut failure = Failure {
        code: tonic::Code::NotFound as u32,
        reason: "NOT_FOUND".to_owned(),
        message: "the current version is deleted or destroyed".to_owned(),
        ..Failure::default()
    };
    failure.set_outcome(OutcomeClass::NotApplied);
    Error::Failure(Box::new(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Arc<Secret> {
        Arc::new(Secret {
            data: SecretBytes::from(text.to_owned()),
            version: 1,
        })
    }

    fn names(held: &Held) -> Vec<&str> {
        held.entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let bounds = Bounds {
            entries_max: 2,
            bytes_max: 10,
            ..Bounds::default()
        };
        let (mut held, now) = (Held::default(), 1);
        held.insert("a", secret("1234"), now, &bounds);
        held.insert("b", secret("1234"), now, &bounds);
        held.clock += 1;
        let clock = held.clock;
        held.entries.get_mut("a").unwrap().used = clock;
        held.insert("c", secret("1234"), now, &bounds);
        assert_eq!((names(&held), held.bytes), (vec!["a", "c"], 8));
        // By bytes as well as by number, and never one that is too large by itself.
        held.insert("d", secret("12345678"), now, &bounds);
        assert_eq!((names(&held), held.bytes), (vec!["d"], 8));
        held.insert("e", secret("12345678901"), now, &bounds);
        assert_eq!(names(&held), ["d"]);
        held.remove("d");
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn of_two_answers_that_crossed_the_later_question_wins() {
        let (mut held, bounds, early) = (Held::default(), Bounds::default(), 1);
        held.insert("a", secret("new"), early + 1, &bounds);
        held.insert("a", secret("old"), early, &bounds);
        assert_eq!(held.entries["a"].secret.data.expose(), b"new");
    }

    #[test]
    fn a_text_is_given_by_its_key() {
        let secret = secret(r#"{"a":"x","b":1}"#);
        assert_eq!(secret.text("a").unwrap().expose(), b"x");
        assert!(secret.text("b").is_none() && secret.text("c").is_none());
    }
}
