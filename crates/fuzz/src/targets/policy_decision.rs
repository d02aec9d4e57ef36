//! The decision of policies, against a slow evaluator that was written from the semantics alone and shares no code with the fast one. The
//! policies reach it as text, in HCL and in JSON, with `path` and with `secret` blocks.

use aumbry_policy::{Access, Policy, PolicySet};
use aumbry_types::{Capability, LogTime};

use crate::{Choices, Random, Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "policy_decision",
    seeds,
    run,
    bombs: Vec::new,
    input_bytes_max: 400,
    smoke: 20_000,
    ..Target::USUAL
};

/// Choices that come to policies which allow something.
fn seeds() -> Vec<Vec<u8>> {
    let mut random = Random::new(1);
    let mut bytes = || (0..240).map(|_| random.number() as u8).collect::<Vec<u8>>();
    (0..32)
        .map(|_| bytes())
        .filter(|input| run(input) == Verdict::Accepted)
        .collect()
}

fn run(input: &[u8]) -> Verdict {
    let mut choices = Choices::new(input);
    let policies: Vec<Vec<Block>> = (0..1 + choices.below(4)).map(|_| made(&mut choices)).collect();
    let rules: Vec<Rule> = policies.iter().flatten().flat_map(Block::rules).collect();
    let parsed: Vec<Policy> = policies.iter().map(|policy| parsed(policy)).collect();
    let names: Vec<String> = (0..parsed.len()).map(|n| format!("p{n}")).collect();
    let set = PolicySet::compile(names.iter().map(String::as_str).zip(&parsed));
    let reversed = PolicySet::compile(names.iter().map(String::as_str).zip(&parsed).rev());
    let mut allowed = false;
    for _ in 0..8 {
        let path = path(&mut choices, &rules);
        let (capability, sudo) = (choices.pick(&ASKED), choices.below(8) == 1);
        let plain = Access::new(&path, capability, LogTime(0));
        let access = if sudo { plain.protected() } else { plain };
        let fast = set.decide(&access);
        let slow = Reference(&rules).decide(&path, capability.as_str(), sudo);
        assert_eq!(
            fast.allowed,
            slow,
            "{capability} {path:?} sudo {sudo}: {}",
            policies
                .iter()
                .map(|policy| hcl(policy))
                .collect::<Vec<_>>()
                .join(" --- ")
        );
        assert!(reversed.decide(&access) == fast, "the order of policies matters");
        if fast.allowed {
            let rule = fast.rule.expect("what is allowed has a rule");
            assert!(rules.iter().any(|known| known.pattern == rule) && !fast.policies.is_empty());
        }
        allowed |= slow;
    }
    Verdict::of(allowed)
}

/// One block of a policy.
struct Block {
    is_secret: bool,
    pattern: String,
    names: Vec<&'static str>,
}

/// What is said of a pattern.
struct Rule {
    pattern: String,
    names: Vec<&'static str>,
}

impl Block {
    /// The rules that the block stands for: the table of the documentation.
    fn rules(&self) -> Vec<Rule> {
        if !self.is_secret {
            let (pattern, names) = (self.pattern.clone(), self.names.clone());
            return vec![Rule { pattern, names }];
        }
        let (mount, below) = self.pattern.split_once('/').expect("it was made with a mount");
        let on = |route: &str, names: &[(&str, &'static str)]| Rule {
            pattern: format!("{mount}/{route}/{below}"),
            names: names
                .iter()
                .filter(|(said, _)| self.names.contains(said))
                .map(|(_, given)| *given)
                .collect(),
        };
        let deny = ("deny", "deny");
        let rules = [
            on(
                "data",
                &[
                    deny,
                    ("read", "read"),
                    ("create", "create"),
                    ("update", "update"),
                    ("patch", "patch"),
                    ("delete", "delete"),
                ],
            ),
            on(
                "metadata",
                &[deny, ("list", "list"), ("scan", "scan"), ("delete", "delete")],
            ),
            on("delete", &[deny, ("delete", "update")]),
            on("undelete", &[deny, ("delete", "update")]),
            on("destroy", &[deny, ("delete", "update")]),
            on("subkeys", &[deny]),
        ];
        rules.into_iter().filter(|rule| !rule.names.is_empty()).collect()
    }
}

fn made(choices: &mut Choices<'_>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..choices.below(6) {
        let is_secret = choices.below(4) == 0;
        let mut pattern = pattern(choices);
        if is_secret {
            pattern = format!("a/{pattern}");
        }
        let all: &[&'static str] = match is_secret {
            true => &["read", "create", "update", "patch", "delete", "list", "scan"],
            false => &["read", "update", "delete", "list", "scan", "sudo"],
        };
        let chosen = choices.byte();
        let mut names: Vec<&str> = (0..)
            .zip(all)
            .filter(|(bit, _)| chosen >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        if names.is_empty() || choices.below(6) == 0 {
            names.push("deny");
        }
        if blocks
            .iter()
            .all(|block| (block.is_secret, &block.pattern) != (is_secret, &pattern))
        {
            blocks.push(Block {
                is_secret,
                pattern,
                names,
            });
        }
    }
    blocks
}

fn pattern(choices: &mut Choices<'_>) -> String {
    let segments: Vec<&str> = (0..1 + choices.below(4))
        .map(|_| choices.pick(&["a", "b", "ab", "data", "metadata", "+"]))
        .collect();
    let end = choices.pick(&["", "", "/", "/*", "*"]);
    format!("{}{end}", segments.join("/")).replace("+*", "*")
}

/// Most are such that a rule is about them, or nearly so.
fn path(choices: &mut Choices<'_>, rules: &[Rule]) -> String {
    let part =
        |choices: &mut Choices<'_>| choices.pick(&["a", "b", "ab", "aba", "data", "metadata", "destroy", "subkeys"]);
    let near = choices.below(rules.len() + 2);
    let Some(rule) = rules.get(near) else {
        let segments: Vec<&str> = (0..1 + choices.below(5)).map(|_| part(choices)).collect();
        return format!("{}{}", segments.join("/"), choices.pick(&["", "/"]));
    };
    let plain = rule.pattern.strip_suffix('*').unwrap_or(&rule.pattern);
    let segments = plain
        .split('/')
        .map(|segment| if segment == "+" { part(choices) } else { segment });
    let mut path = segments.collect::<Vec<&str>>().join("/");
    match choices.below(6) {
        0 => path.push('/'),
        1 => path = path.strip_suffix('/').unwrap_or(&path).to_owned(),
        2 => path = format!("{path}/{}", part(choices)),
        3 => path.push_str(part(choices)),
        _ => {}
    }
    // No caller asks for a path that is empty or begins with a slash.
    let path = path.replace("//", "/");
    let below = path.trim_start_matches('/');
    if below.is_empty() {
        "a".to_owned()
    } else {
        below.to_owned()
    }
}

/// Both languages say the same.
fn parsed(policy: &[Block]) -> Policy {
    let read = |text: &str| Policy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (hcl, json) = (read(&hcl(policy)), read(&json(policy)));
    let rules = |policy: &Policy| {
        let rules = policy.rules().iter();
        let mut rules: Vec<_> = rules
            .map(|rule| format!("{} {:?}", rule.pattern(), rule.capabilities()))
            .collect();
        rules.sort();
        rules
    };
    assert_eq!(rules(&hcl), rules(&json));
    hcl
}

fn hcl(policy: &[Block]) -> String {
    let block = |block: &Block| {
        let word = if block.is_secret { "secret" } else { "path" };
        format!("{word} \"{}\" {{ capabilities = {:?} }}\n", block.pattern, block.names)
    };
    policy.iter().map(block).collect()
}

fn json(policy: &[Block]) -> String {
    let kind = |is_secret: bool| {
        let of_kind = policy.iter().filter(|block| block.is_secret == is_secret);
        let blocks: Vec<String> = of_kind
            .map(|block| format!("\"{}\": {{\"capabilities\": {:?}}}", block.pattern, block.names))
            .collect();
        blocks.join(", ")
    };
    format!("{{\"path\": {{{}}}, \"secret\": {{{}}}}}", kind(false), kind(true))
}

const ASKED: [Capability; 6] = [
    Capability::Read,
    Capability::Update,
    Capability::Delete,
    Capability::List,
    Capability::Scan,
    Capability::Create,
];

/// All rules, looked at one after the other.
struct Reference<'a>(&'a [Rule]);

/// What one spelling of a path comes to.
struct Form<'a> {
    is_denied: bool,
    allowing: Option<&'a str>,
}

impl<'a> Reference<'a> {
    fn decide(&self, path: &str, capability: &str, sudo: bool) -> bool {
        let mut needed = vec![capability];
        if sudo {
            needed.push("sudo");
        }
        let asked = self.form(path, &needed);
        if capability != "list" && capability != "scan" {
            return asked.allowing.is_some();
        }
        let directory = path.strip_suffix('/').unwrap_or(path);
        let with_slash = format!("{directory}/");
        let forms = [self.form(directory, &needed), self.form(&with_slash, &needed)];
        if forms.iter().any(|form| form.is_denied) || forms.iter().all(|form| form.allowing.is_none()) {
            return false;
        }
        if capability == "list" {
            return true;
        }
        let trees: Vec<&str> = forms
            .iter()
            .filter_map(|form| form.allowing)
            .filter(|allowing| allowing.ends_with('*'))
            .collect();
        let denies = self
            .0
            .iter()
            .filter(|rule| rule.names.contains(&"deny") && may_match_below(&rule.pattern, &with_slash));
        denies
            .into_iter()
            .all(|deny| trees.iter().any(|tree| beats(tree, &deny.pattern)))
    }

    fn form(&self, path: &str, needed: &[&str]) -> Form<'a> {
        let matching: Vec<&Rule> = self.0.iter().filter(|rule| matches(&rule.pattern, path)).collect();
        let best = matching
            .iter()
            .find(|rule| matching.iter().all(|other| !beats(&other.pattern, &rule.pattern)));
        let gives = |pattern: &str, name: &str| {
            matching
                .iter()
                .any(|rule| rule.pattern == pattern && rule.names.contains(&name))
        };
        let allowing = best
            .map(|rule| rule.pattern.as_str())
            .filter(|pattern| !gives(pattern, "deny") && needed.iter().all(|name| gives(pattern, name)));
        let mut denies = matching.iter().filter(|rule| rule.names.contains(&"deny"));
        let is_denied = denies.any(|deny| allowing.is_none_or(|allowing| !beats(allowing, &deny.pattern)));
        let allowing = allowing.filter(|_| !is_denied);
        Form { is_denied, allowing }
    }
}

/// Segment by segment, the last of a prefix by its beginning.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, is_prefix) = pattern
        .strip_suffix('*')
        .map_or((pattern, false), |plain| (plain, true));
    let (wanted, found): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let same = |(wanted, found): (&&str, &&str)| wanted == found || (*wanted == "+" && !found.is_empty());
    if !is_prefix {
        return wanted.len() == found.len() && wanted.iter().zip(&found).all(same);
    }
    let (begin, whole) = wanted.split_last().expect("a split text has a part");
    found.len() > whole.len() && whole.iter().zip(&found).all(same) && found[whole.len()].starts_with(begin)
}

/// Whether a pattern matches anything that begins with this directory, which ends with a slash.
fn may_match_below(pattern: &str, directory: &str) -> bool {
    let (plain, is_prefix) = pattern
        .strip_suffix('*')
        .map_or((pattern, false), |plain| (plain, true));
    let (wanted, found): (Vec<&str>, Vec<&str>) = (plain.split('/').collect(), directory.split('/').collect());
    let segments = found.len() - 1;
    for (at, found) in found[..segments].iter().enumerate() {
        let is_last = at + 1 == wanted.len();
        let fits = match wanted.get(at) {
            None => false,
            Some(begin) if is_last && is_prefix => return found.starts_with(begin),
            Some(part) => part == found || (*part == "+" && !found.is_empty()),
        };
        if !fits {
            return false;
        }
    }
    wanted.len() > segments
}

/// Whether one pattern is strictly more specific: the first difference of the five counts.
fn beats(one: &str, other: &str) -> bool {
    let order = |text: &str| {
        let first = text.find(['+', '*']).unwrap_or(10_000);
        let plus = 1_000 - text.matches('+').count();
        (first, usize::from(!text.ends_with('*')), plus, text.len())
    };
    (order(one), one) > (order(other), other)
}
