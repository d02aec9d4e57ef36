//! The policies of one caller, compiled to decide fast.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aumbry_types::{Capabilities, Capability};

use crate::access::{Access, Decision};
use crate::index::Index;
use crate::pattern::Pattern;
use crate::policy::Policy;

/// Policies that are decided together. See the crate's documentation for the semantics.
///
/// A decision costs the length of the path times the branches that `+` opens, and the rules that match; not all rules.
pub struct PolicySet {
    /// Whether everything is allowed.
    is_root: bool,
    /// Invariant: sorted; a rule's policies are places in it.
    names: Vec<String>,
    /// Invariant: from the most specific pattern to the least, none twice.
    rules: Vec<(Pattern, Merged)>,
    /// Invariant: of the patterns of `rules`.
    index: Index,
}

impl PolicySet {
    /// Allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self {
            is_root: true,
            names: vec![ROOT.to_owned()],
            rules: Vec::new(),
            index: Index::new(core::iter::empty()),
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
        let rules: Vec<_> = merged
            .into_iter()
            .rev()
            .map(|(pattern, of_pattern)| (pattern.clone(), of_pattern))
            .collect();
        Self {
            is_root: false,
            names: policies.iter().map(|(name, _)| (*name).to_owned()).collect(),
            index: Index::new(rules.iter().map(|(pattern, _)| pattern)),
            rules,
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
        let decided = if other.verdict > asked.verdict { other } else { asked };
        if access.capability == Capability::Scan && decided.verdict == Verdict::Allowed {
            let directory = access.path.strip_suffix('/').unwrap_or(access.path);
            if let Some(denied) = self.deny_below(directory, [asked, other]) {
                return self.explain(&denied, needed);
            }
        }
        self.explain(&decided, needed)
    }

    /// Decides on one spelling of a path.
    fn decide_form(&self, path: &str, needed: Capabilities) -> FormDecision {
        let matching = self.index.matching(path);
        let Some(most_specific) = matching.first().copied() else {
            return FormDecision {
                verdict: Verdict::Unmatched,
                place: None,
            };
        };
        let given = self.rules[most_specific].1.union;
        let (verdict, place) = if given.contains(Capability::Deny) {
            (Verdict::Denied, most_specific)
        } else if needed.iter().all(|c| given.contains(c)) {
            (Verdict::Allowed, most_specific)
        } else if let Some(deny) = matching.into_iter().find(|place| self.denies(*place)) {
            (Verdict::Denied, deny)
        } else {
            (Verdict::Lacking, most_specific)
        };
        FormDecision {
            verdict,
            place: Some(place),
        }
    }

    /// The most specific deny of anything in a tree, unless the rule that allows the whole tree is more specific still.
    fn deny_below(&self, directory: &str, forms: [FormDecision; 2]) -> Option<FormDecision> {
        // Only a prefix that matches the directory is sure to match all that is below.
        let allowing = forms
            .into_iter()
            .filter(|form| form.verdict == Verdict::Allowed)
            .filter_map(|form| form.place)
            .filter(|place| self.rules[*place].0.is_prefix())
            .min();
        let denying = self.index.matching_below(directory);
        let place = denying.into_iter().find(|place| self.denies(*place))?;
        let is_lifted = allowing.is_some_and(|allowing| allowing < place);
        (!is_lifted).then_some(FormDecision {
            verdict: Verdict::Denied,
            place: Some(place),
        })
    }

    fn denies(&self, place: usize) -> bool {
        self.rules[place].1.union.contains(Capability::Deny)
    }

    /// Names the policies that made the decision what it is.
    fn explain(&self, decided: &FormDecision, needed: Capabilities) -> Decision {
        let Some((pattern, merged)) = decided.place.map(|place| &self.rules[place]) else {
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
            rule: Some(pattern.as_str().to_owned()),
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
}

/// The decision on one spelling of a path.
#[derive(Clone, Copy)]
struct FormDecision {
    verdict: Verdict,
    /// The place of the deciding rule. Invariant: there, unless unmatched; the lower the more specific.
    place: Option<usize>,
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
