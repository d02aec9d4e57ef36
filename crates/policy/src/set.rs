//! The policies of one caller, compiled to decide fast.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aumbry_types::{Capabilities, Capability};

use crate::access::{Access, Decision};
use crate::pattern::Pattern;
use crate::policy::Policy;

/// Policies that are decided together. See the crate's documentation for the semantics.
///
/// An access that is allowed costs one look-up and a walk to the first wildcard that matches; a refusal walks all.
pub struct PolicySet {
    /// Whether everything is allowed.
    is_root: bool,
    /// Invariant: sorted; a rule's policies are places in it.
    names: Vec<String>,
    exact: BTreeMap<String, Merged>,
    /// Invariant: from the most specific to the least, no pattern twice, none exact.
    wildcards: Vec<(Pattern, Merged)>,
}

impl PolicySet {
    /// Allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self {
            is_root: true,
            names: vec![ROOT.to_owned()],
            exact: BTreeMap::new(),
            wildcards: Vec::new(),
        }
    }

    /// Merges policies, given with their names. Their order does not matter, and none at all allow nothing.
    ///
    /// The name `root` has no meaning here: who has it is for the caller to know.
    #[must_use]
    pub fn compile<'a>(policies: impl IntoIterator<Item = (&'a str, &'a Policy)>) -> Self {
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by_key(|(name, _)| *name);
        let mut merged: BTreeMap<&Pattern, Merged> = BTreeMap::new();
        for (place, (_, policy)) in policies.iter().enumerate() {
            for rule in policy.rules() {
                let of_pattern = merged.entry(rule.pattern()).or_default();
                of_pattern.add(place, rule.capabilities());
            }
        }
        let mut exact = BTreeMap::new();
        let mut wildcards = Vec::new();
        for (pattern, of_pattern) in merged.into_iter().rev() {
            if pattern.is_exact() {
                exact.insert(pattern.as_str().to_owned(), of_pattern);
            } else {
                wildcards.push((pattern.clone(), of_pattern));
            }
        }
        Self {
            is_root: false,
            names: policies.iter().map(|(name, _)| (*name).to_owned()).collect(),
            exact,
            wildcards,
        }
    }

    /// Whether an access is allowed, and which rule says so.
    #[must_use]
    pub fn decide(&self, access: &Access<'_>) -> Decision {
        if self.is_root {
            return Decision {
                allowed: true,
                policies: self.names.clone(),
                rule: None,
            };
        }
        let needed = Capabilities::NONE.with(access.capability);
        let needed = if access.sudo {
            needed.with(Capability::Sudo)
        } else {
            needed
        };
        let asked = self.decide_form(access.path, needed);
        if !matches!(access.capability, Capability::List | Capability::Scan) {
            return self.explain(&asked, needed);
        }
        let other_form = match access.path.strip_suffix('/') {
            Some(without) => Cow::Borrowed(without),
            None => Cow::Owned(format!("{}/", access.path)),
        };
        let other = self.decide_form(&other_form, needed);
        if other.verdict > asked.verdict {
            self.explain(&other, needed)
        } else {
            self.explain(&asked, needed)
        }
    }

    /// Decides on one spelling of a path.
    fn decide_form(&self, path: &str, needed: Capabilities) -> FormDecision<'_> {
        let mut matching = self.matching(path);
        let Some(most_specific) = matching.next() else {
            return FormDecision {
                verdict: Verdict::Unmatched,
                rule: None,
            };
        };
        let (verdict, rule) = if most_specific.1.denies() {
            (Verdict::Denied, most_specific)
        } else if needed.iter().all(|c| most_specific.1.union.contains(c)) {
            (Verdict::Allowed, most_specific)
        } else if let Some(deny) = matching.find(|(_, merged)| merged.denies()) {
            (Verdict::Denied, deny)
        } else {
            (Verdict::Lacking, most_specific)
        };
        FormDecision {
            verdict,
            rule: Some(rule),
        }
    }

    /// What matches a path, from the most specific pattern.
    fn matching(&self, path: &str) -> impl Iterator<Item = (&str, &Merged)> {
        // An exact pattern has no wildcard, so it stands before all that have one.
        let exact = self.exact.get_key_value(path);
        let wildcards = self.wildcards.iter();
        exact.map(|(text, merged)| (text.as_str(), merged)).into_iter().chain(
            wildcards
                .filter(move |(pattern, _)| pattern.matches(path))
                .map(|(pattern, merged)| (pattern.as_str(), merged)),
        )
    }

    /// Names the policies that made the decision what it is.
    fn explain(&self, decided: &FormDecision<'_>, needed: Capabilities) -> Decision {
        let Some((text, merged)) = decided.rule else {
            return Decision {
                allowed: false,
                policies: Vec::new(),
                rule: None,
            };
        };
        let names: BTreeSet<&String> = merged
            .by_policy
            .iter()
            .filter(|(_, given)| match decided.verdict {
                Verdict::Denied => given.contains(Capability::Deny),
                Verdict::Allowed => needed.iter().any(|c| given.contains(c)),
                Verdict::Lacking | Verdict::Unmatched => true,
            })
            .filter_map(|(place, _)| self.names.get(*place))
            .collect();
        Decision {
            allowed: decided.verdict == Verdict::Allowed,
            policies: names.into_iter().cloned().collect(),
            rule: Some(text.to_owned()),
        }
    }
}

/// What all policies say about one pattern.
#[derive(Default)]
struct Merged {
    union: Capabilities,
    by_policy: Vec<(usize, Capabilities)>,
}

impl Merged {
    fn add(&mut self, place: usize, capabilities: Capabilities) {
        self.union = self.union.union(capabilities);
        self.by_policy.push((place, capabilities));
    }

    fn denies(&self) -> bool {
        self.union.contains(Capability::Deny)
    }
}

/// The decision on one spelling of a path.
struct FormDecision<'a> {
    verdict: Verdict,
    /// Invariant: there, unless unmatched.
    rule: Option<(&'a str, &'a Merged)>,
}

/// In the order in which one spelling of a listed path overrules the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// No rule matches.
    Unmatched,
    /// The most specific rule does not give what is needed.
    Lacking,
    /// It does.
    Allowed,
    /// A rule refuses.
    Denied,
}

/// The name under which root's decisions are explained.
const ROOT: &str = "root";
