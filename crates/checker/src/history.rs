//! What clients did and what they were told.
//!
//! Values are numbers, and every write of a run writes another one: then a value that is read names the write that it comes from.
//! A driver stores value `7` as whatever it likes, such as `{"v":7}`.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

/// The operations of one run, in the order in which they were called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Who called. It is shown, and decides nothing: one client may have several operations open.
    pub client: u64,
    /// The request's id, if it was sent one that audit records repeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// When it was called, on one clock for all clients, in any unit. Repeating a request that is recognised as the same is no
    /// new call.
    pub call: u64,
    /// What was asked.
    pub operation: Operation,
    /// What became of it.
    pub end: End,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum End {
    /// Nobody knows: no answer, or one that says `UNKNOWN`. It may take effect at any time after its call, once, or never.
    Open,
    /// It was certainly not applied, and never will be: `NOT_APPLIED`.
    Failed {
        /// When the client learned it.
        at: u64,
    },
    /// It was answered. A refusal that the state explains, such as a check-and-set that did not match, is an answer.
    Returned {
        /// When the answer came.
        at: u64,
        /// The answer.
        reply: Reply,
        /// The sequence number of its audit record, which is its place in the log, if the answer told it. A read may have been worked
        /// out a little earlier than it stands there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
}

/// What a client can ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Writes the next version of a secret: `Written`, `CasMismatch` or `CasRequired`.
    Put {
        /// The whole path.
        key: String,
        /// What is written, used for nothing else in the run.
        value: u64,
        /// The version that must be current; 0 is "no such secret".
        cas: Option<u64>,
    },
    /// Writes the next version of a secret whose current one can be read: `Written`, `CasMismatch`, `CasRequired` or `NotFound`.
    /// The patch replaces the whole value.
    Patch {
        /// The whole path.
        key: String,
        /// What is written, used for nothing else in the run.
        value: u64,
        /// The version that must be current.
        cas: Option<u64>,
    },
    /// Reads a version: `Item` or `NotFound`. A batch is recorded as one such operation for each secret, all with the same times.
    Get {
        /// The whole path.
        key: String,
        /// Which version; the current one if none.
        version: Option<u64>,
    },
    /// Marks versions deleted: `Done`, `Unchanged` or `NotFound`.
    Delete {
        /// The whole path.
        key: String,
        /// Which versions; the current one if none.
        versions: Vec<u64>,
    },
    /// Restores deleted versions: `Done`, `Unchanged` or `NotFound`.
    Undelete {
        /// The whole path.
        key: String,
        /// Which versions.
        versions: Vec<u64>,
    },
    /// Removes versions for good: `Done`, `Unchanged` or `NotFound`.
    Destroy {
        /// The whole path.
        key: String,
        /// Which versions.
        versions: Vec<u64>,
    },
    /// Reads which versions there are: `Metadata` or `NotFound`.
    ReadMetadata {
        /// The whole path.
        key: String,
    },
    /// Changes settings, and makes the secret if it is not there: `Done`.
    WriteMetadata {
        /// The whole path.
        key: String,
        /// How many versions are kept; 0 is the default of 10.
        max_versions: Option<u32>,
        /// Whether every write must name the current version.
        cas_required: Option<bool>,
    },
    /// Removes a secret with all its versions: `Done` or `NotFound`.
    DeleteMetadata {
        /// The whole path.
        key: String,
    },
    /// Lists the names directly in a directory, all of them: `Names`, or `NotFound` for a directory that is not there.
    List {
        /// The directory with its slash at the end; empty for the root.
        directory: String,
    },
    /// What a list shows of one secret: `Named` or `NotFound`. The checker takes lists apart into these.
    Look {
        /// The whole path.
        key: String,
    },
    /// Creates a token: `Done`. It must live longer than the run.
    CreateToken {
        /// The token's name in the history, never used again.
        token: String,
        /// The token that it goes with, if one.
        parent: Option<String>,
        /// How often it can be used; 0 is without end.
        uses: u64,
    },
    /// Uses a token once: `Done` or `Refused`. Any request counts that authenticates with it.
    UseToken {
        /// The token.
        token: String,
    },
    /// Revokes a token with all below it, by the authority of another: `Done` or `NotFound`.
    RevokeToken {
        /// The token.
        token: String,
    },
    /// Wraps a value: `Done`. It must live longer than the run.
    Wrap {
        /// The wrapping's name in the history, never used again.
        wrapping: String,
        /// What is wrapped.
        value: u64,
    },
    /// Takes a wrapped value out, which can be done once: `Unwrapped` or `Refused`.
    Unwrap {
        /// The wrapping.
        wrapping: String,
    },
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reply {
    /// It was done.
    Done,
    /// A version was written.
    Written {
        /// Which.
        version: u64,
    },
    /// A version, and what is in it.
    Item {
        /// Which.
        version: u64,
        /// What is in it.
        content: Content,
    },
    /// The versions that are kept, in order.
    Metadata {
        /// The current one; 0 before the first.
        current: u64,
        /// All that are kept.
        versions: Vec<(u64, Fate)>,
    },
    /// The names in a directory, in any order; of directories with a slash at the end.
    Names(Vec<String>),
    /// The list shows it.
    Named,
    /// Nothing is there.
    NotFound,
    /// Another version is current.
    CasMismatch {
        /// Which, if it was told.
        current: Option<u64>,
    },
    /// The secret wants the current version to be named.
    CasRequired,
    /// None of the versions could be changed.
    Unchanged,
    /// Not with this token, or not any more.
    Refused,
    /// What was wrapped.
    Unwrapped {
        /// The value.
        value: u64,
    },
}

/// What a version shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Its value.
    Value(u64),
    /// Nothing: it is deleted and can be restored.
    Deleted,
    /// Nothing: it is destroyed.
    Destroyed,
    /// Nothing; the client was not told which of the two.
    Gone,
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It can be read.
    Live,
    /// It is deleted and can be restored.
    Deleted,
    /// It is destroyed.
    Destroyed,
}

/// Why a file is not a history.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A line is not an event.
    #[error("line {line} is not an event")]
    Form {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The file cannot be read.
    #[error("the history cannot be read")]
    Io(#[from] io::Error),
}

impl History {
    /// Takes events, in any order.
    #[must_use]
    pub fn new(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.call);
        Self { events }
    }

    /// Records a call. Its outcome is open until [`Self::end`] says more. Gives its position.
    ///
    /// # Panics
    /// If it is called before an event that is there already: one clock for all, read under the lock that guards the history.
    pub fn call(&mut self, client: u64, request: Option<String>, now: u64, operation: Operation) -> usize {
        let is_in_order = self.events.last().is_none_or(|last| last.call <= now);
        assert!(is_in_order, "events are recorded in the order of their calls");
        self.events.push(Event {
            client,
            request,
            call: now,
            operation,
            end: End::Open,
        });
        self.events.len() - 1
    }

    /// Records what became of the call at this position.
    ///
    /// # Panics
    /// If there is no such call, or more is known of it already.
    pub fn end(&mut self, position: usize, end: End) {
        let event = &mut self.events[position];
        assert_eq!(event.end, End::Open, "an operation ends once");
        event.end = end;
    }

    /// All events, in the order of their calls.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Writes one JSON object a line, so that a failed run can be judged again.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_lines(&self, mut to: impl Write) -> io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut to, event)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// Reads what [`Self::write_lines`] wrote. Empty lines and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// [`Unreadable`]
    pub fn read_lines(from: impl BufRead) -> Result<Self, Unreadable> {
        let mut events = Vec::new();
        for (number, line) in from.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let event = serde_json::from_str(&line);
            events.push(event.map_err(|source| Unreadable::Form {
                line: number + 1,
                source,
            })?);
        }
        Ok(Self::new(events))
    }
}

impl Event {
    /// When its outcome was known; `None` while it is open.
    #[must_use]
    pub const fn ended_at(&self) -> Option<u64> {
        match self.end {
            End::Open => None,
            End::Failed { at } | End::Returned { at, .. } => Some(at),
        }
    }

    /// The answer, if there was one.
    #[must_use]
    pub const fn reply(&self) -> Option<&Reply> {
        match &self.end {
            End::Returned { reply, .. } => Some(reply),
            End::Open | End::Failed { .. } => None,
        }
    }

    /// Whether it may have taken effect, or may yet.
    #[must_use]
    pub const fn is_possible(&self) -> bool {
        !matches!(self.end, End::Failed { .. })
    }
}

impl Operation {
    /// The secret that it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Put { key, .. }
            | Self::Patch { key, .. }
            | Self::Get { key, .. }
            | Self::Delete { key, .. }
            | Self::Undelete { key, .. }
            | Self::Destroy { key, .. }
            | Self::ReadMetadata { key }
            | Self::WriteMetadata { key, .. }
            | Self::DeleteMetadata { key }
            | Self::Look { key } => Some(key),
            Self::List { .. }
            | Self::CreateToken { .. }
            | Self::UseToken { .. }
            | Self::RevokeToken { .. }
            | Self::Wrap { .. }
            | Self::Unwrap { .. } => None,
        }
    }

    /// The value that it writes to a secret, if it writes one.
    #[must_use]
    pub const fn written(&self) -> Option<u64> {
        match self {
            Self::Put { value, .. } | Self::Patch { value, .. } => Some(*value),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_survives_its_file() {
        let mut history = History::default();
        let put = Operation::Put {
            key: "a/b".to_owned(),
            value: 7,
            cas: Some(0),
        };
        let position = history.call(1, Some("00ff".to_owned()), 5, put);
        let list = Operation::List {
            directory: String::new(),
        };
        history.call(2, None, 6, list);
        let end = End::Returned {
            at: 9,
            reply: Reply::Written { version: 1 },
            seq: Some(3),
        };
        history.end(position, end);
        let mut bytes = Vec::new();
        history.write_lines(&mut bytes).expect("memory can be written");
        let text = String::from_utf8(bytes).expect("JSON is text");
        assert_eq!(
            text,
            concat!(
                r#"{"client":1,"request":"00ff","call":5,"operation":{"put":{"key":"a/b","value":7,"cas":0}},"#,
                r#""end":{"returned":{"at":9,"reply":{"written":{"version":1}},"seq":3}}}"#,
                "\n",
                r#"{"client":2,"call":6,"operation":{"list":{"directory":""}},"end":"open"}"#,
                "\n"
            )
        );
        let again = History::read_lines(format!("# kept\n\n{text}").as_bytes()).expect("is a history");
        assert_eq!(again, history);
        let cut = History::read_lines(&text.as_bytes()[..text.len() - 3]);
        assert!(matches!(cut, Err(Unreadable::Form { line: 2, .. })));
    }
}
