//! A record as people and collectors are shown it: one object for `aumbry audit log` and for the files of sinks.

use serde_json::{Value, json};

use crate::{Outcome, text};

/// Where a record stands, and what became of its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The position of its leaf in the tree.
    pub seq: u64,
    /// The position of its entry in the Raft log.
    pub index: u64,
    /// The Raft term of its entry.
    pub term: u64,
    /// The log's time of its entry, in milliseconds since 1970.
    pub log_time: u64,
    /// The code of what apply did; one that this build does not know is shown as `unknown`.
    pub outcome: u8,
}

/// The event of a record (JSON, as [`Record::to_json`](crate::Record::to_json) gives it) with its place. Print it with
/// [`text::json`]. Keys are sorted, so the same record is always shown by the same bytes.
#[must_use]
pub fn shown(event: &str, place: &Place) -> Value {
    let mut shown: Value = serde_json::from_str(event)
        .ok()
        .filter(Value::is_object)
        .unwrap_or_else(|| json!({}));
    shown["seq"] = json!(place.seq);
    shown["index"] = json!(place.index);
    shown["term"] = json!(place.term);
    shown["time"] = json!(text::time(place.log_time));
    shown["outcome"] = json!(Outcome::from_u8(place.outcome).map_or("unknown", Outcome::name));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_with_its_place() {
        let place = Place {
            seq: 3,
            index: 2,
            term: 1,
            log_time: 1,
            outcome: 0,
        };
        let rest = r#""seq":3,"term":1,"time":"1970-01-01T00:00:00.001Z"}"#;
        for (event, outcome, expected) in [
            (r#"{"path":"p"}"#, 0, r#"{"index":2,"outcome":"ok","path":"p","#),
            ("not JSON", 1, r#"{"index":2,"outcome":"conflict","#),
            ("[]", 99, r#"{"index":2,"outcome":"unknown","#),
        ] {
            let shown = shown(event, &Place { outcome, ..place });
            assert_eq!(text::json(&shown).unwrap(), format!("{expected}{rest}"));
        }
    }
}
