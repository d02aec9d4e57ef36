//! Roles: which service accounts, and what is given to them.

use aumbry_logical::{Body, Object};
use aumbry_types::Name;
use serde::{Deserialize, Serialize};

use super::review::Account;
use crate::answer::{Error, object, texts};
use crate::fields::{self, is_match};
use crate::kept;
use crate::params::{OldNames, TokenParams};

/// A role.
#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    names: Vec<String>,
    namespaces: Vec<String>,
    pub(super) audience: String,
    alias_source: AliasSource,
    pub(super) params: TokenParams,
}

/// What an account is known by. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum AliasSource {
    /// Its id, which another account with the same name has not.
    Uid,
    /// Its namespace and name.
    Name,
}

impl Role {
    /// Whether an account is one of the role's.
    pub(super) fn is_bound(&self, account: &Account) -> bool {
        let is_any = |patterns: &[String], text: &str| patterns.iter().any(|pattern| is_match(pattern, text));
        is_any(&self.names, &account.name) && is_any(&self.namespaces, &account.namespace)
    }

    /// What an account is known by; nothing if it has no such thing.
    pub(super) fn alias(&self, account: &Account) -> Option<String> {
        match self.alias_source {
            AliasSource::Uid => (!account.uid.is_empty()).then(|| account.uid.clone()),
            AliasSource::Name => Some(format!("{}/{}", account.namespace, account.name)),
        }
    }
}

impl kept::Stored for Role {}

impl kept::Role for Role {
    fn new(name: &Name) -> Self {
        Self {
            name: name.as_str().to_owned(),
            names: Vec::new(),
            namespaces: Vec::new(),
            audience: String::new(),
            alias_source: AliasSource::Uid,
            params: TokenParams::new(),
        }
    }

    fn merge(&mut self, body: &Body) -> Result<(), Error> {
        if let Some(names) = fields::texts(body, "bound_service_account_names")? {
            self.names = names;
        }
        if let Some(namespaces) = fields::texts(body, "bound_service_account_namespaces")? {
            self.namespaces = namespaces;
        }
        if let Some(audience) = fields::text(body, "audience")? {
            self.audience = audience;
        }
        match body.text("alias_name_source")?.as_deref() {
            None | Some("") => {}
            Some("serviceaccount_uid") => self.alias_source = AliasSource::Uid,
            Some("serviceaccount_name") => self.alias_source = AliasSource::Name,
            Some(_) => {
                return Err(Error::Invalid(
                    "alias_name_source must be serviceaccount_uid or serviceaccount_name",
                ));
            }
        }
        let selector = body.text("bound_service_account_namespace_selector")?;
        if selector.is_some_and(|selector| !selector.is_empty()) {
            return Err(Error::Invalid(
                "namespaces are not selected by labels: name them in bound_service_account_namespaces",
            ));
        }
        self.params.merge(body, OLD_NAMES)?;
        if self.names.is_empty() || self.namespaces.is_empty() {
            return Err(Error::Invalid(
                "bound_service_account_names and bound_service_account_namespaces must be set; `*` is all of them",
            ));
        }
        // As Vault: two stars are everybody in the cluster.
        if self.names.iter().any(|name| name == "*") && self.namespaces.iter().any(|name| name == "*") {
            return Err(Error::Invalid(
                "bound_service_account_names and bound_service_account_namespaces cannot both be `*`",
            ));
        }
        Ok(())
    }

    fn render(&self) -> Object {
        let source = match self.alias_source {
            AliasSource::Uid => "serviceaccount_uid",
            AliasSource::Name => "serviceaccount_name",
        };
        let mut data = object([
            ("alias_name_source", source.into()),
            ("audience", self.audience.clone().into()),
            ("bound_service_account_names", texts(&self.names)),
            ("bound_service_account_namespaces", texts(&self.namespaces)),
        ]);
        self.params.render(&mut data);
        data
    }
}

/// As older clients name them.
const OLD_NAMES: OldNames = OldNames(&["policies", "ttl", "max_ttl", "period", "num_uses", "bound_cidrs"]);
