//! One round after the other, each in a process and in namespaces of its own: whatever becomes of it, nothing of it stays, and the next begins.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::means::Need;
use super::outcome::Outcome;
use super::round::Report;
use super::scenarios::{PLANTED, SCENARIOS, Scenario, scenario_of};
use super::selftest;
use crate::cluster::binary;
use crate::damage::{Dice, tell};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds are begun for so many minutes.
    pub minutes: u64,
    /// What decides everything that is random.
    pub seed: u64,
    /// Only these scenarios; all if there are none.
    pub scenarios: Vec<String>,
    /// One round of each of them with this seed, and no more.
    pub round: Option<u64>,
    /// Whether scenarios for which a privilege or a tool is missing may be left out.
    pub allow_missing: bool,
    /// Where rounds have their directories.
    pub directory: PathBuf,
}

/// Runs rounds, shows each, and a table at the end. Whether all is well.
pub fn run(options: &Options) -> Result<bool> {
    let Permitted { scenarios, left_out } = permitted(options)?;
    fs::create_dir_all(&options.directory)?;
    tell(&format!(
        "torture: seed {}, {} min, {} scenarios, program {}, {}",
        options.seed,
        options.minutes,
        scenarios.len(),
        binary().display(),
        hash(&binary())?
    ));
    selftest::run().context("the self-test: the harness cannot fail")?;
    let (mut reports, begun) = (Vec::new(), Instant::now());
    let mut dice = Dice::seeded(options.seed);
    let mut first = shuffled(&scenarios, &mut dice);
    if options.scenarios.is_empty() {
        plant(&mut dice, options)?;
    }
    loop {
        let is_over = match options.round {
            Some(_) => first.is_empty(),
            None => begun.elapsed() >= Duration::from_secs(options.minutes * 60),
        };
        if is_over {
            break;
        }
        // Each once, then by weight.
        let scenario = first.pop().unwrap_or_else(|| weighted(&scenarios, &mut dice));
        let drawn = dice.below(SEED_MAX);
        let seed = options.round.unwrap_or(drawn);
        let report = one(scenario, seed, &options.directory)?;
        show(&report, &place(scenario, seed, &options.directory), begun.elapsed());
        reports.push(report);
    }
    table(&scenarios, &reports, begun.elapsed());
    for (scenario, missing) in &left_out {
        tell(&format!("LEFT OUT: {scenario}: {missing} missing"));
    }
    for report in reports.iter().filter(|report| report.outcome != Outcome::Passed) {
        tell(&format!(
            "{}: {} {}: again with: cargo xtask torture --scenario {} --round {}",
            report.outcome, report.scenario, report.seed, report.scenario, report.seed
        ));
    }
    let is_complete = left_out.is_empty() || options.allow_missing;
    Ok(is_complete && reports.iter().all(|report| report.outcome == Outcome::Passed))
}

/// Puts an old copy of the data of all nodes back: that must be found out.
fn plant(dice: &mut Dice, options: &Options) -> Result<()> {
    let report = one(&PLANTED, dice.below(SEED_MAX), &options.directory)?;
    ensure!(
        report.outcome == Outcome::Violated,
        "all nodes forgot what they had acknowledged, and nobody sees it: {} {}",
        report.outcome,
        report.text
    );
    tell(&format!(
        "self-test: a planted violation was seen after {} s",
        report.seconds
    ));
    fs::remove_dir_all(place(&PLANTED, report.seed, &options.directory)).context("removing what it kept")
}

/// Where a round has its files.
fn place(scenario: &Scenario, seed: u64, below: &Path) -> PathBuf {
    below.join(format!("{}-{seed}", scenario.name))
}

/// What can be run, and what is left out.
struct Permitted {
    scenarios: Vec<&'static Scenario>,
    /// Names, with what is missing.
    left_out: Vec<(&'static str, String)>,
}

/// The scenarios that were asked for and that the machine permits; and the others, with what is missing.
fn permitted(options: &Options) -> Result<Permitted> {
    let missing: BTreeMap<Need, &str> = Need::ALL
        .into_iter()
        .filter_map(|need| Some((need, need.missing()?)))
        .collect();
    for name in &options.scenarios {
        let is_there = scenario_of(name).is_some();
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        ensure!(is_there, "there is no scenario {name}; there are: {}", names.join(", "));
    }
    let (mut scenarios, mut left_out) = (Vec::new(), Vec::new());
    for scenario in SCENARIOS.iter().chain([&PLANTED]) {
        if options.scenarios.is_empty() && scenario.name == PLANTED.name {
            continue;
        }
        if !options.scenarios.is_empty() && !options.scenarios.iter().any(|name| name == scenario.name) {
            continue;
        }
        let lacks: Vec<&str> = scenario
            .needs()
            .iter()
            .filter_map(|need| missing.get(need).copied())
            .collect();
        if lacks.is_empty() {
            scenarios.push(scenario);
        } else {
            left_out.push((scenario.name, lacks.join(", ")));
        }
    }
    if scenarios.is_empty() {
        bail!("nothing is left to be run: {left_out:?}");
    }
    Ok(Permitted { scenarios, left_out })
}

/// One round, in a process of its own. What it leaves is removed if it passed.
fn one(scenario: &Scenario, seed: u64, below: &Path) -> Result<Report> {
    let directory = place(scenario, seed, below);
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?;
    }
    fs::create_dir(&directory)?;
    let mut command = enter(scenario);
    let output = fs::File::create(directory.join("output"))?;
    command.arg(std::env::current_exe()?);
    command
        .args(["round", scenario.name, &seed.to_string()])
        .arg(&directory);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let begun = Instant::now();
    let mut process = command.spawn().context("unshare (Debian: util-linux)")?;
    let status = loop {
        match process.try_wait()? {
            Some(status) => break status.to_string(),
            None if begun.elapsed() > ROUND_MAX => {
                process.kill()?;
                process.wait()?;
                break format!("it did not end within {ROUND_MAX:?}");
            }
            None => std::thread::sleep(POLL),
        }
    };
    let report = fs::read(directory.join("report.json"));
    let report = report
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
    let report = report.unwrap_or_else(|| Report::broken(scenario.name, seed, format!("no report: {status}")));
    // What is left of a round that passed is what was done in it, and when.
    let schedule = fs::read_to_string(directory.join("schedule")).unwrap_or_default();
    let mut schedules = fs::File::options()
        .create(true)
        .append(true)
        .open(below.join("schedules"))?;
    writeln!(schedules, "{} {seed}: {}\n{schedule}", scenario.name, report.outcome)?;
    match report.outcome {
        Outcome::Passed => fs::remove_dir_all(&directory).with_context(|| directory.display().to_string())?,
        _ => fs::write(
            directory.join("program"),
            format!("{} {}\n", binary().display(), hash(&binary())?),
        )?,
    }
    Ok(report)
}

/// What the command line of a round begins with: whatever it makes is gone when it ends.
fn enter(scenario: &Scenario) -> Command {
    let needs = scenario.needs();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    let has = |need: Need| needs.contains(&need);
    if has(Need::Namespaces) || has(Need::Mounts) {
        command.arg("unshare");
        if has(Need::Namespaces) {
            command.arg("--net");
        }
        if has(Need::Mounts) {
            command.arg("--mount");
        }
        command.arg("--");
    }
    command
}

fn shuffled(scenarios: &[&'static Scenario], dice: &mut Dice) -> Vec<&'static Scenario> {
    let mut left = scenarios.to_vec();
    let mut order = Vec::new();
    while !left.is_empty() {
        order.push(left.remove(dice.below(left.len() as u64) as usize));
    }
    order
}

fn weighted(scenarios: &[&'static Scenario], dice: &mut Dice) -> &'static Scenario {
    let all: u64 = scenarios.iter().map(|scenario| scenario.weight).sum();
    let mut at = dice.below(all);
    for scenario in scenarios {
        match at.checked_sub(scenario.weight) {
            None => return scenario,
            Some(rest) => at = rest,
        }
    }
    scenarios[0]
}

fn show(report: &Report, kept: &Path, since: Duration) {
    let struck: Vec<String> = report
        .struck
        .iter()
        .map(|(fault, count)| format!("{fault} x{count}"))
        .collect();
    tell(&format!(
        "{:>5} s  {:<12} {:>14}  {:<8} {:>6} answered of {:>6}  {:>3} s  {}",
        since.as_secs(),
        report.scenario,
        report.seed,
        report.outcome,
        report.answered,
        report.asked,
        report.seconds,
        struck.join(", ")
    ));
    if report.outcome != Outcome::Passed {
        tell(&format!("    {}", report.text));
        tell(&format!("    failures of clients: {:?}", report.failures));
        tell(&format!("    kept: {}", kept.display()));
    }
}

fn table(scenarios: &[&'static Scenario], reports: &[Report], took: Duration) {
    tell(&format!(
        "\n{:<14} {:>6} {:>10} {:>10} {:>6} {:>10}",
        "scenario", "rounds", "operations", "answered", "void", "violations"
    ));
    let mut struck: BTreeMap<&str, u64> = BTreeMap::new();
    let count =
        |reports: &[&Report], outcome: Outcome| reports.iter().filter(|report| report.outcome == outcome).count();
    let line = |name: &str, reports: &[&Report]| {
        let asked: u64 = reports.iter().map(|report| report.asked).sum();
        let answered: u64 = reports.iter().map(|report| report.answered).sum();
        let void = count(reports, Outcome::Void) + count(reports, Outcome::Broken);
        let violated = count(reports, Outcome::Violated);
        tell(&format!(
            "{name:<14} {:>6} {asked:>10} {answered:>10} {void:>6} {violated:>10}",
            reports.len()
        ));
    };
    for scenario in scenarios {
        let its: Vec<&Report> = reports
            .iter()
            .filter(|report| report.scenario == scenario.name)
            .collect();
        line(scenario.name, &its);
    }
    line("all", &reports.iter().collect::<Vec<_>>());
    for report in reports {
        for (fault, count) in &report.struck {
            *struck.entry(fault).or_default() += count;
        }
    }
    tell(&format!("\n{:<28} {:>6}", "fault", "struck"));
    for (fault, count) in &struck {
        tell(&format!("{fault:<28} {count:>6}"));
    }
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    tell(&format!(
        "\n{} rounds in {} s; {} audit records verified; {} uses of tokens were counted again after a leader was lost",
        reports.len(),
        took.as_secs(),
        sum(|report| report.records),
        sum(|report| report.repeated)
    ));
}

/// What tells one build of a program from another.
fn hash(program: &Path) -> Result<String> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    Ok(format!("crc32c {:08x}, {} bytes", crc32c::crc32c(&bytes), bytes.len()))
}

/// Short enough to be typed.
const SEED_MAX: u64 = 1 << 40;
/// Many times what a round takes, on a machine that may stand still for minutes.
const ROUND_MAX: Duration = Duration::from_secs(40 * 60);
const POLL: Duration = Duration::from_millis(50);
