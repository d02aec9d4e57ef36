//! What opens a node beside the shares: a key file, a PKCS#11 token, the transit engine of another cluster.
//!
//! Each gives the key of a seal, which `aumbry-crypto` opens the root key with. So what is done outside is the wrapping of 32 random bytes, bound to
//! the storage, the key and the epoch of the root key; and nothing outside ever has the root key.
//!
//! What it guarantees: devices and services are asked with a bound in time; what one of them refuses is told with the next step; no way in stands in
//! for another.
//!
//! What it does not do: keep a key. It is in memory for as long as a try takes.

#[cfg(feature = "pkcs11")]
mod pkcs11;
mod tests_of;
mod transit;

use std::path::{Path, PathBuf};

use aumbry_crypto::seal::{KeyId, KeyKind, KeySeal, OuterBinding, OuterKey, StaticKey};
use aumbry_node::KeySeals;
use aumbry_types::{Entropy as _, SecretBytes, SystemEntropy};

use crate::config::{self, Config, ConfigError};
use crate::key_file::{self, KeyFileError};

pub(crate) use tests_of::{SealTests, Tested};
use transit::TransitError;

/// One way in beside the shares.
pub struct SealSource(Source);

enum Source {
    Static(PathBuf),
    #[cfg(feature = "pkcs11")]
    Pkcs11(pkcs11::Token),
    Transit(transit::Transit),
}

/// Why a way in gave no key. Nothing of a key, a PIN or a token is told.
#[derive(Debug, thiserror::Error)]
pub enum SealSourceError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration has no such section.
    #[error("{path} has no section [seal.{kind}]; write it, as deploy/aumbry.toml shows")]
    NoSection {
        /// The configuration.
        path: PathBuf,
        /// The kind of seal.
        kind: &'static str,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The token.
    #[cfg(feature = "pkcs11")]
    #[error(transparent)]
    Pkcs11(#[from] pkcs11::Pkcs11Error),
    /// The other cluster.
    #[error(transparent)]
    Transit(#[from] TransitError),
    /// No seal was added for it.
    #[error(
        "the cluster has no {kind} seal of the key {name:?}; see `aumbry operator seals list`, and add it with `aumbry operator seals add --{kind} CONFIG`"
    )]
    NoSeal {
        /// The kind of seal.
        kind: &'static str,
        /// The name of the key outside.
        name: String,
    },
    /// What came back is not the key that the seal is of.
    #[error(
        "what {kind} unwrapped is not the key of the seal {id}: the seal or the key outside was exchanged; open the node with key shares, remove the seal and add it again"
    )]
    OtherKey {
        /// The kind of seal.
        kind: &'static str,
        /// The key of the seal.
        id: KeyId,
    },
    /// The name or the answer is longer than a seal holds.
    #[error("{kind} gave a wrapped key that a seal cannot hold: {text}")]
    Unfit {
        /// The kind of seal.
        kind: &'static str,
        /// Why.
        text: String,
    },
}

impl SealSource {
    /// All that a configuration names, in the order in which they are tried.
    pub(crate) fn all(seal: &config::Seal) -> Vec<Self> {
        let mut sources = Vec::new();
        sources.extend(
            seal.static_key
                .as_ref()
                .map(|seal| Source::Static(seal.key_file.clone())),
        );
        #[cfg(feature = "pkcs11")]
        sources.extend(
            seal.pkcs11
                .as_ref()
                .map(|seal| Source::Pkcs11(pkcs11::Token::new(seal.clone()))),
        );
        sources.extend(
            seal.transit
                .as_ref()
                .map(|seal| Source::Transit(transit::Transit::new(seal.clone()))),
        );
        sources.into_iter().map(Self).collect()
    }

    /// That of this kind in the configuration of a node.
    ///
    /// # Errors
    /// [`SealSourceError`] if there is no such section.
    pub fn of_file(path: &Path, kind: KeyKind) -> Result<Self, SealSourceError> {
        let config = Config::load(path)?;
        let mut found = Self::all(&config.seal).into_iter();
        found
            .find(|source| source.kind() == kind)
            .ok_or_else(|| SealSourceError::NoSection {
                path: path.to_owned(),
                kind: kind.name(),
            })
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match self.0 {
            Source::Static(_) => KeyKind::Static,
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(_) => KeyKind::Pkcs11,
            Source::Transit(_) => KeyKind::Transit,
        }
    }

    /// What it is trusted with, for the log of a node that is opened by it.
    pub(crate) const fn trust(&self) -> &'static str {
        match self.0 {
            Source::Static(_) => {
                "this node unseals itself with a static key: whoever has its disk and this file has the secrets"
            }
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(_) => {
                "this node unseals itself with a PKCS#11 token: whoever has its disk, and the token with its PIN, has the secrets"
            }
            Source::Transit(_) => {
                "this node unseals itself with another cluster's transit key: whoever has its disk, and may decrypt there, has the secrets"
            }
        }
    }

    /// Where it is, for the log.
    pub(crate) fn place(&self) -> String {
        match &self.0 {
            Source::Static(path) => path.display().to_string(),
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => token.place(),
            Source::Transit(transit) => transit.place(),
        }
    }

    /// Looks at the files that it needs.
    pub(crate) fn check_files(&self) -> Result<(), SealSourceError> {
        match &self.0 {
            Source::Static(path) => drop(key_file::read(path)?),
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => token.check_files()?,
            Source::Transit(transit) => transit.check_files()?,
        }
        Ok(())
    }

    /// The key of a seal of the cluster. `cluster` is the cluster's own id, which nobody outside may have.
    pub(crate) async fn key(&self, seals: &KeySeals, cluster: &str) -> Result<StaticKey, SealSourceError> {
        let name = match &self.0 {
            Source::Static(path) => return Ok(key_file::read(path)?),
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => token.name(),
            Source::Transit(transit) => transit.name(),
        };
        let is_mine = |seal: &&KeySeal| {
            let outer = seal.outer.as_ref();
            seal.kind == self.kind() && outer.is_some_and(|outer| outer.name() == name)
        };
        let mut refused = SealSourceError::NoSeal {
            kind: self.kind().name(),
            name: name.clone(),
        };
        // Several have this name where two tokens have keys of the same label, or one was replaced. Those of the present root key come first.
        let mut mine: Vec<&KeySeal> = seals.seals.iter().filter(is_mine).collect();
        mine.sort_by_key(|seal| seal.root_epoch != seals.root_epoch);
        for seal in mine {
            let Some(outer) = &seal.outer else { continue };
            match self.unwrap(outer, &seal.binding(seals.storage_id), cluster).await {
                Ok(key) => return Ok(key),
                // Another seal may be of this key; after anything else, the next try would end as this one did.
                Err(error) if error.is_of_this_seal() => refused = error,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }

    /// Has a new key wrapped, and looks whether it can be unwrapped again.
    ///
    /// # Errors
    /// [`SealSourceError`]
    pub async fn wrap(
        &self,
        key: &StaticKey,
        bound: &OuterBinding,
        cluster: &str,
    ) -> Result<OuterKey, SealSourceError> {
        let plain = key.expose_text();
        let (name, wrapped) = match &self.0 {
            Source::Static(_) => {
                return Err(SealSourceError::Unfit {
                    kind: "static",
                    text: "a file wraps nothing".to_owned(),
                });
            }
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => {
                let context = bound.context(&token.name());
                let mut iv = [0; 12];
                SystemEntropy.fill(&mut iv);
                (token.name(), token.encrypt(plain, context, iv).await?)
            }
            Source::Transit(transit) => {
                let context = bound.context(&transit.name());
                (transit.name(), transit.encrypt(&plain, &context, cluster).await?)
            }
        };
        let outer = OuterKey::new(name, wrapped).map_err(|error| SealSourceError::Unfit {
            kind: self.kind().name(),
            text: error.to_string(),
        })?;
        self.unwrap(&outer, bound, cluster).await?;
        Ok(outer)
    }

    /// Makes the key outside, where that is ours to do: in a token.
    ///
    /// # Errors
    /// [`SealSourceError`]
    pub async fn make_key(&self) -> Result<String, SealSourceError> {
        match &self.0 {
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => {
                let mut id = [0; 16];
                SystemEntropy.fill(&mut id);
                token.make_key(id).await?;
                Ok(token.place())
            }
            _ => Err(SealSourceError::Unfit {
                kind: self.kind().name(),
                text: "its key is made elsewhere".to_owned(),
            }),
        }
    }

    async fn unwrap(
        &self,
        outer: &OuterKey,
        bound: &OuterBinding,
        cluster: &str,
    ) -> Result<StaticKey, SealSourceError> {
        let context = bound.context(outer.name());
        let opened: SecretBytes = match &self.0 {
            Source::Static(path) => return Ok(key_file::read(path)?),
            #[cfg(feature = "pkcs11")]
            Source::Pkcs11(token) => token.decrypt(outer.wrapped().to_vec(), context).await?,
            Source::Transit(transit) => transit.decrypt(outer.wrapped(), &context, cluster).await?,
        };
        let key = StaticKey::parse(opened.expose()).ok();
        key.filter(|key| key.id() == bound.key_id)
            .ok_or_else(|| SealSourceError::OtherKey {
                kind: self.kind().name(),
                id: bound.key_id,
            })
    }
}

impl SealSourceError {
    /// Whether the seal is what was refused, rather than everything.
    const fn is_of_this_seal(&self) -> bool {
        match self {
            Self::OtherKey { .. } | Self::Transit(TransitError::Refused { .. }) => true,
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(pkcs11::Pkcs11Error::Refused { .. }) => true,
            _ => false,
        }
    }

    /// Whether it is about a file alone: looking again costs nothing, and it may be put right at any time.
    pub(crate) const fn is_quick(&self) -> bool {
        match self {
            Self::File(_) | Self::Transit(TransitError::File(_)) => true,
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(pkcs11::Pkcs11Error::File(_) | pkcs11::Pkcs11Error::Pin(_)) => true,
            _ => false,
        }
    }
}
