//! One run: a seed, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use aumbry_checker::invariants::{self, Acceptance, Breach, Ended, Heal, Limits, Progress};
use aumbry_checker::oracle::{self, Rule};
use aumbry_checker::Budget;
use aumbry_sim_world::rng::Rng;
use aumbry_sim_world::strikes::Strikes;
use aumbry_sim_world::{HostId, now_ms, strikes, trace};
use aumbry_state::Consensus as _;

use crate::client::{self, Work};
use crate::cluster::{CLIENT_HOSTS, Cluster};
use crate::faults::Kind;
use crate::nemesis::Nemesis;
use crate::observe::{self, Observer};
use crate::process::{self, Setting, Start, door};
use crate::schedule::Schedule;
use crate::{audit, custody, gateway, operator, tenants};

/// How a run is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether everything of interest is shown on standard error.
    pub shown: bool,
    /// Whether every single event is.
    pub traced: bool,
    /// A fault that is put in on purpose; it must be found.
    pub mutation: Option<Mutation>,
    /// The schedule to follow, instead of faults by chance.
    pub schedule: Option<Schedule>,
    /// How many nodes there are at first, instead of some number.
    pub nodes: Option<u64>,
    /// Whether there is the root namespace alone.
    pub no_namespaces: bool,
    /// The only kinds of faults that strike, instead of some.
    pub(crate) only: &'static [Kind],
}

/// A fault that is put in to see whether it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Every disk says that things are durable before they are.
    DisksLie,
    /// A node that ends forgets whom it voted for, and nothing notices that.
    VotesForgotten,
    /// What was planned in one leadership is proposed in the next one that the node has.
    FenceLost,
    /// An answer does not wait for the quorum if that takes long.
    AnswersEarly,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was wrong; nothing is a pass.
    pub violations: Vec<String>,
    /// The hash of everything that happened, and the number of events.
    pub trace: (u64, u64),
    /// How long it was, in simulated milliseconds.
    pub simulated_ms: u64,
    /// How often each kind of fault struck.
    pub strikes: Strikes,
    /// How many answers clients got, and how many calls stayed without one.
    pub answered: u64,
    /// Calls whose outcome nobody knows.
    pub unknown: u64,
    /// The last log index.
    pub index: u64,
    /// What the checker could not decide.
    pub undecided: Vec<String>,
    /// How many nodes there were at first.
    pub nodes: u64,
    /// On how many facts each property was tried.
    pub facts: BTreeMap<&'static str, u64>,
}

/// Makes one run.
#[must_use]
pub fn run(seed: u64, options: Options) -> Report {
    let directory = scratch().join(format!("aumbry-sim-{}-{seed}", std::process::id()));
    // What an earlier process of the same number left.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a temporary directory can be made");
    begin(seed, options);
    let mut run = Run::new(seed, directory.clone(), options);
    run.make();
    let report = run.report();
    let _ = std::fs::remove_dir_all(&directory);
    report
}

/// Where the small files of nodes are: in memory if that can be, as syncs of them would take half of the time.
fn scratch() -> PathBuf {
    let memory = PathBuf::from(MEMORY);
    match std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
        true => memory,
        false => std::env::temp_dir(),
    }
}

fn begin(seed: u64, options: Options) {
    aumbry_sim_world::begin(seed);
    process::reset();
    gateway::reset();
    operator::reset();
    observe::reset();
    if options.shown || options.traced {
        trace::show(options.traced);
    }
}

struct Run {
    cluster: Cluster,
    observer: Observer,
    work: Arc<Work>,
    rng: Rng,
    nemesis: Nemesis,
    schedule: Option<Schedule>,
    /// Whether there are other namespaces beside the root. Schedules have no use for them.
    has_tenants: bool,
    nodes: u64,
    undecided: Vec<String>,
    facts: BTreeMap<&'static str, u64>,
    /// The moment from which on everything is read for the last time.
    end: u64,
}

impl Run {
    fn new(seed: u64, directory: PathBuf, options: Options) -> Self {
        let mut rng = Rng::new(seed ^ 0x5117);
        let nodes = *rng.pick(&[3, 3, 3, 5]);
        let nodes = options.nodes.unwrap_or(nodes);
        let nemesis = Nemesis::new(rng.next(), options.only);
        process::set_up(Setting {
            snapshot_log_bytes: match nemesis.wants_snapshots() {
                true => SHORT_LOG_BYTES,
                false => *rng.pick(&[LOG_BYTES, LOG_BYTES, SHORT_LOG_BYTES]),
            },
            mutation: options.mutation,
        });
        let mut cluster = Cluster::new(directory);
        cluster.mutation = options.mutation;
        Self {
            cluster,
            observer: Observer::default(),
            work: Work::new(),
            rng,
            nemesis,
            schedule: options.schedule,
            has_tenants: !options.no_namespaces && options.schedule.is_none(),
            nodes,
            undecided: Vec::new(),
            facts: BTreeMap::new(),
            end: 0,
        }
    }

    fn make(&mut self) {
        if !self.set_up() {
            return;
        }
        self.work.set_nodes(self.cluster.hosts());
        match self.schedule {
            Some(schedule) => self.follow(schedule),
            None => self.harm(),
        }
        self.cluster.heal();
        if self.cluster.violations.is_empty() && self.converge() {
            self.finish();
        }
    }

    /// Clients work, and faults strike.
    fn harm(&mut self) {
        for client in &CLIENT_HOSTS[1..] {
            self.cluster.spawn(client::run(*client, Arc::clone(&self.work)));
        }
        if self.has_tenants {
            self.cluster.spawn(tenants::come_and_go(Arc::clone(&self.work)));
            self.cluster.spawn(tenants::look_across(Arc::clone(&self.work)));
        }
        self.cluster.spawn(custody::turn_keys(Arc::clone(&self.work)));
        let until = now_ms() + self.rng.between(CHAOS_MS_MIN, CHAOS_MS_MAX);
        self.nemesis.begin();
        while now_ms() < until && self.cluster.violations.is_empty() {
            self.nemesis.step(&mut self.cluster);
            self.step();
        }
        self.nemesis.end(&mut self.cluster);
    }

    /// What is known to show a fault happens, and nothing else.
    fn follow(&mut self, schedule: Schedule) {
        let done = Arc::new(AtomicBool::new(false));
        self.cluster.spawn(schedule.run(Arc::clone(&self.work), Arc::clone(&done)));
        if !self.wait(SCHEDULE_MS, |_| done.load(Ordering::Relaxed)) {
            self.complain("the schedule did not come about");
        }
    }

    fn step(&mut self) {
        self.cluster.step();
        for (host, start) in operator::take_starts() {
            self.cluster.start(host, start);
            self.work.set_nodes(self.cluster.hosts());
        }
        for host in operator::take_removed() {
            self.cluster.retire(host);
            self.work.set_nodes(self.cluster.hosts());
        }
        if now_ms().is_multiple_of(LOOK_EVERY_MS) {
            let hosts = self.cluster.hosts();
            self.observer.look(&hosts, &mut self.cluster.violations);
        }
    }

    /// Lets time pass until something is so, at most so long.
    fn wait(&mut self, limit_ms: u64, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        let until = now_ms() + limit_ms;
        while now_ms() < until && self.cluster.violations.is_empty() {
            if now_ms().is_multiple_of(LOOK_EVERY_MS) && is_so(self) {
                return true;
            }
            self.step();
        }
        false
    }

    fn set_up(&mut self) -> bool {
        let hosts: Vec<HostId> = (1..=self.nodes).collect();
        self.cluster.start(1, Start::First);
        self.cluster.spawn(operator::unseal_all());
        let work = self.has_tenants.then(|| Arc::clone(&self.work));
        self.cluster.spawn(operator::set_up(hosts, work));
        let is_up = self.wait(SET_UP_MS, |_| operator::is_ready());
        if !is_up {
            self.cluster.violations.push("the cluster was not set up in time".to_owned());
        }
        is_up
    }

    /// After the last fault every node serves again, and all have the same.
    fn converge(&mut self) -> bool {
        self.work.stops.store(true, Ordering::Relaxed);
        let healed = now_ms();
        let until = healed + CONVERGE_MS;
        let mut replaced = BTreeSet::new();
        while now_ms() < until && self.cluster.violations.is_empty() {
            for host in self.cluster.refused() {
                if replaced.insert(host) {
                    let next = self.cluster.next_host() + replaced.len() as u64;
                    let replacing = async move {
                        while !operator::remove(host).await {}
                        while !operator::add(next).await {}
                        true
                    };
                    self.cluster.spawn(operator::change(replacing, "damaged-node-replaced"));
                }
            }
            if now_ms().is_multiple_of(LOOK_EVERY_MS)
                && !operator::is_changing()
                && let Some(id) = self.stranger()
            {
                let removing = operator::change(operator::remove_stranger(id), "unknown-member-removed");
                self.cluster.spawn(removing);
            }
            if now_ms().is_multiple_of(LOOK_EVERY_MS) && !operator::is_changing() && self.is_same() {
                let at = Progress::At(now_ms());
                self.observer.observed.heals.push(Heal {
                    at: healed,
                    // A leader of all is there, and what it led with is applied by all.
                    served: at,
                    converged: at,
                });
                return true;
            }
            self.step();
        }
        let shown = self.shown();
        self.complain(&format!("progress after heal: the nodes do not come to the same: {shown}"));
        false
    }

    fn complain(&mut self, what: &str) {
        if self.cluster.violations.is_empty() {
            self.cluster.violations.push(what.to_owned());
        }
    }

    fn stranger(&self) -> Option<aumbry_types::NodeId> {
        let leader = observe::leader(&self.cluster.hosts())?;
        operator::stranger(&door(leader)?.member()?.raft.status().members)
    }

    /// Whether all nodes run, are open, vote, and have applied the same.
    fn is_same(&self) -> bool {
        let hosts = self.cluster.hosts();
        let mut applied = Vec::new();
        for host in &hosts {
            let Some(member) = door(*host).and_then(|door| door.member()) else {
                return false;
            };
            let status = member.raft.status();
            if !member.node.is_unsealed() || status.members.len() != hosts.len() || status.leader.is_none() {
                return false;
            }
            if status.members.iter().any(|member| !member.voter) {
                return false;
            }
            applied.push((status.applied, status.digest));
        }
        applied.iter().all(|one| *one == applied[0]) && observe::leader(&hosts).is_some()
    }

    fn shown(&self) -> String {
        let hosts = self.cluster.hosts();
        let each = hosts.iter().map(|host| {
            let Some(member) = door(*host).and_then(|door| door.member()) else {
                return format!("{host}: not running");
            };
            let status = member.raft.status();
            let voters = status.members.iter().filter(|member| member.voter).count();
            format!(
                "{host}: term {} leader {:?} applied {} last {} members {}/{voters} unsealed {}",
                status.term.0,
                status.leader.map(|leader| leader.0),
                status.applied.0,
                status.last_log.0,
                status.members.len(),
                member.node.is_unsealed()
            )
        });
        each.collect::<Vec<_>>().join("; ")
    }

    fn finish(&mut self) {
        let (work, done) = (Arc::clone(&self.work), Arc::new(AtomicBool::new(false)));
        self.end = work.now();
        self.cluster.spawn(client::read_all(CLIENT_HOSTS[1], work, Arc::clone(&done)));
        let mut is_read = self.wait(CONVERGE_MS, |_| done.load(Ordering::Relaxed));
        let rest = now_ms() + SETTLE_MS;
        while now_ms() < rest {
            self.step();
        }
        // After the rest: what was under way when the clients stopped is answered by then, and on record.
        let rows = audit::read_all(&self.cluster);
        is_read &= self.wait(CONVERGE_MS, |_| audit::is_done(&rows));
        if !is_read {
            self.complain("progress after heal: the last reads were not answered");
            return;
        }
        if !self.wait(CONVERGE_MS, Self::is_same) {
            let shown = self.shown();
            self.complain(&format!("progress after heal: the nodes do not come to the same again: {shown}"));
        }
        let slips = std::mem::take(&mut *self.work.slips.lock().unwrap_or_else(PoisonError::into_inner));
        self.cluster.violations.extend(slips);
        let history = self.work.whole_history();
        let mut observed = std::mem::take(&mut self.observer.observed);
        observed.records = audit::records(&rows);
        (observed.crossings, observed.remnants) = self.work.tenants().take_observed();
        (observed.sealed, observed.answers) = observe::sealed_and_answers();
        observed.ended = Ended::in_history(&history);
        observed.acceptances = Acceptance::in_history(&history);
        let limits = Limits {
            budget: BUDGET,
            end: self.end,
            token_bound: 0,
            heal_bound: CONVERGE_MS,
        };
        for judged in invariants::all(&history, &observed, limits) {
            trace::tell(&judged.to_string());
            self.facts.insert(judged.name, judged.facts as u64);
            for breach in judged.breaches {
                match breach {
                    Breach::Broken(text) => self.cluster.violations.push(format!("{}: {text}", judged.name)),
                    Breach::NotShown(text) => self.undecided.push(format!("{}: {text}", judged.name)),
                }
            }
        }
        let others = oracle::all(&history).into_iter().filter(|finding| {
            // The others are judged above.
            matches!(
                finding.rule,
                Rule::LogFollowsTime | Rule::ListsAreMoments | Rule::VersionsRise | Rule::CasMakesTheNext
            )
        });
        self.cluster.violations.extend(others.map(|finding| finding.to_string()));
        if !self.cluster.violations.is_empty() {
            audit::tell(&rows);
        }
    }

    fn report(self) -> Report {
        let index = self.observer.highest;
        let Self {
            cluster,
            work,
            nodes,
            undecided,
            facts,
            ..
        } = self;
        let mut cluster = cluster;
        let violations = std::mem::take(&mut cluster.violations);
        drop(cluster);
        Report {
            violations,
            trace: trace::hash(),
            simulated_ms: now_ms(),
            strikes: strikes::all(),
            answered: work.answered.load(Ordering::Relaxed),
            unknown: work.unknown.load(Ordering::Relaxed),
            index,
            undecided,
            nodes,
            facts,
        }
    }
}

/// A cluster of seven with short times is up in a tenth of this.
const SET_UP_MS: u64 = 60_000;
/// A log of three seconds.
const LOG_BYTES: u64 = 60_000;
/// Who is away for a second or two needs a snapshot.
const SHORT_LOG_BYTES: u64 = 4_000;
const MEMORY: &str = "/dev/shm";
/// A schedule is of seconds.
const SCHEDULE_MS: u64 = 60_000;
const CHAOS_MS_MIN: u64 = 6_000;
const CHAOS_MS_MAX: u64 = 12_000;
/// After the last fault the cluster must serve within this: some elections, a snapshot, and the time after which nodes that hold back campaign.
const CONVERGE_MS: u64 = 40_000;
/// Duties that come now and then have their turn.
const SETTLE_MS: u64 = 500;
const LOOK_EVERY_MS: u64 = 20;
/// Runs are short: what is not decided by then is counted.
const BUDGET: Budget = Budget {
    steps: 400_000,
    bytes: 64 << 20,
};
