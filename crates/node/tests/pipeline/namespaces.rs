//! Namespaces: what is in one is reached by its own tokens and those from above, and goes with it.

use std::collections::BTreeSet;

use aumbry_auth::namespace;
use aumbry_logical::{Body, Verb};
use aumbry_node::method::{Asked, MethodAsk};
use aumbry_node::{Contents, MountOptions, MountTable};
use aumbry_types::MountPath;

use crate::bed::*;

/// What is asked, and where.
async fn at(bed: &Bed, token: &SecretBytes, namespace: &str, operation: Operation) -> Result<Reply, Failure> {
    let mut request = bed.request(token, operation, "");
    request.namespace = NamespacePath::parse(namespace).expect("is one");
    bed.node.serve(&request).await.map(|answer| answer.reply)
}

fn about(verb: Verb, name: &str) -> Operation {
    let request = namespace::Request::parse(verb, Some(name), Body::default());
    Operation::Method(MethodAsk {
        path: format!("sys/namespaces/{name}"),
        verb,
        asked: Asked::Namespace(request.expect("is one")),
        said: Vec::new(),
    })
}

fn mount(path: &str) -> Operation {
    Operation::MountEnable {
        table: MountTable::Secrets,
        path: MountPath::parse(path).expect("is a path"),
        kind: "kv".to_owned(),
        description: String::new(),
        options: MountOptions {
            version: 2,
            ..MountOptions::default()
        },
    }
}

async fn policy(bed: &Bed, namespace: &str, name: &str, text: &str) {
    let name = Name::parse(name).expect("is a name");
    let written = at(bed, &bed.root, namespace, Operation::PolicyWrite(name, text.to_owned())).await;
    assert_eq!(reason(written), "OK", "{text}");
}

async fn token(
    bed: &Bed,
    by: &SecretBytes,
    namespace: &str,
    policies: &[&str],
) -> Result<(SecretBytes, String), Failure> {
    let create = Create {
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        ..Create::default()
    };
    match at(bed, by, namespace, Operation::TokenCreate(create)).await? {
        Reply::NewToken(new) => Ok((new.token, new.info.accessor)),
        _ => panic!("another reply"),
    }
}

const ALL: &str = r#"path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }"#;
const REFUSED: &str = "PERMISSION_DENIED";

/// Three namespaces, each with a mount `secret`, a secret that tells of it, and a policy that allows everything.
async fn tenants() -> Bed {
    let bed = Bed::open().await;
    for (above, name) in [("", "team"), ("team", "app"), ("", "other")] {
        assert_eq!(reason(at(&bed, &bed.root, above, about(Verb::Write, name)).await), "OK");
        let namespace = format!("{above}/{name}");
        assert_eq!(reason(at(&bed, &bed.root, &namespace, mount("secret")).await), "OK");
        let data = format!(r#"{{"of":"{}"}}"#, namespace.trim_start_matches('/'));
        assert_eq!(
            reason(at(&bed, &bed.root, &namespace, put("secret/a", &data, None)).await),
            "OK"
        );
        policy(&bed, &namespace, "all", ALL).await;
    }
    policy(&bed, "", "all", ALL).await;
    bed
}

/// Abuse cases: 9, 35.
#[tokio::test]
async fn a_token_reaches_its_namespace_and_those_below() {
    let bed = tenants().await;
    assert_eq!(reason(bed.call(put("secret/a", r#"{"of":""}"#, None)).await), "OK");
    let namespaces = ["", "team", "team/app", "other"];
    for own in namespaces {
        let (holder, _) = token(&bed, &bed.root, own, &["all"]).await.expect("root may");
        for namespace in namespaces {
            let read = at(&bed, &holder, namespace, get("secret/a")).await;
            let is_below = own.is_empty()
                || namespace == own
                || namespace.strip_prefix(own).is_some_and(|rest| rest.starts_with('/'));
            if is_below {
                assert_eq!(
                    data(read),
                    format!(r#"{{"of":"{namespace}"}}"#),
                    "{own:?} {namespace:?}"
                );
            } else {
                assert_eq!(reason(read), REFUSED, "{own:?} {namespace:?}");
            }
            let written = at(&bed, &holder, namespace, put("secret/b", "{}", None)).await;
            assert_eq!(
                reason(written),
                if is_below { "OK" } else { REFUSED },
                "{own:?} {namespace:?}"
            );
        }
        // Where nothing is, those above are told so, if they may look for it.
        let missing = reason(at(&bed, &holder, "team/none", get("secret/a")).await);
        assert_eq!(
            missing,
            if own.is_empty() || own == "team" {
                "NO_NAMESPACE"
            } else {
                REFUSED
            },
            "{own:?}"
        );
    }
    // Policies speak of paths as their own namespace sees them.
    policy(
        &bed,
        "",
        "one",
        r#"path "team/app/secret/data/a" { capabilities = ["read"] }"#,
    )
    .await;
    let (one, _) = token(&bed, &bed.root, "", &["one"]).await.expect("root may");
    assert_eq!(
        data(at(&bed, &one, "team/app", get("secret/a")).await),
        r#"{"of":"team/app"}"#
    );
    for namespace in ["", "team", "other"] {
        assert_eq!(
            reason(at(&bed, &one, namespace, get("secret/a")).await),
            REFUSED,
            "{namespace}"
        );
    }
    assert_eq!(reason(at(&bed, &one, "missing", get("secret/a")).await), REFUSED);
    // A policy of the same name elsewhere is another policy: nothing is passed on by name.
    assert_eq!(reason(token(&bed, &one, "team", &["one"]).await), REFUSED);
    policy(
        &bed,
        "",
        "maker",
        r#"path "team/auth/token/create" { capabilities = ["update"] }"#,
    )
    .await;
    let (maker, _) = token(&bed, &bed.root, "", &["maker"]).await.expect("root may");
    policy(&bed, "team", "maker", ALL).await;
    assert_eq!(reason(token(&bed, &maker, "team", &["maker"]).await), "POLICY_NOT_HELD");
    let (plain, _) = token(&bed, &maker, "team", &[]).await.expect("with `default` alone");
    assert_eq!(reason(at(&bed, &plain, "team", get("secret/a")).await), REFUSED);
    assert_eq!(
        reason(at(&bed, &plain, "team", Operation::TokenLookup(TokenName::Own)).await),
        "OK"
    );
    // Nobody is root there.
    assert_eq!(
        reason(token(&bed, &bed.root, "team", &["root"]).await),
        "INVALID_REQUEST"
    );
    let root_policy = Operation::PolicyWrite(Name::parse("root").expect("is a name"), ALL.to_owned());
    assert_eq!(
        reason(at(&bed, &bed.root, "team", root_policy).await),
        "INVALID_REQUEST"
    );
}

/// Abuse cases: 41.
#[tokio::test]
async fn accessors_and_texts_are_those_of_a_namespace() {
    let bed = tenants().await;
    let (admin, _) = token(&bed, &bed.root, "team", &["all"]).await.expect("root may");
    for own in ["", "team", "team/app", "other"] {
        let (text, accessor) = token(&bed, &bed.root, own, &["all"]).await.expect("root may");
        for namespace in ["team", "team/app"] {
            let names = || [TokenName::Accessor(accessor.clone()), TokenName::Text(text.duplicate())];
            for (place, name) in names().into_iter().enumerate() {
                let found = reason(at(&bed, &admin, namespace, Operation::TokenLookup(name)).await);
                assert_eq!(
                    found,
                    if own == namespace { "OK" } else { "NOT_FOUND" },
                    "{own:?} {namespace} {place}"
                );
            }
            for name in names() {
                let renewed = reason(at(&bed, &admin, namespace, Operation::TokenRenew(name, 60)).await);
                assert_eq!(
                    renewed == "NOT_FOUND",
                    own != namespace,
                    "{own:?} {namespace}: {renewed}"
                );
            }
        }
        let [first, second] = ["team", "team/app"].map(|namespace| {
            let name = TokenName::Accessor(accessor.clone());
            (namespace, at(&bed, &admin, namespace, Operation::TokenRevoke(name)))
        });
        for (namespace, revoked) in [first, second] {
            assert_eq!(
                reason(revoked.await),
                if own == namespace { "OK" } else { "NOT_FOUND" },
                "{own:?} {namespace}"
            );
        }
    }
    for namespace in ["other", ""] {
        let list = Operation::TokenList {
            after: String::new(),
            limit: 10,
        };
        assert_eq!(reason(at(&bed, &admin, namespace, list).await), REFUSED);
    }
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    let bed = tenants().await;
    bed.run_duties();
    let deny = Operation::MountDisable(
        MountTable::Secrets,
        MountPath::parse("none").expect("is a path"),
        Contents::None,
    );
    assert_eq!(reason(at(&bed, &bed.root, "other", deny).await), "NOT_FOUND");
    // Whatever stands in the state, but for what counts and for what expires by itself.
    let rows = || -> BTreeSet<Bytes> {
        let all = bed.consensus.view().scan(&[], None, 100_000);
        all.into_iter().map(|(row_key, _)| row_key).collect()
    };
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Write, "gone")).await), "OK");
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Delete, "gone")).await), "OK");
    // The root token goes on counting its children, though it has none left.
    assert!(token(&bed, &bed.root, "", &["default"]).await.is_ok());
    let before = rows();
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Write, "gone")).await), "OK");
    policy(&bed, "gone", "all", ALL).await;
    let mut tokens: Vec<SecretBytes> = Vec::new();
    for place in 0_usize..41 {
        // Half of them below the root token, half below one of the namespace.
        let by = match place % 2 {
            0 => bed.root.duplicate(),
            _ => tokens[place / 2].duplicate(),
        };
        let (text, _) = token(&bed, &by, "gone", &["all"]).await.expect("may");
        tokens.push(text);
    }
    for name in ["one", "two"] {
        assert_eq!(reason(at(&bed, &bed.root, "gone", mount(name)).await), "OK");
        for (number, writer) in tokens.iter().enumerate().take(30) {
            let write = put(&format!("{name}/d{}/s{number}", number % 3), "{}", None);
            assert_eq!(reason(at(&bed, writer, "gone", write).await), "OK", "{name} {number}");
        }
    }
    // It holds a namespace, which goes first.
    assert_eq!(
        reason(at(&bed, &bed.root, "gone", about(Verb::Write, "inner")).await),
        "OK"
    );
    assert_eq!(
        reason(at(&bed, &bed.root, "", about(Verb::Delete, "gone")).await),
        "INVALID_REQUEST"
    );
    assert_eq!(
        reason(at(&bed, &bed.root, "gone", about(Verb::Delete, "inner")).await),
        "OK"
    );
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Delete, "gone")).await), "OK");
    // Not all of them: of a flood of refusals the rest is only counted.
    for token in tokens.iter().step_by(11) {
        for namespace in ["gone", ""] {
            let own = at(&bed, token, namespace, Operation::TokenLookup(TokenName::Own)).await;
            assert_eq!(reason(own), "TOKEN_INVALID", "{namespace:?}");
        }
    }
    // One of the same name is another one.
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Write, "gone")).await), "OK");
    assert_eq!(
        reason(at(&bed, &tokens[1], "gone", Operation::TokenLookup(TokenName::Own)).await),
        "TOKEN_INVALID"
    );
    assert_eq!(reason(at(&bed, &bed.root, "gone", get("one/d0/s0")).await), "NOT_FOUND");
    assert_eq!(reason(at(&bed, &bed.root, "", about(Verb::Delete, "gone")).await), "OK");
    for _ in 0..200 {
        if rows().is_subset(&before) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("these are left: {:#?}", rows().difference(&before).collect::<Vec<_>>());
}

/// Abuse cases: 8.
#[tokio::test]
async fn a_path_is_one_thing() {
    let bed = tenants().await;
    for name in [
        "root",
        "sys",
        "Team",
        "a.b",
        "..",
        "",
        "auth",
        "a b",
        "identity",
        "cubbyhole",
        "audit",
    ] {
        assert_eq!(
            reason(at(&bed, &bed.root, "", about(Verb::Write, name)).await),
            "INVALID_REQUEST",
            "{name:?}"
        );
    }
    for path in ["team", "team/kv", "other/x/y"] {
        assert_eq!(
            reason(at(&bed, &bed.root, "", mount(path)).await),
            "NAMESPACE_EXISTS",
            "{path}"
        );
    }
    let moved = Operation::MountMove {
        table: MountTable::Secrets,
        from: MountPath::parse("secret").expect("is a path"),
        to: MountPath::parse("team/secret").expect("is a path"),
    };
    assert_eq!(reason(at(&bed, &bed.root, "", moved).await), "NAMESPACE_EXISTS");
    assert_eq!(reason(at(&bed, &bed.root, "", mount("tools/kv")).await), "OK");
    for name in ["secret", "tools"] {
        assert_eq!(
            reason(at(&bed, &bed.root, "", about(Verb::Write, name)).await),
            "INVALID_REQUEST",
            "{name}"
        );
    }
    // What is the cluster's is in no tenant's namespace, whoever asks.
    let (admin, _) = token(&bed, &bed.root, "team", &["all"]).await.expect("root may");
    for token in [&bed.root, &admin] {
        for operation in [
            Operation::Seal,
            Operation::Members,
            Operation::SnapshotSave,
            Operation::JoinTokenCreate(60),
        ] {
            assert_eq!(reason(at(&bed, token, "team", operation).await), "ONLY_IN_ROOT");
        }
    }
}

/// A key for retries is of one namespace: what another was answered is not told.
#[tokio::test]
async fn a_retry_is_of_one_namespace() {
    let bed = tenants().await;
    let ask = |namespace: &str| {
        let mut request = bed.request(&bed.root, put("secret/r", "{}", None), "one-key");
        request.namespace = NamespacePath::parse(namespace).expect("is one");
        request
    };
    assert_eq!(reason(bed.node.serve(&ask("team")).await), "OK");
    assert_eq!(reason(bed.node.serve(&ask("team")).await), "OK");
    assert_eq!(reason(bed.node.serve(&ask("other")).await), "INVALID_REQUEST");
    assert_eq!(reason(bed.node.serve(&ask("")).await), "INVALID_REQUEST");
}

/// What changes in a namespace holds from the next request on, and only there.
#[tokio::test]
async fn changes_hold_at_once() {
    let bed = tenants().await;
    let (team, _) = token(&bed, &bed.root, "team", &["all"]).await.expect("root may");
    let (other, _) = token(&bed, &bed.root, "other", &["all"]).await.expect("root may");
    for _ in 0..3 {
        policy(&bed, "team", "all", r#"path "none" { capabilities = ["read"] }"#).await;
        assert_eq!(reason(at(&bed, &team, "team", get("secret/a")).await), REFUSED);
        assert_eq!(reason(at(&bed, &other, "other", get("secret/a")).await), "OK");
        policy(&bed, "team", "all", ALL).await;
        assert_eq!(reason(at(&bed, &team, "team", get("secret/a")).await), "OK");
        assert_eq!(reason(at(&bed, &team, "team/app", get("secret/a")).await), "OK");
    }
}
