//! Roles: what a token must claim, and what is given for it.

use std::collections::BTreeMap;

use aumbry_logical::{Body, FieldError, Object};
use aumbry_types::Name;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
}

/// How values are compared. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ClaimsType {
    /// They are the same.
    String,
    /// `*` stands for any characters.
    Glob,
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
        }
    }

    fn merge(&mut self, body: &Body) -> Result<(), Error> {
        match body.text("role_type")?.as_deref() {
            Some("jwt") => {}
            // Left out, it is `oidc` with Vault, whose roles this method does not have.
            None | Some("") => {}
            Some("oidc") => {
                return Err(Error::Invalid(
                    "logins by a browser are not there yet: role_type must be jwt",
                ));
            }
            Some(_) => return Err(Error::Invalid("role_type must be jwt")),
        }
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
        let is_bound = !self.bound_audiences.is_empty()
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
            ("role_type", "jwt".into()),
            ("user_claim", self.user_claim.clone().into()),
            ("user_claim_json_pointer", self.user_claim_json_pointer.into()),
        ]);
        self.params.render(&mut data);
        data
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
