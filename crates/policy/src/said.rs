//! What a block says: its attributes, each understood and each once.

use std::collections::{BTreeMap, BTreeSet};

use aumbry_types::{Capabilities, Capability, LogTime, parse_duration};

use crate::document::{Attribute, Block, Kind, Value};
use crate::error::{ParseError, Reason};
use crate::moment;
use crate::parameters::{ANY, Literal, ParameterRules};
use crate::restrictions::Restrictions;

/// The attributes of a block.
#[derive(Default)]
pub(crate) struct Said<'a> {
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) legacy: Option<Capabilities>,
    pub(crate) mount: Option<&'a str>,
    pub(crate) expires: Option<LogTime>,
    /// Nothing if they are none.
    pub(crate) restrictions: Option<Restrictions>,
}

impl<'a> Said<'a> {
    /// # Errors
    /// The first attribute that is not known, not of its type, or there twice.
    pub(crate) fn read(block: &'a Block) -> Result<Self, ParseError> {
        let mut said = Self::default();
        let mut restrictions = Restrictions::default();
        let mut seen = BTreeSet::new();
        for attribute in &block.attributes {
            if !seen.insert(attribute.key.as_str()) {
                return Err(Reason::DuplicateKey.at(attribute.line));
            }
            said.add(block.kind, attribute, &mut restrictions)
                .map_err(|reason| reason.at(attribute.line))?;
        }
        let (min, max) = (restrictions.min_wrapping_ttl_s, restrictions.max_wrapping_ttl_s);
        if min.is_some_and(|min| max.is_some_and(|max| max < min)) {
            return Err(Reason::WrongType("max_wrapping_ttl is not less than min_wrapping_ttl").into());
        }
        said.restrictions = (!restrictions.is_empty()).then_some(restrictions);
        Ok(said)
    }

    fn add(&mut self, kind: Kind, attribute: &'a Attribute, into: &mut Restrictions) -> Result<(), Reason> {
        let value = &attribute.value;
        match (kind, attribute.key.as_str()) {
            (_, "capabilities") => {
                let names = value
                    .texts()
                    .ok_or(Reason::WrongType("capabilities is a list of strings"))?;
                let capabilities = names.into_iter().map(str::parse::<Capability>);
                self.capabilities = Some(capabilities.collect::<Result<_, _>>()?);
            }
            (Kind::Path, "policy") => {
                let Value::Text(name) = value else {
                    return Err(Reason::WrongType("policy is a string"));
                };
                self.legacy = Some(legacy(name)?);
            }
            (Kind::Secret, "mount") => {
                let Value::Text(mount) = value else {
                    return Err(Reason::WrongType("mount is a string"));
                };
                self.mount = Some(mount);
            }
            (_, "comment") => {
                let Value::Text(_) = value else {
                    return Err(Reason::WrongType("comment is a string"));
                };
            }
            (_, "expiration") => self.expires = Some(expiration(value)?),
            (_, "min_wrapping_ttl") => into.min_wrapping_ttl_s = ttl(value)?,
            (_, "max_wrapping_ttl") => into.max_wrapping_ttl_s = ttl(value)?,
            (_, "pagination_limit") => into.pagination_limit = Some(pagination_limit(value)?),
            (kind, key) => {
                let known = PARAMETERS.into_iter().find(|known| *known == key);
                match (kind, known) {
                    (Kind::Path, Some(known)) => parameters(known, value, &mut into.parameters)?,
                    (Kind::Secret, Some(known)) => return Err(Reason::OnlyInPath(known)),
                    (_, None) => {
                        let known = UNSUPPORTED.into_iter().find(|known| *known == key);
                        return Err(known.map_or(Reason::UnknownKey, Reason::Unsupported));
                    }
                }
            }
        }
        Ok(())
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

fn parameters(key: &str, value: &Value, into: &mut ParameterRules) -> Result<(), Reason> {
    if key == "required_parameters" {
        let names = value
            .texts()
            .filter(|names| names.iter().all(|name| !name.is_empty()))
            .ok_or(Reason::WrongType("required_parameters is a list of names"))?;
        check_count(names.len())?;
        into.required = names.into_iter().map(str::to_lowercase).collect();
        return Ok(());
    }
    let Value::Object(entries) = value else {
        return Err(Reason::WrongType(
            "allowed_parameters and denied_parameters are objects of lists, as in { \"ttl\" = [\"1h\"] }",
        ));
    };
    check_count(entries.len())?;
    let mut read = BTreeMap::new();
    for entry in entries {
        let name = entry.key.to_lowercase();
        let values = literals(&entry.value)?;
        if name == ANY && !values.is_empty() {
            return Err(Reason::WrongType(
                "the parameter * stands for all others and takes no values: write []",
            ));
        }
        if read.insert(name, values).is_some() {
            return Err(Reason::DuplicateKey);
        }
    }
    if read.is_empty() {
        // Elsewhere it means no restriction, which is not what it looks like.
        return Err(Reason::WrongType(
            "name at least one parameter, or leave the key out; \"*\" = [] stands for all",
        ));
    }
    if key == "allowed_parameters" {
        into.allowed = read;
    } else {
        into.denied = read;
    }
    Ok(())
}

fn literals(value: &Value) -> Result<Vec<Literal>, Reason> {
    const WRONG: Reason = Reason::WrongType(
        "the values of a parameter are a list of strings, numbers, true and false; [] stands for any",
    );
    let Value::List(items) = value else {
        return Err(WRONG);
    };
    check_count(items.len())?;
    let mut literals = items
        .iter()
        .map(|item| match item {
            Value::Text(text) => Ok(Literal::Text(text.clone())),
            Value::Number(digits) => Ok(Literal::Number(digits.clone())),
            Value::Bool(bool) => Ok(Literal::Bool(*bool)),
            Value::List(_) | Value::Object(_) | Value::Other => Err(WRONG),
        })
        .collect::<Result<Vec<_>, _>>()?;
    literals.sort_unstable();
    literals.dedup();
    Ok(literals)
}

fn check_count(count: usize) -> Result<(), Reason> {
    if count > NAMED_MAX {
        return Err(Reason::WrongType(
            "at most 256 parameters, and 256 values of each, can be named",
        ));
    }
    Ok(())
}

/// Seconds; nothing for 0, which restricts nothing.
fn ttl(value: &Value) -> Result<Option<u64>, Reason> {
    let (Value::Text(text) | Value::Number(text)) = value else {
        return Err(WRONG_TTL);
    };
    let ttl = parse_duration(text).map_err(|_| WRONG_TTL)?.as_secs();
    Ok((ttl > 0).then_some(ttl))
}

fn expiration(value: &Value) -> Result<LogTime, Reason> {
    let (Value::Text(text) | Value::Number(text)) = value else {
        return Err(WRONG_TIME);
    };
    moment::parse(text).ok_or(WRONG_TIME)
}

fn pagination_limit(value: &Value) -> Result<u64, Reason> {
    let (Value::Text(text) | Value::Number(text)) = value else {
        return Err(WRONG_LIMIT);
    };
    text.parse().ok().filter(|limit| *limit > 0).ok_or(WRONG_LIMIT)
}

const WRONG_TTL: Reason = Reason::WrongType("a wrapping TTL is a time such as \"90s\" or \"1h\", or seconds");
const WRONG_TIME: Reason =
    Reason::WrongType("expiration is a moment such as \"2027-01-31T12:00:00Z\", or seconds since 1970");
const WRONG_LIMIT: Reason = Reason::WrongType("pagination_limit is a whole number from 1");

/// Many times what a person writes; it bounds how often each part of a request is looked at.
const NAMED_MAX: usize = 256;
/// What restricts the parameters of a request.
const PARAMETERS: [&str; 3] = ["allowed_parameters", "denied_parameters", "required_parameters"];
/// Restrictions of other products; ignoring one would grant more than the author meant.
const UNSUPPORTED: [&str; 6] = [
    "control_group",
    "mfa_methods",
    "list_scan_response_keys_filter_path",
    "subscribe_event_types",
    "conditions",
    "mcp",
];
