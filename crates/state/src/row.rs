//! A row: a clear header, which is all that keyless apply needs, and the ciphertext.

use aumbry_types::{CommandId, ObjectId};
use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};

/// Where in the log a row was written last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rev {
    /// The index of the entry.
    pub index: u64,
    /// The position of the command in the entry.
    pub k: u32,
}

/// One stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What the row holds, in the numbering of its engine.
    pub kind: u8,
    /// Reserved, zero.
    pub flags: u8,
    /// Where it was written last; set by apply.
    pub rev: Rev,
    /// The command that wrote it last; set by apply. It identifies this state of the row but for its counters, and the leader
    /// knows it before the log index is known, so plans on rows in flight can name it.
    pub writer: CommandId,
    /// When it was first written, in log time (ms); set by apply.
    pub created: u64,
    /// When it expires, in log time (ms); 0 is never.
    pub expires_at: u64,
    /// Two counters that change without changing `writer`.
    pub counters: [u64; 2],
    /// The term of the key that encrypts the body (the wrapping key, where there are two envelopes).
    pub key_term: u32,
    /// The container it belongs to, zero for none.
    pub container: ObjectId,
    /// The ciphertext; for rows that are declared clear, the content.
    pub body: Bytes,
}

impl Row {
    /// Encodes the row.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let is_owned = self.container != NO_CONTAINER;
        let mut w = Writer::with_capacity(HEADER_BYTES_MAX + self.body.len());
        w.u8(FORMAT);
        w.u8(self.kind);
        w.u8(self.flags);
        w.u8(u8::from(is_owned));
        w.raw(self.writer.as_bytes());
        if is_owned {
            w.raw(self.container.as_bytes());
        }
        w.varint(self.rev.index);
        w.varint(self.rev.k.into());
        w.varint(self.created);
        w.varint(self.expires_at);
        w.varint(self.counters[0]);
        w.varint(self.counters[1]);
        w.varint(self.key_term.into());
        w.raw(&self.body);
        w.finish().into()
    }

    /// Decodes a row of any format that was ever written; the body shares the memory.
    ///
    /// # Errors
    /// [`Malformed`] if the header is short, not as [`Self::encode`] writes it, or of an unknown format.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes.clone());
        match r.u8()? {
            FORMAT => Self::decode_rest(r),
            FORMAT_FIXED => Self::decode_fixed(r),
            _ => Err(Malformed),
        }
    }

    fn decode_rest(mut r: Reader) -> Result<Self, Malformed> {
        let (kind, flags) = (r.u8()?, r.u8()?);
        let is_owned = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed),
        };
        let writer = r.command()?;
        let container = match is_owned {
            true => r.object()?,
            false => NO_CONTAINER,
        };
        if is_owned && container == NO_CONTAINER {
            return Err(Malformed);
        }
        Ok(Self {
            kind,
            flags,
            rev: Rev {
                index: r.varint()?,
                k: r.varint_u32()?,
            },
            writer,
            created: r.varint()?,
            expires_at: r.varint()?,
            counters: [r.varint()?, r.varint()?],
            key_term: r.varint_u32()?,
            container,
            body: r.rest(),
        })
    }

    /// The first layout, in which each field has its full width.
    fn decode_fixed(mut r: Reader) -> Result<Self, Malformed> {
        Ok(Self {
            kind: r.u8()?,
            flags: r.u8()?,
            rev: Rev {
                index: r.u64()?,
                k: r.u32()?,
            },
            writer: r.command()?,
            created: r.u64()?,
            expires_at: r.u64()?,
            counters: [r.u64()?, r.u64()?],
            key_term: r.u32()?,
            container: r.object()?,
            body: r.rest(),
        })
    }

    /// Whether the row has expired at this log time.
    #[must_use]
    pub const fn is_expired(&self, log_time: u64) -> bool {
        self.expires_at != 0 && self.expires_at <= log_time
    }
}

/// The first byte of each row: the version of its layout.
const FORMAT: u8 = 2;
/// Rows that were written before numbers took as many bytes as they need.
const FORMAT_FIXED: u8 = 1;
/// With a container and numbers of any size.
const HEADER_BYTES_MAX: usize = 4 + 16 + 16 + 5 * 10 + 2 * 5;
const NO_CONTAINER: ObjectId = ObjectId::from_bytes([0; 16]);
