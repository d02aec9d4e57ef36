//! How the applied state of a node is opened: as it is, or, after `aumbry operator repair`, from a peer's snapshot.
//!
//! Rows, audit bodies and snapshots follow from the log, so a node that kept log, floor and vote may lose them and still be who it is: what it has
//! acknowledged and whom it has voted for is in the log alone. It fetches a snapshot from a peer that reaches its own log, and applies the rest of its
//! log itself. Until then it takes no part: no peer is answered, no vote given.
//!
//! A snapshot is believed if it is whole, adds up to its state digest and audit root, and does not contradict what this node knows to be committed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_storage::{DataDir, Incoming, Log, Meta, SnapshotReader, StorageError};
use openraft::storage::RaftLogStorage as _;
use serde::{Deserialize, Serialize};
use tonic::Streaming;

use crate::consistency::{Ends, ends_of};
use crate::log_store::LogStore;
use crate::node::StartError;
use crate::peers::{Peers, Purpose};
use crate::snapshots::newest_index;
use crate::state_machine::StateMachine;
use crate::types::{PeerNode, RaftLogId, RaftVote, SnapshotMeta, decode, decode_entry_id, encode, raft_log_id};

/// What `aumbry operator repair` leaves for the next start: the peers that can be asked, by their ids.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) peers: Vec<(u64, PeerNode)>,
}

impl Mark {
    /// Leaves the mark, durably.
    pub(crate) fn leave(&self, data: &DataDir) -> Result<(), StorageError> {
        data.write(MARK, &encode(self))
    }

    /// The mark; none if there is none.
    pub(crate) fn find(data: &DataDir) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = data.read(MARK)? else { return Ok(None) };
        let damaged = |_| StorageError::damaged(&data.path().join(MARK), "it cannot be read");
        decode(&bytes).map(Some).map_err(damaged)
    }
}

/// Opens the applied state of a node whose log is open.
///
/// # Errors
/// [`StartError`], before anything is changed, if rows, snapshots and log do not fit together.
pub(crate) async fn open(data: &DataDir, log: &Arc<dyn Log>, peers: &Peers) -> Result<StateMachine, StartError> {
    let machine = match Mark::find(data)? {
        Some(mark) => {
            let machine = rebuild(data, log, peers, &mark).await?;
            data.remove(MARK)?;
            machine
        }
        None => open_kept(data, log)?,
    };
    machine.shared().follow(log);
    machine.shared().remove_reached()?;
    Ok(machine)
}

/// Opens what is there.
fn open_kept(data: &DataDir, log: &Arc<dyn Log>) -> Result<StateMachine, StartError> {
    let ends = ends_of(&**log)?;
    let snapshot = newest_index(&data.snapshots())?;
    let fits = |applied| {
        let ends = Ends {
            applied,
            snapshot: snapshot.as_ref().map(|(index, _)| *index),
            ..ends
        };
        ends.check().map_err(|(part, what)| {
            let directory = data.path().join(part.name());
            io::Error::other(StorageError::damaged(&directory, what))
        })?;
        // The rows come from it, and the bodies that are there are cut.
        let is_needed = |index: u64| Some(index) > applied.map(|id| id.index);
        if let Some((_, path)) = snapshot.as_ref().filter(|(index, _)| is_needed(*index)) {
            SnapshotReader::open(path).map_err(io::Error::other)?;
        }
        Ok(())
    };
    let (state, audit) = (data.state(), data.audit());
    Ok(StateMachine::open_if(state, audit, data.snapshots(), fits)?)
}

async fn rebuild(data: &DataDir, log: &Arc<dyn Log>, peers: &Peers, mark: &Mark) -> Result<StateMachine, StartError> {
    // What is there is of an earlier try: the damaged parts were set aside before the mark was left.
    data.clear_applied()?;
    let machine = StateMachine::open(data.state(), data.audit(), data.snapshots())?;
    let ends = ends_of(&**log)?;
    let mut pause = PAUSE_MIN;
    let (meta, incoming) = 'found: loop {
        for (id, peer) in &mark.peers {
            match fetch(data, &**log, peers, (*id, peer), &ends).await {
                Ok(found) => break 'found found,
                Err(Refused::Own(error)) => return Err(error),
                Err(Refused::Peer(reason)) => {
                    tracing::warn!(node = id, address = peer.peer_addr, reason, "the peer gave no snapshot");
                }
            }
        }
        tracing::warn!(
            again_in_s = pause.as_secs(),
            "no peer gave a snapshot; this node takes no part until one does"
        );
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(PAUSE_MAX);
    };
    let shared = Arc::clone(machine.shared());
    let (installed, path) = (meta.clone(), incoming.path().to_owned());
    let installing = tokio::task::spawn_blocking(move || shared.install(&installed, &path));
    installing.await.map_err(io::Error::other)??;
    if let Some(last) = meta.last_log_id {
        fit_log(log, &ends, last).await?;
        tracing::info!(
            index = last.index,
            "the applied state is back; the rest of the log is applied to it"
        );
    }
    Ok(machine)
}

/// Why a peer's snapshot was not taken.
enum Refused {
    /// The peer has none, or not a good one: another may.
    Peer(String),
    /// This node cannot store it.
    Own(StartError),
}

impl From<tonic::Status> for Refused {
    fn from(status: tonic::Status) -> Self {
        Self::Peer(status.message().to_owned())
    }
}

impl From<StorageError> for Refused {
    fn from(error: StorageError) -> Self {
        match error {
            // Of what was received.
            StorageError::Damaged { what, .. } => Self::Peer(what),
            other => Self::Own(other.into()),
        }
    }
}

/// Receives a snapshot and checks all of it.
async fn fetch(
    data: &DataDir,
    log: &dyn Log,
    peers: &Peers,
    (id, peer): (u64, &PeerNode),
    ends: &Ends,
) -> Result<(SnapshotMeta, Incoming), Refused> {
    let least_index = ends.purged.map_or(0, |purged| purged.index);
    let mut client = peers.client(id, peer, Purpose::Snapshot);
    let asking = client.fetch_snapshot(wire::FetchSnapshotRequest { least_index });
    let mut chunks = in_time(BUILD_TIMEOUT, asking).await?.into_inner();
    let incoming = receive(data, &mut chunks).await?;
    let path = incoming.path().to_owned();
    let checking = tokio::task::spawn_blocking(move || {
        let reader = SnapshotReader::open(&path)?;
        reader.check_content()?;
        Ok::<_, StorageError>(reader.header().clone())
    });
    let header = checking
        .await
        .map_err(|error| Refused::Own(StartError::Io(io::Error::other(error))))??;
    let membership = decode(&header.membership);
    let last_membership = membership.map_err(|_| Refused::Peer("its membership cannot be read".to_owned()))?;
    let [term, node, index] = header.last_log_id;
    let last = raft_log_id(term, node, index);
    if index < least_index {
        return Err(Refused::Peer(format!("it ends at {index}, before this node's log")));
    }
    if contradicts(log, ends, last) {
        let what = "it contradicts what this node knows to be committed: one of the two has another history";
        return Err(Refused::Peer(what.to_owned()));
    }
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership,
    };
    Ok((meta, incoming))
}

async fn receive(data: &DataDir, chunks: &mut Streaming<wire::SnapshotChunk>) -> Result<Incoming, Refused> {
    use wire::snapshot_chunk::Part;
    let malformed = || Refused::Peer("it sends something else than a snapshot".to_owned());
    let first = in_time(IDLE_TIMEOUT, chunks.message()).await?;
    let Some(Part::Head(head)) = first.and_then(|chunk| chunk.part) else {
        return Err(malformed());
    };
    tracing::info!(bytes = head.bytes, "receiving a snapshot");
    let mut incoming = Incoming::create(data.snapshots().join(RECEIVED), head.bytes)?;
    while let Some(chunk) = in_time(IDLE_TIMEOUT, chunks.message()).await? {
        let Some(Part::Data(bytes)) = chunk.part else {
            return Err(malformed());
        };
        incoming = on_disk(move || incoming.write(&bytes).map(|()| incoming)).await?;
    }
    on_disk(move || incoming.finish().map(|()| incoming)).await
}

/// Works on the disk where it holds up no task.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, Refused> {
    let worked = tokio::task::spawn_blocking(work).await;
    Ok(worked.map_err(|error| Refused::Peer(error.to_string()))??)
}

async fn in_time<T>(limit: Duration, call: impl Future<Output = Result<T, tonic::Status>>) -> Result<T, Refused> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Refused::Peer("it did not answer in time".to_owned())),
    }
}

/// Whether the log has another entry than the snapshot at an index up to which it is committed.
fn contradicts(log: &dyn Log, ends: &Ends, last: RaftLogId) -> bool {
    let committed = log
        .meta(Meta::Committed)
        .and_then(|bytes| decode::<RaftLogId>(&bytes).ok());
    let is_purged = ends
        .purged
        .is_some_and(|purged| purged.index == last.index && purged != last);
    let is_committed = committed.is_some_and(|committed| last.index <= committed.index);
    is_purged || (is_committed && differs(log, last))
}

/// Whether the log has another entry at this index.
fn differs(log: &dyn Log, last: RaftLogId) -> bool {
    let entry = log.read(last.index..last.index + 1, 1).pop();
    entry.is_some_and(|(_, bytes)| decode_entry_id(&bytes) != Ok(last))
}

/// Makes the log one that goes on from a snapshot, as Raft does when a leader sends one: a log that ends before it begins anew after it, and entries
/// that are others than those that were committed were never committed themselves. The vote is of the snapshot's leader if it was of an earlier one.
async fn fit_log(log: &Arc<dyn Log>, ends: &Ends, last: RaftLogId) -> Result<(), StartError> {
    let mut store = LogStore::new(Arc::clone(log));
    if ends.vote.is_none_or(|vote| vote.leader_id.term < last.leader_id.term) {
        let vote = RaftVote {
            leader_id: last.leader_id,
            committed: true,
        };
        store.save_vote(&vote).await?;
    }
    let is_other = differs(&**log, last);
    if is_other {
        log.truncate_from(last.index);
    }
    if is_other || ends.last.is_none_or(|end| end.index < last.index) {
        store.purge(last).await?;
    }
    let (done, durable) = tokio::sync::oneshot::channel();
    log.sync(Box::new(move |result| drop(done.send(result))));
    durable.await.map_err(io::Error::other)??;
    Ok(())
}

const MARK: &str = "rebuild";
const RECEIVED: &str = "rebuild.tmp";
/// A peer may have to make a snapshot first, which takes minutes for a large store.
const BUILD_TIMEOUT: Duration = Duration::from_secs(1_800);
/// A peer that sends nothing for so long has gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Often enough that the node is back soon after a peer is.
const PAUSE_MAX: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests;
