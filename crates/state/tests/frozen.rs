//! Bytes that reach a disk or a peer, and the state that a small log gives. Files are only ever added, never changed: a test that
//! fails here says that old logs would be read differently.

mod common;

use aumbry_state::codec::{Reader, Writer};
use aumbry_state::{
    Command, ContainerState, Counters, Entry, Outcome, Payload, Precondition, Put, Rev, Row, Slot, Write, key,
};
use aumbry_types::ObjectId;
use bytes::Bytes;
use common::{Store, child, command, command_id, entry, object, put, put_with};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<char> = text.split_whitespace().flat_map(str::chars).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16).expect("hexadecimal");
    digits.chunks(2).map(byte).collect()
}

fn check(name: &str, bytes: &[u8], frozen: &str) {
    let frozen: String = frozen.split_whitespace().collect();
    assert_eq!(
        hex(bytes),
        frozen,
        "{name} changed: stored data would be read differently"
    );
}

/// A command with every precondition and every write.
fn every() -> Command {
    Command {
        id: command_id(9),
        preconditions: vec![
            Precondition::RowIs(key::object(object(1)), command_id(1)),
            Precondition::Absent(child(2, 1)),
            Precondition::ContainerGen(object(2), 3),
            Precondition::ContainerScan(object(2), 4),
            Precondition::AuthGen(object(5), 6),
            Precondition::NotExpired(key::object(object(1))),
            Precondition::CounterAtLeast(key::object(object(1)), Slot::Second, 7),
        ],
        writes: vec![
            Write::Put(Put {
                key: key::version(object(1), 8),
                kind: 4,
                expires_at: 0x0102_0304_0506_0708,
                counters: Counters::Keep,
                key_term: 0x0a0b_0c0d,
                container: object(1),
                body: Bytes::from_static(b"ciphertext"),
            }),
            put_with(child(2, 2), 0, Counters::Set([10, 11])),
            Write::Delete(key::dedup([3; 16])),
            Write::DeleteContainer(object(4)),
            Write::ForgetContainer(object(5)),
            Write::CounterAdd {
                key: key::auth_generation(object(6)),
                slot: Slot::First,
                delta: -2,
                floor: 1,
            },
        ],
        commitment: [0x5a; 32],
    }
}

#[test]
fn command_v1() {
    let mut w = Writer::default();
    every().encode(&mut w);
    let bytes: Bytes = w.finish().into();
    check("a command", &bytes, include_str!("frozen/command_v1.hex"));
    let mut r = Reader::new(bytes);
    assert_eq!(Command::decode(&mut r), Ok(every()));
    assert_eq!(r.left(), 0);
}

#[test]
fn entry_v1() {
    let bytes = entry(1_000, vec![every(), command(2, vec![], vec![])]);
    check("an entry", &bytes, include_str!("frozen/entry_v1.hex"));
    let decoded = Entry::decode(&bytes).expect("decodes");
    assert_eq!(decoded.commands.len(), 2);
    assert_eq!(decoded.encode(), bytes);
}

#[test]
fn rows_of_both_versions() {
    let row = Row {
        kind: 3,
        flags: 0,
        rev: Rev { index: 0x11, k: 0x22 },
        writer: command_id(0x33),
        created: 0x44,
        expires_at: 0x55,
        counters: [0x66, 0x77],
        key_term: 0x88,
        container: object(0x99),
        body: Bytes::from_static(b"ciphertext"),
    };
    let bytes = row.encode();
    check("a row", &bytes, include_str!("frozen/row_v2.hex"));
    assert_eq!(Row::decode(&bytes), Ok(row.clone()));
    assert_eq!(Row::decode(&unhex(include_str!("frozen/row_v1.hex"))), Ok(row.clone()));

    let free = Row {
        container: ObjectId::from_bytes([0; 16]),
        ..row
    };
    let bytes = free.encode();
    check("a row of no container", &bytes, include_str!("frozen/row_v2_free.hex"));
    assert_eq!(Row::decode(&bytes), Ok(free));
    // What is absent is not written as zeros.
    let mut owned = bytes.to_vec();
    owned[3] = 1;
    owned.splice(20..20, [0; 16]);
    assert!(Row::decode(&owned.into()).is_err());
}

#[test]
fn container_v1() {
    let state = ContainerState {
        generation: 1,
        scan: 2,
        children: 3,
        revoked: true,
    };
    let bytes = state.encode();
    check("a container", &bytes, include_str!("frozen/container_v1.hex"));
    assert_eq!(ContainerState::decode(&bytes), Ok(state));
}

#[test]
fn keys_v1() {
    let id = object(7);
    let keys = [
        key::machine(),
        key::seal_config(),
        key::keyring(),
        key::node_ids(),
        key::genesis(),
        key::auth_generation(id),
        key::directory(id, [8; 16]),
        key::object(id),
        key::version(id, 9),
        key::container(id),
        key::dedup([8; 16]),
        key::work(id),
        key::expiry(10, &key::object(id)),
    ];
    let all: Vec<String> = keys.iter().map(|key| hex(key)).collect();
    let frozen: Vec<&str> = include_str!("frozen/keys_v1.hex").split_whitespace().collect();
    assert_eq!(all, frozen, "a key changed: stored rows would not be found");
    let seal = hex(&key::key_seal([9; 16]));
    assert_eq!(seal, format!("02{}08{}", "00".repeat(15), "09".repeat(16)));
    assert!(key::is_writable(&key::key_seal([9; 16])) && key::key_seal([9; 16]).starts_with(&key::key_seals_prefix()));
}

/// A log in which every precondition and write takes effect and is refused at least once, with the outcome of each command.
#[test]
fn log_v3() {
    let mut store = Store::default();
    let object_row = key::object(object(1));
    let add = |delta, floor| Write::CounterAdd {
        key: object_row.clone(),
        slot: Slot::First,
        delta,
        floor,
    };
    let first = entry(
        1_000,
        vec![
            command(
                1,
                vec![Precondition::Absent(object_row.clone())],
                vec![
                    put_with(object_row.clone(), 2_000, Counters::Set([5, 0])),
                    put(child(2, 1)),
                    put(child(2, 2)),
                    put(key::auth_generation(object(5))),
                ],
            ),
            command(2, vec![Precondition::Absent(object_row.clone())], vec![]),
            command(
                3,
                vec![
                    Precondition::RowIs(object_row.clone(), command_id(1)),
                    Precondition::NotExpired(object_row.clone()),
                    Precondition::CounterAtLeast(object_row.clone(), Slot::First, 5),
                ],
                vec![add(-3, 2)],
            ),
            command(4, vec![], vec![add(-1, 2)]),
            command(
                5,
                vec![Precondition::CounterAtLeast(object_row.clone(), Slot::First, 3)],
                vec![],
            ),
        ],
    );
    let second = entry(
        2_000,
        vec![
            command(6, vec![Precondition::NotExpired(object_row.clone())], vec![]),
            command(
                7,
                vec![
                    Precondition::ContainerGen(object(2), 0),
                    Precondition::ContainerScan(object(2), 2),
                    Precondition::AuthGen(object(5), 0),
                ],
                vec![Write::DeleteContainer(object(2)), Write::Delete(child(2, 1))],
            ),
            command(8, vec![Precondition::ContainerGen(object(2), 0)], vec![]),
            command(9, vec![], vec![put(child(2, 3))]),
            command(10, vec![], vec![Write::ForgetContainer(object(2))]),
            command(
                11,
                vec![],
                vec![Write::Delete(child(2, 2)), Write::ForgetContainer(object(2))],
            ),
            command(12, vec![], vec![add(1, 0), add(1, 0)]),
            command(13, vec![], vec![put_with(object_row.clone(), 3_000, Counters::Keep)]),
        ],
    );
    // Log time never runs backwards: the object lives on from entry 2, not from this one.
    let third = entry(500, vec![command(14, vec![], vec![put(key::version(object(1), 1))])]);
    let garbage = Bytes::from_static(b"garbage");
    let payloads = [
        Payload::Blank,
        Payload::Membership(b"members"),
        Payload::Command(&first),
        Payload::Command(&second),
        Payload::Command(&garbage),
        Payload::Command(&third),
    ];
    store.apply(&payloads).expect("this build wrote it");

    use Outcome::{Clear, Conflict, Exhausted, Expired, Ok, Rejected};
    let outcomes: Vec<Vec<Outcome>> = store.results.iter().map(|r| r.outcomes.clone()).collect();
    assert_eq!(
        outcomes,
        [
            vec![Clear],
            vec![Clear],
            vec![Ok, Conflict, Ok, Exhausted, Exhausted],
            vec![Expired, Ok, Conflict, Conflict, Conflict, Ok, Rejected, Ok],
            vec![Rejected],
            vec![Ok],
        ]
    );
    let machine = store.machine();
    assert_eq!(machine.log_time(), 2_000);
    let state = [&machine.digest()[..], &machine.audit_root()[..]].concat();
    check("digest and audit root", &state, include_str!("frozen/log_v3.hex"));
    let rows: Vec<u8> = store
        .rows()
        .into_iter()
        .filter(|(row, _)| *row != key::machine())
        .flat_map(|(row, value)| [row, value].concat())
        .collect();
    check("the rows", &rows, include_str!("frozen/log_rows_v2.hex"));
}
