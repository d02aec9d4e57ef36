//! What is written in one namespace is seen in no other, though the paths are the same; and a token of one is told nothing in one beside it.
//!
//! A history names a secret of a namespace by a directory of its own: what is read in a directory was written there.

use std::collections::{HashMap, HashSet};

use super::Judged;
use super::child_reaches_no_parent::{Crossing, is_below};
use crate::{Content, History, Operation, Reply};

/// Judges the property. A fact is a value that was read, a name that was listed, or a token that was shown beside its namespace.
pub fn sibling_sees_no_rows(history: &History, crossings: &[Crossing]) -> Judged {
    let mut judged = Judged::new("sibling_sees_no_rows");
    let written: HashMap<u64, &str> = (history.events().iter())
        .filter_map(|event| Some((event.operation.written()?, directory(event.operation.key()?))))
        .collect();
    let writers = history
        .events()
        .iter()
        .filter(|event| event.operation.written().is_some());
    let keys: HashSet<&str> = writers.filter_map(|event| event.operation.key()).collect();
    for event in history.events() {
        match (&event.operation, event.reply()) {
            (
                Operation::Get { key, .. },
                Some(Reply::Item {
                    content: Content::Value(value),
                    ..
                }),
            ) => {
                // A value of nobody is another property's.
                let other = written.get(value).filter(|other| **other != directory(key));
                judged.fact(other.map(|other| format!("value {value} was read as {key:?}, and written in {other:?}")));
            }
            (Operation::List { directory }, Some(Reply::Names(names))) => {
                for name in names.iter().filter(|name| !name.ends_with('/')) {
                    let is_own = keys.contains(format!("{directory}{name}").as_str());
                    judged.fact(
                        (!is_own).then(|| format!("{name:?} was listed in {directory:?}, and never written there")),
                    );
                }
            }
            _ => {}
        }
    }
    for crossing in crossings {
        let (of, shown_in) = (&crossing.of, &crossing.shown_in);
        if of != shown_in && !is_below(of, shown_in) && !is_below(shown_in, of) {
            judged.fact(crossing.wrong());
        }
    }
    judged
}

/// The directory of a secret, with its slash.
fn directory(key: &str) -> &str {
    key.rfind('/').map_or("", |slash| &key[..=slash])
}
