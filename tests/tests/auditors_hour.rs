//! The auditor's hour of `docs/audit.md`, run as it is written.

use anyhow::{Context as _, Result};
use aumbry_tests::Page;

/// Abuse cases: 87.
#[tokio::test(flavor = "multi_thread")]
async fn the_auditors_hour_works_as_written() -> Result<()> {
    let text = std::fs::read_to_string("../docs/audit.md")?;
    let (_, section) = text.split_once("\n## An auditor's hour\n").context("no such section")?;
    let (section, _) = section.split_once("\n## ").context("it ends")?;
    Page::parse("docs/audit.md", &format!("{SETUP}{section}"))?.run().await
}

/// A cluster, with what its init told.
const SETUP: &str = "<!-- setup: cluster-3\nFINGERPRINT=$(grep -oE '[0-9a-f]{64}' setup.log | head -1)\n-->\n";
