//! The smallest rule that would allow what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_types::{Capabilities, Capability};

use crate::access::Access;
use crate::entry::{Given, Part};
use crate::judgement::{FormJudgement, Verdict};
use crate::parameters::{Broken, Literal, ParameterRules};
use crate::pattern::Pattern;
use crate::policy::Policy;
use crate::restrictions::{Restrictions, Unmet};
use crate::set::{PolicySet, needed, other_form};

/// A policy that the caller needs beside those it has; nothing if none helps. What is given was tried.
pub(crate) fn find(set: &PolicySet, access: &Access<'_>, decided: &FormJudgement) -> Option<String> {
    let candidates = match (decided.verdict, decided.unmet) {
        (Verdict::Restricted, Some(Unmet::Parameters(Broken::NotAllowed(_)))) => parameters(set, access, decided),
        (Verdict::Restricted, _) => Vec::new(),
        _ => paths(set, access),
    };
    candidates.into_iter().find(|text| allows(set, access, text))
}

/// Allowed parameters of one pattern are united, so those that are missing are added to it.
fn parameters(set: &PolicySet, access: &Access<'_>, decided: &FormJudgement) -> Vec<String> {
    let Some(rule) = decided.place.map(|place| &set.rules[place]) else {
        return Vec::new();
    };
    let known = rule.given(access.now).and_then(|given| given.restrictions.clone());
    let is_known = |name: &String| {
        known
            .as_ref()
            .is_some_and(|known| known.parameters.allowed.contains_key(name))
    };
    let names = access.parameters.unwrap_or_default().iter();
    let missing = names
        .map(|parameter| parameter.name.to_lowercase())
        .filter(|name| !is_known(name));
    let restrictions = Restrictions {
        parameters: ParameterRules {
            allowed: missing.map(|name| (name, Vec::new())).collect(),
            ..ParameterRules::default()
        },
        ..Restrictions::default()
    };
    let capabilities = Capabilities::NONE.with(access.capability);
    write(rule.pattern.as_str(), capabilities, Some(&restrictions))
        .into_iter()
        .collect()
}

/// Rules for the path itself, and for a list for both of its spellings.
fn paths(set: &PolicySet, access: &Access<'_>) -> Vec<String> {
    let path = access.path.to_owned();
    // These would be read as patterns themselves.
    if path.contains(['*', '+']) || path.contains("{{") || path.contains("}}") {
        return Vec::new();
    }
    let mut candidates = vec![vec![path.clone()]];
    if access.is_list() {
        candidates.push(vec![path, other_form(access.path).into_owned()]);
    }
    if access.capability == Capability::Scan {
        let directory = access.path.strip_suffix('/').unwrap_or(access.path);
        candidates.push(vec![format!("{directory}/*")]);
        candidates.push(vec![directory.to_owned(), format!("{directory}/*")]);
    }
    let whole = |patterns: &Vec<String>| patterns.iter().map(|pattern| block(set, access, pattern)).collect();
    candidates.iter().filter_map(whole).collect()
}

/// A rule for a pattern that gives what is needed, and keeps what holds there now: it is going to decide alone.
fn block(set: &PolicySet, access: &Access<'_>, pattern: &str) -> Option<String> {
    let path = pattern.strip_suffix('*').unwrap_or(pattern);
    let now = present(set, path, access);
    let is_same = now.as_ref().is_some_and(|(same, _)| same == pattern);
    let (kept, restrictions) = match now {
        Some((_, given)) if !is_same && !given.capabilities.contains(Capability::Deny) => {
            (given.capabilities, given.restrictions)
        }
        _ => (Capabilities::NONE, None),
    };
    write(pattern, needed(access).union(kept), restrictions.as_deref())
}

/// The rule that decides on a path now.
fn present(set: &PolicySet, path: &str, access: &Access<'_>) -> Option<(String, Given)> {
    set.matching(path).into_iter().find_map(|place| {
        let rule = &set.rules[place];
        let given = rule.given(access.now)?.into_owned();
        Some((rule.pattern.as_str().to_owned(), given))
    })
}

/// Whether the caller could with this policy too.
fn allows(set: &PolicySet, access: &Access<'_>, text: &str) -> bool {
    let Ok(policy) = Policy::parse(text) else {
        return false;
    };
    let mut parts: BTreeMap<Pattern, Vec<Part>> = BTreeMap::new();
    for rule in &set.rules {
        parts.insert(rule.pattern.clone(), rule.parts.clone());
    }
    let mut names = set.names.clone();
    names.push("grant".to_owned());
    for rule in policy.rules() {
        let Ok(pattern) = Pattern::parse(rule.pattern()) else {
            return false;
        };
        parts.entry(pattern).or_default().push(Part {
            policy: names.len() - 1,
            capabilities: rule.capabilities(),
            restrictions: rule.restrictions().cloned().map(Arc::new),
            expires: rule.expires(),
            is_absolute: false,
        });
    }
    PolicySet::build(names, parts, Vec::new()).decide(access).allowed
}

/// A block in HCL; nothing if it has a number that HCL does not have.
fn write(pattern: &str, capabilities: Capabilities, restrictions: Option<&Restrictions>) -> Option<String> {
    let names: Vec<String> = capabilities
        .iter()
        .map(|capability| quote(capability.as_str()))
        .collect();
    let mut lines = vec![format!("capabilities = [{}]", names.join(", "))];
    if let Some(restrictions) = restrictions {
        let parameters = &restrictions.parameters;
        for (key, named) in [
            ("allowed_parameters", &parameters.allowed),
            ("denied_parameters", &parameters.denied),
        ] {
            if !named.is_empty() {
                let entry = |(name, values): (&String, &Vec<Literal>)| {
                    let values: Option<Vec<String>> = values.iter().map(literal).collect();
                    Some(format!("{} = [{}]", quote(name), values?.join(", ")))
                };
                let entries: Option<Vec<String>> = named.iter().map(entry).collect();
                lines.push(format!("{key} = {{ {} }}", entries?.join(", ")));
            }
        }
        if !parameters.required.is_empty() {
            let names: Vec<String> = parameters.required.iter().map(|name| quote(name)).collect();
            lines.push(format!("required_parameters = [{}]", names.join(", ")));
        }
        for (key, number) in [
            ("min_wrapping_ttl", restrictions.min_wrapping_ttl_s),
            ("max_wrapping_ttl", restrictions.max_wrapping_ttl_s),
            ("pagination_limit", restrictions.pagination_limit),
        ] {
            lines.extend(number.map(|number| format!("{key} = {number}")));
        }
    }
    let inner: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    Some(format!("path {} {{\n{inner}}}\n", quote(pattern)))
}

fn literal(literal: &Literal) -> Option<String> {
    match literal {
        Literal::Text(text) => Some(quote(text)),
        Literal::Number(digits) => digits.parse::<u64>().ok().map(|number| number.to_string()),
        Literal::Bool(bool) => Some(bool.to_string()),
    }
}

/// A string that is nothing but itself, also where it looks like a template of HCL.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '$' | '%' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
