//! What is done to the ways between nodes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::processes::name;
use super::{Fault, Who};
use crate::torture::bed::Way;
use crate::torture::links::Struck;
use crate::torture::outcome::{Violation, Void};
use crate::torture::patience::within;
use crate::torture::round::Round;

impl Round {
    fn cut(&mut self, from: usize, to: usize) -> Result<()> {
        self.bed.route(from, to, Way::Cut)?;
        self.cuts.push((from, to));
        Ok(())
    }

    /// Cuts both directions between these and those.
    fn part(&mut self, these: &[usize], those: &[usize]) -> Result<()> {
        for this in these {
            for that in those {
                self.cut(*this, *that)?;
                self.cut(*that, *this)?;
            }
        }
        Ok(())
    }

    /// With no other fault at work, one of these comes to lead.
    async fn lead(&mut self, nodes: &[usize]) -> Result<()> {
        if self.is_alone {
            let leads = self.bed.leader_of(nodes).await;
            leads.map_err(Violation::of("those that have a quorum elect nobody"))?;
        }
        Ok(())
    }

    pub(super) async fn isolate(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        let others: Vec<usize> = self.bed.members().into_iter().filter(|other| *other != at).collect();
        self.part(&[at], &others)?;
        self.lead(&others).await?;
        self.struck(&format!("isolate {}", name(who)), &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn split(&mut self) -> Result<()> {
        let leader = self.target(Who::Leader).await?;
        let mut others: Vec<usize> = self
            .bed
            .members()
            .into_iter()
            .filter(|other| *other != leader)
            .collect();
        let with = others.remove(self.dice.below(others.len() as u64) as usize);
        // The leader and one more are the smaller part.
        self.part(&[leader, with], &others)?;
        self.lead(&others).await?;
        self.struck("split", &format!("{leader} and {with} from {others:?}"));
        Ok(())
    }

    pub(super) async fn bridge(&mut self) -> Result<()> {
        let mut members = self.bed.members();
        let middle = members.remove(self.dice.below(members.len() as u64) as usize);
        let (left, right) = members.split_at(members.len() / 2);
        self.part(left, right)?;
        let mut all = self.bed.members();
        all.sort_unstable();
        self.lead(&all).await?;
        self.struck(
            "bridge",
            &format!("node {} is between {left:?} and {right:?}", middle + 1),
        );
        Ok(())
    }

    pub(super) async fn one_way(&mut self, fault: Fault) -> Result<()> {
        let leader = self.target(Who::Leader).await?;
        let others: Vec<usize> = self
            .bed
            .members()
            .into_iter()
            .filter(|other| *other != leader)
            .collect();
        for other in &others {
            match fault {
                Fault::Mute => self.cut(*other, leader)?,
                _ => self.cut(leader, *other)?,
            }
        }
        self.lead(&others).await?;
        let words = match fault {
            Fault::Mute => "one way, to leader",
            _ => "one way, from leader",
        };
        self.struck(words, &format!("node {}", leader + 1));
        Ok(())
    }

    pub(super) async fn flap(&mut self) -> Result<()> {
        let members = self.bed.members();
        for _ in 0..FLAPS {
            let from = members[self.dice.below(members.len() as u64) as usize];
            let to = members[self.dice.below(members.len() as u64) as usize];
            if from == to {
                continue;
            }
            self.part(&[from], &[to])?;
            tokio::time::sleep(Duration::from_millis(50 + self.dice.below(450))).await;
            for (from, to) in std::mem::take(&mut self.cuts) {
                self.bed.route(from, to, Way::Open)?;
            }
            tokio::time::sleep(Duration::from_millis(50 + self.dice.below(250))).await;
        }
        self.struck("flapping link", &format!("{FLAPS} times"));
        Ok(())
    }

    pub(super) async fn slow_links(&mut self) -> Result<()> {
        let links = self.bed.links.as_ref().context("there are links")?;
        let before = links.struck().delayed;
        for from in 1..=links.nodes() {
            for to in (1..=links.nodes()).filter(|to| *to != from) {
                let least = Duration::from_millis(1 + self.dice.below(40));
                let jitter = Duration::from_millis(self.dice.below(110));
                links.slow(from, to, least, jitter);
            }
        }
        self.hold(HOLD_MS).await;
        self.held_up(|struck| struck.delayed > before).await?;
        self.struck("slow links", "1 to 150 ms");
        Ok(())
    }

    pub(super) async fn stall(&mut self, fault: Fault) -> Result<()> {
        let leader = self.target(Who::Leader).await?;
        let links = self.bed.links.as_ref().context("there are links")?;
        let before = links.struck().stalled;
        let this = u8::try_from(leader + 1)?;
        let others: Vec<usize> = self
            .bed
            .members()
            .into_iter()
            .filter(|other| *other != leader)
            .collect();
        for other in &others {
            let that = u8::try_from(other + 1)?;
            match fault {
                Fault::StallToLeader => links.stall(that, this),
                _ => links.stall(this, that),
            }
        }
        self.held_up(|struck| struck.stalled > before).await?;
        self.lead(&others).await?;
        let words = match fault {
            Fault::StallToLeader => "half open, to leader",
            _ => "half open, from leader",
        };
        self.struck(words, &format!("node {}", leader + 1));
        Ok(())
    }

    /// Waits until links have done this.
    async fn held_up(&self, has: impl Fn(Struck) -> bool) -> Result<()> {
        let links = self.bed.links.as_ref().context("there are links")?;
        let seen = within("something is held up", || async { has(links.struck()) }).await;
        seen.map_err(|error| Void(format!("{error:#}")).into())
    }

    pub(super) async fn break_links(&mut self) -> Result<()> {
        let links = self.bed.links.as_ref().context("there are links")?;
        let before = links.struck().broken;
        for _ in 0..BREAKS {
            if let Some(links) = &self.bed.links {
                links.break_connections();
            }
            let ms = 100 + self.dice.below(400);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        self.held_up(|struck| struck.broken > before).await?;
        self.struck("broken connections", &format!("{BREAKS} times"));
        Ok(())
    }
}

const FLAPS: u64 = 8;
const BREAKS: u64 = 5;
const HOLD_MS: u64 = 4_000;
