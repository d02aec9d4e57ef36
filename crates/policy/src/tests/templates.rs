//! Patterns that speak of whoever asks.

use std::collections::BTreeMap;

use super::{asks, policy};
use crate::identity::{Alias, Entity, Group, of_login};
use crate::{Identity, PolicySet};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn alias(id: &str, name: &str) -> Alias {
    Alias {
        id: id.to_owned(),
        name: name.to_owned(),
        metadata: map(&[("ns", "prod")]),
        custom_metadata: map(&[("desk", "d7")]),
    }
}

/// Bob, with a name of one's choice, which is also his team.
fn named(name: &str) -> Identity {
    Identity {
        entity: Some(Entity {
            id: "e-1".to_owned(),
            name: name.to_owned(),
            metadata: map(&[("team", name), ("a.b", "dotted")]),
            aliases: of_login([("auth_1".to_owned(), alias("al-1", "bob@x"))], None),
        }),
        groups: vec![Group {
            id: "g-1".to_owned(),
            name: "ops.eu".to_owned(),
            metadata: map(&[("cost", "c9")]),
        }],
    }
}

fn set(identity: &Identity, texts: &[&str]) -> PolicySet {
    let parsed: Vec<_> = texts.iter().map(|text| policy(text)).collect();
    PolicySet::compile_for(parsed.iter().map(|policy| ("p", policy)), identity)
}

fn check(identity: &Identity, texts: &[&str], allowed: &[&str], refused: &[&str]) {
    let set = set(identity, texts);
    for (questions, expect) in [(allowed, true), (refused, false)] {
        for question in questions {
            let is_allowed = asks(question, |access| set.decide(access).allowed);
            assert_eq!(is_allowed, expect, "{texts:?}: {question}");
        }
    }
}

#[test]
fn values() {
    for (template, value) in [
        ("identity.entity.id", "e-1"),
        (" identity.entity.name ", "bob"),
        ("identity.entity.metadata.team", "bob"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.aliases.auth_1.id", "al-1"),
        ("identity.entity.aliases.auth_1.name", "bob@x"),
        ("identity.entity.aliases.auth_1.metadata.ns", "prod"),
        ("identity.entity.aliases.auth_1.custom_metadata.desk", "d7"),
        ("identity.groups.ids.g-1.name", "ops.eu"),
        ("identity.groups.ids.g-1.metadata.cost", "c9"),
        ("identity.groups.names.ops.eu.id", "g-1"),
        ("identity.groups.names.ops.eu.metadata.cost", "c9"),
    ] {
        let text = format!("path \"a/{{{{{template}}}}}/*\" {{ capabilities = [\"read\"] }}");
        check(
            &named("bob"),
            &[&text],
            &[&format!("read a/{value}/x")],
            &["read a/other/x", "read a/+/x", "read a//x"],
        );
        check(&Identity::default(), &[&text], &[], &[&format!("read a/{value}/x")]);
    }
    let text = "path \"a/{{identity.entity.id}}-{{identity.entity.name}}*\" { capabilities = [\"read\"] }";
    check(
        &named("bob"),
        &[text],
        &["read a/e-1-bob", "read a/e-1-bobby"],
        &["read a/e-1-al"],
    );
    // What it resolves to is a pattern as any other, and meets those that are written out.
    let deny = "path \"a/bob\" { policy = \"deny\" }";
    let own = "path \"a/{{identity.entity.name}}\" { policy = \"read\" }";
    check(&named("bob"), &[own, deny], &[], &["read a/bob"]);
    let secret = "secret \"kv/{{identity.entity.name}}/*\" { capabilities = [\"read\"] }";
    check(
        &named("bob"),
        &[secret],
        &["read kv/data/bob/x"],
        &["read kv/data/al/x"],
    );
    for text in [own, secret] {
        assert!(policy(text).has_templates());
    }
    assert!(!policy(deny).has_templates());
}

/// Whoever can choose a name or a note does not choose a pattern.
#[test]
fn abuse_011_a_value_with_metacharacters_gives_nothing() {
    let own = "path \"a/{{identity.entity.metadata.team}}/x\" { policy = \"write\" }";
    let bad = [
        "*",
        "+",
        "b*",
        "+b",
        "a/b",
        "/",
        ",",
        "a,b",
        "{{identity.entity.id}}",
        "{",
        "}",
        "",
        "a\0",
        "a\n",
        "..",
        ".",
        "\u{202e}",
        "e\u{301}",
    ];
    for name in bad {
        let paths = [
            "read a/b/x",
            "read a/bob/x",
            "read a/x",
            "read a/*/x",
            "read a/a/b/x",
            "read a//x",
            "read x",
        ];
        check(&named(name), &[own], &[], &paths);
        check(&named(name), &[own], &[], &[&format!("read a/{name}/x")]);
    }
    check(&named("bob"), &[own], &["read a/bob/x"], &[]);
}

#[test]
fn abuse_012_the_alias_is_that_of_this_login() {
    let own = "path \"a/{{identity.entity.aliases.auth_1.name}}\" { policy = \"read\" }";
    let all = || {
        [
            ("auth_1", "al-1", "bob"),
            ("auth_1", "al-2", "root"),
            ("auth_2", "al-3", "cid"),
        ]
    };
    let aliases = |login| {
        of_login(
            all().map(|(mount, id, name)| (mount.to_owned(), alias(id, name))),
            login,
        )
    };
    let who = |login| Identity {
        entity: Some(Entity {
            aliases: aliases(login),
            ..Entity::default()
        }),
        ..Identity::default()
    };
    check(
        &who(Some(("auth_1", "al-1"))),
        &[own],
        &["read a/bob"],
        &["read a/root"],
    );
    check(
        &who(Some(("auth_1", "al-2"))),
        &[own],
        &["read a/root"],
        &["read a/bob"],
    );
    // By another mount, or by an alias that is gone, nobody can say which is meant.
    for login in [None, Some(("auth_2", "al-3")), Some(("auth_1", "al-9"))] {
        check(&who(login), &[own], &[], &["read a/bob", "read a/root"]);
    }
    // A mount with one alias has it, whichever mount the login came by.
    let other = "path \"a/{{identity.entity.aliases.auth_2.name}}\" { policy = \"read\" }";
    check(&who(Some(("auth_1", "al-1"))), &[other], &["read a/cid"], &[]);
}

/// Abuse cases: 11.
#[test]
fn a_deny_without_a_value_denies_all_that_it_could_mean() {
    let all =
        "path \"a/*\" { policy = \"sudo\" } path \"a/bob/x\" { policy = \"write\" } path \"b\" { policy = \"read\" }";
    let deny = |rest: &str| format!("path \"a/{rest}\" {{ capabilities = [\"deny\"] }}");
    let own = deny("{{identity.entity.metadata.team}}/x");
    // With a value it denies that path alone.
    check(&named("bob"), &[all, &own], &["read a/al/x"], &["read a/bob/x"]);
    // Without one it denies whichever it could be, and nothing more specific lifts it.
    for identity in [Identity::default(), named("*"), named("")] {
        check(
            &identity,
            &[all, &own],
            &["read a/bob/y", "read a/x", "read b"],
            &["read a/bob/x", "read a/al/x"],
        );
        check(
            &identity,
            &[all, &deny("u-{{identity.entity.name}}/x")],
            &["read a/bob"],
            &["read a/u-bob/x"],
        );
        check(
            &identity,
            &[all, &deny("{{identity.entity.name}}{{identity.entity.name}}*")],
            &["read b"],
            &["read a/bob", "read a/bob/x"],
        );
        check(
            &identity,
            &[all, &deny("+/{{identity.entity.name}}/*")],
            &["read a/bob/x"],
            &["read a/bob/x/y"],
        );
    }
    // Its author had a tree in mind where the value has a slash.
    check(
        &named("t/u"),
        &[all, &own],
        &["read b"],
        &["read a/t/u/x", "read a/bob/x", "read a/q"],
    );
    check(&named(".."), &[all, &own], &["read b"], &["read a/bob/x"]);
    // A listing of the tree is denied with it.
    let scan =
        "path \"s/*\" { capabilities = [\"list\", \"scan\"] } path \"s/bob/*\" { capabilities = [\"list\", \"scan\"] }";
    let own = "path \"s/{{identity.entity.name}}/x\" { policy = \"deny\" }";
    check(
        &Identity::default(),
        &[scan, own],
        &["list s/", "scan s/bob/y"],
        &["scan s/", "scan s/bob", "list s/bob/x"],
    );
    check(&named("al"), &[scan, own], &["scan s/bob"], &["scan s/"]);
    // It is over when it says so.
    let over = "path \"a/{{identity.entity.name}}\" { policy = \"deny\" expiration = 5 }";
    check(
        &Identity::default(),
        &[all, over],
        &["read a/bob at=5001"],
        &["read a/bob at=5000"],
    );
}

#[test]
fn groups_of_one_name_are_nobody() {
    let mut identity = named("bob");
    identity.groups.push(Group {
        id: "g-2".to_owned(),
        name: "ops.eu".to_owned(),
        ..Group::default()
    });
    let text = "path \"a/{{identity.groups.names.ops.eu.id}}\" { policy = \"read\" }";
    check(&identity, &[text], &[], &["read a/g-1", "read a/g-2"]);
}
