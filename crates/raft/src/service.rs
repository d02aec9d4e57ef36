//! What a node answers to its peers. Every call is checked before its message is looked at: the right cluster, the right node, and a
//! caller whose key is a member's.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aumbry_api::peer::v1 as wire;
use aumbry_api::peer::v1::peer_service_server::PeerService;
use aumbry_api::peer::v1::snapshot_chunk::Part;
use aumbry_state::Room;
use aumbry_storage::{Incoming, Space};
use aumbry_types::{ClusterId, NodeId};
use futures::{Stream, StreamExt as _};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::acknowledged::Acknowledged;
use crate::admission::{Role, admit, check_vote};
use crate::campaign::Campaigns;
use crate::convert;
use crate::heard::Heard;
use crate::network::{CHUNKS_AHEAD, read_chunks};
use crate::node::{Config, Handlers};
use crate::peers::{CLUSTER, FROM, TO};
use crate::room;
use crate::snapshots::meta_of;
use crate::state_machine::Shared;
use crate::tls::PeerIdentity;
use crate::transfer::{Inbox, STALL};
use crate::types::{Raft, Snapshot, SnapshotMeta, TypeConfig};
use crate::vacancy::{Attended, Doubts};

/// The service of one node.
pub(crate) struct Service {
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<Shared>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) config: Config,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) handlers: Handlers,
    pub(crate) campaigns: Arc<Campaigns>,
    pub(crate) doubts: Arc<Doubts>,
    pub(crate) acknowledged: Arc<Acknowledged>,
    pub(crate) space: Arc<Space>,
    /// One snapshot at a time is lent: each takes the disk for itself.
    pub(crate) lending: Arc<Semaphore>,
    pub(crate) lent: AtomicU64,
}

impl Service {
    /// Admits a call before its message is parsed, or refuses it. What a method asks of its caller beyond that, it asks itself.
    pub(crate) fn admit_unread(&self, call: Request<()>) -> Result<Request<()>, Status> {
        self.admit(&call, Role::Leader).map(|_| call)
    }

    fn admit<T>(&self, request: &Request<T>, role: Role) -> Result<PeerIdentity, Status> {
        let identity = *self.identify(request)?;
        admit(&self.shared, &self.raft, &identity, role)?;
        Ok(identity)
    }

    /// Who calls, if the call is for this node; nothing is said yet of whether it is a member.
    fn identify<'a, T>(&self, request: &'a Request<T>) -> Result<&'a PeerIdentity, Status> {
        let refuse = |message: &'static str| Err(Status::permission_denied(message));
        let text = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok());
        if text(CLUSTER) != Some(&*self.cluster.to_string()) {
            return refuse("the call is for another cluster");
        }
        if text(TO) != Some(&*self.node.to_string()) {
            return refuse("the call is for another node");
        }
        let Some(identity) = request.extensions().get::<PeerIdentity>() else {
            return refuse("the caller showed no certificate of a node");
        };
        if text(FROM) != Some(&*identity.node.to_string()) {
            return refuse("the caller is not who it says");
        }
        self.acknowledged.check()?;
        Ok(identity)
    }

    /// A snapshot is for a node that has room for the log after it, too.
    fn has_room(&self) -> Result<(), Status> {
        match self.space.room() {
            Room::Spent => Err(room::full()),
            Room::Ample | Room::Low => Ok(()),
        }
    }

    /// Reads what a candidate asks. It may know that this node was rolled back: then there is no answer.
    fn hear_candidate(&self, candidate: NodeId, request: wire::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
        let told = request.acknowledged;
        let request = convert::from_vote_request(request)?;
        check_vote(&self.raft, &request.vote, candidate)?;
        let reach = request.last_log_id.map_or(0, |id| id.index);
        self.acknowledged.confront(told, reach)?;
        Ok(request)
    }

    /// Looks at what a snapshot is announced as. Gives the answer at once if it is of no use: its sender leads no more, or what it holds is applied.
    fn look(&self, head: &wire::SnapshotHead, sender: NodeId) -> Result<Option<wire::SnapshotReply>, Status> {
        let vote = convert::from_vote(head.vote)?;
        check_vote(&self.raft, &vote, sender)?;
        let last = head.last.as_ref().map(convert::from_log_id);
        let last = last.filter(|_| vote.committed).ok_or_else(convert::malformed)?;
        convert::before_vote(&vote, [&last])?;
        let current = self.raft.metrics().borrow_watched().vote;
        let applied = self.shared.facts().last;
        if current <= vote && applied < Some(last) {
            return match applied.is_none_or(|applied| applied.index < last.index) {
                true => Ok(None),
                // It has another history than what is committed here. Consensus ends the process over that.
                false => Err(convert::malformed()),
            };
        }
        let vote = Some(convert::vote(&current));
        Ok(Some(wire::SnapshotReply { vote }))
    }

    /// Receives what was announced. Its sender must be a member all the time, and send.
    async fn receive(
        &self,
        head: &wire::SnapshotHead,
        mut chunks: Streaming<wire::SnapshotChunk>,
        sender: &PeerIdentity,
    ) -> Result<(SnapshotMeta, Incoming), Status> {
        let begun = head.clone();
        let mut receiving = self.on_disk(move |inbox| inbox.begin(&begun)).await?;
        while let Some(part) = next_part(&mut chunks).await? {
            admit(&self.shared, &self.raft, sender, Role::Leader)?;
            let Part::Data(data) = part else {
                return Err(convert::malformed());
            };
            receiving = self
                .on_disk(move |inbox| inbox.write(&mut receiving, &data).map(|()| receiving))
                .await?;
        }
        let (header, incoming) = self.on_disk(move |inbox| inbox.finish(receiving)).await?;
        let meta = meta_of(&header).map_err(fatal)?;
        if meta.last_log_id != head.last.as_ref().map(convert::from_log_id) {
            return Err(Status::data_loss("the snapshot is another one than announced"));
        }
        Ok((meta, incoming))
    }

    /// Works on what is being received where it holds up no task.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inbox) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let inbox = Arc::clone(&self.inbox);
        tokio::task::spawn_blocking(move || work(&inbox)).await.map_err(fatal)?
    }
}

#[tonic::async_trait]
impl PeerService for Service {
    type AppendStream = Attended<Answers>;

    async fn append(
        &self,
        request: Request<Streaming<wire::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let identity = self.admit(&request, Role::Leader)?;
        let (shared, raft, heard) = (Arc::clone(&self.shared), self.raft.clone(), Arc::clone(&self.heard));
        let (campaigns, acknowledged) = (Arc::clone(&self.campaigns), Arc::clone(&self.acknowledged));
        let space = Arc::clone(&self.space);
        // Told after the answers to what was taken before it: the leader then leaves this node alone for a moment.
        let refusal = Arc::<Mutex<Option<Status>>>::default();
        let refusing = Arc::clone(&refusal);
        // A stream outlives changes of membership, so each message is admitted. One that is not, or cannot be read, ends the stream: skipping
        // it would leave a hole.
        let node = identity.node;
        let requests = request.into_inner().map(move |message| {
            let message = message?;
            let leader = admit(&shared, &raft, &identity, Role::Leader)?;
            let told = message.acknowledged;
            let taken = room::takes(space.room(), &message);
            let message = convert::from_append(message).inspect_err(|status| {
                // The leader hears why, and begins anew from what it has by then.
                *refusing.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
            })?;
            check_vote(&raft, &message.vote, leader)?;
            // Before consensus sees that a follower's log has become shorter, which its leader cannot cope with.
            acknowledged.confront(told, reach_of(&message))?;
            if let Err(full) = taken {
                *refusing.lock().unwrap_or_else(PoisonError::into_inner) = Some(full.clone());
                return Err(full);
            }
            heard.note(leader, Instant::now());
            campaigns.hear_leader(Instant::now());
            Ok::<_, Status>(message)
        });
        let requests = requests.take_while(|message| futures::future::ready(message.is_ok()));
        let requests = requests.filter_map(|message| futures::future::ready(message.ok()));
        let replies = self.raft.stream_append(requests);
        let replies = replies.map(|reply| reply.map(convert::append_reply).map_err(fatal));
        let refusal = futures::stream::once(async move {
            let refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
            refusal.map(Err)
        });
        let refusal = refusal.filter_map(futures::future::ready);
        let answers: Answers = Box::pin(replies.chain(refusal));
        Ok(Response::new(Attended::new(answers, node, Arc::clone(&self.doubts))))
    }

    async fn vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
        let candidate = self.admit(&request, Role::Leader)?.node;
        let request = self.hear_candidate(candidate, request.into_inner())?;
        let reply = self.raft.vote(request).await.map_err(fatal)?;
        let acknowledged = self.acknowledged.of(candidate.0);
        Ok(Response::new(convert::vote_reply(&reply, acknowledged)))
    }

    async fn pre_vote(&self, request: Request<wire::VoteRequest>) -> Result<Response<wire::VoteReply>, Status> {
        let candidate = self.admit(&request, Role::Leader)?.node;
        let request = self.hear_candidate(candidate, request.into_inner())?;
        // The candidate misses the leader, and this node has not yet.
        if let Some(leader) = self.raft.metrics().borrow_watched().current_leader {
            self.doubts.note(NodeId(leader));
        }
        let reply = self.raft.pre_vote(request).await.map_err(fatal)?;
        let acknowledged = self.acknowledged.of(candidate.0);
        Ok(Response::new(convert::vote_reply(&reply, acknowledged)))
    }

    async fn transfer(&self, request: Request<wire::TransferRequest>) -> Result<Response<wire::TransferReply>, Status> {
        let leader = self.admit(&request, Role::Leader)?.node;
        let transfer = convert::from_transfer(request.into_inner())?;
        check_vote(&self.raft, transfer.from_leader(), leader)?;
        let answer = self.raft.handle_transfer_leader(transfer).await.map_err(fatal)?;
        answer.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(wire::TransferReply {}))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<wire::SnapshotChunk>>,
    ) -> Result<Response<wire::SnapshotReply>, Status> {
        let sender = self.admit(&request, Role::Leader)?;
        let mut chunks = request.into_inner();
        let Some(Part::Head(head)) = next_part(&mut chunks).await? else {
            return Err(convert::malformed());
        };
        if let Some(answer) = self.look(&head, sender.node)? {
            return Ok(Response::new(answer));
        }
        self.has_room()?;
        let (meta, incoming) = self.receive(&head, chunks, &sender).await?;
        // That took hours, maybe.
        admit(&self.shared, &self.raft, &sender, Role::Leader)?;
        let vote = convert::from_vote(head.vote)?;
        let raft = self.raft.clone();
        // On a task of its own: if the connection breaks now, the file must stay until it is installed.
        let installing = tokio::spawn(async move {
            let snapshot = incoming.path().to_owned();
            raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await
        });
        let installed = installing.await.map_err(fatal)?.map_err(fatal)?;
        Ok(Response::new(wire::SnapshotReply {
            vote: Some(convert::vote(&installed.vote)),
        }))
    }

    type FetchSnapshotStream = Pin<Box<dyn Stream<Item = Result<wire::SnapshotChunk, Status>> + Send>>;

    async fn fetch_snapshot(
        &self,
        request: Request<wire::FetchSnapshotRequest>,
    ) -> Result<Response<Self::FetchSnapshotStream>, Status> {
        let identity = self.admit(&request, Role::Member)?;
        let from = identity.node;
        if !self.shared.is_member(&identity) {
            return Err(Status::permission_denied(
                "the caller is not a member, as far as this node knows",
            ));
        }
        let least = request.into_inner().least_index;
        let (shared, space) = (Arc::clone(&self.shared), Arc::clone(&self.space));
        let looking = tokio::task::spawn_blocking(move || shared.has_room_for_copy(&space));
        if !looking.await.map_err(fatal)? {
            return Err(room::full());
        }
        let Ok(permit) = Arc::clone(&self.lending).try_acquire_owned() else {
            return Err(Status::unavailable("another node is being sent a snapshot"));
        };
        tracing::info!(
            node = from.0,
            least,
            "a node that lost its applied state asks for a snapshot"
        );
        let number = self.lent.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        let lending = tokio::task::spawn_blocking(move || shared.lend(least, &format!("lent-{number}.tmp")));
        let lent = lending.await.map_err(fatal)?.map_err(fatal)?;
        let (meta, file) = lent.ok_or_else(|| Status::unavailable("this node has not applied so much yet"))?;
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(async move {
            read_chunks(meta, tokio::fs::File::from_std(file), sender).await;
            drop(permit);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(chunks).map(Ok))))
    }

    async fn snapshot_held(
        &self,
        request: Request<wire::SnapshotHeldRequest>,
    ) -> Result<Response<wire::SnapshotHeldReply>, Status> {
        self.admit(&request, Role::Leader)?;
        self.has_room()?;
        let wire::SnapshotHeldRequest { name, bytes } = request.into_inner();
        let offset = self.on_disk(move |inbox| inbox.held(&name, bytes)).await?;
        Ok(Response::new(wire::SnapshotHeldReply { offset }))
    }

    async fn read_index(
        &self,
        request: Request<wire::ReadIndexRequest>,
    ) -> Result<Response<wire::ReadIndexReply>, Status> {
        self.admit(&request, Role::Member)?;
        let index = crate::node::read_index(&self.raft, &self.config)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(wire::ReadIndexReply { index }))
    }

    async fn status(
        &self,
        request: Request<wire::PeerStatusRequest>,
    ) -> Result<Response<wire::PeerStatusReply>, Status> {
        self.admit(&request, Role::Member)?;
        let mut reply = (self.handlers.status)();
        reply.acknowledged = self.acknowledged.all();
        Ok(Response::new(reply))
    }

    async fn forward(&self, request: Request<wire::ForwardRequest>) -> Result<Response<wire::ForwardReply>, Status> {
        let from = self.admit(&request, Role::Member)?.node;
        let answer = (self.handlers.forward)(from, request.into_inner().call).await?;
        Ok(Response::new(wire::ForwardReply { answer }))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::AppendReply, Status>> + Send>>;

/// How far a leader's log goes at least.
fn reach_of(append: &AppendEntriesRequest<TypeConfig>) -> u64 {
    let last = append.entries.last().map(|entry| entry.log_id);
    let ids = [append.prev_log_id, append.leader_commit, last];
    ids.into_iter().flatten().map(|id| id.index).max().unwrap_or(0)
}

/// What comes next of a snapshot; none at its end. A sender that has gone quiet, with its connection alive, is not waited for.
async fn next_part(chunks: &mut Streaming<wire::SnapshotChunk>) -> Result<Option<Part>, Status> {
    let next = tokio::time::timeout(STALL, chunks.message()).await;
    let Some(chunk) = next.map_err(|_| Status::deadline_exceeded("nothing more of the snapshot came"))?? else {
        return Ok(None);
    };
    chunk.part.map(Some).ok_or_else(convert::malformed)
}

fn fatal(error: impl std::fmt::Display) -> Status {
    tracing::warn!(%error, "a call of a peer was not served");
    Status::unavailable("the node cannot serve its peers now")
}

#[cfg(test)]
mod tests;
