//! What each member has acknowledged, as far as this node has heard: a member whose log ends before that was rolled back.
//!
//! An old copy of a whole data directory is whole in itself: the floor is as old as the log, and nothing in it shows that this node has told others
//! of more. A voter that has forgotten an acknowledged entry can help to elect a leader without it, and a committed write is gone. But the others
//! remember. A leader knows of each member up to where its log is durable and committed; that is in the answer to the status call, which every node
//! makes of every other each second, so all come to know it, and each keeps it in a small file. It goes with every message in which it matters:
//! a request for a vote says what the candidate knows of the voter, the answer what the voter knows of the candidate, and an append what the leader
//! knows of the follower. Who is told of more than it has does not vote, takes nothing in, marks its directory and ends.
//!
//! An acknowledged entry that is committed is never removed from a log, only behind a snapshot. So a sound node is never told of more than it has.
//! Nobody knows of more than is committed as far as it knows itself. A number beyond that is a mistake: it is neither kept, nor passed on, nor
//! acted upon.
//!
//! What it does not notice: what was acknowledged after the last member that could tell has heard of it, which is a second or so while the members
//! are in contact, and everything since a member went away that alone is left to tell; all members rolled back at once; votes without an entry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_storage::{DataDir, SmallFile, StorageError};
use aumbry_types::{ClusterId, NodeId};
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::watch;
use tonic::Status;

use crate::identity::Identity;
use crate::log_store::LogStore;
use crate::node::RaftNode;
use crate::state_machine::Shared;

/// A data directory that is older than what its node has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the data directory {path} is older than what this node has acknowledged: index {acknowledged}, its log ends at {end}; its disk was rolled back: run `aumbry operator repair --config <file>`, remove the node from the cluster and join it anew"
)]
pub struct RolledBack {
    /// The data directory.
    pub path: PathBuf,
    /// The highest index that the node has acknowledged.
    pub acknowledged: u64,
    /// The last index of its log.
    pub end: u64,
}

/// What this node has heard, and whether it was told that it was rolled back itself.
pub(crate) struct Acknowledged {
    node: NodeId,
    cluster: ClusterId,
    path: PathBuf,
    log: LogStore,
    shared: Arc<Shared>,
    file: Arc<SmallFile>,
    mark: SmallFile,
    known: Mutex<Known>,
    rolled_back: watch::Sender<Option<RolledBack>>,
}

/// The highest index that each member has acknowledged.
#[derive(Default)]
struct Known {
    indexes: BTreeMap<u64, u64>,
    is_saved: bool,
}

impl Acknowledged {
    /// Reads what was heard before.
    pub(crate) fn open(
        data: &DataDir,
        identity: &Identity,
        log: LogStore,
        shared: Arc<Shared>,
    ) -> Result<Self, StorageError> {
        let file = data.small_file(FILE)?;
        let indexes = match file.read() {
            Ok(text) => text.and_then(|text| parse(&text, identity.cluster)).unwrap_or_default(),
            // It is of others, who tell it again within seconds.
            Err(error @ StorageError::Damaged { .. }) => {
                tracing::warn!(%error, "what other members have acknowledged is heard anew");
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            node: identity.node,
            cluster: identity.cluster,
            path: data.path().to_owned(),
            log,
            shared,
            file: Arc::new(file),
            mark: data.small_file(MARK)?,
            known: Mutex::new(Known {
                indexes,
                is_saved: true,
            }),
            rolled_back: watch::Sender::new(None),
        })
    }

    /// What a member has acknowledged, as far as this node has heard; 0 is nothing.
    pub(crate) fn of(&self, node: u64) -> u64 {
        self.lock().indexes.get(&node).copied().unwrap_or(0)
    }

    /// The same of all, for a peer.
    pub(crate) fn all(&self) -> Vec<wire::Acknowledged> {
        let known = self.lock();
        let all = known.indexes.iter();
        all.map(|(node, index)| wire::Acknowledged {
            node: *node,
            index: *index,
        })
        .collect()
    }

    /// Takes what a peer has heard, of this node too, and how far that peer has applied. Of others no more is kept than is committed as far as this
    /// node knows: a wrong number goes no further.
    pub(crate) fn learn(&self, told: &[wire::Acknowledged], applied: u64) {
        let facts = self.shared.facts();
        let own = facts.last.map_or(0, |id| id.index);
        let mut of_this = 0;
        let mut known = self.lock();
        for wire::Acknowledged { node, index } in told.iter().take(MEMBERS_MAX) {
            if *node == self.node.0 {
                of_this = *index;
            } else {
                known.raise(*node, (*index).min(own));
            }
        }
        known.bound(|id| facts.membership.membership().get_node(&id).is_some());
        drop(known);
        // Whoever asks is told by the mark and by the end of the process.
        let _ = self.confront(of_this, applied);
    }

    /// Takes what somebody says that this node has acknowledged, and how far somebody's own log goes at least. Fails if that is more than this node
    /// has: from then on it takes part in nothing. Nobody knows of acknowledgements beyond its own log; who says so is wrong, and not believed.
    pub(crate) fn confront(&self, acknowledged: u64, reach: u64) -> Result<(), Status> {
        self.check()?;
        if acknowledged <= self.log.last_index() {
            return Ok(());
        }
        if acknowledged > reach {
            tracing::debug!(
                acknowledged,
                reach,
                "a peer knows of acknowledgements beyond its own log"
            );
            return Ok(());
        }
        // A snapshot that was just installed is ahead of the log for a moment.
        let applied = self.shared.facts().last.map_or(0, |id| id.index);
        let end = self.log.last_index().max(applied);
        if acknowledged <= end {
            return Ok(());
        }
        let found = RolledBack {
            path: self.path.clone(),
            acknowledged,
            end,
        };
        let text = format!(
            "{MARK_HEAD}\ncluster {}\nacknowledged {acknowledged}\nend {end}\n",
            self.cluster
        );
        if let Err(error) = self.mark.write(&text) {
            // It ends all the same, and is told again when it is started.
            tracing::error!(%error, "a directory that was rolled back cannot be marked");
        }
        self.rolled_back.send_if_modified(|known| {
            let is_first = known.is_none();
            *known = Some(found);
            is_first
        });
        self.check()
    }

    /// Fails once this node was told that it was rolled back.
    pub(crate) fn check(&self) -> Result<(), Status> {
        if self.rolled_back.borrow().is_some() {
            return Err(Status::failed_precondition(
                "this node's disk was rolled back, and it ends",
            ));
        }
        Ok(())
    }

    /// Waits until this node was told that it was rolled back.
    pub(crate) async fn rolled_back(&self) -> RolledBack {
        let mut watching = self.rolled_back.subscribe();
        let found = watching
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|found| found.clone());
        match found {
            Some(found) => found,
            // The sender lives in self.
            None => std::future::pending().await,
        }
    }

    /// Keeps what was heard, if it has changed. Blocks.
    pub(crate) fn save(&self) {
        let mut known = self.lock();
        if std::mem::replace(&mut known.is_saved, true) {
            return;
        }
        let mut text = format!("{HEAD}\ncluster {}\n", self.cluster);
        for (node, index) in &known.indexes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "node {node} {index}");
        }
        drop(known);
        if let Err(error) = self.file.write(&text) {
            self.lock().is_saved = false;
            tracing::warn!(%error, "what other members have acknowledged was not stored");
        }
    }

    /// What this node sees while it leads; what is of nodes that were removed goes.
    fn observe(&self, node: &RaftNode) {
        let metrics = node.raft.metrics().borrow_watched().clone();
        let mut known = self.lock();
        if let Some(replication) = &metrics.replication {
            let committed = metrics.local_committed.map_or(0, |id| id.index);
            for (member, matched) in replication {
                let matched = matched.as_ref().map_or(0, |id| id.index);
                known.raise(*member, matched.min(committed));
            }
        }
        let membership = metrics.membership_config.membership();
        let newest = membership.nodes().map(|(id, _)| *id).max().unwrap_or(0);
        let before = known.indexes.len();
        // A member that this node has not heard of yet has a higher id.
        known
            .indexes
            .retain(|id, _| *id > newest || membership.get_node(id).is_some());
        known.is_saved &= known.indexes.len() == before;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn raise(&mut self, node: u64, index: u64) {
        let known = self.indexes.entry(node).or_default();
        if *known < index {
            *known = index;
            self.is_saved = false;
        }
    }

    /// Of ids that are no members, as far as this node knows, the lowest stay: ids are issued in turn, so those of members that it has not heard of yet
    /// are the next. A peer can tell of any.
    fn bound(&mut self, is_member: impl Fn(u64) -> bool) {
        let strangers = self.indexes.keys().copied().filter(|id| !is_member(*id));
        let excess: Vec<u64> = strangers.skip(MEMBERS_MAX).collect();
        self.is_saved &= excess.is_empty();
        for id in excess {
            self.indexes.remove(&id);
        }
    }
}

/// Observes, and keeps what was heard.
pub(crate) async fn run(node: Arc<RaftNode>) {
    let mut tick = tokio::time::interval(OBSERVE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        tick.tick().await;
        node.acknowledged.observe(&node);
        count += 1;
        if count.is_multiple_of(SAVE_EVERY) {
            let acknowledged = Arc::clone(&node.acknowledged);
            // It fails only when the process ends.
            let _ = tokio::task::spawn_blocking(move || acknowledged.save()).await;
        }
    }
}

/// What the directory of a node of this cluster was marked with, if it was.
///
/// # Errors
/// [`StorageError`] if the mark is damaged, or the disk fails.
pub fn rolled_back(data: &DataDir, cluster: ClusterId) -> Result<Option<RolledBack>, StorageError> {
    let mark = data.small_file(MARK)?;
    let Some(text) = mark.read()? else { return Ok(None) };
    let head = format!("{MARK_HEAD}\ncluster {cluster}\n");
    let Some(rest) = text.strip_prefix(&head) else {
        return Ok(None);
    };
    let number = |name: &str| {
        let mut lines = rest.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or(0)
    };
    Ok(Some(RolledBack {
        path: data.path().to_owned(),
        acknowledged: number("acknowledged"),
        end: number("end"),
    }))
}

pub(crate) fn parse(text: &str, cluster: ClusterId) -> Option<BTreeMap<u64, u64>> {
    let mut lines = text.lines();
    (lines.next()? == HEAD).then_some(())?;
    // A node that went over to another cluster knows nothing of it yet.
    (lines.next()?.strip_prefix("cluster ")? == cluster.to_string()).then_some(())?;
    let entry = |line: &str| {
        let (node, index) = line.strip_prefix("node ")?.split_once(' ')?;
        Some((node.parse().ok()?, index.parse().ok()?))
    };
    lines.map(entry).collect()
}

const FILE: &str = "acknowledged";
const HEAD: &str = "acknowledged 1";
/// There once a node was told that it was rolled back.
const MARK: &str = "rolled-back";
const MARK_HEAD: &str = "rolled-back 1";
/// Far more members than a cluster has. A node that has just joined knows none of them yet.
const MEMBERS_MAX: usize = 1_024;
/// A process does not end and start again in less.
const OBSERVE_EVERY: Duration = Duration::from_millis(200);
/// Once a second: as often as peers are asked.
const SAVE_EVERY: u64 = 5;

#[cfg(test)]
mod tests {
    use aumbry_storage::{Log as _, Wal};
    use openraft::EntryPayload;

    use super::*;
    use crate::state_machine::StateMachine;
    use crate::types::{RaftEntry, raft_log_id};

    #[test]
    fn what_was_heard_is_of_one_cluster() {
        let (cluster, other) = (ClusterId::from_bytes([1; 16]), ClusterId::from_bytes([2; 16]));
        let text = format!("{HEAD}\ncluster {cluster}\nnode 1 1042\nnode 3 1040\n");
        let expected = BTreeMap::from([(1, 1_042), (3, 1_040)]);
        assert_eq!(parse(&text, cluster), Some(expected));
        assert_eq!(parse(&text, other), None);
        assert_eq!(parse(&text.replace(HEAD, "acknowledged 2"), cluster), None);
        assert_eq!(parse(&text.replace("node 3", "knot 3"), cluster), None);
        assert_eq!(parse("", cluster), None);
    }

    #[test]
    fn what_was_heard_only_rises() {
        let mut known = Known {
            is_saved: true,
            ..Known::default()
        };
        known.raise(1, 7);
        assert!(!std::mem::replace(&mut known.is_saved, true));
        known.raise(1, 6);
        known.raise(1, 7);
        assert!(known.is_saved);
        assert_eq!(known.indexes, BTreeMap::from([(1, 7)]));
    }

    /// However many members a peer makes up, and however often, those that there are and that come next are kept.
    #[test]
    fn only_so_many_are_kept_that_are_no_members() {
        let mut known = Known::default();
        let is_member = |id| matches!(id, 1 | 2 | 5_000);
        for id in [1, 2, 5_000, 5_001] {
            known.raise(id, 7);
        }
        known.bound(is_member);
        assert_eq!(known.indexes.len(), 4);
        for message in 1..=10 {
            known.is_saved = true;
            for made_up in 0..MEMBERS_MAX as u64 {
                known.raise(1_000_000 * message + made_up, 7);
            }
            known.bound(is_member);
            assert_eq!(known.indexes.len(), 3 + MEMBERS_MAX);
            assert!([1, 2, 5_000, 5_001].iter().all(|id| known.indexes.contains_key(id)));
            assert!(!known.is_saved, "what is stored is replaced");
        }
    }

    /// One wrong number does not end the cluster: neither whom it is told of nor who passes it on.
    #[test]
    fn what_nobody_can_know_is_not_believed() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(&root.path().join("data")).unwrap();
        let machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).unwrap();
        let entries: Vec<RaftEntry> = (0..=20).map(blank).collect();
        machine.shared().apply(&entries).unwrap();
        let log = Wal::open(&data.log()).unwrap();
        let written = entries
            .iter()
            .map(|entry| (entry.log_id.index, crate::types::encode_entry(entry)));
        log.append(written.collect(), Box::new(drop));
        let log = LogStore::new(Arc::new(log));
        let open = |mark: &str| {
            let (file, mark) = (data.small_file(FILE).unwrap(), data.small_file(mark).unwrap());
            Acknowledged {
                node: NodeId(2),
                cluster: ClusterId::from_bytes([1; 16]),
                path: data.path().to_owned(),
                log: log.clone(),
                shared: Arc::clone(machine.shared()),
                file: Arc::new(file),
                mark,
                known: Mutex::default(),
                rolled_back: watch::Sender::new(None),
            }
        };
        let told = |node, index| [wire::Acknowledged { node, index }];
        let sound = open("sound");
        for index in [20, 30, u64::MAX] {
            sound.learn(&told(2, index), 19);
            assert!(sound.confront(index, 20).is_ok(), "{index}");
        }
        sound.learn(&told(3, 15), 20);
        assert_eq!(sound.of(3), 15);
        sound.learn(&told(3, u64::MAX), u64::MAX);
        let all: Vec<_> = sound.all().iter().map(|known| (known.node, known.index)).collect();
        assert_eq!(all, [(3, 20)], "it is kept and passed on as far as it can be true");
        assert!(sound.check().is_ok());

        // The control: what others can know.
        assert!(open("told").confront(30, 30).is_err());
        let rolled_back = open("heard");
        rolled_back.learn(&told(2, 30), 31);
        assert!(rolled_back.check().is_err());
    }

    fn blank(index: u64) -> RaftEntry {
        RaftEntry {
            log_id: raft_log_id(1, 1, index),
            payload: EntryPayload::Blank,
        }
    }
}
