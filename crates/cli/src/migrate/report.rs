//! What became of everything: counts, and by name what was not moved and why.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::failure::{Refused, note};
use crate::output::{Format, line, line_json};

/// What is moved, one by one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Mount,
    Secret,
    Policy,
    Role,
    User,
    /// What is not moved at all.
    Other,
}

/// What became of one of them.
pub(super) enum Fate {
    /// It is there now; or would be, if this were no dry run.
    Moved,
    /// It was there already, and is the same.
    Same,
}

/// Why one of them, or a part of it, is not there.
pub(super) enum Why {
    /// It failed, or is another there: the next run tries again.
    Left(String),
    /// It cannot be read from the source: a person has to see to it.
    ByHand(String),
}

#[derive(Default)]
struct Count {
    found: u64,
    moved: u64,
    same: u64,
    left: u64,
    /// Seen in the target at the end.
    verified: Option<u64>,
}

#[derive(Default)]
struct Counts {
    kinds: BTreeMap<Kind, Count>,
    versions: u64,
    left: Named,
    by_hand: Named,
}

/// Names with reasons, up to a bound.
#[derive(Default)]
struct Named {
    items: Vec<(Kind, String, String)>,
    more: u64,
}

/// The report while it grows. One thread makes all of it.
pub(super) struct Report {
    counts: RefCell<Counts>,
    format: Format,
    is_dry: bool,
    told: RefCell<Instant>,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Mount => "mounts",
            Self::Secret => "secrets",
            Self::Policy => "policies",
            Self::Role => "approle_roles",
            Self::User => "userpass_users",
            Self::Other => "other",
        }
    }
}

impl Named {
    fn push(&mut self, kind: Kind, name: &str, why: String) {
        if self.items.len() < NAMED_MAX {
            self.items.push((kind, name.to_owned(), why));
        } else {
            self.more += 1;
        }
    }

    fn shown(&self) -> Value {
        let items = self.items.iter();
        let items = items.map(|(kind, name, why)| json!({ "kind": kind.name(), "name": name, "why": why }));
        items.collect()
    }

    fn len(&self) -> u64 {
        self.items.len() as u64 + self.more
    }
}

impl Report {
    pub(super) fn new(format: Format, is_dry: bool) -> Self {
        Self {
            counts: RefCell::default(),
            format,
            is_dry,
            told: RefCell::new(Instant::now()),
        }
    }

    /// Notes that one more is there to be moved, and what became of it.
    pub(super) fn note(&self, kind: Kind, name: &str, fate: Result<Fate>) {
        {
            let mut counts = self.counts.borrow_mut();
            let count = counts.kinds.entry(kind).or_default();
            count.found += 1;
            match fate {
                Ok(Fate::Moved) => count.moved += 1,
                Ok(Fate::Same) => count.same += 1,
                Err(error) => {
                    count.left += 1;
                    counts.left.push(kind, name, format!("{error:#}"));
                }
            }
        }
        self.progress();
    }

    /// Notes what remains beside that.
    pub(super) fn remains(&self, kind: Kind, name: &str, why: Why) {
        let mut counts = self.counts.borrow_mut();
        match why {
            Why::Left(why) => counts.left.push(kind, name, why),
            Why::ByHand(why) => counts.by_hand.push(kind, name, why),
        }
    }

    /// Notes that a version was written.
    pub(super) fn version(&self) {
        self.counts.borrow_mut().versions += 1;
    }

    /// Notes how many were seen in the target at the end.
    pub(super) fn verified(&self, kind: Kind, seen: u64) {
        let mut counts = self.counts.borrow_mut();
        *counts.kinds.entry(kind).or_default().verified.get_or_insert(0) += seen;
    }

    /// Tells people how far it is, from time to time.
    fn progress(&self) {
        let mut told = self.told.borrow_mut();
        if self.format == Format::Table && told.elapsed() >= PROGRESS {
            *told = Instant::now();
            let counts = self.counts.borrow();
            let secrets = counts.kinds.get(&Kind::Secret);
            note(&format!(
                "{} secrets seen, {} moved ({} versions), {} there already, {} left",
                secrets.map_or(0, |count| count.found),
                secrets.map_or(0, |count| count.moved),
                counts.versions,
                secrets.map_or(0, |count| count.same),
                counts.left.len(),
            ));
        }
    }

    /// Prints it; fails if anything remains.
    pub(super) fn finish(self) -> Result<()> {
        let counts = self.counts.into_inner();
        match self.format {
            Format::Json => line_json(&document(&counts, self.is_dry))?,
            Format::Table => table(&counts, self.is_dry)?,
        }
        match (counts.left.len(), counts.by_hand.len()) {
            (0, 0) => Ok(()),
            (0, by_hand) => Err(Refused::Remains(format!(
                "all that can be read is there; {by_hand} things remain to be done by hand: the report names them"
            ))
            .into()),
            (left, _) => bail!(
                "{left} things were left: the report names them; run the same command again when they are put right"
            ),
        }
    }
}

fn document(counts: &Counts, is_dry: bool) -> Value {
    let kinds = counts.kinds.iter().map(|(kind, count)| {
        let mut shown = json!({ "found": count.found, "moved": count.moved, "same": count.same, "left": count.left });
        if let Some(verified) = count.verified {
            shown["verified"] = json!(verified);
        }
        (kind.name().to_owned(), shown)
    });
    json!({
        "dry_run": is_dry,
        "counts": kinds.collect::<serde_json::Map<_, _>>(),
        "versions_written": counts.versions,
        "left": counts.left.shown(),
        "left_not_named": counts.left.more,
        "by_hand": counts.by_hand.shown(),
        "by_hand_not_named": counts.by_hand.more,
    })
}

fn table(counts: &Counts, is_dry: bool) -> Result<()> {
    if is_dry {
        line("This was a dry run: nothing was written.")?;
    }
    let rows: Vec<Value> = counts
        .kinds
        .iter()
        .map(|(kind, count)| {
            json!({ "": kind.name(), "found": count.found, "moved": count.moved, "same": count.same, "left": count.left,
                    "verified": count.verified })
        })
        .collect();
    crate::output::table(
        Format::Table,
        &["", "found", "moved", "same", "left", "verified"],
        &rows,
    )?;
    line(&format!("versions written: {}", counts.versions))?;
    for (title, named) in [("Left", &counts.left), ("To be done by hand", &counts.by_hand)] {
        if named.len() > 0 {
            line("")?;
            line(&format!("{title}:"))?;
        }
        for (kind, name, why) in &named.items {
            line(&format!("  {} {name}: {why}", kind.name()))?;
        }
        if named.more > 0 {
            line(&format!("  and {} more", named.more))?;
        }
    }
    Ok(())
}

/// More names nobody reads; the counts go on.
const NAMED_MAX: usize = 10_000;
const PROGRESS: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(notes: impl FnOnce(&Report)) -> u8 {
        let report = Report::new(Format::Json, false);
        notes(&report);
        report
            .finish()
            .err()
            .map_or(0, |error| crate::failure::exit_code(&error))
    }

    #[test]
    fn what_remains_decides_how_it_ends() {
        assert_eq!(check(|report| report.note(Kind::Secret, "a", Ok(Fate::Moved))), 0);
        assert_eq!(
            check(|report| report.note(Kind::Secret, "a", Err(anyhow::anyhow!("x")))),
            1
        );
        let by_hand = |report: &Report| report.remains(Kind::User, "a", Why::ByHand("x".to_owned()));
        assert_eq!(check(by_hand), 9);
    }

    #[test]
    fn names_are_bounded_and_counted_on() {
        let mut named = Named::default();
        for _ in 0..NAMED_MAX + 5 {
            named.push(Kind::Secret, "a", String::new());
        }
        assert_eq!((named.items.len(), named.len()), (NAMED_MAX, NAMED_MAX as u64 + 5));
    }
}
