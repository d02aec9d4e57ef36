//! Crashes at places in the code. What leads to a place that is seldom passed is made to happen as well.

use aumbry_sim_world::host::{self, Death};
use aumbry_sim_world::{HostId, net};

use super::{Later, Nemesis, may_be_away};
use crate::cluster::Cluster;
use crate::faults::{INSTALL, TRUNCATION, Whom};
use crate::observe;

impl Nemesis {
    /// Lets a process die at a place that it has not come to yet. It is counted when it does.
    pub(super) fn arm(&mut self, cluster: &Cluster, place: &'static str) -> bool {
        match place {
            TRUNCATION => self.arm_leader(cluster, place),
            _ if place.starts_with(INSTALL) => self.arm_laggard(cluster, place),
            _ => self.arm_anybody(cluster, place),
        }
    }

    fn arm_anybody(&mut self, cluster: &Cluster, place: &'static str) -> bool {
        let Some(host) = self.whom(cluster, Whom::Anybody) else { return false };
        if host::is_armed(host) {
            return false;
        }
        let death = self.death();
        let is_rare = place.starts_with("flush") || place.contains("purge");
        let passes = if is_rare { 0 } else { self.rng.below(40) };
        host::arm(host, Some(place), passes, place, death);
        true
    }

    /// A follower that is cut off until the others have purged what it needs: it dies while it installs a snapshot.
    fn arm_laggard(&mut self, cluster: &Cluster, place: &'static str) -> bool {
        let hosts = cluster.hosts();
        let Some(leader) = observe::leader(&hosts) else { return false };
        let may_lag = |host: &HostId| *host != leader && !host::is_armed(*host) && may_be_away(cluster, *host);
        let laggards: Vec<HostId> = hosts.iter().copied().filter(may_lag).collect();
        if laggards.is_empty() {
            return false;
        }
        let host = *self.rng.pick(&laggards);
        let death = self.death();
        host::arm(host, Some(place), 0, place, death);
        self.cut_off(&hosts, host, 2_500, 5_000);
        true
    }

    /// A leader that is cut off with clients who go on writing: it dies when it removes what nobody else has.
    fn arm_leader(&mut self, cluster: &Cluster, place: &'static str) -> bool {
        let Some(leader) = self.whom(cluster, Whom::Leader) else { return false };
        if host::is_armed(leader) {
            return false;
        }
        let death = self.death();
        host::arm(leader, Some(place), 0, place, death);
        self.cut_off(&cluster.hosts(), leader, 900, 2_500);
        true
    }

    fn death(&mut self) -> Death {
        if self.rng.percent(50) { Death::Killed } else { Death::PowerLost }
    }

    fn cut_off(&mut self, hosts: &[HostId], one: HostId, low_ms: u64, high_ms: u64) {
        let others = hosts.iter().copied().filter(|host| *host != one);
        let links: Vec<_> = others.flat_map(|other| [(one, other), (other, one)]).collect();
        links.iter().for_each(|(from, to)| net::cut(*from, *to));
        self.later(low_ms, high_ms, Later::Mend(links));
    }
}
