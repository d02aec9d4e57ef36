//! The state machine's own row: one encoding, and with whatever row is read the machine applies.

use aumbry_state::{Input, Machine, MemoryView, Payload, key};
use aumbry_types::LogId;
use bytes::Bytes;

use super::entry;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "machine_row",
    seeds,
    run,
    input_bytes_max: 8 << 10,
    smoke: 3_000,
    ..Target::USUAL
};

fn row_after(machine: &mut Machine, inputs: &[Input<'_>]) -> Bytes {
    let applied = machine
        .apply(&MemoryView::default(), inputs)
        .expect("this build wrote the entry");
    let (key, row) = applied
        .rows
        .into_iter()
        .next_back()
        .expect("the machine's own row is written");
    assert_eq!(key, key::machine());
    row.expect("it is not removed")
}

fn seeds() -> Vec<Vec<u8>> {
    let mut machine = Machine::from_row(None).expect("an empty state loads");
    let entry = entry::sample(3);
    let input = Input {
        log_id: LogId::default(),
        payload: Payload::Command(&entry),
    };
    (0..3)
        .map(|count| row_after(&mut machine, &[input; 2][..count.min(2)]).to_vec())
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let row = Bytes::copy_from_slice(input);
    let Ok(mut machine) = bounded(input, USUAL, || Machine::from_row(Some(row))) else {
        return Verdict::Refused;
    };
    assert_eq!(row_after(&mut machine, &[]), input, "the row has one encoding");
    let (size, time) = (machine.audit_size(), machine.log_time());
    let entry = entry::sample(2);
    let input = Input {
        log_id: LogId::default(),
        payload: Payload::Command(&entry),
    };
    let row = row_after(&mut machine, &[input]);
    assert_eq!(machine.audit_size(), size + 2, "each command has a leaf");
    assert!(machine.log_time() >= time, "log time does not run backwards");
    let again = Machine::from_row(Some(row)).expect("what is written can be read");
    assert_eq!(
        (again.digest(), again.audit_root()),
        (machine.digest(), machine.audit_root())
    );
    Verdict::Accepted
}
