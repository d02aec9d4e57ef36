//! What must pass, step by step.
//!
//! The first step that fails ends the run. Each step shows its own output as it is, so that whatever reads the log finds the
//! `test result` lines of the tests.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::{policy, process, setup, sim, workspace};

/// Everything.
pub(crate) fn test() -> Result<(), String> {
    let mut steps = Steps::start();
    steps.run("what the build needs", setup::ensure)?;
    steps.run("what the tests need", setup::ensure_for_tests)?;
    steps.cargo("format", &["fmt", "--all", "--check"], &[])?;
    steps.run("dependency policy", policy::check)?;
    steps.cargo("lints", &LINTS, &[])?;
    steps.cargo("release build", &BUILD, &[])?;
    let aumbry = workspace::aumbry()?.display().to_string();
    steps.cargo("documentation", &DOCUMENTATION, &[("RUSTDOCFLAGS", "-D warnings")])?;
    // All failures of a run are worth more than the first one alone.
    let tests = ["test", "--release", "--locked", "--workspace", "--no-fail-fast"];
    steps.cargo(
        "unit, integration and documentation tests",
        &tests,
        &[("AUMBRY_BIN", &aumbry)],
    )?;
    steps.run("simulated clusters", || {
        process::show(sim::cargo()?.args(SIMULATION), "the tests of the simulation")
    })?;
    steps.run("simulated clusters with an old fault of openraft", || {
        process::show(sim::cargo_reverted()?.args(SIMULATION), "the tests of the simulation")
    })?;
    steps.finish();
    Ok(())
}

/// What is quick: nothing that starts a node.
pub(crate) fn verify() -> Result<(), String> {
    let mut steps = Steps::start();
    steps.run("what the build needs", setup::ensure)?;
    steps.cargo("format", &["fmt", "--all", "--check"], &[])?;
    steps.cargo("lints", &LINTS, &[])?;
    steps.cargo("documentation", &DOCUMENTATION, &[("RUSTDOCFLAGS", "-D warnings")])?;
    let tests = [
        "test",
        "--release",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--test",
        "layers",
        "--test",
        "tidy",
        "--test",
        "abuse_table",
    ];
    steps.cargo("unit tests, layers, tidiness and the table of abuse cases", &tests, &[])?;
    steps.finish();
    Ok(())
}

/// Changes files: formats, applies what the lints can correct by themselves, and makes the table of abuse cases anew.
pub(crate) fn fix() -> Result<(), String> {
    let mut steps = Steps::start();
    steps.run("what the build needs", setup::ensure)?;
    let lints = [
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--release",
        "--locked",
        "--workspace",
        "--all-targets",
    ];
    steps.cargo("corrections", &lints, &[])?;
    steps.cargo("the table of abuse cases", &ABUSE_TABLE, &[("AUMBRY_MEND", "1")])?;
    steps.cargo("format", &["fmt", "--all"], &[])?;
    steps.finish();
    Ok(())
}

/// Steps that are told and timed.
struct Steps {
    started: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            done: Vec::new(),
        }
    }

    fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        println!("==> {name}");
        let started = Instant::now();
        let result = step();
        let took = started.elapsed();
        match result {
            Ok(()) => {
                println!("    {name}: ok in {:.1} s", took.as_secs_f64());
                self.done.push((name, took));
                Ok(())
            }
            Err(failure) => Err(format!(
                "step \"{name}\" did not pass after {:.1} s: {failure}",
                took.as_secs_f64()
            )),
        }
    }

    fn cargo(&mut self, name: &'static str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
        let mut command: Command = workspace::cargo();
        command.args(arguments).envs(environment.iter().copied());
        self.run(name, || {
            process::show(&mut command, &format!("cargo {}", arguments.join(" ")))
        })
    }

    fn finish(self) {
        let steps: Vec<String> = self
            .done
            .iter()
            .map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f64()))
            .collect();
        println!(
            "\nall {} steps passed in {:.1} s: {}",
            steps.len(),
            self.started.elapsed().as_secs_f64(),
            steps.join(", ")
        );
    }
}

/// The whole workspace and its one program, so that features are the same as in the tests and nothing is compiled twice.
pub(crate) const BUILD: [&str; 6] = ["build", "--release", "--locked", "--workspace", "--bin", "aumbry"];

const LINTS: [&str; 8] = [
    "clippy",
    "--release",
    "--locked",
    "--workspace",
    "--all-targets",
    "--",
    "-D",
    "warnings",
];

const ABUSE_TABLE: [&str; 6] = ["test", "--release", "--locked", "--workspace", "--test", "abuse_table"];
/// A fixed set of seeds, among others.
const SIMULATION: [&str; 3] = ["test", "--release", "--locked"];

const DOCUMENTATION: [&str; 5] = ["doc", "--release", "--locked", "--workspace", "--no-deps"];
