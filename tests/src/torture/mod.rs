//! Torture: real clusters under faults and constant load, round after round.
//!
//! What it guarantees: a round passes only if its faults were seen to strike, enough operations were answered, the cluster served everybody again after
//! each heal, and everything that was promised held: the history of all clients is linearizable for each secret and token, nothing acknowledged is
//! lost or applied twice, every answer is on record, the audit log verifies, and all nodes have the same state. A failure leaves its history, the
//! schedule of its faults, its report, and the nodes' logs and data directories, and names the line that runs its round again.
//! What it does not do: repeat a run to the letter. A seed decides the faults and the clients' requests; the machine decides who is how fast.

mod bed;
mod clients;
mod faults;
mod history;
mod limits;
mod links;
mod means;
mod outcome;
mod patience;
mod reach;
mod round;
mod scenarios;
mod schedule;
mod selftest;
mod verdict;

use std::path::Path;

use anyhow::{Context as _, Result};
use aumbry_types::{Entropy as _, SystemEntropy};

pub use schedule::{Options, run};

/// Runs one round in this process. Its report is in the directory.
pub fn run_round(scenario: &str, seed: u64, directory: &Path) -> Result<()> {
    let scenario = scenarios::scenario_of(scenario).context("there is no such scenario")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(round::Round::run(scenario, seed, directory));
    report.map(drop)
}

/// What a node's metrics are, for a process that was started in the node's network namespace.
pub fn scrape(address: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(crate::scrape::scrape(address))
}

/// Another seed each time.
#[must_use]
pub fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy.fill(&mut bytes);
    u64::from_be_bytes(bytes) >> 32
}
