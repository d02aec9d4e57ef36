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
        let mut w = Writer::with_capacity(HEADER_BYTES + self.body.len());
        w.u8(FORMAT);
        w.u8(self.kind);
        w.u8(self.flags);
        w.u64(self.rev.index);
        w.u32(self.rev.k);
        w.raw(self.writer.as_bytes());
        w.u64(self.created);
        w.u64(self.expires_at);
        w.u64(self.counters[0]);
        w.u64(self.counters[1]);
        w.u32(self.key_term);
        w.raw(self.container.as_bytes());
        w.raw(&self.body);
        w.finish().into()
    }

    /// Decodes a row; the body shares the memory.
    ///
    /// # Errors
    /// [`Malformed`] if the header is short or of another format.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes.clone());
        if r.u8()? != FORMAT {
            return Err(Malformed);
        }
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
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 3 + 12 + 16 + 32 + 4 + 16;
