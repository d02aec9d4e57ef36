//! Snapshots through crashes, and beside each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aumbry_state::Consensus as _;
use aumbry_storage::{DataDir, Log as _, Meta, Wal};
use aumbry_types::{ClusterId, NodeId};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine as _;
use tokio::net::TcpListener;

use super::*;
use crate::identity::Identity;
use crate::log_store::LogStore;
use crate::node::{Config, Handlers, RaftNode};
use crate::pki;
use crate::state_machine::StateMachine;
use crate::types::{PeerNode, RaftEntry, RaftVote, encode_entry};

/// An entry of the first leader; the first one is the membership.
fn entry(index: u64) -> RaftEntry {
    let membership = || {
        let nodes: BTreeMap<u64, PeerNode> = [1, 2].map(|id| (id, PeerNode::default())).into();
        openraft::Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
    };
    RaftEntry {
        log_id: raft_log_id(1, 1, index),
        payload: match index {
            0 => EntryPayload::Membership(membership()),
            _ => EntryPayload::Blank,
        },
    }
}

/// A data directory with so many entries applied.
fn filled(path: &Path, applied: u64) -> (DataDir, StateMachine) {
    let data = DataDir::open(path).unwrap();
    let machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).unwrap();
    let entries: Vec<RaftEntry> = (0..=applied).map(entry).collect();
    machine.shared().apply(&entries).unwrap();
    machine.shared().flush();
    (data, machine)
}

/// A snapshot in a file.
fn written(shared: &Shared) -> Snapshot {
    shared.write_snapshot(|index| shared.snapshot_path(index)).unwrap()
}

fn identity(node: u64) -> Identity {
    let cluster = ClusterId::from_bytes([1; 16]);
    Identity::make(&pki::make_authority(cluster).unwrap(), cluster, NodeId(node)).0
}

/// The process dies as soon as the received snapshot is in use. The rows would be ahead of the log and of every snapshot.
#[tokio::test]
async fn a_snapshot_that_a_crash_keeps_from_being_installed_is_installed_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let (_, sender) = filled(&root.path().join("sender"), 60);
    let (data, machine) = filled(&root.path().join("data"), 30);
    let sent = written(sender.shared());
    let received = data.snapshots().join("received-1.tmp");
    std::fs::copy(&sent.snapshot, &received).unwrap();
    // It ends before the first step that cannot be taken back: no audit bodies can be put there.
    let audit = data.audit();
    std::fs::rename(&audit, root.path().join("audit")).unwrap();
    std::fs::write(&audit, "").unwrap();
    machine.shared().install(&sent.meta, &received).unwrap_err();
    std::fs::remove_file(&audit).unwrap();
    std::fs::rename(root.path().join("audit"), &audit).unwrap();
    drop(machine);
    {
        let log = Wal::open(&data.log()).unwrap();
        let entries = (0..=40).map(|index| (index, encode_entry(&entry(index))));
        log.append(entries.collect(), Box::new(drop));
        log.put_meta(Meta::Vote, encode(&RaftVote::new_committed(1, 1)), Some(Box::new(drop)));
    }
    let config = Config {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_secs(50),
        election_max: Duration::from_secs(60),
        snapshot_log_bytes: 1 << 30,
    };
    let handlers = Handlers {
        forward: Arc::new(|_, _| Box::pin(async { Ok(Bytes::new()) })),
        status: Arc::new(Default::default),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let space = Arc::new(Space::new(&data, 0));
    let node = RaftNode::start(&data, &identity(2), config, listener, handlers, space)
        .await
        .unwrap();
    let status = node.status();
    let end = LogStore::new(Arc::clone(&node.log)).last_index();
    assert_eq!((status.applied.0, end), (60, 60));
    assert_eq!(status.digest, sender.shared().applied().machine.digest());
    // Rows and log have it now.
    node.shared.remove_reached().unwrap();
    assert_eq!(newest_index(&data.snapshots()).unwrap(), None);
    node.shutdown().await;
}

/// Bodies of a snapshot that begin after all that this node has, as above a floor that it has not heard of: the process died between bodies and rows.
#[test]
fn a_snapshot_whose_bodies_alone_were_put_there_is_installed_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let (_, sender) = filled(&root.path().join("sender"), 60);
    let (data, machine) = filled(&root.path().join("data"), 30);
    let sent = written(sender.shared());
    let kept = machine.shared().snapshot_path(60);
    drop(machine);
    let reader = SnapshotReader::open(&sent.snapshot).unwrap();
    AuditSegments::replace_all(&data.audit(), reader.bodies().skip(40)).unwrap();
    let open = || StateMachine::open(data.state(), data.audit(), data.snapshots());
    // The control: with nothing to install, what is missing is missed.
    assert!(open().is_err());
    std::fs::copy(&sent.snapshot, &kept).unwrap();
    let machine = open().unwrap();
    assert_eq!(machine.shared().facts().last.map(|id| id.index), Some(30));
    machine.shared().install(&sent.meta, &kept).unwrap();
    let digest = |machine: &StateMachine| machine.shared().applied().machine.digest();
    assert_eq!(digest(&machine), digest(&sender));
    assert_eq!(machine.shared().audit().next_index(), Some(61));
}

/// Purging the log must not take the time and the room of a copy of everything.
#[tokio::test]
async fn a_snapshot_is_taken_without_a_file() {
    let root = tempfile::tempdir().unwrap();
    let (data, mut machine) = filled(&root.path().join("data"), 9);
    assert!(
        machine
            .get_current_snapshot()
            .await
            .unwrap()
            .is_none_or(|snapshot| index_of(&snapshot.meta) < 9)
    );
    let taken = machine.shared().take();
    assert_eq!(index_of(&taken.meta), 9);
    let found = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(found.meta, taken.meta);
    assert_eq!(newest_index(&data.snapshots()).unwrap(), None);
    drop(machine);
    // The rows are as far, and say so after a start.
    let mut machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).unwrap();
    let found = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(found.meta, taken.meta);
    let kept = Taken::in_directory(&data.snapshots()).read().unwrap();
    assert_eq!(kept, Some(taken.meta));
}

/// What broke off goes on with the same file, and a file that no longer reaches is replaced.
#[test]
fn a_file_is_written_when_one_is_needed() {
    let root = tempfile::tempdir().unwrap();
    let (data, machine) = filled(&root.path().join("data"), 9);
    let shared = machine.shared();
    let space = Space::new(&data, 0);
    space.measure();
    let file = |least| {
        shared
            .file_for(least, &space)
            .map(|(meta, path, _)| (index_of(&meta), path))
    };
    let (index, first) = file(5).unwrap();
    assert_eq!(index, 9);
    shared.apply(&[entry(10)]).unwrap();
    assert_eq!(file(9).unwrap(), (9, first.clone()));
    let (index, second) = file(10).unwrap();
    assert_eq!((index, first.exists(), second.exists()), (10, false, true));

    let (.., mut open) = shared.file_for(10, &space).unwrap();
    // Without a log nothing says that it reaches as far.
    shared.remove_reached().unwrap();
    assert!(second.exists());
    let log: Arc<dyn aumbry_storage::Log> = Arc::new(Wal::open(&data.log()).unwrap());
    shared.follow(&log);
    shared.remove_reached().unwrap();
    assert!(second.exists());
    log.append(
        (0..=10).map(|index| (index, encode_entry(&entry(index)))).collect(),
        Box::new(drop),
    );
    shared.remove_reached().unwrap();
    assert!(!second.exists());
    let mut sent = Vec::new();
    io::Read::read_to_end(&mut open, &mut sent).unwrap();
    assert!(!sent.is_empty(), "whoever is being sent it goes on");

    let greedy = Space::new(&data, u64::MAX / 2);
    let refused = shared.file_for(10, &greedy).map(drop).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
}

/// A flush or an installation holds the rows for as long as the disk takes. All of a small node is one thread: it must go on.
#[tokio::test]
async fn tasks_go_on_while_the_rows_are_held() {
    let root = tempfile::tempdir().unwrap();
    let (_data, mut machine) = filled(&root.path().join("data"), 9);
    let shared = Arc::clone(machine.shared());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (holds, held) = tokio::sync::oneshot::channel();
    let holder = std::thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            let _applied = shared.applied();
            holds.send(()).unwrap();
            // The control: whoever waits for it on this thread waits for as long.
            released.recv_timeout(Duration::from_secs(60)).is_ok()
        }
    });
    held.await.unwrap();
    let applying = tokio::spawn(async move {
        let entries = [Ok((entry(10), None))];
        machine.apply(futures::stream::iter(entries)).await
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!applying.is_finished());
    let facts = shared.facts();
    assert_eq!(facts.last.map(|id| id.index), Some(9));
    assert_eq!(facts.machine().audit_size(), 10);
    release.send(()).unwrap();
    applying.await.unwrap().unwrap();
    assert!(holder.join().unwrap(), "the rows were waited for");
    assert_eq!(shared.facts().last.map(|id| id.index), Some(10));
    let machine = shared.applied().machine.digest();
    assert_eq!(shared.facts().machine().digest(), machine);
}
