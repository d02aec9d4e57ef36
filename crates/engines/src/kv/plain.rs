//! KV, version 1: one value a path, without versions. It stands on the same rows as version 2, with one version kept, and its policies speak of the
//! path as it is.

use aumbry_barrier::Txn;
use aumbry_types::{Capability, MountPath, ObjectId, SecretBytes, SecretPath};

use super::config::Config;
use super::metadata::Metadata;
use super::plan::{get, list, plan, write_version};
use super::request::{Error, Reply, Request};
use super::{data, tree};

/// A request to a mount of version 1. Paths are below the mount.
pub enum PlainRequest {
    /// Writes a value over what is there.
    Put {
        /// Where.
        path: SecretPath,
        /// One JSON object.
        data: SecretBytes,
    },
    /// Reads a value.
    Get {
        /// Where.
        path: SecretPath,
    },
    /// Removes a value; nothing there is as good.
    Delete {
        /// Where.
        path: SecretPath,
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
}

impl PlainRequest {
    /// The same request, with its path taken below this mount.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the path is the mount itself or below another.
    pub fn below(&self, mount: &MountPath) -> Result<Self, Error> {
        let inner = |path: &SecretPath| {
            path.below(mount)
                .flatten()
                .ok_or(Error::Invalid("the path must name a secret below its mount"))
        };
        Ok(match self {
            Self::Put { path, data } => Self::Put {
                path: inner(path)?,
                data: data.duplicate(),
            },
            Self::Get { path } => Self::Get { path: inner(path)? },
            Self::Delete { path } => Self::Delete { path: inner(path)? },
            Self::List { path, after, limit } => Self::List {
                path: path.as_ref().and_then(|path| path.below(mount)).flatten(),
                after: after.clone(),
                limit: *limit,
            },
        })
    }

    /// The path, if the request is not about the whole mount.
    #[must_use]
    pub const fn path(&self) -> Option<&SecretPath> {
        match self {
            Self::Put { path, .. } | Self::Get { path } | Self::Delete { path } => Some(path),
            Self::List { path, .. } => path.as_ref(),
        }
    }

    /// Whether the request changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Delete { .. })
    }

    /// The operation's name in audit records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "kv1.put",
            Self::Get { .. } => "kv1.get",
            Self::Delete { .. } => "kv1.delete",
            Self::List { .. } => "kv1.list",
        }
    }
}

/// What the caller must be allowed: a capability on a path below the mount.
///
/// # Errors
/// [`Error::Damaged`] if the directory cannot be read.
pub fn plain_access(txn: &mut Txn<'_>, root: ObjectId, request: &PlainRequest) -> Result<(String, Capability), Error> {
    let text = |path: &SecretPath| path.as_str().to_owned();
    Ok(match request {
        PlainRequest::Put { path, .. } => {
            let exists = tree::find(txn, root, path)?.is_some();
            (text(path), if exists { Capability::Update } else { Capability::Create })
        }
        PlainRequest::Get { path } => (text(path), Capability::Read),
        PlainRequest::Delete { path } => (text(path), Capability::Delete),
        PlainRequest::List { path, .. } => (path.as_ref().map_or_else(String::new, text), Capability::List),
    })
}

/// Plans a request on the mount whose root container this is.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan_plain(txn: &mut Txn<'_>, root: ObjectId, request: &PlainRequest) -> Result<Reply, Error> {
    match request {
        PlainRequest::Put { path, data } => {
            data::check(data)?;
            let (id, mut metadata) = match tree::find(txn, root, path)? {
                Some((_, id)) => (id, Metadata::read(txn, id)?),
                None => (tree::enter(txn, root, path)?, Metadata::new(txn.now())),
            };
            metadata.max_versions = 1;
            write_version(txn, id, &Config::default(), metadata, data);
            Ok(Reply::Done)
        }
        PlainRequest::Get { path } => get(txn, root, path, None)?.map(Reply::Item).ok_or(Error::NotFound),
        PlainRequest::Delete { path } => {
            let removal = Request::DeleteMetadata { path: path.clone() };
            match plan(txn, root, &Config::default(), &removal) {
                Err(Error::NotFound) => Ok(Reply::Done),
                done => done,
            }
        }
        PlainRequest::List { path, after, limit } => list(txn, root, path.as_ref(), after, *limit),
    }
}
