//! Tokens for logins.

use std::collections::BTreeMap;

use aumbry_barrier::Txn;
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

use super::create::{self, Create, CreateError, NewToken};
use super::lifetime::Lifetime;
use super::record::{Alias, Record, TokenType};
use crate::Place;
use crate::params::TokenParams;

/// What an auth method found out: who logged in, and what its token is to be like. It is made once everything was checked.
#[derive(Serialize, Deserialize)]
pub struct Login {
    /// The mount of the method, with which its tokens end.
    pub mount: ObjectId,
    /// The path of the request below the mount's, such as `login`.
    pub path: String,
    /// The name of whoever logged in, as the method knows it: the alias of an entity.
    pub alias: String,
    /// The token's name for people, after that of the mount; empty for the mount's alone.
    pub display_name: String,
    /// What the method tells of the login.
    pub metadata: BTreeMap<String, String>,
    /// The groups that the method says it is in.
    pub groups: Vec<String>,
    /// What the token is to be like.
    pub params: TokenParams,
    /// The role or user that it comes from, without which the token is not renewed.
    pub source: Option<ObjectId>,
    /// The entity that has the alias, if the caller of [`issue`] found one.
    pub entity: Option<ObjectId>,
}

impl Login {
    /// The role that it is a login of, for limits on it; nothing where the method knows none.
    fn role(&self) -> &str {
        let told = ["role_name", "role", "cert_name"]
            .iter()
            .find_map(|key| self.metadata.get(*key));
        told.map_or("", String::as_str)
    }

    /// As whom it is, for the token and for those who ask whose it is.
    #[must_use]
    pub fn as_whom(&self) -> Alias {
        Alias {
            mount: self.mount,
            name: self.alias.clone(),
            metadata: self.metadata.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// Creates the token of a login. It has no parent. `mount_path` is where the method is mounted, such as `auth/approle`.
///
/// # Errors
/// [`CreateError`]; a login is never given the policy `root`.
pub fn issue(txn: &mut Txn<'_>, mount_path: &str, login: Login) -> Result<NewToken, CreateError> {
    let alias = login.as_whom();
    let role = login.role().to_owned();
    let params = login.params;
    let mut wanted = Create {
        policies: params.policies,
        ttl_s: params.ttl_s,
        explicit_max_ttl_s: params.explicit_max_ttl_s,
        num_uses: params.num_uses,
        display_name: display_name(mount_path, &login.display_name),
        metadata: login.metadata,
        period_s: params.period_s,
        ..Create::default()
    };
    create::check(&wanted)?;
    if wanted.policies.iter().any(|policy| policy == "root") {
        return Err(CreateError::Invalid("no login gives the policy `root`"));
    }
    if !params.no_default_policy {
        wanted.policies.push("default".to_owned());
    }
    wanted.policies.sort_unstable();
    wanted.policies.dedup();
    let lifetime = Lifetime {
        wanted_s: wanted.ttl_s,
        max_s: params.max_ttl_s,
        explicit_max_s: wanted.explicit_max_ttl_s,
        period_s: wanted.period_s,
    };
    let record = Record {
        accessor: ObjectId::make(txn.entropy()),
        policies: wanted.policies,
        display_name: wanted.display_name,
        metadata: wanted.metadata,
        issued: txn.now().0,
        ttl_s: lifetime.seconds(),
        explicit_max_ttl_s: wanted.explicit_max_ttl_s,
        renewable: params.token_type.token_type() != TokenType::Batch,
        num_uses: wanted.num_uses,
        path: format!("{mount_path}/{}", login.path),
        period_s: wanted.period_s,
        max_ttl_s: params.max_ttl_s,
        bound_cidrs: params.bound_cidrs,
        entity: login.entity,
        alias: Some(alias),
        token_type: params.token_type.token_type(),
        home: Some(Place::Logins.of(login.mount)),
        source: login.source,
        namespace: txn.namespace(),
        ..Record::default()
    };
    create::enter_new(txn, &record, &role)
}

/// Such as `userpass-alice`, of a login as `alice` at `auth/userpass`.
fn display_name(mount_path: &str, name: &str) -> String {
    let mount = mount_path.strip_prefix("auth/").unwrap_or(mount_path).replace('/', "-");
    let mut text = if name.is_empty() {
        mount
    } else {
        format!("{mount}-{name}")
    };
    text.truncate(text.floor_char_boundary(DISPLAY_NAME_BYTES_MAX));
    text
}

/// As much as a token takes.
const DISPLAY_NAME_BYTES_MAX: usize = 128;
