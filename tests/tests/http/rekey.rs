//! New key shares over three nodes: one of them sleeps meanwhile, and the leader dies in between.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::Client;
use aumbry_tests::{Cluster, eventually, records};
use aumbry_types::{SecretBytes, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// Shows a share until a leader takes it.
async fn show(http: &Http, path: &str, nonce: &Value, share: &str) -> Result<Value> {
    let answer = http.ask("PUT", path, &json!({ "nonce": nonce, "key": share })).await?;
    ensure!(answer.code == 200, "{path}: {answer:?}");
    Ok(answer.json())
}

/// Whether these shares open a node that is sealed. A node that cannot say yet what its cluster has committed is asked again.
async fn opens(client: &Client, shares: &[String]) -> Result<bool> {
    client.reset_unseal(None).await?;
    for share in shares {
        let refused = Mutex::new(String::new());
        eventually("a share is looked at", || async {
            let shown = client.unseal(None, SecretBytes::from(share.clone())).await;
            let reason = shown.err().map(|error| error.reason().to_owned()).unwrap_or_default();
            let is_looked_at = ["", "INVALID_SHARE"].contains(&reason.as_str());
            *refused.lock().unwrap_or_else(PoisonError::into_inner) = reason;
            is_looked_at
        })
        .await?;
        if !refused.into_inner().unwrap_or_default().is_empty() {
            return Ok(false);
        }
    }
    Ok(!client.seal_status(None).await?.sealed)
}

/// Abuse cases: 49, 55, 56, 86.
#[tokio::test(flavor = "multi_thread")]
async fn new_shares_open_every_node_and_old_ones_none() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let old = cluster.shares().to_vec();
    let leader = cluster.leader().await?;
    let slept = cluster.nodes().iter().map(|node| node.id).find(|id| *id != leader);
    let slept = slept.context("two follow")?;
    let at = cluster
        .nodes()
        .iter()
        .position(|node| ![leader, slept].contains(&node.id));
    let token = cluster.root_token();
    let http = Http::on(
        &cluster,
        at.context("one is left")?,
        token.expose_str().context("is text")?,
    )?;

    let nobody = http.ask_with("GET", "sys/rekey/init", &[], &Value::Null).await?;
    ensure!(nobody.code == 403, "{nobody:?}");
    let begin = json!({ "secret_shares": 4, "secret_threshold": 2 });
    let begun = done(&http, "PUT", "sys/rekey/init", begin).await?;
    show(&http, "sys/rekey/update", &begun["nonce"], &old[0]).await?;
    // One sleeps, and comes back as soon as the leader is to die: there are never fewer than two.
    cluster.kill(slept)?;
    // The answer is stored nowhere, so not wrapped either, and the share did not count.
    let shown = json!({ "nonce": begun["nonce"], "key": old[1] });
    let wrapped = http
        .ask_with("PUT", "sys/rekey/update", &[("X-Vault-Wrap-TTL", "60")], &shown)
        .await?;
    ensure!(wrapped.code == 400, "{wrapped:?}");
    let told = done(&http, "GET", "sys/rekey/init", Value::Null).await?;
    ensure!(told["progress"] == 1 && told["age_recipients"] == json!([]), "{told}");
    let mut made = Value::Null;
    for share in &old[1..cluster.threshold()] {
        made = show(&http, "sys/rekey/update", &begun["nonce"], share).await?;
    }
    let keys = made["keys"].as_array().context("has keys")?;
    let text = |key: &Value| String::from_utf8(hex::decode_all(key.as_str()?)?).ok();
    let new = keys
        .iter()
        .map(text)
        .collect::<Option<Vec<String>>>()
        .context("are shares")?;
    ensure!(new.len() == 4 && made["verification_required"] == true, "{}", new.len());
    cluster.restart(slept)?;
    let sleeper = cluster.client_on(slept)?;
    eventually("the node is there again", || async {
        sleeper.seal_status(None).await.is_ok()
    })
    .await?;
    ensure!(!opens(&sleeper, &new[..2]).await?, "they were not tried yet");
    ensure!(
        opens(&sleeper, &old[..cluster.threshold()]).await?,
        "the old ones count"
    );

    // The leader dies between the new shares that are tried.
    show(&http, "sys/rekey/verify", &made["verification_nonce"], &new[0]).await?;
    cluster.kill(leader)?;
    eventually("another leads", || async {
        cluster.leader().await.is_ok_and(|now| now != leader)
    })
    .await?;
    let found = done(&http, "GET", "sys/rekey/verify", Value::Null).await?;
    ensure!(found["progress"] == 1, "{found}");
    let last = show(&http, "sys/rekey/verify", &made["verification_nonce"], &new[3]).await?;
    ensure!(last["complete"] == true, "{last}");

    // It slept through the entry that changed the seal.
    cluster.restart(leader)?;
    let client = cluster.client_on(leader)?;
    eventually("it has learnt of the new seal", || async {
        client.seal_status(None).await.is_ok_and(|status| status.epoch == 2)
    })
    .await?;
    ensure!(!opens(&client, &old).await?, "the old ones count for nothing");
    ensure!(opens(&client, &new[1..3]).await?, "any two of the new ones open it");

    let told = records(&cluster.client()?).await?;
    for operation in ["rekey.start", "rekey.share", "rekey.verify"] {
        ensure!(
            told.iter().any(|record| record.text("operation") == operation),
            "{operation}"
        );
    }
    for share in old.iter().chain(&new) {
        let hex = hex::encode(share.as_bytes());
        let is_told = |text: String| text.contains(share.as_str()) || text.contains(&hex);
        ensure!(
            !told.iter().any(|record| is_told(record.event.to_string())),
            "a share is on record"
        );
    }
    Ok(())
}

/// The same by the program, from files to files.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_makes_new_shares() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("new");
    let input = cluster.shares()[..cluster.threshold()].join("\n");
    let arguments = ["operator", "rekey", "--shares", "3", "--threshold", "2", "--out-dir"];
    let arguments = [&arguments[..], &[out.to_str().context("is text")?]].concat();
    let made = cluster.cli(&arguments, &input)?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let repeated = cluster.cli(&arguments, &input)?;
    ensure!(!repeated.status.success(), "the files are never overwritten");
    let read = |n| std::fs::read_to_string(out.join(format!("share-{n}")));
    let new = [read(1)?.trim().to_owned(), read(3)?.trim().to_owned()];
    let client = cluster.client()?;
    let id = cluster.nodes()[0].id;
    cluster.stop(id)?;
    cluster.restart(id)?;
    eventually("it is there again", || async { client.seal_status(None).await.is_ok() }).await?;
    ensure!(
        !opens(&client, cluster.shares()).await?,
        "the old ones count for nothing"
    );
    ensure!(opens(&client, &new).await?, "the new ones open it");
    Ok(())
}

/// Nobody holds a root token any more: custodians on three nodes make one, and the leader dies in between.
///
/// Abuse cases: 49, 50, 86.
#[tokio::test(flavor = "multi_thread")]
async fn custodians_make_a_root_token_when_there_is_none() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let shares = cluster.shares().to_vec();
    let token = cluster.root_token();
    let https = (0..3)
        .map(|at| Http::on(&cluster, at, token.expose_str().unwrap_or_default()))
        .collect::<Result<Vec<_>>>()?;
    done(&https[0], "POST", "auth/token/revoke-self", json!({})).await?;
    const ATTEMPT: &str = "sys/generate-root/attempt";
    for (method, body) in [("GET", json!({})), ("PUT", json!({})), ("DELETE", json!({}))] {
        let refused = https[1].ask_with(method, ATTEMPT, &[], &body).await?;
        ensure!(refused.code == 403, "{method}: {refused:?}");
    }
    let wrong = https[1]
        .ask_with("PUT", ATTEMPT, &[], &json!({ "key": "abcdefgh" }))
        .await?;
    ensure!(wrong.code == 400 && !wrong.body.contains("abcdefgh"), "{wrong:?}");
    let begun = https[0]
        .ask_with("PUT", ATTEMPT, &[], &json!({ "key": shares[4] }))
        .await?;
    ensure!(begun.code == 200, "{begun:?}");
    let begun = begun.json();
    let mut told = Value::Null;
    for (share, http) in shares[..2].iter().zip(&https[1..]) {
        let body = json!({ "key": share, "nonce": begun["nonce"] });
        let shown = http.ask_with("PUT", "sys/generate-root/update", &[], &body).await?;
        ensure!(shown.code == 200, "{shown:?}");
        told = shown.json();
    }
    ensure!(told["complete"] == true, "{told}");
    let hidden = STANDARD_NO_PAD.decode(told["encoded_token"].as_str().unwrap_or_default())?;
    let pad = begun["otp"].as_str().context("is told once")?.as_bytes();
    let made = hidden.iter().zip(pad).map(|(a, b)| a ^ b).collect::<Vec<_>>();
    let made = String::from_utf8(made)?;
    let root = Http::on(&cluster, 2, &made)?;
    let status = done(&root, "GET", ATTEMPT, Value::Null).await?;
    ensure!(status["started"] == false, "{status}");

    // The program does the same from files, and ends what it cannot finish.
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("root-token");
    let out = file.to_str().context("is text")?;
    let few = cluster.cli(&["operator", "generate-root"], &shares[..2].join("\n"))?;
    ensure!(!few.status.success(), "two are too few");
    let input = shares[..cluster.threshold()].join("\n");
    let ran = cluster.cli(&["operator", "generate-root", "--out", out], &input)?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let second = std::fs::read_to_string(&file)?.trim().to_owned();
    done(&Http::on(&cluster, 0, &second)?, "GET", ATTEMPT, Value::Null).await?;

    let client = cluster.client_as(SecretBytes::from(second.clone()), &cluster.endpoints())?;
    let told = records(&client).await?;
    for operation in ["root.start-with-share", "root.share"] {
        let found = told.iter().any(|record| record.text("operation") == operation);
        ensure!(found, "{operation}");
    }
    for secret in shares.iter().chain([&made, &second]) {
        let is_told = |text: String| text.contains(secret.as_str());
        ensure!(
            !told.iter().any(|record| is_told(record.event.to_string())),
            "a secret is on record"
        );
    }
    Ok(())
}
