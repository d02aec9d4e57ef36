//! Who does harm: one fault after the other, some at the same time, each for a while.

mod places;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use aumbry_sim_world::host::{self, Death};
use aumbry_sim_world::net::{self, Quality};
use aumbry_sim_world::rng::Rng;
use aumbry_sim_world::{HostId, disk, now_ms, strikes, trace};
use aumbry_state::Consensus as _;

use crate::ask::Ask;
use crate::client;
use crate::cluster::{CLIENT_HOSTS, Cluster};
use crate::faults::{Badness, Cut, Fullness, Jump, Kind, Whom};
use crate::operator;
use crate::observe;
use crate::process::door;

/// What is to be done later.
enum Later {
    Mend(Vec<(HostId, HostId)>),
    Cut(Vec<(HostId, HostId)>),
    Quality(Vec<(HostId, HostId)>),
    GoOn(HostId),
    Disk(HostId),
    Room(Vec<HostId>),
    Rate(HostId),
    SetClock(HostId, i64),
    Unseal(Vec<HostId>),
    Release(HostId),
    PutBack(HostId, Box<disk::Copy>, PathBuf),
    Forgive(HostId),
}

/// Who does harm.
pub(crate) struct Nemesis {
    rng: Rng,
    /// The kinds of this run: a few, so that each has time to matter.
    kinds: Vec<Kind>,
    next_ms: u64,
    later: Vec<(u64, Later)>,
}

impl Nemesis {
    /// Who does harm of some kinds, or of the only one that is named.
    pub(crate) fn new(seed: u64, only: &[Kind]) -> Self {
        let mut rng = Rng::new(seed);
        let all = Kind::all();
        let count = rng.between(3, 8);
        let some = (0..count).map(|_| *rng.pick(&all)).collect();
        Self {
            next_ms: rng.between(100, 800),
            rng,
            kinds: if only.is_empty() { some } else { only.to_vec() },
            later: Vec::new(),
        }
    }

    /// Begins now.
    pub(crate) fn begin(&mut self) {
        self.next_ms += now_ms();
    }

    /// Whether nodes are to need snapshots.
    pub(crate) fn wants_snapshots(&self) -> bool {
        self.kinds.iter().any(|kind| kind.is_of_snapshots())
    }

    /// Does what is due.
    pub(crate) fn step(&mut self, cluster: &mut Cluster) {
        let now = now_ms();
        let mut due = Vec::new();
        self.later.retain_mut(|(at, later)| {
            let is_due = *at <= now;
            if is_due {
                due.push(std::mem::replace(later, Later::Mend(Vec::new())));
            }
            !is_due
        });
        for later in due {
            self.carry_out(cluster, later);
        }
        if now >= self.next_ms {
            let kind = *self.rng.pick(&self.kinds);
            // A fault may want more time for itself.
            self.next_ms = now + self.rng.between(100, 1_800);
            if self.strike(cluster, kind) {
                trace::tell(&format!("fault: {kind:?}"));
            }
        }
    }

    /// Takes back what is still to be taken back.
    pub(crate) fn end(&mut self, cluster: &mut Cluster) {
        for (_, later) in std::mem::take(&mut self.later) {
            match later {
                // The disk stays as it is: the node was running all the time.
                Later::Cut(_) | Later::SetClock(..) | Later::Forgive(_) => {}
                Later::PutBack(host, ..) => {
                    if let Some(machine) = cluster.machines.get_mut(&host) {
                        machine.excuse = None;
                    }
                }
                later => self.carry_out(cluster, later),
            }
        }
        for machine in cluster.machines.values() {
            machine.clock.offset_ms.store(0, Ordering::Relaxed);
        }
    }

    fn later(&mut self, low_ms: u64, high_ms: u64, later: Later) {
        let at = now_ms() + self.rng.between(low_ms, high_ms);
        self.later.push((at, later));
    }

    fn carry_out(&mut self, cluster: &mut Cluster, later: Later) {
        match later {
            Later::Mend(links) => links.iter().for_each(|(from, to)| net::mend(*from, *to)),
            Later::Cut(links) => links.iter().for_each(|(from, to)| net::cut(*from, *to)),
            Later::Quality(links) => {
                for (from, to) in links {
                    net::set_quality(from, to, Quality::default());
                }
            }
            Later::GoOn(host) => cluster.go_on(host),
            Later::Disk(host) => disk::set_health(host, cluster.health()),
            Later::Room(hosts) => hosts.iter().for_each(|host| disk::set_room(*host, 0)),
            Later::Rate(host) => {
                if let Some(machine) = cluster.machines.get_mut(&host) {
                    machine.rate = 1_000;
                }
            }
            Later::SetClock(host, offset) => {
                if let Some(machine) = cluster.machines.get(&host) {
                    machine.clock.offset_ms.store(offset, Ordering::Relaxed);
                }
            }
            Later::Unseal(hosts) => {
                for host in hosts {
                    observe::note_sealed(host, false);
                    cluster.wanted_sealed.remove(&host);
                }
                operator::set_sealed(&cluster.wanted_sealed);
            }
            Later::Release(host) => {
                if let Some(machine) = cluster.machines.get_mut(&host) {
                    machine.is_held = false;
                }
            }
            Later::PutBack(host, copy, files) => put_back(cluster, host, *copy, &files),
            Later::Forgive(host) => {
                if let Some(machine) = cluster.machines.get_mut(&host)
                    && !machine.has_refused
                {
                    machine.excuse = None;
                }
            }
        }
    }

    fn whom(&mut self, cluster: &Cluster, whom: Whom) -> Option<HostId> {
        let running: Vec<HostId> = cluster.hosts().into_iter().filter(|host| cluster.is_running(*host)).collect();
        match whom {
            Whom::Leader => observe::leader(&running),
            Whom::Anybody => (!running.is_empty()).then(|| *self.rng.pick(&running)),
        }
    }

    /// Whether it struck, or will.
    fn strike(&mut self, cluster: &mut Cluster, kind: Kind) -> bool {
        let hosts = cluster.hosts();
        let did = match kind {
            Kind::Kill(whom) => self.end_one(cluster, whom, Death::Killed),
            Kind::PowerLoss(whom) => self.end_one(cluster, whom, Death::PowerLost),
            Kind::KillAll => {
                let death = if self.rng.percent(50) { Death::Killed } else { Death::PowerLost };
                hosts.iter().for_each(|host| cluster.kill(*host, death.clone()));
                true
            }
            Kind::CrashAt(place) => return self.arm(cluster, place),
            Kind::FailedSync => {
                let Some(host) = self.whom(cluster, Whom::Anybody) else { return false };
                let health = disk::health(host);
                disk::set_health(host, disk::Health { fails: true, ..health });
                // Counted when it fails.
                return true;
            }
            Kind::SlowSync(whom) => {
                let Some(host) = self.whom(cluster, whom) else { return false };
                let health = disk::Health {
                    sync_ms: self.rng.between(20, 400),
                    jitter_ms: self.rng.between(0, 300),
                    ..disk::health(host)
                };
                disk::set_health(host, health);
                self.later(500, 3_000, Later::Disk(host));
                true
            }
            Kind::BitFlip | Kind::Wiped => return self.damage(cluster, kind),
            Kind::RolledBack => return self.roll_back(cluster),
            Kind::Full(fullness) => self.fill(cluster, fullness),
            Kind::Partition(cut) => self.partition(cluster, cut),
            Kind::Flapping => self.flap(&hosts),
            Kind::Bad(badness) => self.worsen(&hosts, badness),
            Kind::HalfOpenClients => {
                let host = *self.rng.pick(&hosts);
                let links = CLIENT_HOSTS.map(|client| (host, client)).to_vec();
                self.cut_for_a_while(links)
            }
            Kind::NoWayToLeader => {
                let Some(leader) = self.whom(cluster, Whom::Leader) else { return false };
                let links = CLIENT_HOSTS.map(|client| (client, leader)).to_vec();
                self.cut_for_a_while(links)
            }
            Kind::Pause(whom) => {
                let Some(host) = self.whom(cluster, whom) else { return false };
                cluster.pause(host);
                self.later(20, 3_000, Later::GoOn(host));
                true
            }
            Kind::ClockJump(jump) => self.jump(&hosts, jump),
            Kind::ClockRate => {
                let host = *self.rng.pick(&hosts);
                if let Some(machine) = cluster.machines.get_mut(&host) {
                    machine.rate = self.rng.between(700, 1_400);
                }
                self.later(1_000, 5_000, Later::Rate(host));
                true
            }
            Kind::Add | Kind::Remove(_) | Kind::Replace => return self.change(cluster, kind),
            Kind::TransferStorm => return self.storm(cluster),
            Kind::Seal(whom) => {
                let Some(host) = self.whom(cluster, whom) else { return false };
                self.seal(cluster, vec![host])
            }
            Kind::SealAll => self.seal(cluster, hosts),
            Kind::LeftBehind => {
                let host = *self.rng.pick(&hosts);
                if !may_be_away(cluster, host) {
                    return false;
                }
                let Some(machine) = cluster.machines.get_mut(&host) else { return false };
                machine.is_held = true;
                cluster.kill(host, Death::Killed);
                self.later(3_000, 6_000, Later::Release(host));
                true
            }
        };
        if did {
            strikes::count(kind.name());
        }
        did
    }

    fn end_one(&mut self, cluster: &mut Cluster, whom: Whom, death: Death) -> bool {
        let Some(host) = self.whom(cluster, whom) else { return false };
        cluster.kill(host, death);
        true
    }

    /// Spoils the disk of a node for good, as long as a majority keeps theirs.
    fn damage(&mut self, cluster: &mut Cluster, kind: Kind) -> bool {
        let Some(host) = self.whom(cluster, Whom::Anybody) else { return false };
        if !may_be_lost(cluster) {
            return false;
        }
        cluster.kill(host, Death::PowerLost);
        let Some(machine) = cluster.machines.get_mut(&host) else { return false };
        match kind {
            Kind::Wiped => {
                disk::wipe(host);
                // Its identity is kept, as on another disk: with an empty log it must not vote.
                let _ = std::fs::remove_dir_all(machine.directory.join("log"));
                let _ = std::fs::remove_dir_all(machine.directory.join("state"));
            }
            _ => {
                if disk::flip_a_bit(host, self.rng.next()).is_none() {
                    return false;
                }
            }
        }
        machine.excuse = Some(kind.name());
        true
    }

    /// Keeps a copy of a disk, to put it back some seconds later.
    fn roll_back(&mut self, cluster: &mut Cluster) -> bool {
        let Some(host) = self.whom(cluster, Whom::Anybody) else { return false };
        // Who was away does not know what was acknowledged, and nobody else may be able to tell.
        let are_all_there = cluster.hosts().iter().all(|host| cluster.is_running(*host) && !host::is_armed(*host));
        if !may_be_lost(cluster) || !self.later.is_empty() || !are_all_there {
            return false;
        }
        let Some(machine) = cluster.machines.get_mut(&host) else { return false };
        let files = machine.directory.with_extension("copy");
        let _ = std::fs::remove_dir_all(&files);
        if copy_files(&machine.directory, &files).is_err() {
            return false;
        }
        // From now on its peers must be able to tell: nothing else happens until they have.
        machine.excuse = Some(Kind::RolledBack.name());
        let copy = Box::new(disk::copy(host));
        self.later.push((now_ms() + 3_500, Later::PutBack(host, copy, files)));
        self.later.push((now_ms() + 9_000, Later::Forgive(host)));
        self.next_ms = now_ms() + 9_000;
        true
    }

    fn fill(&mut self, cluster: &Cluster, fullness: Fullness) -> bool {
        let hosts = cluster.hosts();
        let (hosts, level) = match fullness {
            Fullness::Low => (vec![*self.rng.pick(&hosts)], 1),
            Fullness::Spent => (vec![*self.rng.pick(&hosts)], 2),
            Fullness::AllLow => (hosts, 1),
        };
        hosts.iter().for_each(|host| disk::set_room(*host, level));
        self.later(500, 4_000, Later::Room(hosts));
        true
    }

    fn partition(&mut self, cluster: &Cluster, cut: Cut) -> bool {
        let mut hosts = cluster.hosts();
        for place in (1..hosts.len()).rev() {
            let other = usize::try_from(self.rng.below(place as u64 + 1)).unwrap_or(0);
            hosts.swap(place, other);
        }
        let minority = hosts.len().div_ceil(2) - 1;
        let one = match (cut, observe::leader(&hosts)) {
            (Cut::LeaderAlone, None) => return false,
            (Cut::LeaderAlone | Cut::Mute | Cut::Deaf, Some(leader)) if self.rng.percent(60) || cut == Cut::LeaderAlone => {
                leader
            }
            _ => hosts[0],
        };
        let count = hosts.len();
        let place = |host: HostId| hosts.iter().position(|other| *other == host).unwrap_or(0);
        let is_cut = |from: HostId, to: HostId| match cut {
            Cut::Halves => (place(from) < minority.max(1)) != (place(to) < minority.max(1)),
            Cut::LeaderAlone => from == one || to == one,
            Cut::Mute => from == one,
            Cut::Deaf => to == one,
            Cut::OneWay => from == hosts[0] && to == hosts[1],
            // The last one sees everybody.
            Cut::Bridge => {
                let is_bridge = place(from) + 1 == count || place(to) + 1 == count;
                !is_bridge && (place(from) < count / 2) != (place(to) < count / 2)
            }
            Cut::Ring => {
                let apart = place(from).abs_diff(place(to));
                apart != 1 && apart != count - 1
            }
            Cut::Total => true,
        };
        let pairs = pairs(&hosts);
        let links: Vec<_> = pairs.into_iter().filter(|(from, to)| is_cut(*from, *to)).collect();
        // Of three nodes each is a neighbour of each.
        !links.is_empty() && self.cut_for_a_while(links)
    }

    fn cut_for_a_while(&mut self, links: Vec<(HostId, HostId)>) -> bool {
        links.iter().for_each(|(from, to)| net::cut(*from, *to));
        self.later(200, 4_000, Later::Mend(links));
        true
    }

    fn flap(&mut self, hosts: &[HostId]) -> bool {
        let all = pairs(hosts);
        let links: Vec<_> = all.into_iter().filter(|_| self.rng.percent(40)).collect();
        let mut at = now_ms();
        for _ in 0..self.rng.between(3, 12) {
            at += self.rng.between(50, 500);
            self.later.push((at, Later::Cut(links.clone())));
            at += self.rng.between(50, 500);
            self.later.push((at, Later::Mend(links.clone())));
        }
        !links.is_empty()
    }

    fn worsen(&mut self, hosts: &[HostId], badness: Badness) -> bool {
        let one = *self.rng.pick(hosts);
        let quality = match badness {
            Badness::Delay => Quality {
                delay_ms: self.rng.between(10, 120),
                jitter_ms: 10,
                loss_percent: 0,
            },
            Badness::Loss => Quality {
                loss_percent: self.rng.between(1, 30),
                ..Quality::default()
            },
            Badness::Jitter => Quality {
                jitter_ms: self.rng.between(20, 150),
                ..Quality::default()
            },
            Badness::OneSlowNode => Quality {
                delay_ms: self.rng.between(50, 400),
                jitter_ms: 50,
                loss_percent: 5,
            },
        };
        let is_meant = |(from, to): &(HostId, HostId)| badness != Badness::OneSlowNode || *from == one || *to == one;
        let links: Vec<_> = pairs(hosts).into_iter().filter(is_meant).collect();
        for (from, to) in &links {
            net::set_quality(*from, *to, quality);
        }
        self.later(500, 5_000, Later::Quality(links));
        true
    }

    fn jump(&mut self, hosts: &[HostId], jump: Jump) -> bool {
        // With more than one the others could not outvote it.
        if self.later.iter().any(|(_, later)| matches!(later, Later::SetClock(..))) {
            return false;
        }
        let host = *self.rng.pick(hosts);
        let far = *self.rng.pick(&[100, 5_000, 3_600_000, TEN_YEARS_MS]);
        match jump {
            Jump::Forward => self.later.push((now_ms(), Later::SetClock(host, far))),
            Jump::Back => self.later.push((now_ms(), Later::SetClock(host, -far))),
            Jump::Strobe => {
                for turn in 0..20 {
                    let offset = if turn % 2 == 0 { far } else { -far };
                    self.later.push((now_ms() + 50 * turn, Later::SetClock(host, offset)));
                }
            }
        }
        self.later(1_500, 5_000, Later::SetClock(host, 0));
        true
    }

    fn change(&mut self, cluster: &mut Cluster, kind: Kind) -> bool {
        let hosts = cluster.hosts();
        // Who takes away one that works while another is damaged takes the quorum away.
        let is_damaged = |host: &HostId| cluster.machines.get(host).is_none_or(|machine| machine.excuse.is_some());
        if operator::is_changing() || hosts.iter().any(is_damaged) {
            return false;
        }
        let next = cluster.next_host();
        let name = kind.name();
        match kind {
            Kind::Add if hosts.len() < NODES_MAX => {
                cluster.spawn(operator::change(operator::add(next), name));
                true
            }
            Kind::Remove(whom) if hosts.len() > NODES_MIN => {
                let Some(host) = self.whom(cluster, whom) else { return false };
                cluster.spawn(operator::change(operator::remove(host), name));
                true
            }
            Kind::Replace => {
                let Some(host) = self.whom(cluster, Whom::Anybody) else { return false };
                let replacing = async move { operator::add(next).await && operator::remove(host).await };
                cluster.spawn(operator::change(replacing, name));
                true
            }
            _ => false,
        }
    }

    fn storm(&mut self, cluster: &Cluster) -> bool {
        let hosts = cluster.hosts();
        let turns: Vec<(u64, HostId)> = (0..self.rng.between(3, 8))
            .map(|_| (self.rng.between(50, 600), *self.rng.pick(&hosts)))
            .collect();
        cluster.spawn(async move {
            for (pause, host) in turns {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let Some(id) = operator::id_of(host) else { continue };
                let asked = operator::insist(Ask::Transfer(Some(id)), Duration::from_secs(1)).await;
                if matches!(asked, Some(Ok(_))) {
                    strikes::count(Kind::TransferStorm.name());
                }
            }
        });
        true
    }

    fn seal(&mut self, cluster: &mut Cluster, hosts: Vec<HostId>) -> bool {
        let mut sealed = Vec::new();
        for host in hosts {
            let Some(member) = door(host).and_then(|door| door.member()) else { continue };
            aumbry_sim_world::enter(host);
            member.node.seal();
            aumbry_sim_world::enter(0);
            observe::note_sealed(host, true);
            cluster.wanted_sealed.insert(host);
            sealed.push(host);
        }
        operator::set_sealed(&cluster.wanted_sealed);
        for host in &sealed {
            cluster.spawn(client::ask_a_sealed_one(*host));
        }
        let did = !sealed.is_empty();
        self.later(300, 3_000, Later::Unseal(sealed));
        did
    }
}

fn pairs(hosts: &[HostId]) -> Vec<(HostId, HostId)> {
    let all = hosts.iter().flat_map(|from| hosts.iter().map(move |to| (*from, *to)));
    all.filter(|(from, to)| from != to).collect()
}

/// Whether one more disk may be lost, and a majority of the voters keeps theirs.
fn may_be_lost(cluster: &Cluster) -> bool {
    let hosts = cluster.hosts();
    let leader = observe::leader(&hosts).and_then(|leader| door(leader)?.member());
    let voters = leader.map_or(0, |leader| leader.raft.status().members.iter().filter(|member| member.voter).count());
    let lost = hosts.iter().filter(|host| {
        let machine = cluster.machines.get(host);
        machine.is_none_or(|machine| machine.excuse.is_some())
    });
    // Nodes that join or leave change what a majority is.
    (lost.count() + 1) * 2 < voters.min(hosts.len()) && !operator::is_changing()
}

/// Whether a majority runs without this one.
fn may_be_away(cluster: &Cluster, host: HostId) -> bool {
    let hosts = cluster.hosts();
    let running = hosts.iter().filter(|other| **other != host && cluster.is_running(**other));
    cluster.is_running(host) && running.count() * 2 > hosts.len()
}

fn put_back(cluster: &mut Cluster, host: HostId, copy: disk::Copy, files: &Path) {
    let Some(machine) = cluster.machines.get(&host) else { return };
    if machine.is_retired || machine.has_refused {
        return;
    }
    let directory = machine.directory.clone();
    cluster.kill(host, Death::PowerLost);
    disk::restore(host, copy);
    let _ = std::fs::remove_dir_all(&directory);
    if let Err(error) = copy_files(files, &directory) {
        cluster.violations.push(format!("the harness cannot put files back: {error}"));
    }
}

fn copy_files(from: &Path, to: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    let mut entries: Vec<_> = std::fs::read_dir(from)?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

const TEN_YEARS_MS: i64 = 315_360_000_000;
const NODES_MAX: usize = 7;
/// Two can lose none.
const NODES_MIN: usize = 3;
