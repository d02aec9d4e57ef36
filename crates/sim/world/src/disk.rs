//! Disks: what a node has written, what of it is durable, and what is left after a crash.
//!
//! The log is written as the real one writes it: one batch at a time, synced before the next. What is not synced when the process ends is lost, but for
//! the batch that is under way, which may be there whole; one that is torn does not count. Rows are durable when they are flushed, audit bodies when they
//! are synced; of bodies some may be there that were not.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::host::{self, Death};
use crate::{HostId, with};

/// Called when something is durable.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;
/// Rows, by their keys.
pub type Rows = BTreeMap<Bytes, Bytes>;
/// An audit body: its log index, the number of its first record, its bytes.
pub type Body = (u64, u64, Arc<Vec<u8>>);

/// What a log holds.
#[derive(Clone, Default, Debug)]
pub struct LogImage {
    /// The entries.
    pub entries: BTreeMap<u64, Bytes>,
    /// Small values, by their numbers.
    pub metas: BTreeMap<u8, Bytes>,
    /// How many votes were written.
    pub votes: u64,
    /// The index up to which it was purged.
    pub purged: Option<u64>,
}

/// A change of a log.
#[derive(Clone, Debug)]
pub enum Change {
    /// Entries at the end.
    Append(Vec<(u64, Bytes)>),
    /// Removes all from an index on.
    TruncateFrom(u64),
    /// Removes all up to an index, with the value that says so, and its number.
    PurgeTo(u64, u8, Bytes),
    /// A small value; whether it is a vote.
    Meta(u8, Bytes, bool),
    /// Nothing: only what came before is to be durable.
    Sync,
}

impl LogImage {
    /// Makes a change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Change::TruncateFrom(index) => drop(self.entries.split_off(index)),
            Change::PurgeTo(index, meta, marker) => {
                self.entries = self.entries.split_off(&(index + 1));
                self.metas.insert(*meta, marker.clone());
                self.purged = Some(*index);
            }
            Change::Meta(meta, value, is_vote) => {
                self.metas.insert(*meta, value.clone());
                self.votes += u64::from(*is_vote);
            }
            Change::Sync => {}
        }
    }

    /// One past the last index, retained or purged.
    #[must_use]
    pub fn end(&self) -> u64 {
        let last = self.entries.last_key_value().map(|(index, _)| *index);
        last.max(self.purged).map_or(0, |last| last + 1)
    }
}

/// How far a log was acknowledged.
#[derive(Clone, Copy, Default, Debug)]
pub struct Floor {
    /// One past the last index that was.
    pub end: u64,
    /// How many votes were.
    pub votes: u64,
}

struct Op {
    change: Change,
    done: Option<Done>,
}

/// How a disk is.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// The shortest time that a sync takes.
    pub sync_ms: u64,
    /// What comes on top, by chance, at most.
    pub jitter_ms: u64,
    /// Whether the next sync fails.
    pub fails: bool,
    /// Whether it says of everything that it is durable before it is: a disk that lies. No promise holds with it.
    pub lies: bool,
    /// Whether the vote is gone when the process ends. No promise holds with it either.
    pub forgets_votes: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            sync_ms: 0,
            jitter_ms: 2,
            fails: false,
            lies: false,
            forgets_votes: false,
        }
    }
}

/// How much room there is: 0 is enough, 1 little, 2 none.
pub type RoomLevel = u8;

#[derive(Default)]
struct LogDisk {
    is_there: bool,
    durable: LogImage,
    floor: Floor,
    damage: Option<u64>,
    queue: VecDeque<Op>,
    /// How many of the queue are being synced, and until when.
    under_way: Option<(usize, u64)>,
    syncs: u64,
}

/// The disk of one host.
#[derive(Default)]
pub(crate) struct Disk {
    log: LogDisk,
    health: Health,
    room: RoomLevel,
    rows: BTreeMap<PathBuf, Arc<Rows>>,
    current: BTreeMap<PathBuf, PathBuf>,
    bodies: BTreeMap<PathBuf, Vec<Body>>,
    /// Bodies that were written and not synced.
    unsynced: BTreeMap<PathBuf, Vec<Body>>,
    generation: u64,
    /// Whether what was durable is gone, or is as it was before.
    is_spoilt: bool,
}

fn disk<R>(host: HostId, look: impl FnOnce(&mut Disk) -> R) -> R {
    with(|world| look(world.disks.entry(host).or_default()))
}

/// Sets how a disk is from now on.
pub fn set_health(host: HostId, health: Health) {
    disk(host, |disk| disk.health = health);
}

/// How a disk is.
#[must_use]
pub fn health(host: HostId) -> Health {
    disk(host, |disk| disk.health)
}

/// Sets how much room a disk has.
pub fn set_room(host: HostId, room: RoomLevel) {
    disk(host, |disk| disk.room = room);
}

/// How much room the disk of the host has whose code runs.
#[must_use]
pub fn room() -> RoomLevel {
    disk(crate::current(), |disk| disk.room)
}

/// Whether there is a log, and what is durable of it: what it holds, how far it was acknowledged, and the entry that is damaged.
#[must_use]
pub fn open_log() -> Option<(LogImage, Floor, Option<u64>)> {
    disk(crate::current(), |disk| {
        let log = &disk.log;
        let is_there = log.is_there;
        is_there.then(|| (log.durable.clone(), log.floor, log.damage))
    })
}

/// Makes an empty log.
pub fn create_log() {
    disk(crate::current(), |disk| disk.log.is_there = true);
}

/// Flips a bit of a durable entry. Gives its index; none if there is no entry.
pub fn flip_a_bit(host: HostId, chance: u64) -> Option<u64> {
    disk(host, |disk| {
        let log = &mut disk.log;
        let count = log.durable.entries.len() as u64;
        let place = usize::try_from(chance.checked_rem(count)?).ok()?;
        let (index, bytes) = log.durable.entries.iter_mut().nth(place)?;
        let mut changed = bytes.to_vec();
        let at = usize::try_from(chance).unwrap_or(0) % changed.len().max(1);
        *changed.get_mut(at)? ^= 1 << (chance % 8);
        *bytes = changed.into();
        log.damage = Some(*index);
        Some(*index)
    })
}

/// How the entry at an index of the log of a host begins, durable or on its way to be.
#[must_use]
pub fn beginning(host: HostId, index: u64, bytes: usize) -> Option<Bytes> {
    let written = |op: &Op| match &op.change {
        Change::Append(entries) => entries.iter().find(|(at, _)| *at == index).map(|(_, entry)| entry.slice(..bytes)),
        _ => None,
    };
    disk(host, |disk| {
        let log = &disk.log;
        let durable = || Some(log.durable.entries.get(&index)?.slice(..bytes));
        log.queue.iter().rev().find_map(written).or_else(durable)
    })
}

/// Whether the durable log of a host has an entry that begins with these bytes at an index, or had it before it was purged; or may have had it, before
/// something was done to the disk.
#[must_use]
pub fn holds(host: HostId, index: u64, beginning: &[u8]) -> bool {
    disk(host, |disk| {
        let log = &disk.log.durable;
        let entry = log.entries.get(&index);
        let is_there = entry.is_some_and(|entry| entry.starts_with(beginning));
        is_there || log.purged.is_some_and(|purged| purged >= index) || disk.is_spoilt
    })
}

/// Forgets everything on a disk.
pub fn wipe(host: HostId) {
    let empty = Disk {
        is_spoilt: true,
        ..Disk::default()
    };
    let old = with(|world| world.disks.insert(host, empty));
    drop(old);
}

/// A copy of what is durable on a disk, to be put back later.
pub struct Copy {
    log: LogImage,
    floor: Floor,
    rows: BTreeMap<PathBuf, Arc<Rows>>,
    current: BTreeMap<PathBuf, PathBuf>,
    bodies: BTreeMap<PathBuf, Vec<Body>>,
}

/// Copies a disk, floor and all.
#[must_use]
pub fn copy(host: HostId) -> Copy {
    disk(host, |disk| Copy {
        log: disk.log.durable.clone(),
        floor: disk.log.floor,
        rows: disk.rows.clone(),
        current: disk.current.clone(),
        bodies: disk.bodies.clone(),
    })
}

/// Puts a copy back: an old image of the whole disk.
pub fn restore(host: HostId, copy: Copy) {
    disk(host, |disk| {
        disk.is_spoilt = true;
        disk.log.durable = copy.log;
        disk.log.floor = copy.floor;
        disk.rows = copy.rows;
        disk.current = copy.current;
        disk.bodies = copy.bodies;
    });
}

/// Changes the log of the host whose code runs.
pub fn write_log(change: Change, done: Option<Done>) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    let lied = with(|world| {
        let now = world.now_ms;
        let disk = world.disks.entry(host).or_default();
        if disk.health.lies {
            disk.log.queue.push_back(Op { change, done: None });
            return done;
        }
        disk.log.queue.push_back(Op { change, done });
        let jitter = world.rng.below(disk.health.jitter_ms + 1);
        disk.begin_sync(now, jitter);
        None
    });
    if let Some(done) = lied {
        done(Ok(()));
    }
}

impl Disk {
    /// Begins to sync what is queued, if somebody waits for it and nothing is under way.
    fn begin_sync(&mut self, now: u64, jitter: u64) {
        let log = &mut self.log;
        if log.under_way.is_none() && log.queue.iter().any(|op| op.done.is_some()) {
            let until = now + 1 + self.health.sync_ms + jitter;
            log.under_way = Some((log.queue.len(), until));
        }
    }

    /// Makes the first of the queue durable.
    fn settle(&mut self, count: usize) -> Vec<Done> {
        let log = &mut self.log;
        let mut done = Vec::new();
        for op in log.queue.drain(..count.min(log.queue.len())) {
            log.durable.apply(&op.change);
            if let Change::Append(entries) = &op.change
                && let Some((last, _)) = entries.last()
            {
                log.floor.end = last + 1;
            }
            if let Change::TruncateFrom(index) = op.change {
                log.floor.end = log.floor.end.min(index);
            }
            done.extend(op.done);
        }
        log.floor.votes = log.durable.votes;
        log.syncs += 1;
        done
    }
}

/// Tells what has become durable by now.
pub(crate) fn complete() {
    let due: Vec<HostId> = with(|world| {
        let now = world.now_ms;
        let is_due = |disk: &Disk| disk.log.under_way.is_some_and(|(_, until)| until <= now);
        world.disks.iter().filter(|(_, disk)| is_due(disk)).map(|(host, _)| *host).collect()
    });
    for host in due {
        if host::point_outside(host, "log: before the sync ends") {
            continue;
        }
        if disk(host, |disk| std::mem::take(&mut disk.health.fails)) {
            crate::strikes::count("failed-sync");
            host::end(host, Death::Fatal("a sync of the log failed".to_owned()));
            continue;
        }
        let done = disk(host, |disk| {
            let count = disk.log.under_way.take().map_or(0, |(count, _)| count);
            disk.settle(count)
        });
        crate::trace::note("synced", &[host, done.len() as u64]);
        if host::point_outside(host, "log: between sync and callback") {
            continue;
        }
        let before = crate::current();
        crate::enter(host);
        for done in done {
            done(Ok(()));
        }
        crate::enter(before);
        with(|world| {
            let now = world.now_ms;
            let disk = world.disks.entry(host).or_default();
            let jitter = world.rng.below(disk.health.jitter_ms + 1);
            disk.begin_sync(now, jitter);
        });
    }
}

/// Makes everything durable that was done to the log, and calls back, before it returns: for who may block.
pub fn sync_log(done: Done) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    let told = disk(host, |disk| {
        if disk.health.lies {
            return Vec::new();
        }
        disk.log.under_way = None;
        let count = disk.log.queue.len();
        disk.settle(count)
    });
    for told in told {
        told(Ok(()));
    }
    done(Ok(()));
}

/// How often the log was synced.
#[must_use]
pub fn syncs() -> u64 {
    disk(crate::current(), |disk| disk.log.syncs)
}

/// A process ended.
pub(crate) fn stop(host: HostId) {
    let lost = with(|world| {
        let is_kept = world.rng.percent(50);
        let kept = world.rng.next();
        let Some(disk) = world.disks.get_mut(&host) else { return Vec::new() };
        if disk.health.forgets_votes {
            // The number of its meta is that of the first one.
            disk.log.durable.metas.remove(&0);
        }
        let mut lost = Vec::new();
        if let Some((count, _)) = disk.log.under_way.take() {
            if is_kept {
                lost.extend(disk.settle(count));
            } else {
                *world.strikes.entry("torn-write").or_default() += 1;
            }
        }
        if !disk.log.queue.is_empty() {
            *world.strikes.entry("lost-unsynced-writes").or_default() += 1;
        }
        lost.extend(disk.log.queue.drain(..).filter_map(|op| op.done));
        for (directory, bodies) in std::mem::take(&mut disk.unsynced) {
            let count = usize::try_from(kept % (bodies.len() as u64 + 1)).unwrap_or(0);
            let durable = disk.bodies.entry(directory).or_default();
            durable.extend(bodies.into_iter().take(count));
        }
        lost
    });
    // They are never called, and what they hold may look for the world.
    drop(lost);
}

/// The current rows below a directory, made if there are none.
#[must_use]
pub fn open_rows(directory: &Path) -> Arc<Rows> {
    disk(crate::current(), |disk| {
        let path = disk.current.entry(directory.to_owned()).or_insert_with(|| directory.join("0"));
        Arc::clone(disk.rows.entry(path.clone()).or_default())
    })
}

/// Replaces the current rows, durably.
pub fn flush_rows(directory: &Path, rows: Arc<Rows>) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    disk(host, |disk| {
        if let Some(path) = disk.current.get(directory) {
            disk.rows.insert(path.clone(), rows);
        }
    });
}

/// Writes other rows beside the current ones, durably. Gives their directory.
#[must_use]
pub fn install_rows(directory: &Path, rows: Rows) -> PathBuf {
    disk(crate::current(), |disk| {
        disk.generation += 1;
        let path = directory.join(disk.generation.to_string());
        disk.rows.insert(path.clone(), Arc::new(rows));
        path
    })
}

/// Makes other rows the current ones, durably.
pub fn switch_rows(directory: &Path, installed: &Path) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    disk(host, |disk| {
        disk.current.insert(directory.to_owned(), installed.to_owned());
        disk.rows.retain(|path, _| path.parent() != Some(directory) || path == installed);
    });
}

/// The audit bodies in a directory that are there.
#[must_use]
pub fn open_bodies(directory: &Path) -> Vec<Body> {
    disk(crate::current(), |disk| disk.bodies.get(directory).cloned().unwrap_or_default())
}

/// Appends bodies, not durably.
pub fn append_bodies(directory: &Path, bodies: &[Body]) {
    disk(crate::current(), |disk| {
        disk.unsynced.entry(directory.to_owned()).or_default().extend(bodies.iter().cloned());
    });
}

/// Makes all bodies durable.
pub fn sync_bodies(directory: &Path) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    disk(host, |disk| {
        let unsynced = disk.unsynced.remove(directory).unwrap_or_default();
        disk.bodies.entry(directory.to_owned()).or_default().extend(unsynced);
    });
}

/// Removes bodies of which all records are before this one, durably; what is not durable of the others stays so.
pub fn prune_bodies(directory: &Path, seq: u64) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    disk(host, |disk| {
        if let Some(bodies) = disk.bodies.get_mut(directory) {
            let keep = bodies.partition_point(|(_, first, _)| *first <= seq);
            drop(bodies.drain(..keep.saturating_sub(1)));
        }
    });
}

/// Replaces all bodies, durably.
pub fn replace_bodies(directory: &Path, bodies: Vec<Body>) {
    let host = crate::current();
    if !host::is_alive(host) {
        return;
    }
    disk(host, |disk| {
        disk.unsynced.remove(directory);
        disk.bodies.insert(directory.to_owned(), bodies);
    });
}
