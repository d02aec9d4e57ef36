//! Verifies an export: offline, without a key, in one pass and in memory of one line.

use std::io::{self, BufRead, Read as _};

use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::StorageId;
use serde::Deserialize;

use super::line::{CHECKPOINT_START, CheckpointLine, HEADER_START, HeaderLine, LEAF_START, LeafLine, Shown};
use super::writer::line;
use super::{Content, Header, LINE_BYTES_MAX, checkpoint_line, header_line};
use crate::{Checkpoint, CheckpointError, Frontier, Leaf, Outcome, Record, clear_commitment, commitment, hex};

/// What a verified export showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The store that the records are of.
    pub storage_id: StorageId,
    /// The name of the log.
    pub origin: String,
    /// The position of the first record; 0 for a whole export.
    pub first_seq: u64,
    /// How many records the export has.
    pub records: u64,
    /// How many of them are withheld: they are in the tree, and the export does not say what they are. They are the first
    /// ones, of an initialisation that was repeated; an export that starts at 0 has seldom more than one or two.
    pub withheld: u64,
    /// The number of leaves of the tree that the last checkpoint signs: the next position.
    pub size: u64,
    /// The root of that tree, to be compared with a checkpoint kept elsewhere.
    pub root: [u8; 32],
    /// The fingerprint of the key that signed every checkpoint. If none was pinned, compare it with the one that was
    /// printed when the store was initialised: without that, the export has shown only that it agrees with itself.
    pub key_fingerprint: [u8; 32],
    /// The log's time of the first and the last record, in milliseconds since 1970, if there is a record.
    pub log_times: Option<(u64, u64)>,
}

/// The first thing wrong with an export.
#[derive(Debug, thiserror::Error)]
#[error("the export fails at line {line}")]
pub struct VerifyError {
    /// The line, counted from 1.
    pub line: u64,
    /// The record that is bad or missing, if it is one.
    pub seq: Option<u64>,
    /// What is wrong.
    #[source]
    pub reason: Reason,
}

/// What can be wrong with an export.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The input failed.
    #[error("the export cannot be read")]
    Input(#[from] io::Error),
    /// A line is none of the three kinds, at a place where it must be one, or says something impossible.
    #[error("the line is not one of an export")]
    Malformed,
    /// The file ends within a line.
    #[error("the export is cut off within a line")]
    CutOff,
    /// The line says what it should, written otherwise than an export writes it.
    #[error("the line was rewritten: it is not the text that an export has for its content")]
    Rewritten,
    /// A record is missing.
    #[error("record {expected} is missing: the line holds record {found}")]
    Missing {
        /// The next position of the tree.
        expected: u64,
        /// The position in the line.
        found: u64,
    },
    /// A record comes again, or out of its order.
    #[error("record {found} is repeated or out of order: expected record {expected}")]
    Repeated {
        /// The next position of the tree.
        expected: u64,
        /// The position in the line.
        found: u64,
    },
    /// The place in the log does not come after that of the record before.
    #[error("the place in the log does not come after that of the record before")]
    Order,
    /// The log's time runs backwards, or differs within one log entry.
    #[error("the log's time does not continue that of the record before")]
    Time,
    /// The record is not the one that was committed to.
    #[error("the record is not the one committed to: it was altered, or is of another store")]
    Commitment,
    /// What was committed to is not a record.
    #[error("what was committed to is not a record that this version reads")]
    Record,
    /// A record is withheld after one that is shown, or one that consensus made.
    #[error("the record is withheld where none can be: it was taken out, or the node that wrote the export was faulty")]
    Withheld,
    /// The readable event says something else than the record.
    #[error("the readable event is not that of the record")]
    Event,
    /// The checkpoint covers another number of records.
    #[error("the checkpoint covers {signed} records, and the export has {found} up to here")]
    Size {
        /// The size that was signed.
        signed: u64,
        /// The size of the tree in the file.
        found: u64,
    },
    /// The root is another one.
    #[error("the root is not the one signed: one of records {first} to {last}, or what came before them, was altered")]
    Root {
        /// The first record since the checkpoint before.
        first: u64,
        /// The last record covered.
        last: u64,
    },
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log than the header names")]
    Origin,
    /// The checkpoint is signed by another key than the pinned one, or than the checkpoints before.
    #[error(
        "the checkpoint is signed by key {found}, and not by the one expected; check the fingerprint that you pinned"
    )]
    Key {
        /// The fingerprint of the key in the file, in hex.
        found: String,
    },
    /// The checkpoint is not properly signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The file ends without a checkpoint over its last records.
    #[error("the export ends without a signed checkpoint: its end is missing")]
    NoCheckpoint,
}

/// Verifies an export to its end. `pinned` is the fingerprint of the checkpoint key that the reader trusts.
///
/// # Errors
/// The first thing wrong, with the line and the record.
pub fn verify(mut reader: impl BufRead, pinned: Option<[u8; 32]>) -> Result<Verified, VerifyError> {
    let mut number = 1;
    let mut text = Vec::new();
    let at = |line| {
        move |reason| VerifyError {
            line,
            seq: None,
            reason,
        }
    };
    read_line(&mut reader, &mut text).map_err(at(number))?;
    let mut verifier = Verifier::new(&text, pinned).map_err(at(number))?;
    loop {
        number += 1;
        if read_line(&mut reader, &mut text).map_err(at(number))? == Line::End {
            return verifier.finish().map_err(at(number));
        }
        verifier.line(&text).map_err(|(seq, reason)| VerifyError {
            line: number,
            seq,
            reason,
        })?;
    }
}

#[derive(PartialEq, Eq)]
enum Line {
    Some,
    End,
}

fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<Line, Reason> {
    text.clear();
    reader.take(LINE_BYTES_MAX as u64).read_until(b'\n', text)?;
    match text.last() {
        None => Ok(Line::End),
        Some(b'\n') => Ok(Line::Some),
        Some(_) if text.len() == LINE_BYTES_MAX => Err(Reason::Malformed),
        Some(_) => Err(Reason::CutOff),
    }
}

struct Verifier {
    header: Header,
    tree: Frontier,
    last: Option<Leaf>,
    first_log_time: Option<u64>,
    withheld: u64,
    /// Whether a record was shown: from then on none may be withheld.
    shown: bool,
    /// The fingerprint that every checkpoint must have, once it is known.
    key: Option<[u8; 32]>,
    /// The size that the last checkpoint signed.
    covered: Option<u64>,
}

impl Verifier {
    fn new(text: &[u8], pinned: Option<[u8; 32]>) -> Result<Self, Reason> {
        if !text.starts_with(HEADER_START) {
            return Err(Reason::Malformed);
        }
        let header = json::<HeaderLine>(text)?.parse().ok_or(Reason::Malformed)?;
        if header_line(&header).as_bytes() != text {
            return Err(Reason::Rewritten);
        }
        let tree = header.start.clone();
        Ok(Self {
            header,
            tree,
            last: None,
            first_log_time: None,
            withheld: 0,
            shown: false,
            key: pinned,
            covered: None,
        })
    }

    fn line(&mut self, text: &[u8]) -> Result<(), (Option<u64>, Reason)> {
        if text.starts_with(LEAF_START) {
            self.leaf(text)
        } else if text.starts_with(CHECKPOINT_START) {
            self.checkpoint(text)
        } else {
            // Whatever stands here stands where the next record should.
            Err((Some(self.tree.size()), Reason::Malformed))
        }
    }

    fn leaf(&mut self, text: &[u8]) -> Result<(), (Option<u64>, Reason)> {
        let expected = self.tree.size();
        let at_expected = |reason| (Some(expected), reason);
        let stated: LeafLine<serde_json::Value> = json(text).map_err(at_expected)?;
        let (leaf, content) = stated.parse().ok_or(Reason::Malformed).map_err(at_expected)?;
        if leaf.seq != expected {
            let found = leaf.seq;
            return Err(if found > expected {
                (Some(expected), Reason::Missing { expected, found })
            } else {
                (Some(found), Reason::Repeated { expected, found })
            });
        }
        self.order(&leaf).map_err(at_expected)?;
        self.content(&leaf, &content, &stated, text).map_err(at_expected)?;
        self.shown |= matches!(content, Content::Record { .. });
        self.withheld += u64::from(content == Content::Withheld);
        self.tree.push(leaf.hash());
        self.first_log_time.get_or_insert(leaf.log_time);
        self.last = Some(leaf);
        Ok(())
    }

    /// A leaf comes after the one before it, in the log and in its time, and one entry has one time.
    fn order(&self, leaf: &Leaf) -> Result<(), Reason> {
        let Some(last) = &self.last else {
            return Ok(());
        };
        if (leaf.index, leaf.k) <= (last.index, last.k) {
            return Err(Reason::Order);
        }
        let same_entry = leaf.index == last.index;
        if leaf.log_time < last.log_time || (same_entry && leaf.log_time != last.log_time) {
            return Err(Reason::Time);
        }
        Ok(())
    }

    /// The content is what the leaf commits to, and the text of the line is the one for it.
    fn content(
        &self,
        leaf: &Leaf,
        content: &Content,
        stated: &LeafLine<serde_json::Value>,
        text: &[u8],
    ) -> Result<(), Reason> {
        let record;
        let committed = match content {
            Content::Record { record, salt } => commitment(&self.header.storage_id, salt, record),
            Content::Withheld if self.shown || leaf.outcome == Outcome::Clear => return Err(Reason::Withheld),
            Content::Withheld => leaf.commitment,
            // Only apply writes content in clear, and only with these outcomes.
            Content::Clear(bytes) if matches!(leaf.outcome, Outcome::Clear | Outcome::Rejected) => {
                clear_commitment(bytes)
            }
            Content::Clear(_) => return Err(Reason::Malformed),
        };
        if committed != leaf.commitment {
            return Err(Reason::Commitment);
        }
        let shown = match content {
            Content::Record { record: bytes, .. } => {
                record = Record::decode(bytes).ok_or(Reason::Record)?;
                Some(Shown::Record(&record))
            }
            Content::Clear(bytes) => Some(Shown::Clear(bytes)),
            Content::Withheld => None,
        };
        let event = shown.map(serde_json::to_value).transpose().map_err(|_| Reason::Event)?;
        if event != stated.event {
            return Err(Reason::Event);
        }
        if line(&LeafLine::new(leaf, content, shown, stated.unverified)).as_bytes() != text {
            return Err(Reason::Rewritten);
        }
        Ok(())
    }

    fn checkpoint(&mut self, text: &[u8]) -> Result<(), (Option<u64>, Reason)> {
        let found = self.tree.size();
        let checkpoint = self.signed(text).map_err(|reason| (None, reason))?;
        if checkpoint.size != found {
            // What is missing before it starts here; what the file has too much starts after what was signed.
            let seq = checkpoint.size.min(found);
            return Err((
                Some(seq),
                Reason::Size {
                    signed: checkpoint.size,
                    found,
                },
            ));
        }
        if checkpoint.root != self.tree.root() {
            let first = self.covered.unwrap_or_else(|| self.header.start.size());
            return Err((
                None,
                Reason::Root {
                    first,
                    last: found.saturating_sub(1),
                },
            ));
        }
        self.covered = Some(found);
        Ok(())
    }

    fn signed(&mut self, text: &[u8]) -> Result<Checkpoint, Reason> {
        let stated: CheckpointLine = json(text)?;
        let key = VerifyingKey::from_bytes(hex::decode(&stated.key).ok_or(Reason::Malformed)?);
        let fingerprint = key.fingerprint();
        if *self.key.get_or_insert(fingerprint) != fingerprint {
            return Err(Reason::Key {
                found: hex::encode(&fingerprint),
            });
        }
        let checkpoint = Checkpoint::verify(&stated.checkpoint, &key)?;
        if checkpoint.origin != self.header.origin {
            return Err(Reason::Origin);
        }
        if checkpoint_line(&stated.checkpoint, &key).as_bytes() != text {
            return Err(Reason::Rewritten);
        }
        Ok(checkpoint)
    }

    fn finish(self) -> Result<Verified, Reason> {
        let size = self.tree.size();
        let Some(key_fingerprint) = self.key.filter(|_| self.covered == Some(size)) else {
            return Err(Reason::NoCheckpoint);
        };
        Ok(Verified {
            storage_id: self.header.storage_id,
            first_seq: self.header.start.size(),
            records: size - self.header.start.size(),
            withheld: self.withheld,
            size,
            root: self.tree.root(),
            key_fingerprint,
            log_times: self.first_log_time.zip(self.last.map(|leaf| leaf.log_time)),
            origin: self.header.origin,
        })
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Reason> {
    // The parser's own message would quote the line, which an attacker may have written.
    serde_json::from_slice(text).map_err(|_| Reason::Malformed)
}
