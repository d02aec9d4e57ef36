//! Has this node carry out orders to erase what was replaced from its disk, and remembers which it has.

use std::sync::Arc;
use std::time::Duration;

use aumbry_node::erasure;
use aumbry_raft::Erasure;
use aumbry_state::{Erased, Obstacle};
use aumbry_storage::{DataDir, SmallFile, StorageError};
use aumbry_types::{LogIndex, hex};
use tokio::sync::watch;

use crate::lifecycle::Lifecycle;
use crate::member::Member;

/// The order that was carried out last, in a file: a copy of the disk that is put back says which it had, and the node erases once more.
struct Done(SmallFile);

impl Done {
    /// What it says; nothing if there was no order, or it cannot be read.
    fn read(&self) -> Result<Erased, StorageError> {
        let text = match self.0.read() {
            Ok(text) => text.unwrap_or_default(),
            // To erase once more does no harm.
            Err(StorageError::Damaged { .. }) => String::new(),
            Err(error) => return Err(error),
        };
        let parse = || {
            let (mark, index) = text.trim_end().split_once(' ')?;
            Some(Erased {
                mark: hex::decode_all(mark)?.try_into().ok()?,
                index: LogIndex(index.parse().ok()?),
                obstacle: None,
            })
        };
        Ok(parse().unwrap_or_default())
    }

    fn write(&self, erased: &Erased) -> Result<(), StorageError> {
        self.0
            .write(&format!("{} {}\n", hex::encode(&erased.mark), erased.index.0))
    }
}

/// Runs until `stop` turns true.
///
/// # Errors
/// [`StorageError`] if the disk fails.
pub(crate) fn start(
    lifecycle: &Lifecycle,
    member: &Arc<Member>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StorageError> {
    let done = Done(lifecycle.data.small_file(FILE)?);
    let mut erased = done.read()?;
    member.node.note_erased(erased);
    let (data, member) = (lifecycle.data.path().to_owned(), Arc::clone(member));
    let obey = async move {
        let mut last = Vec::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(mark) = erasure::ordered(&*member.node.consensus().view()).filter(|mark| *mark != erased.mark)
            else {
                continue;
            };
            let mut pause = LOOK;
            let mut under_way = Erasure::begin(&member.raft);
            tracing::info!("erasing what was replaced from the disk");
            let index = loop {
                let went = match DataDir::set_aside_in(&data) {
                    Ok(names) if names.is_empty() => under_way.go_on().await,
                    Ok(names) => {
                        if names != last {
                            tracing::warn!(?names, "what was set aside keeps what is to be erased: remove it");
                        }
                        last = names;
                        Err(Obstacle::SetAside)
                    }
                    Err(error) => aumbry_storage::fatal("looking for what was set aside", error),
                };
                match went {
                    Ok(index) => break index,
                    Err(obstacle) => {
                        let obstacle = Some(obstacle);
                        member.node.note_erased(Erased { obstacle, ..erased });
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            };
            erased = Erased {
                mark,
                index,
                obstacle: None,
            };
            if let Err(error) = done.write(&erased) {
                aumbry_storage::fatal("noting what was erased", error);
            }
            member.node.note_erased(erased);
            tracing::info!(
                index = index.0,
                "nothing from before this log index is left on the disk"
            );
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = obey => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    });
    Ok(())
}

const FILE: &str = "erased";
/// One look at one row.
const LOOK: Duration = Duration::from_millis(200);
/// Members that are behind, and backups, take minutes.
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_remembered_and_damage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let done = Done(SmallFile::new(path.clone()));
        assert_eq!(done.read().unwrap(), Erased::default());
        let erased = Erased {
            mark: [9; 16],
            index: LogIndex(77),
            obstacle: None,
        };
        done.write(&erased).unwrap();
        assert_eq!(done.read().unwrap(), erased);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(done.read().unwrap(), Erased::default());
    }
}
