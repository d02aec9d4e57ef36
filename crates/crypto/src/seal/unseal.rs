//! Collecting shares until they open the seal.

use aumbry_types::SecretKey;

use super::{SealConfig, unwrap_root};
use crate::share::{Share, ShareError, cluster_tag};
use crate::{equal, shamir};

/// Shares that were submitted to this node, checked against one committed configuration.
///
/// It has neither `Debug` nor `Clone`; dropping it wipes the shares. Once a rekey commits, what was collected for the
/// old configuration is worthless: make a new one.
pub struct Unseal {
    config: SealConfig,
    /// Invariant: each has another index, its digest is the configuration's, and fewer than the threshold are here.
    shares: Vec<Share>,
}

/// What a share did that was right.
pub enum Submitted {
    /// More are needed.
    Progress {
        /// How many are here.
        have: u8,
        /// How many open the seal.
        need: u8,
    },
    /// The seal is open: the root key.
    Opened(SecretKey),
}

impl Unseal {
    /// Starts without shares.
    #[must_use]
    pub const fn new(config: SealConfig) -> Self {
        Self {
            config,
            shares: Vec::new(),
        }
    }

    /// The configuration that shares are checked against.
    #[must_use]
    pub const fn config(&self) -> &SealConfig {
        &self.config
    }

    /// How many right shares are here.
    #[must_use]
    pub fn have(&self) -> u8 {
        u8::try_from(self.shares.len()).expect("indices are distinct bytes above zero")
    }

    /// Takes the text of one share. When the last one needed comes, the root key is returned and the shares are wiped.
    ///
    /// # Errors
    /// [`ShareError`] names what is wrong with this share; those submitted before stay, except after
    /// [`ShareError::Damaged`], which no further share can mend.
    pub fn submit(&mut self, text: &[u8]) -> Result<Submitted, ShareError> {
        let share = Share::parse(text)?;
        self.check(&share)?;
        self.shares.push(share);
        let (have, need) = (self.have(), self.config.threshold);
        if have < need {
            return Ok(Submitted::Progress { have, need });
        }
        let shares = core::mem::take(&mut self.shares);
        let points: Vec<_> = shares.iter().map(|share| (share.index(), share.value())).collect();
        let seed = shamir::combine(&points).ok_or(ShareError::Damaged)?;
        let root = unwrap_root(&self.config, &seed).ok_or(ShareError::Damaged)?;
        Ok(Submitted::Opened(root))
    }

    /// Forgets and wipes the shares.
    pub fn reset(&mut self) {
        self.shares.clear();
    }

    fn check(&self, share: &Share) -> Result<(), ShareError> {
        let (config, index) = (&self.config, share.index());
        if *share.cluster_tag() != cluster_tag(config.storage_id) {
            return Err(ShareError::Foreign);
        }
        if share.epoch() != config.epoch {
            return Err(ShareError::Epoch {
                found: share.epoch(),
                current: config.epoch,
            });
        }
        let digest = usize::from(index)
            .checked_sub(1)
            .and_then(|i| config.share_digests.get(i));
        let digest = digest.ok_or(ShareError::Index { found: index })?;
        if !equal(digest, &share.digest(config.storage_id)) {
            return Err(ShareError::Wrong { index });
        }
        if self.shares.iter().any(|other| other.index() == index) {
            return Err(ShareError::Repeated { index });
        }
        Ok(())
    }
}
