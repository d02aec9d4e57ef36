//! What the program says of itself: its manual pages, and completions.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use aumbry_tests::run_cli;

use crate::done;

#[test]
fn every_command_has_a_page_with_an_example_and_completions() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().to_string_lossy();
    done(run_cli(&["man", &path], &[], "")?, &["man"])?;
    let pages = pages(directory.path())?;
    assert!(pages.len() > 60, "{} pages", pages.len());
    let names: BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let mut without = Vec::new();
    for (name, text) in &pages {
        let is_group = names
            .iter()
            .any(|other| other.starts_with(&format!("{name}-")) && *other != name);
        let is_plain = is_group || name.contains("-help");
        if !is_plain && !text.contains("Example") {
            without.push(name);
        }
    }
    assert!(without.is_empty(), "without an example: {without:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = done(run_cli(&["completion", shell], &[], "")?, &["completion", shell])?;
        assert!(script.contains("unwrap") && script.contains("wrap-ttl"), "{shell}");
    }
    Ok(())
}

/// The name of each page without its section, and what it says.
fn pages(directory: &Path) -> Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.trim_end_matches(".1").to_owned();
        pages.push((name, std::fs::read_to_string(entry.path())?));
    }
    Ok(pages)
}
