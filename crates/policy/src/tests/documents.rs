//! What the page for users shows is so.

use aumbry_types::LogTime;

use super::policy;
use crate::Policy;
use crate::expect::Expectations;

const PAGE: &str = include_str!("../../../../docs/policies.md");

/// The blocks of the page in a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    PAGE.split(&begin)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_examples_of_the_page_are_what_they_say() {
    let hcl = blocks("hcl");
    assert!(hcl.len() >= 3);
    for text in &hcl {
        assert!(!policy(text).rules().is_empty(), "{text}");
    }
    let [json, expectations] = blocks("json")[..] else {
        panic!("the page has two blocks of JSON");
    };
    let mut rules = [policy(hcl[0]).rules().to_vec(), policy(json).rules().to_vec()];
    for rules in &mut rules {
        rules.sort_by_key(|rule| rule.pattern().to_owned());
    }
    assert_eq!(rules[0], rules[1]);
    let expectations = Expectations::parse(expectations).unwrap();
    let all: String = hcl.concat();
    let outcomes = expectations.run(&[policy(&all)], LogTime(0));
    assert!(outcomes.iter().all(|outcome| outcome.holds()), "{outcomes:?}");
    // The console shows what comes of an empty policy.
    let outcomes = expectations.run(&[Policy::parse("").unwrap()], LogTime(0));
    for line in outcomes[0].to_string().lines() {
        assert!(PAGE.contains(line), "{line}");
    }
}
