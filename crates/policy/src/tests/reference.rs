//! Decisions against a slow evaluator that was written from the semantics alone and shares no code with the fast one.

use aumbry_types::Capability;
use proptest::prelude::*;

use super::policy;
use crate::{Access, PolicySet};

type Rules = Vec<(String, Vec<&'static str>)>;

/// Whether a pattern matches, by trying every way to read it.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        (b"*", _) => true,
        ([], []) => true,
        ([b'+', pattern @ ..], path) => (1..=path.len())
            .filter(|end| !path[..*end].contains(&b'/'))
            .any(|end| path[end..].first().is_none_or(|c| *c == b'/') && matches(pattern, &path[end..])),
        ([p, pattern @ ..], [c, path @ ..]) => p == c && matches(pattern, path),
        _ => false,
    }
}

/// Whether a pattern matches anything that begins with these bytes, by trying every way to read it.
fn matches_below(pattern: &[u8], begin: &[u8]) -> bool {
    match (pattern, begin) {
        (_, []) | (b"*", _) => true,
        ([b'+', pattern @ ..], begin) => (1..=begin.len())
            .filter(|end| !begin[..*end].contains(&b'/'))
            .any(|end| matches_below(pattern, &begin[end..])),
        ([p, pattern @ ..], [c, begin @ ..]) => p == c && matches_below(pattern, begin),
        ([], _) => false,
    }
}

/// Whether the first pattern is strictly more specific: the five rules, one after the other.
fn beats(one: &str, other: &str) -> bool {
    let wildcard = |text: &str| text.chars().position(|c| c == '+' || c == '*').unwrap_or(1_000);
    let plus_count = |text: &str| text.matches('+').count();
    if wildcard(one) != wildcard(other) {
        return wildcard(one) > wildcard(other);
    }
    if one.ends_with('*') != other.ends_with('*') {
        return other.ends_with('*');
    }
    if plus_count(one) != plus_count(other) {
        return plus_count(one) < plus_count(other);
    }
    if one.len() != other.len() {
        return one.len() > other.len();
    }
    one > other
}

/// Whether a path is refused by a deny, and the pattern that allows it.
fn decide_form<'a>(policies: &'a [Rules], path: &str, needed: &[&str]) -> (bool, Option<&'a str>) {
    let matching: Vec<_> = policies
        .iter()
        .flatten()
        .filter(|(pattern, _)| matches(pattern.as_bytes(), path.as_bytes()))
        .collect();
    let given = |pattern: &str, name: &str| matching.iter().any(|(p, names)| p == pattern && names.contains(&name));
    let deciding = matching
        .iter()
        .find(|(pattern, _)| !matching.iter().any(|(other, _)| beats(other, pattern)));
    let allowing =
        deciding.filter(|(pattern, _)| needed.iter().all(|name| given(pattern, name)) && !given(pattern, "deny"));
    let denied = matching
        .iter()
        .any(|(pattern, names)| names.contains(&"deny") && !allowing.is_some_and(|(allow, _)| beats(allow, pattern)));
    (
        denied,
        allowing.filter(|_| !denied).map(|(pattern, _)| pattern.as_str()),
    )
}

fn decide(policies: &[Rules], path: &str, capability: &str, sudo: bool) -> bool {
    let needed: &[&str] = if sudo { &[capability, "sudo"] } else { &[capability] };
    let (denied, allowed) = decide_form(policies, path, needed);
    if capability != "list" && capability != "scan" {
        return allowed.is_some();
    }
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let (other_denied, other_allowed) = decide_form(policies, &other, needed);
    if denied || other_denied || (allowed.is_none() && other_allowed.is_none()) {
        return false;
    }
    let begin = format!("{}/", path.strip_suffix('/').unwrap_or(path));
    let covers = |deny: &str| {
        let mut allowing = [allowed, other_allowed].into_iter().flatten();
        allowing.any(|allow| allow.ends_with('*') && beats(allow, deny))
    };
    let mut denies = policies.iter().flatten().filter(|(_, names)| names.contains(&"deny"));
    capability == "list" || denies.all(|(deny, _)| !matches_below(deny.as_bytes(), begin.as_bytes()) || covers(deny))
}

fn patterns() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abb", "+"]), 1..4);
    let end = prop::sample::select(vec!["", "", "/", "/*", "*"]);
    (segments, end).prop_map(|(segments, end)| {
        let text = format!("{}{end}", segments.join("/"));
        text.replace("+*", "*")
    })
}

fn policies() -> impl Strategy<Value = Vec<Rules>> {
    let names = prop::sample::subsequence(vec!["read", "update", "list", "scan", "sudo"], 1..=4);
    let names = prop_oneof![4 => names, 1 => Just(vec!["deny"]), 1 => Just(vec!["read", "list", "deny"])];
    let rules = prop::collection::btree_map(patterns(), names, 0..6);
    prop::collection::vec(rules.prop_map(|rules| rules.into_iter().collect()), 0..4)
}

fn paths() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abb", "aba"]), 1..5);
    (segments, prop::bool::ANY)
        .prop_map(|(segments, slash)| format!("{}{}", segments.join("/"), if slash { "/" } else { "" }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn abuse_002_decide_equals_the_reference(
        policies in policies(),
        paths in prop::collection::vec(paths(), 1..8),
        sudo in prop::bool::ANY,
    ) {
        let parsed: Vec<_> = policies
            .iter()
            .enumerate()
            .map(|(at, rules)| {
                let text: String = rules
                    .iter()
                    .map(|(pattern, names)| format!("path \"{pattern}\" {{ capabilities = {names:?} }}\n"))
                    .collect();
                (format!("p{at}"), policy(&text))
            })
            .collect();
        let set = PolicySet::compile(parsed.iter().map(|(name, policy)| (name.as_str(), policy)));
        for path in &paths {
            for capability in [Capability::Read, Capability::Update, Capability::List, Capability::Scan] {
                let fast = set.decide(&Access { path, capability, sudo });
                let slow = decide(&policies, path, capability.as_str(), sudo);
                prop_assert_eq!(fast.allowed, slow, "{} {} {:?}", capability, path, policies);
            }
        }
    }
}
