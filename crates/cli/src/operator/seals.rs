//! `aumbry operator seals`: seals that open a node beside the key shares.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1;
use aumbry_crypto::seal::{KeyId, KeyKind, OuterBinding, StaticKey};
use aumbry_server::{SealSource, read_key_file};
use aumbry_types::{SecretBytes, StorageId, SystemEntropy};
use clap::Subcommand;
use serde_json::{Value, json};

use super::seal;
use crate::context::{Context, ask, read_stdin};
use crate::failure::usage;
use crate::output::{Format, document, done, line, line_json, table, time};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make the key of a static seal, in a new file that only its owner can read, or a key in a PKCS#11 token; needs no cluster
    #[command(after_help = "Examples:
  aumbry operator seals key seal-key
  aumbry operator seals key --pkcs11 /etc/aumbry/aumbry.toml")]
    Key {
        /// The file; it must not exist
        #[arg(required_unless_present = "pkcs11")]
        file: Option<PathBuf>,
        /// Make an AES key that cannot leave the token, as the section [seal.pkcs11] of this configuration names both
        #[arg(long, value_name = "CONFIG", conflicts_with = "file")]
        pkcs11: Option<PathBuf>,
    },
    /// Add a seal: its key opens nodes from then on, as the shares do
    #[command(group = clap::ArgGroup::new("key").required(true), after_help = "Examples:
  aumbry operator seals add --static-key seal-key --share share-1 --share share-2 --share share-3
  aumbry operator seals add --pkcs11 /etc/aumbry/aumbry.toml
  aumbry operator seals add --transit /etc/aumbry/aumbry.toml

Without --share, the shares are asked for, or read from standard input, one a line. A token and another cluster are asked from
this machine, as the configuration of a node says, so run it on a node or with a copy of its section.")]
    Add {
        /// The file with the key of a static seal
        #[arg(long, value_name = "FILE", group = "key")]
        static_key: Option<PathBuf>,
        /// A configuration with a section [seal.pkcs11], whose token wraps the key of the seal
        #[arg(long, value_name = "CONFIG", group = "key")]
        pkcs11: Option<PathBuf>,
        /// A configuration with a section [seal.transit], whose cluster wraps the key of the seal
        #[arg(long, value_name = "CONFIG", group = "key")]
        transit: Option<PathBuf>,
        /// A file with a key share; as many as open the cluster
        #[arg(long = "share", value_name = "FILE")]
        shares: Vec<PathBuf>,
    },
    /// List the seals, and what the endpoints that are named found when they tested theirs
    #[command(after_help = "Example:
  aumbry operator seals list")]
    List,
    /// Remove a seal; the shares cannot be removed
    #[command(after_help = "Example:
  aumbry operator seals remove KEY-ID")]
    Remove {
        /// The id of its key
        key_id: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    match command {
        Command::Key {
            pkcs11: Some(config), ..
        } => {
            let place = SealSource::of_file(&config, KeyKind::Pkcs11)?.make_key().await?;
            document(format, &json!({ "made": place }))
        }
        Command::Key { file, .. } => {
            let file = file.ok_or_else(|| usage("name the file for the key, or --pkcs11 CONFIG"))?;
            let key = StaticKey::make(&SystemEntropy);
            write_new(&file, &key.expose_text())?;
            document(
                format,
                &json!({ "key_id": key.id().to_string(), "file": file.to_string_lossy() }),
            )?;
            match format {
                Format::Json => Ok(()),
                Format::Table => line(
                    "Whoever has this file and the disk of a node, or a backup, has the secrets: keep it on neither.",
                ),
            }
        }
        Command::Add {
            static_key,
            pkcs11,
            transit,
            shares,
        } => {
            let (mut request, next) = match (static_key, pkcs11, transit) {
                (Some(file), ..) => (by_file(&file)?, "[seal.static]"),
                (None, Some(config), _) => (by_outer(context, &config, KeyKind::Pkcs11).await?, "[seal.pkcs11]"),
                (None, None, Some(config)) => (by_outer(context, &config, KeyKind::Transit).await?, "[seal.transit]"),
                (None, None, None) => {
                    return Err(usage("name what opens the seal: --static-key, --pkcs11 or --transit"));
                }
            };
            let shares = read_shares(context, &shares).await?;
            request.shares = shares.iter().map(|share| share.expose().to_vec().into()).collect();
            let added = context.client()?.call(request).await?.seal.unwrap_or_default();
            document(format, &json!({ "kind": added.kind, "key_id": added.key_id }))?;
            match format {
                Format::Json => Ok(()),
                Format::Table => line(&format!(
                    "Next: see that the configuration of each node has the section {next}, and restart those that had not."
                )),
            }
        }
        Command::List => {
            let seals = context.client()?.call(v1::SealListRequest::default()).await?.seals;
            let tests = read_tests(context).await?;
            let rows: Vec<Value> = seals.iter().map(|seal| row(seal, &tests)).collect();
            match format {
                Format::Json => line_json(&json!({ "seals": rows })),
                Format::Table => table(format, COLUMNS, &rows),
            }
        }
        Command::Remove { key_id } => {
            if key_id == "shares" {
                let text = "the shares cannot be removed: they open the cluster when all other seals are lost";
                return Err(usage(text));
            }
            let id: KeyId = key_id.parse().map_err(|error| usage(format!("{error}")))?;
            let request = v1::SealRemoveRequest {
                key_id: id.to_string(),
                ..Default::default()
            };
            context.client()?.call(request).await?;
            done(format, "removed")
        }
    }
}

/// A seal by the key in a file.
fn by_file(file: &Path) -> Result<v1::SealAddRequest> {
    let key = read_key_file(file)?;
    Ok(v1::SealAddRequest {
        static_key: key.expose_text().expose().to_vec().into(),
        ..Default::default()
    })
}

/// A seal by a new key, which is wrapped outside as a node's configuration says, for the store and the root key that the cluster has now.
async fn by_outer(context: &Context, config: &Path, kind: KeyKind) -> Result<v1::SealAddRequest> {
    let source = SealSource::of_file(config, kind)?;
    let status = context.anonymous()?.seal_status(context.first()?).await?;
    let storage_id = <[u8; 16]>::try_from(&status.storage_id[..]);
    let storage_id = storage_id
        .context("the node is not initialised, or too old to tell what a seal is bound to; upgrade it first")?;
    let key = StaticKey::make(&SystemEntropy);
    let bound = OuterBinding {
        kind,
        storage_id: StorageId::from_bytes(storage_id),
        root_epoch: status.root_epoch,
        key_id: key.id(),
    };
    let outer = source.wrap(&key, &bound, &status.cluster_id).await?;
    Ok(v1::SealAddRequest {
        outer: Some(v1::OuterSealKey {
            kind: kind.name().to_owned(),
            key: key.expose_text().expose().to_vec().into(),
            name: outer.name().to_owned(),
            wrapped: outer.wrapped().to_vec().into(),
            storage_id: status.storage_id,
            root_epoch: status.root_epoch,
        }),
        ..Default::default()
    })
}

/// What the endpoints found when they tested the seals that they are configured for. One that does not answer tells nothing.
async fn read_tests(context: &Context) -> Result<Vec<(String, v1::SealTest)>> {
    let client = context.anonymous()?;
    let mut found = Vec::new();
    for address in &context.global.address {
        let Ok(status) = client.seal_status(address).await else {
            continue;
        };
        let tests = status.seal_tests.into_iter();
        found.extend(tests.map(|test| (status.name.clone(), test)));
    }
    Ok(found)
}

/// The shares in these files; else those that are typed, as many as open the cluster; else the lines of standard input.
pub(super) async fn read_shares(context: &Context, files: &[PathBuf]) -> Result<Vec<SecretBytes>> {
    if !files.is_empty() {
        return files.iter().map(|file| seal::read(file)).collect();
    }
    if std::io::stdin().is_terminal() {
        let status = context.anonymous()?.seal_status(context.first()?).await?;
        let share = |n| ask(&format!("Key share {n} of {}: ", status.threshold));
        return (1..=status.threshold).map(share).collect();
    }
    let text = read_stdin()?;
    let lines = text.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let shares = lines.filter(|line| !line.is_empty());
    Ok(shares.map(|line| SecretBytes::new(line.to_vec())).collect())
}

/// Writes a key or a share into a file that is not there yet, durably: a key that is lost after it was added is merely of no use, but one
/// that is cut off is told only at the next start.
pub(super) fn write_new(path: &Path, text: &SecretBytes) -> Result<()> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists already: nothing was done; name another file", path.display())
        }
        made => made.with_context(|| format!("cannot make {}", path.display()))?,
    };
    let written = file.write_all(text.expose()).and_then(|()| file.write_all(b"\n"));
    let synced = written.and_then(|()| file.sync_all()).and_then(|()| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
    });
    if synced.is_err() {
        // What is cut off is no key.
        let _ = std::fs::remove_file(path);
    }
    synced.with_context(|| format!("cannot write {}", path.display()))
}

fn row(seal: &v1::Seal, tests: &[(String, v1::SealTest)]) -> Value {
    let mut row = json!({
        "kind": seal.kind,
        "key_id": seal.key_id,
        "name": seal.name,
        "epoch": seal.epoch,
        "added": time(seal.added_ms),
        "current": seal.current,
    });
    if seal.shares > 0 {
        row["shares"] = json!(format!("{} of {}", seal.threshold, seal.shares));
    }
    let of_this = tests
        .iter()
        .filter(|(_, test)| test.kind == seal.kind && test.key_id == seal.key_id);
    let told: Vec<String> = of_this
        .map(|(node, test)| format!("{node} {}", if test.works { "works" } else { "FAILS" }))
        .collect();
    if !told.is_empty() {
        row["tested"] = json!(told.join(", "));
    }
    row
}

const COLUMNS: &[&str] = &[
    "kind", "key_id", "name", "shares", "epoch", "added", "current", "tested",
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_written_once_and_for_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = StaticKey::make(&SystemEntropy);
        write_new(&path, &key.expose_text()).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_key_file(&path).unwrap().id(), key.id());
        assert!(write_new(&path, &StaticKey::make(&SystemEntropy).expose_text()).is_err());
        assert_eq!(read_key_file(&path).unwrap().id(), key.id(), "it is never overwritten");
        assert!(write_new(&directory.path().join("none/key"), &key.expose_text()).is_err());
    }
}
