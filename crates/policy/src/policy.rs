//! A parsed policy.

use std::collections::BTreeSet;

use aumbry_types::{Capabilities, Capability, LogTime};
use serde_json::json;

use crate::document::{Block, Kind};
use crate::error::{ParseError, Reason, shown};
use crate::identity::Identity;
use crate::pattern::Pattern;
use crate::restrictions::Restrictions;
use crate::said::Said;
use crate::scan::{self, Language};
use crate::secret;
use crate::template::{Resolved, Template};
use crate::{hcl, moment};

/// A policy: rules in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
    /// Invariant: as many as `rules`; where the block of each begins, if the parser knows it.
    lines: Vec<Option<usize>>,
}

/// What a policy says about a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    target: Target,
    /// Invariant: not empty.
    capabilities: Capabilities,
    /// Nothing rather than none.
    restrictions: Option<Box<Restrictions>>,
    expires: Option<LogTime>,
}

/// The paths that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Pattern(Pattern),
    Template(Template),
}

impl Policy {
    /// Reads a policy in HCL, or in JSON if its first visible character is `{`. A text without blocks grants nothing.
    ///
    /// # Errors
    /// [`ParseError`] names the first thing that is wrong, and where. Whatever is not understood is refused.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Reason::TooLong.into());
        }
        let is_json = text.trim_ascii_start().starts_with('{');
        let blocks = if is_json {
            scan::check(text, Language::Json)?;
            crate::json::read(text)?
        } else {
            scan::check(text, Language::Hcl)?;
            hcl::read(text)?
        };
        let mut seen = BTreeSet::new();
        let mut policy = Self {
            rules: Vec::new(),
            lines: Vec::new(),
        };
        for block in &blocks {
            let new = seen.insert((block.kind, block.pattern.as_str()));
            let of_block = if new {
                read_rules(block)
            } else {
                Err(Reason::DuplicateBlock.into())
            };
            policy.rules.extend(of_block.map_err(|error| ParseError {
                line: error.line.or(block.line),
                pattern: Some(shown(&block.pattern)),
                reason: error.reason,
            })?);
            if policy.rules.len() > RULES_MAX {
                return Err(Reason::TooManyRules.at(block.line));
            }
            policy.lines.resize(policy.rules.len(), block.line);
        }
        Ok(policy)
    }

    /// The rules, `secret` blocks expanded.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether what it means depends on who asks. Sets of policies without templates can be shared by all who have the same ones.
    #[must_use]
    pub fn has_templates(&self) -> bool {
        self.rules.iter().any(|rule| rule.template().is_some())
    }

    /// The rules, and the line on which the block of each begins.
    pub(crate) fn rules_and_lines(&self) -> impl Iterator<Item = (&Rule, Option<usize>)> {
        self.rules.iter().zip(self.lines.iter().copied())
    }
}

impl Rule {
    /// The pattern of the paths that it is about, templates as they were written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        match &self.target {
            Target::Pattern(pattern) => pattern.as_str(),
            Target::Template(template) => template.as_str(),
        }
    }

    /// What it gives there; [`Capability::Deny`] takes back all of it.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The last moment at which it holds.
    #[must_use]
    pub fn expires(&self) -> Option<LogTime> {
        self.expires
    }

    /// A policy of this rule alone, in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut block = serde_json::Map::new();
        let names: Vec<&str> = self.capabilities.iter().map(Capability::as_str).collect();
        block.insert("capabilities".to_owned(), json!(names));
        if let Some(restrictions) = &self.restrictions {
            restrictions.write(&mut block);
        }
        if let Some(expires) = self.expires {
            block.insert("expiration".to_owned(), json!(moment::show(expires)));
        }
        json!({ "path": { self.pattern(): block } }).to_string()
    }

    pub(crate) fn template(&self) -> Option<&Template> {
        match &self.target {
            Target::Template(template) => Some(template),
            Target::Pattern(_) => None,
        }
    }

    pub(crate) fn restrictions(&self) -> Option<&Restrictions> {
        self.restrictions.as_deref()
    }

    pub(crate) fn denies(&self) -> bool {
        self.capabilities.contains(Capability::Deny)
    }

    /// The paths for whoever asks.
    pub(crate) fn resolve(&self, identity: &Identity) -> Resolved {
        match &self.target {
            Target::Pattern(pattern) => Resolved::Pattern(pattern.clone()),
            Target::Template(template) => template.resolve(identity),
        }
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, Reason> {
        Ok(if Template::is_in(text) {
            Self::Template(Template::parse(text)?)
        } else {
            Self::Pattern(Pattern::parse(text)?)
        })
    }
}

fn read_rules(block: &Block) -> Result<Vec<Rule>, ParseError> {
    let target = Target::parse(&block.pattern)?;
    let said = Said::read(block)?;
    let capabilities = match (said.capabilities, said.legacy) {
        (Some(_), Some(_)) => return Err(Reason::BothForms.into()),
        (Some(capabilities), None) | (None, Some(capabilities)) => capabilities,
        (None, None) => Capabilities::NONE,
    };
    if capabilities.is_empty() {
        return Err(Reason::NoCapabilities.into());
    }
    let rule = |target, capabilities: Capabilities, restrictions: Option<Restrictions>| Rule {
        target,
        capabilities,
        restrictions: restrictions.map(Box::new),
        expires: said.expires,
    };
    match block.kind {
        Kind::Path => Ok(vec![rule(target, capabilities, said.restrictions)]),
        Kind::Secret => secret::Target::split(&block.pattern, said.mount)?
            .expand(capabilities)?
            .into_iter()
            .map(|(text, capabilities)| {
                let restrictions = said.restrictions.as_ref();
                let of_route = restrictions.and_then(|restrictions| restrictions.only_for(capabilities));
                Ok(rule(Target::parse(&text)?, capabilities, of_route))
            })
            .collect(),
    }
}

/// A policy is replicated and parsed whole; what is longer is generated, and can be split.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Many times what a person writes; it bounds the memory of a compiled set and the work of a decision, a policy.
const RULES_MAX: usize = 1_000;
