//! Histories in one line an operation.

#![allow(dead_code, reason = "each test file takes what it needs")]

use std::collections::BTreeSet;

use aumbry_checker::oracle::{self, Rule};
use aumbry_checker::{Budget, Content, End, Event, Fate, History, Operation, Reply, Verdict, check};

/// A good history: no search and no oracle finds anything.
pub(crate) fn good(name: &str, events: &[Event]) {
    let history = history(events);
    assert_eq!(check(&history, Budget::standard()), Verdict::Linearizable, "{name}");
    let findings = oracle::all(&history);
    assert!(findings.is_empty(), "{name}: {findings:?}");
}

/// A bad history: the search names the object and the answer that makes it impossible, which is marked by its time; the oracles find
/// just these rules broken. The same history without that answer has an order.
pub(crate) fn bad(name: &str, part: &str, last_at: u64, rules: &[Rule], events: &[Event]) {
    let history = history(events);
    let verdict = check(&history, Budget::standard());
    let violation = verdict.violation().unwrap_or_else(|| panic!("{name}: {verdict}"));
    let text = verdict.to_string();
    assert_eq!(violation.part, part, "{name}: {text}");
    let last = &history.events()[violation.last];
    assert_eq!(last.ended_at(), Some(last_at), "{name}: {text}");
    assert!(!violation.stuck.is_empty(), "{name}: {text}");
    let found: BTreeSet<Rule> = oracle::all(&history).into_iter().map(|finding| finding.rule).collect();
    assert_eq!(found, rules.iter().copied().collect(), "{name}");
    let without: Vec<Event> = events.iter().filter(|event| *event != last).cloned().collect();
    let without = self::history(&without);
    assert_eq!(
        check(&without, Budget::standard()),
        Verdict::Linearizable,
        "{name}, without the last answer"
    );
}

/// An operation that was answered.
pub(crate) fn told(call: u64, at: u64, operation: Operation, reply: Reply) -> Event {
    let end = End::Returned { at, reply, seq: None };
    event(call, operation, end)
}

/// One whose outcome nobody knows.
pub(crate) fn open(call: u64, operation: Operation) -> Event {
    event(call, operation, End::Open)
}

/// One that certainly failed.
pub(crate) fn failed(call: u64, at: u64, operation: Operation) -> Event {
    event(call, operation, End::Failed { at })
}

/// The same, at this place of the log.
pub(crate) fn at_seq(seq: u64, mut event: Event) -> Event {
    if let End::Returned { seq: place, .. } = &mut event.end {
        *place = Some(seq);
    }
    event
}

fn event(call: u64, operation: Operation, end: End) -> Event {
    Event {
        client: call,
        request: None,
        call,
        operation,
        end,
    }
}

pub(crate) fn history(events: &[Event]) -> History {
    History::new(events.to_vec())
}

pub(crate) fn put(key: &str, value: u64) -> Operation {
    Operation::Put {
        key: key.to_owned(),
        value,
        cas: None,
    }
}

pub(crate) fn cas(key: &str, version: u64, value: u64) -> Operation {
    Operation::Put {
        key: key.to_owned(),
        value,
        cas: Some(version),
    }
}

pub(crate) fn patch(key: &str, value: u64) -> Operation {
    Operation::Patch {
        key: key.to_owned(),
        value,
        cas: None,
    }
}

pub(crate) fn get(key: &str) -> Operation {
    Operation::Get {
        key: key.to_owned(),
        version: None,
    }
}

pub(crate) fn get_version(key: &str, version: u64) -> Operation {
    Operation::Get {
        key: key.to_owned(),
        version: Some(version),
    }
}

pub(crate) fn delete(key: &str, versions: &[u64]) -> Operation {
    Operation::Delete {
        key: key.to_owned(),
        versions: versions.to_vec(),
    }
}

pub(crate) fn undelete(key: &str, versions: &[u64]) -> Operation {
    Operation::Undelete {
        key: key.to_owned(),
        versions: versions.to_vec(),
    }
}

pub(crate) fn destroy(key: &str, versions: &[u64]) -> Operation {
    Operation::Destroy {
        key: key.to_owned(),
        versions: versions.to_vec(),
    }
}

pub(crate) fn metadata(key: &str) -> Operation {
    Operation::ReadMetadata { key: key.to_owned() }
}

pub(crate) fn settings(key: &str, max_versions: Option<u32>, cas_required: Option<bool>) -> Operation {
    Operation::WriteMetadata {
        key: key.to_owned(),
        max_versions,
        cas_required,
    }
}

pub(crate) fn remove(key: &str) -> Operation {
    Operation::DeleteMetadata { key: key.to_owned() }
}

pub(crate) fn list(directory: &str) -> Operation {
    Operation::List {
        directory: directory.to_owned(),
    }
}

pub(crate) fn token(token: &str, uses: u64) -> Operation {
    Operation::CreateToken {
        token: token.to_owned(),
        parent: None,
        uses,
    }
}

pub(crate) fn child(token: &str, parent: &str, uses: u64) -> Operation {
    Operation::CreateToken {
        token: token.to_owned(),
        parent: Some(parent.to_owned()),
        uses,
    }
}

pub(crate) fn use_token(token: &str) -> Operation {
    Operation::UseToken {
        token: token.to_owned(),
    }
}

pub(crate) fn revoke(token: &str) -> Operation {
    Operation::RevokeToken {
        token: token.to_owned(),
    }
}

pub(crate) fn wrap(wrapping: &str, value: u64) -> Operation {
    Operation::Wrap {
        wrapping: wrapping.to_owned(),
        value,
    }
}

pub(crate) fn unwrap(wrapping: &str) -> Operation {
    Operation::Unwrap {
        wrapping: wrapping.to_owned(),
    }
}

pub(crate) fn written(version: u64) -> Reply {
    Reply::Written { version }
}

pub(crate) fn item(version: u64, value: u64) -> Reply {
    Reply::Item {
        version,
        content: Content::Value(value),
    }
}

pub(crate) fn deleted(version: u64) -> Reply {
    Reply::Item {
        version,
        content: Content::Deleted,
    }
}

pub(crate) fn destroyed(version: u64) -> Reply {
    Reply::Item {
        version,
        content: Content::Destroyed,
    }
}

pub(crate) fn gone(version: u64) -> Reply {
    Reply::Item {
        version,
        content: Content::Gone,
    }
}

pub(crate) fn versions(current: u64, versions: &[(u64, Fate)]) -> Reply {
    Reply::Metadata {
        current,
        versions: versions.to_vec(),
    }
}

pub(crate) fn names(names: &[&str]) -> Reply {
    Reply::Names(names.iter().map(|name| (*name).to_owned()).collect())
}

pub(crate) fn mismatch(current: u64) -> Reply {
    Reply::CasMismatch { current: Some(current) }
}
