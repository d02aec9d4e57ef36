//! Who comes and goes.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Who;
use crate::torture::outcome::{Violation, Void};
use crate::torture::patience::within;
use crate::torture::round::Round;

impl Round {
    /// Has the fresh node at this place join.
    pub(super) async fn join(&mut self, at: usize) -> Result<()> {
        let joined = self.bed.join(at).await;
        joined.map_err(Violation::of("a node cannot join"))
    }

    async fn remove(&mut self, at: usize) -> Result<()> {
        let removed = self.bed.remove(at).await;
        removed.map_err(Violation::of("a node cannot be removed"))?;
        // It is told so, and disturbs nobody; then its machine is switched off.
        self.clients
            .go_on(AGAIN)
            .await
            .map_err(Violation::of("after a removal"))?;
        self.bed.slots[at].server.kill()?;
        self.bed.wipe(at)
    }

    async fn add(&mut self) -> Result<usize> {
        let at = self.bed.spare().context("there is a place")?;
        self.bed.slots[at].server.kill()?;
        self.bed.wipe_if_there(at)?;
        self.bed.run(at).await?;
        self.join(at).await?;
        Ok(at)
    }

    pub(super) async fn grow(&mut self) -> Result<()> {
        if self.bed.spare().is_none() {
            return self.shrink().await;
        }
        let at = self.add().await?;
        self.struck("node added", &format!("node {}, id {}", at + 1, self.bed.slots[at].id));
        Ok(())
    }

    pub(super) async fn shrink(&mut self) -> Result<()> {
        if self.bed.members().len() <= usize::from(self.bed.shape.nodes) {
            self.add().await?;
        }
        let at = self.target(Who::Follower).await?;
        self.remove(at).await?;
        self.struck("node removed", &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn remove_leader(&mut self) -> Result<()> {
        if self.bed.members().len() <= usize::from(self.bed.shape.nodes) {
            self.add().await?;
        }
        let at = self.target(Who::Leader).await?;
        self.remove(at).await?;
        self.struck("leader removed", &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn replace(&mut self) -> Result<()> {
        if self.bed.spare().is_none() {
            self.shrink().await?;
        }
        let old = self.target(Who::Any).await?;
        let new = self.add().await?;
        self.remove(old).await?;
        self.struck("node replaced", &format!("node {} by {}", old + 1, new + 1));
        Ok(())
    }

    pub(super) async fn laggard(&mut self) -> Result<()> {
        let at = self.target(Who::Follower).await?;
        let stood = self.bed.status(at).await?.last_log;
        self.bed.kill(&[at])?;
        let others = self.others(at);
        let leader = self.bed.leader_of(&others).await?;
        let bed = &self.bed;
        let purged = within("the others purge what it lacks", || async {
            bed.status(leader).await.is_ok_and(|status| status.purged > stood + 10)
        })
        .await;
        purged.map_err(|error| Void(format!("{error:#}")))?;
        // Killed at some moment of being brought up to date.
        self.bed.slots[at].server.spawn()?;
        let ms = 100 + self.dice.below(1_500);
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.bed.kill(&[at])?;
        self.struck(
            "laggard needs a snapshot",
            &format!("node {}, stood at {stood}", at + 1),
        );
        Ok(())
    }
}

const AGAIN: u64 = 20;
