//! Rules that hold up to a moment.

use super::check;
use crate::Policy;

#[test]
fn a_rule_that_is_over_is_not_there() {
    let until = |ms: u64, rest: &str| {
        let text = format!("1970-01-01T00:00:{:02}.{:03}Z", ms / 1_000, ms % 1_000);
        format!("path \"a\" {{ expiration = \"{text}\"\n{rest}\n}}")
    };
    let read = until(5_000, "policy = \"read\"");
    check(&[&read], &["read a at=0", "read a at=5000"], &["read a at=5001"]);
    let (deny, write) = (until(5_000, "policy = \"deny\""), "path \"a\" { policy = \"write\" }");
    check(&[&deny, write], &["read a at=5001"], &["read a at=5000"]);
    // What is less specific decides again, with its denies.
    check(
        &[&read, "path \"*\" { capabilities = [\"update\"] }"],
        &["read a", "update a at=5001"],
        &["update a", "read a at=5001"],
    );
    check(
        &[&read, "path \"*\" { policy = \"deny\" }"],
        &["read a"],
        &["read a at=5001"],
    );
    // Each part of a pattern ends by itself, restrictions too.
    let restricted = until(5_000, "policy = \"write\" denied_parameters { x = [] }");
    check(&[&restricted, write], &["update a x=1 at=5001"], &["update a x=1"]);
    let later = until(9_000, "policy = \"write\"");
    check(
        &[&read, &later],
        &["read a at=9000", "update a at=9000"],
        &["read a at=9001"],
    );
    // A scan of the tree as well.
    let below = "path \"t/*\" { capabilities = [\"scan\"] } path \"t/x\" { policy = \"deny\" expiration = 5 }";
    check(&[below], &["scan t/ at=5001"], &["scan t/ at=5000"]);
}

#[test]
fn moments() {
    let at = |text: &str| {
        let policy = Policy::parse(&format!("path \"a\" {{ policy = \"read\" expiration = {text} }}"));
        policy.map(|policy| policy.rules()[0].expires().unwrap().0).ok()
    };
    for (text, expect) in [
        ("\"1970-01-01T00:00:01Z\"", Some(1_000)),
        ("\"1970-01-01T01:00:01+01:00\"", Some(1_000)),
        ("\"2027-01-31T12:00:00.123456789Z\"", Some(1_801_396_800_123)),
        ("\"7\"", Some(7_000)),
        ("7", Some(7_000)),
        ("\"1h\"", None),
        ("\"\"", None),
        ("\"2027-01-31\"", None),
        ("\"2027-02-30T00:00:00Z\"", None),
        ("\"1969-12-31T23:00:00Z\"", None),
        ("99999999999999999999", None),
        ("true", None),
    ] {
        assert_eq!(at(text), expect, "{text}");
    }
}
