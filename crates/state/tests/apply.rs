//! The rules of apply, one by one.

mod common;

use aumbry_state::{
    APPLY_VERSION, ContainerState, Counters, EntryError, Outcome, Payload, Precondition, Row, Slot, View as _, Write,
    key,
};
use bytes::Bytes;
use common::{Store, child, command, command_id, entry, object, put, put_with};

fn container(store: &Store, c: u8) -> Option<ContainerState> {
    let row = store.view.get(&key::container(object(c)))?;
    Some(ContainerState::decode(&row).expect("apply wrote it"))
}

/// The entry with these bytes at `at`, and a checksum that fits.
fn altered(entry: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut altered = entry.to_vec();
    altered[at..at + bytes.len()].copy_from_slice(bytes);
    let end = altered.len() - 4;
    let checksum = crc32c::crc32c(&altered[..end]).to_be_bytes();
    altered[end..].copy_from_slice(&checksum);
    altered.into()
}

/// Abuse cases: 78, 79.
#[test]
fn an_entry_of_a_newer_version_stops_the_node_and_garbage_does_not() {
    const CODEC: usize = 4;
    const MIN_READER: usize = 7;
    let good = entry(100, vec![command(1, vec![], vec![put(child(1, 1))])]);
    let newer = APPLY_VERSION + 1;
    let newer_bytes = newer.to_be_bytes();
    let stops = |bytes: Bytes| {
        let mut store = Store::default();
        let error = store.apply(&[Payload::Command(&bytes)]).expect_err("is newer");
        assert_eq!((error.index.0, error.source), (1, EntryError::Newer(newer)));
    };
    stops(altered(&good, MIN_READER, &newer_bytes));
    stops(altered(&altered(&good, CODEC, &[2]), MIN_READER, &newer_bytes));

    let rejects = |bytes: Bytes| {
        let mut store = Store::default();
        assert_eq!(store.apply(&[Payload::Command(&bytes)]), Ok(()));
        assert_eq!(store.results[0].outcomes, [Outcome::Rejected]);
        assert_eq!(store.machine().audit_size(), 1, "the refusal is on record");
    };
    rejects(altered(&good, CODEC, &[2]));
    rejects(altered(&good, 0, b"X"));
    rejects(good.slice(..good.len() - 1));
    let mut bad_checksum = altered(&good, MIN_READER, &newer_bytes).to_vec();
    if let Some(last) = bad_checksum.last_mut() {
        *last ^= 1;
    }
    rejects(bad_checksum.into());
}

#[test]
fn no_command_writes_rows_that_apply_keeps_for_itself_or_does_not_know() {
    let keys: [&[u8]; 14] = [
        &[],
        &key::machine(),
        &key::container(object(1)),
        &key::expiry(5, &key::object(object(1))),
        &key::directory_prefix(object(1)),
        &[key::RESERVED],
        &[0xff; 17],
        &[1],
        &[1, 5],
        &[1, 6],
        &[1, 0xff],
        &[2; 34],
        &[3; 18],
        &[4; 24],
    ];
    for row_key in keys {
        let row_key = Bytes::copy_from_slice(row_key);
        assert!(!key::is_writable(&row_key));
        let writes = [put(row_key.clone()), Write::Delete(row_key.clone())];
        for write in writes {
            let outcome = Store::default().commit(1, vec![command(1, vec![], vec![write])]);
            assert_eq!(outcome, [Outcome::Rejected], "{row_key:?}");
        }
        let precondition = Precondition::Absent(row_key.clone());
        let outcome = Store::default().commit(1, vec![command(1, vec![precondition], vec![])]);
        assert_eq!(outcome, [Outcome::Rejected], "{row_key:?}");
    }
}

#[test]
fn counters_stop_at_their_floor_and_do_not_change_the_writer() {
    let mut store = Store::default();
    let row = key::object(object(1));
    let add = |delta, floor| {
        let (key, slot) = (row.clone(), Slot::First);
        vec![Write::CounterAdd {
            key,
            slot,
            delta,
            floor,
        }]
    };
    assert_eq!(
        store.commit(1, vec![command(1, vec![], add(1, 0))]),
        [Outcome::Conflict]
    );
    store.commit(
        1,
        vec![command(
            2,
            vec![],
            vec![put_with(row.clone(), 0, Counters::Set([3, 9]))],
        )],
    );
    let mut check = |delta, floor, expect| {
        let fence = vec![Precondition::RowIs(row.clone(), command_id(2))];
        assert_eq!(store.commit(1, vec![command(3, fence, add(delta, floor))]), [expect]);
        let stored = store.view.get(&row).expect("is there");
        Row::decode(&stored).expect("apply wrote it").counters
    };
    assert_eq!(check(-2, 1, Outcome::Ok), [1, 9]);
    assert_eq!(check(-1, 1, Outcome::Exhausted), [1, 9]);
    assert_eq!(check(-1, 0, Outcome::Ok), [0, 9]);
    assert_eq!(check(-1, 0, Outcome::Exhausted), [0, 9]);
    assert_eq!(check(i64::MIN, 0, Outcome::Exhausted), [0, 9]);
    assert_eq!(check(i64::MAX, u64::MAX, Outcome::Exhausted), [0, 9]);
    assert_eq!(check(i64::MAX, 0, Outcome::Ok), [i64::MAX as u64, 9]);
    assert_eq!(check(i64::MAX, 0, Outcome::Ok), [u64::MAX - 1, 9]);
    assert_eq!(check(2, 0, Outcome::Exhausted), [u64::MAX - 1, 9]);
}

#[test]
fn a_container_counts_is_revoked_and_is_forgotten_only_when_empty() {
    let mut store = Store::default();
    let mut run = |writes: Vec<Write>| {
        let outcome = store.commit(1, vec![command(1, vec![], writes)])[0];
        (
            outcome,
            container(&store, 1).map(|c| (c.generation, c.scan, c.children, c.revoked)),
        )
    };
    use Outcome::{Conflict, Ok};
    let forget = || Write::ForgetContainer(object(1));
    assert_eq!(
        run(vec![put(child(1, 1)), put(child(1, 2))]),
        (Ok, Some((0, 2, 2, false)))
    );
    assert_eq!(
        run(vec![put(child(1, 1))]),
        (Ok, Some((0, 2, 2, false))),
        "a change is no insertion"
    );
    assert_eq!(run(vec![forget()]), (Conflict, Some((0, 2, 2, false))));
    let twice = vec![Write::Delete(child(1, 1)), Write::Delete(child(1, 1)), forget()];
    assert_eq!(
        run(twice),
        (Conflict, Some((0, 2, 2, false))),
        "a child named twice goes once"
    );
    let late = vec![forget(), Write::Delete(child(1, 1)), Write::Delete(child(1, 2))];
    assert_eq!(run(late), (Conflict, Some((0, 2, 2, false))));
    assert_eq!(
        run(vec![Write::DeleteContainer(object(1))]),
        (Ok, Some((1, 2, 2, true)))
    );
    assert_eq!(
        run(vec![put(child(1, 3))]),
        (Conflict, Some((1, 2, 2, true))),
        "nothing enters a revoked container"
    );
    assert_eq!(run(vec![Write::Delete(child(1, 1))]), (Ok, Some((1, 3, 1, true))));
    assert_eq!(run(vec![Write::Delete(child(1, 1))]), (Ok, Some((1, 3, 1, true))));
    assert_eq!(run(vec![Write::Delete(child(1, 2)), forget()]), (Ok, None));
    let entered = vec![put(child(1, 4)), forget()];
    assert_eq!(
        run(entered),
        (Conflict, None),
        "a child would be left without a container"
    );
    // A first entry that is repeated clears and fills the well-known containers in one command.
    assert_eq!(run(vec![put(child(1, 5))]), (Ok, Some((0, 1, 1, false))));
    let again = vec![Write::Delete(child(1, 5)), forget(), put(child(1, 6))];
    assert_eq!(run(again), (Ok, Some((0, 1, 1, false))));
}

#[test]
fn what_was_created_keeps_its_time_and_log_time_never_runs_back() {
    let mut store = Store::default();
    let row = key::object(object(1));
    let read = |store: &Store| Row::decode(&store.view.get(&row).expect("is there")).expect("apply wrote it");
    store.commit(1_000, vec![command(1, vec![], vec![put(row.clone())])]);
    store.commit(
        400,
        vec![command(2, vec![], vec![put_with(row.clone(), 1_000, Counters::Keep)])],
    );
    let stored = read(&store);
    assert_eq!(
        (stored.created, stored.writer, stored.rev.index),
        (1_000, command_id(2), 2)
    );
    let alive = || vec![Precondition::NotExpired(row.clone())];
    assert_eq!(store.commit(400, vec![command(3, alive(), vec![])]), [Outcome::Expired]);
    store.commit(
        400,
        vec![command(4, vec![], vec![put_with(row.clone(), 1_001, Counters::Keep)])],
    );
    assert_eq!(store.commit(1_000, vec![command(5, alive(), vec![])]), [Outcome::Ok]);
    assert_eq!(
        store.commit(1_001, vec![command(6, alive(), vec![])]),
        [Outcome::Expired]
    );
}
