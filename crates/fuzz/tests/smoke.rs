//! Each target for a moment, with a fixed seed: the inputs of the repository, bombs, and some thousand changes. `cargo xtask fuzz` goes on.

use aumbry_fuzz::{Engine, TARGETS, Target, Until, Verdict, attempt, corpus, hash, on_small_stack, regressions};

/// One thread takes every second target.
fn smoke(part: usize) {
    for target in TARGETS.into_iter().skip(part).step_by(2) {
        on_small_stack(|| tried(target));
    }
}

/// Abuse cases: 72, 103.
#[test]
fn every_decoder_keeps_its_promises_first_half() {
    smoke(0);
}

/// Abuse cases: 72, 103.
#[test]
fn every_decoder_keeps_its_promises_second_half() {
    smoke(1);
}

fn tried(target: &Target) {
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let verdict = check(target, "seed", seed);
        assert!(
            number > 0 || verdict == Verdict::Accepted,
            "{}: the first seed is not accepted",
            target.name
        );
    }
    for (name, input) in regressions(target) {
        check(target, &format!("regression {name}"), &input);
    }
    for (number, bomb) in (target.bombs)().iter().enumerate() {
        check(target, &format!("bomb {number}"), bomb);
    }
    let mut engine = Engine::new(target, SEED, corpus(target), None);
    let ran = engine.run(Until::Executions(target.smoke), |_, _| ());
    let done = ran.unwrap_or_else(|finding| {
        let execution = finding.execution;
        failed(
            target,
            &format!("seed {SEED}, execution {execution}"),
            &finding.input,
            &finding.message,
        )
    });
    // Without this a target could refuse everything and say nothing.
    assert!(done.accepted > 0, "{}: nothing was accepted", target.name);
}

fn check(target: &Target, what: &str, input: &[u8]) -> Verdict {
    attempt(target, input).unwrap_or_else(|message| failed(target, what, input, &message))
}

fn failed(target: &Target, what: &str, input: &[u8], message: &str) -> ! {
    let path = std::env::temp_dir().join(format!("aumbry-fuzz-{}-{}", target.name, hash(input)));
    std::fs::write(&path, input).expect("the input is kept");
    panic!(
        "{}: {what}: {message}\nrepeat it: cargo xtask fuzz {} --input {}",
        target.name,
        target.name,
        path.display()
    )
}

const SEED: u64 = 6;
