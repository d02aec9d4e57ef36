//! What rules do to each other.

use std::collections::BTreeMap;

use aumbry_types::{Capabilities, Capability};

use super::{Finding, Looked, Severity};

pub(super) fn look(rules: &[Looked<'_>], findings: &mut Vec<Finding>) {
    let mut by_pattern: BTreeMap<&str, Vec<&Looked<'_>>> = BTreeMap::new();
    for rule in rules {
        by_pattern.entry(rule.rule.pattern()).or_default().push(rule);
    }
    for same in by_pattern.values() {
        for (at, rule) in same.iter().enumerate() {
            let others = same.iter().enumerate().filter(|(other, _)| *other != at);
            shadowed(rule, at, others.map(|(place, other)| (place, *other)), findings);
        }
    }
    let prefixes: BTreeMap<&str, Capabilities> = by_pattern
        .iter()
        .filter_map(|(pattern, same)| Some((pattern.strip_suffix('*')?, united(same))))
        .filter(|(begin, gives)| !begin.contains('+') && !gives.contains(Capability::Deny))
        .collect();
    for (pattern, same) in &by_pattern {
        narrowing(pattern, same, &prefixes, findings);
    }
}

/// What others say of the same pattern.
fn shadowed<'a>(
    looked: &Looked<'_>,
    at: usize,
    others: impl Iterator<Item = (usize, &'a Looked<'a>)>,
    findings: &mut Vec<Finding>,
) {
    let rule = looked.rule;
    if rule.denies() {
        return;
    }
    for (place, other) in others {
        let name = other.name;
        let missing: Vec<Capability> = rule
            .capabilities()
            .iter()
            .filter(|capability| !other.rule.capabilities().contains(*capability))
            .collect();
        let finding = if other.rule.denies() {
            let text =
                format!("the policy {name} denies the same pattern, so this gives nothing: remove one of the two");
            looked.finding(Severity::Warning, "shadowed", text)
        } else if other.rule.restrictions().is_some() && other.rule.restrictions() != rule.restrictions() {
            let text = format!(
                "the policy {name} restricts the same pattern, and that holds for this rule too: say the same in both, or use another pattern"
            );
            looked.finding(Severity::Warning, "restricted-elsewhere", text)
        } else if missing.is_empty()
            && rule.restrictions().is_none()
            && other.rule.expires().is_none()
            && (other.rule.capabilities() != rule.capabilities() || place < at)
        {
            let text = format!(
                "the policy {name} gives the same for this pattern: remove it here, if both are always given together"
            );
            looked.finding(Severity::Note, "redundant", text)
        } else {
            continue;
        };
        findings.push(finding);
    }
}

/// A rule decides alone, so what a wider one gives does not hold there.
fn narrowing(
    pattern: &str,
    same: &[&Looked<'_>],
    prefixes: &BTreeMap<&str, Capabilities>,
    findings: &mut Vec<Finding>,
) {
    let gives = united(same);
    if gives.contains(Capability::Deny) {
        return;
    }
    let own = pattern.strip_suffix('*').unwrap_or(pattern);
    let is_wider = |begin: &str| pattern.starts_with(begin) && (begin != own || own == pattern);
    let wider = prefixes.iter().filter(|(begin, _)| is_wider(begin));
    let Some((wide, wide_gives)) = wider.max_by_key(|(begin, _)| begin.len()) else {
        return;
    };
    let lost: Vec<&str> = wide_gives
        .iter()
        .filter(|capability| !gives.contains(*capability))
        .map(Capability::as_str)
        .collect();
    if let (Some(first), false) = (same.first(), lost.is_empty()) {
        let text = format!(
            "it decides alone on its paths, so {} of \"{wide}*\" does not hold there: add it if it should",
            lost.join(", ")
        );
        findings.push(first.finding(Severity::Note, "narrows", text));
    }
}

fn united(same: &[&Looked<'_>]) -> Capabilities {
    same.iter()
        .fold(Capabilities::NONE, |all, looked| all.union(looked.rule.capabilities()))
}
