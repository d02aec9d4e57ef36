//! What can be asked of the engine, what it answers, and which capability on which path each request needs.

use std::collections::BTreeMap;

use aumbry_barrier::{DIRECTORY_FULL, DamagedRow, InsertError, Txn};
use aumbry_types::{Capability, MountPath, ObjectId, SecretBytes, SecretPath, exposed};
use serde::{Deserialize, Serialize};

use super::data::DataError;
use super::metadata::Metadata;
use super::tree;

/// A request. Paths are below the mount.
pub enum Request {
    /// Writes the next version.
    Put {
        /// The secret.
        path: SecretPath,
        /// One JSON object.
        data: SecretBytes,
        /// The version that must be current; 0 is "no such secret".
        cas: Option<u64>,
    },
    /// Reads a version, the current one by default.
    Get {
        /// The secret.
        path: SecretPath,
        /// Which version.
        version: Option<u64>,
    },
    /// Reads the keys of a version, and none of its values.
    Subkeys {
        /// The secret.
        path: SecretPath,
        /// Which version.
        version: Option<u64>,
        /// How many levels deep; 0 is all.
        depth: usize,
    },
    /// Reads the current versions of several secrets.
    BatchGet {
        /// The secrets, at most 100, each once, of at most 4 MiB together.
        paths: Vec<SecretPath>,
    },
    /// Merges a JSON object into the current version (RFC 7396).
    Patch {
        /// The secret.
        path: SecretPath,
        /// One JSON object.
        data: SecretBytes,
        /// The version that must be current.
        cas: Option<u64>,
    },
    /// Lists names below a directory.
    List {
        /// The directory, or none for the root of the mount.
        path: Option<SecretPath>,
        /// Only names greater than this.
        after: String,
        /// At most so many, 1 to 10,000.
        limit: usize,
    },
    /// Marks versions deleted, so that they can be restored.
    Delete {
        /// The secret.
        path: SecretPath,
        /// Which versions; none means the current one.
        versions: Vec<u64>,
    },
    /// Restores deleted versions.
    Undelete {
        /// The secret.
        path: SecretPath,
        /// Which versions.
        versions: Vec<u64>,
    },
    /// Removes the data of versions for good.
    Destroy {
        /// The secret.
        path: SecretPath,
        /// Which versions.
        versions: Vec<u64>,
    },
    /// Reads what is known of a secret but its data.
    ReadMetadata {
        /// The secret.
        path: SecretPath,
    },
    /// Changes the settings of a secret.
    WriteMetadata {
        /// The secret.
        path: SecretPath,
        /// What to change.
        change: MetadataChange,
    },
    /// Removes a secret with all its versions.
    DeleteMetadata {
        /// The secret.
        path: SecretPath,
    },
}

/// How a change of settings is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeForm {
    /// It names what it changes, of a secret that is there or not.
    #[default]
    Named,
    /// It is written as a whole: without any setting it makes a secret that has none, if there is no secret.
    Written,
    /// It is a patch of a secret that is there.
    Patched,
}

/// What to change in a secret's settings; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    /// How it is meant.
    pub form: ChangeForm,
    /// How many versions are kept; 0 is the default of the engine.
    pub max_versions: Option<u32>,
    /// Whether every write must name the current version.
    pub cas_required: Option<bool>,
    /// After how many seconds a new version counts as deleted; 0 is never.
    pub delete_version_after_s: Option<u64>,
    /// The user's own pairs, replaced whole.
    pub custom: Option<BTreeMap<String, String>>,
    /// The user's own pairs that change; `None` removes one.
    pub custom_patch: BTreeMap<String, Option<String>>,
}

impl MetadataChange {
    /// Whether it should change something and does not.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            form,
            max_versions,
            cas_required,
            delete_version_after_s,
            custom,
            custom_patch,
        } = self;
        let has_setting = max_versions.is_some() || cas_required.is_some() || delete_version_after_s.is_some();
        *form == ChangeForm::Named && !has_setting && custom.is_none() && custom_patch.is_empty()
    }
}

/// What is known of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// Its number, from 1.
    pub version: u64,
    /// When it was written, in log time (ms).
    pub created: u64,
    /// When it was or will be deleted, in log time (ms); 0 is never.
    pub deleted_at: u64,
    /// Whether its data is gone for good.
    pub destroyed: bool,
}

/// A version with its data.
#[derive(Serialize, Deserialize)]
pub struct Item {
    /// The JSON object; `None` if the version is deleted or destroyed.
    #[serde(with = "optional")]
    pub data: Option<SecretBytes>,
    /// The version.
    pub info: VersionInfo,
    /// The user's own pairs.
    pub custom: BTreeMap<String, String>,
}

/// An answer.
#[derive(Serialize, Deserialize)]
pub enum Reply {
    /// To put and patch: the new version.
    Written {
        /// The version.
        info: VersionInfo,
        /// The user's own pairs.
        custom: BTreeMap<String, String>,
    },
    /// To get.
    Item(Item),
    /// To batch get, in the order asked; `None` where there is nothing.
    Items(Vec<Option<Item>>),
    /// To list: names in order, directories with a slash at the end, and whether more follow.
    Names {
        /// The names.
        names: Vec<String>,
        /// Whether more follow.
        more: bool,
    },
    /// To read metadata.
    Metadata(Metadata),
    /// To what returns nothing.
    Done,
}

/// Why a request was not served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("no such secret or version")]
    NotFound,
    /// Another version is current.
    #[error("check-and-set parameter did not match the current version")]
    CasMismatch {
        /// The current version.
        current: u64,
    },
    /// The secret wants every write to name the current version.
    #[error("check-and-set parameter required for this call")]
    CasRequired,
    /// The data is not acceptable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The request is not acceptable.
    #[error("{0}")]
    Invalid(&'static str),
    /// None of the versions could be changed as asked; nothing was.
    #[error("{}", unchanged(missing, destroyed))]
    Unchanged {
        /// Those that do not exist.
        missing: Vec<u64>,
        /// Those that are destroyed, where they were to be restored.
        destroyed: Vec<u64>,
    },
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

impl From<InsertError> for Error {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::Invalid(DIRECTORY_FULL),
            // Nobody limits directories of secrets.
            InsertError::Limited(text) => Self::Invalid(text),
            InsertError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

impl Request {
    /// The same request, with each path taken below this mount.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a path is the mount itself or below another.
    pub fn below(&self, mount: &MountPath) -> Result<Self, Error> {
        let inner = |path: &SecretPath| {
            path.below(mount)
                .flatten()
                .ok_or(Error::Invalid("the path must name a secret below its mount"))
        };
        Ok(match self {
            Self::Put { path, data, cas } => Self::Put {
                path: inner(path)?,
                data: data.duplicate(),
                cas: *cas,
            },
            Self::Patch { path, data, cas } => Self::Patch {
                path: inner(path)?,
                data: data.duplicate(),
                cas: *cas,
            },
            Self::Get { path, version } => Self::Get {
                path: inner(path)?,
                version: *version,
            },
            Self::Subkeys { path, version, depth } => Self::Subkeys {
                path: inner(path)?,
                version: *version,
                depth: *depth,
            },
            Self::BatchGet { paths } => Self::BatchGet {
                paths: paths.iter().map(inner).collect::<Result<_, _>>()?,
            },
            Self::List { path, after, limit } => Self::List {
                path: path.as_ref().and_then(|path| path.below(mount)).flatten(),
                after: after.clone(),
                limit: *limit,
            },
            Self::Delete { path, versions } => Self::Delete {
                path: inner(path)?,
                versions: versions.clone(),
            },
            Self::Undelete { path, versions } => Self::Undelete {
                path: inner(path)?,
                versions: versions.clone(),
            },
            Self::Destroy { path, versions } => Self::Destroy {
                path: inner(path)?,
                versions: versions.clone(),
            },
            Self::ReadMetadata { path } => Self::ReadMetadata { path: inner(path)? },
            Self::WriteMetadata { path, change } => Self::WriteMetadata {
                path: inner(path)?,
                change: change.clone(),
            },
            Self::DeleteMetadata { path } => Self::DeleteMetadata { path: inner(path)? },
        })
    }

    /// Whether the request changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. }
                | Self::Subkeys { .. }
                | Self::BatchGet { .. }
                | Self::List { .. }
                | Self::ReadMetadata { .. }
        )
    }

    /// The secrets or directory that the request is about, for the audit record.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        match self {
            Self::BatchGet { paths } => paths.iter().map(SecretPath::as_str).collect(),
            one => one.path().map(SecretPath::as_str).into_iter().collect(),
        }
    }

    /// The path that it is about, if it is about one.
    #[must_use]
    pub const fn path(&self) -> Option<&SecretPath> {
        match self {
            Self::Put { path, .. }
            | Self::Get { path, .. }
            | Self::Patch { path, .. }
            | Self::Subkeys { path, .. }
            | Self::Delete { path, .. }
            | Self::Undelete { path, .. }
            | Self::Destroy { path, .. }
            | Self::ReadMetadata { path }
            | Self::WriteMetadata { path, .. }
            | Self::DeleteMetadata { path } => Some(path),
            Self::List { path, .. } => path.as_ref(),
            Self::BatchGet { .. } => None,
        }
    }

    /// The operation's name in audit records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "kv.put",
            Self::Get { .. } => "kv.get",
            Self::Subkeys { .. } => "kv.subkeys",
            Self::BatchGet { .. } => "kv.batch-get",
            Self::Patch { .. } => "kv.patch",
            Self::List { .. } => "kv.list",
            Self::Delete { .. } => "kv.delete",
            Self::Undelete { .. } => "kv.undelete",
            Self::Destroy { .. } => "kv.destroy",
            Self::ReadMetadata { .. } => "kv.metadata.read",
            Self::WriteMetadata { .. } => "kv.metadata.write",
            Self::DeleteMetadata { .. } => "kv.metadata.delete",
        }
    }
}

/// What the caller must be allowed: capabilities on paths below the mount, in the forms that Vault's policies use. All are needed.
///
/// # Errors
/// [`Error::Damaged`] if the directory cannot be read.
pub fn access(txn: &mut Txn<'_>, root: ObjectId, request: &Request) -> Result<Vec<(String, Capability)>, Error> {
    let one = |form: &str, path: &SecretPath, capability| vec![(format!("{form}/{}", path.as_str()), capability)];
    Ok(match request {
        Request::Get { path, .. } => one("data", path, Capability::Read),
        Request::Subkeys { path, .. } => one("subkeys", path, Capability::Read),
        Request::BatchGet { paths } => paths
            .iter()
            .map(|path| (format!("data/{}", path.as_str()), Capability::Read))
            .collect(),
        Request::Put { path, .. } => one("data", path, create_or_update(txn, root, path)?),
        Request::Patch { path, .. } => one("data", path, Capability::Patch),
        Request::Delete { path, versions } if versions.is_empty() => one("data", path, Capability::Delete),
        Request::Delete { path, .. } => one("delete", path, Capability::Update),
        Request::Undelete { path, .. } => one("undelete", path, Capability::Update),
        Request::Destroy { path, .. } => one("destroy", path, Capability::Update),
        Request::ReadMetadata { path } => one("metadata", path, Capability::Read),
        Request::WriteMetadata { path, .. } => one("metadata", path, create_or_update(txn, root, path)?),
        Request::DeleteMetadata { path } => one("metadata", path, Capability::Delete),
        Request::List { path: Some(path), .. } => one("metadata", path, Capability::List),
        Request::List { path: None, .. } => vec![("metadata/".to_owned(), Capability::List)],
    })
}

fn create_or_update(txn: &mut Txn<'_>, root: ObjectId, path: &SecretPath) -> Result<Capability, Error> {
    let exists = tree::find(txn, root, path)?.is_some();
    Ok(if exists { Capability::Update } else { Capability::Create })
}

fn unchanged(missing: &[u64], destroyed: &[u64]) -> String {
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("no such version: {}", shown(missing)));
    }
    if !destroyed.is_empty() {
        parts.push(format!("destroyed for good: {}", shown(destroyed)));
    }
    format!("{}; nothing was changed", parts.join("; "))
}

fn shown(versions: &[u64]) -> String {
    let first: Vec<String> = versions.iter().take(SHOWN_MAX).map(u64::to_string).collect();
    match versions.len().saturating_sub(SHOWN_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Errors travel in headers, which hold a few KiB.
const SHOWN_MAX: usize = 20;
/// The most secrets that one batch reads: its replies must fit into one message.
pub(super) const BATCH_MAX: usize = 100;
/// The most bytes of data that one batch reads: all of them are decrypted while nothing else is planned, and 100 secrets can have
/// 100 MiB.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;
/// The most names of one page.
pub(super) const LIST_MAX: usize = 10_000;
/// The most versions that one request names: an audit record names them all, in 42 of its 64 values at most.
pub(super) const VERSIONS_MAX: usize = 1_000;

mod optional {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    use super::{SecretBytes, exposed};

    #[derive(serde::Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "exposed")] SecretBytes);

    pub(super) fn serialize<S: Serializer>(data: &Option<SecretBytes>, serializer: S) -> Result<S::Ok, S::Error> {
        data.as_ref()
            .map(|data| Wrapped(data.duplicate()))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretBytes>, D::Error> {
        Option::<Wrapped>::deserialize(deserializer).map(|wrapped| wrapped.map(|w| w.0))
    }
}
