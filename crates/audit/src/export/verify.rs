//! Verifies an export: offline, without a key, in one pass and in memory of one line.

use std::io::{BufRead, Read as _};

use aumbry_crypto::signature::VerifyingKey;
use aumbry_types::StorageId;
use serde::Deserialize;

use super::line::{CHECKPOINT_START, CheckpointLine, HEADER_START, HeaderLine, LEAF_START, LeafLine, Shown};
use super::writer::line as written;
use super::{Content, Header, LINE_BYTES_MAX, Reason, VerifyError, checkpoint_line, header_line};
use crate::{Checkpoint, Frontier, Leaf, Outcome, Record, clear_commitment, commitment, hex};

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
    /// How many signed checkpoints the export has.
    pub checkpoints: u64,
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

/// What [`verify_each`] meets on its way.
pub enum Seen<'a> {
    /// A record that is in its place and is what its leaf commits to. No signed root covers it yet.
    Record {
        /// Its line, with the newline.
        line: &'a [u8],
        /// The hash of its leaf.
        hash: [u8; 32],
        /// The tree up to here, the record included.
        tree: &'a Frontier,
    },
    /// A checkpoint that is signed by the key of the export, before its size and its root are compared with the records.
    Checkpoint {
        /// The signed note.
        note: &'a str,
        /// Its line, with the newline.
        line: &'a [u8],
        /// What it says.
        checkpoint: &'a Checkpoint,
    },
}

/// Verifies an export to its end. `pinned` is the fingerprint of the checkpoint key that the reader trusts.
///
/// # Errors
/// The first thing wrong, with the line and the record.
pub fn verify(reader: impl BufRead, pinned: Option<[u8; 32]>) -> Result<Verified, VerifyError> {
    verify_each(reader, pinned, |_| Ok(()))
}

/// As [`verify`], and shows all that is verified on the way. What `seen` refuses fails the export at that line.
///
/// # Errors
/// The first thing wrong, with the line and the record.
pub fn verify_each(
    mut reader: impl BufRead,
    pinned: Option<[u8; 32]>,
    mut seen: impl FnMut(Seen<'_>) -> Result<(), Reason>,
) -> Result<Verified, VerifyError> {
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
        if let Err((seq, reason)) = verifier.line(&text, &mut seen) {
            let reason = moved(reason, &mut reader, &mut text, number);
            return Err(VerifyError {
                line: number,
                seq,
                reason,
            });
        }
    }
}

/// A record that is missing where it should stand was moved if it stands further on. The rest of the file is looked
/// through for it by its beginning alone: what comes after the first thing wrong proves nothing.
fn moved(reason: Reason, reader: &mut impl BufRead, text: &mut Vec<u8>, mut line: u64) -> Reason {
    let seq = match reason {
        Reason::Missing { expected, .. } => expected,
        Reason::Size { signed, found } if found < signed => found,
        other => return other,
    };
    let start = format!("{{\"seq\":{seq},");
    while let Ok(Line::Some) = read_line(reader, text) {
        line += 1;
        if text.starts_with(start.as_bytes()) {
            return Reason::Moved { seq, line };
        }
    }
    reason
}

/// Reads the line of one record, as it stands in an export of this store, and checks that the record is the one that
/// its leaf commits to. Whether the leaf is in the log, an [inclusion proof](crate::proof::Inclusion) says.
///
/// # Errors
/// What is wrong with the line.
pub fn disclosed(storage_id: &StorageId, text: &[u8]) -> Result<Leaf, Reason> {
    let stated = Stated::parse(text)?;
    stated.check(storage_id, text)?;
    Ok(stated.leaf)
}

/// Reads the line of a checkpoint, as it stands in an export: the signed note, which is not verified here, and the key
/// that is to verify it. `None` if the line begins otherwise.
///
/// # Errors
/// [`Reason::Malformed`] and [`Reason::Rewritten`].
pub fn noted(text: &[u8]) -> Result<Option<(String, VerifyingKey)>, Reason> {
    if !text.starts_with(CHECKPOINT_START) {
        return Ok(None);
    }
    let stated: CheckpointLine = json(text)?;
    let key = VerifyingKey::from_bytes(hex::decode(&stated.key).ok_or(Reason::Malformed)?);
    if checkpoint_line(&stated.checkpoint, &key).as_bytes() != text {
        return Err(Reason::Rewritten);
    }
    Ok(Some((stated.checkpoint, key)))
}

/// Whether there was another line.
#[derive(PartialEq, Eq)]
pub enum Line {
    /// One was read.
    Some,
    /// The input is at its end.
    End,
}

/// Reads one line of an export, with its newline, into `text`, and never more than the longest that one can have.
///
/// # Errors
/// [`Reason::Input`], [`Reason::CutOff`] if the last line has no newline, [`Reason::Malformed`] if it is too long.
pub fn read_line(reader: &mut impl BufRead, text: &mut Vec<u8>) -> Result<Line, Reason> {
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
    /// The last checkpoint that was found right, and its note.
    covered: Option<(u64, String)>,
    checkpoints: u64,
}

/// A leaf with its content, as a line states them.
struct Stated {
    leaf: Leaf,
    content: Content,
    line: LeafLine<serde_json::Value>,
}

impl Stated {
    fn parse(text: &[u8]) -> Result<Self, Reason> {
        let line: LeafLine<serde_json::Value> = json(text)?;
        let (leaf, content) = line.parse().ok_or(Reason::Malformed)?;
        Ok(Self { leaf, content, line })
    }

    /// The content is what the leaf commits to, and the text of the line is the one for it.
    fn check(&self, storage_id: &StorageId, text: &[u8]) -> Result<(), Reason> {
        let Self { leaf, content, line } = self;
        let record;
        let committed = match content {
            Content::Record { record, salt } => commitment(storage_id, salt, record),
            Content::Withheld if leaf.outcome == Outcome::Clear => return Err(Reason::Withheld),
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
        if event != line.event {
            return Err(Reason::Event);
        }
        if written(&LeafLine::new(leaf, content, shown, line.unverified)).as_bytes() != text {
            return Err(Reason::Rewritten);
        }
        Ok(())
    }
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
            checkpoints: 0,
        })
    }

    fn line(&mut self, text: &[u8], seen: &mut impl FnMut(Seen<'_>) -> Result<(), Reason>) -> Result<(), Found> {
        if text.starts_with(LEAF_START) {
            self.leaf(text, seen)
        } else if text.starts_with(CHECKPOINT_START) {
            self.checkpoint(text, seen)
        } else {
            // Whatever stands here stands where the next record should.
            Err((Some(self.tree.size()), Reason::Malformed))
        }
    }

    fn leaf(&mut self, text: &[u8], seen: &mut impl FnMut(Seen<'_>) -> Result<(), Reason>) -> Result<(), Found> {
        let expected = self.tree.size();
        let at_expected = |reason| (Some(expected), reason);
        let stated = Stated::parse(text).map_err(at_expected)?;
        let found = stated.leaf.seq;
        if found > expected {
            return Err((Some(expected), Reason::Missing { expected, found }));
        }
        if found < expected {
            return Err((Some(found), Reason::Repeated { expected, found }));
        }
        self.order(&stated.leaf).map_err(at_expected)?;
        if self.shown && stated.content == Content::Withheld {
            return Err(at_expected(Reason::Withheld));
        }
        stated.check(&self.header.storage_id, text).map_err(at_expected)?;
        let Stated { leaf, content, .. } = stated;
        self.shown |= matches!(content, Content::Record { .. });
        self.withheld += u64::from(content == Content::Withheld);
        let hash = leaf.hash();
        self.tree.push(hash);
        self.first_log_time.get_or_insert(leaf.log_time);
        self.last = Some(leaf);
        let tree = &self.tree;
        seen(Seen::Record { line: text, hash, tree }).map_err(at_expected)
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

    fn checkpoint(&mut self, text: &[u8], seen: &mut impl FnMut(Seen<'_>) -> Result<(), Reason>) -> Result<(), Found> {
        let found = self.tree.size();
        let no_record = |reason| (None, reason);
        let (note, checkpoint) = self.signed(text).map_err(no_record)?;
        seen(Seen::Checkpoint {
            note: &note,
            line: text,
            checkpoint: &checkpoint,
        })
        .map_err(no_record)?;
        let signed = checkpoint.size;
        if signed != found {
            // What is missing before it starts here; what the file has too much starts after what was signed.
            return Err((Some(signed.min(found)), Reason::Size { signed, found }));
        }
        if checkpoint.root != self.tree.root() {
            return Err(no_record(match self.covered.take() {
                Some((size, first)) if size == found => Reason::Forked {
                    size,
                    first,
                    second: note,
                },
                covered => Reason::Root {
                    first: covered.map_or_else(|| self.header.start.size(), |(size, _)| size),
                    last: found.saturating_sub(1),
                },
            }));
        }
        self.covered = Some((found, note));
        self.checkpoints += 1;
        Ok(())
    }

    fn signed(&mut self, text: &[u8]) -> Result<(String, Checkpoint), Reason> {
        let (note, key) = noted(text)?.ok_or(Reason::Malformed)?;
        let fingerprint = key.fingerprint();
        if *self.key.get_or_insert(fingerprint) != fingerprint {
            return Err(Reason::Key {
                found: hex::encode(&fingerprint),
            });
        }
        let checkpoint = Checkpoint::verify(&note, &key)?;
        if checkpoint.origin != self.header.origin {
            return Err(Reason::Origin);
        }
        Ok((note, checkpoint))
    }

    fn finish(self) -> Result<Verified, Reason> {
        let size = self.tree.size();
        let Some(key_fingerprint) = self
            .key
            .filter(|_| self.covered.as_ref().is_some_and(|(covered, _)| *covered == size))
        else {
            return Err(Reason::NoCheckpoint);
        };
        Ok(Verified {
            storage_id: self.header.storage_id,
            first_seq: self.header.start.size(),
            records: size - self.header.start.size(),
            withheld: self.withheld,
            checkpoints: self.checkpoints,
            size,
            root: self.tree.root(),
            key_fingerprint,
            log_times: self.first_log_time.zip(self.last.map(|leaf| leaf.log_time)),
            origin: self.header.origin,
        })
    }
}

/// The record at which a line is bad, if it is one, and why.
type Found = (Option<u64>, Reason);

fn json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Reason> {
    // The parser's own message would quote the line, which an attacker may have written.
    serde_json::from_slice(text).map_err(|_| Reason::Malformed)
}
