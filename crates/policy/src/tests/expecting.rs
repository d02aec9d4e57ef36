//! Files of expectations.

use aumbry_types::LogTime;

use super::policy;
use crate::expect::{ExpectError, Expectations, policy_name};

const APP: &str = r#"
secret "secret/app/*" { capabilities = ["read", "list"] }
path "secret/data/{{identity.entity.id}}/*" { capabilities = ["create", "update"] }
path "auth/token/create" {
  capabilities = ["update"]
  allowed_parameters = { "policies" = ["app"], "ttl" = [], "num_uses" = [1, 2] }
}
path "wrapped" { capabilities = ["read"] min_wrapping_ttl = "1m" }
path "pages" { capabilities = ["list"] pagination_limit = 5 }
path "soon" { capabilities = ["read"] expiration = "2026-11-22T00:00:00Z" }
path "sys/seal" { capabilities = ["update", "sudo"] }
"#;
const DENY: &str = "path \"secret/data/app/root\" { capabilities = [\"deny\"] }";

fn run(expect: &str) -> Vec<bool> {
    let file = format!(
        "{{\"policies\": [\"policies/app.hcl\", \"deny.hcl\"], \"now\": \"2026-11-21T12:00:00Z\", \"identity\": {{\"entity\": {{\"id\": \"e-1\"}}}}, \"expect\": [{expect}]}}"
    );
    let file = match Expectations::parse(&file) {
        Ok(file) => file,
        Err(error) => panic!("{expect}: {error}"),
    };
    assert_eq!(file.files().collect::<Vec<_>>(), ["policies/app.hcl", "deny.hcl"]);
    let outcomes = file.run(&[policy(APP), policy(DENY)], LogTime(0));
    outcomes.iter().map(|outcome| outcome.holds()).collect()
}

#[test]
fn expectations_hold_or_not() {
    for (ask, allowed) in [
        (r#""path": "secret/data/app/db", "capability": "read""#, true),
        (r#""path": "secret/data/app/db", "capability": "update""#, false),
        (r#""path": "secret/data/app/root", "capability": "read""#, false),
        (
            r#""path": "secret/data/app/root", "capability": "read", "policies": ["app"]"#,
            true,
        ),
        (
            r#""path": "secret/data/app/db", "capability": "read", "policies": []"#,
            false,
        ),
        (r#""path": "secret/data/e-1/x", "capability": "create""#, true),
        (
            r#""path": "secret/data/e-1/x", "capability": "create", "identity": {}"#,
            false,
        ),
        (r#""path": "auth/token/create", "capability": "update""#, true),
        (
            r#""path": "auth/token/create", "capability": "update", "parameters": {"ttl": {}, "policies": ["app"], "num_uses": 1}"#,
            true,
        ),
        (
            r#""path": "auth/token/create", "capability": "update", "parameters": {"policies": ["app", "root"]}"#,
            false,
        ),
        (
            r#""path": "auth/token/create", "capability": "update", "parameters": {"num_uses": 3}"#,
            false,
        ),
        (
            r#""path": "auth/token/create", "capability": "update", "parameters": {"num_uses": null}"#,
            false,
        ),
        (
            r#""path": "auth/token/create", "capability": "update", "parameters": {"policies": []}"#,
            false,
        ),
        (r#""path": "wrapped", "capability": "read""#, false),
        (r#""path": "wrapped", "capability": "read", "wrap_ttl": "60s""#, true),
        (r#""path": "wrapped", "capability": "read", "wrap_ttl": 59"#, false),
        (r#""path": "pages", "capability": "list", "limit": 6"#, false),
        (r#""path": "pages", "capability": "list", "limit": "max""#, true),
        (r#""path": "soon", "capability": "read""#, true),
        (
            r#""path": "soon", "capability": "read", "now": "2026-11-22T00:00:01Z""#,
            false,
        ),
        (r#""path": "sys/seal", "capability": "update", "sudo": true"#, true),
        (
            r#""path": "wrapped", "capability": "read", "sudo": true, "wrap_ttl": 60"#,
            false,
        ),
    ] {
        let right = format!("{{{ask}, \"allowed\": {allowed}}}");
        let wrong = format!("{{{ask}, \"allowed\": {}}}", !allowed);
        assert_eq!(run(&format!("{right}, {wrong}")), [true, false], "{ask}");
    }
}

#[test]
fn what_fails_is_explained() {
    let text = r#"{"policies": ["app"], "expect": [
        {"path": "wrapped", "capability": "read", "allowed": false},
        {"path": "a", "capability": "read", "allowed": true},
        {"path": "soon", "capability": "read", "allowed": false}]}"#;
    let file = Expectations::parse(text).unwrap();
    let shown: Vec<String> = file
        .run(&[policy(APP)], LogTime(0))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown[0], "ok      read wrapped: refused");
    assert!(shown[1].starts_with("FAILED  expectation 2, to be allowed: read a: refused, as no rule matches the path\nThis would allow it:\npath \"a\" {"), "{}", shown[1]);
    assert!(
        shown[2]
            .starts_with("FAILED  expectation 3, to be refused: read soon: allowed, as the rule \"soon\" gives read\n"),
        "{}",
        shown[2]
    );
}

#[test]
fn files_that_are_none() {
    let fails = |text: &str| Expectations::parse(text).err().unwrap().to_string();
    let with = |ask: &str| format!("{{\"policies\": [\"app.hcl\"], \"expect\": [{{\"path\": \"a\", {ask}}}]}}");
    for (text, says) in [
        ("[", "EOF"),
        ("{\"expect\": []}", "missing field `policies`"),
        ("{\"policies\": [], \"expects\": []}", "unknown field `expects`"),
        (&with("\"capability\": \"read\""), "missing field `allowed`"),
        (
            &with("\"capability\": \"raed\", \"allowed\": true"),
            "unknown capability",
        ),
        (&with("\"capability\": \"sudo\", \"allowed\": true"), "\"sudo\": true"),
        (
            &with("\"capability\": \"read\", \"alowed\": true"),
            "unknown field `alowed`",
        ),
        (
            &with("\"capability\": \"read\", \"allowed\": true, \"now\": \"today\""),
            "now is a moment",
        ),
        (
            &with("\"capability\": \"read\", \"allowed\": true, \"wrap_ttl\": -1"),
            "wrap_ttl is a time",
        ),
        (
            &with("\"capability\": \"list\", \"allowed\": true, \"limit\": \"all\""),
            "limit is a whole number",
        ),
        (
            &with("\"capability\": \"read\", \"allowed\": true, \"identity\": {\"entity\": {\"ids\": \"x\"}}"),
            "unknown field `ids`",
        ),
    ] {
        assert!(fails(text).contains(says), "{text}: {}", fails(text));
    }
    let error = Expectations::parse(&with(
        "\"capability\": \"read\", \"allowed\": true, \"policies\": [\"app\", \"ap\"]",
    ))
    .err();
    let (place, name) = (1, "ap".to_owned());
    assert_eq!(error, Some(ExpectError::UnknownPolicy { place, name }));
}

#[test]
fn a_policy_is_called_as_its_file() {
    for (file, name) in [
        ("app.hcl", "app"),
        ("a/b/app.v2.json", "app.v2"),
        ("app", "app"),
        ("./.hcl", ".hcl"),
        ("a\\b.hcl", "b"),
    ] {
        assert_eq!(policy_name(file), name);
    }
}
