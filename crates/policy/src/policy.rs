//! A parsed policy.

use std::collections::BTreeSet;

use aumbry_types::{Capabilities, Capability};

use crate::document::{Attribute, Block, Kind, Value};
use crate::error::{ParseError, Reason, shown};
use crate::pattern::Pattern;
use crate::scan::{self, Language};
use crate::secret::Target;
use crate::{hcl, json};

/// A policy: rules in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What a policy says about a pattern of paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pattern: Pattern,
    /// Invariant: not empty.
    capabilities: Capabilities,
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
            json::read(text)?
        } else {
            scan::check(text, Language::Hcl)?;
            hcl::read(text)?
        };
        let mut seen = BTreeSet::new();
        let mut rules = Vec::new();
        for block in &blocks {
            let new = seen.insert((block.kind, block.pattern.as_str()));
            let of_block = if new {
                read_rules(block)
            } else {
                Err(Reason::DuplicateBlock.into())
            };
            rules.extend(of_block.map_err(|error| ParseError {
                line: error.line.or(block.line),
                pattern: Some(shown(&block.pattern)),
                reason: error.reason,
            })?);
            if rules.len() > RULES_MAX {
                return Err(Reason::TooManyRules.at(block.line));
            }
        }
        Ok(Self { rules })
    }

    /// The rules, `secret` blocks expanded.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// The paths it is about.
    #[must_use]
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What it gives there; [`Capability::Deny`] takes back all of it.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
}

fn read_rules(block: &Block) -> Result<Vec<Rule>, ParseError> {
    let pattern = Pattern::parse(&block.pattern).map_err(Reason::from)?;
    let said = Said::read(block)?;
    let capabilities = match (said.capabilities, said.legacy) {
        (Some(_), Some(_)) => return Err(Reason::BothForms.into()),
        (Some(capabilities), None) | (None, Some(capabilities)) => capabilities,
        (None, None) => Capabilities::NONE,
    };
    if capabilities.is_empty() {
        return Err(Reason::NoCapabilities.into());
    }
    match block.kind {
        Kind::Path => Ok(vec![Rule { pattern, capabilities }]),
        Kind::Secret => Target::split(&pattern, said.mount)?
            .expand(capabilities)?
            .into_iter()
            .map(|(text, capabilities)| {
                let pattern = Pattern::parse(&text).map_err(Reason::from)?;
                Ok(Rule { pattern, capabilities })
            })
            .collect(),
    }
}

/// The attributes of a block, each once.
#[derive(Default)]
struct Said<'a> {
    capabilities: Option<Capabilities>,
    legacy: Option<Capabilities>,
    mount: Option<&'a str>,
}

impl<'a> Said<'a> {
    fn read(block: &'a Block) -> Result<Self, ParseError> {
        let mut said = Self::default();
        for attribute in &block.attributes {
            said.add(block.kind, attribute)
                .map_err(|reason| reason.at(attribute.line))?;
        }
        Ok(said)
    }

    fn add(&mut self, kind: Kind, attribute: &'a Attribute) -> Result<(), Reason> {
        let is_new = match (kind, attribute.key.as_str()) {
            (_, "capabilities") => {
                let Value::Texts(names) = &attribute.value else {
                    return Err(Reason::WrongType("capabilities is a list of strings"));
                };
                let capabilities = names
                    .iter()
                    .map(|name| name.parse::<Capability>())
                    .collect::<Result<_, _>>()?;
                self.capabilities.replace(capabilities).is_none()
            }
            (Kind::Path, "policy") => {
                let Value::Text(name) = &attribute.value else {
                    return Err(Reason::WrongType("policy is a string"));
                };
                self.legacy.replace(legacy(name)?).is_none()
            }
            (Kind::Secret, "mount") => {
                let Value::Text(mount) = &attribute.value else {
                    return Err(Reason::WrongType("mount is a string"));
                };
                self.mount.replace(mount).is_none()
            }
            (_, key) => {
                let known = UNSUPPORTED.into_iter().find(|known| *known == key);
                return Err(known.map_or(Reason::UnknownKey, Reason::Unsupported));
            }
        };
        if is_new { Ok(()) } else { Err(Reason::DuplicateKey) }
    }
}

/// What the old one-word policies stand for.
fn legacy(name: &str) -> Result<Capabilities, Reason> {
    use Capability::{Create, Delete, Deny, List, Read, Sudo, Update};
    let capabilities: &[Capability] = match name {
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        "deny" => &[Deny],
        _ => return Err(Reason::UnknownLegacy),
    };
    Ok(capabilities.iter().copied().collect())
}

/// Restrictions of other products; ignoring one would grant more than the author meant.
const UNSUPPORTED: [&str; 11] = [
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "control_group",
    "mfa_methods",
    "expiration",
    "pagination_limit",
    "list_scan_response_keys_filter_path",
    "subscribe_event_types",
];
/// A policy is replicated and parsed whole; what is longer is generated, and can be split.
const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Many times what a person writes; it bounds the memory of a compiled set and the work of a decision, a policy.
const RULES_MAX: usize = 1_000;
