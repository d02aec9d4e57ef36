//! An entry of the log: many commands that one fsync and one round trip make durable.

use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};
use crate::command::{Command, PARTS_MAX};

/// The version of apply's semantics that this build writes. Semantics never change within a version.
pub const APPLY_VERSION: u16 = 1;

/// What the leader stamps on an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryHeader {
    /// Log time in milliseconds; apply never lets it run backwards.
    pub log_time: u64,
    /// The leader's wall clock in milliseconds, for people.
    pub wall_time: u64,
}

/// A decoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The leader's stamps.
    pub header: EntryHeader,
    /// The commands, applied in order.
    pub commands: Vec<Command>,
    /// The encrypted audit records of all the commands.
    pub audit: Bytes,
}

/// Why bytes are not an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A newer build wrote it: applying it by guess would make this node differ.
    #[error(
        "an entry needs apply version {0}, this build knows {APPLY_VERSION}: start a newer build of Aumbry on this node"
    )]
    Newer(u16),
    /// Not an entry.
    #[error("not an entry")]
    Malformed,
}

impl From<Malformed> for EntryError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Entry {
    /// Encodes the entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let commands: usize = self.commands.iter().map(Command::size_hint).sum();
        let mut w = Writer::with_capacity(64 + commands + self.audit.len());
        w.raw(&MAGIC);
        w.u8(CODEC);
        w.u16(APPLY_VERSION);
        w.u16(APPLY_VERSION);
        w.u64(self.header.log_time);
        w.u64(self.header.wall_time);
        w.u32(u32::try_from(self.commands.len()).expect("the leader bounds commands"));
        for command in &self.commands {
            command.encode(&mut w);
        }
        w.bytes(&self.audit);
        let checksum = crc32c::crc32c(w.as_slice());
        w.u32(checksum);
        w.finish().into()
    }

    /// Decodes an entry; bodies share the memory.
    ///
    /// # Errors
    /// [`EntryError`]
    pub fn decode(bytes: &Bytes) -> Result<Self, EntryError> {
        let split = bytes.len().checked_sub(4).ok_or(EntryError::Malformed)?;
        let mut r = Reader::new(bytes.slice(..split));
        // Magic, codec, versions and the checksum at the end stand where they are in every codec to come, so that a build can tell
        // an entry that it does not understand, which must stop it, from bytes that nobody understands.
        let magic: [u8; 4] = r.array()?;
        if magic != MAGIC || bytes[split..] != crc32c::crc32c(&bytes[..split]).to_be_bytes() {
            return Err(EntryError::Malformed);
        }
        let codec = r.u8()?;
        let _written_by = r.u16()?;
        let min_reader = r.u16()?;
        if min_reader > APPLY_VERSION {
            return Err(EntryError::Newer(min_reader));
        }
        if codec != CODEC {
            return Err(EntryError::Malformed);
        }
        let header = EntryHeader {
            log_time: r.u64()?,
            wall_time: r.u64()?,
        };
        let count = r.u32()? as usize;
        if count == 0 || count > COMMANDS_MAX {
            return Err(EntryError::Malformed);
        }
        let mut commands = Vec::with_capacity(count.min(1_024));
        for _ in 0..count {
            let command = Command::decode(&mut r)?;
            if command.preconditions.len() > PARTS_MAX || command.writes.len() > PARTS_MAX {
                return Err(EntryError::Malformed);
            }
            commands.push(command);
        }
        let audit = r.bytes(AUDIT_BYTES_MAX)?;
        r.end()?;
        Ok(Self {
            header,
            commands,
            audit,
        })
    }
}

const MAGIC: [u8; 4] = *b"AUMB";
const CODEC: u8 = 1;
/// Eight times what the leader puts into one entry.
const COMMANDS_MAX: usize = 4_096;
/// Records are bounded at a few KiB each.
const AUDIT_BYTES_MAX: usize = 32 << 20;
