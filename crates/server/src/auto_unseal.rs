//! Opens this node after a start with whatever seals beside the shares it is configured for, so that nobody has to come; and tests them while it is open.
//!
//! What it guarantees: a key is tried against what an elected leader has committed, never against what this disk happens to
//! remember; a node that somebody seals stays sealed until it is started again or shares open it, and one that was sealed with the whole
//! cluster until shares open it or an operator releases the seals of keys; files are read anew each time, so that one that comes later
//! opens the node; a reason for staying sealed is told once, not at every try.
//!
//! What it does not do: keep a key, or take one seal for another. Each is tried for itself, and each alone opens the node.

use std::sync::Arc;
use std::time::Duration;

use aumbry_node::KeyUnsealError;
use aumbry_state::Consensus as _;
use tokio::time::Instant;

use crate::lifecycle::{Lifecycle, MemberError};
use crate::member::Member;
use crate::metrics::SealLabels;
use crate::seals::{SealSource, SealSourceError, Tested};

/// Why the node does not serve yet.
#[derive(Debug, thiserror::Error)]
enum NotOpen {
    /// It belongs to no cluster, or nobody leads it: nothing is wrong with the seal.
    #[error("no cluster is known yet, or no leader")]
    NotYet,
    #[error("the node stays sealed: {0}. Key shares open it; it is tried again")]
    Source(#[from] SealSourceError),
    #[error("the node stays sealed: {0}. Key shares open it; it is tried again")]
    Key(#[from] KeyUnsealError),
    #[error("the node is unsealed, and its restored store was not taken over yet: {0}")]
    Adopt(#[from] MemberError),
}

/// A seal, when it is tried next, and what was told of it.
struct Way {
    source: SealSource,
    pause: Duration,
    due: Instant,
    told: String,
    told_at: Instant,
}

impl Way {
    fn new(source: SealSource) -> Self {
        tracing::warn!(
            kind = source.kind().name(),
            place = source.place(),
            "{}",
            source.trust()
        );
        Self {
            source,
            pause: PAUSE_MIN,
            due: Instant::now(),
            told: String::new(),
            told_at: Instant::now(),
        }
    }

    /// Puts off the next try, and tells why if that is news.
    fn put_off(&mut self, reason: &NotOpen) {
        let most = match reason {
            NotOpen::NotYet => LOOK_MAX,
            NotOpen::Source(error) if !error.is_quick() => OUTSIDE_MAX,
            _ => PAUSE_MAX,
        };
        self.pause = (self.pause * 2).min(most);
        self.due = Instant::now() + self.pause;
        if !matches!(reason, NotOpen::NotYet) {
            tracing::debug!(
                kind = self.source.kind().name(),
                "tried in vain; the next try is in {:?}",
                self.pause
            );
            self.tell(reason.to_string());
        }
    }

    fn tell(&mut self, text: String) {
        if text != self.told || self.told_at.elapsed() >= TELL_AGAIN {
            tracing::warn!(kind = self.source.kind().name(), "{text}");
            (self.told, self.told_at) = (text, Instant::now());
        }
    }
}

/// Tries until the node is open, and then tests its seals and watches whether somebody seals it.
pub(crate) async fn run(lifecycle: Arc<Lifecycle>, sources: Vec<SealSource>) {
    let mut ways: Vec<Way> = sources.into_iter().map(Way::new).collect();
    let every = Duration::from_secs(lifecycle.config().seal.test_s);
    let mut was_open = open_node(&lifecycle, &mut ways).await;
    let mut due = Instant::now();
    loop {
        let member = lifecycle.member();
        let is_open = member.as_ref().is_none_or(|member| member.node.is_unsealed());
        if was_open && !is_open {
            // By an operator's word to this node, which only shares undo; or with the whole cluster, until that is released.
            for way in &mut ways {
                (way.pause, way.due) = (PAUSE_MIN, Instant::now());
            }
            was_open = open_node(&lifecycle, &mut ways).await;
            if !was_open {
                tracing::info!(
                    "the node was sealed: its key file does not open it again before it is restarted, nor does another seal; key shares do"
                );
            }
            continue;
        }
        was_open = is_open;
        if let Some(member) = member.filter(|_| is_open && due <= Instant::now()) {
            for way in &mut ways {
                test(&lifecycle, &member, way).await;
            }
            due = Instant::now() + every;
        }
        tokio::time::sleep(PAUSE_MAX.min(every)).await;
    }
}

/// Tries until the node is open: true. False if an operator closed it.
async fn open_node(lifecycle: &Lifecycle, ways: &mut [Way]) -> bool {
    loop {
        for way in ways.iter_mut().filter(|way| way.due <= Instant::now()) {
            match attempt(lifecycle, &way.source).await {
                Ok(()) => return true,
                Err(NotOpen::Key(KeyUnsealError::Closed)) => return false,
                Err(reason) => way.put_off(&reason),
            }
        }
        // Shares may open it meanwhile.
        let due = ways.iter().map(|way| way.due).min();
        tokio::time::sleep_until(due.unwrap_or_else(Instant::now).min(Instant::now() + PAUSE_MAX)).await;
        if lifecycle.member().is_some_and(|member| member.node.is_unsealed()) {
            ways.iter_mut().for_each(|way| way.due = Instant::now());
        }
    }
}

async fn attempt(lifecycle: &Lifecycle, source: &SealSource) -> Result<(), NotOpen> {
    let member = lifecycle.member().ok_or(NotOpen::NotYet)?;
    if !member.node.is_unsealed() {
        open(&member, source).await?;
    }
    lifecycle.adopt_restored(&member).await?;
    Ok(())
}

async fn open(member: &Member, source: &SealSource) -> Result<(), NotOpen> {
    // Before a leader is asked, so that a missing file is told even where none is elected.
    source.check_files()?;
    if member.raft.barrier().await.is_err() {
        return Err(NotOpen::NotYet);
    }
    let seals = member.node.key_seals().ok_or(NotOpen::NotYet)?;
    let key = source.key(&seals, &member.cluster().to_string()).await?;
    member.node.unseal_with_key(&key)?;
    tracing::info!(kind = source.kind().name(), key_id = %key.id(), "the node was unsealed without a person");
    Ok(())
}

/// Looks whether a seal would open the node, were it started now.
async fn test(lifecycle: &Lifecycle, member: &Member, way: &mut Way) {
    let kind = way.source.kind().name();
    let mut key_id = String::new();
    let tried = async {
        let seals = member.node.key_seals().ok_or(NotOpen::NotYet)?;
        let key = way.source.key(&seals, &member.cluster().to_string()).await?;
        key_id = key.id().to_string();
        Ok::<_, NotOpen>(member.node.test_key(&key)?)
    };
    let tried = tried.await;
    if let Err(error) = &tried {
        let text = match error {
            NotOpen::Source(error) => error.to_string(),
            NotOpen::Key(error) => error.to_string(),
            other => other.to_string(),
        };
        way.tell(format!(
            "a seal of this node does not work, so that it would stay sealed after a restart: {text}"
        ));
    } else if !way.told.is_empty() {
        tracing::info!(kind, "the seal of this node works again");
        way.told.clear();
    }
    let (labels, now) = (SealLabels { kind }, lifecycle.clock.wall().0);
    let metrics = lifecycle.metrics();
    metrics.seal_works.get_or_create(&labels).set(i64::from(tried.is_ok()));
    let seconds = i64::try_from(now / 1_000).unwrap_or(i64::MAX);
    metrics.seal_tested.get_or_create(&labels).set(seconds);
    lifecycle.seal_tests.note(Tested {
        kind,
        key_id,
        works: tried.is_ok(),
        at_ms: now,
    });
}

/// Elections take some tenths of a second, and a start is to be over soon after.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Nobody leads yet, or the node belongs to no cluster: both change without a sign.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// A try costs a small file and a question to the leader.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A try costs a token or another cluster some work, and many nodes may be waiting for it.
const OUTSIDE_MAX: Duration = Duration::from_secs(30);
/// Often enough to be found at the end of a log.
const TELL_AGAIN: Duration = Duration::from_secs(600);
