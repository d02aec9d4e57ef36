//! What apply keeps about a container: a directory, or a token with its children.

use bytes::Bytes;

use crate::codec::{Malformed, Reader, Writer};

/// The state of a container. One that has no row yet is the default: generation 0, empty, alive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Counts revocations. Whoever creates a child names it, so that no child survives a revocation that it raced.
    pub generation: u64,
    /// Counts insertions and removals of children. A plan that listed the container names it, so that phantoms are caught.
    pub scan: u64,
    /// How many children there are.
    pub children: u64,
    /// Whether it was revoked: nothing can be inserted any more.
    pub revoked: bool,
}

impl ContainerState {
    /// Encodes the state.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::with_capacity(26);
        w.u8(FORMAT);
        w.u64(self.generation);
        w.u64(self.scan);
        w.u64(self.children);
        w.u8(u8::from(self.revoked));
        w.finish().into()
    }

    /// Decodes the state.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no such state.
    pub fn decode(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes.clone());
        if r.u8()? != FORMAT {
            return Err(Malformed);
        }
        let state = Self {
            generation: r.u64()?,
            scan: r.u64()?,
            children: r.u64()?,
            revoked: match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed),
            },
        };
        r.end()?;
        Ok(state)
    }
}

const FORMAT: u8 = 1;
