//! What generated passwords are like, in the language of Vault's password policies:
//!
//! ```text
//! length = 20
//! rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
//! rule "charset" { charset = "0123456789" min-chars = 2 }
//! ```
//!
//! The characters of a password are drawn from those of all rules together, each with the same probability, and a password that misses a rule
//! is thrown away whole: so every password that keeps the rules is as probable as any other, which repairing one would not give.

use core::fmt;

use aumbry_types::{Entropy, SecretBytes};

use crate::document::{Attribute, Value};
use crate::error::{ParseError, Reason};
use crate::hcl::{self, Top};
use crate::scan::{self, Language};

/// What passwords are like.
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<Rule>,
    /// Those of all rules, in order, each once.
    chars: Vec<char>,
}

/// So many of these.
struct Rule {
    /// In order, each once.
    chars: Vec<char>,
    at_least: usize,
}

/// Why a text is no policy of passwords. It repeats nothing of the text.
#[derive(Debug, PartialEq, Eq)]
pub struct PasswordPolicyError {
    line: Option<usize>,
    what: What,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum What {
    #[error(
        "this is no HCL of a password policy, which has length = 20 and blocks such as rule \"charset\" {{ charset = \"abc\" min-chars = 1 }}"
    )]
    Syntax,
    #[error("{0}")]
    Scanned(Reason),
    #[error("unknown key; known are length and rule, and in a rule charset and min-chars")]
    UnknownKey,
    #[error("unknown rule; known is \"charset\"")]
    UnknownRule,
    #[error("a key appears twice; keep one")]
    Twice,
    #[error("length is 4 to 100 characters")]
    Length,
    #[error("a rule has a charset of 1 to 1,000 characters that can be seen")]
    Charset,
    #[error("min-chars is a whole number from 0 to the length")]
    AtLeast,
    #[error("there are no rules; add rule \"charset\" {{ charset = \"abc\" }}")]
    NoRules,
    #[error("there are more than 100 rules; a password has at most 100 characters")]
    TooManyRules,
    #[error("hardly any password of this length keeps the rules; make it longer, or ask for fewer min-chars")]
    TooStrict,
}

impl fmt::Display for PasswordPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}", self.what)
    }
}

impl core::error::Error for PasswordPolicyError {}

impl What {
    fn at(self, line: Option<usize>) -> PasswordPolicyError {
        PasswordPolicyError { line, what: self }
    }
}

impl From<ParseError> for PasswordPolicyError {
    fn from(error: ParseError) -> Self {
        let what = match error.reason {
            // These speak of policies of access.
            Reason::Syntax | Reason::Label => What::Syntax,
            other => What::Scanned(other),
        };
        what.at(error.line)
    }
}

impl PasswordPolicy {
    /// Reads a policy, in HCL.
    ///
    /// # Errors
    /// [`PasswordPolicyError`]
    pub fn parse(text: &str) -> Result<Self, PasswordPolicyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(What::Scanned(Reason::TooLong).at(None));
        }
        scan::check(text, Language::HclOfPasswords)?;
        let mut length = None;
        let mut rules = Vec::new();
        for Top { label, attribute } in hcl::read_tops(text)? {
            let line = attribute.line;
            match (attribute.key.as_str(), label.as_deref()) {
                ("length", None) if length.is_some() => return Err(What::Twice.at(line)),
                ("length", None) => length = Some(number(&attribute, What::Length)?),
                ("rule", Some("charset")) => rules.push((line, rule(attribute.value, line)?)),
                ("rule", _) => return Err(What::UnknownRule.at(line)),
                _ => return Err(What::UnknownKey.at(line)),
            }
            if rules.len() > RULES_MAX {
                return Err(What::TooManyRules.at(line));
            }
        }
        let length = length.filter(|length| LENGTHS.contains(length));
        let length = length.ok_or_else(|| What::Length.at(None))?;
        if let Some((line, _)) = rules.iter().find(|(_, rule)| rule.at_least > length) {
            return Err(What::AtLeast.at(*line));
        }
        let rules: Vec<Rule> = rules.into_iter().map(|(_, rule)| rule).collect();
        let chars = in_order(rules.iter().flat_map(|rule| rule.chars.iter().copied()));
        if chars.is_empty() {
            return Err(What::NoRules.at(None));
        }
        Ok(Self { length, rules, chars })
    }

    /// Whether passwords are found soon enough: several, each within a fraction of the tries that are made for one later.
    ///
    /// # Errors
    /// [`PasswordPolicyError`]
    pub fn check(&self, entropy: &dyn Entropy) -> Result<(), PasswordPolicyError> {
        let mut found = (0..PROOFS).map(|_| self.generate_within(TRIES_OF_PROOF, entropy));
        if found.all(|found| found.is_some()) {
            return Ok(());
        }
        Err(What::TooStrict.at(None))
    }

    /// Makes a password. `None` if none that keeps the rules was found in a thousand tries, which is next to impossible for a policy that was
    /// checked.
    #[must_use]
    pub fn generate(&self, entropy: &dyn Entropy) -> Option<SecretBytes> {
        self.generate_within(TRIES_MAX, entropy)
    }

    fn generate_within(&self, tries: usize, entropy: &dyn Entropy) -> Option<SecretBytes> {
        let mut source = Source::new(entropy);
        (0..tries).find_map(|_| {
            // With room for all of it: one that grows would leave copies behind.
            let mut text = String::with_capacity(self.length * 4);
            text.extend((0..self.length).map(|_| self.chars[source.below(self.chars.len())]));
            // What is thrown away is wiped too.
            let text = SecretBytes::from(text);
            self.is_kept_by(text.expose_str().unwrap_or_default()).then_some(text)
        })
    }

    fn is_kept_by(&self, text: &str) -> bool {
        self.rules.iter().all(|rule| {
            let is_of_rule = |c: &char| rule.chars.binary_search(c).is_ok();
            rule.at_least == 0 || text.chars().filter(is_of_rule).count() >= rule.at_least
        })
    }
}

fn rule(value: Value, line: Option<usize>) -> Result<Rule, PasswordPolicyError> {
    let Value::Object(attributes) = value else {
        return Err(What::Syntax.at(line));
    };
    let (mut chars, mut at_least) = (None, None);
    for attribute in attributes {
        let line = attribute.line.or(line);
        match attribute.key.as_str() {
            "charset" if chars.is_some() => return Err(What::Twice.at(line)),
            "min-chars" if at_least.is_some() => return Err(What::Twice.at(line)),
            "charset" => {
                let Value::Text(text) = &attribute.value else {
                    return Err(What::Charset.at(line));
                };
                let found = in_order(text.chars());
                if !(1..=CHARS_MAX).contains(&found.len()) || found.iter().any(|c| c.is_control()) {
                    return Err(What::Charset.at(line));
                }
                chars = Some(found);
            }
            "min-chars" => at_least = Some(number(&attribute, What::AtLeast)?),
            _ => return Err(What::UnknownKey.at(line)),
        }
    }
    Ok(Rule {
        chars: chars.ok_or_else(|| What::Charset.at(line))?,
        at_least: at_least.unwrap_or(0),
    })
}

fn number(attribute: &Attribute, what: What) -> Result<usize, PasswordPolicyError> {
    let found = match &attribute.value {
        Value::Number(digits) => digits.parse().ok(),
        _ => None,
    };
    found.ok_or_else(|| what.at(attribute.line))
}

fn in_order(chars: impl Iterator<Item = char>) -> Vec<char> {
    let mut chars: Vec<char> = chars.collect();
    chars.sort_unstable();
    chars.dedup();
    chars
}

/// Numbers from random bytes, which are had many at once.
struct Source<'a> {
    entropy: &'a dyn Entropy,
    bytes: SecretBytes,
    used: usize,
}

impl<'a> Source<'a> {
    fn new(entropy: &'a dyn Entropy) -> Self {
        Self {
            entropy,
            bytes: SecretBytes::default(),
            used: 0,
        }
    }

    fn next(&mut self) -> u32 {
        if let Some(number) = self.bytes.expose()[self.used..].first_chunk() {
            self.used += 4;
            return u32::from_le_bytes(*number);
        }
        let mut bytes = vec![0; SOURCE_BYTES];
        self.entropy.fill(&mut bytes);
        let first = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        self.bytes = SecretBytes::new(bytes);
        self.used = 4;
        first
    }

    /// A number below this, each with the same probability: what would make the first ones more probable is drawn again.
    fn below(&mut self, count: usize) -> usize {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let end = u32::MAX - u32::MAX % count;
        loop {
            let number = self.next();
            if number < end {
                return usize::try_from(number % count).unwrap_or(0);
            }
        }
    }
}

/// As Vault has it.
const LENGTHS: core::ops::RangeInclusive<usize> = 4..=100;
/// More could ask for more than a password has.
const RULES_MAX: usize = 100;
/// More than any keyboard has.
const CHARS_MAX: usize = 1_000;
/// A hundred rules fit many times over.
const TEXT_BYTES_MAX: usize = 65_536;
/// Some milliseconds for the worst policy that can be stored: others wait meanwhile.
const TRIES_MAX: usize = 1_000;
/// A policy of which one password in a hundred keeps the rules passes now and then, and one in fifty mostly: a thousand tries find one then.
const TRIES_OF_PROOF: usize = 200;
const PROOFS: usize = 5;
/// Enough for two long passwords.
const SOURCE_BYTES: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use aumbry_types::SimulatedEntropy;

    use super::*;

    fn parse(text: &str) -> Result<PasswordPolicy, String> {
        PasswordPolicy::parse(text).map_err(|error| error.to_string())
    }

    fn generate(text: &str, seed: u64) -> String {
        let policy = parse(text).expect("is one");
        let entropy = SimulatedEntropy::new(seed);
        policy.check(&entropy).expect("is not too strict");
        let password = policy.generate(&entropy).expect("is found");
        password.expose_str().expect("is text").to_owned()
    }

    const USUAL: &str = "# a comment\nlength = 20\nrule \"charset\" {\n  charset = \"abcdefghijklmnopqrstuvwxyz\"\n  min-chars = 1\n}\n\
        rule \"charset\" { charset = \"ABCDEFGHIJKLMNOPQRSTUVWXYZ\" min-chars = 1 }\n\
        rule \"charset\" { charset = \"0123456789\" min-chars = 3 }\nrule \"charset\" { charset = \"!@#$%^&*\" }\n";

    #[test]
    fn passwords_keep_the_rules() {
        for seed in 0..200 {
            let password = generate(USUAL, seed);
            let count = |is: fn(char) -> bool| password.chars().filter(|c| is(*c)).count();
            assert_eq!(password.chars().count(), 20);
            assert!(count(|c| c.is_ascii_lowercase()) >= 1 && count(|c| c.is_ascii_uppercase()) >= 1);
            assert!(count(|c| c.is_ascii_digit()) >= 3, "seed {seed}");
            assert!(
                password
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!@#$%^&*".contains(c))
            );
        }
        assert_ne!(generate(USUAL, 1), generate(USUAL, 2));
        // Characters of more than one byte, and the shortest that can keep four rules.
        assert_eq!(
            generate("length = 100 rule \"charset\" { charset = \"\u{e4}\u{20ac}\" }", 1)
                .chars()
                .count(),
            100
        );
        let short = USUAL
            .replace("length = 20", "length = 4")
            .replace("min-chars = 3", "min-chars = 1");
        assert_eq!(generate(&short, 3).len(), 4);
    }

    /// Of a policy with few passwords each is found about as often. Repairing one that misses a rule would favour some.
    #[test]
    fn every_password_is_as_probable_as_any_other() {
        let policy = parse(
            "length = 4 rule \"charset\" { charset = \"aab\" } rule \"charset\" { charset = \"c\" min-chars = 1 }",
        );
        let policy = policy.expect("is one");
        let entropy = SimulatedEntropy::new(7);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..65_000 {
            let password = policy.generate(&entropy).expect("is found");
            *counts
                .entry(password.expose_str().expect("is text").to_owned())
                .or_default() += 1;
        }
        // 81 words of three letters, without the 16 that have no `c`: a thousand times each.
        assert_eq!(counts.len(), 65);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let rule = "rule \"charset\" { charset = \"ab\" }";
        for (text, why) in [
            ("", "length is"),
            (rule, "length is"),
            ("length = 20", "no rules"),
            (&*format!("length = 3 {rule}"), "length is"),
            (&*format!("length = 101 {rule}"), "length is"),
            (&*format!("length = \"20\" {rule}"), "length is"),
            (&*format!("length = -5 {rule}"), "length is"),
            (&*format!("length = 20 length = 20 {rule}"), "twice"),
            (&*format!("length = 20 size = 3 {rule}"), "unknown key"),
            ("length = 20 rule \"words\" { charset = \"ab\" }", "unknown rule"),
            ("length = 20 rule { charset = \"ab\" }", "unknown rule"),
            ("length = 20 rule \"charset\" \"b\" { charset = \"ab\" }", "no HCL"),
            ("length = 20 rule \"charset\" {}", "charset of 1"),
            ("length = 20 rule \"charset\" { charset = \"\" }", "charset of 1"),
            ("length = 20 rule \"charset\" { charset = \"a\\n\" }", "charset of 1"),
            ("length = 20 rule \"charset\" { charset = [\"a\"] }", "charset of 1"),
            (
                "length = 20 rule \"charset\" { charset = \"a\" charset = \"b\" }",
                "twice",
            ),
            (
                "length = 20 rule \"charset\" { charset = \"a\" min-chars = 21 }",
                "min-chars is",
            ),
            (
                "length = 20 rule \"charset\" { charset = \"a\" min_chars = 1 }",
                "unknown key",
            ),
            ("length = 20 rule \"charset\" { charset = \"${a}\" }", "quoted strings"),
            ("length = 20\n}", "line 2"),
            (&*format!("length = 20 {}", rule.repeat(101)), "100 rules"),
        ] {
            let error = parse(text).err().unwrap_or_default();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse(&format!("length = 20 {}", rule.repeat(100))).is_ok());
    }

    #[test]
    fn what_hardly_any_password_keeps_is_too_strict() {
        let text = format!(
            "length = 20 rule \"charset\" {{ charset = \"a\" min-chars = 15 }} {}",
            "rule \"charset\" { charset = \"0123456789\" }"
        );
        let policy = parse(&text).expect("is one");
        let entropy = SimulatedEntropy::new(1);
        assert!(policy.check(&entropy).is_err());
        assert!(policy.generate(&entropy).is_none(), "it ends");
    }

    #[test]
    fn policies_of_access_have_no_dashes() {
        assert!(crate::Policy::parse("path \"a\" { min-chars = 1 }").is_err());
    }
}
