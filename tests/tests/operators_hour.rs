//! The operator's hour of `docs/seal.md`, run as it is written: shares for custodians alone, a rekey, an HSM that comes and is lost, keys that turn.

use anyhow::Result;
use aumbry_tests::{Page, free_base};

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_hour_works_as_written() -> Result<()> {
    let text = std::fs::read_to_string("../docs/seal.md")?;
    let base = free_base(&[10, 11, 20, 21, 30, 31])?;
    let variables = [("BASE", base.to_string())];
    let page = Page::section("docs/seal.md", &text, "## An operator's hour", &variables)?;
    page.run().await
}
