//! Opens this node with the key of a static seal after a start, so that nobody has to come.
//!
//! What it guarantees: the key is tried against what an elected leader has committed, never against what this disk happens to
//! remember; a node that somebody seals stays sealed until it is started again or shares open it; the file is read anew each time, so
//! that one that comes later opens the node; a reason for staying sealed is told once, not at every try.
//!
//! What it does not do: keep the key. It is in memory for as long as a try takes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::KeyUnsealError;
use aumbry_state::Consensus as _;
use tokio::time::Instant;

use crate::key_file;
use crate::lifecycle::{Lifecycle, MemberError};
use crate::member::Member;

/// Why the node does not serve yet.
#[derive(Debug, thiserror::Error)]
enum NotOpen {
    /// It belongs to no cluster, or nobody leads it: nothing is wrong with the key.
    #[error("no cluster is known yet, or no leader")]
    NotYet,
    #[error("the node stays sealed: {0}. Key shares open it; the key file is tried again")]
    File(#[from] key_file::KeyFileError),
    #[error("the node stays sealed: {0}. Key shares open it; the key file is tried again")]
    Key(#[from] KeyUnsealError),
    #[error("the node is unsealed, and its restored store was not taken over yet: {0}")]
    Adopt(#[from] MemberError),
}

/// Tries until the node is open, and then watches whether somebody seals it.
pub(crate) async fn run(lifecycle: Arc<Lifecycle>, key_file: PathBuf) {
    tracing::warn!(
        key_file = %key_file.display(),
        "this node unseals itself with a static key: whoever has its disk and this file has the secrets"
    );
    let mut told = String::new();
    let mut pause = PAUSE_MIN;
    let mut told_at = Instant::now();
    loop {
        let Err(reason) = attempt(&lifecycle, &key_file).await else {
            break;
        };
        let text = reason.to_string();
        match reason {
            NotOpen::NotYet => pause = (pause * 2).min(LOOK_MAX),
            NotOpen::Key(KeyUnsealError::Closed) => break,
            _ => {
                pause = (pause * 2).min(PAUSE_MAX);
                if text != told || told_at.elapsed() >= TELL_AGAIN {
                    tracing::warn!("{text}");
                    (told, told_at) = (text, Instant::now());
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
    while lifecycle.member().is_none_or(|member| member.node.is_unsealed()) {
        tokio::time::sleep(PAUSE_MAX).await;
    }
    tracing::info!("the node was sealed: its key file does not open it again before it is restarted; key shares do");
}

async fn attempt(lifecycle: &Lifecycle, path: &Path) -> Result<(), NotOpen> {
    let member = lifecycle.member().ok_or(NotOpen::NotYet)?;
    if !member.node.is_unsealed() {
        open(&member, path).await?;
    }
    lifecycle.adopt_restored(&member).await?;
    Ok(())
}

async fn open(member: &Member, path: &Path) -> Result<(), NotOpen> {
    // Before a leader is asked, so that a missing file is told even where none is elected.
    let key = key_file::read(path)?;
    if member.raft.barrier().await.is_err() {
        return Err(NotOpen::NotYet);
    }
    member.node.unseal_with_key(&key)?;
    tracing::info!(key_id = %key.id(), "the node was unsealed with its static key");
    Ok(())
}

/// Elections take some tenths of a second, and a start is to be over soon after.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Nobody leads yet, or the node belongs to no cluster: both change without a sign.
const LOOK_MAX: Duration = Duration::from_millis(500);
/// A try costs a small file and a question to the leader.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Often enough to be found at the end of a log.
const TELL_AGAIN: Duration = Duration::from_secs(600);
