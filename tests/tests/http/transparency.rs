//! Proofs and receipts of real nodes, verified by the program that auditors use.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Cluster, binary, eventually};
use serde_json::{Value, json};

use crate::bed::{Http, done};

/// What the auditors' program says.
fn verified(folder: &Path, arguments: &[&str]) -> Result<Value> {
    let program = binary().with_file_name("aumbry-verify");
    let mut command = Command::new(&program);
    let output = command
        .args(arguments)
        .args(["--output", "json"])
        .current_dir(folder)
        .output();
    let output = output.with_context(|| format!("{} runs: build the workspace", program.display()))?;
    let verdict = serde_json::from_slice(&output.stdout).unwrap_or_default();
    ensure!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(verdict)
}

/// A command that must do what it is told.
fn told(cluster: &Cluster, arguments: &[&str]) -> Result<Value> {
    let output = cluster.cli(&[arguments, &["--output", "json"]].concat(), "")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {text}");
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_proved_to_an_auditor_without_an_export() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = Http::root(&cluster)?;
    done(&root, "POST", "secret/data/app", json!({ "data": { "a": "1" } })).await?;
    // More than a tile.
    for _ in 0..300 {
        done(&root, "GET", "auth/token/lookup-self", Value::Null).await?;
    }
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let kept = told(&cluster, &["audit", "checkpoint", "--out", &at("old")])?;
    let pin = kept["fingerprint"].as_str().context("a fingerprint")?.to_owned();

    // A read with a receipt, its proof, and what the auditor makes of both.
    told(&cluster, &["kv", "get", "--receipt", &at("receipt"), "secret/app"])?;
    let proof = ["audit", "proof", "--of", &at("receipt"), "--out", &at("read")];
    let made = told(&cluster, &proof)?;
    let receipt = [
        "receipt",
        "receipt",
        "--fingerprint",
        &pin,
        "--record",
        "read/record.json",
    ];
    let held = [
        &receipt[..],
        &["--proof", "read/proof.json", "--checkpoint", "read/checkpoint.json"],
    ]
    .concat();
    let verdict = verified(folder.path(), &held)?;
    ensure!(
        verdict["verified"] == true && verdict["seq"] == made["seq"] && verdict["leaf"] == made["leaf"],
        "{verdict}"
    );
    ensure!(verdict["event"]["operation"] == "kv.get", "{verdict}");
    let files = ["read/record.json", "read/proof.json", "read/checkpoint.json"];
    let inclusion = [&["inclusion"][..], &files, &["--fingerprint", &pin]].concat();
    let verdict = verified(folder.path(), &inclusion)?;
    ensure!(verdict["verified"] == true, "{verdict}");
    let text = std::fs::read_to_string(at("receipt"))?;
    std::fs::write(at("receipt"), text.replacen("leaf ", "leaf A", 1))?;
    let verdict = verified(folder.path(), &held)?;
    ensure!(
        verdict["verified"] == false && verdict["fault"] == "altered",
        "{verdict}"
    );

    // The log only grew since the checkpoint that was kept.
    let from = kept["size"].as_u64().context("a size")?.to_string();
    told(
        &cluster,
        &["audit", "consistency", "--from", &from, "--out", &at("growth")],
    )?;
    let growth = [
        "consistency",
        "old",
        "growth/new.json",
        "growth/proof.json",
        "--fingerprint",
        &pin,
    ];
    let verdict = verified(folder.path(), &growth)?;
    ensure!(verdict["verified"] == true, "{verdict}");

    // By HTTP, of a node that does not lead, and of the one that leads next.
    let leader = cluster.leader().await?;
    let other = cluster.nodes().iter().position(|node| node.id != leader);
    let token = cluster.root_token();
    let token = token.expose_str().context("is text")?;
    let other = Http::on(&cluster, other.context("two are left")?, token)?;
    let headers = [("X-Vault-Token", token), ("X-Aumbry-Receipt", "true")];
    let answer = other.ask_with("GET", "secret/data/app", &headers, &Value::Null).await?;
    ensure!(
        answer.code == 200 && answer.head.contains("x-aumbry-receipt: {"),
        "{}",
        answer.head
    );
    let bad = [("X-Vault-Token", token), ("X-Aumbry-Receipt", "yes")];
    let answer = other.ask_with("GET", "secret/data/app", &bad, &Value::Null).await?;
    ensure!(answer.code == 400, "{}", answer.head);
    let path = format!("sys/audit-log/proof?seq={}&size={from}", 7);
    let before = done(&other, "GET", &path, Value::Null).await?["data"].clone();
    cluster.kill(leader)?;
    eventually("the next leader gives the same proof from its own hashes", || async {
        let after = done(&other, "GET", &path, Value::Null).await;
        after.is_ok_and(|after| after["data"]["proof"] == before["proof"] && after["data"]["leaf"] == before["leaf"])
    })
    .await?;
    let record = v1::AuditReadRequest {
        from: 7,
        limit: 1,
        ..v1::AuditReadRequest::default()
    };
    ensure!(
        cluster.client()?.call(record).await?.rows.len() == 1,
        "the record is there"
    );
    std::fs::write(at("by-http.proof"), before["proof"].to_string())?;
    std::fs::write(at("by-http.checkpoint"), format!("{}\n", before["checkpoint"]))?;
    told(
        &cluster,
        &["audit", "proof", "--seq", "7", "--size", &from, "--out", &at("seven")],
    )?;
    let files = ["seven/record.json", "by-http.proof", "by-http.checkpoint"];
    let verdict = verified(
        folder.path(),
        &[&["inclusion"][..], &files, &["--fingerprint", &pin]].concat(),
    )?;
    ensure!(verdict["verified"] == true, "{verdict}");
    for (path, code) in [
        ("sys/audit-log/checkpoint", 200),
        ("sys/audit-log/consistency?from=1", 200),
        ("sys/audit-log/consistency", 400),
        ("sys/audit-log/proof", 400),
        ("sys/audit-log/proof?seq=18446744073709551615", 400),
    ] {
        let answer = other.ask("GET", path, &Value::Null).await?;
        ensure!(answer.code == code, "{path}: {answer:?}");
    }
    Ok(())
}
