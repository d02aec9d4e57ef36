//! openraft #1802, which called entries committed that no quorum had, is put back, and found.

use std::process::Command;

#[test]
fn an_entry_that_no_quorum_has_is_found() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aumbry-sim-reverted"));
    // Without the fault they pass: `known_faults.rs` of the simulation.
    let output = command.args(["--seeds", "4", "--from", "1", "--overtakes", "--nodes", "5"]).output();
    let output = output.expect("the simulation starts");
    let text = String::from_utf8(output.stdout).expect("it speaks UTF-8");
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("committed_on_quorum: "), "{text}");
}
