//! The engine itself: it finds what is wrong, and finds it again.

use std::time::Duration;

use aumbry_fuzz::{Engine, Finding, Random, TARGETS, Target, Until, Verdict, attempt, check, on_small_stack};

/// A decoder with one mistake of four, behind a byte that no seed has.
const fn planted<const MISTAKE: u8>() -> Target {
    Target {
        name: "planted",
        seeds: || vec![b"\x00\x04good and longer".to_vec(), b"\x00\x04good".to_vec()],
        run: decode::<MISTAKE>,
        words: &[b"\xff\xff"],
        ..Target::USUAL
    }
}

fn decode<const MISTAKE: u8>(input: &[u8]) -> Verdict {
    let [kind, length, content @ ..] = input else {
        return Verdict::Refused;
    };
    let length = usize::from(*length);
    match (kind, MISTAKE) {
        // An index that is not checked.
        (1, 1) => Verdict::of(content[length] > 0),
        // Memory for a length that is not there.
        (2, 2) => Verdict::of(check::bounded(input, check::USUAL, || vec![0; length << 12]).is_empty()),
        // An error that repeats a secret.
        (3, 3) if content.len() > 15 => {
            check::silent(content, b"", &String::from_utf8_lossy(content));
            Verdict::Refused
        }
        // A second encoding of a value.
        (4, 4) => {
            assert_eq!(length, content.len(), "a value has one form");
            Verdict::Accepted
        }
        _ => Verdict::of(content.len() >= length),
    }
}

fn found(target: &Target, seed: u64) -> Box<Finding> {
    let run = || Engine::new(target, seed, (target.seeds)(), None).run(Until::Executions(1_000_000), |_, _| ());
    on_small_stack(run).expect_err("the planted mistake is found")
}

#[test]
fn a_planted_mistake_is_found_and_found_again() {
    let planted = [
        (planted::<1>(), "index out of bounds"),
        (planted::<2>(), "bytes of memory"),
        (planted::<3>(), "repeats a part"),
        (planted::<4>(), "a value has one form"),
    ];
    for (target, expected) in &planted {
        for seed in 0..10 {
            let (finding, again) = (found(target, seed), found(target, seed));
            assert_eq!(
                (&finding.input, finding.execution),
                (&again.input, again.execution),
                "seed {seed} is another run"
            );
            assert!(finding.message.contains(expected), "{expected}: {}", finding.message);
            assert!(finding.execution > 2, "no seed has the mistake");
            let message = attempt(target, &finding.input).expect_err("the input fails alone, too");
            assert_eq!(message, finding.message);
        }
    }
}

#[test]
fn a_run_without_a_mistake_ends_where_it_is_told_to() {
    let harmless = Target {
        run: |input| Verdict::of(input.first() == Some(&0)),
        ..planted::<0>()
    };
    let mut engine = Engine::new(&harmless, 3, (harmless.seeds)(), None);
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
        ..planted::<0>()
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
