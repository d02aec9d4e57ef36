//! The replicated configuration of the seal. It holds no secret in clear.

use aumbry_types::StorageId;

use super::is_threshold;
use crate::codec::{Reader, Writer};
use crate::envelope;

/// What every node knows about the seal.
///
/// ```text
/// version u8 | storage_id 16 | epoch u32 | threshold u8 | shares u8 | digest 32 per share | confirmed u8 | wrapped root 94
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealConfig {
    /// The storage that the seal protects.
    pub storage_id: StorageId,
    /// Counts rekeys. Shares of another epoch are refused.
    pub epoch: u32,
    /// How many shares open the seal. Invariant: 2 to `shares`, or 1 of 1.
    pub threshold: u8,
    /// How many shares there are.
    pub shares: u8,
    /// The digest of the share with number 1, 2, ... Invariant: as many as there are shares.
    pub share_digests: Vec<[u8; 32]>,
    /// The root key in an envelope that the combined shares open.
    pub wrapped_root: Vec<u8>,
    /// Whether an operator confirmed that the shares arrived. Before that, `init` may be repeated.
    pub confirmed: bool,
}

/// The bytes are no seal configuration that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal configuration is damaged or of a newer version; compare the nodes' versions")]
pub struct MalformedSealConfig;

impl SealConfig {
    /// The bytes to store. A configuration has one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(FIXED_LEN + 32 * self.share_digests.len() + self.wrapped_root.len());
        writer
            .put(&[VERSION])
            .put(self.storage_id.as_bytes())
            .put(&self.epoch.to_be_bytes());
        writer
            .put(&[self.threshold, self.shares])
            .put(self.share_digests.as_flattened());
        writer.put(&[self.confirmed.into()]).put(&self.wrapped_root);
        writer.finish()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`MalformedSealConfig`] if there is one byte more or less, or an invariant does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedSealConfig> {
        Self::read(bytes).ok_or(MalformedSealConfig)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        (reader.byte()? == VERSION).then_some(())?;
        let (storage_id, epoch) = (StorageId::from_bytes(reader.array()?), reader.u32()?);
        let (threshold, shares) = (reader.byte()?, reader.byte()?);
        is_threshold(threshold, shares).then_some(())?;
        let (share_digests, _) = reader.take(32 * usize::from(shares))?.as_chunks();
        let share_digests = share_digests.to_vec();
        let confirmed = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let wrapped_root = reader.take(WRAPPED_LEN)?.to_vec();
        reader.finish()?;
        Some(Self {
            storage_id,
            epoch,
            threshold,
            shares,
            share_digests,
            wrapped_root,
            confirmed,
        })
    }
}

const VERSION: u8 = 1;
const WRAPPED_LEN: usize = envelope::OVERHEAD + 32;
/// Everything but the digests and the wrapped root key.
const FIXED_LEN: usize = 1 + 16 + 4 + 1 + 1 + 1;
