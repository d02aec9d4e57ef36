//! A command: what must still hold, what is written, and the commitment to its audit record. Both sets are closed.

use aumbry_types::{CommandId, ObjectId};
use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};
use crate::key;

/// One of the two counters of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Counter 0.
    First,
    /// Counter 1.
    Second,
}

/// What must hold when the command is applied, or it has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// The row exists and was written last by this command.
    RowIs(Bytes, CommandId),
    /// The row does not exist.
    Absent(Bytes),
    /// The container has this generation: it was not revoked since.
    ContainerGen(ObjectId, u64),
    /// The container has had this many insertions and removals: its children are those that were listed.
    ContainerScan(ObjectId, u64),
    /// The namespace's policies, mounts and roles are those of this generation.
    AuthGen(ObjectId, u64),
    /// The row exists and has not expired at the entry's log time.
    NotExpired(Bytes),
    /// The row exists and its counter is at least this.
    CounterAtLeast(Bytes, Slot, u64),
}

/// What a `Put` does to the row's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counters {
    /// Leaves them as they are, or zero in a new row.
    Keep,
    /// Sets both.
    Set([u64; 2]),
}

/// A whole row to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The row's key.
    pub key: Bytes,
    /// See [`crate::Row::kind`].
    pub kind: u8,
    /// See [`crate::Row::expires_at`].
    pub expires_at: u64,
    /// What becomes of the counters.
    pub counters: Counters,
    /// See [`crate::Row::key_term`].
    pub key_term: u32,
    /// See [`crate::Row::container`].
    pub container: ObjectId,
    /// See [`crate::Row::body`].
    pub body: Bytes,
}

/// One change. A `Put` or `Delete` of a directory entry also changes its container's counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Writes a row.
    Put(Put),
    /// Removes a row; nothing happens if there is none.
    Delete(Bytes),
    /// Marks a container revoked and bumps its generation. Its children wait for the sweep.
    DeleteContainer(ObjectId),
    /// Forgets a container; conflicts unless it is empty.
    ForgetContainer(ObjectId),
    /// Adds to a counter; exhausted if the result would be under the floor, conflicts if there is no row.
    CounterAdd {
        /// The row.
        key: Bytes,
        /// Which counter.
        slot: Slot,
        /// What to add.
        delta: i64,
        /// The least value that is allowed after it.
        floor: u64,
    },
}

/// One replicated command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its identity, random.
    pub id: CommandId,
    /// What must hold.
    pub preconditions: Vec<Precondition>,
    /// What is written.
    pub writes: Vec<Write>,
    /// The commitment to the audit record.
    pub commitment: [u8; 32],
}

impl Command {
    /// Appends the encoding.
    pub fn encode(&self, w: &mut Writer) {
        w.raw(self.id.as_bytes());
        w.u8(0);
        w.u16(u16::try_from(self.preconditions.len()).expect("the leader bounds preconditions"));
        for precondition in &self.preconditions {
            precondition.encode(w);
        }
        w.u16(u16::try_from(self.writes.len()).expect("the leader bounds writes"));
        for write in &self.writes {
            write.encode(w);
        }
        w.raw(&self.commitment);
    }

    /// Takes a command from the reader.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no command, or one that names rows that no command may name.
    pub fn decode(r: &mut Reader) -> Result<Self, Malformed> {
        let id = r.command()?;
        if r.u8()? != 0 {
            return Err(Malformed);
        }
        let preconditions = (0..r.u16()?)
            .map(|_| Precondition::decode(r))
            .collect::<Result<_, _>>()?;
        let writes = (0..r.u16()?).map(|_| Write::decode(r)).collect::<Result<_, _>>()?;
        Ok(Self {
            id,
            preconditions,
            writes,
            commitment: r.array()?,
        })
    }

    /// About how many bytes the encoding takes.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        let writes = self.writes.iter().map(|write| match write {
            Write::Put(put) => 80 + put.body.len(),
            _ => 60,
        });
        64 + 56 * self.preconditions.len() + writes.sum::<usize>()
    }
}

/// The most preconditions or writes of one command: a sweep of 1,000 children with a few rows each fits.
pub(crate) const PARTS_MAX: usize = 16_000;

impl Precondition {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::RowIs(row, writer) => {
                w.u8(1);
                w.bytes(row);
                w.raw(writer.as_bytes());
            }
            Self::Absent(row) => {
                w.u8(2);
                w.bytes(row);
            }
            Self::ContainerGen(container, generation) => {
                w.u8(3);
                w.raw(container.as_bytes());
                w.u64(*generation);
            }
            Self::ContainerScan(container, scan) => {
                w.u8(4);
                w.raw(container.as_bytes());
                w.u64(*scan);
            }
            Self::AuthGen(namespace, generation) => {
                w.u8(5);
                w.raw(namespace.as_bytes());
                w.u64(*generation);
            }
            Self::NotExpired(row) => {
                w.u8(6);
                w.bytes(row);
            }
            Self::CounterAtLeast(row, slot, n) => {
                w.u8(7);
                w.bytes(row);
                w.u8(slot.index());
                w.u64(*n);
            }
        }
    }

    fn decode(r: &mut Reader) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::RowIs(row_key(r)?, r.command()?),
            2 => Self::Absent(row_key(r)?),
            3 => Self::ContainerGen(r.object()?, r.u64()?),
            4 => Self::ContainerScan(r.object()?, r.u64()?),
            5 => Self::AuthGen(r.object()?, r.u64()?),
            6 => Self::NotExpired(row_key(r)?),
            7 => Self::CounterAtLeast(row_key(r)?, Slot::decode(r)?, r.u64()?),
            _ => return Err(Malformed),
        })
    }
}

impl Write {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Put(put) => {
                w.u8(1);
                w.bytes(&put.key);
                w.u8(put.kind);
                w.u64(put.expires_at);
                match put.counters {
                    Counters::Keep => w.u8(0),
                    Counters::Set([first, second]) => {
                        w.u8(1);
                        w.u64(first);
                        w.u64(second);
                    }
                }
                w.u32(put.key_term);
                w.raw(put.container.as_bytes());
                w.bytes(&put.body);
            }
            Self::Delete(row) => {
                w.u8(2);
                w.bytes(row);
            }
            Self::DeleteContainer(container) => {
                w.u8(3);
                w.raw(container.as_bytes());
            }
            Self::ForgetContainer(container) => {
                w.u8(4);
                w.raw(container.as_bytes());
            }
            Self::CounterAdd {
                key,
                slot,
                delta,
                floor,
            } => {
                w.u8(5);
                w.bytes(key);
                w.u8(slot.index());
                w.raw(&delta.to_be_bytes());
                w.u64(*floor);
            }
        }
    }

    fn decode(r: &mut Reader) -> Result<Self, Malformed> {
        Ok(match r.u8()? {
            1 => Self::Put(Put {
                key: row_key(r)?,
                kind: r.u8()?,
                expires_at: r.u64()?,
                counters: match r.u8()? {
                    0 => Counters::Keep,
                    1 => Counters::Set([r.u64()?, r.u64()?]),
                    _ => return Err(Malformed),
                },
                key_term: r.u32()?,
                container: r.object()?,
                body: r.bytes(BODY_BYTES_MAX)?,
            }),
            2 => Self::Delete(row_key(r)?),
            3 => Self::DeleteContainer(r.object()?),
            4 => Self::ForgetContainer(r.object()?),
            5 => Self::CounterAdd {
                key: row_key(r)?,
                slot: Slot::decode(r)?,
                delta: i64::from_be_bytes(r.array()?),
                floor: r.u64()?,
            },
            _ => return Err(Malformed),
        })
    }
}

impl Slot {
    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    fn decode(r: &mut Reader) -> Result<Self, Malformed> {
        match r.u8()? {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            _ => Err(Malformed),
        }
    }
}

fn row_key(r: &mut Reader) -> Result<Bytes, Malformed> {
    let row = r.bytes(key::ROW_KEY_BYTES_MAX)?;
    if key::is_writable(&row) {
        Ok(row)
    } else {
        Err(Malformed)
    }
}

/// A value of 1 MiB with its envelope, and room for metadata that grows with versions.
const BODY_BYTES_MAX: usize = 4 << 20;
