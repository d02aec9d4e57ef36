//! Why something is allowed or not, and what would change that.

use super::{asks, compiled, policy};
use crate::identity::Entity;
use crate::{Explanation, Identity, PolicySet};

fn explain(texts: &[&str], question: &str) -> Explanation {
    let set = compiled(texts);
    let explanation = asks(question, |access| set.explain(access));
    let decision = asks(question, |access| set.decide(access));
    assert!(explanation.decision == decision, "{question}");
    explanation
}

/// The grant on one line, and it was tried: with it the caller may.
fn grant(texts: &[&str], question: &str) -> Option<String> {
    let grant = explain(texts, question).grant?;
    let mut with = texts.to_vec();
    with.push(&grant);
    assert!(
        asks(question, |access| compiled(&with).decide(access).allowed),
        "{question}: {grant}"
    );
    Some(grant.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_rule_that_matches_is_told_in_order() {
    let texts = [
        "path \"a/*\" { capabilities = [\"read\"] } path \"*\" { policy = \"deny\" }",
        "path \"a/b\" { capabilities = [\"list\"] pagination_limit = 3 } path \"a/+\" { capabilities = [\"update\"] expiration = 5 }",
        "path \"a/b\" { capabilities = [\"create\"] } path \"c\" { policy = \"read\" }",
    ];
    let told = explain(&texts, "update a/b at=5001");
    let matches: Vec<_> = told
        .matches
        .iter()
        .map(|m| (m.pattern.as_str(), m.policies.join(","), m.decides))
        .collect();
    assert_eq!(
        matches,
        [
            ("a/b", "p1,p2".to_owned(), false),
            ("a/+", "p1".to_owned(), false),
            ("a/*", "p0".to_owned(), false),
            ("*", "p0".to_owned(), true),
        ]
    );
    assert!(told.matches[0].is_restricted);
    assert_eq!(told.matches[1].over_since.map(|since| since.0), Some(5_000));
    let text = told.to_string();
    for part in [
        "update a/b: refused, as the rule \"*\" denies",
        "\"a/b\" of p1, p2: create, list, with restrictions\n",
        "\"a/+\" of p1: over since 1970-01-01T00:00:05Z\n",
        "\"*\" of p0: deny  <- decides\n",
        "This would allow it:\npath \"a/b\" {\n  capabilities = [\"update\"]\n}\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!format!("{told:?}").contains("a/b"));
    assert_eq!(told.to_json()["matches"][3]["capabilities"][0], "deny");
}

#[test]
fn reasons() {
    let restricted = "path \"a\" { capabilities = [\"update\", \"list\", \"read\"] allowed_parameters { b = [\"x\"] } denied_parameters { c = [] } required_parameters = [\"b\"] pagination_limit = 2 }";
    let wrapped = "path \"w\" { policy = \"read\" min_wrapping_ttl = 60 }";
    for (question, reason, says) in [
        ("read a", "allowed", "gives read"),
        ("read z", "no-rule", "no rule matches"),
        (
            "delete a",
            "lacking",
            "decides alone and gives read, update, list, not delete",
        ),
        ("update a ?", "parameters", "not known"),
        ("update a", "parameters", "\"b\" is required and missing"),
        ("update a b=y", "parameters", "this value of the parameter \"b\""),
        ("update a b=x d=1", "parameters", "\"d\" is not among those allowed"),
        ("update a b=x c=1", "parameters", "denies the parameter \"c\""),
        ("list a limit=3", "limit", "pages of at most 2 names"),
        ("read w", "wrapping", "must be wrapped for at least 60 s"),
        ("scan t/", "denied-below", "\"t/x\" denies part of the tree"),
        ("read t/x", "denied", "\"t/x\" denies"),
    ] {
        let tree = "path \"t/*\" { capabilities = [\"scan\"] } path \"t/x\" { policy = \"deny\" }";
        let told = explain(&[restricted, wrapped, tree], question);
        assert_eq!(told.reason, reason, "{question}");
        assert!(told.because.contains(says), "{question}: {}", told.because);
        assert_eq!(
            told.grant.is_none() && !told.decision.allowed,
            told.to_string().contains(" to be changed"),
            "{question}"
        );
    }
    // Values are no one's business.
    let secret = explain(&[restricted], "update a b=canary").to_string()
        + &explain(&[restricted], "update a b=x d=canary").to_string();
    assert!(!secret.contains("canary"), "{secret}");
    let told = asks("delete sys/x", |access| PolicySet::root().explain(access));
    assert!(told.reason == "root" && told.grant.is_none());
}

#[test]
fn the_smallest_grant_takes_nothing_away() {
    for (texts, question, expect) in [
        (&[][..], "read a/b", Some("path \"a/b\" { capabilities = [\"read\"] }")),
        // It is going to decide alone, so it keeps what the wider rule gave.
        (
            &["path \"a/*\" { capabilities = [\"read\", \"list\"] min_wrapping_ttl = 1 }"],
            "update a/b wrap=5",
            Some("path \"a/b\" { capabilities = [\"read\", \"update\", \"list\"] min_wrapping_ttl = 1 }"),
        ),
        // Of one pattern all are united.
        (
            &["path \"a/b\" { capabilities = [\"read\"] }"],
            "update a/b",
            Some("path \"a/b\" { capabilities = [\"update\"] }"),
        ),
        (
            &["path \"*\" { policy = \"deny\" }"],
            "read a",
            Some("path \"a\" { capabilities = [\"read\"] }"),
        ),
        (&["path \"a\" { policy = \"deny\" }"], "read a", None),
        (
            &["path \"*\" { policy = \"deny\" }"],
            "list a",
            Some("path \"a\" { capabilities = [\"list\"] } path \"a/\" { capabilities = [\"list\"] }"),
        ),
        (
            &["path \"*\" { policy = \"deny\" }"],
            "scan a",
            Some("path \"a\" { capabilities = [\"scan\"] } path \"a/*\" { capabilities = [\"scan\"] }"),
        ),
        (&["path \"a/b\" { policy = \"deny\" }"], "scan a", None),
        (
            &["path \"a/*\" { policy = \"write\" allowed_parameters { b = [] } }"],
            "update a/x b=1 C=2 d=3",
            Some("path \"a/*\" { capabilities = [\"update\"] allowed_parameters = { \"c\" = [], \"d\" = [] } }"),
        ),
        (
            &["path \"a\" { policy = \"write\" denied_parameters { b = [] } }"],
            "update a b=1",
            None,
        ),
        (
            &["path \"a\" { policy = \"read\" max_wrapping_ttl = 5 }"],
            "read a",
            None,
        ),
        // These are no names in a pattern.
        (&[], "read a/+/b", None),
        (&[], "read a*", None),
        (&[], "read a/{{b", None),
        (
            &[],
            "read a/\"${b",
            Some("path \"a/\\\"\\u0024{b\" { capabilities = [\"read\"] }"),
        ),
    ] {
        assert_eq!(grant(texts, question).as_deref(), expect, "{texts:?}: {question}");
    }
    let set = compiled(&["path \"a\" { capabilities = [\"sudo\"] }"]);
    let told = asks("update a", |access| set.explain(&access.protected()));
    assert_eq!(
        told.grant.as_deref(),
        Some("path \"a\" {\n  capabilities = [\"update\", \"sudo\"]\n}\n")
    );
}

#[test]
fn templates_without_a_value_are_told() {
    let text = policy(
        "path \"a/{{identity.entity.name}}/*\" { policy = \"read\" } path \"b/{{identity.entity.name}}\" { policy = \"deny\" } path \"b/*\" { policy = \"read\" }",
    );
    let identity = Identity {
        entity: Some(Entity::default()),
        ..Identity::default()
    };
    let set = PolicySet::compile_for([("p", &text)], &identity);
    let told = asks("read a/bob/x", |access| set.explain(access));
    assert_eq!(told.unresolved[0].pattern, "a/{{identity.entity.name}}/*");
    assert!(told.to_string().contains("no usable value for this identity"), "{told}");
    let told = asks("read b/bob", |access| set.explain(access));
    assert!(told.because.contains("denies all of \"b/+\""), "{told}");
    assert!(told.grant.is_none());
    assert!(asks("read c", |access| set.explain(access)).unresolved.is_empty());
}
