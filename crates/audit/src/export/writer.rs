//! Writes an export, line by line, and refuses to write one that would not verify.

use std::io::{self, Write};

use aumbry_crypto::signature::VerifyingKey;
use serde::Serialize;

use super::line::{CheckpointLine, HeaderLine, LeafLine, Shown};
use super::{Content, Header, LINE_BYTES_MAX, Unverified};
use crate::{Body, Checkpoint, CheckpointError, Frontier, Leaf, Record, hex, text};

/// Why an export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("the export cannot be written")]
    Output(#[from] io::Error),
    /// A body does not continue where the last one ended.
    #[error("the audit trail has a gap: expected record {expected}, found {found}")]
    Gap {
        /// The next position of the tree.
        expected: u64,
        /// The first position of the body.
        found: u64,
    },
    /// A body and the records opened from it do not belong together.
    #[error("the records do not belong to log entry {index}; open them from the body's own blob")]
    Records {
        /// The position of the entry in the Raft log.
        index: u64,
    },
    /// A record is not one that this version can read.
    #[error("record {seq} is malformed or too long to export; the node that wrote it was faulty or is newer")]
    Record {
        /// The position of the leaf.
        seq: u64,
    },
    /// A record is withheld after one that is shown.
    #[error("record {seq} cannot be opened, although records before it can; export from another node")]
    Withheld {
        /// The position of the leaf.
        seq: u64,
    },
    /// The checkpoint is not one of the tree written so far.
    #[error("the checkpoint does not cover the {size} records up to here")]
    Uncovered {
        /// The number of leaves up to here.
        size: u64,
    },
    /// The checkpoint is not signed by its key.
    #[error("the checkpoint of the export cannot be used")]
    Checkpoint(#[from] CheckpointError),
}

/// Writes one export to `W`.
pub struct Writer<W> {
    output: W,
    header: Header,
    tree: Frontier,
    /// Whether a record was shown: from then on none may be withheld.
    shown: bool,
}

impl<W: Write> Writer<W> {
    /// Starts an export with its header.
    ///
    /// # Errors
    /// [`WriteError::Output`].
    pub fn new(mut output: W, header: Header) -> Result<Self, WriteError> {
        output.write_all(header_line(&header).as_bytes())?;
        let tree = header.start.clone();
        Ok(Self {
            output,
            header,
            tree,
            shown: false,
        })
    }

    /// Writes the leaves of one entry. `records` is what [`Body::open`] gave. Leaves before the start of the export are
    /// passed over, so a partial export may start inside an entry.
    ///
    /// # Errors
    /// [`WriteError::Output`], [`Gap`](WriteError::Gap), [`Records`](WriteError::Records) and
    /// [`Record`](WriteError::Record). After one, the output is not an export and is to be thrown away.
    pub fn body(&mut self, body: &Body, records: &[(Vec<u8>, [u8; 16])]) -> Result<(), WriteError> {
        let mut records = records.iter();
        self.leaves(body, || {
            records.next().map(|(record, salt)| Content::Record {
                record: record.clone(),
                salt: *salt,
            })
        })?;
        match records.next() {
            Some(_) => Err(WriteError::Records { index: body.index }),
            None => Ok(()),
        }
    }

    /// Writes the leaves of one entry whose records nobody can open any more, as those of an initialisation that was
    /// repeated.
    ///
    /// # Errors
    /// [`WriteError::Output`], [`Gap`](WriteError::Gap) and [`Withheld`](WriteError::Withheld). After one, the output is
    /// not an export and is to be thrown away.
    pub fn withheld(&mut self, body: &Body) -> Result<(), WriteError> {
        self.leaves(body, || Some(Content::Withheld))
    }

    /// Writes the leaves of one entry; `sealed` gives the content of those that are not in clear.
    fn leaves(&mut self, body: &Body, mut sealed: impl FnMut() -> Option<Content>) -> Result<(), WriteError> {
        let expected = self.tree.size();
        if body.first_seq > expected {
            return Err(WriteError::Gap {
                expected,
                found: body.first_seq,
            });
        }
        for leaf in body.leaves() {
            let content = if body.is_clear(leaf.outcome) {
                Content::Clear(body.clear.clone())
            } else {
                sealed().ok_or(WriteError::Records { index: body.index })?
            };
            if leaf.seq < self.header.start.size() {
                continue;
            }
            if leaf.seq != self.tree.size() {
                return Err(WriteError::Gap {
                    expected: self.tree.size(),
                    found: leaf.seq,
                });
            }
            self.shown |= matches!(content, Content::Record { .. });
            if self.shown && content == Content::Withheld {
                return Err(WriteError::Withheld { seq: leaf.seq });
            }
            let unverified = Unverified {
                term: body.term,
                wall_time: body.wall_time,
            };
            let line = leaf_line(&leaf, &content, unverified).ok_or(WriteError::Record { seq: leaf.seq })?;
            self.output.write_all(line.as_bytes())?;
            self.tree.push(leaf.hash());
        }
        Ok(())
    }

    /// Writes a checkpoint of the tree up to here: a signed note and the key that signed it. The last line of an
    /// export is one; more of them narrow down where an alteration is.
    ///
    /// # Errors
    /// [`WriteError::Output`], [`Uncovered`](WriteError::Uncovered) and [`Checkpoint`](WriteError::Checkpoint).
    pub fn checkpoint(&mut self, note: &str, key: &VerifyingKey) -> Result<(), WriteError> {
        let own = Checkpoint {
            origin: self.header.origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
        };
        if Checkpoint::verify(note, key)? != own {
            return Err(WriteError::Uncovered { size: own.size });
        }
        Ok(self.output.write_all(checkpoint_line(note, key).as_bytes())?)
    }

    /// The tree up to here, for a checkpoint of it.
    #[must_use]
    pub const fn tree(&self) -> &Frontier {
        &self.tree
    }

    /// Ends the export after its last checkpoint.
    ///
    /// # Errors
    /// [`WriteError::Output`] if what is buffered cannot be written.
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.output.flush()?;
        Ok(self.output)
    }
}

/// The first line of an export, with its newline.
#[must_use]
pub fn header_line(header: &Header) -> String {
    line(&HeaderLine::new(header))
}

/// The line of one leaf, with its newline. `None` if the record does not decode, or the line would be longer than a
/// verifier accepts.
#[must_use]
pub fn leaf_line(leaf: &Leaf, content: &Content, unverified: Unverified) -> Option<String> {
    let text = match content {
        Content::Record { record, .. } => {
            let record = Record::decode(record)?;
            line(&LeafLine::new(leaf, content, Some(Shown::Record(&record)), unverified))
        }
        Content::Clear(bytes) => line(&LeafLine::new(leaf, content, Some(Shown::Clear(bytes)), unverified)),
        Content::Withheld => line(&LeafLine::new(leaf, content, None, unverified)),
    };
    (text.len() <= LINE_BYTES_MAX).then_some(text)
}

/// The line of a checkpoint, with its newline.
#[must_use]
pub fn checkpoint_line(note: &str, key: &VerifyingKey) -> String {
    line(&CheckpointLine {
        checkpoint: note.to_owned(),
        key: hex::encode(key.as_bytes()),
    })
}

pub(super) fn line(value: &impl Serialize) -> String {
    let mut text = text::json(value).expect("a line has text keys and no failing part");
    text.push('\n');
    text
}
