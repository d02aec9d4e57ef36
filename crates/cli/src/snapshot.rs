//! `aumbry operator snapshot`: backups, taken, looked at, restored.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_crypto::signature::VerifyingKey;
use aumbry_server::{Backup, Manifest, StorageError};
use aumbry_types::hex;
use clap::Subcommand;
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use crate::context::Context;
use crate::failure::{Failed, Refused, usage};
use crate::output::{Format, document, done, line_json};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Save everything into a file, sealed as it is stored
    #[command(
        after_help = "Any node can be asked. The file holds no key and no name in clear; the key shares open what is restored from it.

Example:
  aumbry operator snapshot save monday.backup"
    )]
    Save {
        /// The file; it must not exist
        file: PathBuf,
    },
    /// Check a saved file, offline and without keys, and tell what it is
    #[command(after_help = "Example:
  aumbry operator snapshot inspect --fingerprint 5f1c... monday.backup")]
    Inspect {
        /// The file
        file: PathBuf,
        /// The fingerprint of the signing key that `aumbry operator init` printed
        #[arg(long)]
        fingerprint: Option<String>,
    },
    /// Make a new cluster of the first endpoint, a fresh node, from a saved file
    #[command(
        after_help = "The node is sealed afterwards: unseal it with the shares of the cluster that was saved. It serves root alone until
`aumbry operator snapshot release`: look first at what has changed since the file was saved. Other nodes join it as they join any cluster.

Example:
  aumbry operator snapshot restore monday.backup --fingerprint 5f1c...
  aumbry operator unseal --file share-1"
    )]
    Restore {
        /// The file
        file: PathBuf,
        /// The fingerprint of the signing key that `aumbry operator init` printed
        #[arg(long)]
        fingerprint: Option<String>,
    },
    /// End the quarantine of a restored cluster: all tokens are served again
    #[command(after_help = "Example:
  aumbry operator snapshot release")]
    Release,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    match command {
        Command::Save { file } => save(context, &file).await,
        Command::Inspect { file, fingerprint } => {
            let manifest = check(&file, fingerprint.as_deref()).inspect_err(|error| {
                if format == Format::Json && error.is::<Refused>() {
                    // The error itself follows, whatever becomes of this.
                    let _ = line_json(&json!({ "intact": false, "reason": error.to_string() }));
                }
            })?;
            document(format, &shown(&manifest))
        }
        Command::Restore { file, fingerprint } => restore(context, &file, fingerprint.as_deref()).await,
        Command::Release => {
            context.client()?.call(v1::SnapshotReleaseRequest::default()).await?;
            done(format, "released")
        }
    }
}

async fn save(context: &Context, path: &Path) -> Result<()> {
    ensure!(!path.exists(), "{} exists already; name another file", path.display());
    let client = context.client()?;
    let mut backup = client
        .sdk()
        .save_backup(Some(context.first()?))
        .await
        .map_err(Failed::read)?;
    let temporary = path.with_added_extension("part");
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary);
    let mut file = file.with_context(|| format!("cannot make {}", temporary.display()))?;
    let mut progress = Progress::default();
    while let Some(data) = backup.next().await.map_err(Failed::read)? {
        file.write_all(&data)
            .with_context(|| format!("cannot write {}", temporary.display()))?;
        progress.show("saved", data.len() as u64, backup.size());
    }
    progress.end();
    file.sync_all()?;
    // What arrived is what is kept: it is checked once more before it gets its name.
    let manifest = open(&temporary)?;
    std::fs::rename(&temporary, path)?;
    let mut shown = shown(&manifest);
    shown["file"] = json!(path);
    document(context.format(), &shown)
}

async fn restore(context: &Context, path: &Path, fingerprint: Option<&str>) -> Result<()> {
    let manifest = check(path, fingerprint)?;
    let size = std::fs::metadata(path)?.len();
    let (sender, parts) = tokio::sync::mpsc::channel(4);
    let source = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_parts(&source, &sender));
    let endpoint = context.first()?;
    let mut restoring = context
        .anonymous()?
        .sdk()
        .restore_backup(Some(endpoint), ReceiverStream::new(parts))
        .await
        .map_err(Failed::write)?;
    let mut progress = Progress::default();
    let restored = loop {
        let message = restoring.next().await.map_err(Failed::write)?;
        progress.show("sent", message.received.saturating_sub(progress.bytes), size);
        if let Some(restored) = message.restored {
            break restored;
        }
    };
    progress.end();
    reading.await??;
    document(
        context.format(),
        &json!({
            "node_id": restored.node_id,
            "cluster_id": restored.cluster_id,
            "storage_id": restored.storage_id,
            "index": restored.index,
            "from_cluster_id": restored.from_cluster_id,
            "audit_size": manifest.content.audit_size,
            "next": format!("unseal {endpoint} with the shares of the cluster that was saved, then `aumbry operator snapshot release`"),
        }),
    )
}

fn read_parts(path: &Path, sender: &tokio::sync::mpsc::Sender<v1::SnapshotPart>) -> Result<()> {
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut is_end = false;
    while !is_end {
        let mut data = Vec::with_capacity(PART_BYTES);
        std::io::Read::by_ref(&mut file)
            .take(PART_BYTES as u64)
            .read_to_end(&mut data)?;
        is_end = data.is_empty();
        let part = v1::SnapshotPart {
            data: data.into(),
            end: is_end,
            size: 0,
        };
        // If nobody takes it, the node has refused it and says why.
        if sender.blocking_send(part).is_err() {
            break;
        }
    }
    Ok(())
}

fn check(path: &Path, fingerprint: Option<&str>) -> Result<Manifest> {
    let digits = |text| hex::decode::<32>(text).ok_or_else(|| usage("a fingerprint is 64 hexadecimal digits"));
    let pinned = fingerprint.map(digits);
    let pinned = pinned.transpose()?;
    let manifest = open(path)?;
    if pinned.is_some_and(|pinned| pinned != fingerprint_of(&manifest)) {
        let text = "is intact, but signed by another key than the one you pinned: it is of another store";
        return Err(Refused::NotIntact(format!("{} {text}", path.display())).into());
    }
    Ok(manifest)
}

fn open(path: &Path) -> Result<Manifest> {
    match Backup::open(path) {
        Ok(backup) => Ok(backup.manifest),
        Err(error @ (StorageError::Backup { .. } | StorageError::Damaged { .. })) => {
            Err(Refused::NotIntact(error.to_string()).into())
        }
        Err(error) => Err(error.into()),
    }
}

fn fingerprint_of(manifest: &Manifest) -> [u8; 32] {
    VerifyingKey::from_bytes(manifest.key).fingerprint()
}

fn shown(manifest: &Manifest) -> Value {
    json!({
        "intact": true,
        "cluster_id": manifest.cluster_id.to_string(),
        "storage_id": manifest.storage_id.to_string(),
        "index": manifest.index,
        "term": manifest.term,
        "state_digest": hex::encode(&manifest.content.digest),
        "audit_root": hex::encode(&manifest.content.audit_root),
        "audit_size": manifest.content.audit_size,
        "log_time": crate::output::time(manifest.content.log_time),
        "taken": crate::output::time(manifest.wall_time),
        "version": manifest.version,
        "checkpoint_fingerprint": hex::encode(&fingerprint_of(manifest)),
        "bytes": manifest.snapshot_bytes,
    })
}

/// How far it is, for a person at a terminal.
#[derive(Default)]
struct Progress {
    bytes: u64,
    percent: Option<u64>,
}

impl Progress {
    fn show(&mut self, what: &str, more: u64, size: u64) {
        self.bytes += more;
        let percent = (self.bytes * 100).checked_div(size);
        if percent != self.percent && std::io::stderr().is_terminal() {
            self.percent = percent;
            let _ = write!(
                std::io::stderr(),
                "\r{what} {}% of {} MiB ",
                percent.unwrap_or(0),
                size >> 20
            );
        }
    }

    fn end(&self) {
        if self.percent.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

const PART_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_backup_is_not_intact() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0; 4_096]).unwrap();
        let code = |path: &Path| crate::failure::exit_code(&check(path, None).err().unwrap());
        assert_eq!(code(file.path()), 8);
        assert_eq!(code(Path::new("/no/such/file")), 1);
        let error = check(file.path(), Some("xy")).err().unwrap();
        assert_eq!(crate::failure::exit_code(&error), 2);
    }
}
