//! Tests of the crate as its users see it.

mod decisions;
mod documents;
mod expecting;
mod expiry;
mod explaining;
mod linting;
mod parsing;
mod reference;
mod restrictions;
mod templates;
mod vault;

use aumbry_types::{Capability, LogTime};

use crate::{Access, Limit, Parameter, ParameterValue, Policy, PolicySet};

/// A policy that a test knows to be right.
fn policy(text: &str) -> Policy {
    match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => panic!("{text}: {error}"),
    }
}

/// Policies `p0`, `p1`, .. of these texts.
fn compiled(texts: &[&str]) -> PolicySet {
    let parsed: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| (format!("p{at}"), policy(text)))
        .collect();
    PolicySet::compile(parsed.iter().map(|(name, policy)| (name.as_str(), policy)))
}

/// Asks in words: `capability path` and, in any order, `name=value`, `wrap=seconds`, `limit=number` and `at=milliseconds`. Parameters are known,
/// even if there are none, unless one is `?`. A value is a text, or `#number`, `!true`, `null`, `[a|b]` or `{}`.
fn asks<T>(question: &str, answer: impl FnOnce(&Access<'_>) -> T) -> T {
    let mut words = question.split(' ');
    let capability: Capability = words.next().unwrap().parse().unwrap();
    let path = words.next().unwrap();
    let mut access = Access::new(path, capability, LogTime(0));
    let (mut names, mut is_known) = (Vec::new(), true);
    for word in words {
        match word.split_once('=') {
            None => is_known = false,
            Some(("wrap", seconds)) => access = access.wrapped_for_s(seconds.parse().unwrap()),
            Some(("limit", "max")) => access = access.with_limit(Limit::Max),
            Some(("limit", count)) => access = access.with_limit(Limit::Count(count.parse().unwrap())),
            Some(("at", ms)) => access.now = LogTime(ms.parse().unwrap()),
            Some(named) => names.push(named),
        }
    }
    let lists: Vec<Vec<ParameterValue<'_>>> = names.iter().map(|(_, text)| items(text)).collect();
    let parameters: Vec<Parameter<'_>> = names
        .iter()
        .zip(&lists)
        .map(|((name, text), list)| Parameter {
            name,
            value: if text.starts_with('[') {
                ParameterValue::List(list)
            } else {
                scalar(text)
            },
        })
        .collect();
    if is_known {
        access = access.with_parameters(&parameters);
    }
    answer(&access)
}

fn items(text: &str) -> Vec<ParameterValue<'_>> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let items = inner.into_iter().flat_map(|inner| inner.split('|'));
    items.filter(|item| !item.is_empty()).map(scalar).collect()
}

fn scalar(text: &str) -> ParameterValue<'_> {
    match text.split_at_checked(1) {
        Some(("#", digits)) => ParameterValue::Number(digits),
        Some(("!", bool)) => ParameterValue::Bool(bool == "true"),
        Some(("{", _)) => ParameterValue::Other,
        _ if text == "null" => ParameterValue::Null,
        _ => ParameterValue::Text(text),
    }
}

/// Checks what is allowed and what is not.
fn check(texts: &[&str], allowed: &[&str], refused: &[&str]) {
    let set = compiled(texts);
    for (questions, expect) in [(allowed, true), (refused, false)] {
        for question in questions {
            let is_allowed = asks(question, |access| set.decide(access).allowed);
            assert_eq!(is_allowed, expect, "{texts:?}: {question}");
        }
    }
}
