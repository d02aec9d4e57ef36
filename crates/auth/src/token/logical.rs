//! Tokens and their roles by path: the fields of requests below `auth/token/`, and those of their answers.

use std::sync::Arc;

use aumbry_barrier::Txn;
use aumbry_logical::{Body, Object, Verb};
use aumbry_types::{Name, SecretBytes};
use serde_json::Value;

use super::record::Info;
use super::{Create, NewToken, Role, check_policies, list_roles};
use crate::answer::{Answer, Error, object, parse_name, policy_names, texts, timestamp};
use crate::cidr::parse_cidrs;
use crate::params::{OldNames, WantedType};

/// A request about roles.
pub enum RoleRequest {
    /// Writes one: the values that the body names.
    Write(Name, Body),
    /// Reads one.
    Read(Name),
    /// Deletes one.
    Delete(Name),
    /// Lists their names.
    List {
        /// Only names greater than this.
        after: String,
        /// At most so many; 0 is as many as a page holds.
        limit: usize,
    },
}

impl RoleRequest {
    /// Reads a request for `roles` or `roles/NAME`; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path == "roles" {
            return match verb {
                Verb::List => Ok(Self::List {
                    after: body.text("after")?.unwrap_or_default(),
                    limit: crate::listing::limit(&body)?,
                }),
                _ => Err(Error::Unsupported),
            };
        }
        let name = path.strip_prefix("roles/").ok_or(Error::NotFound)?;
        let name = parse_name(name)?;
        match verb {
            Verb::Write => Ok(Self::Write(name, body)),
            Verb::Read => Ok(Self::Read(name)),
            Verb::Delete => Ok(Self::Delete(name)),
            Verb::Patch | Verb::List | Verb::Scan => Err(Error::Unsupported),
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Delete(_))
    }

    /// Whether what it is about is there: a write where nothing is needs `create` instead of `update`.
    ///
    /// # Errors
    /// [`Error::Damaged`]
    pub fn exists(&self, txn: &mut Txn<'_>) -> Result<bool, Error> {
        match self {
            Self::Write(name, _) => Ok(Role::read(txn, name)?.is_some()),
            Self::Read(_) | Self::Delete(_) | Self::List { .. } => Ok(true),
        }
    }

    /// Plans the request.
    ///
    /// # Errors
    /// [`Error`]; what was written to the transaction until then must be abandoned.
    pub fn plan(&self, txn: &mut Txn<'_>) -> Result<Answer, Error> {
        match self {
            Self::Write(name, body) => {
                let mut role = Role::read(txn, name)?.map(|(_, role)| role).unwrap_or_default();
                merge(&mut role, body)?;
                role.write(txn, name)?;
                Ok(Answer::done())
            }
            Self::Read(name) => {
                let (_, role) = Role::read(txn, name)?.ok_or(Error::NotFound)?;
                Ok(Answer::of(render_role(name, &role)))
            }
            // As elsewhere, what is not there is deleted already.
            Self::Delete(name) => Role::delete(txn, name).map(|_| Answer::done()).map_err(Error::from),
            Self::List { after, limit } => Answer::names(list_roles(txn, after, *limit)?),
        }
    }
}

fn merge(role: &mut Role, body: &Body) -> Result<(), Error> {
    let named = |field| -> Result<Option<Vec<String>>, Error> {
        let names = policy_names(body, field)?;
        if let Some(names) = &names {
            check_policies(names).map_err(Error::Invalid)?;
        }
        Ok(names)
    };
    let free = |field| -> Result<Option<Vec<String>>, Error> {
        let globs = body.texts(field)?;
        let is_long = |globs: &Vec<String>| globs.len() > GLOBS_MAX || globs.iter().any(|glob| glob.len() > 128);
        if globs.as_ref().is_some_and(is_long) {
            return Err(Error::Invalid("at most 63 patterns, each of at most 128 bytes"));
        }
        Ok(globs)
    };
    let set = |place: &mut Vec<String>, value: Option<Vec<String>>| {
        if let Some(value) = value {
            *place = value;
        }
    };
    set(&mut role.allowed_policies, named("allowed_policies")?);
    set(&mut role.disallowed_policies, named("disallowed_policies")?);
    set(&mut role.allowed_policies_glob, free("allowed_policies_glob")?);
    set(&mut role.disallowed_policies_glob, free("disallowed_policies_glob")?);
    set(&mut role.allowed_entity_aliases, free("allowed_entity_aliases")?);
    role.orphan = body.flag("orphan")?.unwrap_or(role.orphan);
    role.renewable = body.flag("renewable")?.unwrap_or(role.renewable);
    if let Some(suffix) = body.text("path_suffix")? {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if suffix.len() > 128 || !suffix.chars().all(is_fine) {
            return Err(Error::Invalid(
                "path_suffix has at most 128 characters of a-z, A-Z, 0-9, `-`, `_`, `.` and `/`",
            ));
        }
        role.path_suffix = suffix;
    }
    role.params.merge(body, OLD_NAMES)
}

fn render_role(name: &Name, role: &Role) -> Object {
    let mut data = object([
        ("name", name.as_str().into()),
        ("allowed_entity_aliases", texts(&role.allowed_entity_aliases)),
        ("allowed_policies", texts(&role.allowed_policies)),
        ("allowed_policies_glob", texts(&role.allowed_policies_glob)),
        ("disallowed_policies", texts(&role.disallowed_policies)),
        ("disallowed_policies_glob", texts(&role.disallowed_policies_glob)),
        ("explicit_max_ttl", role.params.explicit_max_ttl_s.into()),
        ("orphan", role.orphan.into()),
        ("path_suffix", role.path_suffix.as_str().into()),
        ("period", role.params.period_s.into()),
        ("renewable", role.renewable.into()),
    ]);
    role.params.render(&mut data);
    // As clients know it of these roles.
    if role.params.token_type == WantedType::Default {
        data.insert("token_type".to_owned(), "default-service".into());
    }
    // A role has none of these: they are asked for.
    for field in ["token_policies", "token_ttl", "token_max_ttl"] {
        data.remove(field);
    }
    data
}

impl Create {
    /// Reads a request for `create`, `create-orphan` or `create/ROLE`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(body: &Body, role: Option<Name>) -> Result<Self, Error> {
        let token_type = match body.text("type")?.as_deref() {
            None | Some("") => None,
            Some("service") => Some(super::TokenType::Service),
            Some("batch") => Some(super::TokenType::Batch),
            Some(_) => return Err(Error::Invalid("type must be service or batch")),
        };
        Ok(Self {
            policies: policy_names(body, "policies")?.unwrap_or_default(),
            ttl_s: match body.seconds("ttl")? {
                Some(ttl_s) => ttl_s,
                None => body.seconds("lease")?.unwrap_or(0),
            },
            explicit_max_ttl_s: body.seconds("explicit_max_ttl")?.unwrap_or(0),
            num_uses: body.count("num_uses")?.unwrap_or(0),
            renewable: body.flag("renewable")?.unwrap_or(true),
            display_name: display_name(&body.text("display_name")?.unwrap_or_default()),
            metadata: body.pairs("meta")?.unwrap_or_default(),
            orphan: body.flag("no_parent")?.unwrap_or(false),
            no_default_policy: body.flag("no_default_policy")?.unwrap_or(false),
            period_s: body.seconds("period")?.unwrap_or(0),
            bound_cidrs: parse_cidrs(&body.texts("bound_cidrs")?.unwrap_or_default())?,
            token_type,
            role,
            entity_alias: body.text("entity_alias")?.filter(|alias| !alias.is_empty()),
            id: body.secret("id")?.filter(|id| !id.is_empty()).map(Arc::new),
        })
    }
}

/// As Vault shows it: `token`, and what the creator says in letters, digits and hyphens.
fn display_name(wanted: &str) -> String {
    let clean: String = wanted
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    match clean.trim_end_matches('-') {
        "" => "token".to_owned(),
        clean => format!("token-{clean}"),
    }
}

/// The `auth` of an answer that gives a new token.
#[must_use]
pub fn render_auth(new: &NewToken) -> Object {
    render_renewed(&new.info, Some(&new.token))
}

/// The `auth` of an answer to a renewal. The text of the token is told again if the caller showed it.
#[must_use]
pub fn render_renewed(info: &Info, text: Option<&SecretBytes>) -> Object {
    object([
        ("client_token", token_text(text)),
        ("accessor", info.accessor.as_str().into()),
        ("policies", all_policies(info)),
        ("token_policies", texts(&info.policies)),
        ("identity_policies", texts(&info.identity_policies)),
        ("metadata", metadata(info)),
        ("lease_duration", info.ttl_s.into()),
        ("renewable", info.renewable.into()),
        ("entity_id", entity(info)),
        ("token_type", info.token_type.name().into()),
        ("orphan", info.orphan.into()),
        ("mfa_requirement", Value::Null),
        ("num_uses", info.num_uses.into()),
    ])
}

/// The `data` of an answer to a look-up. The text is told again to who showed it, and not to who named the accessor.
#[must_use]
pub fn render_lookup(info: &Info, text: Option<&SecretBytes>) -> Object {
    let expire_time = match info.expires_at {
        0 => Value::Null,
        ms => timestamp(ms).into(),
    };
    let mut data = object([
        ("accessor", info.accessor.as_str().into()),
        ("creation_time", (info.issued / 1_000).into()),
        ("creation_ttl", info.creation_ttl_s.into()),
        ("display_name", info.display_name.as_str().into()),
        ("entity_id", entity(info)),
        ("expire_time", expire_time),
        ("explicit_max_ttl", info.explicit_max_ttl_s.into()),
        ("id", token_text(text)),
        ("issue_time", timestamp(info.issued).into()),
        ("meta", metadata(info)),
        ("num_uses", info.num_uses.into()),
        ("orphan", info.orphan.into()),
        ("path", info.path.as_str().into()),
        ("policies", texts(&info.policies)),
        ("renewable", info.renewable.into()),
        ("ttl", info.ttl_s.into()),
        ("type", info.token_type.name().into()),
    ]);
    // Clients take these as told only where they are.
    if info.period_s > 0 {
        data.insert("period".to_owned(), info.period_s.into());
    }
    if !info.identity_policies.is_empty() {
        data.insert("identity_policies".to_owned(), texts(&info.identity_policies));
    }
    if !info.bound_cidrs.is_empty() {
        data.insert("bound_cidrs".to_owned(), texts(&info.bound_cidrs));
    }
    if let Some(namespace) = &info.namespace {
        data.insert("namespace_path".to_owned(), namespace.as_str().into());
    }
    if !info.role.is_empty() {
        data.insert("role".to_owned(), info.role.as_str().into());
    }
    data
}

/// Its own and those of its entity.
fn all_policies(info: &Info) -> Value {
    let mut all: Vec<&String> = info.policies.iter().chain(&info.identity_policies).collect();
    all.sort_unstable();
    all.dedup();
    texts(&all)
}

fn token_text(text: Option<&SecretBytes>) -> Value {
    text.and_then(SecretBytes::expose_str).unwrap_or_default().into()
}

fn entity(info: &Info) -> Value {
    info.entity.map(|id| id.to_string()).unwrap_or_default().into()
}

fn metadata(info: &Info) -> Value {
    if info.metadata.is_empty() {
        return Value::Null;
    }
    let pairs = info.metadata.iter();
    Value::Object(pairs.map(|(key, value)| (key.clone(), value.as_str().into())).collect())
}

/// As older clients name them.
const OLD_NAMES: OldNames = OldNames(&["period", "explicit_max_ttl", "bound_cidrs"]);
/// As many as policies.
const GLOBS_MAX: usize = 63;
