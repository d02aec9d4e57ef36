//! The engine itself: it finds what is wrong, and finds it again.

use std::time::Duration;

use aumbry_fuzz::{Engine, Finding, Random, TARGETS, Target, Until, Verdict, attempt, check, on_small_stack};

/// A decoder with four mistakes, each behind a byte of its own: an index that is not checked, memory for a length that is not there, a
/// message that repeats the input, and a second form of the same value.
static PLANTED: Target = Target {
    name: "planted",
    seeds: || vec![b"\x01\x04good".to_vec(), b"\x05\x04good".to_vec()],
    run: planted,
    words: &[b"\xff\xff"],
    ..Target::USUAL
};

fn planted(input: &[u8]) -> Verdict {
    let [kind, length, content @ ..] = input else {
        return Verdict::Refused;
    };
    match kind {
        1 if content.len() < usize::from(*length) => Verdict::Refused,
        1 if content.is_empty() => Verdict::Refused,
        2 => Verdict::of(content[usize::from(*length)] > 0),
        3 => Verdict::of(check::bounded(input, check::USUAL, || vec![0; usize::from(*length) << 12]).is_empty()),
        4 if content.len() > 8 => {
            let error = String::from_utf8_lossy(content).into_owned();
            check::silent(content, b"", &error);
            Verdict::Refused
        }
        5 => {
            assert_eq!(usize::from(*length), content.len(), "a value has one form");
            Verdict::Accepted
        }
        _ => Verdict::Accepted,
    }
}

fn found(seed: u64) -> Box<Finding> {
    let run = || Engine::new(&PLANTED, seed, (PLANTED.seeds)(), None).run(Until::Executions(1_000_000), |_, _| ());
    on_small_stack(run).expect_err("the planted mistake is found")
}

#[test]
fn a_planted_mistake_is_found_and_found_again() {
    let mut messages = Vec::new();
    for seed in 0..40 {
        let finding = found(seed);
        let again = found(seed);
        assert_eq!(
            (&finding.input, finding.execution),
            (&again.input, again.execution),
            "seed {seed} is another run"
        );
        let message = attempt(&PLANTED, &finding.input).expect_err("the input fails alone, too");
        assert_eq!(message, finding.message);
        messages.push(message);
    }
    for kind in [
        "index out of bounds",
        "bytes of memory",
        "repeats a part",
        "a value has one form",
    ] {
        assert!(
            messages.iter().any(|message| message.contains(kind)),
            "{kind}: {messages:?}"
        );
    }
}

#[test]
fn a_run_without_a_mistake_ends_where_it_is_told_to() {
    let harmless = Target {
        run: |input| Verdict::of(input.first() == Some(&1)),
        ..PLANTED
    };
    let mut engine = Engine::new(&harmless, 3, (PLANTED.seeds)(), None);
    let mut watched = 0;
    let done = engine
        .run(Until::Executions(5_000), |_, _| watched += 1)
        .expect("nothing is wrong");
    assert_eq!((done.executions, watched), (5_000, 5_000));
    assert!(done.accepted > 0 && done.accepted < 5_000 && done.edges == 0);
}

#[test]
fn what_takes_too_long_is_found() {
    let slow = Target {
        run: |_| {
            let mut random = Random::new(1);
            let sum = (0..200_000_000).fold(0_u64, |sum, _| sum.wrapping_add(random.number()));
            Verdict::of(sum == 0)
        },
        time_max: Duration::from_millis(5),
        ..PLANTED
    };
    let message = attempt(&slow, b"").expect_err("it takes too long");
    assert!(message.contains("took"), "{message}");
}

#[test]
fn each_target_has_a_file_and_a_name_of_its_own() {
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let files = aumbry_fuzz::repository().join("src").join("targets");
    let mut found: Vec<String> = std::fs::read_dir(files)
        .expect("the targets are there")
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| name != "mod")
        .collect();
    names.sort_unstable();
    found.sort_unstable();
    assert_eq!(names, found);
}
