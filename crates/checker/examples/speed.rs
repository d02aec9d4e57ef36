//! How long a verdict takes: random runs of a simulated store with the real rules, judged by the search and by the oracles.
//!
//! `cargo run --release --locked -p aumbry-checker --example speed`

use std::time::Instant;

use aumbry_checker::model::{Kv, Model};
use aumbry_checker::{Budget, Content, End, Event, History, Operation, Reply, Verdict, check, oracle};

fn main() {
    let sizes = [
        // Operations, secrets, clients, lost answers in a thousand.
        (10_000, 50, 16, 0),
        (10_000, 50, 16, 10),
        (10_000, 1, 16, 0),
        (10_000, 1, 64, 0),
        (10_000, 1, 16, 2),
        (100_000, 50, 16, 1),
        (1_000_000, 1_000, 64, 0),
    ];
    for (operations, secrets, clients, lost) in sizes {
        let history = run(operations, secrets, clients, lost);
        let begun = Instant::now();
        let verdict = check(&history, Budget::standard());
        let searched = begun.elapsed();
        let begun = Instant::now();
        let findings = oracle::all(&history);
        let looked = begun.elapsed();
        let verdict = summary(&verdict);
        show(&format!(
            "{operations} operations, {secrets} secrets, {clients} clients, {lost} of 1,000 lost: {verdict} in {searched:.1?}, \
             {} findings in {looked:.1?}",
            findings.len()
        ));
        let (broken, position) = with_a_stale_read(&history);
        let begun = Instant::now();
        let verdict = check(&broken, Budget::standard());
        let searched = begun.elapsed();
        let is_it = verdict.violation().is_some_and(|violation| violation.last == position);
        let findings = oracle::all(&broken).len();
        show(&format!(
            "    with one stale read: {} in {searched:.1?}, named rightly: {is_it}, {findings} findings",
            summary(&verdict)
        ));
    }
}

fn summary(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Linearizable => "linearizable",
        Verdict::Violation(_) => "a violation",
        Verdict::Unknown { .. } => "unknown",
    }
}

/// Clients that each do one operation after the other; each takes effect at a random moment within its time.
fn run(operations: usize, secrets: u64, clients: u64, lost: u64) -> History {
    let mut random = Random(1);
    let mut free_at: Vec<u64> = (0..clients).collect();
    let mut planned: Vec<(u64, Event)> = Vec::with_capacity(operations);
    for value in 0..operations as u64 {
        let client = random.below(clients);
        let call = free_at[client as usize] + random.below(20);
        let at = call + 1 + random.below(100);
        free_at[client as usize] = at + 1;
        let key = format!("s/{}", random.below(secrets));
        let operation = match random.below(10) {
            0..4 => Operation::Get { key, version: None },
            4..7 => Operation::Put { key, value, cas: None },
            7 => Operation::Put {
                key,
                value,
                cas: Some(random.below(operations as u64 / secrets)),
            },
            8 => Operation::Delete {
                key,
                versions: Vec::new(),
            },
            _ => Operation::ReadMetadata { key },
        };
        let effect = call + random.below(at - call + 1);
        let end = End::Returned {
            at,
            reply: Reply::Done,
            seq: None,
        };
        planned.push((
            effect,
            Event {
                client,
                request: None,
                call,
                operation,
                end,
            },
        ));
    }
    planned.sort_by_key(|(effect, _)| *effect);
    let mut states = std::collections::BTreeMap::new();
    let mut events = Vec::with_capacity(operations);
    for (_, mut event) in planned {
        let key = event.operation.key().unwrap_or_default().to_owned();
        let state = states.entry(key).or_insert_with(|| Kv.initial());
        let Some((answer, next)) = Kv.answer(state, &event.operation) else {
            continue;
        };
        if let Some(next) = next {
            *state = next;
        }
        match &mut event.end {
            end if random.below(1_000) < lost => *end = End::Open,
            End::Returned { reply, .. } => *reply = answer,
            _ => {}
        }
        events.push(event);
    }
    History::new(events)
}

/// The same, with the last read of a value replaced by one of the version before. Gives its position as well.
fn with_a_stale_read(history: &History) -> (History, usize) {
    let mut events = history.events().to_vec();
    let mut values = std::collections::BTreeMap::new();
    for event in &events {
        if let (Operation::Put { key, value, .. }, Some(Reply::Written { version })) = (&event.operation, event.reply())
        {
            values.insert((key.clone(), *version), (*value, event.ended_at()));
        }
    }
    let mut changed = 0;
    for (position, event) in events.iter_mut().enumerate().rev() {
        let key = event.operation.key().unwrap_or_default().to_owned();
        let call = event.call;
        if let End::Returned {
            reply:
                Reply::Item {
                    version,
                    content: content @ Content::Value(_),
                },
            ..
        } = &mut event.end
            && let Some((_, Some(made))) = values.get(&(key.clone(), *version))
            && *made < call
            && let Some((value, _)) = values.get(&(key, *version - 1))
        {
            (*version, *content) = (*version - 1, Content::Value(*value));
            changed = position;
            break;
        }
    }
    (History::new(events), changed)
}

#[expect(clippy::print_stdout, reason = "figures are what this program is for")]
fn show(line: &str) {
    println!("{line}");
}

/// SplitMix64: the same run each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}
