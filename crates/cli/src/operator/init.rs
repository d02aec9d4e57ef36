//! `aumbry operator init`: a new cluster, and its shares into files that are there before anybody makes a share.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_types::{Entropy as _, SystemEntropy};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failed;
use crate::output::{Format, document, line, line_json};

/// What the cluster is made with.
#[derive(clap::Args)]
pub(crate) struct Init {
    /// How many key shares
    #[arg(long, default_value_t = 5)]
    shares: u8,
    /// How many of them open the seal
    #[arg(long, default_value_t = 3)]
    threshold: u8,
    /// Encrypt a share to this public key of age; once for each share, in their order
    #[arg(long = "recipient", value_name = "AGE1...", value_delimiter = ',')]
    recipients: Vec<String>,
    /// Encrypt the root token to this public key of age
    #[arg(long, value_name = "AGE1...")]
    root_token_recipient: Option<String>,
    /// Write each share and the root token into a file of its own here instead of printing them
    #[arg(long)]
    out_dir: Option<PathBuf>,
}

impl Init {
    /// The files that the answer goes into.
    fn names(&self) -> impl Iterator<Item = String> {
        let ending = |is_encrypted| if is_encrypted { ".age" } else { "" };
        let of_shares = ending(!self.recipients.is_empty());
        let of_token = ending(self.root_token_recipient.is_some());
        let shares = (1..=self.shares).map(move |n| format!("share-{n}{of_shares}"));
        shares.chain([format!("root-token{of_token}")])
    }
}

pub(super) async fn init(context: &Context, asked: &Init) -> Result<()> {
    let client = context.anonymous()?;
    let out_dir = asked.out_dir.as_deref();
    // Shares are told once: where they go is made sure of before the server makes them.
    let mut places = out_dir
        .map(|directory| Places::reserve(directory, asked.names()))
        .transpose()?;
    let key = places.as_ref().map_or_else(random_key, |places| places.key.clone());
    let request = v1::InitRequest {
        shares: asked.shares.into(),
        threshold: asked.threshold.into(),
        key: key.into(),
        recipients: asked.recipients.clone(),
        root_token_recipient: asked.root_token_recipient.clone().unwrap_or_default(),
        ..Default::default()
    };
    let mut answer = client.sdk().init(request.clone()).await.map_err(Failed::write);
    if answer.as_ref().is_err_and(|error| !error.is_not_applied()) {
        // With the key it may be repeated: the shares of the first try are lost, and worth nothing.
        answer = client.sdk().init(request).await.map_err(Failed::write);
    }
    if let (Err(error), Some(places)) = (&answer, &mut places) {
        places.is_key_kept = !error.is_not_applied();
    }
    let reply = answer?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut shown = json!({
        "address": context.first()?,
        "cluster_id": reply.cluster_id,
        "node_id": reply.node_id,
        "threshold": asked.threshold,
        "checkpoint_fingerprint": reply.checkpoint_fingerprint,
    });
    match places {
        Some(places) => {
            let contents = reply.shares.iter().chain([&reply.root_token]);
            places
                .fill(contents.map(|bytes| &bytes[..]))
                .context("the shares could not be stored; make room and run the same command again")?;
            shown["out_dir"] = json!(out_dir);
        }
        None => {
            shown["shares"] = reply.shares.iter().map(|share| json!(text(share))).collect();
            shown["root_token"] = json!(text(&reply.root_token));
        }
    }
    if context.format() == Format::Json {
        return line_json(&shown);
    }
    for (n, share) in shown["shares"].as_array().into_iter().flatten().enumerate() {
        secret(&format!("share {}", n + 1), share.as_str().unwrap_or_default())?;
    }
    if let Some(shown) = shown.as_object_mut() {
        shown.remove("shares");
        if asked.root_token_recipient.is_some()
            && let Some(token) = shown.remove("root_token")
        {
            secret("root token", token.as_str().unwrap_or_default())?;
        }
    }
    document(Format::Table, &shown)?;
    line(
        "Keep each share apart from the others and from this machine, and the fingerprint beside them; they are shown once.",
    )?;
    line("Next: show shares to the node with `aumbry operator unseal`.")
}

/// A secret with its name: on one line, or below it if it is encrypted.
pub(super) fn secret(name: &str, text: &str) -> Result<()> {
    let mut lines = text.lines();
    match (lines.next().unwrap_or_default(), text.trim_end().contains('\n')) {
        (only, false) => line(&format!("{name}: {only}")),
        (_, true) => {
            line(&format!("{name}:"))?;
            text.lines().try_for_each(line)
        }
    }
}

/// Under it an initialisation may be repeated.
fn random_key() -> Vec<u8> {
    let mut key = vec![0; KEY_BYTES];
    SystemEntropy.fill(&mut key);
    key
}

/// The files that shares and root token will go into: made, and blank, so that there is room for them. Dropped, they are removed.
struct Places {
    files: Vec<(PathBuf, File)>,
    /// Kept beside them until they are filled, so that a command that was cut off can be repeated.
    key: Vec<u8>,
    key_file: PathBuf,
    is_key_kept: bool,
    /// The directory, if it was made for them.
    made: Option<PathBuf>,
    is_filled: bool,
}

impl Places {
    fn reserve(directory: &Path, names: impl Iterator<Item = String>) -> Result<Self> {
        let is_new = !directory.exists();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.with_context(|| format!("cannot make {}", directory.display()))?;
        let key_file = directory.join("init-key");
        let key = match std::fs::read(&key_file) {
            Ok(key) if key.len() == KEY_BYTES => key,
            _ => random_key(),
        };
        let mut places = Self {
            files: Vec::new(),
            key,
            key_file,
            is_key_kept: false,
            made: is_new.then(|| directory.to_owned()),
            is_filled: false,
        };
        for path in names.map(|name| directory.join(name)) {
            let file = blank(&path).with_context(|| format!("cannot write {}: nothing was done", path.display()))?;
            let file = file.with_context(|| {
                format!(
                    "{} exists already: nothing was done; name another directory",
                    path.display()
                )
            })?;
            places.files.push((path, file));
        }
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&places.key_file);
        file.and_then(|mut file| file.write_all(&places.key).and_then(|()| file.sync_all()))
            .with_context(|| format!("cannot write {}: nothing was done", places.key_file.display()))?;
        Ok(places)
    }

    fn fill<'a>(mut self, contents: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        self.is_key_kept = true;
        let mut filled = 0;
        for ((path, file), bytes) in self.files.iter_mut().zip(contents) {
            let written = file.rewind().and_then(|()| file.write_all(bytes));
            written
                .and_then(|()| file.set_len(bytes.len() as u64))
                .and_then(|()| file.sync_all())
                .with_context(|| format!("cannot write {}", path.display()))?;
            filled += 1;
        }
        ensure!(
            filled == self.files.len(),
            "the node made fewer shares than it was asked for"
        );
        self.is_filled = true;
        self.is_key_kept = false;
        Ok(())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if !self.is_key_kept {
            let _ = std::fs::remove_file(&self.key_file);
        }
        if self.is_filled {
            return;
        }
        for (path, _) in &self.files {
            let _ = std::fs::remove_file(path);
        }
        if let Some(directory) = &self.made {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// A new file with room in it; one that was left blank by a command that was cut off is taken. None if the file holds anything else.
fn blank(path: &Path) -> std::io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let is_blank = path.symlink_metadata()?.is_file() && std::fs::read(path)? == [b' '; ROOM_BYTES];
            return is_blank.then(|| OpenOptions::new().write(true).open(path)).transpose();
        }
        made => made?,
    };
    let reserved = file.write_all(&[b' '; ROOM_BYTES]).and_then(|()| file.sync_all());
    if let Err(error) = reserved {
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(Some(file))
}

const KEY_BYTES: usize = 32;
/// More than a share or a token has, encrypted or not.
const ROOM_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(shares: usize) -> impl Iterator<Item = String> {
        let shares = (1..=shares).map(|n| format!("share-{n}"));
        shares.chain(["root-token".to_owned()])
    }

    #[test]
    fn shares_find_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        let contents: [&[u8]; 3] = [b"one", b"two", b"root"];
        Places::reserve(&new, names(2))
            .unwrap()
            .fill(contents.into_iter())
            .unwrap();
        for (name, content) in ["share-1", "share-2", "root-token"].iter().zip(contents) {
            let path = new.join(name);
            assert_eq!(std::fs::read(&path).unwrap(), content);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!new.join("init-key").exists());
    }

    #[test]
    fn what_was_cut_off_is_repeated_under_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Places::reserve(dir.path(), names(1)).unwrap();
        first.is_key_kept = true;
        let key = first.key.clone();
        drop(first);
        // Another one was killed: it left everything.
        drop(blank(&dir.path().join("share-1")).unwrap());
        let second = Places::reserve(dir.path(), names(1)).unwrap();
        assert!(second.key == key);
        drop(second);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_take_them_is_refused_and_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("share-2"), "old").unwrap();
        assert!(Places::reserve(dir.path(), names(2)).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read(dir.path().join("share-2")).unwrap(), b"old");
        assert!(Places::reserve(&dir.path().join("share-2"), names(2)).is_err());
        let new = dir.path().join("new");
        drop(Places::reserve(&new, names(2)).unwrap());
        assert!(!new.exists());
    }
}
