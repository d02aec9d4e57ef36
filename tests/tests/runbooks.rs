//! Every runbook and the README, run as they are written.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Page, free_base};

/// Each page does what it says, and leaves a cluster that serves.
#[tokio::test(flavor = "multi_thread")]
async fn every_runbook_works_as_written() -> Result<()> {
    let mut names: Vec<_> = Path::new(RUNBOOKS)
        .read_dir()?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.retain(|name| name.ends_with(".md") && name != "README.md");
    names.sort();
    // One page alone, while it is written.
    if let Ok(only) = std::env::var("AUMBRY_RUNBOOK") {
        names.retain(|name| *name == only);
    }
    ensure!(!names.is_empty(), "there are no pages in {RUNBOOKS}");
    let mut failures = Vec::new();
    for name in &names {
        let text = std::fs::read_to_string(Path::new(RUNBOOKS).join(name))?;
        let ran = async { Page::parse(name, &text)?.run().await };
        if let Err(error) = ran.await {
            failures.push(format!("{error:#}"));
        }
    }
    ensure!(
        failures.is_empty(),
        "{} of {} pages fail:\n{}",
        failures.len(),
        names.len(),
        failures.join("\n")
    );
    Ok(())
}

/// What the README says of a cluster by hand, with the first of its ports chosen.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_makes_a_cluster_by_hand() -> Result<()> {
    let text = std::fs::read_to_string("../README.md")?;
    let base = free_base(&[10, 11, 20, 21, 30, 31])?;
    let variables = [("BASE", base.to_string())];
    let page = Page::section("README.md", &text, "## A cluster by hand", &variables)?;
    page.run().await
}

/// The positive control: what a page breaks, or leaves broken, is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_does_not_work_fails() -> Result<()> {
    let setup = "<!-- setup: cluster-1 -->\n";
    for (what, text, expected) in [
        (
            "a block that fails",
            "```bash\ntrue\nfalse\ntrue\n```\n".to_owned(),
            "it ended with",
        ),
        (
            "a variable that is not set",
            "```bash\necho $NOBODY\n```\n".to_owned(),
            "NOBODY",
        ),
        (
            "a check that fails",
            "```bash\ntrue\n```\n<!-- check:\nfalse\n-->\n".to_owned(),
            "it ended with",
        ),
        (
            "a unit that does not exist",
            "```bash\nsystemctl restart vault\n```\n".to_owned(),
            "the only unit is aumbry",
        ),
        (
            "a node that is gone",
            "```bash\nsystemctl stop aumbry\nsystemctl is-active aumbry || true\n```\n".to_owned(),
            "serves",
        ),
    ] {
        let page = Page::parse(what, &format!("{setup}{text}"))?;
        let error = page
            .run()
            .await
            .err()
            .with_context(|| format!("{what} went unnoticed"))?;
        let error = format!("{error:#}");
        ensure!(error.contains(expected), "{what}: {error}");
    }
    Ok(())
}

const RUNBOOKS: &str = "../deploy/runbooks";
