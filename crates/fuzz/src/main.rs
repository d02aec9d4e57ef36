//! Runs one target for as long as it is told. `cargo xtask fuzz` builds it with counters, starts it for each target, and keeps what it leaves.
//!
//! What it guarantees: before an input is tried it stands in the file `current`, so that what ends the whole process is known too.
//! What it does not do: go on after a finding.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aumbry_fuzz::{Coverage, Done, Engine, TARGETS, Target, Until, attempt, corpus, hash, on_small_stack};
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["list"] => {
            for target in TARGETS {
                println!("{}", target.name);
            }
            Ok(ExitCode::SUCCESS)
        }
        ["try", target, file] => find(target).and_then(|target| try_one(target, Path::new(file))),
        ["run", target, seconds, seed, folder, keep] => {
            find(target).and_then(|target| run(target, seconds, seed, Path::new(folder), keep == "keep"))
        }
        _ => {
            eprintln!("use `cargo xtask fuzz`");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("fuzz: {error:#}");
        ExitCode::FAILURE
    })
}

fn find(name: &str) -> Result<&'static Target> {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.with_context(|| format!("there is no target {name}; `cargo xtask fuzz --list` names them"))
}

/// One input, as a failure is repeated.
fn try_one(target: &Target, file: &Path) -> Result<ExitCode> {
    let input = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    match on_small_stack(|| attempt(target, &input)) {
        Ok(verdict) => {
            println!("{}: {} bytes: {verdict:?}", target.name, input.len());
            Ok(ExitCode::SUCCESS)
        }
        Err(message) => {
            println!("{}: {} bytes: FAILED: {message}", target.name, input.len());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn run(target: &Target, seconds: &str, seed: &str, folder: &Path, keeps: bool) -> Result<ExitCode> {
    let seconds: f64 = seconds.parse().context("the number of seconds")?;
    let seed: u64 = seed.parse().context("the seed")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let current = Current::new(folder.join(format!("{}.current", target.name)))?;
    on_small_stack(|| {
        for bomb in (target.bombs)() {
            current.note(&bomb)?;
            if let Err(message) = attempt(target, &bomb) {
                return failed(target, folder, &bomb, &message, seed);
            }
        }
        let coverage = Coverage::of_this_process().context("cannot read the counters of this process")?;
        let mut engine = Engine::new(target, seed, corpus(target), coverage);
        let mut progress = Progress::new(target.name);
        let executions = Arc::new(AtomicU64::new(0));
        watch(Arc::clone(&executions));
        let ran = engine.run(Until::Elapsed(Duration::from_secs_f64(seconds)), |input, done| {
            // A run goes on if this fails: then a crash is known by its seed alone.
            let _ = current.note(input);
            executions.fetch_add(1, Ordering::Relaxed);
            progress.tell(done);
        });
        match ran {
            Ok(done) => {
                println!("{}", progress.line(&done, "done"));
                if keeps {
                    keep(target, &engine.distilled())?;
                }
                current.remove();
                Ok(ExitCode::SUCCESS)
            }
            Err(finding) => {
                println!("{}: execution {}", target.name, finding.execution);
                current.remove();
                failed(target, folder, &finding.input, &finding.message, seed)
            }
        }
    })
}

/// Ends the process if one input takes for ever. Time of the processor counts: the process may be stopped for a while.
fn watch(executions: Arc<AtomicU64>) {
    thread::spawn(move || {
        let (mut last, mut since) = (0, cpu_time());
        loop {
            thread::sleep(LOOK_EVERY);
            let now = executions.load(Ordering::Relaxed);
            if now != last {
                (last, since) = (now, cpu_time());
            } else if cpu_time().saturating_sub(since) > ENDLESS {
                println!("one input has taken {ENDLESS:?} of processor time");
                std::process::abort();
            }
        }
    });
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Keeps the input and tells how it is tried again.
fn failed(target: &Target, folder: &Path, input: &[u8], message: &str, seed: u64) -> Result<ExitCode> {
    let path = folder.join(format!("{}-{}", target.name, hash(input)));
    fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}: FAILED (seed {seed}): {message}", target.name);
    println!("repeat it: cargo xtask fuzz {} --input {}", target.name, path.display());
    Ok(ExitCode::FAILURE)
}

/// The smallest inputs that reach as much as all do, but for those that the repository is too small for.
fn keep(target: &Target, inputs: &[Vec<u8>]) -> Result<()> {
    if inputs.is_empty() {
        bail!("{} reached nothing: the program has no counters", target.name);
    }
    let small = inputs
        .iter()
        .map(Vec::as_slice)
        .filter(|input| input.len() <= KEPT_BYTES_MAX);
    Ok(aumbry_fuzz::keep(target, small.take(KEPT_MAX))?)
}

/// The file that holds the input that is being tried.
struct Current {
    path: PathBuf,
    file: File,
}

impl Current {
    fn new(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path, file })
    }

    /// Its length in front, because the file is not cut each time.
    fn note(&self, input: &[u8]) -> Result<()> {
        let noted = [&(input.len() as u64).to_be_bytes(), input].concat();
        Ok(self.file.write_all_at(&noted, 0)?)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells now and then how far a run is.
struct Progress {
    name: &'static str,
    started: Instant,
    told: Instant,
    looks: u32,
}

impl Progress {
    fn new(name: &'static str) -> Self {
        let now = Instant::now();
        Self {
            name,
            started: now,
            told: now,
            looks: 0,
        }
    }

    fn tell(&mut self, done: &Done) {
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(64) && self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            println!("{}", self.line(done, "runs"));
        }
    }

    fn line(&self, done: &Done, state: &str) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        format!(
            "{:<16} {state} {seconds:>6.1} s  {:>10} executions  {:>8.0}/s  {:>5.1} % accepted  {:>5} inputs  {:>6} edges",
            self.name,
            done.executions,
            done.executions as f64 / seconds.max(0.001),
            100.0 * done.accepted as f64 / done.executions.max(1) as f64,
            done.corpus,
            done.edges
        )
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const ENDLESS: Duration = Duration::from_secs(60);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The repository stays small; what is not kept is found again in minutes.
const KEPT_MAX: usize = 64;
const KEPT_BYTES_MAX: usize = 1 << 10;
