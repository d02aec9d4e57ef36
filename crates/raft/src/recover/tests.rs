//! A survivor made by hand: what counts of its log, and what is refused.

use std::collections::{BTreeMap, BTreeSet};

use aumbry_state::{Command, Entry, EntryHeader};
use aumbry_types::{ClusterId, CommandId, LogIndex};

use super::*;
use crate::pki;
use crate::snapshots::Taken;
use crate::types::{PeerNode, encode_entry};

/// A stopped node 2 of three, with entries up to an index, of which some are known to be committed. Nothing is applied on its disk.
fn survivor(path: &std::path::Path, last: u64, committed: u64, voters: &[u64]) -> DataDir {
    let data = DataDir::open(path).unwrap();
    identity(ClusterId::from_bytes([1; 16])).store(&data).unwrap();
    drop(StateMachine::open(data.state(), data.audit(), data.snapshots()).unwrap());
    let nodes: BTreeMap<u64, PeerNode> = voters.iter().map(|id| (*id, PeerNode::default())).collect();
    let membership = openraft::Membership::new(vec![voters.iter().copied().collect::<BTreeSet<_>>()], nodes).unwrap();
    let entries = (0..=last).map(|index| {
        let payload = match index {
            0 => EntryPayload::Membership(membership.clone()),
            _ => EntryPayload::Blank,
        };
        let log_id = raft_log_id(index / 4 + 1, 1, index);
        (index, encode_entry(&RaftEntry { log_id, payload }))
    });
    let log = Wal::open(&data.log()).unwrap();
    log.append(entries.collect(), Box::new(drop));
    log.put_meta(Meta::Vote, encode(&RaftVote::new(9, 3)), None);
    log.put_meta(
        Meta::Committed,
        encode(&raft_log_id(1, 1, committed)),
        Some(Box::new(drop)),
    );
    drop(log);
    data
}

fn identity(cluster: ClusterId) -> Identity {
    Identity::make(&pki::make_authority(cluster).unwrap(), cluster, NodeId(2)).0
}

fn member() -> Member {
    PeerNode::default().to_member(2, true, None)
}

/// An entry with one command that changes nothing.
fn entry() -> Bytes {
    let command = Command {
        id: CommandId::from_bytes([7; 16]),
        preconditions: Vec::new(),
        writes: Vec::new(),
        commitment: [8; 32],
    };
    let header = EntryHeader {
        log_time: 0,
        wall_time: 1,
    };
    Entry {
        header,
        commands: vec![command],
        audit: Bytes::new(),
    }
    .encode()
}

#[test]
fn the_whole_log_counts_and_begins_anew() {
    let root = tempfile::tempdir().unwrap();
    let data = survivor(&root.path().join("data"), 10, 6, &[1, 2, 3]);
    let remains = Remains::open(&data).unwrap();
    let status = &remains.status;
    assert_eq!(
        (status.last_log, status.committed, status.applied),
        (LogIndex(10), LogIndex(6), LogIndex(0))
    );
    assert_eq!((status.term, remains.last.leader.term), (Term(9), Term(3)));
    assert_eq!(
        (status.members.len(), status.audit_size, remains.forgotten),
        (3, 11, Some(0))
    );
    assert!(!remains.is_quorum());

    let cluster = ClusterId::from_bytes([2; 16]);
    let aside = recover(&data, &remains, &member(), &identity(cluster), entry()).unwrap();
    let log = Wal::open(&aside.join("log")).unwrap();
    assert_eq!(
        (log.first_index(), log.last_index()),
        (Some(0), Some(10)),
        "the old log is kept"
    );
    drop(log);
    let recovered = Remains::open(&data).unwrap();
    assert!(recovered.is_quorum());
    assert_eq!(recovered.identity.cluster, cluster);
    let status = recovered.status;
    assert_eq!(
        (status.last_log, status.applied, status.purged),
        (LogIndex(12), LogIndex(12), LogIndex(12))
    );
    assert_eq!(
        (status.term, status.audit_size, status.members.len()),
        (Term(10), 13, 1)
    );
    assert_eq!((recovered.log.first_index(), recovered.log.end()), (None, 13));
    let taken = Taken::in_directory(&data.snapshots()).read().unwrap().unwrap();
    assert_eq!(taken.last_log_id.unwrap().index, 12);
}

#[test]
fn an_entry_that_does_not_fit_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let data = survivor(&root.path().join("data"), 4, 4, &[1, 2, 3]);
    let remains = Remains::open(&data).unwrap();
    let identity = identity(ClusterId::from_bytes([2; 16]));
    let refused = recover(&data, &remains, &member(), &identity, Bytes::from_static(b"no entry"));
    assert!(matches!(refused, Err(RecoverError::Different)));
    let still = Remains::open(&data).unwrap();
    assert_eq!(
        (still.last, still.identity.cluster),
        (remains.last, remains.identity.cluster)
    );
    let names = std::fs::read_dir(data.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().starts_with("repl"))
    );
}

#[test]
fn what_is_not_whole_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let data = survivor(&root.path().join("gap"), 10, 6, &[1, 2, 3]);
    let log = Wal::open(&data.log()).unwrap();
    log.purge_to(3, encode(&raft_log_id(1, 1, 3)));
    drop(log);
    let error = Remains::open(&data).map(drop).unwrap_err();
    assert!(matches!(error, RemainsError::Gap { next: 0, first: 4 }), "{error}");

    let data = DataDir::open(&root.path().join("fresh")).unwrap();
    let error = Remains::open(&data).map(drop).unwrap_err();
    assert!(matches!(error, RemainsError::NoMember), "{error}");

    let data = survivor(&root.path().join("alone"), 3, 3, &[2]);
    assert!(Remains::open(&data).unwrap().is_quorum());
}
