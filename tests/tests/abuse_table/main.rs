//! `tests/ABUSE.md` says which abuse cases are tested, by which tests, and what the others wait for. It is made from [`cases`] and from the sources.
//!
//! A test has a case if its name begins with `abuse_` and the number, or if a line of its documentation says `Abuse cases: 1, 2.` So a test that
//! is removed or renamed shows here, and a case that nothing tests and that waits for nothing fails.

mod cases;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cases::{CASES, Case, FEATURES};

#[test]
fn the_table_is_that_of_the_sources() {
    let tests = tests_of_cases(&sources());
    let made = table(&CASES, &tests).unwrap_or_else(|wrong| panic!("{wrong}"));
    let file = root().join("tests/ABUSE.md");
    if std::env::var_os(MEND).is_some() {
        fs::write(&file, &made).expect("tests/ABUSE.md can be written");
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    let differs = there.lines().zip(made.lines()).find(|(there, made)| there != made);
    assert!(
        there == made,
        "tests/ABUSE.md is not that of the sources: {differs:?}; mend it with\n    {MEND}=1 cargo test --release --locked --workspace --test abuse_table\nor `cargo xtask fix`"
    );
}

#[test]
fn each_mistake_is_noticed() {
    let case = |number, waits| Case {
        number,
        says: "a case",
        waits,
    };
    let found = |text: &str| tests_of_cases(&[(PathBuf::from("tests/a.rs"), text.to_owned())]);
    let tested = found(
        "/// It is so. Abuse cases: 1, 2.\n#[test]\n#[expect(x)]\nfn a() {}\n#[tokio::test(flavor = \"x\")]\nasync fn abuse_002_b() {}\n",
    );
    let good = [
        case(1, &[]),
        case(2, &["transit (a later issue)"]),
        case(3, &["transit (a later issue)"]),
    ];
    let made = table(&good, &tested).expect("nothing is wrong");
    for line in [
        "1 tested, 1 tested in part, 1 waiting",
        "| 2 | a case | in part | `tests/a.rs`: `a`, `abuse_002_b`<br>",
    ] {
        assert!(made.contains(line), "{line} is not in {made}");
    }
    for (cases, tests, wrong) in [
        (&good[..], found(""), "case 1 is neither tested nor waiting"),
        (
            &good[..2],
            found("/// Abuse cases: 1, 2, 3.\n#[test]\nfn a() {}"),
            "`a` is of case 3, which there is not",
        ),
        (&[case(2, &["x"])], found(""), "case 2 stands where 1 is expected"),
        (
            &[case(1, &["x"])],
            found(""),
            "case 1 waits for \"x\", which is no feature of the list",
        ),
    ] {
        assert_eq!(table(cases, &tests), Err(wrong.to_owned()));
    }
    // What is no test has no case, whatever it is called.
    for text in [
        "fn abuse_001_a() {}",
        "#[test]\n#[ignore]\nfn abuse_001_a() {}",
        "// fn abuse_001_a() {}",
    ] {
        assert!(found(text).is_empty(), "{text}");
    }
}

/// A test: its file and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Test {
    file: String,
    name: String,
}

/// The tests of each case, as the sources say.
fn tests_of_cases(sources: &[(PathBuf, String)]) -> BTreeMap<usize, Vec<Test>> {
    let mut tests: BTreeMap<usize, Vec<Test>> = BTreeMap::new();
    for (path, text) in sources {
        // What was said since the last item: its numbers, whether it is a test, whether it is left out.
        let (mut numbers, mut is_test, mut is_ignored) = (Vec::new(), false, false);
        for line in text.lines().map(str::trim) {
            if let Some((_, list)) = line.split_once(MARK).filter(|_| line.starts_with("///")) {
                let list = list.trim_end_matches('.').split(',');
                numbers.extend(list.filter_map(|number| number.trim().parse::<usize>().ok()));
            } else if line.starts_with("#[") {
                is_test |= line.contains("test]") || line.contains("::test(");
                is_ignored |= line.starts_with("#[ignore");
            } else if let Some(name) = name_of_function(line) {
                let own = name
                    .strip_prefix("abuse_")
                    .and_then(|rest| rest.split('_').next()?.parse::<usize>().ok());
                numbers.extend(own);
                if is_test && !is_ignored {
                    for number in &numbers {
                        let of = tests.entry(*number).or_default();
                        of.push(Test {
                            file: path.to_string_lossy().into_owned(),
                            name: name.to_owned(),
                        });
                    }
                }
                (numbers, is_test, is_ignored) = (Vec::new(), false, false);
            } else if !line.starts_with("//") && !line.is_empty() {
                (numbers, is_test, is_ignored) = (Vec::new(), false, false);
            }
        }
    }
    for of in tests.values_mut() {
        of.sort();
        of.dedup();
    }
    tests
}

fn name_of_function(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// The page, or what is wrong.
fn table(cases: &[Case], tests: &BTreeMap<usize, Vec<Test>>) -> Result<String, String> {
    for (number, of) in tests {
        if !cases.iter().any(|case| case.number == *number) {
            let names: Vec<_> = of.iter().map(|test| format!("`{}`", test.name)).collect();
            return Err(format!("{} is of case {number}, which there is not", names.join(", ")));
        }
    }
    let mut rows = String::new();
    let mut counts = [0; 3];
    let mut waiting: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (case, expected) in cases.iter().zip(1..) {
        let Case { number, says, waits } = case;
        if *number != expected {
            return Err(format!("case {number} stands where {expected} is expected"));
        }
        if let Some(wrong) = waits.iter().find(|feature| !FEATURES.contains(feature)) {
            return Err(format!(
                "case {number} waits for {wrong:?}, which is no feature of the list"
            ));
        }
        let of = tests.get(number);
        let (state, at) = match (of.is_some(), waits.is_empty()) {
            (true, true) => ("tested", 0),
            (true, false) => ("in part", 1),
            (false, false) => ("waits", 2),
            (false, true) => return Err(format!("case {number} is neither tested nor waiting")),
        };
        counts[at] += 1;
        for feature in *waits {
            waiting.entry(feature).or_default().push(*number);
        }
        let mut by_file: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for test in of.into_iter().flatten() {
            by_file.entry(&test.file).or_default().push(format!("`{}`", test.name));
        }
        let mut cell: Vec<String> = by_file
            .iter()
            .map(|(file, names)| format!("`{file}`: {}", names.join(", ")))
            .collect();
        if !waits.is_empty() {
            cell.push(format!("waits for {}", waits.join(", ")));
        }
        let _ = writeln!(rows, "| {number} | {says} | {state} | {} |", cell.join("<br>"));
    }
    let [tested, in_part, waits] = counts;
    let mut page = format!(
        "{HEAD}\n{tested} tested, {in_part} tested in part, {waits} waiting, of {}.\n\n| case | what somebody tries | state | tests, and what is waited for |\n|---|---|---|---|\n{rows}\n## What is waited for\n\n",
        cases.len()
    );
    for feature in FEATURES {
        if let Some(of) = waiting.get(feature) {
            let of: Vec<_> = of.iter().map(usize::to_string).collect();
            let _ = writeln!(page, "- {feature}: {}", of.join(", "));
        }
    }
    Ok(page)
}

/// All sources of the checkout, by their paths in it.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["crates", "tests", "xtask", "benches"]
        .map(|dir| root().join(dir))
        .to_vec();
    while let Some(dir) = open.pop() {
        for entry in dir
            .read_dir()
            .expect("a directory of the checkout can be read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                // This check's own examples are no tests of any case.
                if !path.ends_with("target") && !path.ends_with("abuse_table") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                let relative = path.strip_prefix(root()).expect("it was found below the root");
                found.push((relative.to_owned(), text));
            }
        }
    }
    assert!(found.len() > FILES_MIN, "found {} sources only", found.len());
    found.sort();
    found
}

/// Cargo runs tests in the folder of their package.
fn root() -> &'static Path {
    Path::new("..")
}

const MARK: &str = "Abuse cases: ";
const MEND: &str = "AUMBRY_MEND";
const FILES_MIN: usize = 200;
const HEAD: &str = "# Abuse cases

What somebody could try against Aumbry, by number, and the tests that show what comes of it. Made by `cargo xtask fix` from
`tests/tests/abuse_table/cases.rs` and from the tests, which are found by their names (`abuse_NNN_..`) or by a line `Abuse cases: ..` above them;
the test `abuse_table` compares. \"In part\" is tested as far as the feature exists.
";
