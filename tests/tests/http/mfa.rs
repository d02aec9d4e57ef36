//! A second factor at logins, on three nodes.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_crypto::totp::{Algorithm, Settings};
use aumbry_tests::{Cluster, records};
use aumbry_types::{Clock as _, SecretBytes, SystemClock};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

/// A period of five minutes: the test is over within one or two of them.
const SETTINGS: Settings = Settings {
    algorithm: Algorithm::Sha256,
    digits: 8,
    period_s: 300,
    skew: 1,
};

fn period() -> u64 {
    SystemClock.wall().0 / 1_000 / SETTINGS.period_s
}

/// A code that comes with the login is looked at in the same request: by the id or the name of its method, once, and wrong ones close the factor.
/// Abuse cases: 26, 27.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_comes_with_the_login() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    let method = json!({
        "method_name": "phone", "issuer": "Aumbry", "algorithm": "SHA256", "digits": 8, "period": 300,
    });
    let method = text(&done(&root, "POST", "identity/mfa/method/totp", method).await?["data"]["method_id"])?;
    let login = async |node: usize, user: &str, password: &str, mfa: &str| -> Result<(u16, Value)> {
        let path = format!("auth/userpass/login/{user}");
        let headers = [("X-Vault-MFA", mfa)];
        let body = json!({ "password": password });
        let answer = Http::on(&cluster, node, "")?
            .ask_with("POST", &path, &headers, &body)
            .await?;
        Ok((answer.code, answer.json()))
    };
    let mut secrets = Vec::new();
    for user in ["alice", "bob", "carol"] {
        let path = format!("auth/userpass/users/{user}");
        done(&root, "POST", &path, json!({ "password": "right" })).await?;
        let (code, told) = login(0, user, "right", "phone:00000000").await?;
        ensure!(code == 200, "nobody asks for a code yet: {told}");
        if user == "carol" {
            continue;
        }
        let ask = json!({ "method_id": method, "entity_id": told["auth"]["entity_id"] });
        let made = done(&root, "POST", "identity/mfa/method/totp/admin-generate", ask).await?;
        let url = text(&made["data"]["url"])?;
        secrets.push(BASE32_NOPAD.decode(url.split_once("secret=").context("a secret")?.1.as_bytes())?);
    }
    let people = json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] });
    done(&root, "POST", "identity/mfa/login-enforcement/people", people).await?;
    let first = SETTINGS.code(&secrets[0], period());
    let failed = (400, json!(["login MFA validation failed"]));
    let (code, told) = login(1, "alice", "wrong", &format!("phone:{first}")).await?;
    ensure!(
        code == 400 && told["errors"] == json!(["invalid username or password"]),
        "the password comes first: {told}"
    );
    let (code, told) = login(2, "alice", "right", &format!("phone:passcode={first}")).await?;
    ensure!(code == 200 && told["auth"]["metadata"]["username"] == "alice", "{told}");
    let alice = Http::on(&cluster, 0, &text(&told["auth"]["client_token"])?)?;
    done(&alice, "GET", "auth/token/lookup-self", Value::Null).await?;
    for (turn, wrong) in [first.as_str(), "12345678", "00000000", "1", "11111111"]
        .into_iter()
        .enumerate()
    {
        let (code, told) = login(turn % 3, "alice", "right", &format!("{method}:{wrong}")).await?;
        ensure!((code, told["errors"].clone()) == failed, "{turn}: {told}");
    }
    let next = SETTINGS.code(&secrets[0], period() + 1);
    for node in 0..3 {
        let (code, told) = login(node, "alice", "right", &format!("{method}:{next}")).await?;
        ensure!(
            (code, told["errors"].clone()) == failed,
            "five wrong codes close it: {told}"
        );
    }
    for (user, mfa) in [("bob", "other:12345678"), ("carol", "phone:12345678")] {
        let (code, told) = login(1, user, "right", mfa).await?;
        ensure!((code, told["errors"].clone()) == failed, "{user}: {told}");
    }
    for malformed in ["phone", "phone:", ":12345678"] {
        ensure!(login(0, "bob", "right", malformed).await?.0 == 400, "{malformed}");
    }
    // The generic call takes codes as well.
    let typed = cluster.client_as(SecretBytes::from(String::new()), &cluster.endpoints())?;
    let of_bob = SETTINGS.code(&secrets[1], period());
    let call = v1::LogicalRequest {
        verb: v1::Verb::Write.into(),
        path: "auth/userpass/login/bob".to_owned(),
        body: json!({ "password": "right" }).to_string().into(),
        passcodes: vec![v1::Passcode {
            method_id: method.clone(),
            passcode: of_bob.clone().into(),
        }],
        ..Default::default()
    };
    let reply = typed.call(call).await?;
    let auth: Value = serde_json::from_slice(&reply.auth)?;
    ensure!(auth["metadata"]["username"] == "bob", "{auth}");
    let recorded = records(&cluster.client()?).await?;
    let logins: Vec<String> = recorded
        .iter()
        .filter(|record| record.text("operation") == "userpass.login")
        .map(|record| record.event.to_string())
        .collect();
    ensure!(
        logins.iter().any(|event| event.contains("passcode")),
        "codes are on record"
    );
    ensure!(
        logins.iter().all(|event| [&first, &next, &of_bob]
            .iter()
            .all(|code| !event.contains(code.as_str()))),
        "by their digests alone"
    );
    Ok(())
}

/// A login waits for its code; a code opens one login, on whichever node, and no second one; wrong ones close the factor on every node. After all nodes
/// were killed and unsealed again it waits as before. Abuse cases: 26, 27.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_its_code() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "sys/auth/userpass", json!({ "type": "userpass" })).await?;
    for user in ["alice", "bob"] {
        done(
            &root,
            "POST",
            &format!("auth/userpass/users/{user}"),
            json!({ "password": "right" }),
        )
        .await?;
    }
    let nobody = |node| Http::on(&cluster, node, "");
    let login = async |node: usize, user: &str| -> Result<Value> {
        let path = format!("auth/userpass/login/{user}");
        let answer = nobody(node)?
            .ask_with("POST", &path, &[], &json!({ "password": "right" }))
            .await?;
        ensure!(answer.code == 200, "{answer:?}");
        Ok(answer.json()["auth"].clone())
    };
    let before = login(0, "alice").await?;
    let entity = text(&before["entity_id"])?;
    let method = json!({ "issuer": "Aumbry: tests", "algorithm": "SHA256", "digits": 8, "period": 300 });
    let refused = root.ask("POST", "identity/mfa/method/totp", &method).await?;
    ensure!(refused.code == 400 && refused.body.contains("colon"), "{refused:?}");
    let method = json!({ "issuer": "Aumbry tests", "algorithm": "SHA256", "digits": 8, "period": 300 });
    let method = text(&done(&root, "POST", "identity/mfa/method/totp", method).await?["data"]["method_id"])?;
    let ask = json!({ "method_id": method, "entity_id": entity });
    let made = done(&root, "POST", "identity/mfa/method/totp/admin-generate", ask.clone()).await?;
    let url = text(&made["data"]["url"])?;
    ensure!(
        url.starts_with("otpauth://totp/Aumbry%20tests:entity_") && url.contains("digits=8"),
        "{url}"
    );
    let (_, secret) = url.split_once("secret=").context("a secret")?;
    let secret = BASE32_NOPAD.decode(secret.as_bytes())?;
    // It is told once.
    let again = done(&root, "POST", "identity/mfa/method/totp/admin-generate", ask).await?;
    ensure!(again["data"].is_null(), "{again}");
    let groups = json!({ "mfa_method_ids": [method], "identity_entity_ids": [entity] });
    done(&root, "POST", "identity/mfa/login-enforcement/people", groups).await?;

    ensure!(login(1, "bob").await?["client_token"] != "", "it holds for alice alone");
    let waits = async |node: usize| -> Result<String> {
        let auth = login(node, "alice").await?;
        ensure!(
            auth["client_token"] == ""
                && auth["mfa_requirement"]["mfa_constraints"]["people"]["any"][0]["id"] == *method,
            "{auth}"
        );
        text(&auth["mfa_requirement"]["mfa_request_id"])
    };
    let validate = async |node: usize, id: &str, code: &str| -> Result<(u16, Value)> {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { method.as_str(): [code] } });
        let answer = nobody(node)?.ask_with("POST", "sys/mfa/validate", &[], &body).await?;
        Ok((answer.code, answer.json()))
    };
    let first = waits(0).await?;
    let second = waits(1).await?;
    let code = SETTINGS.code(&secret, period());
    let (wrong, told) = validate(2, &first, "00000000").await?;
    ensure!(
        wrong == 400 && told["errors"] == json!(["login MFA validation failed"]),
        "{told}"
    );
    // The same code for two logins at once, on two nodes: one gets in.
    let (one, other) = tokio::try_join!(validate(1, &first, &code), validate(2, &second, &code))?;
    ensure!((one.0 == 200) != (other.0 == 200), "{one:?} {other:?}");
    let (good, left) = if one.0 == 200 {
        (one.1, second)
    } else {
        (other.1, first.clone())
    };
    ensure!(
        good["auth"]["entity_id"] == *entity && good["auth"]["metadata"]["username"] == "alice",
        "{good}"
    );
    let alice = Http::on(&cluster, 2, &text(&good["auth"]["client_token"])?)?;
    done(&alice, "GET", "auth/token/lookup-self", Value::Null).await?;
    // Neither the login nor the code is good again.
    for id in [&left, &first] {
        ensure!(validate(0, id, &code).await?.0 == 400);
    }
    // Who guesses is shut out, everywhere, though the code is right then.
    for node in 0..6 {
        validate(node % 3, &left, "12345678").await?;
    }
    let next = SETTINGS.code(&secret, period() + 1);
    for node in 0..3 {
        ensure!(
            validate(node, &waits(node).await?, &next).await?.0 == 400,
            "five wrong codes close it"
        );
    }
    // An operator gives a new one.
    done(
        &root,
        "POST",
        "identity/mfa/method/totp/admin-destroy",
        json!({ "method_id": method, "entity_id": entity }),
    )
    .await?;
    let own = Http::on(&cluster, 1, &text(&before["client_token"])?)?;
    let policy = r#"path "identity/mfa/method/totp/generate" { capabilities = ["update"] }"#;
    done(&root, "PUT", "sys/policies/acl/default", json!({ "policy": policy })).await?;
    let made = done(
        &own,
        "POST",
        "identity/mfa/method/totp/generate",
        json!({ "method_id": method }),
    )
    .await?;
    let url = text(&made["data"]["url"])?;
    let secret = BASE32_NOPAD.decode(url.split_once("secret=").context("a secret")?.1.as_bytes())?;
    // The typed calls know second factors too.
    let typed = cluster.client_as(SecretBytes::from(String::new()), &cluster.endpoints())?;
    let login = v1::UserpassLoginRequest {
        username: "alice".to_owned(),
        password: "right".into(),
        ..Default::default()
    };
    let waiting = typed.call(login).await?;
    ensure!(waiting.token.is_empty() && waiting.info.is_none(), "no token yet");
    let factors = waiting.second_factors.context("what it waits for")?;
    ensure!(
        factors.wanted[0].name == "people" && factors.wanted[0].method_ids == [method.clone()],
        "the wrong factor"
    );
    let codes = |passcode: String| v1::SecondFactorRequest {
        request_id: factors.request_id.clone(),
        passcodes: vec![v1::Passcode {
            method_id: method.clone(),
            passcode: passcode.into(),
        }],
        ..Default::default()
    };
    ensure!(typed.call(codes("00000000".to_owned())).await.is_err(), "a wrong one");
    let last = SETTINGS.code(&secret, period());
    let made = typed.call(codes(last.clone())).await?;
    ensure!(made.second_factors.is_none() && !made.token.is_empty(), "a token");
    for node in cluster.nodes() {
        cluster.kill(node.id)?;
    }
    for node in cluster.nodes() {
        cluster.restart(node.id)?;
    }
    for node in cluster.nodes() {
        cluster.unseal(node.id).await?;
    }
    cluster.leader().await?;
    let id = waits(2).await?;
    ensure!(validate(0, &id, &last).await?.0 == 400, "a used code stays used");
    // A login that waits rests on its mount and its entity.
    done(
        &root,
        "POST",
        &format!("identity/entity/id/{entity}"),
        json!({ "disabled": true }),
    )
    .await?;
    ensure!(validate(1, &id, &SETTINGS.code(&secret, period() + 1)).await?.0 == 400);
    // Nothing of the secret or the codes is on record.
    let recorded = records(&cluster.client()?).await?;
    let secret = BASE32_NOPAD.encode(&secret);
    ensure!(recorded.iter().any(|record| record.text("operation") == "mfa.validate"));
    ensure!(recorded.iter().all(|record| {
        let event = record.event.to_string();
        !event.contains(&secret) && !event.contains(&code)
    }));
    Ok(())
}
