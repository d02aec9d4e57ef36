//! The command line: many seeds in processes of their own, or one of them here.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aumbry_sim_world::machine::real_ms;

use crate::faults::{BY_ITSELF, Kind, NAMESPACE_DELETED};
use crate::run::{Mutation, Options, Report, run};
use crate::schedule::Schedule;

/// Does what the arguments say. Whether all runs passed, and, of many, every kind of fault has struck.
///
/// # Errors
/// What is wrong with the arguments.
pub fn command(arguments: &[String], print: &mut dyn FnMut(&str)) -> Result<bool, String> {
    let given = Given::parse(arguments)?;
    match given.one {
        Some(seed) => Ok(one(seed, given.options, print)),
        None => many(&given, print),
    }
}

struct Given {
    seeds: u64,
    from: u64,
    jobs: usize,
    one: Option<u64>,
    options: Options,
    /// The words that are for each run.
    passed: Vec<String>,
}

impl Given {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut given = Self {
            seeds: 100,
            from: 1,
            jobs: 2,
            one: None,
            options: Options::default(),
            passed: Vec::new(),
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let value = words.next().and_then(|value| value.parse::<u64>().ok());
                value.ok_or_else(|| format!("{word} wants a number\n{HELP}"))
            };
            match word.as_str() {
                "--seeds" => given.seeds = number()?,
                "--from" => given.from = number()?,
                "--jobs" => given.jobs = usize::try_from(number()?).unwrap_or(1).max(1),
                "--one" => given.one = Some(number()?),
                "--show" => given.options.shown = true,
                "--trace" => given.options.traced = true,
                "--no-namespaces" => given.options.no_namespaces = true,
                "--nodes" => given.options.nodes = Some(number()?),
                "--only" => {
                    let kinds: Option<Vec<Kind>> = words.next().map_or("", |names| names).split(',').map(Kind::named).collect();
                    // They are told once, and stand for as long as the process.
                    given.options.only = kinds.ok_or("--only wants names of faults")?.leak();
                }
                "--disks-lie" => given.options.mutation = Some(Mutation::DisksLie),
                "--votes-forgotten" => given.options.mutation = Some(Mutation::VotesForgotten),
                "--fence-lost" => given.options.mutation = Some(Mutation::FenceLost),
                "--answers-early" => given.options.mutation = Some(Mutation::AnswersEarly),
                "--leads-again" => given.options.schedule = Some(Schedule::LeadsAgain),
                "--overtakes" => given.options.schedule = Some(Schedule::Overtakes),
                _ => return Err(HELP.to_owned()),
            }
        }
        given.passed = given.options.words();
        if given.seeds == 1 {
            given.one = Some(given.from);
        }
        Ok(given)
    }
}

impl Options {
    /// The words of the command line that say the same.
    fn words(self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(nodes) = self.nodes {
            words.extend(["--nodes".to_owned(), nodes.to_string()]);
        }
        if self.no_namespaces {
            words.push("--no-namespaces".to_owned());
        }
        if !self.only.is_empty() {
            let names: Vec<&str> = self.only.iter().map(|kind| kind.name()).collect();
            words.extend(["--only".to_owned(), names.join(",")]);
        }
        let schedule = self.schedule.map(|schedule| match schedule {
            Schedule::LeadsAgain => "--leads-again",
            Schedule::Overtakes => "--overtakes",
        });
        words.extend(schedule.map(str::to_owned));
        let mutation = self.mutation.map(|mutation| match mutation {
            Mutation::DisksLie => "--disks-lie",
            Mutation::VotesForgotten => "--votes-forgotten",
            Mutation::FenceLost => "--fence-lost",
            Mutation::AnswersEarly => "--answers-early",
        });
        words.extend(mutation.map(str::to_owned));
        words
    }
}

/// Makes one run here.
fn one(seed: u64, options: Options, print: &mut dyn FnMut(&str)) -> bool {
    crate::process::catch_panics(options.shown);
    if options.traced {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let began = real_ms();
    let report = run(seed, options);
    let ms = real_ms() - began;
    print(&line(seed, &report, ms));
    for violation in &report.violations {
        print(&format!("seed {seed}: {violation}"));
    }
    for text in &report.undecided {
        print(&format!("seed {seed}: not decided: {text}"));
    }
    report.violations.is_empty()
}

/// What a run tells its parent, and people.
fn line(seed: u64, report: &Report, ms: u64) -> String {
    let strikes: Vec<String> = report.strikes.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    let facts: Vec<String> = report.facts.iter().map(|(name, count)| format!("{name}={count}")).collect();
    format!(
        "seed {seed}: {} trace={:016x}/{} simulated_ms={} took_ms={ms} nodes={} index={} answered={} unknown={} undecided={} | {} | {}",
        if report.violations.is_empty() { "ok" } else { "VIOLATION" },
        report.trace.0,
        report.trace.1,
        report.simulated_ms,
        report.nodes,
        report.index,
        report.answered,
        report.unknown,
        report.undecided.len(),
        strikes.join("|"),
        facts.join("|")
    )
}

#[derive(Default)]
struct Sums {
    runs: u64,
    failed: Vec<u64>,
    numbers: BTreeMap<String, u64>,
    strikes: BTreeMap<String, (u64, u64)>,
    facts: BTreeMap<String, u64>,
}

impl Sums {
    fn add(&mut self, seed: u64, output: &str, is_ok: bool) {
        self.runs += 1;
        if !is_ok {
            self.failed.push(seed);
        }
        let mut parts = output.lines().next().unwrap_or_default().split(" | ");
        let mut next = || parts.next().unwrap_or_default();
        let (head, strikes, facts) = (next(), next(), next());
        for (name, number) in head.split(' ').filter_map(|word| word.split_once('=')) {
            *self.numbers.entry(name.to_owned()).or_default() += number.parse::<u64>().unwrap_or(0);
        }
        for (kind, count) in strikes.split('|').filter_map(|word| word.split_once('=')) {
            let (runs, times) = self.strikes.entry(kind.to_owned()).or_default();
            *runs += 1;
            *times += count.parse::<u64>().unwrap_or(0);
        }
        for (name, count) in facts.split('|').filter_map(|word| word.split_once('=')) {
            *self.facts.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap_or(0);
        }
    }
}

/// Makes many runs, each in a process of its own.
fn many(given: &Given, print: &mut dyn FnMut(&str)) -> Result<bool, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut sums = Sums::default();
    let mut next = given.from;
    let end = given.from + given.seeds;
    let mut running: Vec<(u64, Child)> = Vec::new();
    while next < end || !running.is_empty() {
        while running.len() < given.jobs && next < end {
            let mut command = Command::new(&program);
            command.args(["--one", &next.to_string()]);
            command.args(&given.passed);
            let child = command.stdout(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
            running.push((next, child));
            next += 1;
        }
        // The oldest one first: its output is short, and waits in the pipe.
        let (seed, child) = running.remove(0);
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        sums.add(seed, &text, output.status.success());
        if !output.status.success() {
            print(text.trim_end());
            print(&format!("seed {seed} failed ({}): {}", output.status, repeat(given, seed)));
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            let rate = sums.runs as f64 / began.elapsed().as_secs_f64();
            print(&format!("{} of {} runs, {rate:.1} a second, {} failed", sums.runs, given.seeds, sums.failed.len()));
        }
    }
    Ok(summary(given, &sums, began.elapsed(), print))
}

/// The line that makes a run again.
fn repeat(given: &Given, seed: u64) -> String {
    let words = [&["cargo xtask sim --seeds 1 --from".to_owned(), seed.to_string()], &given.passed[..]].concat();
    let quoted = words.iter().map(|word| if word.contains(' ') && word.contains(':') { format!("'{word}'") } else { word.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

fn summary(given: &Given, sums: &Sums, took: Duration, print: &mut dyn FnMut(&str)) -> bool {
    let number = |name: &str| sums.numbers.get(name).copied().unwrap_or(0);
    let mut kinds: Vec<&str> = Kind::all().into_iter().map(Kind::name).collect();
    kinds.extend(BY_ITSELF);
    kinds.retain(|kind| *kind != NAMESPACE_DELETED || !given.options.no_namespaces);
    kinds.sort_unstable();
    kinds.dedup();
    print(&format!("{:<36} {:>8} {:>8}", "fault", "runs", "times"));
    let mut silent = Vec::new();
    for kind in kinds.iter().copied() {
        let (runs, times) = sums.strikes.get(kind).copied().unwrap_or_default();
        print(&format!("{kind:<36} {runs:>8} {times:>8}"));
        if times == 0 {
            silent.push(kind);
        }
    }
    for (name, count) in &sums.facts {
        print(&format!("{name:<36} tried on {count} facts"));
    }
    let seconds = took.as_secs_f64();
    print(&format!(
        "{} runs in {seconds:.0} s ({:.1} a second): {:.1} simulated hours, {} answers, {} calls without one, {} parts undecided, {} kinds of faults, {} failed",
        sums.runs,
        sums.runs as f64 / seconds,
        number("simulated_ms") as f64 / 3_600_000.0,
        number("answered"),
        number("unknown"),
        number("undecided"),
        kinds.len() - silent.len(),
        sums.failed.len()
    ));
    for seed in &sums.failed {
        print(&format!("failed: {}", repeat(given, *seed)));
    }
    let is_harness_sound = silent.is_empty() || given.seeds < ALL_KINDS_BY;
    if !is_harness_sound {
        print(&format!("these faults never struck, which is a fault of the harness: {}", silent.join(", ")));
    }
    sums.failed.is_empty() && is_harness_sound
}

const TELL_EVERY: Duration = Duration::from_secs(10);
/// So many runs meet every kind.
const ALL_KINDS_BY: u64 = 300;
const HELP: &str = "\
cargo xtask sim [--seeds N] [--from SEED] [--jobs N] [--show]

  --seeds N    how many runs (100); with 1 it is made in this process
  --from SEED  the seed of the first one (1); each next one has the next
  --jobs N     how many at a time (2)
  --show       tell on standard error what happens (with one run)
  --trace      tell every event, to compare two runs, and what RUST_LOG asks for (with one run)
  --nodes N    so many nodes at first, instead of 3 or 5
  --only FAULT,FAULT
               these faults alone, instead of some
  --no-namespaces
               the root namespace alone
  --leads-again
               no faults by chance: a leader is cut off, let back, and leads again
  --overtakes  no faults by chance: a follower has more on its disk than the leader
  --disks-lie, --votes-forgotten, --fence-lost, --answers-early
               put a fault into all disks or all nodes that must be found";
