//! One round: a fresh cluster, clients that ask all the while, faults, healing, last reads, and the verdict.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aumbry_types::SecretBytes;
use serde::{Deserialize, Serialize};

use super::bed::{Bed, Way};
use super::clients::Clients;
use super::faults::Fault;
use super::limits::Cgroup;
use super::outcome::{Outcome, Violation, Void, outcome_of};
use super::patience::within;
use super::scenarios::Scenario;
use super::verdict::{self, Figures};
use crate::damage::Dice;

/// What is at work in a round.
pub(crate) struct Round {
    pub(crate) bed: Bed,
    pub(crate) clients: Clients,
    pub(crate) dice: Dice,
    /// Whether no other fault is at work.
    pub(crate) is_alone: bool,
    /// Directions that are cut.
    pub(crate) cuts: Vec<(usize, usize)>,
    /// What nodes may take of memory.
    pub(crate) cgroups: Vec<Cgroup>,
    /// Nodes that may not open more files.
    pub(crate) limited: Vec<usize>,
    struck: BTreeMap<String, u64>,
    schedule: Vec<String>,
    begun: Instant,
}

/// What became of a round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) scenario: String,
    pub(crate) seed: u64,
    pub(crate) outcome: Outcome,
    /// What is wrong, if something is.
    pub(crate) text: String,
    /// How many operations were answered.
    pub(crate) answered: u64,
    /// How many were asked.
    pub(crate) asked: u64,
    /// How many records the audit log had at the end.
    pub(crate) records: u64,
    /// How many uses of tokens were counted again for one request.
    pub(crate) repeated: u64,
    /// How often each fault struck.
    pub(crate) struck: BTreeMap<String, u64>,
    /// Reasons of failures, and how often.
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) seconds: u64,
}

impl Report {
    /// Of a round of which nothing else is known.
    pub(crate) fn broken(scenario: &str, seed: u64, text: String) -> Self {
        Self {
            scenario: scenario.to_owned(),
            seed,
            outcome: Outcome::Broken,
            text,
            answered: 0,
            asked: 0,
            records: 0,
            repeated: 0,
            struck: BTreeMap::new(),
            failures: BTreeMap::new(),
            seconds: 0,
        }
    }
}

impl Round {
    /// Runs one in this directory, and keeps there what it wrote. The report is there, too.
    pub(crate) async fn run(scenario: &Scenario, seed: u64, directory: &Path) -> Result<Report> {
        let begun = Instant::now();
        let mut dice = Dice::seeded(seed);
        let shape = scenario.shape(&mut dice);
        let mut report = Report::broken(scenario.name, seed, String::new());
        let result = async {
            let bed = Bed::start(shape, directory).await.context("starting the cluster")?;
            let clients = Clients::start(bed.reach(), scenario.clients, scenario.pad, &mut dice).await?;
            let mut round = Self {
                bed,
                clients,
                dice,
                is_alone: true,
                cuts: Vec::new(),
                cgroups: Vec::new(),
                limited: Vec::new(),
                struck: BTreeMap::new(),
                schedule: vec![format!("{shape:?}")],
                begun,
            };
            let result = round.torture(scenario).await;
            let recorder = round.clients.recorder();
            let history = recorder.history();
            report.answered = recorder.answered();
            report.asked = history.events().len() as u64;
            report.failures = recorder.failures();
            report.struck = round.struck.clone();
            std::fs::write(directory.join("schedule"), round.schedule.join("\n") + "\n")?;
            if result.is_err() {
                history.write_lines(std::fs::File::create(directory.join("history.jsonl"))?)?;
            }
            result
        }
        .await;
        if let Ok(figures) = &result {
            (report.records, report.repeated) = (figures.records, figures.repeated);
        }
        report.outcome = result.as_ref().err().map_or(Outcome::Passed, outcome_of);
        report.text = result.err().map(|error| format!("{error:#}")).unwrap_or_default();
        report.seconds = begun.elapsed().as_secs();
        std::fs::write(directory.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
        Ok(report)
    }

    async fn torture(&mut self, scenario: &Scenario) -> Result<Figures> {
        self.clients.go_on(WARM).await.context("before the first fault")?;
        let first = scenario.first_turn(&mut self.dice);
        for turn in first..first + scenario.strikes {
            let together = 1 + self.dice.below(scenario.together);
            self.is_alone = together == 1;
            for _ in 0..together {
                let fault = scenario.fault(turn, &mut self.dice, self.bed.shape);
                let begun = fault.begin(self).await;
                begun.with_context(|| format!("fault {turn}, {fault:?}"))?;
            }
            self.hold(HOLD_MS).await;
            self.heal().await.map_err(Violation::of("after the heal"))?;
            let goes_on = self.clients.go_on(WARM).await;
            goes_on.map_err(Violation::of("clients are not served after the heal"))?;
        }
        let answered = self.clients.recorder().answered();
        let enough = self.clients.go_on(ANSWERED_MIN.saturating_sub(answered)).await;
        enough.map_err(|error| Void(format!("too few operations: {error:#}")))?;
        self.clients.end().await?;
        verdict::check(&self.bed, &self.clients).await
    }

    /// Counts a fault that was seen to strike.
    pub(crate) fn struck(&mut self, fault: &str, how: &str) {
        *self.struck.entry(fault.to_owned()).or_default() += 1;
        self.note(&format!("{fault}: {how}"));
    }

    /// Writes down what was done.
    pub(crate) fn note(&mut self, what: &str) {
        let at = self.begun.elapsed().as_millis();
        let answered = self.clients.recorder().answered();
        self.schedule.push(format!("{at} ms, {answered} answered: {what}"));
    }

    /// Lets what is at work go on for some time, at most so many milliseconds.
    pub(crate) async fn hold(&mut self, ms_max: u64) {
        let ms = ms_max / 5 + self.dice.below(ms_max * 4 / 5);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Ends all faults: everything runs, is open, and is reached, and each node answers.
    pub(crate) async fn heal(&mut self) -> Result<()> {
        self.note("heal");
        let members = self.bed.members();
        let running: Vec<usize> = members.iter().copied().filter(|at| self.is_running(*at)).collect();
        if !running.is_empty() {
            self.bed.signal(&running, "CONT")?;
        }
        for (from, to) in std::mem::take(&mut self.cuts) {
            self.bed.route(from, to, Way::Open)?;
        }
        if let Some(links) = &self.bed.links {
            links.heal();
        }
        self.raise_limits()?;
        for at in &members {
            if let Some(volume) = &self.bed.slots[*at].volume {
                volume.free_up()?;
            }
            if self.bed.shape.syncs.is_some() {
                self.bed.forget_syncs(*at);
            }
            if self.bed.shape.has_clocks {
                self.bed.set_clock(*at, "+0")?;
            }
        }
        for at in &members {
            self.start_if_down(*at).await?;
        }
        // What was slow to end, like a process that failed while it was stopped.
        for at in &members {
            self.bed.unseal(*at).await?;
        }
        for at in &members {
            let slot = &mut self.bed.slots[*at];
            slot.may_end = false;
            let bed = &self.bed;
            let answers = within("a node answers", || async { bed.status(*at).await.is_ok() }).await;
            answers.with_context(|| format!("node {}", at + 1))?;
        }
        self.note("healed");
        Ok(())
    }

    /// Whether a node's process is there. It may be stopped.
    fn is_running(&mut self, at: usize) -> bool {
        let server = &mut self.bed.slots[at].server;
        server.process().is_some() && !server.has_ended()
    }

    async fn start_if_down(&mut self, at: usize) -> Result<()> {
        let may_end = self.bed.slots[at].may_end;
        if may_end && self.is_running(at) {
            // It may be about to end: what was done to it is over, so that it answers, or has ended.
            let client = self.bed.slots[at].server.client_as(SecretBytes::default())?;
            let slot = std::sync::Mutex::new(&mut self.bed.slots[at]);
            within("a node answers or has ended", || async {
                slot.lock().is_ok_and(|mut slot| slot.server.has_ended()) || client.health(None).await.is_ok()
            })
            .await?;
        }
        let slot = &mut self.bed.slots[at];
        if slot.server.has_ended() {
            let log = slot.server.log();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            if !may_end {
                let text = format!("node {} ended by itself: {}", at + 1, last.join(" | "));
                return Err(Violation(text).into());
            }
            let line = format!("node {} had ended: {}", at + 1, last.first().unwrap_or(&""));
            self.note(&line);
            self.bed.slots[at].server.kill()?;
        }
        if self.bed.slots[at].server.process().is_none() {
            self.bed.run(at).await?;
        }
        Ok(())
    }
}

impl Fault {
    /// Injects it, and waits until it has struck.
    pub(crate) async fn begin(self, round: &mut Round) -> Result<()> {
        round.note(&format!("{self:?}"));
        self.strike(round).await
    }
}

/// Operations that are answered before a fault, and after it.
const WARM: u64 = 60;
/// Below it a round shows nothing.
const ANSWERED_MIN: u64 = 300;
/// How long faults last, at most.
const HOLD_MS: u64 = 3_000;
