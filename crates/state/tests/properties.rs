//! What holds for every log, on random ones. A failure prints the seed; `PROPTEST_CASES=10000 cargo test` looks further.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aumbry_crypto::lthash::LtHash;
use aumbry_state::{
    Command, ContainerState, Counters, Entry, Machine, MemoryView, Outcome, Overlay, Payload, Precondition, Row, Slot,
    View, Write, key,
};
use bytes::Bytes;
use common::{Store, child, command, command_id, entry, object, put_with};
use proptest::collection::vec;
use proptest::prelude::*;

/// A few rows of each table, so that commands meet.
fn a_key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => (0u8..3, 0u8..3).prop_map(|(c, n)| child(c, n)),
        3 => (0u8..3).prop_map(|n| key::object(object(n))),
        1 => (0u8..2, 0u64..2).prop_map(|(n, version)| key::version(object(n), version)),
        1 => (0u8..2).prop_map(|n| key::auth_generation(object(n))),
        1 => (0u8..2).prop_map(|n| key::work(object(n))),
        1 => (0u8..2).prop_map(|n| key::dedup([n; 16])),
    ]
}

fn a_slot() -> impl Strategy<Value = Slot> {
    prop_oneof![Just(Slot::First), Just(Slot::Second)]
}

fn a_precondition() -> impl Strategy<Value = Precondition> {
    prop_oneof![
        (a_key(), 0u64..30).prop_map(|(row, n)| Precondition::RowIs(row, command_id(n))),
        a_key().prop_map(Precondition::Absent),
        (0u8..3, 0u64..3).prop_map(|(c, n)| Precondition::ContainerGen(object(c), n)),
        (0u8..3, 0u64..6).prop_map(|(c, n)| Precondition::ContainerScan(object(c), n)),
        (0u8..2, 0u64..3).prop_map(|(c, n)| Precondition::AuthGen(object(c), n)),
        a_key().prop_map(Precondition::NotExpired),
        (a_key(), a_slot(), 0u64..4).prop_map(|(row, slot, n)| Precondition::CounterAtLeast(row, slot, n)),
    ]
}

fn a_write() -> impl Strategy<Value = Write> {
    let counters = prop_oneof![
        Just(Counters::Keep),
        (0u64..4, 0u64..4).prop_map(|(a, b)| Counters::Set([a, b])),
    ];
    let expiry = prop_oneof![2 => Just(0), 1 => Just(90u64), 1 => Just(110), 1 => Just(u64::MAX)];
    prop_oneof![
        6 => (a_key(), expiry, counters).prop_map(|(row, at, c)| put_with(row, at, c)),
        3 => a_key().prop_map(Write::Delete),
        1 => (0u8..3).prop_map(|c| Write::DeleteContainer(object(c))),
        2 => (0u8..3).prop_map(|c| Write::ForgetContainer(object(c))),
        2 => (a_key(), a_slot(), -3i64..4, 0u64..3)
            .prop_map(|(key, slot, delta, floor)| Write::CounterAdd { key, slot, delta, floor }),
    ]
}

fn commands(max: usize) -> impl Strategy<Value = Vec<Command>> {
    let parts = (vec(a_precondition(), 0..2), vec(a_write(), 0..6));
    vec(parts, 1..max).prop_map(|all| {
        let numbered = (0u64..).zip(all);
        numbered
            .map(|(n, (preconditions, writes))| command(n, preconditions, writes))
            .collect()
    })
}

/// One position of a log: `None` is an entry of consensus itself.
fn log() -> impl Strategy<Value = Vec<Option<Bytes>>> {
    let cut = (80u64..120, 1usize..5, any::<bool>(), any::<bool>());
    (commands(30), vec(cut, 30)).prop_map(|(commands, cuts)| {
        let mut left = commands.as_slice();
        let mut log = Vec::new();
        for (log_time, take, blank, garbage) in cuts {
            if blank {
                log.push(None);
            }
            if garbage {
                log.push(Some(Bytes::from_static(b"garbage")));
            }
            let (now, later) = left.split_at(take.min(left.len()));
            left = later;
            if !now.is_empty() {
                log.push(Some(entry(log_time, now.to_vec())));
            }
        }
        log
    })
}

fn payloads(log: &[Option<Bytes>]) -> Vec<Payload<'_>> {
    log.iter()
        .map(|entry| entry.as_ref().map_or(Payload::Blank, Payload::Command))
        .collect()
}

/// Cuts a list into pieces of these sizes, over and over.
fn pieces<'a, T>(mut all: &'a [T], sizes: &[usize]) -> Vec<&'a [T]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if all.is_empty() {
            return pieces;
        }
        let (piece, rest) = all.split_at((*size).clamp(1, all.len()));
        pieces.push(piece);
        all = rest;
    }
    pieces
}

/// The rows without what says where in the log they were written, and without the machine's own.
fn without_positions(store: &Store) -> BTreeMap<Bytes, Bytes> {
    let mut rows = store.rows();
    rows.remove(&key::machine());
    for (row_key, value) in &mut rows {
        if key::is_writable(row_key) {
            let mut row = Row::decode(value).expect("apply wrote it");
            row.rev = Default::default();
            *value = row.encode();
        }
    }
    rows
}

fn outcomes(store: &Store) -> Vec<Outcome> {
    store
        .results
        .iter()
        .flat_map(|result| result.outcomes.clone())
        .collect()
}

fn invariant_digest_is_that_of_all_rows(store: &Store) {
    let mut digest = LtHash::default();
    for (row_key, row) in store.rows() {
        if key::is_digested(&row_key) {
            digest.add(&row_key, &row);
        }
    }
    assert_eq!(digest.digest(), store.machine().digest());
}

fn invariant_expiry_index_is_that_of_all_rows(store: &Store) {
    let mut expect = BTreeSet::new();
    for (row_key, row) in store.rows() {
        if key::is_writable(&row_key) {
            let row = Row::decode(&row).expect("apply wrote it");
            if row.expires_at != 0 {
                expect.insert(key::expiry(row.expires_at, &row_key));
            }
        }
    }
    let index = store.view.scan(&key::expiry_prefix(), None, usize::MAX);
    let found: BTreeSet<Bytes> = index.into_iter().map(|(row_key, _)| row_key).collect();
    assert_eq!(found, expect);
}

fn invariant_containers_count_their_children(store: &Store) {
    let mut expect: BTreeMap<_, u64> = BTreeMap::new();
    for row_key in store.rows().keys() {
        if let Some(id) = key::parse_directory(row_key) {
            *expect.entry(id).or_default() += 1;
        }
    }
    for (row_key, row) in store.rows() {
        if let Some(id) = key::parse_container(&row_key) {
            let state = ContainerState::decode(&row).expect("apply wrote it");
            assert_eq!(state.children, expect.remove(&id).unwrap_or(0));
        }
    }
    assert!(expect.is_empty(), "children without a container");
}

proptest! {
    #[test]
    fn the_cut_into_entries_and_calls_does_not_matter(
        commands in commands(40),
        entries in vec(1usize..6, 1..8),
        calls in vec(1usize..4, 1..8),
    ) {
        let mut whole = Store::default();
        whole.commit(100, commands.clone());
        let mut cut = Store::default();
        let log: Vec<Bytes> =
            pieces(&commands, &entries).into_iter().map(|piece| entry(100, piece.to_vec())).collect();
        let log: Vec<Payload<'_>> = log.iter().map(Payload::Command).collect();
        for call in pieces(&log, &calls) {
            cut.apply(call).expect("this build wrote it");
        }
        prop_assert_eq!(outcomes(&whole), outcomes(&cut));
        prop_assert_eq!(without_positions(&whole), without_positions(&cut));
        prop_assert_eq!(whole.machine().audit_size(), cut.machine().audit_size());
    }

    #[test]
    fn the_cut_into_calls_leaves_every_bit_as_it_is(log in log(), calls in vec(1usize..6, 1..8)) {
        let log = payloads(&log);
        let mut whole = Store::default();
        whole.apply(&log).expect("this build wrote it");
        let mut cut = Store::default();
        for call in pieces(&log, &calls) {
            cut.apply(call).expect("this build wrote it");
        }
        prop_assert_eq!(whole.rows(), cut.rows());
        prop_assert_eq!(&whole.results, &cut.results);
        prop_assert_eq!(&whole.bodies, &cut.bodies);
        prop_assert_eq!(whole.machine().digest(), cut.machine().digest());
        prop_assert_eq!(whole.machine().audit_root(), cut.machine().audit_root());
    }

    #[test]
    fn what_apply_keeps_follows_from_the_rows(log in log()) {
        let mut store = Store::default();
        for payload in payloads(&log) {
            store.apply(&[payload]).expect("this build wrote it");
            invariant_digest_is_that_of_all_rows(&store);
            invariant_expiry_index_is_that_of_all_rows(&store);
            invariant_containers_count_their_children(&store);
        }
    }

    /// A command that was refused leaves no trace but its leaf.
    #[test]
    fn a_command_takes_effect_whole_or_not_at_all(commands in commands(30)) {
        let mut store = Store::default();
        for command in commands {
            let before = store.machine();
            let outcome = store.commit(100, vec![command])[0];
            let after = store.machine();
            prop_assert_eq!(after.audit_size(), before.audit_size() + 1);
            if outcome != Outcome::Ok {
                prop_assert_eq!(after.digest(), before.digest());
            }
        }
    }

    /// Abuse cases: 79.
    #[test]
    fn no_bytes_make_apply_panic(bytes in vec(any::<u8>(), 0..300)) {
        let mut store = Store::default();
        let bytes = Bytes::from(bytes);
        store.apply(&[Payload::Command(&bytes)]).expect("has no magic and checksum");
        prop_assert_eq!(outcomes(&store), vec![Outcome::Rejected]);
    }

    /// Damage behind a good checksum reaches the decoder of every field.
    #[test]
    fn no_damaged_entry_makes_apply_panic(
        commands in commands(6),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = entry(100, commands).to_vec();
        let end = bytes.len() - 4;
        for (at, byte) in damage {
            bytes[at.index(end)] = byte;
        }
        let checksum = crc32c::crc32c(&bytes[..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&checksum);
        let bytes = Bytes::from(bytes);
        let mut store = Store::default();
        if store.apply(&[Payload::Command(&bytes)]).is_ok() {
            let commands = Entry::decode(&bytes).map_or(1, |entry| entry.commands.len());
            prop_assert_eq!(outcomes(&store).len(), commands);
            invariant_digest_is_that_of_all_rows(&store);
        }
    }

    #[test]
    fn an_overlay_reads_as_the_changed_rows_would(
        base in vec((vec(0u8..3, 0..4), any::<u8>()), 0..20),
        changes in vec((vec(0u8..3, 0..4), any::<Option<u8>>()), 0..20),
        settled in 0u64..20,
        scans in vec((vec(0u8..3, 0..3), proptest::option::of(vec(0u8..3, 0..4)), 0usize..9), 1..20),
    ) {
        let row = |byte: u8| Bytes::from(vec![byte]);
        let view = MemoryView::default();
        view.write(base.iter().map(|(row_key, byte)| (row_key.clone().into(), Some(row(*byte)))));
        let mut model = view.rows();
        let view: Arc<dyn View> = Arc::new(view);
        let mut overlay = Overlay::new(view);
        let mut last: BTreeMap<Bytes, (u64, Option<Bytes>)> = BTreeMap::new();
        for (tag, (row_key, change)) in (1u64..).zip(changes) {
            overlay.set_tag(tag);
            overlay.set(row_key.clone().into(), change.map(row));
            last.insert(row_key.into(), (tag, change.map(row)));
        }
        overlay.settle(settled);
        for (row_key, (tag, change)) in last {
            prop_assert_eq!(overlay.is_changed(&row_key), tag > settled);
            if tag > settled {
                match change {
                    Some(change) => model.insert(row_key, change),
                    None => model.remove(&row_key),
                };
            }
        }
        for (prefix, after, limit) in scans {
            let expect: Vec<(Bytes, Bytes)> = model
                .iter()
                .filter(|(row_key, _)| row_key.starts_with(&prefix))
                .filter(|(row_key, _)| after.as_ref().is_none_or(|after| row_key[..] > after[..]))
                .take(limit)
                .map(|(row_key, value)| (row_key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(overlay.scan(&prefix, after.as_deref(), limit), expect);
            prop_assert_eq!(overlay.get(&prefix), model.get(&prefix[..]).cloned());
        }
    }
}

/// The leader's own machine never has to be loaded again: what it holds is what it stored.
#[test]
fn a_machine_goes_on_as_a_loaded_one_does() {
    let mut store = Store::default();
    let mut live = Machine::load(&store.view).expect("is empty");
    for n in 0..20u8 {
        let bytes = entry(
            100,
            vec![command(
                u64::from(n),
                vec![],
                vec![put_with(child(1, n), 0, Counters::Keep)],
            )],
        );
        let input = aumbry_state::Input {
            log_id: common::log_id(u64::from(n) + 1),
            payload: Payload::Command(&bytes),
        };
        live.apply(&store.view, &[input]).expect("this build wrote it");
        store.apply(&[Payload::Command(&bytes)]).expect("this build wrote it");
        assert_eq!(live.digest(), store.machine().digest());
        assert_eq!(live.audit_root(), store.machine().audit_root());
    }
}
