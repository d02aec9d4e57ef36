//! Logins of pods, against an API server that reviews tokens as Kubernetes does: it refuses reviewers that it does not know, and tells of audiences.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Authority, Cluster, WebAsked, WebReply, WebStub, eventually, records};
use aumbry_types::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::bed::{Http, done};
use crate::signer::Signer;

const REVIEWER: &str = "reviewer-token-canary";

/// What the API server knows of tokens: the accounts by token, and whether they still exist.
struct Knows {
    deleted: AtomicBool,
}

/// The API server. Tokens are `NAMESPACE/NAME` for the audience of the API server, or with `@AUDIENCE` for another.
fn api_server(knows: Arc<Knows>) -> impl Fn(&WebAsked) -> WebReply + Send + Sync + 'static {
    move |asked| {
        if asked.line != "POST /apis/authentication.k8s.io/v1/tokenreviews" {
            return WebReply::Json(404, json!({ "kind": "Status", "code": 404 }));
        }
        let token = asked.body["spec"]["token"].as_str().unwrap_or_default();
        // A reviewer may be the account itself, if it is allowed to review.
        if asked.bearer != REVIEWER && asked.bearer != "infra/reviewer" {
            return WebReply::Json(401, json!({ "kind": "Status", "status": "Failure", "code": 401 }));
        }
        let review = |status: Value| {
            let review = json!({
                "kind": "TokenReview",
                "apiVersion": "authentication.k8s.io/v1",
                "metadata": { "creationTimestamp": null },
                "spec": asked.body["spec"],
                "status": status,
            });
            WebReply::Json(201, review)
        };
        let (account, audience) = token
            .split_once('@')
            .unwrap_or((token, "https://kubernetes.default.svc"));
        let wanted = asked.body["spec"]["audiences"].as_array().cloned();
        let wanted = wanted.unwrap_or_else(|| vec![json!("https://kubernetes.default.svc")]);
        let is_known = !knows.deleted.load(Ordering::SeqCst) && wanted.iter().any(|one| one == audience);
        match account.split_once('/') {
            Some((namespace, name)) if is_known => review(json!({
                "authenticated": true,
                "user": {
                    "username": format!("system:serviceaccount:{namespace}:{name}"),
                    "uid": format!("uid-of-{name}"),
                    "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}"), "system:authenticated"],
                },
                "audiences": [audience],
            })),
            None if account == "somebody" => review(json!({
                "authenticated": true,
                "user": { "username": "admin", "uid": "1", "groups": ["system:masters"] },
                "audiences": wanted,
            })),
            _ => review(json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" })),
        }
    }
}

async fn login(http: &Http, role: &str, jwt: &str) -> Result<Answered> {
    http.ask_with(
        "POST",
        "auth/kubernetes/login",
        &[],
        &json!({ "role": role, "jwt": jwt }),
    )
    .await
}

const REFUSED: &str = "{\"errors\":[\"permission denied\"]}";

/// Who the API server says that somebody is, and no other, gets in; it is asked each time. Abuse cases: 18, 30.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_says_whose_a_token_is() -> Result<()> {
    let (authority, knows) = (
        Authority::make()?,
        Arc::new(Knows {
            deleted: AtomicBool::new(false),
        }),
    );
    let server = WebStub::start(&authority, api_server(Arc::clone(&knows))).await?;
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/kubernetes", json!({ "type": "kubernetes" })).await?;
    let config = json!({
        "kubernetes_host": server.address, "kubernetes_ca_cert": authority.pem(), "token_reviewer_jwt": REVIEWER,
    });
    done(&root, "POST", "auth/kubernetes/config", config).await?;
    let read = root.ask("GET", "auth/kubernetes/config", &Value::Null).await?;
    ensure!(read.code == 200 && !read.body.contains(REVIEWER), "{read:?}");
    ensure!(read.json()["data"]["token_reviewer_jwt_set"] == true, "{read:?}");
    let role = json!({
        "bound_service_account_names": "app,web-*", "bound_service_account_namespaces": ["prod"], "token_policies": "default",
    });
    done(&root, "POST", "auth/kubernetes/role/app", role).await?;
    let bound = json!({
        "bound_service_account_names": "app", "bound_service_account_namespaces": "prod", "audience": "aumbry",
        "alias_name_source": "serviceaccount_name",
    });
    done(&root, "POST", "auth/kubernetes/role/bound", bound).await?;
    let nodes: Vec<Http> = (0..3).map(|node| Http::on(&cluster, node, "")).collect::<Result<_>>()?;
    for (node, account) in ["prod/app", "prod/web-1", "prod/web-"].into_iter().enumerate() {
        let answer = login(&nodes[node], "app", account).await?;
        let auth = &answer.json()["auth"];
        let name = account.trim_start_matches("prod/");
        ensure!(
            answer.code == 200 && auth["metadata"]["service_account_name"] == name,
            "{account}: {answer:?}"
        );
        ensure!(
            auth["metadata"]["service_account_uid"] == format!("uid-of-{name}"),
            "{answer:?}"
        );
    }
    ensure!(server.asked() == 3, "each login is reviewed: {}", server.asked());
    let answer = login(&nodes[0], "bound", "prod/app@aumbry").await?;
    ensure!(answer.code == 200, "{answer:?}");
    for (at, (role, account)) in [
        ("app", "prod/other"),
        ("app", "test/app"),
        ("app", "somebody"),
        ("app", "nobody"),
        ("app", "prod/app@aumbry"),
        ("bound", "prod/app"),
        ("bound", "prod/app@vault"),
        ("none", "prod/app"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = login(&nodes[at % 3], role, account).await?;
        ensure!(
            answer.code == 400 && answer.body == REFUSED,
            "{role} {account}: {answer:?}"
        );
    }
    let recorded = records(&cluster.client()?).await?;
    let logins: Vec<_> = recorded
        .iter()
        .filter(|record| record.text("operation") == "kubernetes.login")
        .collect();
    let reasons: BTreeSet<&str> = logins
        .iter()
        .filter(|r| !r.is_allowed())
        .map(|r| r.text("rule"))
        .collect();
    let expected = ["no service account", "not authenticated", "role", "service account"];
    ensure!(reasons == BTreeSet::from(expected), "{reasons:?}");
    let everything: String = recorded.iter().map(|record| record.event.to_string()).collect();
    ensure!(!everything.contains(REVIEWER), "the reviewer's token is on record");
    // An account that is deleted gets in no more.
    knows.deleted.store(true, Ordering::SeqCst);
    let answer = login(&nodes[0], "app", "prod/app").await?;
    ensure!(answer.code == 400, "{answer:?}");
    Ok(())
}

/// A reviewer that the API server does not know lets nobody in; without one, who logs in reviews itself; a server that is away is nobody's fault.
#[tokio::test(flavor = "multi_thread")]
async fn who_reviews_must_be_let_in() -> Result<()> {
    let (authority, knows) = (
        Authority::make()?,
        Arc::new(Knows {
            deleted: AtomicBool::new(false),
        }),
    );
    let server = WebStub::start(&authority, api_server(knows)).await?;
    let other = WebStub::start(&authority, |asked| WebReply::Json(500, json!({ "told": asked.bearer }))).await?;
    let cluster = Cluster::start(1)?;
    let (root, nobody) = (Http::root(&cluster)?, Http::on(&cluster, 0, "")?);
    done(&root, "POST", "sys/auth/kubernetes", json!({ "type": "kubernetes" })).await?;
    let role = json!({ "bound_service_account_names": "*", "bound_service_account_namespaces": "infra" });
    done(&root, "POST", "auth/kubernetes/role/r", role).await?;
    let config = |reviewer: &str| json!({ "kubernetes_host": server.address, "kubernetes_ca_cert": authority.pem(), "token_reviewer_jwt": reviewer });
    done(&root, "POST", "auth/kubernetes/config", config("another")).await?;
    ensure!(
        login(&nobody, "r", "infra/reviewer").await?.code == 400,
        "a reviewer that is not known"
    );
    done(&root, "POST", "auth/kubernetes/config", config("")).await?;
    ensure!(
        login(&nobody, "r", "infra/reviewer").await?.code == 200,
        "it reviews itself"
    );
    ensure!(login(&nobody, "r", "infra/app").await?.code == 400, "it may not review");
    // A reviewer that was set stays when another setting changes, and goes with the server that it is for.
    done(&root, "POST", "auth/kubernetes/config", config(REVIEWER)).await?;
    let kept = json!({ "kubernetes_host": server.address, "kubernetes_ca_cert": authority.pem(), "issuer": "x" });
    done(&root, "POST", "auth/kubernetes/config", kept).await?;
    ensure!(
        login(&nobody, "r", "infra/app").await?.code == 200,
        "the reviewer's token is gone"
    );
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&seen);
    other.does(move |asked| {
        asked
            .bearer
            .clone_into(&mut told.lock().expect("nobody panics with it"));
        WebReply::Json(500, json!({}))
    });
    let moved = json!({ "kubernetes_host": other.address, "kubernetes_ca_cert": authority.pem() });
    done(&root, "POST", "auth/kubernetes/config", moved).await?;
    ensure!(
        login(&nobody, "r", "infra/app").await?.code == 400,
        "it answers nonsense"
    );
    ensure!(
        *seen.lock().expect("nobody panics with it") == "infra/app",
        "another server was sent the reviewer's token"
    );
    done(&root, "POST", "auth/kubernetes/config", config(REVIEWER)).await?;
    server.does(|_| WebReply::Close);
    ensure!(
        login(&nobody, "r", "infra/app").await?.code == 503,
        "the server is away"
    );
    server.does(|_| WebReply::Hang);
    ensure!(login(&nobody, "r", "infra/app").await?.code == 503, "the server hangs");
    server.does(api_server(Arc::new(Knows {
        deleted: AtomicBool::new(false),
    })));
    eventually("it is back", || async {
        login(&nobody, "r", "infra/app")
            .await
            .is_ok_and(|answer| answer.code == 200)
    })
    .await
}

/// Keys that are given verify tokens here, without anybody being asked; with a server as well, both must agree.
#[tokio::test(flavor = "multi_thread")]
async fn keys_verify_tokens_here() -> Result<()> {
    let (authority, signer) = (Authority::make()?, Signer::make("sa", "RS256"));
    let stranger = Signer::make("sa", "RS256");
    let cluster = Cluster::start(1)?;
    let (root, nobody) = (Http::root(&cluster)?, Http::on(&cluster, 0, "")?);
    done(&root, "POST", "sys/auth/kubernetes", json!({ "type": "kubernetes" })).await?;
    let issuer = "https://kubernetes.default.svc";
    let config = json!({ "pem_keys": [signer.pem()], "issuer": issuer });
    done(&root, "POST", "auth/kubernetes/config", config).await?;
    let role = json!({
        "bound_service_account_names": "app", "bound_service_account_namespaces": "prod", "audience": "aumbry",
    });
    done(&root, "POST", "auth/kubernetes/role/r", role).await?;
    let now = SystemClock.wall().0 / 1_000;
    let claims = |further: Value| {
        let mut claims = json!({
            "iss": issuer, "aud": ["aumbry"], "iat": now, "nbf": now, "exp": now + 600,
            "sub": "system:serviceaccount:prod:app",
            "kubernetes.io": { "namespace": "prod", "serviceaccount": { "name": "app", "uid": "u1" }, "pod": { "name": "p" } },
        });
        for (name, value) in further.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    };
    let answer = login(&nobody, "r", &signer.sign(&claims(json!({})))).await?;
    ensure!(
        answer.code == 200 && answer.json()["auth"]["metadata"]["service_account_uid"] == "u1",
        "{answer:?}"
    );
    let refused = [
        stranger.sign(&claims(json!({}))),
        crate::signer::unsigned(&claims(json!({}))),
        signer.sign(&claims(json!({ "exp": now - 61 }))),
        signer.sign(&claims(json!({ "nbf": now + 600 }))),
        signer.sign(&claims(json!({ "aud": ["vault"] }))),
        signer.sign(&claims(json!({ "aud": null }))),
        signer.sign(&claims(json!({ "iss": "https://other" }))),
        signer.sign(&claims(json!({ "sub": "system:serviceaccount:test:app" }))),
        signer.sign(&claims(json!({ "sub": "system:serviceaccount:prod:app:x" }))),
        signer.sign(&claims(json!({ "sub": "prod:app" }))),
    ];
    for jwt in &refused {
        let answer = login(&nobody, "r", jwt).await?;
        ensure!(answer.code == 400 && answer.body == REFUSED, "{answer:?}");
    }
    // A server that says somebody else is not overruled.
    let server = WebStub::start(&authority, |_| {
        WebReply::Json(
            201,
            json!({ "status": {
                "authenticated": true, "audiences": ["aumbry"],
                "user": { "username": "system:serviceaccount:prod:other", "uid": "u2" },
            }}),
        )
    })
    .await?;
    let both =
        json!({ "pem_keys": [signer.pem()], "kubernetes_host": server.address, "kubernetes_ca_cert": authority.pem() });
    done(&root, "POST", "auth/kubernetes/config", both).await?;
    ensure!(
        login(&nobody, "r", &signer.sign(&claims(json!({})))).await?.code == 400,
        "they do not agree"
    );
    let before = server.asked();
    ensure!(
        login(&nobody, "r", &stranger.sign(&claims(json!({})))).await?.code == 400,
        "a stranger"
    );
    ensure!(server.asked() == before, "nobody is asked about a token that is forged");
    let answer = root.ask("POST", "auth/kubernetes/config", &json!({})).await?;
    let told = answer.json()["errors"][0].as_str().context("says why")?.to_owned();
    ensure!(answer.code == 400 && told.contains("kubernetes_host"), "{told}");
    Ok(())
}
