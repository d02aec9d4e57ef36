//! Which parameters a rule lets through: `allowed_parameters`, `denied_parameters` and `required_parameters`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value, json};

use crate::access::{Parameter, ParameterValue};
use crate::number;

/// What a rule says of parameters. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ParameterRules {
    /// Empty: no restriction. A name without values allows any.
    pub(crate) allowed: BTreeMap<String, Vec<Literal>>,
    /// A name without values denies any.
    pub(crate) denied: BTreeMap<String, Vec<Literal>>,
    /// Must be there, spelt in lower case as they are here.
    pub(crate) required: BTreeSet<String>,
}

/// A value that a rule names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Literal {
    /// May begin and end with `*`.
    Text(String),
    /// As it was written.
    Number(String),
    Bool(bool),
}

impl Literal {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            // It was a number of JSON or a whole one, so it reads as one.
            Self::Number(digits) => digits.parse::<Number>().map_or(Value::Null, Value::Number),
            Self::Bool(bool) => json!(bool),
        }
    }
}

/// Why parameters are refused; a number is the place of the parameter in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The caller does not know them.
    Unknown,
    /// Of those required, the one at this place.
    Missing(usize),
    /// Its name is denied, or its value.
    Denied(usize),
    /// Its name is not allowed.
    NotAllowed(usize),
    /// Its name is allowed, its value is not.
    Value(usize),
}

impl ParameterRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty()
    }

    /// Adds what another rule says of the same pattern: each list grows, and a name without values swallows those with.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (into, from) in [(&mut self.allowed, &other.allowed), (&mut self.denied, &other.denied)] {
            for (name, values) in from {
                match into.get_mut(name) {
                    None => {
                        into.insert(name.clone(), values.clone());
                    }
                    Some(present) if present.is_empty() || values.is_empty() => present.clear(),
                    Some(present) => {
                        present.extend(values.iter().cloned());
                        present.sort_unstable();
                        present.dedup();
                    }
                }
            }
        }
        self.required.extend(other.required.iter().cloned());
    }

    /// Checks what is written.
    pub(crate) fn check_write(&self, parameters: Option<&[Parameter<'_>]>) -> Result<(), Broken> {
        if self.is_empty() {
            return Ok(());
        }
        let parameters = parameters.ok_or(Broken::Unknown)?;
        // To engines null is as good as nothing.
        let says = |parameter: &Parameter<'_>| !matches!(parameter.value, ParameterValue::Null);
        let is_there = |name: &String| parameters.iter().any(|one| one.name == name && says(one));
        if let Some(missing) = self.required.iter().position(|name| !is_there(name)) {
            return Err(Broken::Missing(missing));
        }
        self.check_given(parameters)
    }

    /// Checks those that are there.
    pub(crate) fn check_given(&self, parameters: &[Parameter<'_>]) -> Result<(), Broken> {
        let denies_all = self.denied.contains_key(ANY);
        for (at, parameter) in parameters.iter().enumerate() {
            let name = parameter.name.to_lowercase();
            let denied = self.denied.get(&name);
            if denies_all || denied.is_some_and(|values| values.is_empty() || may_equal(parameter.value, values)) {
                return Err(Broken::Denied(at));
            }
            if self.allowed.is_empty() {
                continue;
            }
            match self.allowed.get(&name) {
                None if !self.allowed.contains_key(ANY) => return Err(Broken::NotAllowed(at)),
                Some(values) if !values.is_empty() && !is_among(parameter.value, values) => {
                    return Err(Broken::Value(at));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether a value is surely one of these: of the same type, and of a list every element.
fn is_among(value: ParameterValue<'_>, allowed: &[Literal]) -> bool {
    let any = |equals: &dyn Fn(&Literal) -> bool| allowed.iter().any(equals);
    match value {
        ParameterValue::Text(text) => any(&|one| matches!(one, Literal::Text(glob) if matches(glob, text))),
        ParameterValue::Number(digits) => {
            any(&|one| matches!(one, Literal::Number(other) if number::equal(digits, other)))
        }
        ParameterValue::Bool(bool) => allowed.contains(&Literal::Bool(bool)),
        ParameterValue::List(items) if items.len() > ELEMENTS_MAX => false,
        ParameterValue::List(items) => {
            let all = items.iter().all(|item| is_scalar(*item) && is_among(*item, allowed));
            all && !items.is_empty()
        }
        ParameterValue::Null | ParameterValue::Other => false,
    }
}

/// Whether a value could be taken for one of these. Engines read `"false"` as `false`, `"8"` as 8 and `"a,b"` as a list, so a denied value
/// is looked for in all these forms, and what cannot be compared is refused.
fn may_equal(value: ParameterValue<'_>, denied: &[Literal]) -> bool {
    let any = |equals: &dyn Fn(&Literal) -> bool| denied.iter().any(equals);
    match value {
        ParameterValue::Text(text) if text.split(',').nth(ELEMENTS_MAX).is_some() => true,
        ParameterValue::Text(text) => any(&|one| {
            let parts = text.split(',').map(str::trim);
            core::iter::once(text)
                .chain(parts)
                .any(|part| text_may_equal(part, one))
        }),
        ParameterValue::Number(digits) => any(&|one| match one {
            Literal::Number(other) => number::equal(digits, other),
            Literal::Text(glob) => matches(glob, digits) || number::equal(digits, glob),
            // 0 and 1 are what programs write for them.
            Literal::Bool(bool) => number::equal(digits, if *bool { "1" } else { "0" }),
        }),
        ParameterValue::Bool(bool) => {
            any(&|one| text_may_equal(if bool { "true" } else { "false" }, one) || *one == Literal::Bool(bool))
        }
        ParameterValue::Null => false,
        ParameterValue::List(items) if items.len() > ELEMENTS_MAX => true,
        ParameterValue::List(items) => items.iter().any(|item| !is_scalar(*item) || may_equal(*item, denied)),
        ParameterValue::Other => true,
    }
}

fn text_may_equal(text: &str, one: &Literal) -> bool {
    match one {
        Literal::Text(glob) => matches(glob, text),
        Literal::Number(other) => number::equal(text, other),
        Literal::Bool(bool) => {
            let words: &[&str] = if *bool {
                &["true", "t", "1"]
            } else {
                &["false", "f", "0"]
            };
            words.iter().any(|word| word.eq_ignore_ascii_case(text))
        }
    }
}

/// Lists in lists are what no rule can name.
const fn is_scalar(value: ParameterValue<'_>) -> bool {
    !matches!(value, ParameterValue::List(_) | ParameterValue::Other)
}

/// Whether a text is what a value of a rule says: `*` at its beginning and at its end stands for anything. A lone `*` is itself.
fn matches(glob: &str, text: &str) -> bool {
    if glob.len() < 2 {
        return glob == text;
    }
    match (glob.strip_prefix('*'), glob.strip_suffix('*')) {
        (None, None) => glob == text,
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (Some(rest), Some(_)) => text.contains(rest.strip_suffix('*').unwrap_or(rest)),
    }
}

/// Elements of one value of a request that are compared. A longer list, where values are named, is refused: whoever writes to a store may send
/// a megabyte of commas, and every request waits for a decision.
const ELEMENTS_MAX: usize = 1_000;
/// The name that stands for all others.
pub(crate) const ANY: &str = "*";
