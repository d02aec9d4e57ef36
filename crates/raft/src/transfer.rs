//! A snapshot on its way to a node that lags: what broke off goes on where it ended.
//!
//! What it guarantees: bytes that arrived under a name are not sent again, whichever leader goes on with it and however often either node is
//! killed; what is put together so is checked whole before it is installed. A transfer that moves is not given up. One snapshot is received at
//! a time, and at most one that broke off is kept.
//!
//! What it does not do: go on with another snapshot. So a leader takes no new one while it sends, and keeps the file for a while, within the bounds of
//! [`Outbox`]'s user.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aumbry_api::peer::v1 as wire;
use aumbry_storage::{Incoming, SnapshotHeader, SnapshotReader, Space, StorageError, snapshot_name};
use aumbry_types::hex;
use futures::{Stream, StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::convert;
use crate::peers::{PeerClient, Peers};
use crate::state_machine::Shared;
use crate::types::{RaftVote, SnapshotMeta, encode};

/// When a snapshot that this node sends moved last.
#[derive(Default)]
pub(crate) struct Outbox {
    moved: Mutex<Option<Instant>>,
    /// Whether the last one found no room on the disk.
    lacks_room: AtomicBool,
}

impl Outbox {
    /// Whether a snapshot is being sent, or broke off a moment ago and will be gone on with.
    pub(crate) fn is_busy(&self) -> bool {
        self.moved_within(STALL)
    }

    /// Whether a snapshot that was being sent moved so lately.
    pub(crate) fn moved_within(&self, time: Duration) -> bool {
        let moved = *self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.is_some_and(|moved| moved.elapsed() < time)
    }

    fn note(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// A snapshot file that is to be sent.
pub(crate) struct Outgoing {
    meta: SnapshotMeta,
    path: PathBuf,
    file: File,
}

/// The file of a snapshot, or of a newer one, which is written now if there is none.
pub(crate) async fn outgoing(
    peers: &Arc<Peers>,
    shared: &Arc<Shared>,
    space: &Arc<Space>,
    meta: &SnapshotMeta,
) -> Result<Outgoing, Status> {
    let least = meta.last_log_id.map_or(0, |id| id.index);
    let (shared, space) = (Arc::clone(shared), Arc::clone(space));
    let mut writing = tokio::task::spawn_blocking(move || shared.file_for(least, &space));
    let written = loop {
        peers.outbox.note();
        tokio::select! {
            written = &mut writing => break written,
            () = tokio::time::sleep(STALL / 2) => {}
        }
    };
    let written = written.map_err(|error| Status::aborted(error.to_string()))?;
    let is_full = matches!(&written, Err(error) if error.kind() == std::io::ErrorKind::StorageFull);
    // Said once: it is tried again twice a second.
    if is_full && !peers.outbox.lacks_room.swap(true, Ordering::Relaxed) {
        tracing::warn!("the disk has no room for the snapshot that a member needs; make room on it");
    }
    peers.outbox.lacks_room.store(is_full, Ordering::Relaxed);
    match written {
        Ok((meta, path, file)) => Ok(Outgoing { meta, path, file }),
        Err(_) if is_full => Err(Status::unavailable("the disk has no room for a snapshot")),
        Err(error) => aumbry_storage::fatal("writing a snapshot", error),
    }
}

/// Sends a snapshot, from where the last transfer of it broke off. Fails if nothing moves for a minute, or if the peer, once it has
/// everything, does not answer within `answer`.
pub(crate) async fn send(
    client: &mut PeerClient,
    peers: &Arc<Peers>,
    vote: &RaftVote,
    snapshot: Outgoing,
    answer: Duration,
) -> Result<wire::SnapshotReply, Status> {
    let unreadable = |error: std::io::Error| Status::aborted(format!("the snapshot cannot be read: {error}"));
    let Outgoing { meta, path, file } = snapshot;
    let naming = tokio::task::spawn_blocking(move || snapshot_name(&file).map(|(name, bytes)| (file, name, bytes)));
    let (file, name, bytes) = naming
        .await
        .map_err(|error| Status::aborted(error.to_string()))?
        .map_err(unreadable)?;
    let name = bytes::Bytes::copy_from_slice(&name);
    let offset = held_by(client, &name, bytes).await?;
    let mut file = tokio::fs::File::from_std(file);
    file.seek(std::io::SeekFrom::Start(offset)).await.map_err(unreadable)?;
    let head = wire::SnapshotHead {
        vote: Some(convert::vote(vote)),
        last: meta.last_log_id.as_ref().map(convert::log_id),
        membership: encode(&meta.last_membership),
        bytes,
        name,
        offset,
    };
    let (moved, moves) = watch::channel(());
    let sent = tokio::select! {
        reply = client.snapshot(chunks(head, file, Arc::clone(peers), moved)) => reply,
        () = stalled(moves, peers, answer) => Err(Status::deadline_exceeded("the peer takes no more of the snapshot")),
    };
    if sent.as_ref().is_err_and(|status| status.code() == Code::DataLoss) {
        check_own(path).await;
    }
    Ok(sent?.into_inner())
}

/// A peer finds that a snapshot is not what was written: it may be so here already. Then it is of no use to anybody.
async fn check_own(path: PathBuf) {
    // A newer one may have taken its place, and this one be gone. What cannot be waited for is found the next time.
    let checked = tokio::task::spawn_blocking(move || SnapshotReader::open(&path)).await;
    if let Ok(Err(error @ StorageError::Damaged { .. })) = checked {
        aumbry_storage::fatal("sending a snapshot", error);
    }
}

/// How much of it the peer has. One that does not know the question is sent everything.
async fn held_by(client: &mut PeerClient, name: &bytes::Bytes, bytes: u64) -> Result<u64, Status> {
    let request = wire::SnapshotHeldRequest {
        name: name.clone(),
        bytes,
    };
    match timeout(HELD_TIMEOUT, client.snapshot_held(request)).await {
        Ok(Ok(reply)) => Ok(reply.into_inner().offset.min(bytes)),
        Ok(Err(status)) if status.code() == Code::Unimplemented => Ok(0),
        Ok(Err(status)) => Err(status),
        Err(_) => Err(Status::deadline_exceeded("the peer did not answer in time")),
    }
}

fn chunks(
    head: wire::SnapshotHead,
    file: tokio::fs::File,
    peers: Arc<Peers>,
    moved: watch::Sender<()>,
) -> impl Stream<Item = wire::SnapshotChunk> + Send + 'static {
    use wire::snapshot_chunk::Part;
    let head = stream::iter([Part::Head(head)]);
    let data = stream::unfold((file, peers, moved), |(mut file, peers, moved)| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        // A file that cannot be read ends the stream early, and the receiver waits for the rest.
        let Ok(read @ 1..) = file.read(&mut chunk).await else {
            return None;
        };
        chunk.truncate(read);
        // Asked for only when there is room for it on its way.
        peers.outbox.note();
        moved.send_replace(());
        Some((Part::Data(chunk.into()), (file, peers, moved)))
    });
    head.chain(data).map(|part| wire::SnapshotChunk { part: Some(part) })
}

/// Ends when nothing has moved for too long.
async fn stalled(mut moves: watch::Receiver<()>, peers: &Peers, answer: Duration) {
    loop {
        match timeout(STALL, moves.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => break,
            Err(_) => return,
        }
    }
    // Everything is on its way, and is being installed.
    let until = Instant::now() + answer;
    while Instant::now() < until {
        peers.outbox.note();
        tokio::time::sleep(STALL / 2).await;
    }
}

/// What a node receives.
pub(crate) struct Inbox {
    directory: PathBuf,
    /// The number of the last transfer. One that a later one has replaced, as its connection is dead, writes nothing any more.
    turn: Mutex<u64>,
}

/// A snapshot that is being received.
pub(crate) struct Receiving {
    turn: u64,
    incoming: Incoming,
}

impl Inbox {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            turn: Mutex::new(0),
        }
    }

    /// How much of a snapshot is here.
    pub(crate) fn held(&self, name: &[u8], bytes: u64) -> Result<u64, Status> {
        let _turn = self.turn();
        let held = Incoming::held(&self.part(name)?).map_err(refused)?;
        // Another length is another file, whatever its name.
        Ok(if held <= bytes { held } else { 0 })
    }

    /// Begins to receive a snapshot, or goes on with it. Another that broke off is removed. Blocks.
    pub(crate) fn begin(&self, head: &wire::SnapshotHead) -> Result<Receiving, Status> {
        let mut turn = self.turn();
        *turn += 1;
        let (kept, incoming) = if head.name.is_empty() {
            (None, Incoming::create(self.whole(*turn), head.bytes))
        } else {
            let part = self.part(&head.name)?;
            (Some(part.clone()), Incoming::resume(part, head.bytes, head.offset))
        };
        for other in parts(&self.directory).filter(|path| Some(path) != kept.as_ref()) {
            // It costs disk space, nothing else.
            let _ = std::fs::remove_file(other);
        }
        Ok(Receiving {
            turn: *turn,
            incoming: incoming.map_err(refused)?,
        })
    }

    /// Takes the next bytes. Blocks.
    pub(crate) fn write(&self, receiving: &mut Receiving, data: &[u8]) -> Result<(), Status> {
        let turn = self.turn();
        is_current(&turn, receiving)?;
        receiving.incoming.write(data).map_err(refused)
    }

    /// The whole file, durable and checked, which goes away with what is given. Blocks.
    pub(crate) fn finish(&self, receiving: Receiving) -> Result<(SnapshotHeader, Incoming), Status> {
        if !receiving.incoming.is_whole() {
            return Err(Status::invalid_argument("the snapshot is shorter than announced"));
        }
        let mut incoming = self.take(receiving)?;
        incoming.finish().map_err(refused)?;
        // Its sender's file may be damaged, and a power failure can leave another content in a part than it had. What is refused now is sent anew;
        // found at its installation, it would end the process.
        let checked = SnapshotReader::open(incoming.path()).and_then(|reader| {
            reader.check_content()?;
            Ok(reader.header().clone())
        });
        let header = checked.map_err(|error| {
            tracing::warn!(%error, "a snapshot that was received is damaged, and is asked for anew");
            Status::data_loss("the snapshot is damaged; send it anew")
        })?;
        Ok((header, incoming))
    }

    /// Takes the file away from later transfers. Nobody waits for what is done with it then, which takes its time.
    fn take(&self, mut receiving: Receiving) -> Result<Incoming, Status> {
        let turn = self.turn();
        is_current(&turn, &receiving)?;
        receiving.incoming.rename(self.whole(*turn)).map_err(refused)?;
        Ok(receiving.incoming)
    }

    fn turn(&self) -> MutexGuard<'_, u64> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole(&self, turn: u64) -> PathBuf {
        self.directory.join(format!("received-{turn}.tmp"))
    }

    fn part(&self, name: &[u8]) -> Result<PathBuf, Status> {
        let name: &[u8; 32] = name.try_into().map_err(|_| convert::malformed())?;
        Ok(self.directory.join(format!("{}.{PART}", hex::encode(name))))
    }
}

fn is_current(turn: &u64, receiving: &Receiving) -> Result<(), Status> {
    if *turn == receiving.turn {
        Ok(())
    } else {
        Err(Status::aborted("a later transfer goes on with it"))
    }
}

/// The transfer that broke off last, and is worth keeping over a restart.
pub(crate) fn last_part(directory: &Path) -> Option<PathBuf> {
    let age = |path: &PathBuf| path.metadata().and_then(|found| found.modified()).ok();
    parts(directory).max_by_key(age)
}

/// The files of snapshots that are being received, or broke off.
pub(crate) fn parts(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == PART))
}

/// An error of this node's disk ends the process; that the sender is wrong, or the disk too small, does not.
fn refused(error: StorageError) -> Status {
    match error {
        StorageError::Io { .. } => aumbry_storage::fatal("receiving a snapshot", error),
        StorageError::Full { .. } => Status::resource_exhausted(error.to_string()),
        _ => Status::invalid_argument("the snapshot is not as long as announced"),
    }
}

/// The ending of the name of a transfer that broke off.
const PART: &str = "part";
const CHUNK_BYTES: usize = 256 << 10;
const HELD_TIMEOUT: Duration = Duration::from_secs(5);
/// On the slowest line worth having, a chunk takes seconds.
pub(crate) const STALL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use aumbry_storage::SnapshotWriter;

    use super::*;

    struct Bed {
        root: tempfile::TempDir,
        inbox: Inbox,
        name: Vec<u8>,
        bytes: Vec<u8>,
    }

    impl Bed {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("sent");
            let header = SnapshotHeader {
                last_log_id: [1, 1, 9],
                membership: b"members".to_vec(),
            };
            let mut writer = SnapshotWriter::create(&path, &header).unwrap();
            for key in 0..200_u32 {
                writer.row(&key.to_be_bytes(), &[7; 100]).unwrap();
            }
            writer.finish().unwrap();
            let (name, _) = snapshot_name(&File::open(&path).unwrap()).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let directory = root.path().join("received");
            std::fs::create_dir(&directory).unwrap();
            Self {
                root,
                inbox: Inbox::new(directory),
                name: name.to_vec(),
                bytes,
            }
        }

        fn begin(&self, offset: u64) -> Result<Receiving, Status> {
            self.inbox.begin(&wire::SnapshotHead {
                bytes: self.bytes.len() as u64,
                name: self.name.clone().into(),
                offset,
                ..Default::default()
            })
        }

        fn held(&self) -> u64 {
            self.inbox.held(&self.name, self.bytes.len() as u64).unwrap()
        }

        fn files(&self) -> usize {
            self.root.path().join("received").read_dir().unwrap().count()
        }
    }

    #[test]
    fn a_transfer_goes_on_where_it_broke_off() {
        let bed = Bed::new();
        assert_eq!(bed.held(), 0);
        let mut first = bed.begin(0).unwrap();
        bed.inbox.write(&mut first, &bed.bytes[..1_000]).unwrap();
        assert_eq!(bed.held(), 1_000);
        // Its connection is dead, which nobody has told this node yet.
        let mut second = bed.begin(1_000).unwrap();
        assert_eq!(bed.inbox.write(&mut first, b"late").unwrap_err().code(), Code::Aborted);
        bed.inbox.write(&mut second, &bed.bytes[1_000..]).unwrap();
        assert!(bed.inbox.finish(first).is_err());
        let (_, whole) = bed.inbox.finish(second).unwrap();
        assert_eq!(std::fs::read(whole.path()).unwrap(), bed.bytes);
        drop(whole);
        assert_eq!((bed.held(), bed.files()), (0, 0));
        assert!(bed.begin(1).is_err(), "the sender claims more than is here");
    }

    #[test]
    fn parts_that_do_not_fit_are_thrown_away() {
        let bed = Bed::new();
        let mut first = bed.begin(0).unwrap();
        let mut damaged = bed.bytes[..1_000].to_vec();
        damaged[500] ^= 1;
        bed.inbox.write(&mut first, &damaged).unwrap();
        drop(first);
        let mut second = bed.begin(1_000).unwrap();
        bed.inbox.write(&mut second, &bed.bytes[1_000..]).unwrap();
        assert_eq!(
            bed.inbox.finish(second).err().map(|status| status.code()),
            Some(Code::DataLoss)
        );
        assert_eq!((bed.held(), bed.files()), (0, 0));
    }

    #[test]
    fn one_part_is_kept() {
        let mut bed = Bed::new();
        let mut first = bed.begin(0).unwrap();
        bed.inbox.write(&mut first, b"something").unwrap();
        drop(first);
        let kept = last_part(&bed.root.path().join("received")).unwrap();
        assert!(kept.exists());
        bed.name[0] ^= 1;
        assert_eq!(bed.held(), 0);
        let second = bed.begin(0).unwrap();
        assert_eq!((bed.files(), kept.exists()), (1, false));
        drop(second);
        bed.name.pop();
        assert!(bed.begin(0).is_err(), "a name has 32 bytes");
    }
}
