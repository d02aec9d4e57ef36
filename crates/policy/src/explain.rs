//! Why an access is allowed or not, for the operator. Whoever was refused learns nothing of it.

use core::fmt;

use aumbry_types::{Capabilities, Capability, LogTime};
use serde_json::{Value, json};

use crate::access::{Access, Decision};
use crate::grant;
use crate::index::Index;
use crate::judgement::{FormJudgement, Verdict};
use crate::moment;
use crate::parameters::Broken;
use crate::restrictions::{Restrictions, Unmet};
use crate::set::{PolicySet, needed, other_form};

/// A decision with its reasons. `Display` tells it in plain words.
///
/// It repeats paths, patterns and names of parameters, and no value of a parameter.
#[derive(Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`PolicySet::decide`] says.
    pub decision: Decision,
    /// Every rule that matches, the most specific first. For a list, rules for both spellings of the path.
    pub matches: Vec<Match>,
    /// Rules that have templates without a usable value for this identity, and could have been about this path.
    pub unresolved: Vec<UnresolvedRule>,
    /// Why, in one word for programs: `root`, `allowed`, `no-rule`, `lacking`, `denied`, `denied-below`, `parameters`, `wrapping` or `limit`.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub because: String,
    /// A policy in HCL that would allow it if the caller had it too, with what the caller has there already. Nothing if it is allowed, and
    /// where no rule would help: then the request, or the rule that refuses, is to be changed.
    pub grant: Option<String>,
    asked: String,
}

/// A rule that matches.
#[derive(Clone, PartialEq, Eq)]
pub struct Match {
    /// Its pattern.
    pub pattern: String,
    /// The policies that it comes from.
    pub policies: Vec<String>,
    /// What it gives; nothing if it is over.
    pub capabilities: Capabilities,
    /// Whether this rule decided.
    pub decides: bool,
    /// Whether it asks more of a request than path and capability.
    pub is_restricted: bool,
    /// If all of it is over: since when.
    pub over_since: Option<LogTime>,
}

/// A rule that means nobody knows what.
#[derive(Clone, PartialEq, Eq)]
pub struct UnresolvedRule {
    /// As it was written.
    pub pattern: String,
    /// The policy that it comes from.
    pub policy: String,
}

impl PolicySet {
    /// Decides as [`Self::decide`], and says why. It takes its time, and is for operators.
    #[must_use]
    pub fn explain(&self, access: &Access<'_>) -> Explanation {
        let decision = self.decide(access);
        let asked = format!("{} {}", access.capability, access.path);
        if self.is_root() {
            return Explanation {
                decision,
                matches: Vec::new(),
                unresolved: Vec::new(),
                reason: "root",
                because: "root may do everything".to_owned(),
                grant: None,
                asked,
            };
        }
        let decisive = self.judge(access).decisive;
        let forms = self.forms(access);
        let is_below = decisive
            .place
            .is_some_and(|place| !forms.iter().any(|form| self.matching(form).contains(&place)));
        let (reason, because) = self.because(&decisive, access, is_below);
        Explanation {
            matches: self.matches(&forms, decisive.place, access.now),
            unresolved: self.unresolved(&forms),
            grant: (!decision.allowed)
                .then(|| grant::find(self, access, &decisive))
                .flatten(),
            decision,
            reason,
            because,
            asked,
        }
    }

    /// The spellings of the path that count.
    fn forms(&self, access: &Access<'_>) -> Vec<String> {
        let mut forms = vec![access.path.to_owned()];
        if access.is_list() {
            forms.push(other_form(access.path).into_owned());
        }
        forms
    }

    fn matches(&self, forms: &[String], decisive: Option<usize>, now: LogTime) -> Vec<Match> {
        let mut places: Vec<usize> = forms
            .iter()
            .flat_map(|form| self.matching(form))
            .chain(decisive)
            .collect();
        places.sort_unstable();
        places.dedup();
        let show = |place: usize| {
            let rule = &self.rules[place];
            let given = rule.given(now);
            let mut policies: Vec<String> = rule.parts.iter().map(|part| self.names[part.policy].clone()).collect();
            policies.dedup();
            Match {
                pattern: rule.pattern.as_str().to_owned(),
                policies,
                capabilities: given.as_ref().map_or(Capabilities::NONE, |given| given.capabilities),
                decides: decisive == Some(place),
                is_restricted: given.as_ref().is_some_and(|given| given.restrictions.is_some()),
                over_since: match given {
                    Some(_) => None,
                    None => rule.parts.iter().filter_map(|part| part.expires).max(),
                },
            }
        };
        places.into_iter().map(show).collect()
    }

    fn unresolved(&self, forms: &[String]) -> Vec<UnresolvedRule> {
        let is_about = |index: &Index| forms.iter().any(|form| !index.matching(form).is_empty());
        self.unresolved
            .iter()
            .filter(|rule| is_about(&Index::new(core::iter::once(&rule.pattern))))
            .map(|rule| UnresolvedRule {
                pattern: rule.text.clone(),
                policy: self.names[rule.policy].clone(),
            })
            .collect()
    }

    fn because(&self, decided: &FormJudgement, access: &Access<'_>, is_below: bool) -> (&'static str, String) {
        let Some(rule) = decided.place.map(|place| &self.rules[place]) else {
            return ("no-rule", "no rule matches the path".to_owned());
        };
        let pattern = rule.pattern.as_str();
        let given = rule.given(access.now).unwrap_or_default();
        match decided.verdict {
            Verdict::Unmatched => ("no-rule", "no rule matches the path".to_owned()),
            Verdict::Allowed => (
                "allowed",
                format!("the rule \"{pattern}\" gives {}", list(needed(access))),
            ),
            Verdict::Lacking => {
                let missing = needed(access)
                    .iter()
                    .filter(|c| !given.capabilities.contains(*c))
                    .collect();
                let gives = list(given.capabilities);
                let text = format!(
                    "the most specific rule, \"{pattern}\", decides alone and gives {gives}, not {}",
                    list(missing)
                );
                ("lacking", text)
            }
            Verdict::Denied if is_below => {
                let text = format!("the rule \"{pattern}\" denies part of the tree, and a scan shows all of it");
                ("denied-below", text)
            }
            Verdict::Denied if rule.parts.iter().any(|part| part.is_absolute) => {
                let text = format!(
                    "a deny has a template without a value for this identity, so it denies all of \"{pattern}\""
                );
                ("denied", text)
            }
            Verdict::Denied => (
                "denied",
                format!("the rule \"{pattern}\" denies, and no more specific rule gives what is asked"),
            ),
            Verdict::Restricted => {
                let unknown = Restrictions::default();
                let restrictions = given.restrictions.as_deref().unwrap_or(&unknown);
                let (reason, text) = match decided.unmet {
                    Some(Unmet::Parameters(broken)) => ("parameters", parameters(broken, restrictions, access)),
                    Some(Unmet::Limit | Unmet::NoLimit) => ("limit", limit(restrictions)),
                    _ => ("wrapping", wrapping(restrictions)),
                };
                (
                    reason,
                    format!("the rule \"{pattern}\" gives {}, but {text}", list(needed(access))),
                )
            }
        }
    }
}

fn parameters(broken: Broken, restrictions: &Restrictions, access: &Access<'_>) -> String {
    let name = |at: usize| {
        let parameter = access.parameters.and_then(|parameters| parameters.get(at));
        parameter.map_or("?", |parameter| parameter.name)
    };
    match broken {
        Broken::Unknown => "it restricts parameters, and those of the request are not known".to_owned(),
        Broken::Missing(at) => {
            let name = restrictions
                .parameters
                .required
                .iter()
                .nth(at)
                .map_or("?", String::as_str);
            format!("the parameter {name:?} is required and missing")
        }
        Broken::Denied(at) => format!("it denies the parameter {:?}, or this value of it", name(at)),
        Broken::NotAllowed(at) => format!("the parameter {:?} is not among those allowed", name(at)),
        Broken::Value(at) => format!("this value of the parameter {:?} is not among those allowed", name(at)),
    }
}

fn wrapping(restrictions: &Restrictions) -> String {
    let (min, max) = (restrictions.min_wrapping_ttl_s, restrictions.max_wrapping_ttl_s);
    let least = min.map_or_else(String::new, |min| format!(" at least {min} s"));
    let most = max.map_or_else(String::new, |max| format!(" at most {max} s"));
    let nothing = if min > max && max.is_some() {
        "; policies that share the pattern leave nothing between"
    } else {
        ""
    };
    format!("the response must be wrapped for{least}{most}{nothing}")
}

fn limit(restrictions: &Restrictions) -> String {
    match restrictions.pagination_limit {
        Some(most) => format!("the list must be asked for in pages of at most {most} names"),
        None => "the list must be asked for with a limit".to_owned(),
    }
}

/// Capabilities by name.
fn list(capabilities: Capabilities) -> String {
    let names: Vec<_> = capabilities.iter().map(Capability::as_str).collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.decision.allowed { "allowed" } else { "refused" };
        writeln!(f, "{}: {verdict}, as {}", self.asked, self.because)?;
        if !self.matches.is_empty() {
            writeln!(f, "Rules that match, the most specific first:")?;
        }
        for rule in &self.matches {
            let policies = rule.policies.join(", ");
            write!(f, "  \"{}\" of {policies}: ", rule.pattern)?;
            match rule.over_since {
                Some(since) => write!(f, "over since {}", moment::show(since))?,
                None => write!(f, "{}", list(rule.capabilities))?,
            }
            let notes = [
                (rule.is_restricted, ", with restrictions"),
                (rule.decides, "  <- decides"),
            ];
            let notes: String = notes
                .iter()
                .filter(|(holds, _)| *holds)
                .map(|(_, note)| *note)
                .collect();
            writeln!(f, "{notes}")?;
        }
        for rule in &self.unresolved {
            writeln!(
                f,
                "  \"{}\" of {}: a template has no usable value for this identity",
                rule.pattern, rule.policy
            )?;
        }
        match &self.grant {
            Some(grant) => write!(f, "This would allow it:\n{grant}"),
            None if self.decision.allowed => Ok(()),
            None => match self.reason {
                "parameters" | "wrapping" | "limit" => write!(f, "The request is to be changed, or the rule."),
                "denied" | "denied-below" => {
                    write!(f, "No further rule allows it: the deny is to be changed or removed.")
                }
                _ => write!(f, "No rule can be written for this path alone: use a prefix."),
            },
        }
    }
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explanation")
            .field("decision", &self.decision)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl Explanation {
    /// All of it for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let names = |capabilities: Capabilities| capabilities.iter().map(Capability::as_str).collect::<Vec<_>>();
        let matches = self.matches.iter().map(|rule| {
            json!({
                "pattern": rule.pattern,
                "policies": rule.policies,
                "capabilities": names(rule.capabilities),
                "decides": rule.decides,
                "restricted": rule.is_restricted,
                "over_since": rule.over_since.map(moment::show),
            })
        });
        let unresolved = self.unresolved.iter();
        json!({
            "allowed": self.decision.allowed,
            "rule": self.decision.rule,
            "policies": self.decision.policies,
            "reason": self.reason,
            "because": self.because,
            "matches": matches.collect::<Vec<_>>(),
            "unresolved": unresolved.map(|rule| json!({ "pattern": rule.pattern, "policy": rule.policy })).collect::<Vec<_>>(),
            "grant": self.grant,
        })
    }
}
