//! Logins by tokens of an issuer, on three nodes, against an issuer that can be good, away, slow, long-winded, or send us elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Answered, Authority, Cluster, WebReply, WebStub, eventually, records};
use aumbry_types::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::bed::{Http, done};
use crate::signer::{Signer, sign_hmac, unsigned};

/// Claims that are in time, with these instead of or beside the usual ones.
fn claims(further: Value) -> Value {
    let now = SystemClock.wall().0 / 1_000;
    let mut claims = json!({ "iss": "https://issuer.example", "sub": "repo:org/app", "aud": "aumbry", "iat": now, "exp": now + 600 });
    for (name, value) in further.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

/// An issuer with these keys.
fn keys(signers: &[&Signer]) -> impl Fn(&aumbry_tests::WebAsked) -> WebReply + Send + Sync + 'static {
    let set = json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() });
    move |asked| match asked.line.as_str() {
        "GET /keys" => WebReply::Json(200, set.clone()),
        _ => WebReply::Json(404, json!({})),
    }
}

/// A cluster with the method at `auth/jwt`, and who asks each of its nodes without a token.
struct Scene {
    cluster: Cluster,
    root: Http,
    nodes: Vec<Http>,
}

impl Scene {
    async fn start(config: Value) -> Result<Self> {
        let cluster = Cluster::start(3)?;
        let root = Http::root(&cluster)?;
        done(&root, "POST", "sys/auth/jwt", json!({ "type": "jwt" })).await?;
        done(&root, "POST", "auth/jwt/config", config).await?;
        let role = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": "aumbry",
            "bound_claims": { "sub": "repo:org/*" },
            "bound_claims_type": "glob",
            "claim_mappings": { "ref": "branch" },
            "token_policies": "default",
            "token_ttl": "10m",
        });
        done(&root, "POST", "auth/jwt/role/ci", role).await?;
        let nodes = (0..3).map(|node| Http::on(&cluster, node, "")).collect::<Result<_>>()?;
        Ok(Self { cluster, root, nodes })
    }

    async fn login(&self, node: usize, jwt: &str) -> Result<Answered> {
        let body = json!({ "role": "ci", "jwt": jwt });
        self.nodes[node].ask_with("POST", "auth/jwt/login", &[], &body).await
    }

    /// Why the logins so far were refused, by the audit log.
    async fn reasons(&self) -> Result<BTreeSet<String>> {
        let recorded = records(&self.cluster.client()?).await?;
        let refused = recorded
            .iter()
            .filter(|record| record.text("operation") == "jwt.login" && !record.is_allowed());
        Ok(refused.map(|record| record.text("rule").to_owned()).collect())
    }
}

fn remote(authority: &Authority, stub: &WebStub) -> Value {
    json!({
        "jwks_url": format!("{}/keys", stub.address),
        "jwks_ca_pem": authority.pem(),
        "bound_issuer": "https://issuer.example",
    })
}

/// The keys of an issuer let its tokens in, on each node; all of it is one entry, and the issuer is asked once.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_tokens_get_in() -> Result<()> {
    let (authority, signer) = (Authority::make()?, Signer::make("k1", "RS256"));
    let issuer = WebStub::start(&authority, keys(&[&signer])).await?;
    let scene = Scene::start(remote(&authority, &issuer)).await?;
    for node in 0..3 {
        let answer = scene
            .login(node, &signer.sign(&claims(json!({ "ref": "main" }))))
            .await?;
        let auth = &answer.json()["auth"];
        ensure!(answer.code == 200 && auth["metadata"]["branch"] == "main", "{answer:?}");
        ensure!(
            auth["metadata"]["role"] == "ci" && auth["lease_duration"] == 600,
            "{answer:?}"
        );
        let token = auth["client_token"].as_str().context("a token")?;
        let own = Http::on(&scene.cluster, node, token)?;
        let told = done(&own, "GET", "auth/token/lookup-self", Value::Null).await?;
        ensure!(told["data"]["display_name"] == "jwt-repo:org/app", "{told}");
    }
    ensure!(issuer.asked() == 1, "the issuer was asked {} times", issuer.asked());
    let client = scene.cluster.client()?;
    let status = async || client.call(v1::StatusRequest::default()).await;
    // A record is a request: the status that counts is one itself.
    let before = status().await?;
    for _ in 0..10 {
        let answer = scene.login(0, &signer.sign(&claims(json!({})))).await?;
        ensure!(answer.code == 200, "{answer:?}");
    }
    let after = status().await?;
    let recorded = after.audit_size - before.audit_size - 1;
    ensure!(recorded == 10, "10 logins left {recorded} records");
    let index = |reply: &v1::StatusReply| reply.header.as_ref().map_or(0, |header| header.index);
    let entries = index(&after) - index(&before) - 1;
    ensure!(entries == 10, "10 logins took {entries} entries");
    // What is kept on record of a token is its digest.
    let recorded = records(&client).await?;
    let logins: Vec<_> = recorded
        .iter()
        .filter(|record| record.text("operation") == "jwt.login")
        .collect();
    ensure!(
        logins.len() == 13 && logins.iter().all(|record| record.event["fields"]["role"] == "ci"),
        "{}",
        logins.len()
    );
    let jwts: Vec<&str> = logins
        .iter()
        .filter_map(|record| record.event["fields"]["jwt"].as_str())
        .collect();
    ensure!(
        jwts.len() == 13 && jwts.iter().all(|jwt| jwt.starts_with("hmac:")),
        "{jwts:?}"
    );
    Ok(())
}

/// Whatever is wrong with a token, all that is told is the same; the audit log says what it was. Abuse cases: 29.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_029_what_is_forged_foreign_or_late_is_refused() -> Result<()> {
    let authority = Authority::make()?;
    let (signer, stranger) = (Signer::make("k1", "RS256"), Signer::make("k1", "RS256"));
    let issuer = WebStub::start(&authority, keys(&[&signer])).await?;
    let scene = Scene::start(remote(&authority, &issuer)).await?;
    let good = claims(json!({}));
    let head = |further: Value| {
        let mut head = json!({ "alg": "RS256", "kid": "k1" });
        for (name, value) in further.as_object().into_iter().flatten() {
            head[name] = value.clone();
        }
        head
    };
    let answer = scene.login(0, &signer.sign(&good)).await?;
    ensure!(answer.code == 200, "the positive control: {answer:?}");
    let attacks = [
        ("algorithm", unsigned(&good)),
        ("algorithm", sign_hmac(signer.pem().as_bytes(), &good)),
        ("algorithm", sign_hmac(signer.jwk().to_string().as_bytes(), &good)),
        ("signature", stranger.sign(&good)),
        ("signature", signer.sign_as(&head(json!({ "alg": "PS256" })), &good)),
        ("no key", signer.sign_as(&head(json!({ "kid": "k2" })), &good)),
        ("no key", signer.sign_as(&head(json!({ "alg": "ES256" })), &good)),
        (
            "critical header",
            signer.sign_as(&head(json!({ "crit": ["b64"] })), &good),
        ),
        (
            "critical header",
            signer.sign_as(&head(json!({ "jku": format!("{}/keys", issuer.address) })), &good),
        ),
        (
            "critical header",
            stranger.sign_as(&head(json!({ "jwk": stranger.jwk() })), &good),
        ),
        (
            "malformed",
            signer.sign_as(&head(json!({ "kid": "k".repeat(1_000) })), &good),
        ),
        ("malformed", "not.a.token".to_owned()),
        ("too long", format!("{}{}", signer.sign(&good), "A".repeat(40_000))),
        ("audience", signer.sign(&claims(json!({ "aud": "vault" })))),
        ("audience", signer.sign(&claims(json!({ "aud": null })))),
        ("audience", signer.sign(&claims(json!({ "aud": [["aumbry"]] })))),
        ("expired", signer.sign(&claims(json!({ "iat": 1_000, "exp": 2_000 })))),
        (
            "not yet valid",
            signer.sign(&claims(json!({ "nbf": 9_999_999_999_u64 }))),
        ),
        ("no time", signer.sign(&claims(json!({ "iat": null, "exp": null })))),
        (
            "issuer",
            signer.sign(&claims(json!({ "iss": "https://other.example" }))),
        ),
        ("issuer", signer.sign(&claims(json!({ "iss": null })))),
        ("claim", signer.sign(&claims(json!({ "sub": "repo:evil/app" })))),
    ];
    // One source is counted after ten in a minute; each node that is asked is told the same all the same.
    let mut told = BTreeSet::new();
    for (at, (why, attack)) in attacks.iter().enumerate() {
        let answer = scene.login(at % 3, attack).await?;
        ensure!(answer.code == 400, "{why}: {answer:?}");
        told.insert(answer.body);
    }
    let body = json!({ "role": "nobody", "jwt": signer.sign(&good) });
    told.insert(
        scene.nodes[1]
            .ask_with("POST", "auth/jwt/login", &[], &body)
            .await?
            .body,
    );
    ensure!(
        told == BTreeSet::from(["{\"errors\":[\"the token or the role is not accepted\"]}".to_owned()]),
        "{told:?}"
    );
    let reasons = scene.reasons().await?;
    let first: BTreeSet<String> = attacks.iter().take(10).map(|(why, _)| (*why).to_owned()).collect();
    ensure!(reasons.is_superset(&first), "{reasons:?}");
    ensure!(issuer.asked() <= 12, "the issuer was asked {} times", issuer.asked());
    // Nothing of the configuration is a secret.
    let answer = scene.root.ask("GET", "auth/jwt/config", &Value::Null).await?;
    ensure!(
        answer.code == 200 && answer.json()["data"]["bound_issuer"] == "https://issuer.example",
        "{answer:?}"
    );
    Ok(())
}

/// A new key is known soon after it is used, an old one is gone with it; and whoever shows names of keys that nobody has makes no issuer be asked for each.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_found_and_a_flood_of_names_asks_nobody() -> Result<()> {
    let authority = Authority::make()?;
    let (old, new) = (Signer::make("old", "ES256"), Signer::make("new", "EdDSA"));
    let issuer = WebStub::start(&authority, keys(&[&old])).await?;
    let scene = Arc::new(Scene::start(remote(&authority, &issuer)).await?);
    ensure!(
        scene.login(0, &old.sign(&claims(json!({})))).await?.code == 200,
        "the old key is known"
    );
    issuer.does(keys(&[&new]));
    let (old_token, new_token) = (old.sign(&claims(json!({}))), new.sign(&claims(json!({}))));
    eventually("the new key is known", || async {
        scene.login(1, &new_token).await.is_ok_and(|answer| answer.code == 200)
    })
    .await?;
    ensure!(scene.login(2, &old_token).await?.code == 400, "the old key is gone");
    let (before, began) = (issuer.asked(), std::time::Instant::now());
    let flood = (0..60).map(|n| {
        let scene = Arc::clone(&scene);
        let token = old.sign_as(
            &json!({ "alg": "ES256", "kid": format!("kid-{n}") }),
            &claims(json!({})),
        );
        async move { scene.login(n % 3, &token).await }
    });
    for answer in futures::future::try_join_all(flood).await? {
        ensure!(answer.code == 400, "{answer:?}");
    }
    let (asked, pauses) = (issuer.asked() - before, began.elapsed().as_secs() / 5 + 1);
    ensure!(
        asked <= pauses,
        "60 names of keys made it be asked {asked} times in {:?}",
        began.elapsed()
    );
    ensure!(
        scene.login(0, &new_token).await?.code == 200,
        "who is known gets in all the same"
    );
    Ok(())
}

/// An issuer that is away, hangs, has no end, answers nonsense or sends us elsewhere gives no keys, and says nothing of the token: its client is told to
/// come again, and everybody else is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_answer_lets_nobody_in() -> Result<()> {
    let (authority, signer) = (Authority::make()?, Signer::make("k1", "EdDSA"));
    let issuer = WebStub::start(&authority, keys(&[&signer])).await?;
    let elsewhere = WebStub::start(&authority, keys(&[&signer])).await?;
    let scene = Scene::start(remote(&authority, &issuer)).await?;
    let token = signer.sign(&claims(json!({})));
    let other = format!("{}/keys", elsewhere.address);
    let at = |path: &str, authority: &Authority| {
        let mut config = remote(authority, &issuer);
        config["jwks_url"] = json!(format!("{}/{path}", issuer.address));
        config
    };
    issuer.does(move |asked| match asked.line.as_str() {
        "GET /away" => WebReply::Close,
        "GET /hang" => WebReply::Hang,
        "GET /endless" => WebReply::Endless,
        "GET /elsewhere" => WebReply::Redirect(other.clone()),
        "GET /nonsense" => WebReply::Json(200, json!(["nothing"])),
        "GET /empty" => WebReply::Json(200, json!({ "keys": [] })),
        "GET /error" => WebReply::Json(500, json!({ "keys": [] })),
        _ => WebReply::Json(404, json!({})),
    });
    for path in [
        "away",
        "hang",
        "endless",
        "elsewhere",
        "nonsense",
        "empty",
        "error",
        "missing",
    ] {
        done(&scene.root, "POST", "auth/jwt/config", at(path, &authority)).await?;
        let login = scene.login(1, &token);
        let mut login = std::pin::pin!(login);
        let answer = tokio::select! {
            answer = &mut login => answer?,
            read = async {
                for n in 0..5 {
                    done(&scene.root, "POST", &format!("secret/data/{path}{n}"), json!({ "data": { "k": "v" } })).await?;
                }
                Ok::<_, anyhow::Error>(())
            } => {
                read?;
                login.await?
            }
        };
        ensure!(answer.code == 503, "{path}: {answer:?}");
        ensure!(
            answer.head.contains("x-aumbry-reason: voucher_unavailable"),
            "{path}: {answer:?}"
        );
    }
    ensure!(elsewhere.asked() == 0, "a redirect was followed");
    // Whose certificate is of another authority is nobody.
    issuer.does(keys(&[&signer]));
    let before = issuer.asked();
    done(
        &scene.root,
        "POST",
        "auth/jwt/config",
        at("keys#x", &Authority::make()?),
    )
    .await
    .err()
    .context("no fragment is taken")?;
    done(&scene.root, "POST", "auth/jwt/config", at("keys", &Authority::make()?)).await?;
    let answer = scene.login(0, &token).await?;
    ensure!(answer.code == 503 && issuer.asked() == before, "{answer:?}");
    done(&scene.root, "POST", "auth/jwt/config", at("keys", &authority)).await?;
    ensure!(scene.login(0, &token).await?.code == 200, "the positive control");
    // Who goes away afterwards changes nothing for a while: its keys are known.
    issuer.does(|_| WebReply::Close);
    ensure!(scene.login(2, &token).await?.code == 200, "the keys are forgotten");
    Ok(())
}

/// An issuer that is discovered speaks for itself alone, and `oidc` is the same method.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_is_discovered() -> Result<()> {
    let (authority, signer) = (Authority::make()?, Signer::make("k1", "ES384"));
    let issuer = WebStub::start(&authority, |_| WebReply::Close).await?;
    let cluster = Cluster::start(1)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/corp", json!({ "type": "oidc" })).await?;
    let table = done(&root, "GET", "sys/auth", Value::Null).await?;
    ensure!(table["data"]["corp/"]["type"] == "oidc", "{table}");
    let role =
        json!({ "role_type": "jwt", "user_claim": "email", "bound_audiences": ["aumbry"], "groups_claim": "groups" });
    done(&root, "POST", "auth/corp/role/staff", role).await?;
    let own = issuer.address.clone();
    let config = |_: &str| json!({ "oidc_discovery_url": own, "oidc_discovery_ca_pem": authority.pem(), "default_role": "staff" });
    done(&root, "POST", "auth/corp/config", config("")).await?;
    let token = |iss: &str| {
        signer.sign(&claims(
            json!({ "iss": iss, "email": "a@example.com", "groups": ["dev"] }),
        ))
    };
    let login = async |jwt: String| {
        let nobody = Http::on(&cluster, 0, "")?;
        nobody
            .ask_with("POST", "auth/corp/login", &[], &json!({ "jwt": jwt }))
            .await
    };
    let set = json!({ "keys": [signer.jwk()] });
    let tells = |named: String, keys: String| {
        let set = set.clone();
        move |asked: &aumbry_tests::WebAsked| match asked.line.as_str() {
            "GET /.well-known/openid-configuration" => {
                WebReply::Json(200, json!({ "issuer": named, "jwks_uri": keys }))
            }
            "GET /keys" => WebReply::Json(200, set.clone()),
            _ => WebReply::Json(404, json!({})),
        }
    };
    // One that speaks for another issuer is not believed.
    issuer.does(tells(
        "https://other.example".to_owned(),
        format!("{}/keys", issuer.address),
    ));
    ensure!(login(token(&issuer.address)).await?.code == 503, "it spoke for another");
    issuer.does(tells(issuer.address.clone(), format!("{}/keys", issuer.address)));
    // It is asked again after a pause.
    eventually("it speaks for itself", || async {
        login(token(&issuer.address))
            .await
            .is_ok_and(|answer| answer.code == 200)
    })
    .await?;
    for foreign in ["https://other.example", ""] {
        let answer = login(token(foreign)).await?;
        ensure!(answer.code == 400, "{foreign}: {answer:?}");
    }
    let answer = login(token(&issuer.address)).await?;
    ensure!(answer.json()["auth"]["metadata"]["role"] == "staff", "{answer:?}");
    Ok(())
}

/// Who may write roles cannot give what nobody may give, and a mount that is disabled takes its logins' tokens along.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_goes_with_its_tokens() -> Result<()> {
    let (authority, signer) = (Authority::make()?, Signer::make("k1", "ES256"));
    let issuer = WebStub::start(&authority, keys(&[&signer])).await?;
    let scene = Scene::start(remote(&authority, &issuer)).await?;
    let body = json!({ "user_claim": "sub", "bound_audiences": "aumbry", "token_policies": "root" });
    let answer = scene.root.ask("POST", "auth/jwt/role/boss", &body).await?;
    ensure!(answer.code == 400, "{answer:?}");
    let made = scene.login(0, &signer.sign(&claims(json!({})))).await?.json();
    let token = made["auth"]["client_token"].as_str().context("a token")?;
    let own = Http::on(&scene.cluster, 1, token)?;
    done(&own, "GET", "auth/token/lookup-self", Value::Null).await?;
    done(&scene.root, "DELETE", "sys/auth/jwt", Value::Null).await?;
    let answer = own.ask("GET", "auth/token/lookup-self", &Value::Null).await?;
    ensure!(answer.code == 403, "{answer:?}");
    let answer = scene.login(0, &signer.sign(&claims(json!({})))).await?;
    ensure!(answer.code == 403 || answer.code == 404, "{answer:?}");
    // What was set up went along.
    done(&scene.root, "POST", "sys/auth/jwt", json!({ "type": "jwt" })).await?;
    let answer = scene.root.ask("GET", "auth/jwt/config", &Value::Null).await?;
    ensure!(answer.code == 404, "{answer:?}");
    let answer = scene.login(0, &signer.sign(&claims(json!({})))).await?;
    ensure!(answer.code == 400, "{answer:?}");
    Ok(())
}
