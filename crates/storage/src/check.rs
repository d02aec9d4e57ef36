//! Looks at all that a node keeps, and changes nothing.
//!
//! Everything is read: each block of the databases, each entry, each row, each audit body, each snapshot. What can be compared is compared: the log
//! with its floor, the rows with the state digest, the audit bodies with the hash tree. What the bytes of votes, entries and memberships mean is for
//! the caller to say, who adds findings of its own.
//!
//! It needs the lock of the data directory ([`crate::DataDir::look`]), so it never looks at files that a running node changes.

mod audit;
mod log;
mod rows;

use std::path::{Path, PathBuf};

pub use log::LogFacts;
pub use rows::RowFacts;

use crate::{SnapshotHeader, SnapshotReader, StorageError, files};

/// A part of what a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The file that names the format of the directory.
    Format,
    /// Who the node is.
    Identity,
    /// How far the log was acknowledged.
    Floor,
    /// The Raft log with the vote.
    Log,
    /// The applied rows.
    State,
    /// The audit bodies.
    Audit,
    /// The snapshot files.
    Snapshots,
}

impl Part {
    /// The word for it, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Identity => "identity",
            Self::Floor => "floor",
            Self::Log => "log",
            Self::State => "state",
            Self::Audit => "audit",
            Self::Snapshots => "snapshots",
        }
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it belongs to.
    pub part: Part,
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it, in one line.
    pub what: String,
}

/// Gathers what is found.
pub struct Check<'a> {
    findings: Vec<Finding>,
    notes: Vec<String>,
    progress: &'a mut dyn FnMut(Part, u64),
    told: (Part, u64),
}

impl<'a> Check<'a> {
    /// Begins. `progress` hears how many bytes of a part were read, now and then.
    pub fn new(progress: &'a mut dyn FnMut(Part, u64)) -> Self {
        Self {
            findings: Vec::new(),
            notes: Vec::new(),
            progress,
            told: (Part::Format, 0),
        }
    }

    /// Adds something that is not as it was written.
    pub fn find(&mut self, part: Part, path: &Path, what: impl Into<String>) {
        let what = what.into().replace('\n', " ");
        self.findings.push(Finding {
            part,
            path: path.to_owned(),
            what,
        });
    }

    /// Adds an error of storage.
    pub fn find_error(&mut self, part: Part, error: StorageError) {
        let (path, what) = match error {
            StorageError::Damaged { path, what } => (path, what),
            StorageError::Database { path, source, .. } => {
                let what = source.to_string();
                (named_file(&path, &what).unwrap_or(path), what)
            }
            StorageError::Amnesia {
                path,
                end,
                acknowledged,
            } => {
                let what = format!("it goes on at entry {end}, but everything before {acknowledged} was acknowledged");
                (path, what)
            }
            StorageError::ForgottenVote {
                path,
                votes,
                acknowledged,
            } => (path, format!("it has {votes} votes, but {acknowledged} were given")),
            StorageError::Newer { path, found, .. } => (
                path,
                format!("it says that it is of format {found}, which is newer than this build"),
            ),
            StorageError::Older { path, found, .. } => (
                path,
                format!("it says that it is of format {found}, which this build does not read"),
            ),
            StorageError::Io { path, source, action } => (path, format!("cannot {action} it: {source}")),
            other => (PathBuf::new(), other.to_string()),
        };
        self.find(part, &path, what);
    }

    /// Adds what is worth knowing and no damage.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether something was found in this part.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        self.findings.iter().any(|finding| finding.part == part)
    }

    /// What was found, and what is worth knowing.
    #[must_use]
    pub fn finish(self) -> (Vec<Finding>, Vec<String>) {
        (self.findings, self.notes)
    }

    /// Reads a snapshot file and adds up what is in it; none if it is damaged.
    pub fn snapshot(&mut self, path: &Path) -> Option<SnapshotHeader> {
        let opened = SnapshotReader::open(path).and_then(|reader| reader.check_content().map(|_| reader));
        match opened {
            Ok(reader) => {
                self.progress(Part::Snapshots, reader.bytes());
                Some(reader.header().clone())
            }
            Err(error) => {
                self.find_error(Part::Snapshots, error);
                None
            }
        }
    }

    /// The whole snapshot files in a directory, the oldest first.
    pub fn snapshots_in(&mut self, dir: &Path) -> Vec<PathBuf> {
        match files::names(dir) {
            Ok(names) => {
                let whole = names.iter().filter(|name| name.ends_with(SNAPSHOT_ENDING));
                whole.map(|name| dir.join(name)).collect()
            }
            Err(error) => {
                self.find_error(Part::Snapshots, error);
                Vec::new()
            }
        }
    }

    fn progress(&mut self, part: Part, bytes: u64) {
        if self.told.0 != part {
            self.told = (part, 0);
        }
        self.told.1 += bytes;
        (self.progress)(part, self.told.1);
    }
}

/// Counts what is read, and tells of it each few megabytes: a call for each row would cost more than the row.
struct Meter(u64);

impl Meter {
    const fn new() -> Self {
        Self(0)
    }

    fn add(&mut self, check: &mut Check<'_>, part: Part, bytes: usize) {
        self.0 += bytes as u64;
        if self.0 >= METER_BYTES {
            check.progress(part, std::mem::take(&mut self.0));
        }
    }

    fn end(self, check: &mut Check<'_>, part: Part) {
        check.progress(part, self.0);
    }
}

/// The file of a database that an error of RocksDB names.
fn named_file(dir: &Path, text: &str) -> Option<PathBuf> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_file = |word: &&str| {
        let numbered = |stem: Option<&str>| stem.is_some_and(|stem| stem.bytes().all(|byte| byte.is_ascii_digit()));
        numbered(word.strip_suffix(".sst"))
            || numbered(word.strip_suffix(".log"))
            || numbered(word.strip_prefix("MANIFEST-"))
            || *word == "CURRENT"
    };
    let mut words = text.split(|c| !is_word(c)).map(|word| word.trim_matches('.'));
    words.find(is_file).map(|name| dir.join(name))
}

const SNAPSHOT_ENDING: &str = ".snap";
const METER_BYTES: u64 = 8 << 20;

#[cfg(test)]
mod tests;
