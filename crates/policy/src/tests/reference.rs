//! Decisions against a slow evaluator that was written from the semantics alone and shares no code with the fast one.

use aumbry_types::{Capability, LogTime};
use proptest::prelude::*;

use super::policy;
use crate::{Access, Limit, Parameter, ParameterValue, PolicySet};

/// What is said of a pattern.
#[derive(Clone, Debug)]
struct Said {
    pattern: String,
    names: Vec<&'static str>,
    asks: Asks,
    expires: Option<u64>,
}

/// Names of parameters with values.
type Named = Vec<(&'static str, Vec<&'static str>)>;

/// What it asks of a request.
#[derive(Clone, Debug, Default)]
struct Asks {
    allowed: Named,
    denied: Named,
    required: Vec<&'static str>,
    wrapping: (Option<u64>, Option<u64>),
    limit: Option<u64>,
}

/// What a request says.
#[derive(Clone, Debug)]
struct Facts {
    parameters: Option<Vec<(&'static str, &'static str)>>,
    wrap: Option<u64>,
    limit: Option<u64>,
    now_s: u64,
}

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
fn decide_form<'a>(rules: &[&'a Said], path: &str, needed: &[&str]) -> (bool, Option<&'a str>) {
    let matching: Vec<&Said> = rules
        .iter()
        .copied()
        .filter(|rule| matches(rule.pattern.as_bytes(), path.as_bytes()))
        .collect();
    let given = |pattern: &str, name: &str| {
        matching
            .iter()
            .any(|rule| rule.pattern == pattern && rule.names.contains(&name))
    };
    let deciding = matching
        .iter()
        .find(|rule| !matching.iter().any(|other| beats(&other.pattern, &rule.pattern)))
        .map(|rule| rule.pattern.as_str());
    let allowing = deciding.filter(|pattern| needed.iter().all(|name| given(pattern, name)) && !given(pattern, "deny"));
    let denied = matching
        .iter()
        .any(|rule| rule.names.contains(&"deny") && !allowing.is_some_and(|allow| beats(allow, &rule.pattern)));
    // The text lives as long as the rules.
    let allowing = allowing.filter(|_| !denied);
    let kept = rules.iter().find(|rule| Some(rule.pattern.as_str()) == allowing);
    (denied, kept.map(|rule| rule.pattern.as_str()))
}

/// Whether a request keeps to all that is asked for one pattern.
fn is_kept(rules: &[&Said], pattern: &str, capability: &str, facts: &Facts) -> bool {
    let asks: Vec<&Asks> = rules
        .iter()
        .filter(|rule| rule.pattern == pattern)
        .map(|rule| &rule.asks)
        .collect();
    let min = asks.iter().filter_map(|asks| asks.wrapping.0).min();
    let max = asks.iter().filter_map(|asks| asks.wrapping.1).min();
    let is_wrapped_well = match facts.wrap {
        None => min.is_none() && max.is_none(),
        Some(ttl) => {
            min.is_none_or(|min| ttl >= min) && max.is_none_or(|max| ttl <= max && min.is_none_or(|min| min <= max))
        }
    };
    let required: Vec<&str> = asks.iter().flat_map(|asks| asks.required.iter().copied()).collect();
    let is_good = |(name, value): &(&str, &str)| {
        // The values that each rule says of a name.
        let of = |list: fn(&Asks) -> &Named, wanted: &str| -> Vec<Vec<&str>> {
            let named = asks.iter().flat_map(|asks| list(asks).iter());
            let wanted = named.filter(|(name, _)| *name == wanted);
            wanted.map(|(_, values)| values.clone()).collect()
        };
        let denied = of(|asks| &asks.denied, name);
        let allowed = of(|asks| &asks.allowed, name);
        let hits = |lists: &[Vec<&str>]| lists.iter().any(|list| list.is_empty() || list.contains(value));
        let has_allowed = asks.iter().any(|asks| !asks.allowed.is_empty());
        let allows_others = !of(|asks| &asks.allowed, "*").is_empty();
        let passes = if allowed.is_empty() {
            !has_allowed || allows_others
        } else {
            hits(&allowed)
        };
        passes && !hits(&denied) && of(|asks| &asks.denied, "*").is_empty()
    };
    let is_any = asks
        .iter()
        .any(|asks| !(asks.allowed.is_empty() && asks.denied.is_empty() && asks.required.is_empty()));
    let is_right = match (capability, &facts.parameters) {
        ("update", None) => !is_any,
        ("update", Some(given)) => {
            required.iter().all(|name| given.iter().any(|(is, _)| is == name)) && given.iter().all(is_good)
        }
        ("read", given) => given.iter().flatten().all(is_good),
        ("list" | "scan", _) => {
            let most = asks.iter().filter_map(|asks| asks.limit).min();
            !(facts.limit.is_none() && required.contains(&"limit"))
                && facts.limit.is_none_or(|limit| most.is_none_or(|most| limit <= most))
        }
        _ => true,
    };
    is_wrapped_well && is_right
}

fn decide(policies: &[Vec<Said>], path: &str, capability: &str, sudo: bool, facts: &Facts) -> bool {
    let rules: Vec<&Said> = policies
        .iter()
        .flatten()
        .filter(|rule| rule.expires.is_none_or(|expires| facts.now_s <= expires))
        .collect();
    let needed: &[&str] = if sudo { &[capability, "sudo"] } else { &[capability] };
    let (denied, allowed) = decide_form(&rules, path, needed);
    let is_kept = |pattern: &str| is_kept(&rules, pattern, capability, facts);
    if capability != "list" && capability != "scan" {
        return allowed.is_some_and(is_kept);
    }
    let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
    let (other_denied, other_allowed) = decide_form(&rules, &other, needed);
    let allowing: Vec<&str> = [allowed, other_allowed].into_iter().flatten().collect();
    if denied || other_denied || allowing.is_empty() || !allowing.iter().all(|pattern| is_kept(pattern)) {
        return false;
    }
    let begin = format!("{}/", path.strip_suffix('/').unwrap_or(path));
    let covers = |deny: &str| allowing.iter().any(|allow| allow.ends_with('*') && beats(allow, deny));
    let mut denies = rules.iter().filter(|rule| rule.names.contains(&"deny"));
    let is_below = |rule: &Said| matches_below(rule.pattern.as_bytes(), begin.as_bytes());
    capability == "list" || denies.all(|rule| !is_below(rule) || covers(&rule.pattern))
}

fn patterns() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abb", "+"]), 1..4);
    let end = prop::sample::select(vec!["", "", "/", "/*", "*"]);
    (segments, end).prop_map(|(segments, end)| {
        let text = format!("{}{end}", segments.join("/"));
        text.replace("+*", "*")
    })
}

fn parameters() -> impl Strategy<Value = Named> {
    let values = prop::sample::subsequence(vec!["x", "y", "z"], 0..=2);
    let named = prop::collection::btree_map(prop::sample::select(vec!["p", "q", "r"]), values, 0..3);
    (named, prop::bool::weighted(0.2)).prop_map(|(named, others)| {
        let mut named: Vec<_> = named.into_iter().collect();
        named.extend(others.then_some(("*", Vec::new())));
        named
    })
}

fn asks() -> impl Strategy<Value = Asks> {
    let required = prop::sample::subsequence(vec!["p", "q", "limit"], 0..=2);
    let number = || prop::option::weighted(0.2, 1..4_u64);
    let asks = (parameters(), parameters(), required, number(), number(), number());
    let asks = asks.prop_map(|(allowed, denied, required, min, max, limit)| Asks {
        allowed,
        denied,
        required,
        wrapping: (min, max.map(|max| max.max(min.unwrap_or(0)))),
        limit,
    });
    prop_oneof![3 => Just(Asks::default()), 1 => asks]
}

fn policies() -> impl Strategy<Value = Vec<Vec<Said>>> {
    let names = prop::sample::subsequence(vec!["read", "update", "list", "scan", "sudo"], 1..=4);
    let names = prop_oneof![4 => names, 1 => Just(vec!["deny"]), 1 => Just(vec!["read", "list", "deny"])];
    let said = (names, asks(), prop::option::weighted(0.2, 0..4_u64));
    let rules = prop::collection::btree_map(patterns(), said, 0..6);
    let rules = rules.prop_map(|rules| {
        let said = |(pattern, (names, asks, expires))| Said {
            pattern,
            names,
            asks,
            expires,
        };
        rules.into_iter().map(said).collect()
    });
    prop::collection::vec(rules, 0..4)
}

fn facts() -> impl Strategy<Value = Facts> {
    let value = prop::sample::select(vec!["x", "y", "z"]);
    let named = prop::collection::btree_map(prop::sample::select(vec!["p", "q", "r", "s"]), value, 0..3);
    let named = named.prop_map(|named| named.into_iter().collect());
    let number = || prop::option::weighted(0.4, 1..5_u64);
    (prop::option::weighted(0.8, named), number(), number(), 0..4_u64).prop_map(|(parameters, wrap, limit, now_s)| {
        Facts {
            parameters,
            wrap,
            limit,
            now_s,
        }
    })
}

impl Said {
    fn hcl(&self) -> String {
        let named = |key: &str, list: &[(&str, Vec<&str>)]| {
            let entries: Vec<String> = list
                .iter()
                .map(|(name, values)| format!("\"{name}\" = {values:?}"))
                .collect();
            if list.is_empty() {
                String::new()
            } else {
                format!("{key} = {{ {} }}\n", entries.join(", "))
            }
        };
        let number = |key: &str, number: Option<u64>| number.map_or_else(String::new, |n| format!("{key} = {n}\n"));
        let (asks, (min, max)) = (&self.asks, self.asks.wrapping);
        [
            format!("path \"{}\" {{ capabilities = {:?}\n", self.pattern, self.names),
            named("allowed_parameters", &asks.allowed),
            named("denied_parameters", &asks.denied),
            format!("required_parameters = {:?}\n", asks.required),
            number("min_wrapping_ttl", min),
            number("max_wrapping_ttl", max),
            number("pagination_limit", asks.limit),
            number("expiration", self.expires),
            "}\n".to_owned(),
        ]
        .concat()
    }
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
        asked in prop::collection::vec((paths(), facts()), 1..8),
        sudo in prop::bool::ANY,
    ) {
        let parsed: Vec<_> = policies
            .iter()
            .enumerate()
            .map(|(at, rules)| (format!("p{at}"), policy(&rules.iter().map(Said::hcl).collect::<String>())))
            .collect();
        let set = PolicySet::compile(parsed.iter().map(|(name, policy)| (name.as_str(), policy)));
        for (path, facts) in &asked {
            let parameter = |(name, value): &(&'static str, &'static str)| Parameter {
                name,
                value: ParameterValue::Text(value),
            };
            let parameters: Vec<_> = facts.parameters.iter().flatten().map(parameter).collect();
            for capability in [Capability::Read, Capability::Update, Capability::List, Capability::Scan] {
                let mut access = Access::new(path, capability, LogTime(facts.now_s * 1_000));
                access.sudo = sudo;
                access.wrap_ttl_s = facts.wrap;
                access.limit = facts.limit.map_or(Limit::Unsaid, Limit::Count);
                access.parameters = facts.parameters.as_ref().map(|_| parameters.as_slice());
                let fast = set.decide(&access);
                let slow = decide(&policies, path, capability.as_str(), sudo, facts);
                prop_assert_eq!(fast.allowed, slow, "{} {} {:?} {:?}", capability, path, facts, policies);
            }
        }
    }
}
