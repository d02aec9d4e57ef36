//! The policies of one caller, compiled to decide fast.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aumbry_types::{Capabilities, Capability, LogTime};

use crate::access::{Access, Decision, Limit};
use crate::entry::{Entry, Part};
use crate::identity::Identity;
use crate::index::Index;
use crate::judgement::{FormJudgement, Judgement, Verdict};
use crate::pattern::Pattern;
use crate::policy::Policy;
use crate::restrictions::Restrictions;
use crate::template::Resolved;

/// Policies that are decided together. See the crate's documentation for the semantics.
///
/// A decision costs the length of the path times the branches that `+` opens, and the rules that match; not all rules.
pub struct PolicySet {
    /// Whether everything is allowed.
    is_root: bool,
    /// Invariant: sorted; a rule's policies are places in it.
    pub(crate) names: Vec<String>,
    /// Invariant: from the most specific pattern to the least, none twice.
    pub(crate) rules: Vec<Entry>,
    /// Invariant: of the patterns of `rules`.
    index: Index,
    /// Templates without a value for this identity, which therefore give nothing; for explanations alone.
    pub(crate) unresolved: Vec<Unresolved>,
    /// Whether a deny without a value for this identity is among the rules.
    has_absolute: bool,
    restricts_parameters: bool,
}

/// A rule with a template that has no value.
#[derive(Clone)]
pub(crate) struct Unresolved {
    pub(crate) policy: usize,
    pub(crate) text: String,
    /// All that it could have been about.
    pub(crate) pattern: Pattern,
}

impl PolicySet {
    /// Allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self {
            is_root: true,
            ..Self::build(vec![ROOT.to_owned()], BTreeMap::new(), Vec::new())
        }
    }

    /// Merges policies, given with their names, for somebody who has no identity: rules with templates give nothing. Their order does not
    /// matter, and none at all allow nothing.
    ///
    /// The name `root` has no meaning here: who has it is for the caller to know.
    #[must_use]
    pub fn compile<'a>(policies: impl IntoIterator<Item = (&'a str, &'a Policy)>) -> Self {
        Self::compile_for(policies, &Identity::default())
    }

    /// As [`Self::compile`], for an identity. Without [`Policy::has_templates`] it does not matter for which.
    #[must_use]
    pub fn compile_for<'a>(policies: impl IntoIterator<Item = (&'a str, &'a Policy)>, identity: &Identity) -> Self {
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by_key(|(name, _)| *name);
        let mut parts: BTreeMap<Pattern, Vec<Part>> = BTreeMap::new();
        let mut unresolved = Vec::new();
        for (place, (_, policy)) in policies.iter().enumerate() {
            for rule in policy.rules() {
                let (pattern, is_absolute) = match rule.resolve(identity) {
                    Resolved::Pattern(pattern) => (pattern, false),
                    Resolved::Unknown(pattern) => {
                        unresolved.push(Unresolved {
                            policy: place,
                            text: rule.pattern().to_owned(),
                            pattern: pattern.clone(),
                        });
                        if !rule.denies() {
                            continue;
                        }
                        (pattern, true)
                    }
                };
                parts.entry(pattern).or_default().push(Part {
                    policy: place,
                    capabilities: rule.capabilities(),
                    restrictions: rule.restrictions().cloned().map(Arc::new),
                    expires: rule.expires(),
                    is_absolute,
                });
            }
        }
        let names = policies.iter().map(|(name, _)| (*name).to_owned()).collect();
        Self::build(names, parts, unresolved)
    }

    pub(crate) fn build(names: Vec<String>, parts: BTreeMap<Pattern, Vec<Part>>, unresolved: Vec<Unresolved>) -> Self {
        let rules: Vec<Entry> = parts
            .into_iter()
            .rev()
            .map(|(pattern, parts)| Entry::new(pattern, parts))
            .collect();
        let any = |holds: fn(&Part) -> bool| rules.iter().flat_map(|rule| &rule.parts).any(holds);
        Self {
            is_root: false,
            names,
            index: Index::new(rules.iter().map(|rule| &rule.pattern)),
            has_absolute: any(|part| part.is_absolute),
            restricts_parameters: any(|part| part.restrictions.as_ref().is_some_and(|r| !r.parameters.is_empty())),
            rules,
            unresolved,
        }
    }

    /// Whether a decision can depend on a request's parameters: otherwise nobody needs to gather them.
    #[must_use]
    pub const fn restricts_parameters(&self) -> bool {
        self.restricts_parameters
    }

    /// Whether everything is allowed.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.is_root
    }

    /// Whether an access is allowed, and which rule says so.
    #[must_use]
    pub fn decide(&self, access: &Access<'_>) -> Decision {
        if self.is_root {
            return Decision {
                allowed: true,
                policies: self.names.clone(),
                limit: asked_limit(access),
                ..Decision::REFUSED
            };
        }
        self.decision(&self.judge(access), access)
    }

    /// Decides, for [`Self::decide`] and for explanations.
    pub(crate) fn judge(&self, access: &Access<'_>) -> Judgement {
        let needed = needed(access);
        let asked = self.judge_form(access.path, needed, access);
        if !access.is_list() {
            return Judgement {
                decisive: asked,
                other: None,
            };
        }
        let other = self.judge_form(&other_form(access.path), needed, access);
        if access.capability == Capability::Scan && asked.verdict.max(other.verdict) == Verdict::Allowed {
            let directory = access.path.strip_suffix('/').unwrap_or(access.path);
            if let Some(denied) = self.deny_below(directory, [asked, other], access.now) {
                return Judgement {
                    decisive: denied,
                    other: None,
                };
            }
        }
        let (decisive, other) = if other.verdict > asked.verdict {
            (other, asked)
        } else {
            (asked, other)
        };
        Judgement {
            decisive,
            other: Some(other),
        }
    }

    /// The places of the rules that match one spelling of a path and hold, from the most specific.
    pub(crate) fn matching(&self, path: &str) -> Vec<usize> {
        self.index.matching(path)
    }

    /// Decides on one spelling of a path.
    fn judge_form(&self, path: &str, needed: Capabilities, access: &Access<'_>) -> FormJudgement {
        let matching = self.index.matching(path);
        let now = access.now;
        let mut living = matching.iter().copied();
        let Some((most_specific, given)) = living.find_map(|place| Some((place, self.rules[place].given(now)?))) else {
            return FormJudgement {
                verdict: Verdict::Unmatched,
                place: None,
                unmet: None,
            };
        };
        if self.has_absolute {
            let absolute = |place: &usize| self.rules[*place].given(now).is_some_and(|given| given.is_absolute);
            if let Some(place) = matching.iter().copied().find(absolute) {
                return FormJudgement::denied(place);
            }
        }
        let gives = given.capabilities;
        if gives.contains(Capability::Deny) {
            return FormJudgement::denied(most_specific);
        }
        if !needed.iter().all(|capability| gives.contains(capability)) {
            return match matching.into_iter().find(|place| self.denies(*place, now)) {
                Some(deny) => FormJudgement::denied(deny),
                None => FormJudgement::new(Verdict::Lacking, most_specific),
            };
        }
        let kept = given
            .restrictions
            .as_ref()
            .map_or(Ok(()), |restrictions| restrictions.check(access));
        match kept {
            Ok(()) => FormJudgement::new(Verdict::Allowed, most_specific),
            Err(unmet) => FormJudgement {
                unmet: Some(unmet),
                ..FormJudgement::new(Verdict::Restricted, most_specific)
            },
        }
    }

    /// The most specific deny of anything in a tree, unless the rule that allows the whole tree is more specific still.
    fn deny_below(&self, directory: &str, forms: [FormJudgement; 2], now: LogTime) -> Option<FormJudgement> {
        // Only a prefix that matches the directory is sure to match all that is below.
        let allowing = forms
            .into_iter()
            .filter(|form| form.verdict == Verdict::Allowed)
            .filter_map(|form| form.place)
            .filter(|place| self.rules[*place].pattern.is_prefix())
            .min();
        let denying = self.index.matching_below(directory);
        let is_absolute = |place: &usize| self.rules[*place].given(now).is_some_and(|given| given.is_absolute);
        if self.has_absolute
            && let Some(place) = denying.iter().copied().find(is_absolute)
        {
            return Some(FormJudgement::denied(place));
        }
        let place = denying.into_iter().find(|place| self.denies(*place, now))?;
        let is_lifted = allowing.is_some_and(|allowing| allowing < place);
        (!is_lifted).then_some(FormJudgement::denied(place))
    }

    fn denies(&self, place: usize, now: LogTime) -> bool {
        let given = self.rules[place].given(now);
        given.is_some_and(|given| given.capabilities.contains(Capability::Deny))
    }

    /// Names the policies that made the decision what it is, and what is left to enforce.
    pub(crate) fn decision(&self, judgement: &Judgement, access: &Access<'_>) -> Decision {
        let decided = judgement.decisive;
        let Some(rule) = decided.place.map(|place| &self.rules[place]) else {
            return Decision::REFUSED;
        };
        let needed = needed(access);
        let names: BTreeSet<&String> = rule
            .living(access.now)
            .filter(|part| match decided.verdict {
                Verdict::Denied => part.capabilities.contains(Capability::Deny),
                Verdict::Allowed => needed.iter().any(|c| part.capabilities.contains(c)),
                Verdict::Restricted => part.restrictions.is_some(),
                Verdict::Lacking | Verdict::Unmatched => true,
            })
            .filter_map(|part| self.names.get(part.policy))
            .collect();
        let mut decision = Decision {
            allowed: decided.verdict == Verdict::Allowed,
            policies: names.into_iter().cloned().collect(),
            rule: Some(rule.pattern.as_str().to_owned()),
            ..Decision::REFUSED
        };
        if decision.allowed {
            let restrictions = self.restrictions(judgement, access.now);
            decision.min_wrapping_ttl_s = restrictions.min_wrapping_ttl_s;
            decision.max_wrapping_ttl_s = restrictions.max_wrapping_ttl_s;
            if access.is_list() {
                decision.limit = asked_limit(access).or(restrictions.pagination_limit);
            }
        }
        decision
    }

    /// The restrictions of all that allowed: of a list, both spellings may have.
    fn restrictions(&self, judgement: &Judgement, now: LogTime) -> Restrictions {
        let forms = [Some(judgement.decisive), judgement.other];
        let mut all = Restrictions::default();
        for form in forms
            .into_iter()
            .flatten()
            .filter(|form| form.verdict == Verdict::Allowed)
        {
            let given = form.place.and_then(|place| self.rules[place].given(now));
            if let Some(restrictions) = given.as_ref().and_then(|given| given.restrictions.as_deref()) {
                all.merge_numbers(restrictions);
            }
        }
        all
    }
}

pub(crate) fn needed(access: &Access<'_>) -> Capabilities {
    let needed = Capabilities::NONE.with(access.capability);
    if access.sudo {
        needed.with(Capability::Sudo)
    } else {
        needed
    }
}

/// A path with a slash at its end, without it, and the other way round.
pub(crate) fn other_form(path: &str) -> Cow<'_, str> {
    match path.strip_suffix('/') {
        Some(without) => Cow::Borrowed(without),
        None => Cow::Owned(format!("{path}/")),
    }
}

fn asked_limit(access: &Access<'_>) -> Option<u64> {
    match access.limit {
        Limit::Count(count) if count > 0 && access.is_list() => Some(count),
        _ => None,
    }
}

/// The name under which root's decisions are explained.
const ROOT: &str = "root";
