//! openraft's network: what a node says to its peers.
#![expect(clippy::result_large_err, reason = "openraft's traits name this error type")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_storage::Space;
use futures::{Stream, StreamExt as _};
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::acknowledged::Acknowledged;
use crate::coalesced::Coalesced;
use crate::contact::Contact;
use crate::convert;
use crate::peers::{PeerClient, Peers, Purpose};
use crate::state_machine::Shared;
use crate::transfer;
use crate::types::{PeerNode, RaftVote, Snapshot, SnapshotMeta, TypeConfig, encode};

type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the connections that openraft asks for.
#[derive(Clone)]
pub(crate) struct Network {
    peers: Arc<Peers>,
    acknowledged: Arc<Acknowledged>,
    shared: Arc<Shared>,
    space: Arc<Space>,
}

impl Network {
    pub(crate) const fn new(
        peers: Arc<Peers>,
        acknowledged: Arc<Acknowledged>,
        shared: Arc<Shared>,
        space: Arc<Space>,
    ) -> Self {
        Self {
            peers,
            acknowledged,
            shared,
            space,
        }
    }

    fn connection(&self, target: u64, node: &PeerNode, purpose: Purpose) -> Connection {
        Connection {
            client: self.peers.client(target, node, purpose),
            contact: self.peers.contact(target, node),
            target,
            acknowledged: Arc::clone(&self.acknowledged),
            network: self.clone(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        self.connection(target, node, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        self.connection(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> Connection {
        self.connection(target, node, Purpose::Snapshot)
    }
}

/// One connection to one peer.
pub(crate) struct Connection {
    client: PeerClient,
    contact: Arc<Contact>,
    target: u64,
    acknowledged: Arc<Acknowledged>,
    network: Network,
}

impl Connection {
    /// Hears a voter out: it may know that this node was rolled back. Then nothing is made of its vote.
    fn hear(&self, reply: wire::VoteReply, asked: &RaftVote) -> Rpc<VoteResponse<TypeConfig>> {
        let reach = reply.last.as_ref().map_or(0, |id| id.index);
        self.acknowledged
            .confront(reply.acknowledged, reach)
            .map_err(classify)?;
        convert::from_vote_reply(reply, asked.leader_id.term).map_err(classify)
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = std::path::PathBuf;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        let request = futures::stream::iter([convert::append(&rpc, self.acknowledged.of(self.target))]);
        let limit = option.hard_ttl();
        let one = async {
            let mut replies = self.client.append(request).await.map_err(classify)?.into_inner();
            let reply = replies
                .message()
                .await
                .map_err(classify)?
                .ok_or_else(|| classify(convert::malformed()))?;
            convert::from_append_reply(reply, rpc.vote.leader_id.term).map_err(classify)
        };
        Ok(within(limit, one).await?.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft waits out its backoff inside of this stream: unless it is asked for a request before the connection is tried, a peer
            // that is down is called again at once, for ever.
            let mut input = input;
            let Some(first) = input.next().await else {
                return Ok(Box::pin(futures::stream::empty()) as BoxStream<'s, _>);
            };
            let term = first.vote.leader_id.term;
            // One h2 stream a session, on the kept connection. It ends, without an error, when openraft ends its side. A peer that
            // went away is noticed by the keep-alive of the connection, which fails the stream.
            let requests = futures::stream::iter([first]).chain(Coalesced::new(input));
            let (acknowledged, target) = (Arc::clone(&self.acknowledged), self.target);
            let requests = requests.map(move |request| convert::append(&request, acknowledged.of(target)));
            let opening = self.client.append(requests);
            let opened = within(OPEN_TIMEOUT, async { opening.await.map_err(classify) }).await;
            self.contact.note(opened.is_ok());
            let replies = opened?.into_inner();
            let read = move |reply| convert::from_append_reply(reply, term);
            let results = replies.map(move |reply| reply.and_then(read).map_err(classify));
            Ok(Box::pin(results) as BoxStream<'s, _>)
        })
    }

    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        let request = convert::vote_request(&rpc, self.acknowledged.of(self.target));
        let reply = within(option.hard_ttl(), async {
            let answer = self.client.vote(request).await;
            answer.map_err(|status| classify(self.contact.noted(status)))
        })
        .await?;
        self.hear(reply.into_inner(), &rpc.vote)
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        let request = convert::vote_request(&rpc, self.acknowledged.of(self.target));
        let reply = within(option.hard_ttl(), async {
            let answer = self.client.pre_vote(request).await;
            answer.map_err(|status| classify(self.contact.noted(status)))
        })
        .await?;
        self.hear(reply.into_inner(), &rpc.vote)
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // Not its lifetime: a transfer that moves goes on, and what has arrived is not sent again.
        let limit = option.hard_ttl();
        let Network {
            peers, shared, space, ..
        } = &self.network;
        let outgoing = transfer::outgoing(peers, shared, space, &snapshot.meta);
        let client = &mut self.client;
        let sending = async { transfer::send(client, peers, &vote, outgoing.await?, limit).await };
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = sending => answer.map_err(classify)?,
        };
        let vote = convert::from_answered_vote(answer.vote, vote.leader_id.term).map_err(classify)?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let request = convert::transfer(&request);
        within(option.hard_ttl(), async {
            self.client.transfer(request).await.map_err(classify)
        })
        .await?;
        Ok(Ok(()))
    }

    fn backoff(&self) -> Option<Backoff> {
        let steps = [20, 40, 80, 160, 320].map(Duration::from_millis);
        Some(Backoff::new(
            steps.into_iter().chain(std::iter::repeat(Duration::from_millis(500))),
        ))
    }
}

/// Reads a snapshot file to whoever asked for it.
pub(crate) async fn read_chunks(
    meta: SnapshotMeta,
    mut file: tokio::fs::File,
    sender: mpsc::Sender<wire::SnapshotChunk>,
) {
    use wire::snapshot_chunk::Part;
    let bytes = file.metadata().await.map_or(0, |metadata| metadata.len());
    let head = wire::SnapshotHead {
        vote: None,
        last: meta.last_log_id.as_ref().map(convert::log_id),
        membership: encode(&meta.last_membership),
        bytes,
        ..Default::default()
    };
    if sender
        .send(wire::SnapshotChunk {
            part: Some(Part::Head(head)),
        })
        .await
        .is_err()
    {
        return;
    }
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        // A file that cannot be read ends the stream early, and the receiver refuses what is not whole.
        let Ok(read @ 1..) = file.read(&mut chunk).await else {
            return;
        };
        chunk.truncate(read);
        if sender
            .send(wire::SnapshotChunk {
                part: Some(Part::Data(chunk.into())),
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = Rpc<T>>) -> Rpc<T> {
    tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
        Err(RPCError::Network(NetworkError::from_string(
            "the peer did not answer in time",
        )))
    })
}

/// Whether to try again at once or to back off: a peer that cannot be reached or refuses us is left alone for a while.
fn classify(status: Status) -> RPCError<TypeConfig> {
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => {
            RPCError::Network(NetworkError::from_string(status.message()))
        }
        _ => RPCError::Unreachable(Unreachable::from_string(status.message())),
    }
}

const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read ahead of the network.
pub(crate) const CHUNKS_AHEAD: usize = 8;
