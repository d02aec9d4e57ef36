//! Backups: sent to and received from a client as a stream of bytes.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aumbry_api::v1;
use aumbry_storage::{Backup, Incoming, Manifest, SnapshotReader};
use aumbry_types::LogIndex;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Services;
use super::sys::member_status;
use crate::lifecycle::{Lifecycle, VERSION};
use crate::member::Member;

/// A stream of messages to a client.
pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Services {
    /// Sends a backup that reflects at least this index. The request for it is on record by then.
    pub(crate) async fn send_backup(&self, index: LogIndex) -> Result<Messages<v1::SnapshotPart>, Status> {
        use aumbry_state::Consensus as _;
        let permit = self.one_backup()?;
        let member = self.lifecycle.member().ok_or_else(stopping)?;
        let waiting = member.raft.wait_applied(index);
        if tokio::time::timeout(STALL_TIMEOUT, waiting).await.is_err() {
            return Err(Status::unavailable("this node is behind the leader; ask another one"));
        }
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let lifecycle = Arc::clone(&self.lifecycle);
        tokio::spawn(async move {
            if let Err(status) = save(&lifecycle, &member, &sender, permit).await {
                // Who went away needs no reason.
                let _ = tokio::time::timeout(STALL_TIMEOUT, sender.send(Err(status))).await;
            }
        });
        Ok(Box::pin(ReceiverStream::new(parts)))
    }

    /// Receives a backup and makes a cluster of it.
    pub(super) fn receive_backup(
        &self,
        parts: Streaming<v1::SnapshotPart>,
    ) -> Result<Messages<v1::SnapshotProgress>, Status> {
        if self.lifecycle.member().is_some() {
            return Err(member_status(&crate::lifecycle::MemberError::Already));
        }
        let permit = self.one_backup()?;
        let (sender, progress) = mpsc::channel(PARTS_AHEAD);
        let lifecycle = Arc::clone(&self.lifecycle);
        tokio::spawn(async move {
            let done = restore(&lifecycle, parts, &sender, permit).await;
            let _ = tokio::time::timeout(STALL_TIMEOUT, sender.send(done)).await;
        });
        Ok(Box::pin(ReceiverStream::new(progress)))
    }

    fn one_backup(&self) -> Result<OwnedSemaphorePermit, Status> {
        Arc::clone(&self.lifecycle.backups)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("another backup is under way on this node; try again later"))
    }
}

async fn save(
    lifecycle: &Lifecycle,
    member: &Member,
    sender: &mpsc::Sender<Result<v1::SnapshotPart, Status>>,
    _permit: OwnedSemaphorePermit,
) -> Result<(), Status> {
    let path = lifecycle.data.path().join(OUTGOING);
    // Written here before it is sent: one that does not fit would end the process.
    if !member.raft.has_room_for_snapshot().await {
        return Err(Status::resource_exhausted(
            "the disk of this node has no room for a backup; make room on it, or take the backup from another node",
        ));
    }
    if let Err(error) = member.raft.write_snapshot(path.clone()).await {
        aumbry_storage::fatal("taking a backup", error);
    }
    let (file, reader, content) = blocking(move || {
        // What was written is read back and added up before anybody relies on it.
        let reader = SnapshotReader::open(&path)?;
        let content = reader.check_content()?;
        Ok((Unlinked::open(&path), reader, content))
    })
    .await?;
    let facts = member.facts().ok_or_else(stopping)?;
    let [term, _, index] = reader.header().last_log_id;
    let manifest = Manifest {
        cluster_id: facts.cluster_id,
        storage_id: facts.storage_id,
        index,
        term,
        content,
        wall_time: lifecycle.clock.wall().0,
        version: VERSION.to_owned(),
        key: member.node.backup_key().ok_or_else(sealed)?,
        snapshot_bytes: reader.bytes(),
        snapshot_hash: reader.hash(),
    };
    // The node may be sealed meanwhile: without the key there is no backup.
    let mut is_signed = true;
    let head = manifest.encode(|statement| {
        member.node.sign_backup(statement).unwrap_or_else(|| {
            is_signed = false;
            [0; 64]
        })
    });
    if !is_signed {
        return Err(sealed());
    }
    let size = head.len() as u64 + reader.bytes();
    send(
        sender,
        v1::SnapshotPart {
            data: head.into(),
            end: false,
            size,
        },
    )
    .await?;
    let file = Arc::new(file);
    let mut offset = 0;
    while offset < reader.bytes() {
        let len = usize::try_from(reader.bytes() - offset)
            .unwrap_or(PART_BYTES)
            .min(PART_BYTES);
        let source = Arc::clone(&file);
        let data = blocking(move || Ok(source.read(offset, len))).await?;
        offset += len as u64;
        send(
            sender,
            v1::SnapshotPart {
                data,
                end: false,
                size: 0,
            },
        )
        .await?;
    }
    send(
        sender,
        v1::SnapshotPart {
            data: Bytes::new(),
            end: true,
            size: 0,
        },
    )
    .await
}

async fn restore(
    lifecycle: &Lifecycle,
    mut parts: Streaming<v1::SnapshotPart>,
    sender: &mpsc::Sender<Result<v1::SnapshotProgress, Status>>,
    _permit: OwnedSemaphorePermit,
) -> Result<v1::SnapshotProgress, Status> {
    let mut incoming: Option<Incoming> = None;
    let mut told = 0;
    loop {
        let part = tokio::time::timeout(STALL_TIMEOUT, parts.message()).await;
        let part = part.map_err(|_| Status::deadline_exceeded("no part of the backup came for a minute"))??;
        let part = part.ok_or_else(|| Status::invalid_argument("the backup ended before its end; send it again"))?;
        if part.end {
            break;
        }
        let mut file = match incoming.take() {
            Some(file) => file,
            None => {
                let bytes = Backup::announced_bytes(&part.data)
                    .ok_or_else(|| Status::invalid_argument("the file is no backup that this version can read"))?;
                lifecycle.receive_backup(bytes).map_err(|error| member_status(&error))?
            }
        };
        let file = on_disk(move || file.write(&part.data).map(|()| file)).await?;
        let file = incoming.insert(file);
        if file.received() - told >= TELL_BYTES {
            told = file.received();
            let progress = v1::SnapshotProgress {
                received: told,
                restored: None,
            };
            let sent = tokio::time::timeout(STALL_TIMEOUT, sender.send(Ok(progress))).await;
            sent.map_err(|_| gone())?.map_err(|_| gone())?;
        }
    }
    let mut file = incoming.ok_or_else(|| Status::invalid_argument("the backup is empty"))?;
    let file = on_disk(move || file.finish().map(|()| file)).await?;
    let received = file.received();
    let restored = lifecycle.restore(file).await.map_err(|error| member_status(&error))?;
    tracing::info!(
        cluster = restored.cluster_id,
        index = restored.index,
        "a backup was restored; unseal the node with its shares"
    );
    Ok(v1::SnapshotProgress {
        received,
        restored: Some(restored),
    })
}

/// A file without a name: it goes away with the last handle, whatever happens.
struct Unlinked(std::fs::File);

impl Unlinked {
    fn open(path: &Path) -> Self {
        match std::fs::File::open(path).and_then(|file| std::fs::remove_file(path).map(|()| file)) {
            Ok(file) => Self(file),
            Err(error) => aumbry_storage::fatal("taking a backup", error),
        }
    }

    fn read(&self, offset: u64, len: usize) -> Bytes {
        let mut bytes = vec![0; len];
        match self.0.read_exact_at(&mut bytes, offset) {
            Ok(()) => bytes.into(),
            Err(error) => aumbry_storage::fatal("reading a backup", error),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, aumbry_storage::StorageError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => aumbry_storage::fatal("taking a backup", error),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// Works on a file that is received where it holds up no task.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, aumbry_storage::StorageError> + Send + 'static,
) -> Result<T, Status> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(storage)
}

async fn send(sender: &mpsc::Sender<Result<v1::SnapshotPart, Status>>, part: v1::SnapshotPart) -> Result<(), Status> {
    let sent = tokio::time::timeout(STALL_TIMEOUT, sender.send(Ok(part))).await;
    sent.map_err(|_| gone())?.map_err(|_| gone())
}

/// An error of this node's disk ends the process; that the sender is wrong, or the disk too small, does not.
fn storage(error: aumbry_storage::StorageError) -> Status {
    match error {
        aumbry_storage::StorageError::Io { .. } => aumbry_storage::fatal("receiving a backup", error),
        _ => Status::invalid_argument(error.to_string()),
    }
}

fn gone() -> Status {
    Status::cancelled("the client does not take what it asked for")
}

fn sealed() -> Status {
    Status::failed_precondition("the node was sealed meanwhile; unseal it and ask again")
}

fn stopping() -> Status {
    Status::unavailable("the node is stopping")
}

/// Small enough to hold up nobody on a shared connection.
const PART_BYTES: usize = 256 << 10;
/// Parts that wait for a slow client.
const PARTS_AHEAD: usize = 8;
/// How often a client hears how far it is.
const TELL_BYTES: u64 = 4 << 20;
/// A client that takes or sends nothing for so long has gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The file of a backup that is being taken, until it is open.
const OUTGOING: &str = "backup.outgoing";
