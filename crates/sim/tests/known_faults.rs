//! Old faults that are put back are found, and the same runs pass without them. (openraft #1802 has a build of its own: `reverted`.)

use std::process::Command;

#[test]
fn a_lost_fence_is_found() {
    let (is_ok, output) = sim("--seeds 4 --from 1 --leads-again");
    assert!(is_ok, "{output}");
    // What was planned in one leadership is proposed in a later one: a read tells what was so before others wrote.
    let (is_ok, output) = sim("--seeds 4 --from 1 --leads-again --fence-lost");
    assert!(!is_ok && output.contains("linearizable_per_key: no order explains"), "{output}");
    assert_eq!(failed(&output), 4, "{output}");
}

#[test]
fn a_release_before_commit_is_found() {
    let (is_ok, output) = sim("--seeds 12 --from 1");
    assert!(is_ok, "{output}");
    let (is_ok, output) = sim("--seeds 12 --from 1 --answers-early");
    assert!(!is_ok && output.contains("linearizable_per_key: no order explains"), "{output}");
    assert!(failed(&output) > 3, "{output}");
}

/// The schedule that shows openraft #1802 is no fault by itself.
#[test]
fn a_follower_may_have_more_than_the_leader() {
    let (is_ok, output) = sim("--seeds 4 --from 1 --overtakes --nodes 5");
    assert!(is_ok, "{output}");
}

fn failed(output: &str) -> usize {
    output.lines().filter(|line| line.starts_with("failed: ")).count()
}

/// Runs the simulation. Whether it passed, and what it said.
fn sim(arguments: &str) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aumbry-sim"));
    let output = command.args(arguments.split(' ')).output().expect("the simulation starts");
    let text = String::from_utf8(output.stdout).expect("it speaks UTF-8");
    (output.status.success(), text)
}
