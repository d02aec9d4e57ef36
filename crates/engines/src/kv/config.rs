//! What a whole mount of version 2 has as its own settings. A secret's own stand before them.

use serde::{Deserialize, Serialize};

use super::metadata::{DELETE_AFTER_S_MAX, MAX_VERSIONS_MAX};
use super::request::Error;

/// The settings of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// How many versions are kept of a secret that does not say; 0 is the default of the engine, 10.
    pub max_versions: u32,
    /// Whether every write must name the current version, whatever the secret says.
    pub cas_required: bool,
    /// After how many seconds a new version of a secret that does not say counts as deleted; 0 is never.
    pub delete_version_after_s: u64,
}

impl Config {
    /// Refuses what is out of bounds.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub const fn check(&self) -> Result<(), Error> {
        if self.max_versions > MAX_VERSIONS_MAX {
            return Err(Error::Invalid("max_versions is at most 1,000"));
        }
        if self.delete_version_after_s > DELETE_AFTER_S_MAX {
            return Err(Error::Invalid("delete_version_after is at most 100 years"));
        }
        Ok(())
    }
}
