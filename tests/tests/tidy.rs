//! What no lint sees: files that grow too long, work left for later, bytes that do not belong into a source.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn no_file_is_longer_than_can_be_read_at_once() {
    check(|path, text| {
        let lines = text.lines().count();
        (path.extension().is_some_and(|e| e == "rs") && lines > LINES_MAX)
            .then(|| format!("{lines} lines, at most {LINES_MAX}; split it by what it does"))
    });
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [["to", "do!"], ["TO", "DO"], ["FIX", "ME"], ["unimplemen", "ted!"]].map(|word| word.concat());
    check(|_, text| {
        let found = words.iter().find(|word| text.contains(word.as_str()))?;
        Some(format!("holds \"{found}\"; do it, or write down in an issue why not"))
    });
}

#[test]
fn lines_are_plain() {
    check(|path, text| {
        let make = path.file_name().is_some_and(|name| name == "Makefile");
        if text.contains('\t') && !make {
            Some("holds a tab; use spaces".to_owned())
        } else if text.contains('\r') {
            Some("holds a carriage return; lines end with a line feed".to_owned())
        } else if text.lines().any(|line| line.ends_with(' ')) {
            Some("has a line that ends with a space".to_owned())
        } else if !text.is_empty() && !text.ends_with('\n') {
            Some("does not end with a line feed".to_owned())
        } else {
            None
        }
    });
}

#[test]
fn every_crate_says_what_it_is() {
    check(|path, text| {
        let begins_crate = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        (begins_crate && !text.starts_with("//! "))
            .then(|| "does not open with what the crate is and guarantees".to_owned())
    });
}

#[test]
fn a_ban_of_a_range_of_versions_matches() {
    check(|path, text| {
        // cargo-deny reads `name@<2` as the exact version 2, so that such a ban never matches: the colon is right.
        (path.ends_with("deny.toml") && ["@<", "@>"].iter().any(|wrong| text.contains(wrong)))
            .then(|| "writes a range after an @; write `name:<2`".to_owned())
    });
}

/// Applies the rule to each text of the checkout; what it gives are complaints.
fn check(rule: impl Fn(&Path, &str) -> Option<String>) {
    // Cargo runs tests in the folder of their package.
    let root = Path::new("..");
    let files = texts(root);
    assert!(
        files.len() > FILES_MIN,
        "found {} files only: the rule sees nothing",
        files.len()
    );
    let complaints: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).expect("a source is UTF-8");
            let relative = path.strip_prefix(root).expect("it was found below the root");
            rule(relative, &text).map(|complaint| format!("{}: {complaint}", relative.display()))
        })
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn texts(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in dir
            .read_dir()
            .expect("a directory of the checkout can be read")
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() {
                if !SKIPPED.contains(&&*name) {
                    open.push(path);
                }
            } else if KINDS.iter().any(|kind| name.ends_with(kind)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Past this a file holds more than one thing.
const LINES_MAX: usize = 600;

/// Fewer than the checkout has ever had.
const FILES_MIN: usize = 40;

const SKIPPED: [&str; 2] = [".git", "target"];

const KINDS: [&str; 4] = [".rs", ".toml", ".proto", ".service"];
