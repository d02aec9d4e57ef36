//! What can be asked of the method, by path below its mount.

use std::collections::BTreeMap;

use aumbry_logical::{Body, FieldError, Verb};
use aumbry_types::{Name, SecretBytes};

use super::role::{SETTINGS, Setting};
use crate::answer::{Error, parse_name};
use crate::cidr::{Cidr, parse_cidrs};
use crate::listing;
use crate::params::check_uses;

/// A request of somebody who has a token. A login is a [`super::LoginRequest`].
pub enum Request {
    /// Writes a role: the values that the body names.
    WriteRole(Name, Body),
    /// Reads a role.
    ReadRole(Name),
    /// Deletes a role with its secret ids.
    DeleteRole(Name),
    /// Lists the names of roles.
    ListRoles {
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
    /// Writes one setting of a role.
    #[doc(hidden)]
    WriteSetting(Name, Setting, Body),
    /// Reads one setting of a role.
    #[doc(hidden)]
    ReadSetting(Name, Setting),
    /// Gives one setting of a role its default.
    #[doc(hidden)]
    ResetSetting(Name, Setting),
    /// Reads the id of a role.
    ReadRoleId(Name),
    /// Gives a role another id.
    WriteRoleId(Name, String),
    /// Makes a secret id.
    MakeSecretId(Name, NewSecretId),
    /// Lists the accessors of a role's secret ids.
    ListSecretIds {
        /// The role.
        role: Name,
        /// Only accessors greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
    /// Tells of a secret id.
    LookupSecretId(Name, SecretBytes),
    /// Removes a secret id.
    DestroySecretId(Name, SecretBytes),
    /// Tells of the secret id with this accessor.
    LookupAccessor(Name, String),
    /// Removes the secret id with this accessor.
    DestroyAccessor(Name, String),
    /// Removes what has expired, which happens anyway.
    Tidy,
}

/// What kind of secret id is wanted.
#[derive(Default)]
pub struct NewSecretId {
    /// Its text, if it is not to be random.
    pub text: Option<SecretBytes>,
    /// Pairs that its tokens carry.
    pub metadata: BTreeMap<String, String>,
    /// From where it can be used, within the role's.
    pub cidrs: Vec<Cidr>,
    /// Where its tokens can be used from, within the role's.
    pub token_cidrs: Vec<Cidr>,
    /// How often it can be used, within the role's.
    pub num_uses: Option<u64>,
    /// For how many seconds it lives, within the role's.
    pub ttl_s: Option<u64>,
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        let unsupported = Err(Error::Unsupported);
        match segments[..] {
            ["role"] => match verb {
                Verb::List => Ok(Self::ListRoles {
                    after: body.text("after")?.unwrap_or_default(),
                    limit: listing::limit(&body)?,
                }),
                _ => unsupported,
            },
            ["role", name] => {
                let name = parse_name(name)?;
                match verb {
                    Verb::Write => Ok(Self::WriteRole(name, body)),
                    Verb::Read => Ok(Self::ReadRole(name)),
                    Verb::Delete => Ok(Self::DeleteRole(name)),
                    _ => unsupported,
                }
            }
            ["role", name, ref rest @ ..] => Self::parse_below(verb, parse_name(name)?, rest, body),
            ["tidy", "secret-id"] => match verb {
                Verb::Write => Ok(Self::Tidy),
                _ => unsupported,
            },
            _ => Err(Error::NotFound),
        }
    }

    fn parse_below(verb: Verb, role: Name, rest: &[&str], body: Body) -> Result<Self, Error> {
        match (rest, verb) {
            (["role-id"], Verb::Read) => Ok(Self::ReadRoleId(role)),
            (["role-id"], Verb::Write) => Ok(Self::WriteRoleId(role, check_id(body.required_text("role_id")?)?)),
            (["secret-id"], Verb::Write) => Ok(Self::MakeSecretId(role, NewSecretId::parse(&body, false)?)),
            (["secret-id"], Verb::List) => Ok(Self::ListSecretIds {
                role,
                after: body.text("after")?.unwrap_or_default(),
                limit: listing::limit(&body)?,
            }),
            (["custom-secret-id"], Verb::Write) => Ok(Self::MakeSecretId(role, NewSecretId::parse(&body, true)?)),
            (["secret-id", "lookup"], Verb::Write) => Ok(Self::LookupSecretId(role, secret_id(&body)?)),
            (["secret-id", "destroy"], Verb::Write | Verb::Delete) => {
                Ok(Self::DestroySecretId(role, secret_id(&body)?))
            }
            (["secret-id-accessor", "lookup"], Verb::Write) => Ok(Self::LookupAccessor(role, accessor(&body)?)),
            (["secret-id-accessor", "destroy"], Verb::Write | Verb::Delete) => {
                Ok(Self::DestroyAccessor(role, accessor(&body)?))
            }
            (
                ["role-id" | "secret-id" | "custom-secret-id"]
                | ["secret-id" | "secret-id-accessor", "lookup" | "destroy"],
                _,
            ) => Err(Error::Unsupported),
            (&[path], verb) => {
                let setting = SETTINGS.into_iter().find(|setting| setting.0 == path);
                let setting = setting.ok_or(Error::NotFound)?;
                match verb {
                    Verb::Write => Ok(Self::WriteSetting(role, setting, body)),
                    Verb::Read => Ok(Self::ReadSetting(role, setting)),
                    Verb::Delete => Ok(Self::ResetSetting(role, setting)),
                    _ => Err(Error::Unsupported),
                }
            }
            _ => Err(Error::NotFound),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(
            self,
            Self::ReadRole(_)
                | Self::ListRoles { .. }
                | Self::ReadSetting(..)
                | Self::ReadRoleId(_)
                | Self::ListSecretIds { .. }
                | Self::LookupSecretId(..)
                | Self::LookupAccessor(..)
                | Self::Tidy
        )
    }
}

impl NewSecretId {
    fn parse(body: &Body, is_custom: bool) -> Result<Self, Error> {
        let text = match is_custom {
            true => Some(secret_id(body)?),
            false => None,
        };
        let metadata = metadata(body)?;
        let is_long = |(key, value): (&String, &String)| key.is_empty() || key.len() > 128 || value.len() > 512;
        if metadata.len() > METADATA_MAX || metadata.iter().any(is_long) {
            return Err(Error::Invalid(
                "metadata has at most 31 pairs, keys of 1 to 128 bytes, values of at most 512",
            ));
        }
        Ok(Self {
            text,
            metadata,
            cidrs: parse_cidrs(&body.texts("cidr_list")?.unwrap_or_default())?,
            token_cidrs: parse_cidrs(&body.texts("token_bound_cidrs")?.unwrap_or_default())?,
            num_uses: body.count("num_uses")?.map(check_uses).transpose()?,
            ttl_s: body.seconds("ttl")?,
        })
    }
}

/// Pairs, or a text that holds an object of them: so it is documented, and so most clients send it.
fn metadata(body: &Body) -> Result<BTreeMap<String, String>, Error> {
    let expected = "an object of strings, or a text that holds one";
    let field = "metadata";
    let text = body.get(field).and_then(|value| value.as_str()).map(str::trim);
    let pairs = match text {
        Some("") => return Ok(BTreeMap::new()),
        Some(text) if text.starts_with('{') => Body::parse(text.as_bytes())
            .ok()
            .map(|inner| {
                Body::new(
                    [(field.to_owned(), inner.object().clone().into())]
                        .into_iter()
                        .collect(),
                )
            })
            .and_then(|outer| outer.pairs(field).ok().flatten())
            .ok_or(FieldError::Form { field, expected })?,
        _ => body.pairs(field)?.unwrap_or_default(),
    };
    Ok(pairs)
}

/// A role id of somebody's choice.
pub(super) fn check_id(text: String) -> Result<String, Error> {
    if text.is_empty() || text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(Error::Invalid("a role_id has 1 to 256 bytes and no control characters"));
    }
    Ok(text)
}

fn secret_id(body: &Body) -> Result<SecretBytes, Error> {
    let text = body.required_text("secret_id")?;
    if text.len() > ID_BYTES_MAX {
        return Err(Error::Invalid("a secret_id has 1 to 256 bytes"));
    }
    Ok(text.into())
}

fn accessor(body: &Body) -> Result<String, Error> {
    let text = body.required_text("secret_id_accessor")?;
    if text.len() > ID_BYTES_MAX {
        return Err(Error::NotFound);
    }
    Ok(text)
}

/// Seven times what a random one has.
pub(super) const ID_BYTES_MAX: usize = 256;
/// A token has 32, one of which is the role's name.
const METADATA_MAX: usize = 31;
