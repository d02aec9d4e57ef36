//! Logins by a browser, on three nodes, against a provider that checks what it is asked.

mod begin;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Canaries, Cluster, WebReply, eventually, records, search};
use serde_json::{Value, json};

use crate::bed::{Http, done, text};
use crate::provider::{CLIENT, Provider, SECRET, parameters};

const BACK: &str = "http://127.0.0.1:8250/oidc/callback";
const REFUSED: &str = "{\"errors\":[\"the token or the role is not accepted\"]}";

/// A cluster with the method at `auth/oidc`, and who asks each of its nodes without a token.
struct Scene {
    provider: Provider,
    cluster: Cluster,
    root: Http,
    nodes: Vec<Http>,
}

fn role() -> Value {
    json!({
        "role_type": "oidc", "user_claim": "sub", "groups_claim": "groups", "allowed_redirect_uris": [BACK, "https://ui.example/cb"],
        "oidc_scopes": ["profile", "email"], "claim_mappings": { "email": "email" }, "max_age": "1h",
        "token_policies": "default", "token_ttl": "10m",
    })
}

impl Scene {
    async fn start(nodes: usize) -> Result<Self> {
        let (provider, cluster) = (Provider::start().await?, Cluster::start(nodes)?);
        let root = Http::root(&cluster)?;
        done(&root, "POST", "sys/auth/oidc", json!({ "type": "oidc" })).await?;
        done(&root, "POST", "auth/oidc/config", provider.config()).await?;
        done(&root, "POST", "auth/oidc/role/staff", role()).await?;
        let nodes = (0..nodes)
            .map(|node| Http::on(&cluster, node, ""))
            .collect::<Result<_>>()?;
        Ok(Self {
            provider,
            cluster,
            root,
            nodes,
        })
    }

    async fn auth_url(&self, node: usize, body: &Value) -> Result<Answered> {
        self.nodes[node]
            .ask_with("POST", "auth/oidc/oidc/auth_url", &[], body)
            .await
    }

    /// Begins a login; gives the address.
    async fn begin(&self, node: usize, nonce: &str) -> Result<String> {
        let body = json!({ "role": "Staff", "redirect_uri": BACK, "client_nonce": nonce });
        let answer = self.auth_url(node, &body).await?;
        ensure!(answer.code == 200, "{answer:?}");
        text(&answer.json()["data"]["auth_url"])
    }

    /// Begins a login and goes to the issuer; gives what the browser comes back with, and the nonce of who asked.
    async fn visit(&self, node: usize, nonce: &str) -> Result<Value> {
        let url = self.begin(node, nonce).await?;
        self.come_back(&url, nonce).await
    }

    async fn come_back(&self, url: &str, nonce: &str) -> Result<Value> {
        let back = self.provider.visit(url).await?;
        let query = back.strip_prefix(BACK).and_then(|rest| rest.strip_prefix('?'));
        let query = query.with_context(|| format!("it comes back to {back}"))?;
        let mut answer = json!(parameters(query).context("they are parameters")?);
        answer["client_nonce"] = json!(nonce);
        Ok(answer)
    }

    async fn callback(&self, node: usize, body: &Value) -> Result<Answered> {
        self.nodes[node]
            .ask_with("POST", "auth/oidc/oidc/callback", &[], body)
            .await
    }

    /// Why logins were refused, by the audit log.
    async fn reasons(&self) -> Result<Vec<String>> {
        let recorded = records(&self.cluster.client()?).await?;
        let refused = recorded
            .iter()
            .filter(|record| record.text("operation") == "oidc.login" && !record.is_allowed());
        Ok(refused.map(|record| record.text("rule").to_owned()).collect())
    }
}

/// Whoever comes back from the issuer gets in, by any node; the issuer is told what the standard says, and what is secret stands nowhere. A page of another
/// origin drives none of it. Abuse cases: 18, 31, 47.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_from_the_issuer_gets_in() -> Result<()> {
    let scene = Scene::start(3).await?;
    let read = scene.root.ask("GET", "auth/oidc/config", &Value::Null).await?;
    ensure!(read.code == 200 && !read.body.contains(SECRET), "{read:?}");
    ensure!(
        read.json()["data"]["oidc_client_id"] == CLIENT && read.json()["data"]["oidc_client_secret_set"] == true,
        "{read:?}"
    );
    let mut tokens = Vec::new();
    for node in 0..3 {
        let url = scene.begin(node, "canary-of-whoever-asks").await?;
        ensure!(url.len() < 1_200, "{} bytes: {url}", url.len());
        let (_, query) = url.split_once('?').context("a query")?;
        let asked = parameters(query).context("parameters")?;
        ensure!(
            asked["scope"] == "openid profile email" && asked["max_age"] == "3600" && asked["redirect_uri"] == BACK,
            "{url}"
        );
        ensure!(
            !asked["state"].contains("staff") && !url.contains("canary-of-whoever-asks"),
            "{url}"
        );
        let answer = scene.come_back(&url, "canary-of-whoever-asks").await?;
        // By one node or another, and as Vault's own program does it: as a query.
        let next = (node + 1) % 3;
        let made = if node == 0 {
            let query: Vec<String> = answer
                .as_object()
                .context("parameters")?
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default().replace('+', "%2B")))
                .collect();
            let path = format!("auth/oidc/oidc/callback?{}", query.join("&"));
            scene.nodes[next].ask_with("GET", &path, &[], &Value::Null).await?
        } else {
            scene.callback(next, &answer).await?
        };
        ensure!(made.code == 200, "{made:?}");
        let auth = made.json()["auth"].clone();
        ensure!(
            auth["metadata"] == json!({ "role": "staff", "email": "ann@example.com" }) && auth["lease_duration"] == 600,
            "{auth}"
        );
        let own = Http::on(&scene.cluster, node, auth["client_token"].as_str().context("a token")?)?;
        let told = done(&own, "GET", "auth/token/lookup-self", Value::Null).await?;
        ensure!(
            told["data"]["display_name"] == "oidc-248289761001" && told["data"]["path"] == "auth/oidc/oidc/callback",
            "{told}"
        );
        tokens.push(auth["entity_id"].clone());
    }
    ensure!(
        tokens[0] == tokens[1] && tokens[1] == tokens[2],
        "one user is one entity: {tokens:?}"
    );
    // A configuration that is written again keeps the secret, for the same issuer; for another it is gone.
    let mut config = scene.provider.config();
    config
        .as_object_mut()
        .context("an object")?
        .remove("oidc_client_secret");
    done(&scene.root, "POST", "auth/oidc/config", config.clone()).await?;
    let answer = scene.visit(0, "n").await?;
    ensure!(scene.callback(0, &answer).await?.code == 200, "the secret is kept");
    config["oidc_discovery_url"] = json!("https://other.example");
    done(&scene.root, "POST", "auth/oidc/config", config.clone()).await?;
    let read = done(&scene.root, "GET", "auth/oidc/config", Value::Null).await?;
    ensure!(read["data"]["oidc_client_secret_set"] == false, "{read}");
    // A client without a secret has the verifier alone.
    scene.provider.has_public_client();
    config["oidc_discovery_url"] = json!(scene.provider.address());
    done(&scene.root, "POST", "auth/oidc/config", config).await?;
    let answer = scene.visit(0, "n").await?;
    ensure!(scene.callback(0, &answer).await?.code == 200, "a public client");
    // A page in a browser is no client.
    let answer = scene.visit(0, "n").await?;
    for header in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        for path in ["auth/oidc/oidc/auth_url", "auth/oidc/oidc/callback"] {
            let refused = scene.nodes[0].ask_with("POST", path, &[header], &answer).await?;
            ensure!(refused.code == 403, "{path}: {refused:?}");
        }
    }
    let recorded = records(&scene.cluster.client()?).await?;
    let of = |operation: &str| {
        recorded
            .iter()
            .filter(|record| record.text("operation") == operation)
            .count()
    };
    ensure!(
        of("oidc.auth-url") == 6 && of("oidc.login") == 5,
        "{} {}",
        of("oidc.auth-url"),
        of("oidc.login")
    );
    let begun = recorded
        .iter()
        .find(|record| record.text("operation") == "oidc.auth-url");
    let begun = &begun.context("a record")?.event["fields"];
    ensure!(
        begun["role"] == "staff"
            && begun["redirect_uri"]
                .as_str()
                .is_some_and(|uri| uri.starts_with("hmac:")),
        "{begun}"
    );
    let mut canaries = Canaries::default();
    for secret in scene
        .provider
        .secrets()
        .iter()
        .map(String::as_str)
        .chain(["canary-of-whoever-asks"])
    {
        canaries.add(secret);
        ensure!(
            recorded.iter().all(|record| !record.event.to_string().contains(secret)),
            "{secret} is on record"
        );
    }
    let found = search(&scene.cluster.everything(), &canaries, |_| false)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}

/// Whatever is wrong with an ID token, all that is told is the same; the audit log says what it was. Abuse cases: 24, 29.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_029_an_id_token_is_for_this_login_or_for_none() -> Result<()> {
    let scene = Scene::start(3).await?;
    let attacks = [
        ("nonce", json!({ "nonce": "another" })),
        ("nonce", json!({ "nonce": null })),
        ("audience", json!({ "aud": "another" })),
        ("authorized party", json!({ "aud": [CLIENT, "another"] })),
        ("authorized party", json!({ "azp": "another" })),
        ("issuer", json!({ "iss": "https://other.example" })),
        ("expired", json!({ "iat": 1_000, "exp": 2_000 })),
        ("no time", json!({ "exp": null })),
        ("age", json!({ "auth_time": 1_000 })),
        ("at_hash", json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" })),
    ];
    let mut told = BTreeSet::new();
    for (at, (why, claims)) in attacks.iter().enumerate() {
        scene.provider.claims(claims.clone());
        let answer = scene.visit(at % 3, "n").await?;
        let refused = scene.callback((at + 1) % 3, &answer).await?;
        ensure!(refused.code == 400, "{why}: {refused:?}");
        told.insert(refused.body);
    }
    let reasons = scene.reasons().await?;
    let expected: Vec<&str> = attacks.iter().map(|(why, _)| *why).collect();
    ensure!(reasons == expected, "{reasons:?}");
    scene.provider.claims(json!({}));
    let real = scene.provider.forge();
    let answer = scene.visit(0, "n").await?;
    told.insert(scene.callback(0, &answer).await?.body);
    ensure!(told == BTreeSet::from([REFUSED.to_owned()]), "{told:?}");
    scene.provider.sign_with(real);
    // Several audiences, of which this is one, and it is who asked.
    scene
        .provider
        .claims(json!({ "aud": ["another", CLIENT], "azp": CLIENT }));
    let answer = scene.visit(2, "n").await?;
    let made = scene.callback(1, &answer).await?;
    ensure!(made.code == 200, "the positive control: {made:?}");
    Ok(())
}

/// A state is good once, at its own mount, in its own namespace and cluster, for who asked for it, while what it rests on stands. Abuse cases: 26, 33, 37.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_once_and_nowhere_else() -> Result<()> {
    let scene = Scene::start(3).await?;
    let answer = scene.visit(0, "n").await?;
    ensure!(scene.callback(1, &answer).await?.code == 200, "the positive control");
    let exchanged = scene.provider.exchanged();
    let mut told = BTreeSet::new();
    let mut refuse = async |scene: &Scene, answer: &Value| -> Result<()> {
        let refused = scene.callback(2, answer).await?;
        ensure!(refused.code == 400, "{answer}: {refused:?}");
        told.insert(refused.body);
        Ok(())
    };
    refuse(&scene, &answer).await?;
    let with = |answer: &Value, name: &str, value: Value| {
        let mut answer = answer.clone();
        answer[name] = value;
        answer
    };
    let answer = scene.visit(0, "the nonce").await?;
    let state = text(&answer["state"])?;
    refuse(&scene, &with(&answer, "client_nonce", Value::Null)).await?;
    refuse(&scene, &with(&answer, "client_nonce", json!("another"))).await?;
    refuse(&scene, &with(&answer, "iss", json!("https://other.example"))).await?;
    // This issuer says that it always names itself: a browser that comes from nobody comes from another.
    refuse(&scene, &with(&answer, "iss", json!(""))).await?;
    let torn = format!("{}{}", &state[..state.len() - 5], "AAAAA");
    refuse(&scene, &with(&answer, "state", json!(torn))).await?;
    // A code of another login is none for this one.
    let other = scene.visit(0, "the nonce").await?;
    let guessed = scene.visit(0, "the nonce").await?;
    refuse(&scene, &with(&guessed, "code", other["code"].clone())).await?;
    // And this one has had its try: no code is good for it any more, and the issuer is not asked.
    let asked = scene.provider.asked();
    for n in 0..20 {
        refuse(&scene, &with(&guessed, "code", json!(format!("guess {n}")))).await?;
    }
    refuse(&scene, &guessed).await?;
    ensure!(
        scene.provider.asked() == asked,
        "{} of 21 guesses were shown to the issuer",
        scene.provider.asked() - asked
    );
    ensure!(
        scene.provider.exchanged() == exchanged,
        "a code was exchanged for a state that was not good"
    );
    // Another mount with the same configuration and role, and one of a namespace.
    done(&scene.root, "POST", "sys/namespaces/team", json!({})).await?;
    let team = [("X-Vault-Namespace", "team")];
    let root = scene.cluster.root_token();
    let in_team = [team[0], ("X-Vault-Token", root.expose_str().unwrap_or_default())];
    for (mount, headers) in [("sibling", &in_team[1..]), ("oidc", &in_team[..])] {
        for (path, body) in [
            (format!("sys/auth/{mount}"), json!({ "type": "oidc" })),
            (format!("auth/{mount}/config"), scene.provider.config()),
            (format!("auth/{mount}/role/staff"), role()),
        ] {
            let made = scene.root.ask_with("POST", &path, headers, &body).await?;
            ensure!((200..300).contains(&made.code), "{path}: {made:?}");
        }
        let path = format!("auth/{mount}/oidc/callback");
        let refused = scene.nodes[0]
            .ask_with("POST", &path, &headers[..headers.len() - 1], &answer)
            .await?;
        ensure!(refused.code == 400 && refused.body == REFUSED, "{mount}: {refused:?}");
    }
    let reasons: BTreeSet<String> = scene.reasons().await?.into_iter().collect();
    let expected = [
        "used state",
        "client nonce",
        "issuer of the answer",
        "state",
        "code",
        "tried state",
    ];
    ensure!(reasons == expected.map(str::to_owned).into(), "{reasons:?}");
    // Vault's own program hands on no name.
    let made = scene.callback(0, &with(&answer, "iss", Value::Null)).await?;
    ensure!(
        made.code == 200,
        "all of that took nothing from the login itself: {made:?}"
    );
    // What it rests on is changed while the user is with the issuer.
    let answer = scene.visit(0, "n").await?;
    let mut stricter = role();
    stricter["bound_subject"] = json!("somebody");
    done(&scene.root, "POST", "auth/oidc/role/staff", stricter).await?;
    refuse(&scene, &answer).await?;
    done(
        &scene.root,
        "POST",
        "auth/oidc/role/staff",
        json!({ "bound_subject": "248289761001" }),
    )
    .await?;
    let answer = scene.visit(0, "n").await?;
    done(&scene.root, "DELETE", "auth/oidc/role/staff", Value::Null).await?;
    refuse(&scene, &answer).await?;
    done(&scene.root, "POST", "auth/oidc/role/staff", role()).await?;
    refuse(&scene, &answer).await?;
    let answer = scene.visit(0, "n").await?;
    let mut config = scene.provider.config();
    config["bound_issuer"] = json!(scene.provider.address());
    done(&scene.root, "POST", "auth/oidc/config", config).await?;
    refuse(&scene, &answer).await?;
    ensure!(told == BTreeSet::from([REFUSED.to_owned()]), "{told:?}");
    // Another cluster, with all the same.
    let elsewhere = Cluster::start(1)?;
    let root = Http::root(&elsewhere)?;
    done(&root, "POST", "sys/auth/oidc", json!({ "type": "oidc" })).await?;
    done(&root, "POST", "auth/oidc/config", scene.provider.config()).await?;
    done(&root, "POST", "auth/oidc/role/staff", role()).await?;
    let answer = scene.visit(0, "n").await?;
    let nobody = Http::on(&elsewhere, 0, "")?;
    let refused = nobody.ask_with("POST", "auth/oidc/oidc/callback", &[], &answer).await?;
    ensure!(refused.code == 400 && refused.body == REFUSED, "{refused:?}");
    // Many at once, on all nodes, by an issuer that takes a code more than once: one gets in.
    scene.provider.is_lax();
    for _ in 0..5 {
        let answer = scene.visit(0, "n").await?;
        let all = (0..6).map(|n| scene.callback(n % 3, &answer));
        let all = futures::future::try_join_all(all).await?;
        let good = all.iter().filter(|answer| answer.code == 200).count();
        ensure!(good == 1, "{good} got in: {all:?}");
        ensure!(
            all.iter().all(|answer| answer.code == 200 || answer.body == REFUSED),
            "{all:?}"
        );
    }
    Ok(())
}

/// What one leader began another finishes, and knows what was finished by the first.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_outlives_its_leader() -> Result<()> {
    let scene = Scene::start(3).await?;
    let (used, answer) = (scene.visit(0, "n").await?, scene.visit(1, "n").await?);
    ensure!(scene.callback(0, &used).await?.code == 200, "the positive control");
    scene.provider.is_lax();
    let first = scene.cluster.leader().await?;
    scene.cluster.kill(first)?;
    let left: Vec<usize> = (0..3).filter(|at| scene.cluster.nodes()[*at].id != first).collect();
    eventually("another leads", || async {
        let body = json!({ "role": "staff", "redirect_uri": BACK });
        scene
            .auth_url(left[0], &body)
            .await
            .is_ok_and(|answer| answer.code == 200)
    })
    .await?;
    let made = scene.callback(left[0], &answer).await?;
    ensure!(made.code == 200, "{made:?}");
    for answer in [&used, &answer] {
        let refused = scene.callback(left[1], answer).await?;
        ensure!(refused.code == 400 && refused.body == REFUSED, "{refused:?}");
    }
    Ok(())
}

/// An issuer that sends the user away is quoted by one of the words that it can say; one that is away, hangs or answers nonsense refuses nobody: the same
/// answer of the browser is good once it is back.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_can_say_no_or_nothing() -> Result<()> {
    let scene = Scene::start(1).await?;
    let answer = scene.visit(0, "n").await?;
    for (error, word) in [
        ("access_denied", "access_denied"),
        ("<script>alert(1)</script>", "an error that has no name"),
    ] {
        let body =
            json!({ "state": answer["state"], "error": error, "error_description": "canary", "client_nonce": "n" });
        let refused = scene.callback(0, &body).await?;
        ensure!(
            refused.code == 400 && refused.body.contains(word) && !refused.body.contains("canary"),
            "{refused:?}"
        );
        ensure!(!refused.body.contains("script"), "{refused:?}");
    }
    for instead in [
        (|| WebReply::Close) as fn() -> WebReply,
        || WebReply::Hang,
        || WebReply::Endless,
        || WebReply::Redirect("https://elsewhere.example/token".to_owned()),
        || WebReply::Json(500, json!({ "error": "server_error" })),
        || WebReply::Json(200, json!(["nothing"])),
        || WebReply::Json(401, json!({ "error": "invalid_client" })),
    ] {
        scene.provider.instead(Some(instead));
        let later = scene.callback(0, &answer).await?;
        ensure!(
            later.code == 503 && later.head.contains("x-aumbry-reason: voucher_unavailable"),
            "{later:?}"
        );
    }
    scene
        .provider
        .instead(Some(|| WebReply::Json(200, json!({ "access_token": "x" }))));
    let without = scene.visit(0, "n").await?;
    let refused = scene.callback(0, &without).await?;
    ensure!(refused.code == 400 && refused.body == REFUSED, "{refused:?}");
    scene.provider.instead(None);
    let made = scene.callback(0, &answer).await?;
    ensure!(made.code == 200, "{made:?}");
    for missing in ["state", "code"] {
        let mut body = answer.clone();
        body[missing] = Value::Null;
        let refused = scene.callback(0, &body).await?;
        ensure!(
            refused.code == 400 && refused.body.contains(&format!("{missing} is required")),
            "{refused:?}"
        );
    }
    Ok(())
}

/// Who needs a second factor waits for it after the issuer has let the user in, and the state is used all the same. Abuse cases: 27.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_is_still_asked_for() -> Result<()> {
    let scene = Scene::start(1).await?;
    let first = scene.visit(0, "n").await?;
    let entity = scene.callback(0, &first).await?.json()["auth"]["entity_id"].clone();
    let method = json!({ "issuer": "Aumbry tests", "algorithm": "SHA256", "digits": 8, "period": 300 });
    let method = text(&done(&scene.root, "POST", "identity/mfa/method/totp", method).await?["data"]["method_id"])?;
    let body = json!({ "mfa_method_ids": [method], "identity_entity_ids": [entity] });
    done(&scene.root, "POST", "identity/mfa/login-enforcement/people", body).await?;
    let answer = scene.visit(0, "n").await?;
    let waits = scene.callback(0, &answer).await?;
    let auth = &waits.json()["auth"];
    ensure!(
        waits.code == 200 && auth["client_token"] == "" && auth["mfa_requirement"]["mfa_request_id"].is_string(),
        "{waits:?}"
    );
    let again = scene.callback(0, &answer).await?;
    ensure!(again.code == 400 && again.body == REFUSED, "{again:?}");
    Ok(())
}
