//! Errors when something is opened; for those after that see [`crate::fatal()`].

use std::io;
use std::path::{Path, PathBuf};

/// Why storage cannot be opened, read or written. Every message says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {path}: check the disk, its free space and the owner of the path")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// RocksDB refused.
    #[error("cannot {action} the database {path}: {NEXT}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// The directory of the database.
        path: PathBuf,
        /// The answer of RocksDB.
        source: rocksdb::Error,
    },
    /// Another process has the data directory open.
    #[error("{path} is used by another process: stop it first, or choose another data directory")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Other users could enter the data directory.
    #[error("{path} has mode {mode:04o}: run `chmod 700` on it, only its owner may enter")]
    Permissions {
        /// The data directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory holds something that is not ours.
    #[error("{path} is not empty and not a data directory: choose an empty or a new one")]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Something in a data directory is none of ours, and could lead elsewhere.
    #[error(
        "{path} is a link or something else than a file or directory, which root does not touch in another user's directory: remove it, or run this as that user"
    )]
    Irregular {
        /// What it is.
        path: PathBuf,
    },
    /// There is no data directory.
    #[error("{path} holds no node's data: name the configuration of the node that is meant")]
    Missing {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// A newer version wrote this.
    #[error("{path} has storage format {found}, this build knows up to {supported}: use the newer build")]
    Newer {
        /// The file that names the format.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// The newest version that this build can read.
        supported: u32,
    },
    /// A version wrote this that was never released.
    #[error(
        "{path} has storage format {found}, this build knows {supported} only: take a backup with the build that wrote it, and restore that"
    )]
    Older {
        /// The file that names the format.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// The only version that this build can read.
        supported: u32,
    },
    /// Bytes are not what was written.
    #[error("{path} is damaged, {what}: {NEXT}")]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A backup is not what was written.
    #[error("the backup {path} is not intact: {what}; take another copy of it")]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no room for something that would have to be stored.
    #[error("{path} has {free} bytes free, and {needed} are needed: make room, or choose another data directory")]
    Full {
        /// The directory.
        path: PathBuf,
        /// What is needed.
        needed: u64,
        /// What is free.
        free: u64,
    },
    /// The log ends before what this node has acknowledged.
    #[error(
        "the log in {path} has {end} as its next index, but everything before {acknowledged} was acknowledged: this disk lost data, and this node must not vote; {NEXT}"
    )]
    Amnesia {
        /// The directory of the log.
        path: PathBuf,
        /// One past the last index that is there.
        end: u64,
        /// One past the highest index that was acknowledged.
        acknowledged: u64,
    },
    /// The log has forgotten a vote that this node has given.
    #[error(
        "the log in {path} knows of {votes} votes, but {acknowledged} were given: this disk lost data, and this node must not vote; {NEXT}"
    )]
    ForgottenVote {
        /// The directory of the log.
        path: PathBuf,
        /// How many are there.
        votes: u64,
        /// How many were given.
        acknowledged: u64,
    },
    /// A file name that would leave the data directory.
    #[error("{name:?} is not a plain file name")]
    Name {
        /// The name.
        name: String,
    },
    /// A snapshot was written out of order.
    #[error("the snapshot {path} got {what}: take it again")]
    Order {
        /// The snapshot file.
        path: PathBuf,
        /// What came out of order.
        what: &'static str,
    },
}

impl StorageError {
    /// Whether what is stored is not what was written, so that `aumbry operator check` has something to find.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Database { .. } | Self::Damaged { .. } | Self::Amnesia { .. } | Self::ForgottenVote { .. }
        )
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn database(action: &'static str, path: &Path) -> impl FnOnce(rocksdb::Error) -> Self {
        move |source| Self::Database {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Bytes that are not what was written.
    #[must_use]
    pub fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.into(),
        }
    }
}

/// An error and its causes in one line. A cause that the error before it tells already is left out.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

/// What to do about damage. `FILE` is the node's configuration, which is none of storage's business.
pub const NEXT: &str = "stop the node and run `aumbry operator check --config FILE`";
