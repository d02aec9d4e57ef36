//! What a peer lends, and how the log goes on from it.

use aumbry_storage::Wal;
use openraft::EntryPayload;
use openraft::storage::RaftStateMachine as _;

use super::*;
use crate::types::{RaftEntry, RaftLeader, encode_entry};

fn entry(term: u64, index: u64) -> RaftEntry {
    RaftEntry {
        log_id: raft_log_id(term, 1, index),
        payload: EntryPayload::Blank,
    }
}

fn durable(call: impl FnOnce(aumbry_storage::Done)) {
    let (sender, receiver) = std::sync::mpsc::channel();
    call(Box::new(move |done| drop(sender.send(done))));
    receiver.recv().unwrap().unwrap();
}

/// A log of the entries 0 to 9 of term 2, purged up to 3, committed up to 6, with a vote of term 2.
fn log() -> (tempfile::TempDir, Arc<dyn Log>) {
    let directory = tempfile::tempdir().unwrap();
    let log = Wal::open(&directory.path().join("log")).unwrap();
    let entries = (0..10).map(|index| (index, encode_entry(&entry(2, index)))).collect();
    durable(|done| log.append(entries, done));
    log.purge_to(3, encode(&raft_log_id(2, 1, 3)));
    log.put_meta(Meta::Committed, encode(&raft_log_id(2, 1, 6)), None);
    let leader_id = RaftLeader { term: 2, node_id: 1 };
    let vote = RaftVote {
        leader_id,
        committed: true,
    };
    durable(|done| log.put_meta(Meta::Vote, encode(&vote), Some(done)));
    (directory, Arc::new(log))
}

#[tokio::test]
async fn the_log_goes_on_from_the_snapshot() {
    // Of the snapshot: term and index. Then: first entry, last entry, purged and term of the vote.
    let cases = [
        ((2, 5), (Some(4), Some(9), 3, 2)),
        ((2, 9), (Some(4), Some(9), 3, 2)),
        // It is ahead of the log: the log begins after it.
        ((2, 12), (None, None, 12, 2)),
        ((4, 12), (None, None, 12, 4)),
        // It has another entry where this log's was never committed: that one and those after it go.
        ((4, 8), (None, None, 8, 4)),
    ];
    for ((term, index), expected) in cases {
        let (_directory, log) = log();
        let ends = ends_of(&*log).unwrap();
        let last = raft_log_id(term, 1, index);
        assert!(!contradicts(&*log, &ends, last), "{last}");
        fit_log(&log, &ends, last).await.unwrap();
        let ends = ends_of(&*log).unwrap();
        let (purged, vote) = (ends.purged.unwrap().index, ends.vote.unwrap().leader_id.term);
        assert_eq!((log.first_index(), log.last_index(), purged, vote), expected, "{last}");
        let applied = Ends {
            applied: Some(last),
            snapshot: Some(index),
            ..ends
        };
        assert_eq!(applied.check(), Ok(()), "{last}");
    }
}

#[test]
fn what_contradicts_the_committed_log_is_refused() {
    let (_directory, log) = log();
    let ends = ends_of(&*log).unwrap();
    for (term, index, contradicting) in [(1, 3, true), (1, 5, true), (4, 6, true), (4, 7, false), (2, 6, false)] {
        let last = raft_log_id(term, 1, index);
        assert_eq!(contradicts(&*log, &ends, last), contradicting, "{last}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_lent_that_reaches() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(&directory.path().join("data")).unwrap();
    let mut machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).unwrap();
    let shared = Arc::clone(machine.shared());
    let apply = |range: std::ops::Range<u64>| futures::stream::iter(range.map(|index| Ok((entry(1, index), None))));
    machine.apply(apply(0..6)).await.unwrap();
    for (least, expected) in [(0, Some(5)), (5, Some(5)), (6, None)] {
        let lent = shared.lend(least, "lent.tmp").unwrap();
        assert_eq!(
            lent.and_then(|(meta, _)| Some(meta.last_log_id?.index)),
            expected,
            "{least}"
        );
        assert!(!data.snapshots().join("lent.tmp").exists());
    }
}
