//! What policies allow, as a table.

use aumbry_types::{Capability, LogTime};

use super::policy;
use crate::{Access, Decision, PolicySet};

/// Policies `p0`, `p1`, ..; each is a list of `pattern capability,capability`.
fn set(policies: &[&[&str]]) -> PolicySet {
    let parsed: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(at, rules)| {
            let text: String = rules
                .iter()
                .map(|rule| {
                    let (pattern, names) = rule.split_once(' ').expect("a rule has two words");
                    let names = names.replace(',', "\", \"");
                    format!("path \"{pattern}\" {{ capabilities = [\"{names}\"] }}\n")
                })
                .collect();
            (format!("p{at}"), policy(&text))
        })
        .collect();
    PolicySet::compile(parsed.iter().map(|(name, policy)| (name.as_str(), policy)))
}

/// `capability path`, with `sudo ` before it for a protected path.
fn decide(set: &PolicySet, question: &str) -> Decision {
    let (sudo, question) = match question.strip_prefix("sudo ") {
        Some(rest) => (true, rest),
        None => (false, question),
    };
    let (capability, path) = question.split_once(' ').expect("a question has two words");
    let capability = capability.parse::<Capability>().expect("is a capability");
    let access = Access::new(path, capability, LogTime(0));
    set.decide(&if sudo { access.protected() } else { access })
}

fn check(policies: &[&[&str]], allowed: &[&str], refused: &[&str]) {
    let set = set(policies);
    for question in allowed {
        assert!(decide(&set, question).allowed, "{policies:?}: {question}");
    }
    for question in refused {
        assert!(!decide(&set, question).allowed, "{policies:?}: {question}");
    }
}

#[test]
fn patterns() {
    check(&[], &[], &["read a"]);
    check(&[&["a read"]], &["read a"], &["read a/", "read ab", "update a"]);
    check(&[&["a/* read"]], &["read a/", "read a/b/c"], &["read a", "read ab"]);
    check(&[&["a* read"]], &["read a", "read ab/c"], &["read b"]);
    check(&[&["* read"]], &["read a", "read a/b"], &["update a"]);
    check(
        &[&["a/+/c read", "x/+ read", "y/+/z* read", "+/q/ read"]],
        &["read a/b/c", "read x/b", "read y/b/z", "read y/b/zz/t", "read p/q/"],
        &[
            "read a/b/d/c",
            "read a//c",
            "read x/",
            "read x/b/",
            "read y/z",
            "read p/q",
        ],
    );
}

#[test]
fn the_most_specific_pattern_decides() {
    // The last of each is the most specific, and all match a/b/c.
    let order = ["+/b*", "*", "+/b/c", "a/+/*", "a/*", "a/+/c", "a/b/*", "a/b/+", "a/b/c"];
    for (at, least) in order.iter().enumerate() {
        for more in &order[at + 1..] {
            let (narrow, deny) = (format!("{more} read"), format!("{least} deny"));
            check(&[&[&narrow, &deny]], &["read a/b/c"], &["update a/b/c"]);
            let (wide, deny) = (format!("{least} read"), format!("{more} deny"));
            check(&[&[&wide], &[&deny]], &[], &["read a/b/c"]);
        }
    }
    // It decides alone.
    check(&[&["a/* update", "a/b read"]], &["read a/b"], &["update a/b"]);
}

#[test]
fn equal_patterns_are_united() {
    check(&[&["a read"], &["a update"]], &["read a", "update a"], &["delete a"]);
    check(&[&["a read"], &["a deny"]], &[], &["read a"]);
    check(&[&["a read,deny"]], &[], &["read a", "deny a"]);
}

#[test]
fn abuse_001_a_list_cannot_walk_around_a_deny_by_a_slash() {
    let both = ["list a/private", "list a/private/", "scan a/private", "scan a/private/"];
    check(&[&["a/* list,scan", "a/private/* deny"]], &["list a/public"], &both);
    check(&[&["a/* list,scan", "a/private deny"]], &[], &both);
    check(&[&["a/private/ list,scan", "a/private deny"]], &[], &both);
    check(&[&["a/private/ list,scan"]], &both, &["read a/private"]);
    check(&[&["a/private list,scan"]], &both, &["list a/private/x"]);
    // A rule for something else does not lift a deny.
    check(
        &[&["* deny", "a/private read", "a/private/ list"]],
        &[],
        &["list a/private"],
    );
}

#[test]
fn sudo_needs_both_capabilities() {
    check(&[&["a sudo"]], &[], &["read a", "sudo read a"]);
    check(&[&["a read"]], &["read a"], &["sudo read a"]);
    check(&[&["a read"], &["a sudo"]], &["sudo read a"], &["sudo update a"]);
    check(&[&["a read", "* sudo,read"]], &["sudo read b"], &["sudo read a"]);
}

#[test]
fn abuse_019_sudo_is_never_implied() {
    let all = "* create,read,update,patch,delete,list,scan,subscribe";
    let protected = ["sudo update sys/seal", "sudo read sys/audit-log", "sudo list a"];
    check(&[&[all]], &["update sys/seal", "read sys/audit-log"], &protected);
    check(&[&[all], &["sys/seal sudo"]], &[], &protected);
    check(&[&[all], &["* sudo"]], &protected, &[]);
    check(&[&["* sudo"]], &[], &protected);
}

#[test]
fn abuse_015_a_scan_covers_the_whole_tree() {
    let both = ["scan a", "scan a/"];
    let check_deny = |deny: &str, allowed: &[&str], refused: &[&str]| {
        check(&[&["a/* scan,list", "b/* scan,list", deny]], allowed, refused);
    };
    for deny in ["a/b/* deny", "a/b deny", "a/b/+/c deny", "a/b* deny", "a/+/+/x/y deny"] {
        check_deny(deny, &["scan b", "list a", "list a/c"], &both);
    }
    check_deny("a/b/* deny", &["scan a/c", "scan a/bb"], &["scan a/b", "scan a/b/c"]);
    check_deny("a/b* deny", &["scan a/c"], &["scan a/bb"]);
    check_deny("a/+/x deny", &["scan a/b/c"], &["scan a/b", "scan a/b/x"]);
    // What the deny loses to anyway, and only where that holds in the whole tree.
    check(&[&["a/* deny", "a/b/* scan"]], &["scan a/b/c"], &["scan a", "scan a/b"]);
    check(
        &[&["a/* deny", "a/b/* scan", "a/b scan"]],
        &["scan a/b", "scan a/b/c"],
        &both,
    );
    check(&[&["a/* deny", "a/b scan"]], &[], &["scan a/b"]);
    // A deny of the path itself says nothing about the tree.
    check(&[&["a scan", "+ deny"]], &both, &["scan b"]);
    check(&[&["a scan", "+/+ deny"]], &[], &both);
    check(
        &[&["* deny", "a/* scan", "a scan", "a/b/c deny"]],
        &["scan a/c"],
        &["scan a", "scan a/b"],
    );
}

/// Hundreds of patterns of wildcards that match up to their last letter: whoever tried every way to read them would be at it for ever.
#[test]
fn abuse_099_wildcards_take_no_longer_than_they_are() {
    let rules: String = (0..600)
        .map(|n| {
            format!(
                "path \"{}b{n}\" {{ capabilities = [\"read\"] }}\n",
                "+/".repeat(n % 31 + 1)
            )
        })
        .collect();
    let policy = policy(&rules);
    let set = PolicySet::compile([("p", &policy)]);
    for depth in 1..=32 {
        let path = vec!["a".repeat(30); depth].join("/");
        for capability in [Capability::Read, Capability::List, Capability::Scan] {
            let access = Access::new(&path, capability, LogTime(0));
            assert!(!set.decide(&access).allowed);
        }
    }
    let allowed = Access::new("a/b31", Capability::Read, LogTime(0));
    assert!(set.decide(&allowed).allowed);
}

#[test]
fn prefixes_of_one_segment() {
    let set = set(&[&["ab* read", "abc* update", "abd* list", "ac* patch", "* delete"]]);
    let check = |path: &str, rule: &str| {
        let decision = decide(&set, &format!("read {path}"));
        assert_eq!(decision.rule.as_deref(), Some(rule), "{path}");
    };
    check("ab", "ab*");
    check("abb", "ab*");
    check("abcd/e", "abc*");
    check("abe", "ab*");
    check("abd", "abd*");
    check("abz", "ab*");
    check("acz", "ac*");
    check("ad", "*");
    check("a", "*");
    check("b/ab", "*");
}

#[test]
fn decisions_are_explained() {
    let set = set(&[&["a read", "b/* deny"], &["a update"], &["a read", "b/c list"]]);
    let check = |question: &str, policies: &[&str], rule: Option<&str>| {
        let decision = decide(&set, question);
        assert_eq!(decision.policies, policies, "{question}");
        assert_eq!(decision.rule.as_deref(), rule, "{question}");
    };
    check("read a", &["p0", "p2"], Some("a"));
    check("update a", &["p1"], Some("a"));
    check("delete a", &["p0", "p1", "p2"], Some("a"));
    check("read b/c", &["p0"], Some("b/*"));
    check("read z", &[], None);
}

#[test]
fn root_may_do_everything() {
    let decision = decide(&PolicySet::root(), "sudo delete sys/x");
    assert!(decision.allowed);
    assert_eq!(decision.policies, ["root"]);
}

#[test]
fn debug_hides_names() {
    let set = set(&[&["canary read"]]);
    let shown = format!(
        "{:?} {:?}",
        decide(&set, "read canary"),
        policy(r#"path "canary" { policy = "read" }"#)
    );
    assert!(!shown.contains("canary"), "{shown}");
}
