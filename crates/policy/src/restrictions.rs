//! What a rule asks of a request beyond path and capability.

use aumbry_types::{Capabilities, Capability};
use serde_json::{Map, Value, json};

use crate::access::{Access, Limit};
use crate::parameters::{Broken, Literal, ParameterRules};

/// Empty for most rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restrictions {
    pub(crate) parameters: ParameterRules,
    /// Seconds. If either is there, the response must be wrapped.
    pub(crate) min_wrapping_ttl_s: Option<u64>,
    pub(crate) max_wrapping_ttl_s: Option<u64>,
    /// Names in one answer to a list.
    pub(crate) pagination_limit: Option<u64>,
}

/// Why a rule that gives the capability refuses nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    Parameters(Broken),
    /// The response is not to be wrapped, and must be.
    NotWrapped,
    /// Wrapped for too short or too long.
    WrappingTtl,
    /// Policies that were merged leave no time for which it may be wrapped.
    NoWrappingTtl,
    /// `limit` is required.
    NoLimit,
    /// More names than the rule allows.
    Limit,
}

impl Restrictions {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What of it concerns these capabilities, for a rule that is one of several of a block; nothing if nothing does.
    pub(crate) fn only_for(&self, capabilities: Capabilities) -> Option<Self> {
        let is_list = capabilities.contains(Capability::List) || capabilities.contains(Capability::Scan);
        let restrictions = Self {
            pagination_limit: self.pagination_limit.filter(|_| is_list),
            ..self.clone()
        };
        (!restrictions.is_empty()).then_some(restrictions)
    }

    /// Adds what another rule says of the same pattern.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.parameters.merge(&other.parameters);
        self.merge_numbers(other);
    }

    /// Of each number the lowest holds, as lives should be short.
    pub(crate) fn merge_numbers(&mut self, other: &Self) {
        for (into, from) in [
            (&mut self.min_wrapping_ttl_s, other.min_wrapping_ttl_s),
            (&mut self.max_wrapping_ttl_s, other.max_wrapping_ttl_s),
            (&mut self.pagination_limit, other.pagination_limit),
        ] {
            *into = match (*into, from) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
        }
    }

    /// Adds its keys to a block in JSON.
    pub(crate) fn write(&self, block: &mut Map<String, Value>) {
        let parameters = &self.parameters;
        for (key, named) in [
            ("allowed_parameters", &parameters.allowed),
            ("denied_parameters", &parameters.denied),
        ] {
            if !named.is_empty() {
                let values = |literals: &[Literal]| literals.iter().map(Literal::to_json).collect::<Vec<_>>();
                let named: Map<_, _> = named
                    .iter()
                    .map(|(name, literals)| (name.clone(), json!(values(literals))))
                    .collect();
                block.insert(key.to_owned(), Value::Object(named));
            }
        }
        if !parameters.required.is_empty() {
            block.insert("required_parameters".to_owned(), json!(parameters.required));
        }
        for (key, number) in [
            ("min_wrapping_ttl", self.min_wrapping_ttl_s),
            ("max_wrapping_ttl", self.max_wrapping_ttl_s),
            ("pagination_limit", self.pagination_limit),
        ] {
            if let Some(number) = number {
                block.insert(key.to_owned(), json!(number));
            }
        }
    }

    /// Whether a request keeps to it.
    pub(crate) fn check(&self, access: &Access<'_>) -> Result<(), Unmet> {
        self.check_wrapping(access.wrap_ttl_s)?;
        if access.is_write() {
            self.parameters
                .check_write(access.parameters)
                .map_err(Unmet::Parameters)?;
        } else if access.capability == Capability::Read {
            let given = access.parameters.unwrap_or_default();
            self.parameters.check_given(given).map_err(Unmet::Parameters)?;
        } else if access.is_list() {
            self.check_limit(access.limit)?;
        }
        Ok(())
    }

    fn check_wrapping(&self, wrap_ttl_s: Option<u64>) -> Result<(), Unmet> {
        let (min, max) = (self.min_wrapping_ttl_s, self.max_wrapping_ttl_s);
        if min.is_none() && max.is_none() {
            return Ok(());
        }
        let ttl = wrap_ttl_s.ok_or(Unmet::NotWrapped)?;
        let (min, max) = (min.unwrap_or(0), max.unwrap_or(u64::MAX));
        if min > max {
            return Err(Unmet::NoWrappingTtl);
        }
        if (min..=max).contains(&ttl) {
            Ok(())
        } else {
            Err(Unmet::WrappingTtl)
        }
    }

    fn check_limit(&self, limit: Limit) -> Result<(), Unmet> {
        match limit {
            Limit::Unsaid | Limit::Count(0) if self.parameters.required.contains(LIMIT) => Err(Unmet::NoLimit),
            Limit::Count(count) if self.pagination_limit.is_some_and(|most| count > most) => Err(Unmet::Limit),
            _ => Ok(()),
        }
    }
}

/// The parameter of a list that `required_parameters` can name.
pub(crate) const LIMIT: &str = "limit";
