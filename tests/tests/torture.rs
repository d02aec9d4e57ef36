//! A short run of the torture, and that it can fail. `cargo xtask torture` goes long.

use std::process::{Command, Output};

use anyhow::{Result, ensure};
use aumbry_tests::tell;

/// A few quick scenarios. Their rounds are the same each time, as far as the machine lets them.
#[test]
fn a_few_rounds_pass() -> Result<()> {
    let names = ["kills", "partitions", "failed-syncs"];
    let (output, told) = torture(&names)?;
    ensure!(output.status.success(), "{told}");
    for name in names {
        let passed = told
            .lines()
            .any(|line| line.contains(name) && line.contains(" passed "));
        ensure!(passed || is_left_out(&told, name), "{name} did not run: {told}");
    }
    Ok(())
}

/// The positive control: what the nodes had acknowledged is gone from all disks, and that is told, with the line that runs the round again, and with
/// what is needed to see why.
#[test]
fn a_planted_violation_is_reported() -> Result<()> {
    let (output, told) = torture(&["planted"])?;
    ensure!(!output.status.success(), "nobody sees it: {told}");
    ensure!(
        told.contains("VIOLATED: planted 7: again with: cargo xtask torture --scenario planted --round 7"),
        "{told}"
    );
    for kept in [
        "history.jsonl",
        "schedule",
        "report.json",
        "program",
        "n1/data",
        "n1/server.log",
    ] {
        ensure!(
            told.contains(&format!("kept there: {kept}")),
            "{kept} is not kept: {told}"
        );
    }
    Ok(())
}

fn torture(scenarios: &[&str]) -> Result<(Output, String)> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_aumbry-torture"));
    command.args(["--round", "7", "--directory"]).arg(directory.path());
    for name in scenarios {
        command.args(["--scenario", name]);
    }
    if may_miss() {
        command.arg("--allow-missing");
    }
    let output = command.output()?;
    let mut told = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    let rounds = directory.path().read_dir()?.flatten();
    for file in rounds.flat_map(|round| round.path().read_dir().into_iter().flatten().flatten()) {
        let name = file.file_name().to_string_lossy().into_owned();
        told += &format!("kept there: {name}\n");
        for inner in file.path().read_dir().into_iter().flatten().flatten() {
            told += &format!("kept there: {name}/{}\n", inner.file_name().to_string_lossy());
        }
    }
    tell(&told);
    Ok((output, told))
}

fn is_left_out(told: &str, name: &str) -> bool {
    may_miss() && told.contains(&format!("LEFT OUT: {name}"))
}

fn may_miss() -> bool {
    std::env::var_os("AUMBRY_ALLOW_MISSING").is_some_and(|allowed| allowed == "1")
}
