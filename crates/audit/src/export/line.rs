//! The text of the lines. Keys are written in the order of these types, which is part of the format.

use aumbry_types::StorageId;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};

use super::{Content, Header, Unverified};
use crate::event::Event;
use crate::{Frontier, Leaf, Outcome, Record, hex};

/// What the line of a header, of a leaf and of a checkpoint begins with.
pub(super) const HEADER_START: &[u8] = b"{\"format\":";
pub(super) const LEAF_START: &[u8] = b"{\"seq\":";
pub(super) const CHECKPOINT_START: &[u8] = b"{\"checkpoint\":";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderLine {
    format: String,
    storage_id: String,
    origin: String,
    first_seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frontier: Option<String>,
}

impl HeaderLine {
    pub(super) fn new(header: &Header) -> Self {
        let first_seq = header.start.size();
        Self {
            format: FORMAT.to_owned(),
            storage_id: header.storage_id.to_string(),
            origin: header.origin.clone(),
            first_seq,
            frontier: (first_seq > 0).then(|| STANDARD.encode(header.start.encode())),
        }
    }

    /// The header that the line states, if it is one of this version.
    pub(super) fn parse(&self) -> Option<Header> {
        let start = match &self.frontier {
            None => Frontier::new(),
            Some(text) => Frontier::decode(&STANDARD.decode(text).ok()?)?,
        };
        let storage_id: StorageId = self.storage_id.parse().ok()?;
        (self.format == FORMAT && start.size() == self.first_seq).then(|| Header {
            storage_id,
            origin: self.origin.clone(),
            start,
        })
    }
}

/// The line of a leaf; `E` is what it shows as event.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeafLine<E> {
    seq: u64,
    index: u64,
    k: u32,
    log_time: u64,
    outcome: String,
    commitment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<bool>,
    /// Not there if the content is withheld.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<E>,
    pub(super) unverified: Unverified,
}

impl<'a> LeafLine<Shown<'a>> {
    /// `event` is the decoded `content`, unless it is withheld.
    pub(super) fn new(leaf: &Leaf, content: &Content, event: Option<Shown<'a>>, unverified: Unverified) -> Self {
        let (mut salt, mut record, mut clear, mut withheld) = (None, None, None, None);
        match content {
            Content::Record {
                record: bytes,
                salt: own,
            } => {
                salt = Some(hex::encode(own));
                record = Some(STANDARD.encode(bytes));
            }
            Content::Clear(bytes) => clear = Some(STANDARD.encode(bytes)),
            Content::Withheld => withheld = Some(true),
        }
        Self {
            seq: leaf.seq,
            index: leaf.index,
            k: leaf.k,
            log_time: leaf.log_time,
            outcome: leaf.outcome.name().to_owned(),
            commitment: hex::encode(&leaf.commitment),
            salt,
            record,
            clear,
            withheld,
            event,
            unverified,
        }
    }
}

impl<E> LeafLine<E> {
    /// The leaf and the content that the line states.
    pub(super) fn parse(&self) -> Option<(Leaf, Content)> {
        let leaf = Leaf {
            seq: self.seq,
            index: self.index,
            k: self.k,
            log_time: self.log_time,
            outcome: Outcome::from_name(&self.outcome)?,
            commitment: hex::decode(&self.commitment)?,
        };
        let content = match (&self.salt, &self.record, &self.clear, self.withheld) {
            (Some(salt), Some(record), None, None) => Content::Record {
                record: STANDARD.decode(record).ok()?,
                salt: hex::decode(salt)?,
            },
            (None, None, Some(clear), None) => Content::Clear(STANDARD.decode(clear).ok()?),
            (None, None, None, Some(true)) => Content::Withheld,
            _ => return None,
        };
        Some((leaf, content))
    }
}

/// What people read of a leaf.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    Record(&'a Record),
    Clear(&'a [u8]),
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(record) => Event(record).serialize(serializer),
            Self::Clear(bytes) => ClearEvent {
                consensus: &String::from_utf8_lossy(bytes),
            }
            .serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct ClearEvent<'a> {
    consensus: &'a str,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointLine {
    /// The signed note.
    pub(super) checkpoint: String,
    /// The public key of its signature, in hex.
    pub(super) key: String,
}

const FORMAT: &str = "aumbry-audit-export/1";
