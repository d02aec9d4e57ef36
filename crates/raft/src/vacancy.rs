//! A leader whose process is gone: its connections break at once, and its lease need not be waited for.
//!
//! When the stream of a leader's entries breaks, or somebody asks for a vote before the vote, a follower tries to connect to the leader. If the machine answers that nobody listens there, the
//! process is gone, and the follower gives up the lease for itself; then the followers ask for a vote before the vote, one after the other. A leader that was
//! killed is replaced in some hundredths of a second, with whatever times elections have.
//!
//! What it guarantees: nobody is elected early unless a majority, the candidate included, has either found for itself that the leader is gone, or
//! has not heard it for the length of its lease. So one follower with a bad link, or a firewall that refuses in the name of another machine, changes
//! nothing. Safety does not depend on any of this: no answer of a leader rests on a lease, and votes are bound to the log as ever.
//!
//! What it does not do: notice a machine that lost its power, or that is cut off. Nobody answers for it, and the times of elections are for that. A
//! process that is there and does nothing still listens, and is not gone either.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aumbry_types::NodeId;
use futures::Stream;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::node::RaftNode;
use crate::types::RaftVote;

/// Who may be gone: the last one whose stream broke, or whose place somebody asked for.
pub(crate) struct Doubts(watch::Sender<NodeId>);

impl Default for Doubts {
    fn default() -> Self {
        Self(watch::Sender::new(NodeId(0)))
    }
}

impl Doubts {
    /// Notes that a node may be gone, if it leads.
    pub(crate) fn note(&self, node: NodeId) {
        self.0.send_replace(node);
    }
}

/// The answers to a node's messages. If they are not taken to their end, the node is doubted: that is how a connection shows that it broke. Its
/// messages do not show it reliably, as they can end like those that were all sent.
pub(crate) struct Attended<S> {
    answers: S,
    node: NodeId,
    doubts: Arc<Doubts>,
    is_over: bool,
}

impl<S> Attended<S> {
    pub(crate) const fn new(answers: S, node: NodeId, doubts: Arc<Doubts>) -> Self {
        Self {
            answers,
            node,
            doubts,
            is_over: false,
        }
    }
}

impl<T, E, S: Stream<Item = Result<T, E>> + Unpin> Stream for Attended<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let next = Pin::new(&mut self.answers).poll_next(context);
        // Nothing is sent after an error.
        self.is_over |= matches!(next, Poll::Ready(None | Some(Err(_))));
        next
    }
}

impl<S> Drop for Attended<S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.doubts.note(self.node);
        }
    }
}

/// Looks after each leader that is doubted.
pub(crate) async fn run(node: Arc<RaftNode>) {
    let mut doubts = node.doubts.0.subscribe();
    let mut told = None;
    while doubts.changed().await.is_ok() {
        let doubted = *doubts.borrow_and_update();
        let Some(vote) = led_by(&node, doubted) else {
            continue;
        };
        match look(&node, doubted, &vote).await {
            Found::Nobody => {
                tracing::info!(
                    node = doubted.0,
                    "nobody listens any more where the leader did: its lease is given up"
                );
                replace(&node, &vote).await;
            }
            // Once for each leadership: links can break for hours.
            Found::Listener if told.replace(vote) != Some(vote) => tracing::info!(
                node = doubted.0,
                "the connection of the leader broke, and it still listens: elections take their time"
            ),
            Found::Listener | Found::Nothing => {}
        }
    }
}

/// The vote under which another node leads this one, if it does.
fn led_by(node: &RaftNode, leader: NodeId) -> Option<RaftVote> {
    let vote = vote(node);
    (vote.committed && vote.leader_id.node_id == leader.0 && leader != node.node).then_some(vote)
}

fn vote(node: &RaftNode) -> RaftVote {
    node.raft.metrics().borrow_watched().vote
}

/// What a look at a leader's address found.
enum Found {
    /// The machine says that nobody listens there.
    Nobody,
    /// Somebody does.
    Listener,
    /// No answer, or another leader by now.
    Nothing,
}

/// Looks several times: a process that is being killed listens for a moment longer than it speaks.
async fn look(node: &RaftNode, leader: NodeId, as_of: &RaftVote) -> Found {
    let Some(peer) = node.peer(leader) else {
        return Found::Nothing;
    };
    for _ in 0..LOOKS {
        let connecting = TcpStream::connect(&*peer.peer_addr);
        let connected = tokio::time::timeout(node.config.heartbeat, connecting).await;
        if vote(node) != *as_of {
            return Found::Nothing;
        }
        match connected {
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => return Found::Nobody,
            Ok(Ok(_)) => tokio::time::sleep(LOOK_PAUSE).await,
            // That is a machine or a network, and not a process.
            Ok(Err(_)) | Err(_) => return Found::Nothing,
        }
    }
    Found::Listener
}

/// Gives the leader's lease up, and calls an election when it is this node's turn, until somebody has asked for votes.
async fn replace(node: &RaftNode, as_of: &RaftVote) {
    // The same that a leader asks of its followers when it hands over. It names no node that this one could take for itself, so nothing else follows.
    let lease = TransferLeaderRequest::new(*as_of, as_of.leader_id.node_id, None);
    if node.raft.handle_transfer_leader(lease).await.is_err() {
        return;
    }
    let Some(turn) = turn(node, as_of) else { return };
    let step = node.config.heartbeat;
    tokio::time::sleep(step * turn).await;
    for _ in 0..CALLS {
        if vote(node) != *as_of || !node.campaigns.may() {
            return;
        }
        // The others may need a moment longer to find the same.
        if node.raft.trigger().elect(true).await.is_err() {
            return;
        }
        tokio::time::sleep(step / 2).await;
    }
}

/// How many voters come before this one; none if it is no voter. In turn they do not take each other's votes.
fn turn(node: &RaftNode, as_of: &RaftVote) -> Option<u32> {
    let metrics = node.raft.metrics().borrow_watched().clone();
    let voters = metrics.membership_config.membership().voter_ids();
    let others: BTreeSet<u64> = voters.filter(|id| *id != as_of.leader_id.node_id).collect();
    let place = others.iter().position(|id| *id == node.node.0)?;
    u32::try_from(place).ok()
}

/// A process with much memory takes some hundredths of a second to go.
const LOOKS: u32 = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Half a heartbeat apart; by then the times of elections have their turn.
const CALLS: u32 = 10;

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    #[tokio::test]
    async fn who_takes_no_more_answers_is_doubted() {
        let doubts = Arc::<Doubts>::default();
        let heard = doubts.0.subscribe();
        let attended = |answers: [Result<u8, u8>; 2]| {
            let answers = futures::stream::iter(answers);
            Attended::new(answers, NodeId(7), Arc::clone(&doubts))
        };
        assert_eq!(attended([Ok(1), Ok(2)]).collect::<Vec<_>>().await, [Ok(1), Ok(2)]);
        assert_eq!(attended([Err(1), Ok(2)]).next().await, Some(Err(1)));
        assert_eq!(*heard.borrow(), NodeId(0), "both came to their end");
        assert_eq!(attended([Ok(1), Ok(2)]).next().await, Some(Ok(1)));
        assert_eq!(*heard.borrow(), NodeId(7));
    }
}
