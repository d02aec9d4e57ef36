//! What policies probably do not mean.

use aumbry_types::LogTime;

use crate::lint::{Facts, Finding, Severity, Source, lint};

fn look(texts: &[&str]) -> Vec<Finding> {
    let names: Vec<String> = (0..texts.len()).map(|at| format!("p{at}")).collect();
    let sources: Vec<Source<'_>> = names
        .iter()
        .zip(texts)
        .map(|(name, text)| Source { name, text })
        .collect();
    let facts = Facts {
        mounts: &["secret", "team/kv/"],
        now: Some(LogTime(10_000)),
    };
    lint(&sources, &facts)
}

/// The kinds found, in order.
fn check(texts: &[&str], expect: &[&str]) -> Vec<Finding> {
    let findings = look(texts);
    let kinds: Vec<_> = findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, expect, "{texts:?}");
    for finding in &findings {
        assert!(finding.message.len() > 20 && !finding.to_string().contains('\n'));
    }
    findings
}

/// One rule with these capabilities.
fn rule(pattern: &str, names: &str) -> String {
    let names = names.replace(',', "\", \"");
    format!("path \"{pattern}\" {{ capabilities = [\"{names}\"] }}")
}

#[test]
fn what_is_well_has_no_finding() {
    for text in [
        "",
        "path \"secret/data/app/*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\"] }",
        "path \"secret/metadata/app/*\" { capabilities = [\"list\", \"read\"] pagination_limit = 10 }",
        "secret \"team/kv/app/*\" { mount = \"team/kv\" capabilities = [\"read\", \"list\", \"delete\"] }",
        "secret \"secret/app/*\" { capabilities = [\"read\", \"list\"] pagination_limit = 3 min_wrapping_ttl = 1 }",
        "path \"secret/data/{{identity.entity.id}}/*\" { capabilities = [\"read\"] }",
        "path \"*\" { policy = \"deny\" } path \"secret/data/a\" { capabilities = [\"read\"] }",
        "path \"sys/mounts\" { capabilities = [\"read\"] }",
        "path \"sys/policies/acl/app\" { capabilities = [\"update\"] }",
        "path \"auth/token/create\" { capabilities = [\"update\"] allowed_parameters { ttl = [] } }",
        "path \"secret/config\" { capabilities = [\"read\"] }",
        "path \"other/x\" { capabilities = [\"list\"] required_parameters = [\"limit\"] }",
    ] {
        check(&[text], &[]);
    }
}

#[test]
fn texts_that_are_no_policies() {
    for (text, says) in [
        (
            "path \"/secret/x\" { policy = \"read\" }",
            "leave the leading slash out",
        ),
        ("path \"a/b+\" { policy = \"read\" }", "write the name out"),
        ("path \"a/*/b\" { policy = \"read\" }", "use + for one segment"),
        ("path \"a\" { policy = \"read\"", "valid HCL"),
        ("\npath \"a\" { control_group {} }", "cannot be ignored"),
    ] {
        let findings = check(&[text, &rule("b", "read")], &["unreadable"]);
        assert_eq!(findings[0].severity, Severity::Error);
        assert!(
            findings[0].line.is_some() && findings[0].message.contains(says),
            "{}",
            findings[0]
        );
    }
}

#[test]
fn single_rules() {
    for (text, expect) in [
        (rule("secret/app/*", "read"), &["no-route"][..]),
        (rule("secret/app", "read"), &["no-route"]),
        (rule("team/kv/database/x", "read"), &["no-route"]),
        (rule("secret/d*", "read"), &["open-prefix"]),
        (rule("secret/+/app", "read"), &[]),
        (rule("secret/data/app/*", "read,list"), &["useless-capability"]),
        (rule("secret/destroy/app/*", "read,update"), &["useless-capability"]),
        (rule("secret/subkeys/app", "update"), &["useless-capability"]),
        (rule("secret/data/app", "read,deny"), &["deny-and-more"]),
        (rule("sys/seal", "sudo"), &["sudo-alone"]),
        (rule("*", "read"), &[]),
        (rule("*", "read,update"), &["broad"]),
        (rule("+/*", "delete"), &["broad"]),
        (rule("s*", "patch"), &["broad", "open-prefix"]),
        (rule("sys/*", "update"), &["broad", "writes-policies"]),
        (rule("auth/*", "create"), &["broad"]),
        (rule("auth/token/*", "update"), &[]),
        (rule("auth/*", "read"), &[]),
        (rule("*", "read,sudo"), &["broad", "broad-sudo"]),
        (rule("other/+/x", "read,sudo"), &["broad-sudo"]),
        (rule("sys/policies/*", "create"), &["writes-policies"]),
        (rule("sys/policies/acl/+", "update"), &["writes-policies"]),
        (rule("other/app*", "read"), &["open-prefix"]),
        (rule("other/{{identity.entity.id}}*", "read"), &["joined-template"]),
        (rule("other/{{identity.entity.id}}-x/y", "read"), &["joined-template"]),
        (
            rule("other/{{identity.entity.id}}{{identity.entity.id}}/y", "read"),
            &["joined-template"],
        ),
        (rule("other/{{identity.entity.name}}/y", "read"), &["template-by-name"]),
        (
            rule("other/{{identity.groups.names.g.id}}", "read"),
            &["template-by-name"],
        ),
        (rule("other/{{identity.entity.id}}", "deny"), &["deny-template"]),
        (
            "path \"a\" { policy = \"read\" expiration = 9 }".to_owned(),
            &["expired"],
        ),
        ("path \"a\" { policy = \"read\" expiration = 10 }".to_owned(), &[]),
        (
            "path \"a\" { policy = \"deny\" min_wrapping_ttl = 1 }".to_owned(),
            &["no-effect"],
        ),
        (
            "path \"a\" { capabilities = [\"read\"] pagination_limit = 1 }".to_owned(),
            &["no-effect"],
        ),
        (
            "path \"a\" { capabilities = [\"delete\"] required_parameters = [\"x\"] }".to_owned(),
            &["no-effect"],
        ),
        (
            "path \"secret/data/a\" { capabilities = [\"update\"] denied_parameters { password = [] } }".to_owned(),
            &["kv-parameters"],
        ),
        (
            "path \"secret/data/a\" { capabilities = [\"update\"] denied_parameters { options = [] } }".to_owned(),
            &[],
        ),
    ] {
        check(&[&text], expect);
    }
}

#[test]
fn several_rules() {
    for (texts, expect) in [
        (&[rule("a", "read"), rule("a", "deny")][..], &["shadowed"][..]),
        (&[rule("a", "read"), rule("a", "read,update")], &["redundant"]),
        (&[rule("a", "read"), rule("a", "read")], &["redundant"]),
        (&[rule("a", "read"), rule("a", "update")], &[]),
        (
            &[
                rule("a", "update"),
                "path \"a\" { capabilities = [\"update\"] denied_parameters { b = [] } }".to_owned(),
            ],
            &["restricted-elsewhere"],
        ),
        (
            &[
                rule("a", "read"),
                "path \"a\" { capabilities = [\"read\"] expiration = 99 }".to_owned(),
            ],
            &["redundant"],
        ),
        (
            &[format!("{}\n{}", rule("a/*", "read,list"), rule("a/b", "read,update"))],
            &["narrows"],
        ),
        (
            &[format!("{}\n{}", rule("a/b/*", "read"), rule("a/*", "list"))],
            &["narrows"],
        ),
        (&[format!("{}\n{}", rule("a/b/*", "deny"), rule("a/*", "list"))], &[]),
        (&[format!("{}\n{}", rule("a/*", "deny"), rule("a/b", "list"))], &[]),
        (
            &[format!("{}\n{}", rule("a/b*", "read"), rule("a/b", "list"))],
            &["open-prefix", "narrows"],
        ),
        (&[rule("a/*", "read"), rule("a/+", "update")], &["narrows"]),
    ] {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        check(&texts, expect);
    }
    let findings = check(
        &[
            "\npath \"a/*\" { policy = \"read\" }",
            "\n\npath \"a/b\" { policy = \"deny\" }\n",
            "\npath \"a/b\" { policy = \"read\" }",
        ],
        &["shadowed"],
    );
    assert_eq!((findings[0].policy.as_str(), findings[0].line), ("p2", Some(2)));
    let text = findings[0].to_string();
    assert_eq!(
        text,
        "p2:2: warning: \"a/b\": the policy p1 denies the same pattern, so this gives nothing: remove one of the two [shadowed]"
    );
    assert!(!format!("{findings:?}").contains("a/b"));
}
