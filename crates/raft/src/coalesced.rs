//! What a leader says to a follower, without what it is about to say again.
//!
//! A leader tells each commit at once, in a message of its own where there is no entry to send along; the next entry follows a moment later and says it
//! too. Such a message is held for that moment. What it guarantees: everything else passes at once and in order, and a commit that nothing follows is told
//! within [`HOLD`]. Nobody waits for it: replies come from the leader, which knows.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::Fuse;
use futures::{Stream, StreamExt as _};
use openraft::raft::AppendEntriesRequest;
use tokio::time::{Sleep, sleep};

use crate::types::TypeConfig;

/// A stream of requests of which those that tell a commit alone are held for a moment.
pub(crate) struct Coalesced<S> {
    /// What is held is told after the end of them, and then there is one more look: openraft's streams panic if they are asked again.
    requests: Fuse<S>,
    /// The newest commit that was not told, and until when it may wait.
    held: Option<(AppendEntriesRequest<TypeConfig>, Pin<Box<Sleep>>)>,
}

impl<S: Stream> Coalesced<S> {
    pub(crate) fn new(requests: S) -> Self {
        Self {
            requests: requests.fuse(),
            held: None,
        }
    }
}

impl<S> Stream for Coalesced<S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    type Item = AppendEntriesRequest<TypeConfig>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.requests.poll_next_unpin(context) {
                Poll::Ready(Some(request)) if request.entries.is_empty() => {
                    // The newer one says what the older one did; it waits no longer than that.
                    let until = self
                        .held
                        .take()
                        .map_or_else(|| Box::pin(sleep(HOLD)), |(_, until)| until);
                    self.held = Some((request, until));
                }
                Poll::Ready(Some(request)) => {
                    self.held = None;
                    return Poll::Ready(Some(request));
                }
                Poll::Ready(None) => return Poll::Ready(self.held.take().map(|(request, _)| request)),
                Poll::Pending => break,
            }
        }
        let Some((_, until)) = &mut self.held else {
            return Poll::Pending;
        };
        ready!(until.as_mut().poll(context));
        Poll::Ready(self.held.take().map(|(request, _)| request))
    }
}

/// Longer than a client of a leader takes from one request to the next, and less than anybody notices of a follower.
const HOLD: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;
    use futures::{FutureExt as _, SinkExt as _};
    use openraft::EntryPayload;
    use tokio::time::Instant;

    use super::*;
    use crate::types::{RaftEntry, RaftVote, raft_log_id};

    fn request(entries: u64, committed: u64) -> AppendEntriesRequest<TypeConfig> {
        let entry = |index| RaftEntry {
            log_id: raft_log_id(1, 1, index),
            payload: EntryPayload::Blank,
        };
        AppendEntriesRequest {
            vote: RaftVote::new_committed(1, 1),
            prev_log_id: None,
            entries: (0..entries).map(entry).collect(),
            leader_commit: Some(raft_log_id(1, 1, committed)),
        }
    }

    fn said(request: Option<AppendEntriesRequest<TypeConfig>>) -> Option<(usize, u64)> {
        request.map(|request| (request.entries.len(), request.leader_commit.unwrap().index))
    }

    #[tokio::test]
    async fn a_commit_is_told_with_what_follows_or_after_a_moment() {
        let (mut send, requests) = mpsc::channel(10);
        let mut told = Coalesced::new(requests);
        send.send(request(1, 0)).await.unwrap();
        assert_eq!(said(told.next().await), Some((1, 0)));

        send.send(request(0, 1)).await.unwrap();
        assert_eq!(told.next().now_or_never().map(said), None);
        send.send(request(2, 1)).await.unwrap();
        assert_eq!(said(told.next().await), Some((2, 1)));

        let begun = Instant::now();
        send.send(request(0, 2)).await.unwrap();
        assert_eq!(told.next().now_or_never().map(said), None);
        send.send(request(0, 3)).await.unwrap();
        assert_eq!(said(told.next().await), Some((0, 3)));
        assert!(begun.elapsed() >= HOLD);

        send.send(request(0, 4)).await.unwrap();
        drop(send);
        assert_eq!(said(told.next().await), Some((0, 4)));
        assert_eq!(said(told.next().await), None);
    }

    /// A stream of openraft is not to be asked again after its end, and panics then: the follower would be told nothing more.
    #[tokio::test]
    async fn an_end_with_a_commit_held_is_the_end() {
        let requests = futures::stream::unfold(0, |n| async move { (n < 2).then(|| (request(0, n), n + 1)) });
        let mut told = Coalesced::new(Box::pin(requests));
        assert_eq!(said(told.next().await), Some((0, 1)));
        assert_eq!(said(told.next().await), None);
    }
}
