//! Runs a target: over its corpus, and over changes of it. With coverage it keeps what reached new code, without it only the seed decides.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::coverage::Coverage;
use crate::mutate::mutate;
use crate::random::Random;
use crate::{Target, Verdict};

/// An input that the target does not stand.
#[derive(Debug)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What went wrong, and where.
    pub message: String,
    /// How many inputs were tried before it.
    pub execution: u64,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// How many inputs were tried.
    pub executions: u64,
    /// How many of them were decoded.
    pub accepted: u64,
    /// How many inputs the corpus has.
    pub corpus: usize,
    /// How many edges of the code were reached; 0 without coverage.
    pub edges: usize,
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many inputs.
    Executions(u64),
    /// After so long.
    Elapsed(Duration),
}

/// A run of one target.
pub struct Engine<'a> {
    target: &'a Target,
    random: Random,
    corpus: Vec<Vec<u8>>,
    coverage: Option<Coverage>,
    done: Done,
}

impl<'a> Engine<'a> {
    /// Begins with this corpus.
    #[must_use]
    pub fn new(target: &'a Target, seed: u64, corpus: Vec<Vec<u8>>, coverage: Option<Coverage>) -> Self {
        Self {
            target,
            random: Random::new(seed),
            corpus,
            coverage,
            done: Done::default(),
        }
    }

    /// Tries the corpus, and then changes of it. `watch` is told before each input and can note it down, and gets the numbers so far.
    ///
    /// # Errors
    /// The first [`Finding`], which ends the run.
    pub fn run(&mut self, until: Until, mut watch: impl FnMut(&[u8], &Done)) -> Result<Done, Box<Finding>> {
        let started = Instant::now();
        if self.corpus.is_empty() {
            self.corpus.push(Vec::new());
        }
        for input in self.corpus.clone() {
            self.execute(&input, &mut watch)?;
        }
        let mut input = Vec::new();
        loop {
            let is_over = match until {
                Until::Executions(executions) => self.done.executions >= executions,
                // A look at the clock costs as much as decoding a few bytes.
                Until::Elapsed(limit) => self.done.executions.is_multiple_of(64) && started.elapsed() >= limit,
            };
            if is_over {
                return Ok(self.done);
            }
            let base = self.choose();
            let other = self.random.below(self.corpus.len());
            input.clone_from(&self.corpus[base]);
            mutate(&mut input, &self.corpus[other], self.target, &mut self.random);
            if self.execute(&input, &mut watch)? {
                self.corpus.push(input.clone());
            }
        }
    }

    /// The smallest part of the corpus that still reaches what all of it reached. Everything, without coverage.
    #[must_use]
    pub fn distilled(&mut self) -> Vec<Vec<u8>> {
        let mut all = self.corpus.clone();
        all.sort_by_key(Vec::len);
        let Some(coverage) = &mut self.coverage else {
            return all;
        };
        coverage.forget();
        let mut kept = Vec::new();
        for input in all {
            coverage.clear();
            let _ = (self.target.run)(&input);
            if coverage.collect() > 0 {
                kept.push(input);
            }
        }
        kept
    }

    /// One half of the time one of the newest: they reach what is known least.
    fn choose(&mut self) -> usize {
        let all = self.corpus.len();
        let newest = all.div_ceil(4);
        match self.random.one_in(2) {
            true => all - 1 - self.random.below(newest),
            false => self.random.below(all),
        }
    }

    /// Whether the input reached something new.
    fn execute(&mut self, input: &[u8], watch: &mut impl FnMut(&[u8], &Done)) -> Result<bool, Box<Finding>> {
        self.done.corpus = self.corpus.len();
        watch(input, &self.done);
        if let Some(coverage) = &mut self.coverage {
            coverage.clear();
        }
        let verdict = attempt(self.target, input).map_err(|message| Finding {
            input: input.to_vec(),
            message,
            execution: self.done.executions,
        })?;
        self.done.executions += 1;
        self.done.accepted += u64::from(verdict == Verdict::Accepted);
        let Some(coverage) = &mut self.coverage else {
            return Ok(false);
        };
        let found = coverage.collect();
        self.done.edges = coverage.edges();
        Ok(found > 0)
    }
}

/// Runs the target on one input.
///
/// # Errors
/// What went wrong: a panic, or too much time.
pub fn attempt(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    let started = Instant::now();
    let verdict = caught(target, input)?;
    if started.elapsed() > target.time_max {
        // The machine may have been busy with something else: what counts is the time of the processor.
        let before = cpu_time();
        let _ = caught(target, input);
        let took = cpu_time().saturating_sub(before);
        if took > target.time_max {
            let (length, time_max) = (input.len(), target.time_max);
            return Err(format!(
                "{length} bytes took {took:?}, at most {time_max:?} are allowed"
            ));
        }
    }
    Ok(verdict)
}

/// A panic of the target is a result.
fn caught(target: &Target, input: &[u8]) -> Result<Verdict, String> {
    catch_messages();
    MESSAGE.set(Some(String::new()));
    let attempted = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let message = MESSAGE.take().unwrap_or_default();
    attempted.map_err(|_| message)
}

/// Runs on a thread with a stack as small as the smallest on which the server decodes, so that recursion shows.
///
/// # Panics
/// If the thread cannot be started, or what it runs panics.
pub fn on_small_stack<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, run);
        let joined = thread.expect("a thread can be started").join();
        joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
    })
}

thread_local! {
    /// The message of a panic; there only while the target runs.
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics of a target are not shown, all others as ever.
fn catch_messages() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if MESSAGE.with_borrow(Option::is_some) {
                MESSAGE.set(Some(info.to_string().replace('\n', " ")));
            } else {
                shown(info);
            }
        }));
    });
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Of tokio's worker threads.
const STACK_BYTES: usize = 2 << 20;
