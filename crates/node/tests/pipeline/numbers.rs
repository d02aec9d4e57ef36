//! Limits on numbers: exact, whatever is under way, and right again after all that ends.

use aumbry_auth::identity::mfa;
use aumbry_auth::{Error, approle, identity, namespace};
use aumbry_logical::{Body, Verb};
use aumbry_node::method::{Asked, LoginAsk, MethodAsk, Shown};
use aumbry_node::quotas;
use aumbry_node::{MountOptions, MountTable};
use aumbry_types::MountPath;
use serde_json::{Value, json};

use crate::bed::*;

async fn at(bed: &Bed, token: &SecretBytes, namespace: &str, operation: Operation) -> Result<Reply, Failure> {
    let mut request = bed.request(token, operation, "");
    request.namespace = NamespacePath::parse(namespace).expect("is one");
    bed.node.serve(&request).await.map(|answer| answer.reply)
}

fn body(value: Value) -> Body {
    match value {
        Value::Object(object) => Body::new(object),
        _ => Body::default(),
    }
}

fn ask(path: &str, verb: Verb, asked: Result<Asked, Error>) -> Operation {
    Operation::Method(MethodAsk {
        path: path.to_owned(),
        verb,
        asked: asked.expect("is a request"),
        said: Vec::new(),
    })
}

async fn quota(bed: &Bed, verb: Verb, path: &str, value: Value) -> Result<Reply, Failure> {
    let request = quotas::Request::parse(verb, path, body(value)).map(Asked::Quota);
    bed.call(ask(&format!("sys/quotas/{path}"), verb, request)).await
}

async fn set(bed: &Bed, path: &str, value: Value) {
    let text = value.to_string();
    assert_eq!(
        reason(quota(bed, Verb::Write, path, value).await),
        "OK",
        "{path} {text}"
    );
}

/// What is told of a limit.
async fn told(bed: &Bed, path: &str) -> Value {
    match quota(bed, Verb::Read, path, Value::Null).await {
        Ok(Reply::Json { data, .. }) => serde_json::from_slice(data.expose()).expect("is JSON"),
        Ok(_) => panic!("another reply"),
        Err(failure) => panic!("{path}: {failure}"),
    }
}

async fn counter(bed: &Bed, path: &str) -> Value {
    told(bed, path).await["counter"].clone()
}

/// Waits for what the node does by itself.
async fn until_counter(bed: &Bed, path: &str, expect: u64) {
    loop {
        if counter(bed, path).await == expect {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn create(bed: &Bed, by: &SecretBytes, namespace: &str, wanted: Create) -> Result<SecretBytes, Failure> {
    match at(bed, by, namespace, Operation::TokenCreate(wanted)).await? {
        Reply::NewToken(new) => Ok(new.token),
        _ => panic!("another reply"),
    }
}

fn lasting(ttl_s: u64) -> Create {
    Create {
        ttl_s,
        ..Create::default()
    }
}

async fn make_namespace(bed: &Bed, above: &str, name: &str) -> Result<Reply, Failure> {
    let request = namespace::Request::parse(Verb::Write, Some(name), Body::default());
    let path = format!("sys/namespaces/{name}");
    at(
        bed,
        &bed.root,
        above,
        ask(&path, Verb::Write, request.map(Asked::Namespace)),
    )
    .await
}

/// An AppRole mount with a role that needs no secret id. Gives its role id.
async fn approle(bed: &Bed, namespace: &str, path: &str) -> String {
    let enable = Operation::MountEnable {
        table: MountTable::Auth,
        path: mount(path),
        kind: "approle".to_owned(),
        description: String::new(),
        options: MountOptions::default(),
    };
    assert_eq!(reason(at(bed, &bed.root, namespace, enable).await), "OK");
    let role = json!({ "bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32", "role_id": format!("id-{path}") });
    let written = of_approle(bed, namespace, path, "role/ci", role).await;
    assert_eq!(reason(written), "OK");
    format!("id-{path}")
}

async fn of_approle(bed: &Bed, namespace: &str, at_mount: &str, path: &str, value: Value) -> Result<Reply, Failure> {
    let request = approle::Request::parse(Verb::Write, path, body(value));
    let asked = request.map(|request| Asked::AppRole(mount(at_mount), request));
    let path = format!("auth/{at_mount}/{path}");
    at(bed, &bed.root, namespace, ask(&path, Verb::Write, asked)).await
}

async fn login(bed: &Bed, namespace: &str, at_mount: &str, role_id: &str) -> Result<SecretBytes, Failure> {
    let operation = Operation::Login(LoginAsk {
        mount: mount(at_mount),
        path: format!("auth/{at_mount}/login"),
        shown: Shown::AppRole(approle::LoginRequest {
            role_id: role_id.to_owned(),
            secret_id: SecretBytes::default(),
        }),
        codes: mfa::Codes::default(),
    });
    match at(bed, &SecretBytes::default(), namespace, operation).await? {
        Reply::NewToken(new) => Ok(new.token),
        _ => panic!("another reply"),
    }
}

fn mount(path: &str) -> MountPath {
    MountPath::parse(path).expect("is a path")
}

const FULL: &str = "QUOTA_EXCEEDED";

/// Abuse cases: 97.
#[tokio::test]
async fn no_two_plans_take_the_last_place() {
    let bed = Bed::open().await;
    set(
        &bed,
        "lease-count/all",
        json!({ "max_leases": 6, "inheritable": false }),
    )
    .await;
    set(
        &bed,
        "lease-count/made",
        json!({ "path": "auth/token/create", "max_leases": 4 }),
    )
    .await;
    assert_eq!(
        counter(&bed, "lease-count/all").await,
        1,
        "root's own token was there before"
    );
    assert_eq!(counter(&bed, "lease-count/made").await, 0);
    // All are planned while none is applied.
    bed.consensus.open.send_replace(false);
    let all = async {
        let made = (0..20).map(|_| create(&bed, &bed.root, "", lasting(60)));
        futures::future::join_all(made).await
    };
    let open = async {
        bed.consensus.holds_one().await;
        bed.consensus.open.send_replace(true);
    };
    let (made, ()) = tokio::join!(all, open);
    let tokens: Vec<SecretBytes> = made.into_iter().flatten().collect();
    assert_eq!(tokens.len(), 4);
    assert_eq!(
        (
            counter(&bed, "lease-count/made").await,
            counter(&bed, "lease-count/all").await
        ),
        (json!(4), json!(5))
    );
    let refused = create(&bed, &bed.root, "", lasting(60)).await.map(|_| ());
    let refused = refused.expect_err("there is no place left");
    assert_eq!((refused.class, refused.reason), (Class::ResourceExhausted, FULL));
    assert!(refused.message.starts_with("lease count quota exceeded"), "{refused}");
    // A place is taken by one only, whoever gives it back.
    let revoke = Operation::TokenRevoke(TokenName::Own);
    assert_eq!(reason(bed.call_as(&tokens[0], revoke).await), "OK");
    let again = [(); 5].map(|()| create(&bed, &bed.root, "", lasting(60)));
    let again = futures::future::join_all(again).await;
    assert_eq!(again.iter().filter(|made| made.is_ok()).count(), 1);
    // Those that expire leave theirs, and so do those whose parent goes.
    bed.clock.advance_ms(61_000);
    until_counter(&bed, "lease-count/made", 0).await;
    assert_eq!(counter(&bed, "lease-count/all").await, 1);
    let parent = create(&bed, &bed.root, "", lasting(600)).await.expect("there is room");
    for _ in 0..3 {
        assert_eq!(reason(create(&bed, &parent, "", lasting(600)).await), "OK");
    }
    assert_eq!(reason(create(&bed, &parent, "", lasting(600)).await), FULL);
    assert_eq!(
        reason(bed.call_as(&parent, Operation::TokenRevoke(TokenName::Own)).await),
        "OK"
    );
    until_counter(&bed, "lease-count/made", 0).await;
    assert_eq!(counter(&bed, "lease-count/all").await, 1);
}

#[tokio::test]
async fn what_is_lost_takes_no_place_and_refuses_nobody() {
    let bed = Bed::open().await;
    set(
        &bed,
        "lease-count/made",
        json!({ "path": "auth/token", "max_leases": 2 }),
    )
    .await;
    bed.consensus.open.send_replace(false);
    let lost = async {
        let made = (0..6).map(|_| create(&bed, &bed.root, "", lasting(60)));
        futures::future::join_all(made).await
    };
    let depose = async {
        bed.consensus.holds_one().await;
        bed.consensus.local.depose();
        bed.consensus.open.send_replace(true);
    };
    let (lost, ()) = tokio::join!(lost, depose);
    let made = lost.iter().filter(|made| made.is_ok()).count();
    // A refusal that rested on what was lost is told to nobody as one.
    let held = counter(&bed, "lease-count/made").await;
    assert_eq!(
        held,
        made as u64,
        "{:?}",
        lost.iter().map(|made| made.as_ref().map(|_| ())).collect::<Vec<_>>()
    );
    let refused = lost
        .iter()
        .filter(|made| made.as_ref().is_err_and(|failure| failure.reason == FULL));
    assert!(made == 2 || refused.count() == 0);
    let rest = [(); 4].map(|()| create(&bed, &bed.root, "", lasting(60)));
    let rest = futures::future::join_all(rest).await;
    assert_eq!(rest.iter().filter(|made| made.is_ok()).count() + made, 2);
    assert_eq!(counter(&bed, "lease-count/made").await, 2);
}

#[tokio::test]
async fn logins_are_counted_by_mount_role_and_namespace() {
    let bed = Bed::open().await;
    assert_eq!(reason(make_namespace(&bed, "", "team").await), "OK");
    let (own, tenants) = (
        approle(&bed, "", "approle").await,
        approle(&bed, "team", "approle").await,
    );
    // Who is there already is counted, where a container of the state's holds them.
    let first = login(&bed, "", "approle", &own).await.expect("is let in");
    set(
        &bed,
        "lease-count/mount",
        json!({ "path": "auth/approle/", "max_leases": 3 }),
    )
    .await;
    assert_eq!(counter(&bed, "lease-count/mount").await, 1);
    set(
        &bed,
        "lease-count/role",
        json!({ "path": "auth/approle", "role": "CI", "max_leases": 1 }),
    )
    .await;
    assert_eq!(counter(&bed, "lease-count/role").await, 0, "from when it was set");
    assert_eq!(reason(login(&bed, "", "approle", &own).await), "OK");
    assert_eq!(reason(login(&bed, "", "approle", &own).await), FULL, "by the role");
    assert_eq!(
        reason(login(&bed, "team", "approle", &tenants).await),
        "OK",
        "others are not limited"
    );
    assert_eq!(
        reason(quota(&bed, Verb::Delete, "lease-count/role", Value::Null).await),
        "OK"
    );
    assert_eq!(reason(login(&bed, "", "approle", &own).await), "OK");
    assert_eq!(reason(login(&bed, "", "approle", &own).await), FULL, "by the mount");
    assert_eq!(
        reason(bed.call_as(&first, Operation::TokenRevoke(TokenName::Own)).await),
        "OK"
    );
    assert_eq!(reason(login(&bed, "", "approle", &own).await), "OK");

    // A namespace by itself, and with all below it.
    set(&bed, "lease-count/team", json!({ "path": "team/", "max_leases": 2 })).await;
    assert_eq!(reason(make_namespace(&bed, "team", "app").await), "OK");
    assert_eq!(reason(create(&bed, &bed.root, "team/app", lasting(60)).await), "OK");
    assert_eq!(reason(login(&bed, "team", "approle", &tenants).await), "OK");
    assert_eq!(reason(login(&bed, "team", "approle", &tenants).await), FULL);
    set(&bed, "lease-count/team", json!({ "max_leases": 100 })).await;
    assert_eq!(counter(&bed, "lease-count/team").await, 2);
    set(&bed, "lease-count/all", json!({ "path": "", "max_leases": 2 })).await;
    assert_eq!(told(&bed, "lease-count/all").await["inheritable"], true);
    assert_eq!(reason(create(&bed, &bed.root, "team/app", lasting(60)).await), "OK");
    assert_eq!(reason(create(&bed, &bed.root, "", lasting(60)).await), "OK");
    assert_eq!(counter(&bed, "lease-count/all").await, 2);
    for namespace in ["", "team", "team/app"] {
        assert_eq!(
            reason(create(&bed, &bed.root, namespace, lasting(60)).await),
            FULL,
            "{namespace:?}"
        );
    }
    // What speaks of something else counts anew; what is deleted limits nobody, and tokens go on.
    set(&bed, "lease-count/all", json!({ "path": "team", "inheritable": true })).await;
    assert_eq!(counter(&bed, "lease-count/all").await, 0);
    let last = create(&bed, &bed.root, "team", lasting(60))
        .await
        .expect("there is room");
    assert_eq!(
        reason(quota(&bed, Verb::Delete, "lease-count/all", Value::Null).await),
        "OK"
    );
    assert_eq!(
        reason(at(&bed, &last, "team", Operation::TokenLookup(TokenName::Own)).await),
        "OK"
    );
    bed.clock.advance_ms(61_000);
    until_counter(&bed, "lease-count/team", 2).await;
}

#[tokio::test]
async fn other_things_are_counted_by_namespace() {
    let bed = Bed::open().await;
    for name in ["team", "other"] {
        assert_eq!(reason(make_namespace(&bed, "", name).await), "OK");
    }
    let role = approle(&bed, "team", "approle").await;
    for (kind, max) in [
        ("entities", 2),
        ("aliases", 100),
        ("policies", 3),
        ("mounts", 1),
        ("auth-mounts", 2),
        ("groups", 1),
        ("namespaces", 2),
        ("roles", 2),
        ("secret-ids", 2),
    ] {
        let limit = json!({ "path": "team", "kind": kind, "max_objects": max });
        set(&bed, &format!("object-count/{kind}"), limit).await;
    }
    let policy = async |namespace: &str, name: &str| {
        let name = Name::parse(name).expect("is a name");
        let write = Operation::PolicyWrite(name, "path \"a\" { capabilities = [\"read\"] }".to_owned());
        reason(at(&bed, &bed.root, namespace, write).await)
    };
    // `default` is one of them.
    for (name, expect) in [("a", "OK"), ("b", "OK"), ("c", FULL), ("a", "OK")] {
        assert_eq!(policy("team", name).await, expect, "{name}");
        assert_eq!(policy("other", name).await, "OK");
    }
    assert_eq!(counter(&bed, "object-count/policies").await, 3);
    let write = async |path: &str, value: Value| {
        let request = identity::Request::parse(Verb::Write, path, body(value)).map(Asked::Identity);
        reason(
            at(
                &bed,
                &bed.root,
                "team",
                ask(&format!("identity/{path}"), Verb::Write, request),
            )
            .await,
        )
    };
    assert_eq!(write("entity/name/ann", json!({})).await, "OK");
    assert_eq!(
        reason(login(&bed, "team", "approle", &role).await),
        "OK",
        "makes the second one"
    );
    assert_eq!(
        reason(login(&bed, "team", "approle", &role).await),
        "OK",
        "who is known is let in"
    );
    assert_eq!(write("entity/name/bob", json!({})).await, FULL);
    // Another name is no further entity.
    assert_eq!(write("entity/name/ann", json!({ "policies": "a" })).await, "OK");
    assert_eq!(
        (
            write("group/name/a", json!({})).await,
            write("group/name/b", json!({})).await
        ),
        ("OK", FULL)
    );
    let make = async |path: &str| {
        let text = json!({ "bind_secret_id": true });
        reason(of_approle(&bed, "team", "approle", path, text).await)
    };
    assert_eq!((make("role/second").await, make("role/third").await), ("OK", FULL));
    // A newcomer of a role that nobody knew is refused, and told why.
    let id = json!({ "role_id": "second", "bind_secret_id": false, "token_bound_cidrs": "127.0.0.1/32" });
    assert_eq!(
        reason(of_approle(&bed, "team", "approle", "role/second", id).await),
        "OK"
    );
    let refused = login(&bed, "team", "approle", "second").await.map(|_| ());
    let refused = refused.expect_err("there are two entities");
    assert!(
        refused.reason == FULL && refused.message.starts_with("object count quota exceeded"),
        "{refused}"
    );
    let bind = json!({ "bind_secret_id": true });
    for role in ["ci", "second"] {
        assert_eq!(
            reason(of_approle(&bed, "team", "approle", &format!("role/{role}"), bind.clone()).await),
            "OK"
        );
        for expect in ["OK", "OK", FULL] {
            let made = of_approle(&bed, "team", "approle", &format!("role/{role}/secret-id"), json!({})).await;
            assert_eq!(reason(made), expect, "{role}: each has its own");
        }
    }
    assert_eq!(
        counter(&bed, "object-count/secret-ids").await,
        Value::Null,
        "it is no one number"
    );
    for (above, name, expect) in [
        ("team", "a", "OK"),
        ("team/a", "b", "OK"),
        ("team/a", "c", FULL),
        ("team", "c", FULL),
    ] {
        assert_eq!(
            reason(make_namespace(&bed, above, name).await),
            expect,
            "{above}/{name}"
        );
    }
    assert_eq!(counter(&bed, "object-count/namespaces").await, 2);
    assert_eq!(reason(make_namespace(&bed, "other", "c").await), "OK");
    // A mount that is moved is the same one.
    let kv = |path: &str| Operation::MountEnable {
        table: MountTable::Secrets,
        path: mount(path),
        kind: "kv".to_owned(),
        description: String::new(),
        options: MountOptions {
            version: 2,
            ..MountOptions::default()
        },
    };
    assert_eq!(reason(at(&bed, &bed.root, "team", kv("one")).await), "OK");
    assert_eq!(reason(at(&bed, &bed.root, "team", kv("two")).await), FULL);
    let moved = Operation::MountMove {
        table: MountTable::Secrets,
        from: mount("one"),
        to: mount("two"),
    };
    assert_eq!(reason(at(&bed, &bed.root, "team", moved).await), "OK");
    assert_eq!(counter(&bed, "object-count/mounts").await, 1);
}

#[tokio::test]
async fn what_means_nothing_is_refused() {
    let bed = Bed::open().await;
    assert_eq!(reason(make_namespace(&bed, "", "team").await), "OK");
    for (path, value) in [
        ("lease-count/bad", json!({})),
        ("lease-count/bad", json!({ "max_leases": "many" })),
        ("lease-count/bad", json!({ "max_leases": 1_000_000_001_u64 })),
        ("lease-count/bad", json!({ "max_leases": 1, "path": "a*b" })),
        (
            "lease-count/bad",
            json!({ "max_leases": 1, "path": "auth/token", "inheritable": true }),
        ),
        (
            "lease-count/bad",
            json!({ "max_leases": 1, "path": "none", "inheritable": true }),
        ),
        ("object-count/bad", json!({ "max_objects": 1 })),
        ("object-count/bad", json!({ "max_objects": 1, "kind": "leases" })),
        ("object-count/bad", json!({ "kind": "entities" })),
        (
            "object-count/bad",
            json!({ "max_objects": 1, "kind": "entities", "path": "auth/approle" }),
        ),
        (
            "object-count/bad",
            json!({ "max_objects": 1, "kind": "roles", "path": "team/secret" }),
        ),
        (
            "object-count/bad",
            json!({ "max_objects": 1, "kind": "roles", "role": "ci" }),
        ),
    ] {
        let text = value.to_string();
        assert_eq!(
            reason(quota(&bed, Verb::Write, path, value).await),
            "INVALID_REQUEST",
            "{path} {text}"
        );
    }
    for (verb, path) in [
        (Verb::List, "lease-count"),
        (Verb::Read, "lease-count/none"),
        (Verb::List, "object-count"),
    ] {
        assert_eq!(
            reason(quota(&bed, verb, path, Value::Null).await),
            "NOT_FOUND",
            "{path}"
        );
    }
    // One name in each family, and one limit of each thing.
    set(&bed, "lease-count/few", json!({ "path": "team", "max_leases": 5 })).await;
    set(
        &bed,
        "object-count/few",
        json!({ "path": "team", "kind": "groups", "max_objects": 5 }),
    )
    .await;
    for (path, value) in [
        ("lease-count/more", json!({ "path": "/team/", "max_leases": 6 })),
        (
            "object-count/more",
            json!({ "path": "team", "kind": "groups", "max_objects": 6 }),
        ),
    ] {
        assert_eq!(reason(quota(&bed, Verb::Write, path, value).await), "INVALID_REQUEST");
    }
    assert_eq!(
        told(&bed, "object-count/few").await,
        json!({
            "name": "few", "type": "object-count", "path": "team", "kind": "groups", "max_objects": 5,
            "inheritable": false, "counter": 0,
        })
    );
    assert_eq!(
        told(&bed, "lease-count/few").await,
        json!({
            "name": "few", "type": "lease-count", "path": "team", "role": "", "max_leases": 5,
            "inheritable": false, "counter": 0,
        })
    );
    // A limit is the operator's, who is in the root.
    let request = quotas::Request::parse(Verb::Read, "lease-count/few", Body::default()).map(Asked::Quota);
    let below = at(
        &bed,
        &bed.root,
        "team",
        ask("sys/quotas/lease-count/few", Verb::Read, request),
    )
    .await;
    assert_eq!(reason(below), "ONLY_IN_ROOT");
}
