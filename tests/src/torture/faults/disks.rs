//! What is done to disks and files.

use std::fs;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::Who;
use super::processes::name;
use crate::damage::{files_below, flip, is_clear, log_end, operator, used_bytes};
use crate::server::Refusal;
use crate::torture::outcome::{Violation, Void};
use crate::torture::patience::within;
use crate::torture::round::Round;
use crate::volume::Volume;

/// What became of a node that was started with damaged files.
enum Start {
    /// It came up, was unsealed, and has what the others have.
    Sound,
    /// It refused to start, or ended.
    Ended(Refusal),
}

impl Round {
    async fn cut_power(&mut self, nodes: &[usize]) -> Result<()> {
        // A kernel that goes on without its disk calls a sync that was under way a success now and then, and what was told of it would be told by a
        // machine without power.
        self.bed.signal(nodes, "STOP")?;
        for at in nodes {
            let process = self.bed.slots[*at].server.process().context("it runs")?;
            within("the process has stopped", || async { all_stopped(process) }).await?;
        }
        let volumes: Vec<&Volume> = nodes
            .iter()
            .filter_map(|at| self.bed.slots[*at].volume.as_ref())
            .collect();
        ensure!(volumes.len() == nodes.len(), "a node has no disk of its own");
        Volume::cut(&volumes)?;
        for at in nodes {
            let data = self.bed.slots[*at].server.data();
            if fs::write(data.join("late"), "late").is_ok() {
                return Err(Void("a disk without power is written to".to_owned()).into());
            }
        }
        self.bed.kill(nodes)?;
        for at in nodes {
            if let Some(volume) = &self.bed.slots[*at].volume {
                volume.remount().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn power_one(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        self.cut_power(&[at]).await?;
        self.struck("power of one", &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn power_all(&mut self) -> Result<()> {
        let mut all = self.bed.members();
        all.retain(|at| self.bed.slots[*at].server.process().is_some());
        self.cut_power(&all).await?;
        self.struck("power of all", &format!("{all:?}"));
        Ok(())
    }

    async fn fill(&mut self, at: usize) -> Result<()> {
        let volume = self.bed.slots[at].volume.as_ref().context("it has a disk of its own")?;
        volume.fill(FLOOR)?;
        let bed = &self.bed;
        let full = within("the node says that its disk is full", || async {
            let told = bed.ask(at, "/ready").await;
            told.is_ok_and(|told| told.code == 503 && told.json()["disk_full"] == true)
        })
        .await;
        full.map_err(|error| Void(format!("{error:#}")).into())
    }

    pub(super) async fn full(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        self.fill(at).await?;
        self.hold(HOLD_MS).await;
        self.struck(&format!("disk full {}", name(who)), &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn full_all(&mut self) -> Result<()> {
        for at in self.bed.members() {
            if self.bed.slots[at].server.process().is_some() {
                self.fill(at).await?;
            }
        }
        self.hold(HOLD_MS).await;
        self.struck("disks full, all", "each node");
        Ok(())
    }

    pub(super) async fn fail_sync(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        self.bed.slots[at].may_end = true;
        self.bed.fail_next_sync(at)?;
        let bed = &self.bed;
        let failed = within("a sync has failed", || async { bed.has_sync_failed(at) }).await;
        failed.map_err(|error| Void(format!("{error:#}")))?;
        let slot = std::sync::Mutex::new(&mut self.bed.slots[at]);
        let ended = within("a node whose sync failed ends", || async {
            slot.lock().is_ok_and(|mut slot| slot.server.has_ended())
        })
        .await;
        ended.map_err(Violation::of("it goes on after a failed sync"))?;
        self.struck(&format!("sync fails, {}", name(who)), &format!("node {}", at + 1));
        Ok(())
    }

    pub(super) async fn slow_sync(&mut self, who: Who) -> Result<()> {
        let at = self.target(who).await?;
        let ms = SLOW_MS[self.dice.below(SLOW_MS.len() as u64) as usize];
        let delay = Duration::from_millis(ms);
        let before = self.bed.slowed_syncs(at);
        self.bed.slow_syncs(at, delay)?;
        let bed = &self.bed;
        let slowed = within("a sync was slow", || async { bed.slowed_syncs(at) > before }).await;
        slowed.map_err(|error| Void(format!("{error:#}")))?;
        self.hold(HOLD_MS).await;
        let count = self.bed.slowed_syncs(at) - before;
        self.struck(
            &format!("slow syncs, {}", name(who)),
            &format!("node {}, {count} of {delay:?} each", at + 1),
        );
        Ok(())
    }

    /// Starts a node whose files were damaged. It must be sound, or say in one line what is wrong, and take part in nothing.
    async fn start_damaged(&mut self, at: usize) -> Result<Start> {
        let data = self.bed.slots[at].server.data();
        let before = self.bed.slots[at].server.log().len();
        self.bed.slots[at].may_end = true;
        if let Some(refusal) = self.bed.try_run(at).await? {
            is_clear(&refusal, &data).map_err(Violation::of("how it refuses"))?;
            return Ok(Start::Ended(refusal));
        }
        let leader = self.bed.leader_of(&self.others(at)).await?;
        let index = self.bed.status(leader).await?.applied;
        let (bed, ended) = (
            std::sync::Mutex::new(&mut self.bed),
            std::sync::atomic::AtomicBool::new(false),
        );
        // The node is asked by its own client, which the loop makes anew each time: whoever holds the lock would hold it over a wait.
        let settled = within("it has ended, or has what the others have", || async {
            let (has_ended, client, unsealing) = {
                let Ok(mut bed) = bed.lock() else { return false };
                let has_ended = bed.slots[at].server.has_ended();
                (has_ended, bed.client_on(at), bed.unsealing(at))
            };
            if has_ended {
                ended.store(true, std::sync::atomic::Ordering::SeqCst);
                return true;
            }
            if let Ok((anonymous, share)) = unsealing {
                let _ = anonymous.unseal(None, share).await;
            }
            let Ok(client) = client else { return false };
            let status = client.call(aumbry_client::v1::StatusRequest::default()).await;
            status.is_ok_and(|status| status.applied >= index)
        })
        .await;
        settled.map_err(Violation::of("a node with damaged files neither ends nor catches up"))?;
        if !ended.into_inner() {
            return Ok(Start::Sound);
        }
        let code = self.bed.slots[at].server.ended().await?;
        let text = self.bed.slots[at].server.log().split_off(before);
        let refusal = Refusal { code, text };
        is_clear(&refusal, &data).map_err(Violation::of("how it ends"))?;
        Ok(Start::Ended(refusal))
    }

    pub(super) fn others(&self, at: usize) -> Vec<usize> {
        self.bed.members().into_iter().filter(|other| *other != at).collect()
    }

    pub(super) async fn torn_tail(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        self.bed.kill(&[at])?;
        let (segment, end) = log_end(&self.bed.slots[at].server.data())?;
        // What a crash leaves: the beginning of a batch, which nobody acknowledged.
        let torn = [b"aumb", &vec![9; 500 + self.dice.below(3_000) as usize][..]].concat();
        let segment = File::options().write(true).open(segment)?;
        segment.write_all_at(&torn, end.next_multiple_of(512))?;
        match self.start_damaged(at).await? {
            Start::Sound => self.struck("torn tail", &format!("node {}, {} bytes", at + 1, torn.len())),
            Start::Ended(refusal) => {
                return Err(Violation(format!("a torn tail is refused: {}", refusal.text)).into());
            }
        }
        Ok(())
    }

    pub(super) async fn lost_tail(&mut self) -> Result<()> {
        let at = self.target(Who::Follower).await?;
        self.bed.kill(&[at])?;
        let (segment, end) = log_end(&self.bed.slots[at].server.data())?;
        let begin = end - end / 2;
        let lost = vec![0; usize::try_from(end - begin)?];
        let segment = File::options().write(true).open(segment)?;
        segment.write_all_at(&lost, begin)?;
        match self.start_damaged(at).await? {
            Start::Sound => return Err(Violation("a node that lost half of its log took part".to_owned()).into()),
            Start::Ended(_) => self.struck("lost tail", &format!("node {}, {} bytes", at + 1, lost.len())),
        }
        self.come_back_anew(at).await
    }

    pub(super) async fn flip_bit(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        self.bed.slots[at].server.stop().await?;
        let data = self.bed.slots[at].server.data();
        let place = ["log/wal", "state", "audit"][self.dice.below(3) as usize];
        let mut files: Vec<PathBuf> = files_below(&data.join(place))?;
        files.retain(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_read = ["MANIFEST", ".sst", ".seg"].iter().any(|part| name.contains(part));
            is_read && used_bytes(path).is_ok_and(|bytes| bytes > 0)
        });
        let Some(file) = files.get(self.dice.below(files.len().max(1) as u64) as usize) else {
            self.note(&format!("there is no file in {place}"));
            return Ok(());
        };
        let byte = self.dice.below(used_bytes(file)?);
        flip(file, byte, self.dice.below(8) as u32)?;
        self.note(&format!("flipped: {}, byte {byte}", file.display()));
        let start = self.start_damaged(at).await?;
        if matches!(start, Start::Sound) {
            // A block that was not read yet is found by reading everything.
            self.bed.slots[at].server.stop().await?;
        }
        let (code, found) = operator("check", &self.bed.slots[at].server.config(), &[])?;
        let remedy = found["remedy"].as_str().unwrap_or_default().to_owned();
        self.struck("bit flip", &format!("node {}, {place}, remedy {remedy:?}", at + 1));
        if matches!(start, Start::Ended(_)) && code != 8 {
            return Err(Violation(format!("it refused to start, and nothing is found: {found}")).into());
        }
        match &*remedy {
            "nothing" => {}
            "repair" | "repair-from-peers" => {
                let (code, told) = operator("repair", &self.bed.slots[at].server.config(), &[])?;
                if code != 0 {
                    return Err(Violation(format!("the repair failed: {told}")).into());
                }
            }
            "discard" => return self.come_back_anew(at).await,
            other => bail!("an unexpected remedy: {other}: {found}"),
        }
        self.bed.run(at).await.map_err(Violation::of("after the remedy"))
    }

    pub(super) async fn roll_back(&mut self) -> Result<()> {
        let at = self.target(Who::Follower).await?;
        self.bed.kill(&[at])?;
        self.take_copy(at)?;
        self.bed.run(at).await?;
        self.bed.unseal(at).await?;
        let index = self.bed.status(at).await?.applied;
        self.clients.go_on(ROLLED_BACK).await?;
        let bed = &self.bed;
        let went_on = within("the node has acknowledged more", || async {
            bed.status(at)
                .await
                .is_ok_and(|status| status.applied > index + ROLLED_BACK)
        })
        .await;
        went_on.map_err(|error| Void(format!("{error:#}")))?;
        self.bed.kill(&[at])?;
        self.put_back(at)?;
        match self.start_damaged(at).await? {
            Start::Sound => return Err(Violation("a node that was rolled back took part".to_owned()).into()),
            Start::Ended(refusal) if refusal.text.contains("rolled back") => {
                self.struck("rolled-back disk", &format!("node {}", at + 1));
            }
            Start::Ended(refusal) => return Err(Violation(format!("it ended otherwise: {}", refusal.text)).into()),
        }
        self.come_back_anew(at).await
    }

    /// Copies the data of a node that is down.
    fn take_copy(&self, at: usize) -> Result<()> {
        let server = &self.bed.slots[at].server;
        let copy = server.directory().join(COPY);
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        duplicate(&server.data(), &copy)
    }

    /// Puts the copy in the place of the data of a node that is down.
    fn put_back(&self, at: usize) -> Result<()> {
        let server = &self.bed.slots[at].server;
        self.bed.wipe(at)?;
        for entry in fs::read_dir(server.directory().join(COPY))? {
            duplicate(&entry?.path(), &server.data())?;
        }
        Ok(())
    }

    pub(super) async fn roll_back_all(&mut self) -> Result<()> {
        let all = self.bed.members();
        self.bed.kill(&all)?;
        for at in &all {
            self.take_copy(*at)?;
        }
        self.heal().await?;
        self.clients.go_on(ROLLED_BACK).await?;
        self.bed.kill(&all)?;
        for at in &all {
            self.put_back(*at)?;
        }
        self.struck("all disks rolled back", "nobody knows");
        Ok(())
    }

    pub(super) async fn wipe(&mut self) -> Result<()> {
        let at = self.target(Who::Any).await?;
        self.bed.kill(&[at])?;
        self.bed.wipe(at)?;
        self.bed.run(at).await?;
        let server = &self.bed.slots[at].server;
        let anonymous = server.client_as(aumbry_types::SecretBytes::default())?;
        if anonymous.seal_status(None).await?.initialized {
            return Err(Violation("a wiped node belongs to a cluster".to_owned()).into());
        }
        self.struck("wiped node", &format!("node {}", at + 1));
        self.come_back_anew(at).await
    }

    /// Removes a node from the cluster, throws its data away, and has it join under another id.
    pub(super) async fn come_back_anew(&mut self, at: usize) -> Result<()> {
        self.bed.slots[at].server.kill()?;
        let old = self.bed.slots[at].id;
        self.bed
            .remove(at)
            .await
            .map_err(Violation::of("removing a lost node"))?;
        self.bed.wipe(at)?;
        self.bed.run(at).await?;
        self.join(at).await?;
        let new = self.bed.slots[at].id;
        if new <= old {
            return Err(Violation(format!("the id {new} was given after {old}")).into());
        }
        self.bed.slots[at].may_end = false;
        Ok(())
    }
}

/// Whether all threads of a process have stopped.
fn all_stopped(process: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut states = threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
    // The state comes after the name, which stands in parentheses.
    states.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
}

fn duplicate(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

/// How long a sync may take.
const SLOW_MS: [u64; 6] = [100, 200, 500, 1_000, 3_000, 10_000];
const COPY: &str = "copy";
/// Below a quarter of the reserve, so that a follower takes no entries.
const FLOOR: u64 = 16 << 20;
const HOLD_MS: u64 = 4_000;
/// Operations that a disk forgets when it is rolled back.
const ROLLED_BACK: u64 = 60;
