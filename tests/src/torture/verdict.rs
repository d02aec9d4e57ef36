//! The verdict on a round: what was promised, compared with what clients were told and what the nodes hold.

use std::collections::BTreeMap;

use anyhow::Result;
use aumbry_checker::{Budget, End, Event, History, Operation, Reply, Verdict, oracle};

use super::bed::Bed;
use super::clients::Clients;
use super::outcome::{Violation, Void};
use super::patience::within;
use crate::records::{Recorded, records};

/// Checks everything, after the last fault was healed and the clients have ended. Gives how many records the audit log has, and how many uses of
/// tokens were counted twice for one request.
pub(crate) async fn check(bed: &Bed, clients: &Clients) -> Result<Figures> {
    let from = clients.recorder().now();
    let reading = clients.read_all(&bed.reach()).await;
    reading.map_err(Violation::of("what was written cannot be read"))?;
    let equal = within("state digest and audit root are equal at an equal index", || async {
        bed.are_equal().await.unwrap_or(false)
    })
    .await;
    equal.map_err(Violation::of("the nodes differ"))?;
    let recorded = records(&bed.client()?).await.map_err(Violation::of("the audit log"))?;
    let verified = bed.verify_audit().map_err(Violation::of("the audit log"))?;
    if verified < recorded.len() as u64 {
        return Err(Violation(format!("of {} records {verified} were exported", recorded.len())).into());
    }
    let told = clients.recorder().history();
    let effects = Effects::of(&recorded);
    let (history, repeated) = effects.resolve(&told);
    let mut wrong = judge(&history, from)?;
    wrong.extend(effects.unrecorded(&told));
    wrong.extend(panics(bed));
    wrong.extend(leaders(bed)?);
    match wrong.first() {
        None => Ok(Figures {
            records: verified,
            repeated,
        }),
        Some(first) => Err(Violation(format!("{} things are wrong; {first}", wrong.len())).into()),
    }
}

/// Judges a history by itself: what shows in one pass, and the search for an order that explains every answer. Everything was read after this moment.
pub(crate) fn judge(history: &History, from: u64) -> Result<Vec<String>> {
    let findings = oracle::all(history)
        .into_iter()
        .chain(oracle::read_at_the_end(history, from));
    let mut wrong: Vec<String> = findings.map(|finding| finding.to_string()).collect();
    match aumbry_checker::check(history, Budget::standard()) {
        Verdict::Linearizable => {}
        Verdict::Violation(violation) => wrong.push(violation.to_string()),
        // What was not decided shows nothing.
        undecided @ Verdict::Unknown { .. } if wrong.is_empty() => return Err(Void(undecided.to_string()).into()),
        Verdict::Unknown { .. } => {}
    }
    Ok(wrong)
}

/// What a round that passed has to tell beside that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// How many records the audit log has.
    pub(crate) records: u64,
    /// How many uses of tokens were counted again: the node that handed a read on lost its leader, and asked the next one.
    pub(crate) repeated: u64,
}

/// What the audit log says of requests.
struct Effects<'a> {
    /// How many records each has.
    all: BTreeMap<&'a str, u64>,
    /// How often each was allowed, repeats of writes under their key not counted.
    allowed: BTreeMap<&'a str, u64>,
}

impl<'a> Effects<'a> {
    fn of(records: &'a [Recorded]) -> Self {
        let mut effects = Self {
            all: BTreeMap::new(),
            allowed: BTreeMap::new(),
        };
        for record in records {
            let id = record.text("request_id");
            *effects.all.entry(id).or_default() += 1;
            // A write whose answer was lost is asked for again, under its key, and that is on record too.
            if record.is_allowed() && record.text("reason").is_empty() {
                *effects.allowed.entry(id).or_default() += 1;
            }
        }
        effects
    }

    /// The history with what the audit log says of operations whose outcome nobody was told: what is not on record had no effect. The search need not
    /// try all that may have become of it; and if a client did see an effect, that is a contradiction. A use of a token is on record as often as it
    /// was counted; how often that was more than once is given.
    fn resolve(&self, history: &History) -> (History, u64) {
        let (mut events, mut repeated) = (Vec::new(), 0);
        for event in history.events() {
            let allowed = event.request.as_deref().map_or(0, |id| count(&self.allowed, id));
            let mut resolved = event.clone();
            if event.end == End::Open && allowed == 0 && event.request.is_some() {
                resolved.end = End::Failed { at: event.call };
            }
            if matches!(event.operation, Operation::UseToken { .. }) {
                let is_told = event.reply() == Some(&Reply::Done) || event.end == End::Open;
                let again = allowed.saturating_sub(u64::from(is_told));
                repeated += again;
                let ghost = Event {
                    end: End::Open,
                    ..event.clone()
                };
                events.extend((0..again).map(|_| ghost.clone()));
            }
            events.push(resolved);
        }
        (History::new(events), repeated)
    }

    /// What was answered is on record: once for what changed something, and what was refused for sure changed nothing.
    fn unrecorded(&self, history: &History) -> Vec<String> {
        let mut wrong = Vec::new();
        for event in history.events() {
            let Some(id) = event.request.as_deref() else { continue };
            let (all, allowed) = (count(&self.all, id), count(&self.allowed, id));
            let is_write = matches!(
                event.operation,
                Operation::Put { .. }
                    | Operation::Delete { .. }
                    | Operation::CreateToken { .. }
                    | Operation::RevokeToken { .. }
            );
            match &event.end {
                // Refusals of unknown tokens are recorded by the second, with their count.
                End::Returned {
                    reply: Reply::Refused, ..
                } => {}
                End::Returned { .. } if all == 0 => {
                    wrong.push(format!("it was answered and is not on record: {event:?}"));
                }
                End::Returned {
                    reply: Reply::Written { .. } | Reply::Done,
                    ..
                } if is_write && allowed != 1 => {
                    wrong.push(format!("it was done {allowed} times by the audit log: {event:?}"));
                }
                End::Failed { .. } if is_write && allowed != 0 => {
                    wrong.push(format!("it was refused for sure, and is on record as done: {event:?}"));
                }
                _ => {}
            }
        }
        wrong
    }
}

fn count(counts: &BTreeMap<&str, u64>, id: &str) -> u64 {
    counts.get(id).copied().unwrap_or(0)
}

/// No node panics, whatever happens to it.
fn panics(bed: &Bed) -> Vec<String> {
    let mut wrong = Vec::new();
    for (n, slot) in (1..).zip(&bed.slots) {
        let log = slot.server.log();
        let lines = log.lines().filter(|line| line.contains("panicked at"));
        wrong.extend(lines.map(|line| format!("node {n}: {line}")));
    }
    wrong
}

/// A term has one leader at most, by the nodes' own words.
fn leaders(bed: &Bed) -> Result<Vec<String>> {
    let (mut leaders, mut wrong) = (BTreeMap::new(), Vec::new());
    for (n, slot) in (1..).zip(&bed.slots) {
        for line in slot.server.log().lines() {
            let Some((_, term)) = line.split_once(LEADS) else {
                continue;
            };
            let term: u64 = term.split(' ').next().unwrap_or_default().parse()?;
            let first = *leaders.entry(term).or_insert(n);
            if first != n {
                wrong.push(format!("nodes {first} and {n} both led term {term}"));
            }
        }
    }
    if leaders.is_empty() {
        return Err(Void("nobody says that it led a term".to_owned()).into());
    }
    Ok(wrong)
}

/// What a node writes into its log when it is elected.
const LEADS: &str = "this node leads term=";
