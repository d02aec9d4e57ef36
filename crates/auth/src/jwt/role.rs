//! Roles: what a token must claim, and what is given for it.

use std::collections::BTreeMap;

use aumbry_barrier::Txn;
use aumbry_logical::{Body, FieldError, Object};
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::browser::redirect;
use super::config::Config;
use crate::answer::{Error, object, texts};
use crate::fields;
use crate::kept;
use crate::params::{OldNames, TokenParams};

/// A role.
#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) bound_audiences: Vec<String>,
    pub(super) bound_subject: String,
    /// Claims by name or JSON pointer, with the values of which it must have one, each as JSON.
    pub(super) bound_claims: BTreeMap<String, Vec<String>>,
    pub(super) claims_type: ClaimsType,
    /// Claims with the names under which they stand in a token's metadata.
    pub(super) claim_mappings: BTreeMap<String, String>,
    pub(super) user_claim: String,
    pub(super) user_claim_json_pointer: bool,
    pub(super) groups_claim: String,
    /// Seconds; 0 is the default, less than 0 is none. So are those below.
    pub(super) expiration_leeway: i64,
    pub(super) not_before_leeway: i64,
    pub(super) clock_skew_leeway: i64,
    /// For how many seconds after the user proved who it is; 0 is without limit.
    pub(super) max_age_s: u64,
    pub(super) params: TokenParams,
    /// By which way it lets in.
    pub(super) role_type: RoleType,
    /// Where the issuer may send browsers back to.
    pub(super) allowed_redirect_uris: Vec<String>,
    /// What the issuer is asked for beside `openid`.
    pub(super) scopes: Vec<String>,
}

/// The way of a login. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RoleType {
    /// A token is shown.
    Jwt,
    /// A browser is sent to the issuer.
    Oidc,
}

/// How values are compared. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ClaimsType {
    /// They are the same.
    String,
    /// `*` stands for any characters.
    Glob,
}

impl kept::Stored for Role {
    // Tokens are shown, no browser is sent anywhere.
    const ADDED: &'static [u8] = &[0, 0, 0];
}

impl kept::Role for Role {
    fn new(name: &Name) -> Self {
        Self {
            name: name.as_str().to_owned(),
            bound_audiences: Vec::new(),
            bound_subject: String::new(),
            bound_claims: BTreeMap::new(),
            claims_type: ClaimsType::String,
            claim_mappings: BTreeMap::new(),
            user_claim: String::new(),
            user_claim_json_pointer: false,
            groups_claim: String::new(),
            expiration_leeway: 0,
            not_before_leeway: 0,
            clock_skew_leeway: 0,
            max_age_s: 0,
            params: TokenParams::new(),
            role_type: RoleType::Jwt,
            allowed_redirect_uris: Vec::new(),
            scopes: Vec::new(),
        }
    }

    fn merge(&mut self, body: &Body) -> Result<(), Error> {
        self.merge_browser(body)?;
        let text = |field, value: &mut String| -> Result<(), Error> {
            if let Some(text) = fields::text(body, field)? {
                *value = text;
            }
            Ok(())
        };
        text("bound_subject", &mut self.bound_subject)?;
        text("user_claim", &mut self.user_claim)?;
        text("groups_claim", &mut self.groups_claim)?;
        if let Some(audiences) = fields::texts(body, "bound_audiences")? {
            self.bound_audiences = audiences;
        }
        if let Some(claims) = body.nested("bound_claims")? {
            self.bound_claims = bound_claims(claims)?;
        }
        match body.text("bound_claims_type")?.as_deref() {
            None | Some("") => {}
            Some("string") => self.claims_type = ClaimsType::String,
            Some("glob") => self.claims_type = ClaimsType::Glob,
            Some(_) => return Err(Error::Invalid("bound_claims_type must be string or glob")),
        }
        if let Some(mappings) = body.pairs("claim_mappings")? {
            let is_fine = |(claim, key): (&String, &String)| {
                fields::is_plain(claim) && !key.is_empty() && key.len() <= 128 && key != "role"
            };
            if mappings.len() > MAPPINGS_MAX || !mappings.iter().all(is_fine) {
                return Err(Error::Invalid(
                    "claim_mappings has at most 31 pairs, and keys of metadata of 1 to 128 bytes other than `role`",
                ));
            }
            self.claim_mappings = mappings;
        }
        self.user_claim_json_pointer = body
            .flag("user_claim_json_pointer")?
            .unwrap_or(self.user_claim_json_pointer);
        let leeway = |field, value: &mut i64| -> Result<(), FieldError> {
            *value = signed_seconds(body, field)?.unwrap_or(*value);
            Ok(())
        };
        leeway("expiration_leeway", &mut self.expiration_leeway)?;
        leeway("not_before_leeway", &mut self.not_before_leeway)?;
        leeway("clock_skew_leeway", &mut self.clock_skew_leeway)?;
        self.max_age_s = body.seconds("max_age")?.unwrap_or(self.max_age_s);
        self.params.merge(body, OLD_NAMES)?;
        if self.user_claim.is_empty() {
            return Err(Error::Invalid(
                "a user claim must be defined on the role: set user_claim",
            ));
        }
        // Whom the issuer lets in by a browser has a token for this client alone.
        let is_bound = self.role_type == RoleType::Oidc
            || !self.bound_audiences.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims.is_empty()
            || !self.params.bound_cidrs.is_empty();
        if !is_bound {
            return Err(Error::Invalid(
                "at least one of bound_audiences, bound_subject, bound_claims and token_bound_cidrs must be set",
            ));
        }
        Ok(())
    }

    fn check(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<(), Error> {
        if self.role_type == RoleType::Jwt {
            return Ok(());
        }
        let config = kept::config::<Config>(txn, mount)?;
        match config.and_then(|config| config.value.provider()) {
            Some(_) => Ok(()),
            None => Err(Error::Invalid(
                "a role of type oidc needs oidc_discovery_url and oidc_client_id in the configuration: write that first",
            )),
        }
    }

    fn render(&self) -> Object {
        let claims = self.bound_claims.iter().map(|(name, expected)| {
            let mut values: Vec<Value> = expected
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok())
                .collect();
            let value = match values.len() {
                1 => values.remove(0),
                _ => Value::Array(values),
            };
            (name.clone(), value)
        });
        let mappings = self.claim_mappings.iter();
        let mut data = object([
            ("allowed_redirect_uris", texts(&self.allowed_redirect_uris)),
            ("bound_audiences", texts(&self.bound_audiences)),
            ("bound_claims", Value::Object(claims.collect())),
            (
                "bound_claims_type",
                match self.claims_type {
                    ClaimsType::String => "string",
                    ClaimsType::Glob => "glob",
                }
                .into(),
            ),
            ("bound_subject", self.bound_subject.clone().into()),
            (
                "claim_mappings",
                Value::Object(
                    mappings
                        .map(|(claim, key)| (claim.clone(), key.clone().into()))
                        .collect(),
                ),
            ),
            ("clock_skew_leeway", self.clock_skew_leeway.into()),
            ("expiration_leeway", self.expiration_leeway.into()),
            ("groups_claim", self.groups_claim.clone().into()),
            ("max_age", self.max_age_s.into()),
            ("not_before_leeway", self.not_before_leeway.into()),
            ("oidc_scopes", texts(&self.scopes)),
            (
                "role_type",
                match self.role_type {
                    RoleType::Jwt => "jwt",
                    RoleType::Oidc => "oidc",
                }
                .into(),
            ),
            ("user_claim", self.user_claim.clone().into()),
            ("user_claim_json_pointer", self.user_claim_json_pointer.into()),
        ]);
        self.params.render(&mut data);
        data
    }
}

impl Role {
    /// Takes over what is said of logins by a browser.
    fn merge_browser(&mut self, body: &Body) -> Result<(), Error> {
        if let Some(uris) = fields::texts(body, "allowed_redirect_uris")? {
            if !uris.iter().all(|uri| redirect::is_one(uri)) {
                return Err(Error::Invalid(redirect::NOT_ONE));
            }
            // With Vault, a role of which no type is said is for browsers; without such a place to come back to it cannot be.
            if body.text("role_type")?.is_none_or(|kind| kind.is_empty())
                && self.user_claim.is_empty()
                && !uris.is_empty()
            {
                self.role_type = RoleType::Oidc;
            }
            self.allowed_redirect_uris = uris;
        }
        if let Some(scopes) = fields::texts(body, "oidc_scopes")? {
            let is_scope = |scope: &String| {
                let is_fine = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
                !scope.is_empty() && scope.len() <= SCOPE_BYTES_MAX && scope.bytes().all(is_fine)
            };
            if scopes.len() > SCOPES_MAX || !scopes.iter().all(is_scope) {
                return Err(Error::Invalid(
                    "oidc_scopes has at most 16 scopes, each of 1 to 128 bytes without blanks and quotes",
                ));
            }
            self.scopes = scopes;
        }
        match body.text("role_type")?.as_deref() {
            None | Some("") => {}
            Some("jwt") => self.role_type = RoleType::Jwt,
            Some("oidc") => self.role_type = RoleType::Oidc,
            Some(_) => return Err(Error::Invalid("role_type must be jwt or oidc")),
        }
        if self.role_type == RoleType::Oidc && self.allowed_redirect_uris.is_empty() {
            return Err(Error::Invalid(
                "a role of type oidc needs allowed_redirect_uris: where the issuer sends browsers back to",
            ));
        }
        Ok(())
    }
}

/// Values that claims must have: a list is any of them.
fn bound_claims(claims: &Object) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let unfit = Error::Invalid(
        "bound_claims has at most 32 claims, each with one value or up to 64: strings of at most 512 bytes, numbers or truth values",
    );
    let mut bound = BTreeMap::new();
    for (name, value) in claims {
        let values = match value {
            Value::Array(values) => &values[..],
            value => std::slice::from_ref(value),
        };
        let is_value = |value: &Value| match value {
            Value::String(text) => fields::is_plain(text),
            Value::Number(_) | Value::Bool(_) => true,
            _ => false,
        };
        // Without values a claim would be bound to nothing, which looks like a demand.
        let is_fine = !values.is_empty() && values.len() <= VALUES_MAX && values.iter().all(is_value);
        if bound.len() == CLAIMS_MAX || !is_fine || name.is_empty() || !fields::is_plain(name) {
            return Err(unfit);
        }
        bound.insert(name.clone(), values.iter().map(Value::to_string).collect());
    }
    Ok(bound)
}

/// A duration of which less than 0 is none at all.
fn signed_seconds(body: &Body, field: &'static str) -> Result<Option<i64>, FieldError> {
    if body.text(field)?.is_some_and(|text| text.trim().starts_with('-')) {
        return Ok(Some(-1));
    }
    let seconds = body.seconds(field)?;
    Ok(seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// As older clients name them.
const OLD_NAMES: OldNames = OldNames(&["policies", "ttl", "max_ttl", "period", "num_uses", "bound_cidrs"]);
/// A token has 32, one of which is the role's name.
const MAPPINGS_MAX: usize = 31;
const CLAIMS_MAX: usize = 32;
const VALUES_MAX: usize = 64;
/// They stand in an address that browsers take.
const SCOPES_MAX: usize = 16;
const SCOPE_BYTES_MAX: usize = 128;
