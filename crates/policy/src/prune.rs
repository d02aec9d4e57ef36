//! A policy without the rules that nobody uses, as a change of its text.
//!
//! What it guarantees: the text that is proposed means what the one before means, without those rules and nothing else; it is read again to make sure. What it
//! does not do: know which rules are used, or change anything.

use core::fmt::Write as _;
use core::ops::Range;
use std::collections::BTreeSet;

use crate::{ParseError, Policy, Rule};

/// What could go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The rules that are not used: the pattern of each, and the line on which its block begins, if that is known.
    pub rules: Vec<(String, Option<usize>)>,
    /// The policy without their blocks. None if the text has none that can go as a whole: a block of several rules of which one is used stays, and a policy in
    /// JSON is changed by hand.
    pub text: Option<String>,
    /// The same as a unified diff without context, as `patch` takes it.
    pub diff: Option<String>,
}

/// Looks for rules that are not used.
///
/// # Errors
/// [`ParseError`] if the text is no policy.
pub fn prune(name: &str, text: &str, is_used: impl Fn(&Rule) -> bool) -> Result<Pruned, ParseError> {
    let policy = Policy::parse(text)?;
    let unused: Vec<bool> = policy.rules().iter().map(|rule| !is_used(rule)).collect();
    let rules_and_lines = || policy.rules_and_lines().zip(&unused);
    let kept_lines: BTreeSet<usize> = rules_and_lines()
        .filter(|(_, is_unused)| !**is_unused)
        .filter_map(|((_, line), _)| line)
        .collect();
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    let mut rules = Vec::new();
    for ((rule, line), _) in rules_and_lines().filter(|(_, is_unused)| **is_unused) {
        rules.push((rule.pattern().to_owned(), line));
        gone.extend(line.filter(|line| !kept_lines.contains(line)));
    }
    let ranges: Option<Vec<Range<usize>>> = gone.iter().map(|line| block(text, *line)).collect();
    let Some(ranges) = ranges.filter(|ranges| !ranges.is_empty()) else {
        return Ok(Pruned {
            rules,
            text: None,
            diff: None,
        });
    };
    let without = without(text, &ranges);
    let expected: Vec<&Rule> = policy
        .rules_and_lines()
        .filter(|(_, line)| line.is_none_or(|line| !gone.contains(&line)))
        .map(|(rule, _)| rule)
        .collect();
    let is_same = Policy::parse(&without).is_ok_and(|policy| policy.rules().iter().eq(expected));
    Ok(Pruned {
        rules,
        diff: is_same.then(|| diff(name, text, &ranges)),
        text: is_same.then_some(without),
    })
}

/// The lines of the block that begins on a line, from 0, the last not with them.
fn block(text: &str, line: usize) -> Option<Range<usize>> {
    let first = line.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(first).map(str::len).sum();
    let (mut depth, mut is_text, mut is_comment, mut lines) = (0_usize, false, false, 0);
    let mut characters = text.get(start..)?.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => {
                lines += 1;
                is_comment = false;
            }
            _ if is_comment => {}
            '\\' if is_text => drop(characters.next()),
            '"' => is_text = !is_text,
            _ if is_text => {}
            '#' => is_comment = true,
            '/' if characters.peek() == Some(&'/') => is_comment = true,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(first..first + lines + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn without(text: &str, ranges: &[Range<usize>]) -> String {
    let is_kept = |line: usize| !ranges.iter().any(|range| range.contains(&line));
    let lines = text.split_inclusive('\n').enumerate();
    lines.filter(|(line, _)| is_kept(*line)).map(|(_, text)| text).collect()
}

fn diff(name: &str, text: &str, ranges: &[Range<usize>]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut diff = format!("--- {name}\n+++ {name}\n");
    let mut before = 0;
    for range in ranges {
        // Where nothing is put, the line before is named.
        let at = range.start - before;
        // Writing to a string cannot fail.
        let _ = writeln!(diff, "@@ -{},{} +{at},0 @@", range.start + 1, range.len());
        for line in lines.get(range.clone()).unwrap_or_default() {
            let _ = writeln!(diff, "-{line}");
        }
        before += range.len();
    }
    diff
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# what ours may\npath \"secret/a\" {\n  # { of course\n  capabilities = [\"read\"]\n}\n\npath \"secret/b{\" { capabilities = [\"read\"] }\npath \"secret/c\" { capabilities = [\"list\"] }\n";

    #[test]
    fn what_is_not_used_is_taken_out_and_nothing_else() {
        let pruned = prune("app", TEXT, |rule| rule.pattern() == "secret/b{").unwrap();
        assert_eq!(
            pruned.rules,
            [("secret/a".to_owned(), Some(2)), ("secret/c".to_owned(), Some(8))]
        );
        assert_eq!(
            pruned.text.unwrap(),
            "# what ours may\n\npath \"secret/b{\" { capabilities = [\"read\"] }\n"
        );
        assert_eq!(
            pruned.diff.unwrap(),
            "--- app\n+++ app\n@@ -2,4 +1,0 @@\n-path \"secret/a\" {\n-  # { of course\n-  capabilities = [\"read\"]\n-}\n@@ -8,1 +3,0 @@\n-path \"secret/c\" { capabilities = [\"list\"] }\n"
        );
    }

    #[test]
    fn what_cannot_go_as_a_whole_is_only_named() {
        let one_line = "path \"a\" { capabilities = [\"read\"] } path \"b\" { capabilities = [\"read\"] }";
        let json = r#"{"path": {"a": {"capabilities": ["read"]}, "b": {"capabilities": ["read"]}}}"#;
        for text in [one_line, json] {
            let pruned = prune("app", text, |rule| rule.pattern() == "b").unwrap();
            assert_eq!(pruned.rules.len(), 1, "{text}");
            assert_eq!((pruned.text, pruned.diff), (None, None), "{text}");
        }
        let all = prune("app", TEXT, |_| true).unwrap();
        assert_eq!((all.rules.len(), all.text), (0, None));
        assert!(prune("app", "path {", |_| true).is_err());
    }
}
