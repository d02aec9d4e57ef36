//! Torture: real clusters under faults and load, round after round. `cargo xtask torture` builds and starts it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for a terminal"
)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use aumbry_tests::torture::{self, Options};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        // How it starts itself.
        ["round", scenario, seed, directory] => round(scenario, seed, Path::new(directory)).map(|()| true),
        ["scrape", address] => torture::scrape(address).map(|text| {
            println!("{text}");
            true
        }),
        ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            Ok(true)
        }
        ref words => options(words).and_then(|options| torture::run(&options)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::from(USAGE)
        }
    }
}

fn round(scenario: &str, seed: &str, directory: &Path) -> Result<()> {
    torture::run_round(scenario, seed.parse().context("a seed is a number")?, directory)
}

fn options(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        minutes: MINUTES,
        seed: torture::any_seed(),
        scenarios: Vec::new(),
        round: None,
        allow_missing: false,
        directory: PathBuf::from("torture"),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut next = || words.next().with_context(|| format!("{word} wants a value\n\n{HELP}"));
        match *word {
            "--minutes" => options.minutes = next()?.parse().context("--minutes wants a number")?,
            "--seed" => options.seed = next()?.parse().context("--seed wants a number")?,
            "--scenario" => options.scenarios.push((*next()?).to_owned()),
            "--round" => options.round = Some(next()?.parse().context("--round wants the seed of a round")?),
            "--directory" => options.directory = next()?.into(),
            "--allow-missing" => options.allow_missing = true,
            other => bail!("unknown: {other}\n\n{HELP}"),
        }
    }
    Ok(options)
}

const USAGE: u8 = 2;
const MINUTES: u64 = 10;

const HELP: &str = "\
torture [--minutes N] [--seed S] [--scenario NAME]... [--round SEED] [--allow-missing] [--directory DIR]

  --minutes N      begin rounds for so many minutes (10)
  --seed S         what decides scenarios and the seeds of rounds (another one each time, which is shown)
  --scenario NAME  only this one; may be repeated
  --round SEED     one round with this seed, of --scenario
  --allow-missing  scenarios for which a privilege or a tool is missing may be left out
  --directory DIR  where rounds have their directories; those of failures stay (torture)";
