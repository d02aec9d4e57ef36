//! What a node answers to callers that are no members, or say what they must not. Over real connections.

use aumbry_state::{Command, Consensus as _, Counters, Entry, EntryHeader, Put, Write, key};
use aumbry_storage::{DataDir, SnapshotHeader, SnapshotWriter, Space, snapshot_name};
use aumbry_types::{CommandId, ObjectId, WallTime};
use bytes::Bytes;
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tonic::Code;

use std::time::Duration;

use super::*;
use crate::identity::Identity;
use crate::node::{Config, RaftNode};
use crate::peers::{PeerClient, Peers, Purpose};
use crate::pki;
use crate::tls::PeerTls;
use crate::types::{PeerNode, encode, raft_log_id};

/// A cluster of one node, which leads, and others that exist as keys alone.
struct Bed {
    root: tempfile::TempDir,
    node: Arc<RaftNode>,
    authority: pki::Authority,
    server: PeerNode,
}

/// One that calls.
struct Caller {
    id: u64,
    pin: [u8; 32],
    client: PeerClient,
}

impl Bed {
    async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let authority = pki::make_authority(CLUSTER_ID).unwrap();
        let (identity, pin) = Identity::make(&authority, CLUSTER_ID, NodeId(1));
        let data = DataDir::open(&root.path().join("data")).unwrap();
        crate::prepare(&data).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = PeerNode {
            peer_addr: listener.local_addr().unwrap().to_string(),
            spki_pin: pin,
            ..PeerNode::default()
        };
        let handlers = Handlers {
            forward: Arc::new(|_, _| async { Ok(Bytes::new()) }.boxed()),
            status: Arc::new(|| wire::PeerStatusReply {
                wall_ms: WallTime(0).0,
                ..Default::default()
            }),
        };
        let space = Arc::new(Space::new(&data, 0));
        let node = RaftNode::start(&data, &identity, CONFIG, listener, handlers, space)
            .await
            .unwrap();
        node.bootstrap(&server.to_member(1, true, None)).await.unwrap();
        let bed = Self {
            root,
            node,
            authority,
            server,
        };
        bed.leads().await;
        bed
    }

    async fn leads(&self) {
        let mut changed = self.node.changed();
        let leads = changed.wait_for(|change| change.leadership.is_some());
        tokio::time::timeout(LONG, leads).await.unwrap().unwrap();
    }

    /// Waits until this node has voted under a term, which it does for itself when it has lost its leadership.
    async fn reaches(&self, term: u64) {
        let mut metrics = self.node.raft.metrics();
        let reached = async {
            while self.term() < term {
                metrics.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LONG, reached).await.unwrap();
    }

    /// Says that an id was issued, as a join does.
    async fn issue(&self, id: u64) {
        let put = Put {
            key: key::node_ids(),
            kind: 0,
            expires_at: 0,
            counters: Counters::Set([id, 0]),
            key_term: 0,
            container: ObjectId::well_known(0),
            body: Bytes::new(),
        };
        let command = Command {
            id: CommandId::from_bytes([id as u8; 16]),
            preconditions: Vec::new(),
            writes: vec![Write::Put(put)],
            commitment: [8; 32],
        };
        let header = EntryHeader {
            log_time: 0,
            wall_time: 1,
        };
        let entry = Entry {
            header,
            commands: vec![command],
            audit: Bytes::new(),
        };
        let leader = self.node.leadership().unwrap();
        self.node.propose(leader, entry.encode()).await.unwrap();
    }

    async fn add(&self, caller: &Caller) {
        let member = PeerNode {
            peer_addr: "127.0.0.1:1".to_owned(),
            spki_pin: caller.pin,
            ..PeerNode::default()
        };
        let member = member.to_member(caller.id, false, None);
        self.node.add_learner(member).await.unwrap();
    }

    fn caller(&self, id: u64) -> Caller {
        let (identity, pin) = Identity::make(&self.authority, CLUSTER_ID, NodeId(id));
        let tls = Arc::new(PeerTls::new(&identity).unwrap());
        let peers = Peers::new(tls, CLUSTER_ID, NodeId(id), &CONFIG);
        Caller {
            id,
            pin,
            client: peers.client(1, &self.server, Purpose::Append),
        }
    }

    fn term(&self) -> u64 {
        self.node.status().term.0
    }

    /// A snapshot file of nothing, and the message that announces it.
    fn snapshot(&self, caller: &Caller, index: u64) -> (wire::SnapshotHead, Bytes) {
        let path = self.root.path().join("sent");
        let header = SnapshotHeader {
            last_log_id: [1, 1, index],
            membership: encode(&crate::types::StoredMembership::default()).to_vec(),
        };
        SnapshotWriter::create(&path, &header).unwrap().finish().unwrap();
        let (name, bytes) = snapshot_name(&std::fs::File::open(&path).unwrap()).unwrap();
        let head = wire::SnapshotHead {
            vote: Some(vote(self.term() + 1, caller.id)),
            last: Some(convert::log_id(&raft_log_id(1, 1, index))),
            membership: header.membership.into(),
            bytes,
            name: name.to_vec().into(),
            offset: 0,
        };
        (head, std::fs::read(&path).unwrap().into())
    }

    /// The files of transfers that were begun.
    fn received(&self) -> usize {
        let files = self.root.path().join("data/snapshots").read_dir().unwrap();
        files.count()
    }
}

impl Caller {
    /// Appends nothing under a vote; whether there is a reply, or the stream ends.
    async fn append(&mut self, vote: wire::Vote) -> Result<bool, Status> {
        let request = wire::AppendRequest {
            vote: Some(vote),
            ..Default::default()
        };
        // openraft ends its side when there is no more.
        let mut replies = self.client.append(futures::stream::iter([request])).await?.into_inner();
        Ok(replies.message().await?.is_some())
    }

    async fn vote(&mut self, vote: wire::Vote) -> Result<wire::VoteReply, Status> {
        let request = wire::VoteRequest {
            vote: Some(vote),
            last: Some(convert::log_id(&raft_log_id(vote.term - 1, 1, 1_000))),
            ..Default::default()
        };
        self.client.pre_vote(request).await?;
        Ok(self.client.vote(request).await?.into_inner())
    }

    async fn send(&mut self, head: wire::SnapshotHead, data: Vec<Bytes>) -> Result<wire::SnapshotReply, Status> {
        use wire::snapshot_chunk::Part;
        let parts = std::iter::once(Part::Head(head)).chain(data.into_iter().map(Part::Data));
        let chunks: Vec<_> = parts.map(|part| wire::SnapshotChunk { part: Some(part) }).collect();
        // The sender waits for more: only an answer ends it.
        let chunks = futures::stream::iter(chunks).chain(futures::stream::pending());
        let answer = tokio::time::timeout(LONG, self.client.snapshot(chunks));
        Ok(answer.await.expect("there is an answer")?.into_inner())
    }
}

const fn vote(term: u64, node: u64) -> wire::Vote {
    wire::Vote {
        term,
        node,
        committed: true,
    }
}

fn code<T>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// The id that was issued last is no way back in: neither under a new term nor with a number that ends nodes.
///
/// Abuse cases: 68.
#[tokio::test]
async fn who_was_removed_with_the_last_id_leads_nobody() {
    let bed = Bed::start().await;
    bed.issue(2).await;
    let mut removed = bed.caller(2);
    bed.add(&removed).await;
    assert_eq!(code(removed.client.status(wire::PeerStatusRequest {}).await), Code::Ok);
    bed.node.remove(NodeId(2)).await.unwrap();
    let term = bed.term();
    let refused = Code::PermissionDenied;
    assert_eq!(code(removed.append(vote(term + 1, 2)).await), refused);
    assert_eq!(code(removed.vote(vote(term + 1, 2)).await), refused);
    let (head, bytes) = bed.snapshot(&removed, 1_000);
    assert_eq!(code(removed.send(head, vec![bytes]).await), refused);
    assert_eq!((bed.term(), bed.node.leads()), (term, true));

    // The control: the next id leads before its membership is known, and no longer with the key of another.
    bed.issue(3).await;
    let (mut joining, mut other) = (bed.caller(3), bed.caller(3));
    assert_eq!(code(joining.vote(vote(term + 1, 3)).await), Code::Ok);
    assert_eq!(
        code(joining.client.status(wire::PeerStatusRequest {}).await),
        refused,
        "it is no member yet"
    );
    assert!(joining.append(vote(term + 2, 3)).await.unwrap());
    bed.reaches(term + 3).await;
    bed.leads().await;
    bed.add(&joining).await;
    assert_eq!(code(joining.vote(vote(bed.term() + 1, 3)).await), Code::Ok);
    assert_eq!(code(other.vote(vote(bed.term() + 1, 3)).await), refused);
}

/// A member speaks for itself alone, and of terms that others can follow.
///
/// Abuse cases: 68.
#[tokio::test]
async fn a_vote_is_its_callers_own() {
    let bed = Bed::start().await;
    bed.issue(2).await;
    let mut member = bed.caller(2);
    bed.add(&member).await;
    let term = bed.term();
    assert_eq!(code(member.vote(vote(term + 1, 1)).await), Code::PermissionDenied);
    assert_eq!(code(member.vote(vote(u64::MAX, 2)).await), Code::InvalidArgument);
    for wrong in [vote(term + 1, 1), vote(u64::MAX, 2), vote(u64::MAX - 1, 2)] {
        // The stream ends without a reply.
        assert!(!member.append(wrong).await.unwrap());
    }
    let transfer = wire::TransferRequest {
        from: Some(vote(term, 1)),
        to: 2,
        last: None,
    };
    assert_eq!(code(member.client.transfer(transfer).await), Code::PermissionDenied);
    let (head, bytes) = bed.snapshot(&member, 1_000);
    for wrong in [vote(term + 1, 1), vote(u64::MAX, 2)] {
        let head = wire::SnapshotHead {
            vote: Some(wrong),
            ..head.clone()
        };
        assert_ne!(code(member.send(head, vec![bytes.clone()]).await), Code::Ok);
    }
    assert_eq!((bed.term(), bed.node.leads(), bed.received()), (term, true, 0));
    assert!(member.append(vote(term + 1, 2)).await.unwrap(), "the control");
}

/// What is of no use is answered before a byte of it is read, and another transfer goes on.
///
/// Abuse cases: 69.
#[tokio::test]
async fn a_snapshot_is_looked_at_before_it_is_received() {
    let bed = Bed::start().await;
    bed.issue(2).await;
    let mut member = bed.caller(2);
    bed.add(&member).await;
    let term = bed.term();
    let part = bed.root.path().join("data/snapshots/other.part");
    std::fs::write(&part, "begun").unwrap();
    // It is of an older leader.
    let (head, _) = bed.snapshot(&member, 1_000);
    let older = wire::SnapshotHead {
        vote: Some(vote(term - 1, 2)),
        last: Some(convert::log_id(&raft_log_id(term - 1, 1, 1_000))),
        ..head.clone()
    };
    let answered = member.send(older, Vec::new()).await.unwrap().vote.unwrap();
    assert_eq!((answered.term, answered.node), (term, 1));
    // It is of somebody who leads nobody.
    let mut candidate = head.clone();
    candidate.vote.as_mut().unwrap().committed = false;
    assert_eq!(code(member.send(candidate, Vec::new()).await), Code::InvalidArgument);
    // It has what is applied already.
    let (applied, _) = bed.snapshot(&member, 1);
    assert_eq!(code(member.send(applied, Vec::new()).await), Code::Ok);
    assert!(part.exists());
    assert_eq!((bed.term(), bed.received()), (term, 1));
}

/// What does not add up is refused before it is given to consensus, which would end the process over it.
///
/// Abuse cases: 69.
#[tokio::test]
async fn a_snapshot_that_does_not_add_up_is_refused() {
    let bed = Bed::start().await;
    bed.issue(2).await;
    let mut member = bed.caller(2);
    bed.add(&member).await;
    let (head, bytes) = bed.snapshot(&member, 1_000);
    let send = |head: wire::SnapshotHead, bytes: Bytes| {
        use wire::snapshot_chunk::Part;
        let chunks = [Part::Head(head), Part::Data(bytes)].map(|part| wire::SnapshotChunk { part: Some(part) });
        let mut client = member.client.clone();
        async move { client.snapshot(futures::stream::iter(chunks)).await }
    };
    // The bytes are not those of a snapshot.
    let damaged: Bytes = [&bytes[..8], &[9; 4], &bytes[12..]].concat().into();
    assert_eq!(code(send(head.clone(), damaged).await), Code::DataLoss);
    // It is announced as another one.
    let other = wire::SnapshotHead {
        last: Some(convert::log_id(&raft_log_id(1, 1, 2_000))),
        ..head.clone()
    };
    assert_eq!(code(send(other, bytes.clone()).await), Code::DataLoss);
    // It is announced as one of a later term than its leader's.
    let later = wire::SnapshotHead {
        last: Some(convert::log_id(&raft_log_id(bed.term() + 5, 1, 1_000))),
        ..head
    };
    assert_eq!(code(send(later, bytes).await), Code::InvalidArgument);
    assert!(bed.node.leads());
    assert_eq!(bed.received(), 0);
    assert!(member.append(vote(bed.term() + 1, 2)).await.unwrap(), "the control");
}

/// A member that is removed while it sends does not come to the end.
///
/// Abuse cases: 69.
#[tokio::test]
async fn a_snapshot_of_a_member_that_was_removed_meanwhile_is_refused() {
    use wire::snapshot_chunk::Part;
    let bed = Bed::start().await;
    bed.issue(2).await;
    let member = bed.caller(2);
    bed.add(&member).await;
    let (head, bytes) = bed.snapshot(&member, 1_000);
    let (sender, chunks) = mpsc::channel(1);
    let mut client = member.client.clone();
    let sending = tokio::spawn(async move { client.snapshot(ReceiverStream::new(chunks)).await });
    let send = async |part| drop(sender.send(wire::SnapshotChunk { part: Some(part) }).await);
    send(Part::Head(head)).await;
    send(Part::Data(bytes.slice(..10))).await;
    let began = async {
        while bed.received() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, began).await.unwrap();
    bed.node.remove(NodeId(2)).await.unwrap();
    send(Part::Data(bytes.slice(10..))).await;
    drop(sender);
    let answer = tokio::time::timeout(LONG, sending).await.unwrap().unwrap();
    assert_eq!(code(answer), Code::PermissionDenied);
    assert!(bed.node.leads());
}

const CLUSTER_ID: ClusterId = ClusterId::from_bytes([1; 16]);
const LONG: Duration = Duration::from_secs(60);
const CONFIG: Config = Config {
    heartbeat: Duration::from_millis(100),
    election_min: Duration::from_millis(500),
    election_max: Duration::from_millis(1_000),
    snapshot_log_bytes: 1 << 30,
};
