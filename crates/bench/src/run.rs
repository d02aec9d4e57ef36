//! A run from its beginning to its report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use aumbry_types::{Entropy as _, SecretBytes, SystemEntropy};
use tokio::task::JoinSet;

use crate::load::{Load, prepare};
use crate::metrics::fsyncs;
use crate::pacer::Schedule;
use crate::process::{Usage, own_cpu};
use crate::report::{Costs, Latencies};
use crate::sequence::{Operation, Sequence};
use crate::{Error, Loop, Plan, Report, target};

/// What is told while a run goes on.
#[derive(Debug, Clone, Copy)]
pub enum Progress {
    /// So many keys of so many are written.
    Prepared {
        /// So many.
        written: u64,
        /// Of so many.
        keys: u64,
    },
}

/// Makes a run. With `tell` all keys are written first, and it is told how many are. Needs a runtime of one thread: more would only
/// take processors from the servers.
///
/// # Errors
/// [`Error`] if the run could not be made. Requests that fail are counted in the report.
pub async fn run(
    plan: &Plan,
    token: &SecretBytes,
    tell: Option<&mut dyn FnMut(Progress)>,
) -> Result<Option<Report>, Error> {
    plan.check()?;
    for pid in &plan.pids {
        Usage::of(*pid).ok_or(Error::Process(*pid))?;
    }
    fsyncs(&plan.metrics).await?;
    let mut number = [0; 8];
    SystemEntropy.fill(&mut number);
    let links = target::links(plan, token, u64::from_le_bytes(number)).await?;
    let load = Arc::new(Load::new(links, Sequence::new(plan.mix, plan.keys), plan.timeout));
    if let Some(tell) = tell {
        let keys = plan.keys;
        let mut tell = |written| tell(Progress::Prepared { written, keys });
        prepare(&load, keys, plan.concurrency, &mut tell).await?;
    }
    if plan.duration.is_zero() {
        return Ok(None);
    }
    measure(plan, &load).await.map(Some)
}

async fn measure(plan: &Plan, load: &Arc<Load>) -> Result<Report, Error> {
    let mut workers = JoinSet::new();
    let schedule = match plan.pace {
        Loop::Closed => None,
        Loop::Open { rate } => Some(Schedule {
            begin: Instant::now(),
            rate,
        }),
    };
    for worker in 0..plan.concurrency {
        match schedule {
            None => workers.spawn(Arc::clone(load).closed(worker)),
            Some(schedule) => workers.spawn(Arc::clone(load).open(worker, schedule)),
        };
    }
    let pacer = schedule.map(|schedule| {
        let load = Arc::clone(load);
        tokio::spawn(async move { schedule.keep(&load.permits).await })
    });
    tokio::time::sleep(plan.warmup).await;
    let before = Sample::take(plan).await?;
    let begin = Instant::now();
    load.tally().begin(begin);
    tokio::time::sleep(plan.duration).await;
    let end = Instant::now();
    load.tally().end(end);
    let after = match schedule {
        None => {
            load.stop();
            Sample::finish(plan, &before).await?
        }
        Some(schedule) => {
            let after = Sample::finish(plan, &before).await?;
            // What was due in the window is sent, if late: else the slowest would be left out. The schedule goes on meanwhile.
            let deadline = end + OVERDUE;
            while load.next.load(Ordering::Relaxed) < schedule.due(end) && Instant::now() < deadline {
                tokio::time::sleep(LOOK).await;
            }
            load.stop();
            after
        }
    };
    let unsent = schedule.map_or(0, |schedule| unsent(schedule, load, end));
    if let Some(pacer) = pacer {
        pacer.abort();
        // It ends by itself only if the system refused it a timer.
        if let Ok(Err(error)) = pacer.await {
            return Err(error.into());
        }
    }
    // Each has a timeout, so this ends.
    workers.join_all().await;
    Ok(report(plan, load, end - begin, unsent, after))
}

/// How many requests of the window were due and not taken up.
fn unsent(schedule: Schedule, load: &Load, end: Instant) -> u64 {
    let (due, taken) = (schedule.due(end), load.next.load(Ordering::Relaxed));
    let tally = load.tally();
    let is_of_window = |n: &u64| tally.holds(schedule.at(*n));
    (taken..due).filter(is_of_window).count() as u64
}

fn report(plan: &Plan, load: &Load, duration: Duration, unsent: u64, costs: Costs) -> Report {
    let mut tally = load.tally();
    let all = tally.all();
    let mut operations = Vec::new();
    for operation in Operation::ALL {
        if let Some(latencies) = tally.latencies[operation as usize].take() {
            operations.push((operation.name(), latencies));
        }
    }
    Report {
        plan: plan.clone(),
        duration,
        answered: tally.answered,
        replies: tally.replies,
        unsent,
        errors: core::mem::take(&mut tally.errors),
        errors_outside: core::mem::take(&mut tally.errors_outside),
        costs,
        latencies: Latencies {
            all,
            operations,
            delays: tally.delays.clone(),
        },
    }
}

/// What everybody has used so far.
struct Sample {
    fsyncs: Option<u64>,
    processes: Vec<Option<Usage>>,
    own: Duration,
}

impl Sample {
    /// Before the window: the metrics first, as they take time to come.
    async fn take(plan: &Plan) -> Result<Self, Error> {
        let fsyncs = fsyncs(&plan.metrics).await?;
        Ok(Self {
            fsyncs,
            processes: processes(plan),
            own: own_cpu(),
        })
    }

    /// After the window: the processes first.
    async fn finish(plan: &Plan, before: &Self) -> Result<Costs, Error> {
        let (own, processes) = (own_cpu(), processes(plan));
        let mut costs = Costs {
            generator_cpu: own.saturating_sub(before.own),
            ..Costs::default()
        };
        match (fsyncs(&plan.metrics).await, before.fsyncs) {
            (Ok(Some(after)), Some(before)) => costs.fdatasyncs = after.checked_sub(before),
            (Err(error), _) => costs.notes.push(format!("fdatasyncs are not known: {error}")),
            (Ok(_), _) if plan.metrics.is_empty() => {}
            (Ok(_), _) => costs
                .notes
                .push("these servers' metrics do not count fdatasyncs".to_owned()),
        }
        if plan.pids.is_empty() {
            return Ok(costs);
        }
        let pairs = || before.processes.iter().zip(&processes);
        let cpu = |(before, after): (&Option<Usage>, &Option<Usage>)| after.as_ref()?.cpu_since(before.as_ref()?);
        costs.cpu = pairs().map(cpu).sum();
        let written = |(before, after): (&Option<Usage>, &Option<Usage>)| {
            after.as_ref()?.write_bytes?.checked_sub(before.as_ref()?.write_bytes?)
        };
        costs.write_bytes = pairs().map(written).sum();
        costs.rss_bytes = processes.iter().map(|usage| Some(usage.as_ref()?.rss_bytes)).sum();
        if costs.cpu.is_none() {
            costs
                .notes
                .push("a process of --pids ended during the run, so its costs are not known".to_owned());
        } else if costs.write_bytes.is_none() {
            costs
                .notes
                .push("bytes written are not known: only root may read /proc/PID/io of a server".to_owned());
        }
        Ok(costs)
    }
}

fn processes(plan: &Plan) -> Vec<Option<Usage>> {
    plan.pids.iter().map(|pid| Usage::of(*pid)).collect()
}

/// A second of backlog is a stall; more is a rate that the servers cannot keep, and sending it all would double the run.
const OVERDUE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);
