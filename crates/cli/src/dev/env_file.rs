//! What a local cluster tells its user, and the commands that act on one node: `env.json`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde::{Deserialize, Serialize};

/// The content. It holds secrets on purpose, for the users of a cluster that protects nothing; hence no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct EnvFile {
    pub(super) nodes: Vec<NodeEntry>,
    /// The authority of the client listeners, PEM.
    pub(super) ca: PathBuf,
    pub(super) root_token: String,
    pub(super) shares: Vec<String>,
    pub(super) threshold: u32,
    /// Of the key that signs the audit log.
    #[serde(default)]
    pub(super) checkpoint_fingerprint: String,
    /// The copy that the user asked for, absolute.
    #[serde(default)]
    pub(super) env_file: Option<PathBuf>,
}

/// One node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct NodeEntry {
    pub(super) id: u64,
    /// Where clients reach it, `host:port`; likewise the next two.
    pub(super) client: String,
    pub(super) peer: String,
    pub(super) metrics: String,
    /// Where clients of the HTTP interface reach it, `host:port`, by HTTPS.
    #[serde(default)]
    pub(super) http: String,
    /// The process that ran last.
    pub(super) pid: u32,
    pub(super) config: PathBuf,
    pub(super) data_dir: PathBuf,
}

impl EnvFile {
    /// The file of the cluster in this directory.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join("env.json")
    }

    /// Reads the file of the cluster in this directory.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = Self::path(dir);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "cannot read {}; is this the directory of a cluster that is ready?",
                path.display()
            )
        })?;
        // The parser's error could quote what it read.
        serde_json::from_slice(&text).map_err(|_| anyhow!("{} is damaged; start a new cluster", path.display()))
    }

    /// Writes the file of the cluster in this directory, and the user's copy.
    pub(super) fn write_all(&self, dir: &Path) -> anyhow::Result<()> {
        self.write(&Self::path(dir))?;
        self.env_file.as_ref().map_or(Ok(()), |copy| self.write(copy))
    }

    /// Writes the file: readers see the old or the new one whole, and nobody but the owner sees it.
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.persist(path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The node with this number.
    pub(super) fn node(&mut self, id: u64) -> anyhow::Result<&mut NodeEntry> {
        let node = self.nodes.iter_mut().find(|node| node.id == id);
        node.with_context(|| format!("there is no node {id} in this cluster"))
    }
}

/// Held by whoever changes `env.json`, or the processes it names. The kernel lets go of it with the process.
pub(super) struct ChangeLock(#[expect(dead_code, reason = "held, not used")] File);

impl ChangeLock {
    /// Waits for it.
    pub(super) fn take(dir: &Path) -> anyhow::Result<Self> {
        let file = open_lock(&dir.join("change.lock"))?;
        file.lock().context("cannot lock the cluster's directory")?;
        Ok(Self(file))
    }
}

/// Held by the `aumbry dev` that runs the cluster, for as long as it runs.
pub(super) struct RunLock(#[expect(dead_code, reason = "held, not used")] File);

impl RunLock {
    /// None if the cluster is being run.
    pub(super) fn try_take(dir: &Path) -> anyhow::Result<Option<Self>> {
        let file = open_lock(&dir.join("run.lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock the cluster's directory"),
        }
    }
}

fn open_lock(path: &Path) -> anyhow::Result<File> {
    match OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
    {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no cluster in {}", path.parent().unwrap_or(path).display())
        }
        Err(error) => Err(error).with_context(|| format!("cannot open {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_by_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(EnvFile::read(dir.path()).is_err());
        let entry = |id| NodeEntry {
            id,
            client: "127.0.0.1:1".into(),
            peer: "127.0.0.1:2".into(),
            metrics: "127.0.0.1:3".into(),
            http: "127.0.0.1:4".into(),
            pid: 7,
            config: "/c".into(),
            data_dir: "/d".into(),
        };
        let mut file = EnvFile {
            nodes: vec![entry(1), entry(2)],
            ca: "/ca.pem".into(),
            root_token: "t".into(),
            shares: vec!["s".into()],
            threshold: 1,
            checkpoint_fingerprint: "f".into(),
            env_file: Some(dir.path().join("copy.json")),
        };
        let path = EnvFile::path(dir.path());
        file.write_all(dir.path()).unwrap();
        file.node(2).unwrap().pid = 8;
        file.write_all(dir.path()).unwrap();
        let copy = std::fs::read(dir.path().join("copy.json")).unwrap();
        assert_eq!(copy, std::fs::read(&path).unwrap(), "the user's copy is kept current");
        let mut read = EnvFile::read(dir.path()).unwrap();
        assert_eq!((read.node(1).unwrap().pid, read.node(2).unwrap().pid), (7, 8));
        assert!(read.node(3).is_err());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_cluster_is_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let held = RunLock::try_take(dir.path()).unwrap();
        assert!(held.is_some());
        assert!(RunLock::try_take(dir.path()).unwrap().is_none());
        drop(held);
        assert!(RunLock::try_take(dir.path()).unwrap().is_some());
        assert!(RunLock::try_take(&dir.path().join("none")).is_err());
    }
}
