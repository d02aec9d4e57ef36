//! Policies of passwords, and passwords made by them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Cluster, records};
use serde_json::{Value, json};

use crate::bed::{Http, done, text};

const POLICY: &str = "length = 24\nrule \"charset\" {\n  charset = \"abcdefghijklmnopqrstuvwxyz\"\n  min-chars = 1\n}\n\
    rule \"charset\" {\n  charset = \"0123456789\"\n  min-chars = 2\n}\n";

/// A policy is written, read and listed like any other; a password keeps it, is made on any node for who may, and is nowhere on record.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_keep_their_policy() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    let path = "sys/policies/password/usual";
    ensure!(
        root.ask("LIST", "sys/policies/password", &Value::Null).await?.code == 404,
        "none yet"
    );
    ensure!(
        root.ask("GET", &format!("{path}/generate"), &Value::Null).await?.code == 404,
        "none yet"
    );
    done(&root, "PUT", path, json!({ "policy": POLICY })).await?;
    let encoded = data_encoding::BASE64.encode(POLICY.as_bytes());
    done(
        &root,
        "POST",
        "sys/policies/password/Encoded",
        json!({ "policy": encoded }),
    )
    .await?;
    let list = done(&root, "LIST", "sys/policies/password", Value::Null).await?;
    ensure!(list["data"]["keys"] == json!(["encoded", "usual"]), "{list}");
    for path in [path, "sys/policies/password/encoded"] {
        let read = done(&root, "GET", path, Value::Null).await?;
        ensure!(read["data"]["policy"] == POLICY, "{read}");
    }
    for (policy, why) in [
        ("length = 3 rule \"charset\" { charset = \"ab\" }", "length is 4 to 100"),
        ("length = 20", "no rules"),
        (
            "length = 20 rule \"charset\" { charset = \"ab\" min-chars = 21 }",
            "min-chars",
        ),
        (
            "length = 20 rule \"charset\" { charset = \"a\" min-chars = 18 } rule \"charset\" { charset = \"0123456789\" }",
            "hardly any",
        ),
    ] {
        let answer = root.ask("PUT", path, &json!({ "policy": policy })).await?;
        ensure!(answer.code == 400 && answer.body.contains(why), "{policy}: {answer:?}");
    }
    let rules = format!("path \"{path}/generate\" {{ capabilities = [\"read\"] }}");
    done(&root, "PUT", "sys/policies/acl/maker", json!({ "policy": rules })).await?;
    let made = done(&root, "POST", "auth/token/create", json!({ "policies": ["maker"] })).await?;
    let token = text(&made["auth"]["client_token"])?;
    let mut passwords = BTreeSet::new();
    for node in 0..3 {
        let maker = Http::on(&cluster, node, &token)?;
        for _ in 0..5 {
            let told = done(&maker, "GET", &format!("{path}/generate"), Value::Null).await?;
            let password = text(&told["data"]["password"])?;
            let digits = password.chars().filter(char::is_ascii_digit).count();
            ensure!(password.len() == 24 && (2..24).contains(&digits), "{password}");
            passwords.insert(password);
        }
        for (method, path) in [("GET", path), ("PUT", path), ("LIST", "sys/policies/password")] {
            let answer = maker.ask(method, path, &json!({ "policy": POLICY })).await?;
            ensure!(answer.code == 403, "{method} {path}: {answer:?}");
        }
    }
    ensure!(passwords.len() == 15, "no two are the same");
    done(&root, "DELETE", path, Value::Null).await?;
    ensure!(root.ask("GET", path, &Value::Null).await?.code == 404, "it is gone");
    let recorded = records(&cluster.client()?).await?;
    let first = passwords.first().context("a password")?;
    let is_made = |event: &str| event.contains("password.generate");
    let events: Vec<String> = recorded.iter().map(|record| record.event.to_string()).collect();
    ensure!(
        events.iter().filter(|event| is_made(event)).count() >= 15,
        "each is on record"
    );
    ensure!(
        events
            .iter()
            .all(|event| !event.contains(first) && passwords.iter().all(|password| !event.contains(password))),
        "without what was made"
    );
    Ok(())
}
