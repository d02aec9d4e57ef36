//! What a mount leaves when it goes: nothing, in bounded steps, and damage stops nothing but itself.

#[path = "../../barrier/tests/common/mod.rs"]
mod common;

use aumbry_engines::kv::{Config, Request, disable, plan, sweep};
use aumbry_state::{View as _, key};
use aumbry_types::{ObjectId, SecretBytes, SecretPath};
use common::Bed;

const ROOT: ObjectId = ObjectId::well_known(50);

fn write(bed: &mut Bed, path: &str) {
    let request = Request::Put {
        path: SecretPath::parse(path).expect("is a path"),
        data: SecretBytes::from("{}".to_owned()),
        cas: None,
    };
    bed.run(|txn| plan(txn, ROOT, &Config::default(), &request).map(drop))
        .expect("is written");
}

/// Sweeps until nothing waits; gives the number of steps, and of damaged rows.
fn sweep_all(bed: &mut Bed, limit: usize) -> (usize, usize) {
    let mut damaged = 0;
    for step in 0..1_000 {
        let waiting = bed.view.scan(&key::work_prefix(), None, 1);
        let Some(id) = waiting.first().and_then(|(row, _)| key::parse_id(row)) else {
            return (step, damaged);
        };
        let swept = bed.run(|txn| sweep(txn, id, limit));
        assert!(swept.rows <= limit + 10, "{swept:?}");
        damaged += swept.damaged;
    }
    panic!("the sweep does not end");
}

fn rows(bed: &Bed) -> usize {
    bed.view.rows().keys().filter(|row| **row != key::machine()).count()
}

#[test]
fn nothing_is_left_of_a_mount() {
    let mut bed = Bed::new(17);
    let before = rows(&bed);
    for n in 0..40 {
        write(&mut bed, &format!("s{n}"));
        write(&mut bed, &format!("d{}/e{}/s{n}", n % 3, n % 4));
    }
    for _ in 0..8 {
        write(&mut bed, "d0/versions");
    }
    bed.run(|txn| disable(txn, ROOT)).expect("opens");
    // Nothing can be entered there any more.
    let request = Request::Put {
        path: SecretPath::parse("late").expect("is a path"),
        data: SecretBytes::from("{}".to_owned()),
        cas: None,
    };
    let (_, late) = bed.plan(|txn| plan(txn, ROOT, &Config::default(), &request).map(drop));
    assert_ne!(bed.apply(&late), aumbry_state::Outcome::Ok);
    let (steps, damaged) = sweep_all(&mut bed, 10);
    assert!(steps > 15 && damaged == 0, "{steps} {damaged}");
    assert_eq!(rows(&bed), before);
    // One that is empty leaves nothing to sweep.
    bed.run(|txn| disable(txn, ROOT)).expect("opens");
    assert_eq!((sweep_all(&mut bed, 10), rows(&bed)), ((0, 0), before));
}
