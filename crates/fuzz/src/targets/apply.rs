//! Apply: total and deterministic whatever stands in the log, however it is cut into calls, and whether the machine goes on or is loaded again.

use std::collections::BTreeMap;

use aumbry_audit::Body;
use aumbry_crypto::lthash::LtHash;
use aumbry_state::{
    Command, ContainerState, Counters, Entry, EntryHeader, EntryResult, Input, Machine, MemoryView, Payload,
    Precondition, Put, Row, Slot, View as _, Write, key,
};
use aumbry_types::{CommandId, LeaderId, LogId, LogIndex, NodeId, ObjectId, Term};
use bytes::Bytes;

use super::entry;
use crate::{Choices, Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "apply",
    seeds,
    run,
    smoke: 3_000,
    input_bytes_max: 2 << 10,
    ..Target::USUAL
};

/// What stands at a position of the log.
enum Position {
    Blank,
    Membership(Vec<u8>),
    Command(Bytes),
}

fn seeds() -> Vec<Vec<u8>> {
    let raw = |kind: u8, payload: &[u8]| [&[kind], &(payload.len() as u16).to_be_bytes()[..], payload].concat();
    let entry = entry::sample(3);
    let counted: Vec<u8> = (0..=255).collect();
    vec![
        raw(2, &entry),
        raw(3, &entry),
        [vec![0], raw(2, &entry), raw(1, b"members"), raw(3, &entry)].concat(),
        [&[4], &counted[..]].concat(),
        counted.iter().map(|n| n.wrapping_mul(37)).collect(),
        counted.iter().rev().copied().collect(),
    ]
}

fn run(input: &[u8]) -> Verdict {
    let log = log(Choices::new(input));
    let whole = applied(&log, log.len().max(1), Memory::Kept);
    let single = applied(&log, 1, Memory::Loaded);
    let pairs = applied(&log, 2, Memory::Kept);
    assert!(
        whole == single && whole == pairs,
        "the outcome depends on how the log is cut"
    );
    // Of what cannot be applied nothing is; a newer entry ends all at the same place.
    whole.check();
    Verdict::of(whole.stopped.is_none())
}

/// Whether the machine's memory is kept from call to call.
#[derive(Clone, Copy, PartialEq)]
enum Memory {
    Kept,
    Loaded,
}

#[derive(Default, PartialEq)]
struct Outcome {
    rows: BTreeMap<Bytes, Bytes>,
    results: Vec<EntryResult>,
    bodies: Vec<(LogIndex, Vec<u8>)>,
    stopped: Option<LogIndex>,
}

impl Outcome {
    /// What the rows and bodies say of each other.
    fn check(&self) {
        let (mut digest, mut seq) = (LtHash::default(), 0);
        for (key, row) in &self.rows {
            if key::is_digested(key) {
                digest.add(key, row);
            }
            let is_container = key::parse_container(key).is_some();
            let is_row = key::is_writable(key);
            assert!(
                !is_container || ContainerState::decode(row).is_ok(),
                "a container can be read"
            );
            assert!(!is_row || Row::decode(row).is_ok(), "a row can be read");
        }
        let machine =
            Machine::from_row(self.rows.get(&key::machine()).cloned()).expect("the machine's row can be read");
        assert_eq!(machine.digest(), digest.digest(), "the digest is that of the rows");
        for ((_, body), result) in self.bodies.iter().zip(&self.results) {
            let body = Body::decode(body).expect("a body can be read");
            assert_eq!((body.first_seq, result.first_seq), (seq, seq), "no record is missing");
            assert_eq!(body.leaves.len(), result.outcomes.len());
            seq += body.leaves.len() as u64;
        }
        assert_eq!(machine.audit_size(), seq, "each record is in the tree");
    }
}

fn applied(log: &[Position], call: usize, memory: Memory) -> Outcome {
    let view = MemoryView::default();
    let mut outcome = Outcome::default();
    let mut machine = Machine::load(&view).expect("an empty state loads");
    let log_id = |index| LogId {
        leader: LeaderId {
            term: Term(3),
            node: NodeId(2),
        },
        index: LogIndex(index),
    };
    let inputs: Vec<Input<'_>> = (1..)
        .zip(log)
        .map(|(index, position)| Input {
            log_id: log_id(index),
            payload: match position {
                Position::Blank => Payload::Blank,
                Position::Membership(bytes) => Payload::Membership(bytes),
                Position::Command(bytes) => Payload::Command(bytes),
            },
        })
        .collect();
    // Entries of a newer build stop a node; those before have been applied if they came in a call of their own. So the log ends there.
    let newer = inputs.iter().position(|input| match input.payload {
        Payload::Command(bytes) => matches!(Entry::decode(bytes), Err(aumbry_state::EntryError::Newer(_))),
        _ => false,
    });
    for inputs in inputs[..newer.unwrap_or(inputs.len())].chunks(call) {
        if memory == Memory::Loaded {
            machine = Machine::load(&view).expect("what was stored can be read");
        }
        let applied = machine.apply(&view, inputs).expect("no entry is of a newer build");
        assert!(applied.results.len() == inputs.len() && applied.bodies.len() == inputs.len());
        view.write(applied.rows);
        outcome.results.extend(applied.results);
        outcome.bodies.extend(applied.bodies);
    }
    if let Some(newer) = newer {
        let stopped = machine
            .apply(&view, &inputs[newer..])
            .expect_err("a newer entry is not applied");
        assert_eq!(stopped.index, inputs[newer].log_id.index);
        outcome.stopped = Some(stopped.index);
    }
    outcome.rows = view.rows();
    assert!(view.get(b"no such row").is_none());
    outcome
}

/// Positions: each begins with its kind.
fn log(mut choices: Choices<'_>) -> Vec<Position> {
    let mut log = Vec::new();
    let mut log_time = 90;
    while !choices.is_empty() && log.len() < POSITIONS_MAX {
        log.push(match choices.byte() {
            0 => Position::Blank,
            1 => {
                let length = usize::from(choices.u16());
                Position::Membership(choices.take(length).to_vec())
            }
            kind @ (2 | 3) => {
                let length = usize::from(choices.u16());
                let mut bytes = choices.take(length).to_vec();
                if kind == 3 {
                    super::mend_crc_at_end(&mut bytes);
                }
                Position::Command(bytes.into())
            }
            _ => {
                log_time = (log_time + choices.below(16) as u64).saturating_sub(4);
                Position::Command(made(&mut choices, log_time))
            }
        });
    }
    log
}

/// A well-formed entry, whose commands meet on a few rows.
fn made(choices: &mut Choices<'_>, log_time: u64) -> Bytes {
    let commands = (0..1 + choices.below(4)).map(|_| Command {
        id: CommandId::from_bytes([choices.byte() & 7; 16]),
        preconditions: (0..choices.below(3)).map(|_| precondition(choices)).collect(),
        writes: (0..choices.below(6)).map(|_| write(choices)).collect(),
        commitment: [choices.byte(); 32],
    });
    let commands = commands.collect();
    let header = EntryHeader {
        log_time,
        wall_time: choices.u64(),
    };
    Entry {
        header,
        commands,
        audit: Bytes::from_static(b"audit"),
    }
    .encode()
}

fn object(choices: &mut Choices<'_>) -> ObjectId {
    ObjectId::from_bytes([choices.byte() & 3; 16])
}

fn row_key(choices: &mut Choices<'_>) -> Bytes {
    match choices.below(8) {
        0..=2 => key::directory(object(choices), [choices.byte() & 3; 16]),
        3 | 4 => key::object(object(choices)),
        5 => key::version(object(choices), u64::from(choices.byte() & 1)),
        6 => key::auth_generation(object(choices)),
        _ if choices.byte() & 1 == 0 => key::work(object(choices)),
        _ => key::dedup([choices.byte() & 1; 16]),
    }
}

fn slot(choices: &mut Choices<'_>) -> Slot {
    choices.pick(&[Slot::First, Slot::Second])
}

fn number(choices: &mut Choices<'_>) -> u64 {
    choices.pick(&[0, 1, 2, 3, 90, 110, u64::MAX - 1, u64::MAX])
}

fn precondition(choices: &mut Choices<'_>) -> Precondition {
    match choices.below(7) {
        0 => Precondition::RowIs(row_key(choices), CommandId::from_bytes([choices.byte() & 7; 16])),
        1 => Precondition::Absent(row_key(choices)),
        2 => Precondition::ContainerGen(object(choices), number(choices)),
        3 => Precondition::ContainerScan(object(choices), number(choices)),
        4 => Precondition::AuthGen(object(choices), number(choices)),
        5 => Precondition::NotExpired(row_key(choices)),
        _ => Precondition::CounterAtLeast(row_key(choices), slot(choices), number(choices)),
    }
}

fn write(choices: &mut Choices<'_>) -> Write {
    match choices.below(10) {
        0..=4 => Write::Put(Put {
            key: row_key(choices),
            kind: choices.byte(),
            expires_at: number(choices),
            counters: match choices.below(2) {
                0 => Counters::Keep,
                _ => Counters::Set([number(choices), number(choices)]),
            },
            key_term: u32::from(choices.byte()),
            container: object(choices),
            body: Bytes::copy_from_slice(&[choices.byte()]),
        }),
        5 | 6 => Write::Delete(row_key(choices)),
        7 => Write::DeleteContainer(object(choices)),
        8 => Write::ForgetContainer(object(choices)),
        _ => Write::CounterAdd {
            key: row_key(choices),
            slot: slot(choices),
            delta: choices.pick(&[-1, 0, 1, 3, i64::MIN, i64::MAX]),
            floor: number(choices),
        },
    }
}

const POSITIONS_MAX: usize = 64;
