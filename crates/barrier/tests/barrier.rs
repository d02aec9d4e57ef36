//! What the barrier promises: nothing in clear, nothing moved, nothing planned on what has changed.

mod common;

use std::sync::Arc;

use aumbry_barrier::{CHILDREN_MAX, Child, DamagedRow, InsertError, Kind, Limits, ObjectOptions, Txn};
use aumbry_state::{Command, ContainerState, Counters, Outcome, Precondition, Row, View as _, Write, key};
use aumbry_types::{Entropy as _, ObjectId};
use base64::Engine as _;
use bytes::Bytes;
use common::Bed;

const CONTAINER: ObjectId = ObjectId::well_known(40);

fn object(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 16])
}

fn put(txn: &mut Txn<'_>, n: u8, plain: &[u8]) {
    txn.put_object(object(n), Kind::Secret, plain, ObjectOptions::default());
}

fn names(list: &[Child]) -> Vec<&str> {
    list.iter().map(|child| child.name.as_str()).collect()
}

/// The forms in which a text could be found by somebody who looks for it.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    let mut forms = vec![
        text.as_bytes().to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
    ];
    // The middle of the encodings at each of the three places where the text can begin.
    for shift in 0..3 {
        let padded = [&vec![0; shift][..], text.as_bytes()].concat();
        let encoded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        forms.push(encoded.as_bytes()[4..encoded.len() - 3].to_vec());
    }
    forms
}

#[test]
fn no_name_and_no_plaintext_stands_in_any_row() {
    let mut bed = Bed::new(1);
    let canaries = [
        "canary-of-a-name",
        "canary-of-a-value",
        "canary-of-an-object",
        "canary-of-a-key",
    ];
    bed.run(|txn| {
        txn.insert(CONTAINER, canaries[0], Kind::Secret, object(1))
            .expect("is new");
        txn.put_version(object(1), 1, canaries[1].as_bytes());
        put(txn, 1, canaries[2].as_bytes());
        let row = key::dedup(txn.barrier().hash_idempotency_key(b"me", canaries[3]));
        txn.put_row(row, Kind::StoredReply, canaries[1].as_bytes(), ObjectOptions::default());
    });
    let rows = bed.view.rows();
    assert!(rows.len() >= 5);
    for canary in canaries {
        for form in forms(canary) {
            for (row_key, row) in &rows {
                let found = |bytes: &[u8]| bytes.windows(form.len()).any(|window| window == form);
                assert!(!found(row_key) && !found(row), "{canary} stands in a row");
            }
        }
    }
    bed.run(|txn| {
        let child = txn.lookup(CONTAINER, canaries[0]).expect("opens").expect("is there");
        assert_eq!(child.id, object(1));
        let value = txn.read_version(object(1), 1).expect("opens").expect("is there");
        assert_eq!(value.expose(), canaries[1].as_bytes());
    });
}

/// Abuse cases: 110.
#[test]
fn ciphertext_opens_only_where_it_was_written() {
    let mut bed = Bed::new(2);
    bed.run(|txn| {
        put(txn, 1, b"one");
        put(txn, 2, b"two");
        txn.put_object(object(3), Kind::Policy, b"three", ObjectOptions::default());
        for version in [1, 2] {
            txn.put_version(object(1), version, b"value");
        }
        txn.put_version(object(2), 1, b"value");
        txn.insert(CONTAINER, "a", Kind::Secret, object(1)).expect("is new");
        txn.insert(object(9), "a", Kind::Secret, object(1)).expect("is new");
    });
    let name = |bed: &Bed, container| key::directory(container, bed.barrier.hash_name(container, "a"));
    let row = |bed: &Bed, row_key: &Bytes| Row::decode(&bed.view.get(row_key).expect("is there")).expect("is a row");
    let swap = |bed: &Bed, from: &Bytes, to: &Bytes| {
        let moved = Row {
            body: row(bed, from).body,
            ..row(bed, to)
        };
        bed.view.write([(to.clone(), Some(moved.encode()))]);
    };
    let damaged = |read: Result<bool, DamagedRow>| assert_eq!(read, Err(DamagedRow));
    let object_of = |bed: &Bed, n, kind| bed.plan(|txn| txn.read_object(object(n), kind).map(|o| o.is_some())).0;
    let version_of = |bed: &Bed, n, v| bed.plan(|txn| txn.read_version(object(n), v).map(|o| o.is_some())).0;

    assert_eq!(object_of(&bed, 2, Kind::Secret), Ok(true));
    swap(&bed, &key::object(object(1)), &key::object(object(2)));
    damaged(object_of(&bed, 2, Kind::Secret));

    damaged(object_of(&bed, 3, Kind::Secret));
    let other_kind = Row {
        kind: Kind::Secret as u8,
        ..row(&bed, &key::object(object(3)))
    };
    bed.view.write([(key::object(object(3)), Some(other_kind.encode()))]);
    damaged(object_of(&bed, 3, Kind::Secret));

    swap(&bed, &key::version(object(1), 1), &key::version(object(1), 2));
    damaged(version_of(&bed, 1, 2));
    swap(&bed, &key::version(object(1), 1), &key::version(object(2), 1));
    damaged(version_of(&bed, 2, 1));
    assert_eq!(version_of(&bed, 1, 1), Ok(true));

    let (from, to) = (name(&bed, CONTAINER), name(&bed, object(9)));
    swap(&bed, &from, &to);
    damaged(
        bed.plan(|txn| txn.lookup(object(9), "a").map(|child| child.is_some()))
            .0,
    );
    damaged(bed.plan(|txn| txn.list(object(9)).map(|list| list.is_empty())).0);

    // The same keys in a store of another identity.
    let keyring = aumbry_crypto::keyring::Keyring::decode(bed.barrier.keyring().encode().expose());
    let mut other = [0; 16];
    bed.entropy.fill(&mut other);
    let other = aumbry_types::StorageId::from_bytes(other);
    bed.barrier = aumbry_barrier::Barrier::new(other, keyring.expect("is a keyring"));
    damaged(object_of(&bed, 1, Kind::Secret));
    damaged(version_of(&bed, 1, 1));
}

/// What becomes of the second plan, and the two plans.
type Race<'a> = (Outcome, &'a dyn Fn(&mut Txn<'_>), &'a dyn Fn(&mut Txn<'_>));

/// Plans `late`, lets `early` be applied first, and gives what becomes of `late`.
fn race(early: impl FnOnce(&mut Txn<'_>), late: impl FnOnce(&mut Txn<'_>)) -> Outcome {
    let mut bed = Bed::new(3);
    bed.run(|txn| {
        put(txn, 1, b"one");
        put(txn, 2, b"two");
        txn.insert(CONTAINER, "there", Kind::Secret, object(1)).expect("is new");
    });
    let ((), early) = bed.plan(early);
    let ((), late) = bed.plan(late);
    assert_eq!(bed.apply(&early), Outcome::Ok);
    bed.apply(&late)
}

#[test]
fn a_plan_that_writes_is_refused_if_anything_it_saw_has_changed() {
    let read = |txn: &mut Txn<'_>, n| drop(txn.read_object(object(n), Kind::Secret));
    let insert = |txn: &mut Txn<'_>, name: &str| txn.insert(CONTAINER, name, Kind::Secret, object(7)).expect("reads");
    let write = |txn: &mut Txn<'_>| put(txn, 8, b"eight");

    use Outcome::{Conflict, Ok};
    let cases: [Race<'_>; 14] = [
        // A hit that was changed, or removed; another row.
        (Conflict, &|txn| put(txn, 1, b"new"), &|txn| {
            read(txn, 1);
            write(txn)
        }),
        (Conflict, &|txn| txn.delete_object(object(1)), &|txn| {
            read(txn, 1);
            write(txn)
        }),
        (Ok, &|txn| put(txn, 2, b"new"), &|txn| {
            read(txn, 1);
            write(txn)
        }),
        // A miss that appeared.
        (Conflict, &|txn| put(txn, 5, b"new"), &|txn| {
            read(txn, 5);
            write(txn)
        }),
        (Conflict, &|txn| insert(txn, "x"), &|txn| {
            txn.lookup(CONTAINER, "x").expect("reads");
            write(txn)
        }),
        (Ok, &|txn| insert(txn, "x"), &|txn| {
            txn.lookup(CONTAINER, "y").expect("reads");
            write(txn)
        }),
        // A listing in which a child came or went; a change of a child is none.
        (Conflict, &|txn| insert(txn, "x"), &|txn| {
            txn.list(CONTAINER).expect("reads");
            write(txn)
        }),
        (
            Conflict,
            &|txn| txn.remove(CONTAINER, "there").expect("reads"),
            &|txn| {
                txn.list(CONTAINER).expect("reads");
                write(txn)
            },
        ),
        (Ok, &|txn| insert(txn, "there"), &|txn| {
            txn.list(CONTAINER).expect("reads");
            write(txn)
        }),
        // Two that enter one name, or two names.
        (Conflict, &|txn| insert(txn, "x"), &|txn| insert(txn, "x")),
        (Ok, &|txn| insert(txn, "x"), &|txn| insert(txn, "y")),
        // A container that was revoked.
        (Conflict, &|txn| txn.write(Write::DeleteContainer(CONTAINER)), &|txn| {
            insert(txn, "x")
        }),
        // Counters are apart from the row's identity.
        (
            Ok,
            &|txn| {
                txn.write(Write::CounterAdd {
                    key: key::object(object(1)),
                    slot: aumbry_state::Slot::First,
                    delta: 1,
                    floor: 0,
                })
            },
            &|txn| {
                read(txn, 1);
                write(txn)
            },
        ),
        // A plan that only reads needs nothing of what is applied already.
        (Ok, &|txn| put(txn, 1, b"new"), &|txn| {
            read(txn, 1);
            read(txn, 5)
        }),
    ];
    for (number, (expect, early, late)) in cases.into_iter().enumerate() {
        assert_eq!(race(early, late), expect, "case {number}");
    }
}

/// Plans on a change in flight, loses it, and gives what becomes of the plan.
fn lost_under(plan: impl FnOnce(&mut Txn<'_>)) -> Outcome {
    let mut bed = Bed::new(4);
    bed.run(|txn| put(txn, 1, b"one"));
    let ((), in_flight) = bed.plan(|txn| {
        put(txn, 1, b"new");
        txn.insert(CONTAINER, "x", Kind::Secret, object(7)).expect("is new");
    });
    assert_eq!(bed.fly(&in_flight), Outcome::Ok);
    let ((), command) = bed.plan(plan);
    bed.lose_flight();
    bed.apply(&command)
}

#[test]
fn nothing_that_rests_on_a_lost_change_is_told() {
    let read = |txn: &mut Txn<'_>, n| drop(txn.read_object(object(n), Kind::Secret));
    assert_eq!(lost_under(|txn| read(txn, 1)), Outcome::Conflict);
    assert_eq!(lost_under(|txn| drop(txn.lookup(CONTAINER, "x"))), Outcome::Conflict);
    assert_eq!(lost_under(|txn| drop(txn.list(CONTAINER))), Outcome::Conflict);
    assert_eq!(lost_under(|txn| read(txn, 2)), Outcome::Ok);
    let refused = |txn: &mut Txn<'_>| {
        read(txn, 1);
        put(txn, 3, b"never");
        txn.abandon();
    };
    assert_eq!(lost_under(refused), Outcome::Conflict, "a refusal is an answer too");
}

#[test]
fn after_a_reset_a_reading_rests_on_all_that_it_saw() {
    let mut bed = Bed::new(8);
    bed.run(|txn| put(txn, 1, b"one"));
    let read_then_change = |bed: &mut Bed| {
        let read = bed.plan(|txn| drop(txn.read_object(object(1), Kind::Secret))).1;
        let change = bed.plan(|txn| put(txn, 1, b"new")).1;
        assert_eq!(bed.apply(&change), Outcome::Ok);
        bed.apply(&read)
    };
    bed.overlay.clear();
    bed.overlay.distrust();
    assert_eq!(
        read_then_change(&mut bed),
        Outcome::Conflict,
        "a change that was forgotten came after all"
    );
    bed.overlay.settle(0);
    assert_eq!(read_then_change(&mut bed), Outcome::Ok);
}

#[test]
fn an_abandoned_plan_keeps_its_fence_and_writes_nothing_else() {
    let bed = Bed::new(5);
    let ((), command): ((), Command) = bed.plan(|txn| {
        let row = key::object(object(1));
        txn.fence(Precondition::NotExpired(row.clone()));
        txn.fence(Precondition::NotExpired(row.clone()));
        txn.fence_write(Write::CounterAdd {
            key: row,
            slot: aumbry_state::Slot::First,
            delta: -1,
            floor: 0,
        });
        put(txn, 2, b"never");
        assert!(!txn.is_read_only());
        txn.abandon();
    });
    assert_eq!(
        command.preconditions,
        [Precondition::NotExpired(key::object(object(1)))]
    );
    assert!(matches!(command.writes[..], [Write::CounterAdd { .. }]));
}

#[test]
fn lists_are_sorted_whatever_is_cached_in_flight_or_lost() {
    let mut bed = Bed::new(6);
    let list = |bed: &Bed| {
        let listed = bed.plan(|txn| txn.list(CONTAINER).expect("opens")).0;
        names(&listed).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ["c", "a", "b/"] {
        bed.run(|txn| txn.insert(CONTAINER, name, Kind::Secret, object(1)).expect("is new"));
    }
    assert_eq!(list(&bed), ["a", "b/", "c"]);
    let ((), entered) = bed.plan(|txn| txn.insert(CONTAINER, "aa", Kind::Secret, object(1)).expect("is new"));
    assert_eq!(bed.fly(&entered), Outcome::Ok);
    assert_eq!(list(&bed), ["a", "aa", "b/", "c"]);
    bed.lose_flight();
    assert_eq!(list(&bed), ["a", "b/", "c"]);
    bed.run(|txn| txn.insert(CONTAINER, "z", Kind::Secret, object(1)).expect("is new"));
    assert_eq!(list(&bed), ["a", "b/", "c", "z"]);
    let some = bed.plan(|txn| txn.some_children(CONTAINER, 3).len()).0;
    assert_eq!(some, 3);
}

#[test]
fn a_full_directory_takes_no_further_name() {
    let mut bed = Bed::new(8);
    let insert = |txn: &mut Txn<'_>, name: &str, kind| txn.insert(CONTAINER, name, kind, object(7));
    let almost = ContainerState {
        children: CHILDREN_MAX - 1,
        ..ContainerState::default()
    };
    bed.view.write([(key::container(CONTAINER), Some(almost.encode()))]);
    let (entered, last) = bed.plan(|txn| insert(txn, "last", Kind::Secret));
    assert_eq!(entered, Ok(()));
    assert_eq!(bed.fly(&last), Outcome::Ok);
    let (refused, refusal) = bed.plan(|txn| insert(txn, "over", Kind::Secret));
    assert_eq!(refused, Err(InsertError::Full));
    assert!(InsertError::Full.to_string().contains("subdirectory"));
    // A directory that is full only by what is lost refuses nobody.
    bed.lose_flight();
    assert_eq!(bed.apply(&refusal), Outcome::Conflict);
    assert_eq!(bed.apply(&last), Outcome::Ok);
    assert_eq!(
        bed.plan(|txn| insert(txn, "over", Kind::Directory)).0,
        Err(InsertError::Full)
    );
    assert_eq!(
        bed.plan(|txn| insert(txn, "last", Kind::Secret)).0,
        Ok(()),
        "is there already"
    );
    assert_eq!(
        bed.plan(|txn| insert(txn, "token", Kind::Token)).0,
        Ok(()),
        "is never listed"
    );
    bed.run(|txn| txn.remove(CONTAINER, "last").expect("opens"));
    bed.run(|txn| insert(txn, "over", Kind::Secret))
        .expect("there is room again");
}

#[test]
fn counters_are_set_or_kept() {
    let mut bed = Bed::new(7);
    let mut check = |counters, expect| {
        let options = ObjectOptions {
            counters,
            ..ObjectOptions::default()
        };
        bed.run(|txn| txn.put_object(object(1), Kind::Token, b"t", options));
        let read = bed.plan(|txn| txn.peek_object(object(1), Kind::Token)).0;
        assert_eq!(read.expect("opens").expect("is there").counters, expect);
    };
    check(Counters::Keep, [0, 0]);
    check(Counters::Set([3, 4]), [3, 4]);
    check(Counters::Keep, [3, 4]);
}

#[test]
fn no_two_plans_take_the_last_place_of_a_limited_container() {
    let mut bed = Bed::new(9);
    let limits = {
        let mut limits = Limits::default();
        limits.limit(CONTAINER, 3);
        limits.limit(CONTAINER, 2);
        Arc::new(limits)
    };
    let insert = |txn: &mut Txn<'_>, name: &str| {
        txn.set_limits(Some(Arc::clone(&limits)));
        txn.insert(CONTAINER, name, Kind::Token, object(7))
    };
    bed.run(|txn| insert(txn, "a")).expect("there is room");
    // Both see the last place.
    let (first, second) = (bed.plan(|txn| insert(txn, "b")), bed.plan(|txn| insert(txn, "c")));
    assert_eq!((first.0, second.0), (Ok(()), Ok(())));
    assert_eq!(bed.apply(&first.1), Outcome::Ok);
    assert_eq!(bed.apply(&second.1), Outcome::Conflict);
    let (refused, refusal) = bed.plan(|txn| insert(txn, "c"));
    assert_eq!(refused, Err(InsertError::limited(Kind::Token)));
    assert_eq!(bed.apply(&refusal), Outcome::Ok);
    // One that leaves in the same plan makes room; two do not find it.
    let rename = |txn: &mut Txn<'_>, names: &[&str]| {
        txn.set_limits(Some(Arc::clone(&limits)));
        txn.remove(CONTAINER, "b").expect("opens");
        names
            .iter()
            .try_for_each(|name| txn.insert(CONTAINER, name, Kind::Token, object(7)))
    };
    assert_eq!(
        bed.plan(|txn| rename(txn, &["c", "d"])).0,
        Err(InsertError::limited(Kind::Token))
    );
    assert_eq!(bed.run(|txn| rename(txn, &["c"])), Ok(()));
    assert_eq!(bed.plan(|txn| insert(txn, "c")).0, Ok(()), "is there already");
    // A place that is free only by what is lost is not taken.
    let leave = bed.plan(|txn| txn.remove(CONTAINER, "c").expect("opens")).1;
    assert_eq!(bed.fly(&leave), Outcome::Ok);
    let (entered, entering) = bed.plan(|txn| insert(txn, "d"));
    assert_eq!(entered, Ok(()));
    bed.lose_flight();
    assert_eq!(bed.apply(&entering), Outcome::Conflict);
    // Others are not limited.
    bed.run(|txn| {
        txn.set_limits(Some(Arc::clone(&limits)));
        for name in ["a", "b", "c"] {
            txn.insert(object(1), name, Kind::Token, object(7)).expect("is new");
        }
    });
}
