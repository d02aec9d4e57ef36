//! One key share, as a custodian holds it: a line of text.
//!
//! ```text
//! share = version u8 | cluster tag 8 | epoch u32 | threshold u8 | x u8 | y 32 | CRC-32C u32       51 bytes
//! text  = "aumbry-share-" and 82 letters and digits (base 32 of D. Crockford, without 0/o, 1/i/l and u mixed up)
//! ```
//!
//! What it guarantees: a text that was mistyped, cut or meant for another cluster is told apart before it is used. Case,
//! spaces and hyphens do not matter when it is read, and look-alike letters are read as the digits they look like.
//!
//! What it does not do: prove that a share is genuine; the checksum is against typing errors. The seal holds a digest of
//! every share for that. Reading and printing a share is not constant-time: it happens once, at a custodian's hand.

use aumbry_types::{SecretBytes, SecretKey, StorageId};
use zeroize::{Zeroize as _, Zeroizing};

use crate::codec::{Reader, Writer};
use crate::sha256;

/// Why a text is not taken as a share. None of these changes what was submitted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// Too short or too long. `found` counts letters and digits after the prefix, or bytes if there are very many.
    #[error(
        "a share has {SYMBOLS} letters and digits after `{PREFIX}`, this text has {found}; paste the whole line, and one share at a time"
    )]
    Length {
        /// How many there are.
        found: usize,
    },
    /// The prefix is missing, or a character is none of the encoding's.
    #[error("the text is not a share: it begins with `{PREFIX}` and has letters and digits only")]
    Encoding,
    /// The checksum differs: a character was mistyped.
    #[error("the share has a typing error: its checksum does not match; compare it with the original")]
    Checksum,
    /// Written by a newer Aumbry.
    #[error("the share has format {found}, which this version does not know; use a newer version")]
    Version {
        /// The format of the share.
        found: u8,
    },
    /// The share belongs to another cluster.
    #[error("the share belongs to another cluster; look for the one that was made for this cluster")]
    Foreign,
    /// The share is of another epoch of the seal: from before the last rekey, or of a rekey that this node has not seen.
    #[error("the share is of epoch {found}, and the seal is of epoch {current}; use the shares of the seal's epoch")]
    Epoch {
        /// The epoch of the share.
        found: u32,
        /// The epoch of the seal.
        current: u32,
    },
    /// No share has this number: zero, or more than there are.
    #[error("no share of this seal has the number {found}; use a share that `init` or `rekey` printed")]
    Index {
        /// The number of the share.
        found: u8,
    },
    /// The share looks right, and its digest is not the one that the seal holds.
    #[error("share {index} is not the one that was made for this seal; find the right copy or another custodian")]
    Wrong {
        /// The number of the share.
        index: u8,
    },
    /// The share was submitted before.
    #[error("share {index} was submitted already; submit another one")]
    Repeated {
        /// The number of the share.
        index: u8,
    },
    /// Enough right shares are there, and the root key does not open with them: the configuration was altered.
    #[error("the shares are right but the wrapped root key is damaged; compare the seal configuration of the nodes")]
    Damaged,
}

/// One share. It has neither `Debug` nor `Clone`.
pub struct Share {
    cluster_tag: [u8; 8],
    epoch: u32,
    threshold: u8,
    index: u8,
    value: SecretKey,
}

impl Share {
    pub(crate) fn new(storage_id: StorageId, epoch: u32, threshold: u8, index: u8, value: SecretKey) -> Self {
        Self {
            cluster_tag: cluster_tag(storage_id),
            epoch,
            threshold,
            index,
            value,
        }
    }

    /// Reads a share, whatever cluster it belongs to.
    ///
    /// # Errors
    /// [`ShareError::Length`], [`ShareError::Encoding`], [`ShareError::Checksum`], [`ShareError::Version`] or, for the
    /// number zero, [`ShareError::Index`].
    pub fn parse(text: &[u8]) -> Result<Self, ShareError> {
        let bytes = decode(text)?;
        let (content, checksum) = bytes.split_last_chunk().expect("the array is longer than 4 bytes");
        if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
            return Err(ShareError::Checksum);
        }
        if content[0] != VERSION {
            return Err(ShareError::Version { found: content[0] });
        }
        let share = Self::read(&content[1..]).expect("the array has the length of a share");
        if share.index == 0 {
            return Err(ShareError::Index { found: 0 });
        }
        Ok(share)
    }

    /// The text for the custodian. The only door to the share.
    #[must_use]
    pub fn expose_text(&self) -> SecretBytes {
        let bytes = self.to_bytes();
        let mut text = Vec::with_capacity(PREFIX.len() + SYMBOLS);
        text.extend_from_slice(PREFIX.as_bytes());
        // Five bits a symbol, from the highest; the last symbol is filled with zero bits.
        let symbol = |number: usize| {
            let (byte, bit) = (number * 5 / 8, number * 5 % 8);
            let pair = [bytes[byte], bytes.get(byte + 1).copied().unwrap_or(0)];
            let value = (u16::from_be_bytes(pair) >> (11 - bit)) & 0x1f;
            ALPHABET[usize::from(value)]
        };
        text.extend((0..SYMBOLS).map(symbol));
        SecretBytes::new(text)
    }

    /// Which cluster the share belongs to: the first 8 bytes of a hash of its storage id.
    #[must_use]
    pub const fn cluster_tag(&self) -> &[u8; 8] {
        &self.cluster_tag
    }

    /// The epoch of the seal that it was made for.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// How many shares open the seal.
    #[must_use]
    pub const fn threshold(&self) -> u8 {
        self.threshold
    }

    /// Which of the shares it is, from 1.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    pub(crate) const fn value(&self) -> &SecretKey {
        &self.value
    }

    /// What the seal holds to know the share by. The share has 256 random bits, so the digest gives nothing away.
    pub(crate) fn digest(&self, storage_id: StorageId) -> [u8; 32] {
        sha256(&[DIGEST_LABEL, storage_id.as_bytes(), &*self.to_bytes()])
    }

    fn read(fields: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(fields);
        let (cluster_tag, epoch) = (reader.array()?, reader.u32()?);
        let (threshold, index, value) = (reader.byte()?, reader.byte()?, reader.key()?);
        reader.finish()?;
        Some(Self {
            cluster_tag,
            epoch,
            threshold,
            index,
            value,
        })
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut content = Writer::new(BYTES);
        content
            .put(&[VERSION])
            .put(&self.cluster_tag)
            .put(&self.epoch.to_be_bytes());
        content.put(&[self.threshold, self.index]).put(self.value.expose());
        let checksum = crc32c::crc32c(content.written());
        content.put(&checksum.to_be_bytes());
        Zeroizing::new(content.finish())
    }
}

/// The first 8 bytes of `SHA-256(label | storage_id)`: enough to notice a mistake, too few to name the storage.
pub(crate) fn cluster_tag(storage_id: StorageId) -> [u8; 8] {
    let hash = sha256(&[TAG_LABEL, storage_id.as_bytes()]);
    *hash.first_chunk().expect("the hash is longer than 8 bytes")
}

fn decode(text: &[u8]) -> Result<Zeroizing<[u8; BYTES]>, ShareError> {
    // The bound comes before everything else: whoever may submit shares is not authenticated yet.
    if text.len() > TEXT_BYTES_MAX {
        return Err(ShareError::Length { found: text.len() });
    }
    let text = text.trim_ascii();
    let Some((prefix, rest)) = text.split_at_checked(PREFIX.len()) else {
        return Err(ShareError::Length { found: 0 });
    };
    if !prefix.eq_ignore_ascii_case(PREFIX.as_bytes()) {
        return Err(ShareError::Encoding);
    }
    let symbols = || rest.iter().filter(|byte| **byte != b'-' && !byte.is_ascii_whitespace());
    if symbols().any(|symbol| value_of(*symbol).is_none()) {
        return Err(ShareError::Encoding);
    }
    let found = symbols().count();
    if found != SYMBOLS {
        return Err(ShareError::Length { found });
    }
    let mut bytes = Zeroizing::new([0; BYTES]);
    let (mut pending, mut bits, mut length) = (0_u16, 0, 0);
    for value in symbols().filter_map(|symbol| value_of(*symbol)) {
        pending = (pending << 5 | u16::from(value)) & 0x1fff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes[length] = (pending >> bits & 0xff) as u8;
            length += 1;
        }
    }
    // The bits that fill the last symbol must be zero, so that a share has one text.
    let filler = pending & ((1 << bits) - 1);
    pending.zeroize();
    if filler == 0 {
        Ok(bytes)
    } else {
        Err(ShareError::Checksum)
    }
}

fn value_of(symbol: u8) -> Option<u8> {
    let symbol = match symbol.to_ascii_lowercase() {
        b'o' => b'0',
        b'i' | b'l' => b'1',
        other => other,
    };
    (0..)
        .zip(ALPHABET)
        .find(|(_, known)| **known == symbol)
        .map(|(value, _)| value)
}

const PREFIX: &str = "aumbry-share-";
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const VERSION: u8 = 1;
const BYTES: usize = 1 + 8 + 4 + 1 + 1 + 32 + 4;
const SYMBOLS: usize = (BYTES * 8).div_ceil(5);
/// The text in groups of one, with two bytes at the end of each line, is shorter.
const TEXT_BYTES_MAX: usize = 512;
const TAG_LABEL: &[u8] = b"aumbry/share/cluster/1\0";
const DIGEST_LABEL: &[u8] = b"aumbry/share/digest/1\0";

#[cfg(test)]
mod tests;
