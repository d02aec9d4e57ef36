//! What is done to processes, and asked of them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_types::SecretBytes;

use super::Who;
use crate::torture::limits::{self, Cgroup};
use crate::torture::outcome::{Violation, Void};
use crate::torture::patience::within;
use crate::torture::round::Round;

impl Round {
    /// Whether any process runs: others may have ended all of them.
    pub(crate) fn is_anybody_there(&mut self) -> bool {
        let members = self.bed.members();
        let slots = &mut self.bed.slots;
        let is_running = |at: &usize| slots[*at].server.process().is_some() && !slots[*at].server.has_ended();
        members.iter().any(is_running)
    }

    /// A node of this kind whose process runs. With other faults at work there may be no leader; then it is any.
    pub(super) async fn target(&mut self, who: Who) -> Result<usize> {
        let mut running = self.bed.members();
        running.retain(|at| self.bed.slots[*at].server.process().is_some());
        running.retain(|at| !self.bed.slots[*at].server.has_ended());
        ensure!(!running.is_empty(), "no node runs");
        let any = running[self.dice.below(running.len() as u64) as usize];
        if who == Who::Any {
            return Ok(any);
        }
        let Some(leader) = self.seen_leader(&running).await else {
            self.note("there is no leader to be hit; it is any node");
            return Ok(any);
        };
        if who == Who::Leader {
            return Ok(leader);
        }
        running.retain(|at| *at != leader);
        ensure!(!running.is_empty(), "only the leader runs");
        Ok(running[self.dice.below(running.len() as u64) as usize])
    }

    /// Who says that it leads, if one of these does within some time.
    async fn seen_leader(&self, nodes: &[usize]) -> Option<usize> {
        let until = Instant::now() + if self.is_alone { PATIENT } else { HASTY };
        while Instant::now() < until {
            for at in nodes {
                let client = self.bed.slots[*at].server.client_as(SecretBytes::default()).ok()?;
                let asked = tokio::time::timeout(ASK, client.health(None)).await;
                if asked.is_ok_and(|told| told.is_ok_and(|health| health.is_leader)) {
                    return Some(*at);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        None
    }

    pub(super) async fn kill(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        self.bed.kill(&[at])?;
        self.struck(&format!("kill {}", name(who)), &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn kill_majority(&mut self) -> Result<()> {
        let leader = self.target(Who::Leader).await?;
        let members = self.bed.members();
        let quorum = members.len() / 2 + 1;
        let others = members.into_iter().filter(|at| *at != leader);
        let mut victims: Vec<usize> = others.take(quorum - 1).collect();
        victims.push(leader);
        victims.retain(|at| self.bed.slots[*at].server.process().is_some());
        self.bed.kill(&victims)?;
        self.struck("kill majority", &format!("{victims:?}"));
        Ok(())
    }

    pub(super) async fn kill_all(&mut self) -> Result<()> {
        let mut all = self.bed.members();
        all.retain(|at| self.bed.slots[*at].server.process().is_some());
        self.bed.kill(&all)?;
        self.struck("kill all", &format!("{all:?}"));
        Ok(())
    }

    pub(super) async fn pause(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        self.bed.signal(&[at], "STOP")?;
        let process = self.bed.slots[at].server.process().context("it runs")?;
        let stat = || std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        within("the process has stopped", || async { stat().contains(") T ") }).await?;
        if who == Who::Leader && self.is_alone {
            let others: Vec<usize> = self.bed.members().into_iter().filter(|other| *other != at).collect();
            let next = self.bed.leader_of(&others).await;
            next.map_err(Violation::of("nobody replaces a leader that is stopped"))?;
        }
        self.hold(PAUSE_MS).await;
        self.struck(&format!("pause {}", name(who)), &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn restart_each(&mut self) -> Result<()> {
        for at in self.bed.members() {
            self.bed.slots[at].server.stop().await?;
            self.bed.run(at).await?;
            self.bed.unseal(at).await?;
            let bed = &self.bed;
            let back = within("the node answers again", || async { bed.status(at).await.is_ok() }).await;
            back.map_err(Violation::of("a rolling restart"))?;
            self.clients.go_on(AGAIN).await?;
        }
        self.struck("rolling restart", "each node, once");
        Ok(())
    }

    pub(super) async fn transfers(&mut self) -> Result<()> {
        let client = self.bed.client()?;
        let mut changes = 0;
        let mut last = 0;
        for _ in 0..TRANSFERS {
            let members = self.bed.members();
            let to = members[self.dice.below(members.len() as u64) as usize];
            let node_id = self.bed.slots[to].id;
            let order = v1::TransferRequest {
                node_id,
                ..Default::default()
            };
            // It is refused while a node lags, and where it leads already.
            let _ = client.call(order).await;
            if let Ok(status) = client.call(v1::StatusRequest::default()).await {
                changes += u64::from(last != 0 && status.leader_id != last);
                last = status.leader_id;
            }
        }
        if changes < TRANSFERS_MIN && self.is_alone {
            return Err(Void(format!("leadership changed only {changes} times")).into());
        }
        self.struck("transfer storm", &format!("{changes} changes"));
        Ok(())
    }

    /// Seals a node, and sees that it answers nothing.
    async fn seal(&mut self, at: usize) -> Result<()> {
        let bed = &self.bed;
        let anonymous = bed.slots[at].server.client_as(SecretBytes::default())?;
        within("the node is sealed", || async {
            if let Ok(client) = bed.client_on(at) {
                let _ = client.call(v1::SealRequest::default()).await;
            }
            anonymous.seal_status(None).await.is_ok_and(|status| status.sealed)
        })
        .await?;
        let get = v1::KvGetRequest {
            path: "secret/hot/0".to_owned(),
            ..Default::default()
        };
        let answer = bed.client_on(at)?.call(get).await;
        let is_still = anonymous.seal_status(None).await.is_ok_and(|status| status.sealed);
        if answer.is_ok() && is_still {
            return Err(Violation(format!("node {}, which is sealed, told a secret", at + 1)).into());
        }
        Ok(())
    }

    pub(super) async fn seal_one(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        if !self.is_alone && self.seen_leader(&self.bed.members()).await.is_none() {
            self.note("nobody leads, so nobody can seal");
            return Ok(());
        }
        if let Err(error) = self.seal(at).await {
            // With half of the cluster away there may be nobody who can admit it.
            if self.is_alone || error.is::<Violation>() {
                return Err(error);
            }
            self.note(&format!("node {} cannot be sealed now: {error:#}", at + 1));
            return Ok(());
        }
        self.struck("seal one", &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn seal_all(&mut self) -> Result<()> {
        let leader = self.bed.leader().await?;
        let mut order = self.bed.members();
        order.retain(|at| *at != leader);
        // Each needs a leader that is open, to be admitted: the leader is the last.
        for at in order.into_iter().chain([leader]) {
            self.seal(at).await?;
        }
        self.struck("seal all", "each node");
        Ok(())
    }

    pub(super) async fn no_more_files(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        let process = self.bed.slots[at].server.process().context("it runs")?;
        self.bed.slots[at].may_end = true;
        limits::allow_files(process, Some(limits::open_files(process)? + FILES_LEFT))?;
        self.limited.push(at);
        let server = &self.bed.slots[at].server;
        let mut connections = Vec::new();
        let mut refused = 0;
        // Connections that were open when the limit was counted may have been closed since, and leave room for as many.
        while refused < REFUSED && connections.len() < CONNECTIONS {
            let client = server.client_as(SecretBytes::default())?;
            let asked = tokio::time::timeout(ASK, client.health(None)).await;
            refused += usize::from(!asked.is_ok_and(|told| told.is_ok()));
            connections.push(client);
        }
        let tried = connections.len();
        let has_ended = self.bed.slots[at].server.has_ended();
        if refused == 0 && !has_ended {
            return Err(Void("a node without file descriptors takes connections".to_owned()).into());
        }
        self.struck(
            &format!("no files {}", name(who)),
            &format!(
                "node {}, {refused} of {tried} connections refused, ended: {has_ended}",
                at + 1
            ),
        );
        Ok(())
    }

    pub(super) async fn no_more_memory(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        let process = self.bed.slots[at].server.process().context("it runs")?;
        self.bed.slots[at].may_end = true;
        let cgroup = Cgroup::make(process, MEMORY_BYTES)?;
        let slot = std::sync::Mutex::new(&mut self.bed.slots[at]);
        let struck = within("the limit of memory is reached", || async {
            cgroup.has_struck() || slot.lock().is_ok_and(|mut slot| slot.server.has_ended())
        })
        .await;
        self.cgroups.push(cgroup);
        struck.map_err(|error| Void(format!("{error:#}")))?;
        self.hold(PAUSE_MS).await;
        let has_ended = self.bed.slots[at].server.has_ended();
        self.struck(
            &format!("no memory {}", name(who)),
            &format!("node {}, ended: {has_ended}", at + 1),
        );
        Ok(())
    }

    /// Takes back what [`Self::no_more_files`] and [`Self::no_more_memory`] did.
    pub(crate) fn raise_limits(&mut self) -> Result<()> {
        for at in std::mem::take(&mut self.limited) {
            let server = &mut self.bed.slots[at].server;
            if let (false, Some(process)) = (server.has_ended(), server.process()) {
                limits::allow_files(process, None)?;
            }
        }
        self.cgroups.clear();
        Ok(())
    }

    pub(super) async fn clocks_apart(&mut self) -> Result<()> {
        let mut offsets = vec!["+1h", "-1h", "+10y", "-30m", "+2d"];
        for at in self.bed.members() {
            let offset = offsets.remove(self.dice.below(offsets.len() as u64) as usize);
            self.bed.set_clock(at, offset)?;
            self.note(&format!("clock of node {}: {offset}", at + 1));
        }
        let members = self.bed.members();
        self.sees_a_clock_off(&members).await?;
        self.hold(PAUSE_MS).await;
        self.struck("clocks apart", "each its own");
        Ok(())
    }

    pub(super) async fn clock_strobe(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        for turn in 0..STROBES {
            let offset = ["+1h", "-1h", "+3s", "+0"][turn % 4];
            self.bed.set_clock(at, offset)?;
            tokio::time::sleep(STROBE).await;
        }
        self.bed.set_clock(at, "+3h")?;
        self.sees_a_clock_off(&[at]).await?;
        self.struck("clock strobe", &format!("node {}", at + 1));
        Ok(())
    }

    /// One of these says that its clock is off those of others. The one in the middle never does.
    async fn sees_a_clock_off(&self, nodes: &[usize]) -> Result<()> {
        let bed = &self.bed;
        let seen = within("a node sees that clocks are apart", || async {
            for at in nodes {
                let offset = bed.metric(*at, "aumbry_clock_offset_ms").await;
                if !self.is_alone || offset.is_ok_and(|offset| offset.abs() > OFF_MS) {
                    return true;
                }
            }
            false
        })
        .await;
        seen.map_err(|error| Void(format!("{error:#}")).into())
    }
}

pub(super) const fn name(who: Who) -> &'static str {
    match who {
        Who::Leader => "leader",
        Who::Follower => "follower",
        Who::Any => "any",
    }
}

const PATIENT: Duration = Duration::from_secs(30);
/// With other faults at work there may be no leader for long.
const HASTY: Duration = Duration::from_secs(2);
const ASK: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(50);
/// Above what an election takes.
const PAUSE_MS: u64 = 6_000;
const AGAIN: u64 = 20;
const TRANSFERS: u64 = 12;
const TRANSFERS_MIN: u64 = 3;
const FILES_LEFT: u64 = 2;
const CONNECTIONS: usize = 64;
/// Enough to see it, and to go on with.
const REFUSED: usize = 4;
/// A node takes more, and gets no page beyond it.
const MEMORY_BYTES: u64 = 8 << 20;
const STROBES: usize = 40;
const STROBE: Duration = Duration::from_millis(50);
const OFF_MS: f64 = 60_000.0;
