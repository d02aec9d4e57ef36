//! The hashes that audit proofs are made from, on the node's disk, and the task that keeps them up to what is applied, and then removes what was pruned.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aumbry_node::{HashStore, Node};
use aumbry_storage::TreeHashes;
use tokio::sync::watch;

/// The hashes in the data directory.
pub(crate) struct Hashes(pub(crate) TreeHashes);

impl HashStore for Hashes {
    fn count(&self, tier: u32) -> u64 {
        self.0.count(tier)
    }

    fn read(&self, tier: u32, first: u64, count: u64) -> io::Result<Vec<[u8; 32]>> {
        self.0.read(tier, first, count)
    }

    fn append(&self, tier: u32, hash: &[u8; 32]) -> io::Result<()> {
        self.0.append(tier, hash)
    }

    fn clear(&self) -> io::Result<()> {
        self.0.clear()
    }
}

/// Follows the log until `stop` turns true. Every node does, sealed or not, so that whichever leads has them.
pub(crate) async fn follow(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let mut is_failing = false;
    loop {
        let followed = Arc::clone(&node);
        // It reads from the disk, so not on a thread that serves requests.
        let piece = tokio::task::spawn_blocking(move || {
            let is_there = followed.follow_audit_tree(PIECE_TILES);
            followed.obey_audit_floor();
            is_there
        });
        let pause = match piece.await {
            Ok(Ok(true)) => TICK,
            Ok(Ok(false)) => BREATH,
            Ok(Err(failure)) => {
                if !is_failing {
                    tracing::error!(
                        error = failure.message,
                        "the hashes of the audit tree cannot be kept; proofs wait"
                    );
                }
                is_failing = true;
                RETRY
            }
            // It was cancelled, because the node ends.
            Err(_) => return,
        };
        is_failing &= pause == RETRY;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Two thousand records, of some two megabytes: little enough that a node which ends does not wait for it.
const PIECE_TILES: usize = 8;
/// A request brings what is younger up to date by itself.
const TICK: Duration = Duration::from_secs(1);
/// Between two pieces the disk is there for others: at most two hundred thousand records are read in a second.
const BREATH: Duration = Duration::from_millis(10);
/// A disk that was freed is noticed within it.
const RETRY: Duration = Duration::from_secs(10);
