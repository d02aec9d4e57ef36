//! Machines and what runs on them, a millisecond at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aumbry_sim_world::host::{self, Death};
use aumbry_sim_world::{HostId, disk, net, now_ms, strikes, trace};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::run::Mutation;
use crate::process::{MachineClock, NO_START, Process, Start, runtime};

/// One machine.
pub(crate) struct Machine {
    pub(crate) directory: PathBuf,
    pub(crate) clock: Arc<MachineClock>,
    process: Option<Process>,
    /// Since when its process is stopped, with all that it has.
    paused_since: Option<u64>,
    /// How fast its time goes, in thousandths.
    pub(crate) rate: u64,
    restart_at: Option<u64>,
    /// Whether its process is not started again by itself.
    pub(crate) is_held: bool,
    /// Whether it is gone for good.
    pub(crate) is_retired: bool,
    /// Why its node may end itself or not start: what was done to it.
    pub(crate) excuse: Option<&'static str>,
    /// Whether it has refused to start since it was damaged.
    pub(crate) has_refused: bool,
}

/// All machines, and the clients' own.
pub(crate) struct Cluster {
    root: PathBuf,
    pub(crate) machines: BTreeMap<HostId, Machine>,
    clients: Runtime,
    clients_began: Instant,
    clients_ms: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) wanted_sealed: BTreeSet<HostId>,
    pub(crate) mutation: Option<Mutation>,
}

impl Cluster {
    pub(crate) fn new(root: PathBuf) -> Self {
        let clients = runtime();
        let clients_began = {
            let _entered = clients.enter();
            Instant::now()
        };
        Self {
            root,
            machines: BTreeMap::new(),
            clients,
            clients_began,
            clients_ms: 0,
            violations: Vec::new(),
            wanted_sealed: BTreeSet::new(),
            mutation: None,
        }
    }

    /// Runs something beside the cluster, as a client or an operator.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.clients.spawn(task);
    }

    pub(crate) fn start(&mut self, host: HostId, start: Start) {
        let directory = self.root.join(format!("n{host}"));
        let machine = self.machines.entry(host).or_insert_with(|| Machine {
            directory,
            clock: Arc::new(MachineClock {
                offset_ms: 0.into(),
            }),
            process: None,
            paused_since: None,
            rate: 1_000,
            restart_at: None,
            is_held: false,
            is_retired: false,
            excuse: None,
            has_refused: false,
        });
        machine.restart_at = None;
        machine.paused_since = None;
        if self.mutation.is_some() {
            let health = Self::healthy(self.mutation);
            disk::set_health(host, health);
        }
        machine.process = Some(Process::start(host, &machine.directory, Arc::clone(&machine.clock), start));
    }

    /// Lets a millisecond pass.
    pub(crate) fn step(&mut self) {
        aumbry_sim_world::tick();
        let hosts: Vec<HostId> = self.machines.keys().copied().collect();
        for host in hosts {
            self.tend(host);
            let Some(machine) = self.machines.get_mut(&host) else { continue };
            if machine.paused_since.is_none()
                && let Some(process) = &mut machine.process
            {
                process.run_for(machine.rate);
            }
            self.tend(host);
        }
        self.clients_ms += 1;
        let until = self.clients_began + Duration::from_millis(self.clients_ms);
        aumbry_sim_world::enter(aumbry_sim_world::CLIENTS);
        self.clients.block_on(async move { tokio::time::sleep_until(until).await });
        aumbry_sim_world::enter(0);
    }

    /// Buries who died, and starts who is to run.
    fn tend(&mut self, host: HostId) {
        let now = now_ms();
        let Some(machine) = self.machines.get_mut(&host) else { return };
        if machine.process.is_some() && !host::is_alive(host) {
            machine.process = None;
            machine.paused_since = None;
            machine.restart_at = Some(now + RESTART_MS_MIN + aumbry_sim_world::below(RESTART_MS));
            if let Some(death) = host::take_death(host) {
                self.judge(host, &death);
            }
            return;
        }
        let is_due = machine.restart_at.is_some_and(|at| at <= now);
        if machine.process.is_none() && is_due && !machine.is_held && !machine.is_retired {
            host::power_up(host);
            self.start(host, Start::Resume);
        }
    }

    fn judge(&mut self, host: HostId, death: &Death) {
        let Some(machine) = self.machines.get_mut(&host) else { return };
        aumbry_sim_world::enter(host);
        trace::tell(&format!("ends: {death:?}"));
        aumbry_sim_world::enter(0);
        match death {
            Death::Killed | Death::PowerLost => {}
            Death::Panicked(what) => self.violations.push(format!("node {host} panicked: {what}")),
            Death::Fatal(reason) => {
                if reason.contains("a sync of the log failed") {
                    return;
                }
                match machine.excuse {
                    Some(kind) => {
                        let is_refusal = reason.starts_with(NO_START) || reason.contains("rolled back");
                        if is_refusal && !std::mem::replace(&mut machine.has_refused, true) {
                            strikes::count(kind);
                        }
                        // It would refuse again.
                        machine.is_held = true;
                    }
                    None => self.violations.push(format!("node {host} ended itself: {reason}")),
                }
            }
        }
    }

    /// How disks are if nothing is wrong with them.
    pub(crate) fn health(&self) -> disk::Health {
        Self::healthy(self.mutation)
    }

    fn healthy(mutation: Option<Mutation>) -> disk::Health {
        disk::Health {
            lies: mutation == Some(Mutation::DisksLie),
            forgets_votes: mutation == Some(Mutation::VotesForgotten),
            ..disk::Health::default()
        }
    }

    /// Takes a machine away for good.
    pub(crate) fn retire(&mut self, host: HostId) {
        if let Some(machine) = self.machines.get_mut(&host) {
            machine.is_retired = true;
        }
        self.kill(host, Death::PowerLost);
    }

    /// The number of the next machine.
    pub(crate) fn next_host(&self) -> HostId {
        self.machines.keys().max().map_or(1, |last| last + 1)
    }

    /// Machines whose nodes do not start again by themselves.
    pub(crate) fn refused(&self) -> Vec<HostId> {
        let refused = self.machines.iter();
        let refused = refused.filter(|(_, machine)| !machine.is_retired && machine.has_refused);
        refused.map(|(host, _)| *host).collect()
    }

    /// Ends a process from outside.
    pub(crate) fn kill(&mut self, host: HostId, death: Death) {
        if host::is_alive(host) {
            host::end(host, death);
        }
        self.tend(host);
    }

    /// Stops a process with all that it has, as SIGSTOP does.
    pub(crate) fn pause(&mut self, host: HostId) {
        if let Some(machine) = self.machines.get_mut(&host)
            && machine.process.is_some()
        {
            machine.paused_since.get_or_insert(now_ms());
        }
    }

    /// Lets it go on. It finds that time has passed.
    pub(crate) fn go_on(&mut self, host: HostId) {
        if let Some(machine) = self.machines.get_mut(&host)
            && let Some(since) = machine.paused_since.take()
            && let Some(process) = &mut machine.process
        {
            process.wake_after((now_ms() - since) * 1_000);
        }
    }

    /// Hosts that take part in the cluster, or would if they were let.
    pub(crate) fn hosts(&self) -> Vec<HostId> {
        let present = self.machines.iter().filter(|(_, machine)| !machine.is_retired);
        present.map(|(host, _)| *host).collect()
    }

    /// Whether a process runs on a machine and is not stopped.
    pub(crate) fn is_running(&self, host: HostId) -> bool {
        let machine = self.machines.get(&host);
        machine.is_some_and(|machine| machine.process.is_some() && machine.paused_since.is_none())
    }

    /// Takes back everything that was done to links, disks, clocks and processes, but for what was damaged for good.
    pub(crate) fn heal(&mut self) {
        trace::tell("everything heals");
        let hosts: Vec<HostId> = self.machines.keys().copied().collect();
        for host in &hosts {
            self.go_on(*host);
            disk::set_room(*host, 0);
            let health = self.health();
            disk::set_health(*host, health);
            for other in hosts.iter().chain(&CLIENT_HOSTS) {
                for (from, to) in [(*host, *other), (*other, *host)] {
                    net::set_quality(from, to, net::Quality::default());
                    net::mend(from, to);
                }
            }
            if let Some(machine) = self.machines.get_mut(host) {
                machine.rate = 1_000;
                if !machine.has_refused && !machine.is_retired {
                    machine.is_held = false;
                }
            }
        }
        self.wanted_sealed.clear();
        crate::operator::set_sealed(&self.wanted_sealed);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.machines.clear();
    }
}

/// The clients, and the operator.
pub(crate) const CLIENT_HOSTS: [HostId; 5] = [1_000, 1_001, 1_002, 1_003, 1_004];
pub(crate) const OPERATOR: HostId = 1_000;
/// A supervisor starts a process again in this time.
const RESTART_MS_MIN: u64 = 50;
const RESTART_MS: u64 = 1_000;
