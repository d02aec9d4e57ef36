//! What a role, user or other source of logins says about the tokens of its logins: the fields that begin with `token_`.

use aumbry_logical::{Body, FieldError, Object};
use serde::{Deserialize, Serialize};

use crate::answer::{Error, policy_names, texts};
use crate::cidr::{Cidr, parse_cidrs};
use crate::token::{TokenType, check_policies};

/// Which kind of token a login is given. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WantedType {
    /// Whatever is usual: a service token.
    #[default]
    Default,
    /// A service token.
    Service,
    /// A service token, unless the request says otherwise.
    DefaultService,
    /// A batch token.
    Batch,
    /// A batch token, unless the request says otherwise.
    DefaultBatch,
}

/// What tokens of a source of logins are like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenParams {
    /// Their policies, beside `default`.
    pub policies: Vec<String>,
    /// For how many seconds; 0 is the system's default.
    pub ttl_s: u64,
    /// The most seconds they can live by renewals; 0 is the system's limit.
    pub max_ttl_s: u64,
    /// The most seconds they can live, even if they are periodic; 0 is without.
    pub explicit_max_ttl_s: u64,
    /// For how many seconds each renewal is, without end; 0 for tokens that are not periodic.
    pub period_s: u64,
    /// How often they can be used; 0 is without limit.
    pub num_uses: u64,
    /// Where they can be used from; nothing is everywhere.
    pub bound_cidrs: Vec<Cidr>,
    /// Leaves out the policy `default`.
    pub no_default_policy: bool,
    /// Of which kind they are.
    pub token_type: WantedType,
}

/// The fields that a method also takes without `token_` before them, as older clients write them.
#[derive(Debug, Clone, Copy)]
pub struct OldNames(pub &'static [&'static str]);

impl TokenParams {
    /// Nothing in particular.
    pub(crate) const fn new() -> Self {
        Self {
            policies: Vec::new(),
            ttl_s: 0,
            max_ttl_s: 0,
            explicit_max_ttl_s: 0,
            period_s: 0,
            num_uses: 0,
            bound_cidrs: Vec::new(),
            no_default_policy: false,
            token_type: WantedType::Default,
        }
    }

    /// Takes over the values that the body names. A field that it does not name keeps its value.
    ///
    /// # Errors
    /// [`Error::Field`] or [`Error::Invalid`]; then some values may be taken over already.
    pub fn merge(&mut self, body: &Body, old: OldNames) -> Result<(), Error> {
        let named = |name| old.choose(body, name);
        let seconds = |name, value: &mut u64| -> Result<(), FieldError> {
            *value = body.seconds(named(name))?.unwrap_or(*value);
            Ok(())
        };
        seconds("token_ttl", &mut self.ttl_s)?;
        seconds("token_max_ttl", &mut self.max_ttl_s)?;
        seconds("token_explicit_max_ttl", &mut self.explicit_max_ttl_s)?;
        seconds("token_period", &mut self.period_s)?;
        if self.max_ttl_s > 0 && self.ttl_s > self.max_ttl_s {
            return Err(Error::Invalid("token_ttl must not be greater than token_max_ttl"));
        }
        if let Some(num_uses) = body.count(named("token_num_uses"))? {
            self.num_uses = check_uses(num_uses)?;
        }
        if let Some(policies) = policy_names(body, named("token_policies"))? {
            check_policies(&policies).map_err(Error::Invalid)?;
            if policies.iter().any(|policy| policy == "root") {
                return Err(Error::Invalid("no login gives the policy `root`"));
            }
            self.policies = policies;
            self.policies.sort_unstable();
            self.policies.dedup();
        }
        if let Some(cidrs) = body.texts(named("token_bound_cidrs"))? {
            self.bound_cidrs = parse_cidrs(&cidrs)?;
        }
        self.no_default_policy = body
            .flag(named("token_no_default_policy"))?
            .unwrap_or(self.no_default_policy);
        if let Some(token_type) = body.text(named("token_type"))? {
            self.token_type = WantedType::parse(&token_type)?;
        }
        if self.token_type == WantedType::Batch && (self.num_uses > 0 || self.period_s > 0) {
            return Err(Error::Invalid(
                "batch tokens have no number of uses and no period: nothing of them is stored",
            ));
        }
        Ok(())
    }

    /// Adds the values by their names.
    pub fn render(&self, object: &mut Object) {
        let values = [
            ("token_bound_cidrs", texts(&self.bound_cidrs)),
            ("token_explicit_max_ttl", self.explicit_max_ttl_s.into()),
            ("token_max_ttl", self.max_ttl_s.into()),
            ("token_no_default_policy", self.no_default_policy.into()),
            ("token_num_uses", self.num_uses.into()),
            ("token_period", self.period_s.into()),
            ("token_policies", texts(&self.policies)),
            ("token_ttl", self.ttl_s.into()),
            ("token_type", self.token_type.name().into()),
        ];
        object.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
}

impl OldNames {
    /// The name under which the body has a value: the old one if it alone is there.
    fn choose(self, body: &Body, name: &'static str) -> &'static str {
        let old = name.strip_prefix("token_").unwrap_or(name);
        match self.0.iter().find(|known| **known == old) {
            Some(old) if body.get(name).is_none() => old,
            _ => name,
        }
    }
}

impl WantedType {
    /// The kind of the token.
    #[must_use]
    pub const fn token_type(self) -> TokenType {
        match self {
            Self::Default | Self::Service | Self::DefaultService => TokenType::Service,
            Self::Batch | Self::DefaultBatch => TokenType::Batch,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Service => "service",
            Self::DefaultService => "default-service",
            Self::Batch => "batch",
            Self::DefaultBatch => "default-batch",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "default" => Ok(Self::Default),
            "service" => Ok(Self::Service),
            "default-service" => Ok(Self::DefaultService),
            "batch" => Ok(Self::Batch),
            "default-batch" => Ok(Self::DefaultBatch),
            _ => Err(Error::Invalid(
                "token_type must be default, service, batch, default-service or default-batch",
            )),
        }
    }
}

/// A number of uses that a counter holds.
pub(crate) fn check_uses(num_uses: u64) -> Result<u64, Error> {
    if num_uses > u64::from(u32::MAX) {
        return Err(Error::Invalid("a number of uses is at most 4,294,967,295"));
    }
    Ok(num_uses)
}
