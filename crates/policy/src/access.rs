//! The question and the answer.

use core::fmt;

use aumbry_types::{Capability, LogTime};

/// What somebody wants to do, and the facts of the request that rules can ask for.
///
/// A fact that is not given is not there: a rule that needs it refuses.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The whole path, mount first, as the caller checked it; compared byte by byte.
    pub path: &'a str,
    /// What is wanted there.
    pub capability: Capability,
    /// Whether the path is root-protected, so that `sudo` is needed beside the capability.
    pub sudo: bool,
    /// The time of the request: a rule is over after its `expiration`.
    pub now: LogTime,
    /// The top-level parameters of the request's body. Whoever writes gives them, if only as none: if they are not known,
    /// a rule that restricts parameters refuses the write. They need not be gathered if [`crate::PolicySet::restricts_parameters`] says no.
    pub parameters: Option<&'a [Parameter<'a>]>,
    /// For how long the response is to be wrapped, in seconds; nothing if it is not to be.
    pub wrap_ttl_s: Option<u64>,
    /// How many names a list is to have at most.
    pub limit: Limit,
}

impl<'a> Access<'a> {
    /// A plain request, without any further fact.
    #[must_use]
    pub const fn new(path: &'a str, capability: Capability, now: LogTime) -> Self {
        Self {
            path,
            capability,
            sudo: false,
            now,
            parameters: None,
            wrap_ttl_s: None,
            limit: Limit::Unsaid,
        }
    }

    /// On a root-protected path.
    #[must_use]
    pub const fn protected(self) -> Self {
        Self { sudo: true, ..self }
    }

    /// With these parameters and no others.
    #[must_use]
    pub const fn with_parameters(self, parameters: &'a [Parameter<'a>]) -> Self {
        Self {
            parameters: Some(parameters),
            ..self
        }
    }

    /// With a response that is wrapped for so long.
    #[must_use]
    pub const fn wrapped_for_s(self, wrap_ttl_s: u64) -> Self {
        Self {
            wrap_ttl_s: Some(wrap_ttl_s),
            ..self
        }
    }

    /// For a list of so many names at most.
    #[must_use]
    pub const fn with_limit(self, limit: Limit) -> Self {
        Self { limit, ..self }
    }

    /// Whether a body is written, which is what restrictions of parameters are about.
    pub(crate) const fn is_write(&self) -> bool {
        matches!(
            self.capability,
            Capability::Create | Capability::Update | Capability::Patch
        )
    }

    /// Whether names are listed.
    pub(crate) const fn is_list(&self) -> bool {
        matches!(self.capability, Capability::List | Capability::Scan)
    }
}

/// One parameter of a request: a top-level key of its body.
///
/// It may be a secret, so it has no `Debug`.
#[derive(Clone, Copy)]
pub struct Parameter<'a> {
    /// As the request spells it.
    pub name: &'a str,
    /// What it says.
    pub value: ParameterValue<'a>,
}

/// What a parameter says, as far as rules can compare it.
#[derive(Clone, Copy)]
pub enum ParameterValue<'a> {
    /// A string.
    Text(&'a str),
    /// A number, as JSON writes it.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// A list; each element is compared alone.
    List(&'a [Self]),
    /// Anything else, such as an object. It equals no value that a rule can name, and a rule that names values refuses it.
    Other,
}

/// How many names a list is to have at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The request does not say.
    Unsaid,
    /// As many as the rules allow.
    Max,
    /// So many; 0 is as unsaid.
    Count(u64),
}

/// Whether it may be done, who decided that, and what is to be enforced if it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the access is allowed.
    pub allowed: bool,
    /// The names of the policies whose rules decided, sorted, each once; empty if no rule matched.
    pub policies: Vec<String>,
    /// The deciding pattern; `None` if no rule matched, and for root.
    pub rule: Option<String>,
    /// How long the response is wrapped at least, in seconds. Nothing unless the access is allowed and a rule says so; the access was
    /// checked against it already.
    pub min_wrapping_ttl_s: Option<u64>,
    /// How long the response is wrapped at most, in seconds; as above.
    pub max_wrapping_ttl_s: Option<u64>,
    /// How many names a list gives at most: what was asked for, or what the rule allows where nothing was. Nothing if neither says, and for
    /// anything else than a list.
    pub limit: Option<u64>,
}

impl Decision {
    /// Neither allowed nor decided by any rule.
    pub(crate) const REFUSED: Self = Self {
        allowed: false,
        policies: Vec::new(),
        rule: None,
        min_wrapping_ttl_s: None,
        max_wrapping_ttl_s: None,
        limit: None,
    };
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("allowed", &self.allowed)
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}
