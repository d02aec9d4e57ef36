//! What is kept of a secret beside its data.

use std::collections::BTreeMap;

use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_types::{LogTime, ObjectId};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::request::{Error, MetadataChange, VersionInfo};

/// One version in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionState {
    /// When it was written, in log time (ms).
    pub created: u64,
    /// When it was or will be deleted, in log time (ms); 0 is never.
    pub deleted_at: u64,
    /// Whether its data is gone for good.
    pub destroyed: bool,
}

/// A secret's metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The current version, 0 before the first.
    pub current: u64,
    /// The oldest version that is kept, 0 before the first.
    pub oldest: u64,
    /// When the secret was created, in log time (ms).
    pub created: u64,
    /// When it was changed last, in log time (ms).
    pub updated: u64,
    /// How many versions are kept; 0 is the default.
    pub max_versions: u32,
    /// Whether every write must name the current version.
    pub cas_required: bool,
    /// After how many seconds a new version counts as deleted; 0 is never.
    pub delete_version_after_s: u64,
    /// The user's own pairs.
    pub custom: BTreeMap<String, String>,
    /// The versions that are kept.
    pub versions: BTreeMap<u64, VersionState>,
}

impl VersionState {
    /// Whether its data can be read at this log time.
    #[must_use]
    pub const fn is_readable(&self, now: LogTime) -> bool {
        !self.destroyed && (self.deleted_at == 0 || self.deleted_at > now.0)
    }
}

impl Metadata {
    pub(super) const fn new(now: LogTime) -> Self {
        Self {
            current: 0,
            oldest: 0,
            created: now.0,
            updated: now.0,
            max_versions: 0,
            cas_required: false,
            delete_version_after_s: 0,
            custom: BTreeMap::new(),
            versions: BTreeMap::new(),
        }
    }

    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Self, Error> {
        let object = txn.read_object(id, Kind::Secret)?.ok_or(Error::NotFound)?;
        let decoded = record::decode(VERSION, object.plain.expose());
        decoded.map_err(|_| Error::Damaged(aumbry_barrier::DamagedRow))
    }

    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::Secret, plain.expose(), ObjectOptions::default());
    }

    /// Adds the next version, and drops the oldest ones over the limit. Gives the new version and those to remove.
    pub(super) fn add_version(&mut self, config: &Config, now: LogTime) -> (u64, Vec<u64>) {
        self.current += 1;
        self.updated = now.0;
        let after_s = match self.delete_version_after_s {
            0 => config.delete_version_after_s,
            own => own,
        };
        let deleted_at = match after_s {
            0 => 0,
            seconds => now.plus_ms(seconds.saturating_mul(1_000)).0,
        };
        self.versions.insert(
            self.current,
            VersionState {
                created: now.0,
                deleted_at,
                destroyed: false,
            },
        );
        (self.current, self.trim(config))
    }

    /// Drops the oldest versions over the limit and gives their numbers.
    pub(super) fn trim(&mut self, config: &Config) -> Vec<u64> {
        let keep = match (self.max_versions, config.max_versions) {
            (0, 0) => MAX_VERSIONS_DEFAULT,
            (0, of_mount) => of_mount as usize,
            (own, _) => own as usize,
        };
        let excess = self.versions.len().saturating_sub(keep);
        let dropped: Vec<u64> = self.versions.keys().copied().take(excess).collect();
        for version in &dropped {
            self.versions.remove(version);
        }
        self.oldest = self.versions.keys().next().copied().unwrap_or(self.current);
        dropped
    }

    pub(super) fn info(&self, version: u64) -> VersionInfo {
        let state = self.versions.get(&version).copied();
        VersionInfo {
            version,
            created: state.map_or(0, |s| s.created),
            deleted_at: state.map_or(0, |s| s.deleted_at),
            destroyed: state.is_none_or(|s| s.destroyed),
        }
    }

    pub(super) fn change(&mut self, change: &MetadataChange, now: LogTime) -> Result<(), Error> {
        if change.is_empty() {
            return Err(Error::Invalid(
                "nothing to change; name max_versions, cas_required, delete_version_after or custom_metadata",
            ));
        }
        if change.max_versions.is_some_and(|n| n > MAX_VERSIONS_MAX) {
            return Err(Error::Invalid("max_versions is at most 1,000"));
        }
        if change.delete_version_after_s.is_some_and(|s| s > DELETE_AFTER_S_MAX) {
            return Err(Error::Invalid("delete_version_after is at most 100 years"));
        }
        let mut custom = change.custom.clone().unwrap_or_else(|| self.custom.clone());
        for (key, value) in &change.custom_patch {
            match value {
                Some(value) => custom.insert(key.clone(), value.clone()),
                None => custom.remove(key),
            };
        }
        check_custom(&custom)?;
        self.max_versions = change.max_versions.unwrap_or(self.max_versions);
        self.cas_required = change.cas_required.unwrap_or(self.cas_required);
        self.delete_version_after_s = change.delete_version_after_s.unwrap_or(self.delete_version_after_s);
        self.custom = custom;
        self.updated = now.0;
        Ok(())
    }
}

fn check_custom(custom: &BTreeMap<String, String>) -> Result<(), Error> {
    if custom.len() > CUSTOM_MAX {
        return Err(Error::Invalid("custom_metadata has at most 60 keys"));
    }
    for (key, value) in custom {
        if key.is_empty() || key.len() > 128 || value.len() > 512 {
            return Err(Error::Invalid(
                "a custom_metadata key has 1 to 128 bytes, a value at most 512",
            ));
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return Err(Error::Invalid("custom_metadata has no control characters"));
        }
    }
    Ok(())
}

const VERSION: u8 = 1;
/// What Vault keeps by default.
const MAX_VERSIONS_DEFAULT: usize = 10;
/// The metadata row holds about 20 bytes a version.
pub(super) const MAX_VERSIONS_MAX: u32 = 1_000;
/// An audit record has room for 64 values: these and the other settings.
const CUSTOM_MAX: usize = 60;
pub(super) const DELETE_AFTER_S_MAX: u64 = 100 * 366 * 86_400;
