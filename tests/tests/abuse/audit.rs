//! What the audit log has of everything that was asked, and what it never shows.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1;
use aumbry_tests::{Canaries, Cluster, Recorded, Server, Unusual, eventually, records_from, run_cli};
use aumbry_types::SecretBytes;

use crate::bed::{ask, get, put, token_with};

/// Random words in every field of every request show up in no record but where a path or a name stands, in no form.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_083_no_value_is_in_a_record() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    let mut canaries = Canaries::default();
    let mut word = |kind| canaries.make_for(kind);
    let pairs = |a: String, b: String| [(a, b)].into();
    let secret = "secret/a083";
    let with_key = |key: String| {
        Some(v1::RequestHeader {
            idempotency_key: key,
            ..Default::default()
        })
    };
    let mut answers = Vec::new();
    for data in [
        format!("{{\"{}\":\"{}\"}}", word("field"), word("text")),
        format!(
            "{{\"{}\":[\"{}\",{{\"{}\":true}}]}}",
            word("field"),
            word("text"),
            word("field")
        ),
        word("no JSON"),
    ] {
        let request = v1::KvPutRequest {
            header: with_key(word("idempotency key")),
            ..put(secret, &data)
        };
        answers.push(ask(&root, request).await);
    }
    let patch = v1::KvPatchRequest {
        path: secret.to_owned(),
        data: format!("{{\"{}\":\"{}\"}}", word("field"), word("text")).into(),
        ..Default::default()
    };
    answers.push(ask(&root, patch).await);
    let metadata = v1::KvPutMetadataRequest {
        path: secret.to_owned(),
        custom_metadata: pairs(word("metadata"), word("metadata")),
        set_custom_metadata: true,
        ..Default::default()
    };
    answers.push(ask(&root, metadata).await);
    answers.push(ask(&root, get(secret)).await);
    let list = v1::KvListRequest {
        path: "secret".to_owned(),
        after: word("after"),
        ..Default::default()
    };
    answers.push(ask(&root, list).await);
    let create = v1::TokenCreateRequest {
        ttl_s: 60,
        display_name: word("display name"),
        metadata: pairs(word("token metadata"), word("token metadata")),
        ..Default::default()
    };
    let made = root.call(create).await?;
    let odd = v1::TokenCreateRequest {
        policies: vec![format!("NOT A NAME {}", word("policy"))],
        ..Default::default()
    };
    answers.push(ask(&root, odd).await);
    let named = |by| Some(v1::TokenName { by: Some(by) });
    for by in [
        v1::token_name::By::Token(made.token.clone()),
        v1::token_name::By::Token(word("token").into()),
        v1::token_name::By::Accessor(word("accessor")),
        v1::token_name::By::Accessor(String::from_utf8(made.token.to_vec())?[..50].to_owned()),
    ] {
        let lookup = v1::TokenLookupRequest {
            token: named(by.clone()),
            ..Default::default()
        };
        answers.push(ask(&root, lookup).await);
        let renew = v1::TokenRenewRequest {
            token: named(by.clone()),
            ..Default::default()
        };
        answers.push(ask(&root, renew).await);
        let revoke = v1::TokenRevokeRequest {
            token: named(by),
            ..Default::default()
        };
        answers.push(ask(&root, revoke).await);
    }
    let policy = v1::PolicyPutRequest {
        name: "a083".to_owned(),
        policy: format!(
            "# {}\npath \"{}\" {{ policy = \"read\" }}",
            word("policy text"),
            word("policy text")
        ),
        ..Default::default()
    };
    answers.push(ask(&root, policy).await);
    let read = v1::PolicyGetRequest {
        name: "a083".to_owned(),
        ..Default::default()
    };
    answers.push(ask(&root, read).await);
    for kind in ["kv".to_owned(), word("type")] {
        let enable = v1::MountEnableRequest {
            path: "a083".to_owned(),
            r#type: kind,
            description: word("description"),
            ..Default::default()
        };
        answers.push(ask(&root, enable).await);
    }
    let joining = root.call(v1::JoinTokenCreateRequest::default()).await?;
    let token = SecretBytes::from(word("bearer"));
    let nobody = cluster.client_as(token, &cluster.endpoints())?;
    answers.push(ask(&nobody, get(secret)).await);
    ensure!(
        answers.iter().filter(|answer| *answer == "OK").count() == 12,
        "{answers:?}"
    );
    canaries.add_as("token", &made.token);
    canaries.add_as("part of a token", &made.token[10..40]);
    canaries.add_as("join token", &joining.join_token);

    let records = records_from(&root, 0).await?;
    let kinds: BTreeSet<&str> = records.iter().map(|record| record.text("operation")).collect();
    ensure!(kinds.len() > 12, "{kinds:?}");
    ensure!(records.len() > answers.len(), "{} records", records.len());
    for record in &records {
        let text = record.event.to_string();
        ensure!(!canaries.are_in(text.as_bytes())?, "a value is in {text}");
    }
    let exported = export(&cluster)?;
    ensure!(!canaries.are_in(exported.as_bytes())?, "a value is in the export");
    Ok(())
}

/// Refusals are on record: those of known callers each, those of nobody one by one first and as a count under a flood.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_085_refusals_are_on_record() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    let nobody = token_with(&root, "a085", "").await?;
    let denied = cluster.builder(nobody, &cluster.endpoints())?.retries(false).build()?;
    let stranger = cluster
        .builder(SecretBytes::default(), &cluster.endpoints())?
        .retries(false)
        .build()?;
    let before = records_from(&root, 0).await?.len();
    for _ in 0..30 {
        ensure!(ask(&denied, get("secret/a085")).await == "PERMISSION_DENIED");
    }
    const FLOOD: usize = 500;
    for _ in 0..FLOOD {
        ensure!(ask(&stranger, get("secret/a085")).await == "TOKEN_INVALID");
    }
    let count = |records: &[Recorded], decision: &str| {
        let of = records.iter().filter(|record| record.text("decision") == decision);
        of.map(|record| record.event["count"].as_u64().unwrap_or(1))
            .sum::<u64>()
    };
    let records = records_from(&root, before).await?;
    ensure!(count(&records, "denied") == 30, "{} denials", count(&records, "denied"));
    let singles = records
        .iter()
        .filter(|record| record.text("decision") == "unauthenticated")
        .count();
    // A minute may end in between: ten a minute stand alone.
    ensure!(
        (10..=40).contains(&singles),
        "{singles} of {FLOOD} refusals stand alone"
    );
    let all = || {
        eventually("all of them are on record, as a count", || async {
            let records = records_from(&root, before).await;
            records.is_ok_and(|records| count(&records, "unauthenticated") == FLOOD as u64)
        })
    };
    // A minute has to end first, which is as long as one waits.
    if all().await.is_err() {
        all().await?;
    }
    Ok(())
}

/// What changes who holds the keys, who belongs to the cluster, and what leaves it as a whole, is on record.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_086_what_operators_do_is_on_record() -> Result<()> {
    let cluster = Cluster::start(2)?;
    let root = cluster.client()?;
    let directory = tempfile::tempdir()?;
    let joining = Server::start(&directory.path().join("n3"), &cluster, &Unusual::default()).await?;
    let ticket = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
    let join = v1::JoinClusterRequest {
        join_token: ticket,
        ca: std::fs::read(cluster.ca_file())?.into(),
    };
    let node_id = joining
        .client_as(SecretBytes::default())?
        .join_cluster(None, join)
        .await?
        .node_id;
    let saved = cluster.everything().join("saved");
    ensure!(
        cluster
            .cli(&["operator", "snapshot", "save", &saved.to_string_lossy()], "")?
            .status
            .success()
    );
    ask(&root, v1::StepDownRequest::default()).await;
    let transfer = v1::TransferRequest {
        node_id: 1,
        ..Default::default()
    };
    ask(&root, transfer).await;
    let promote = v1::PromoteRequest {
        node_id,
        ..Default::default()
    };
    ask(&root, promote).await;
    let remove = v1::RemoveRequest {
        node_id,
        ..Default::default()
    };
    eventually("the node is removed", || async {
        ask(&root, remove.clone()).await == "OK"
    })
    .await?;
    let follower = if cluster.leader().await? == 1 { 2 } else { 1 };
    cluster.client_on(follower)?.call(v1::SealRequest::default()).await?;
    cluster.unseal(follower).await?;
    let records = records_from(&root, 0).await?;
    let of: BTreeSet<&str> = records.iter().map(|record| record.text("operation")).collect();
    for operation in [
        "sys.init",
        "cluster.join-token",
        "cluster.join",
        "cluster.snapshot-save",
        "sys.step-down",
        "cluster.transfer",
        "cluster.promote",
        "cluster.remove",
        "sys.seal",
    ] {
        ensure!(of.contains(operation), "{operation} is not on record: {of:?}");
    }
    Ok(())
}

/// No text that somebody sends makes a line, a field or a colour of its own: in the log of the node, in a record, in what the tool prints.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_088_no_text_writes_lines_of_its_own() -> Result<()> {
    let cluster = Cluster::start_with(1, &[], &[("RUST_LOG", "debug")])?;
    let root = cluster.client_on(1)?;
    let evil = "x\n2026-01-01T00:00:00Z INFO forged\r\n\u{1b}[31m\",\"decision\":\"allowed\u{202e}";
    let before = records_from(&root, 0).await?.len();
    let create = v1::TokenCreateRequest {
        ttl_s: 60,
        display_name: evil.to_owned(),
        metadata: [(evil.to_owned(), evil.to_owned())].into(),
        ..Default::default()
    };
    ask(&root, create).await;
    let enable = v1::MountEnableRequest {
        path: "a088".to_owned(),
        r#type: "kv".to_owned(),
        description: evil.to_owned(),
        ..Default::default()
    };
    ask(&root, enable).await;
    for path in [evil, "secret/\u{2028}forged", "secret/a\u{7f}"] {
        ask(&root, get(path)).await;
    }
    // This one is a path: quotes and braces are plain characters.
    let quoted = "secret/a\",\"decision\":\"allowed\",\"x\":\"{}";
    ensure!(ask(&root, get(quoted)).await == "NOT_FOUND");
    let lookup = v1::TokenLookupRequest {
        token: Some(v1::TokenName {
            by: Some(v1::token_name::By::Accessor(evil[..60].to_owned())),
        }),
        ..Default::default()
    };
    ask(&root, lookup).await;
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        key: evil[..60].to_owned().into(),
        ..Default::default()
    };
    let refused = root.init(init).await;
    ensure!(refused.is_err());
    let records = records_from(&root, before).await?;
    let odd = records.iter().find(|record| record.text("path") == quoted);
    let odd = odd.context("the path is in its record as it was sent")?;
    ensure!(odd.text("decision") == "failed", "{}", odd.event);
    for record in &records {
        let text = record.event.to_string();
        ensure!(!text.contains("forged\\r") && !text.contains('\u{202e}'), "{text}");
    }
    let log = std::fs::read_to_string(cluster.dir().join("n1/server.log"))?;
    ensure!(
        !log.lines().any(|line| line.contains("forged")),
        "the log has a line of ours"
    );
    ensure!(
        !log.contains("\u{1b}[31m") && !log.contains('\u{202e}'),
        "the log has a colour of ours"
    );
    for command in [&["audit", "log"][..], &["secrets", "list"]] {
        let printed = cluster.cli(command, "")?;
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        ensure!(
            printed.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&printed.stderr)
        );
        ensure!(
            !text.contains('\u{1b}') && !text.contains('\u{202e}'),
            "{command:?}: {text:?}"
        );
        ensure!(
            !text
                .lines()
                .any(|line| line.starts_with("2026-01-01T00:00:00Z INFO forged")),
            "{text:?}"
        );
    }
    Ok(())
}

/// A record that is deleted, moved, edited or cut out of an export is missed by whoever verifies it, without any key but the public one.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_087_what_is_changed_in_an_export_is_noticed() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let root = cluster.client_on(1)?;
    for n in 0..20 {
        root.call(put(&format!("secret/a087/{n}"), "{}")).await?;
    }
    let text = export(&cluster)?;
    let lines: Vec<&str> = text.lines().collect();
    ensure!(lines.len() > 22, "{} lines", lines.len());
    let verify = |lines: &[&str]| -> Result<bool> {
        let file = cluster.everything().join("export");
        std::fs::write(&file, lines.join("\n") + "\n")?;
        let (file, fingerprint) = (file.to_string_lossy(), fingerprint(&cluster)?);
        let output = run_cli(&["audit", "verify", &file, "--fingerprint", &fingerprint], &[], "")?;
        Ok(output.status.success())
    };
    ensure!(verify(&lines)?, "the positive control: the export verifies");
    let middle = lines.len() / 2;
    let mut deleted = lines.clone();
    deleted.remove(middle);
    let mut swapped = lines.clone();
    swapped.swap(middle, middle + 1);
    let mut repeated = lines.clone();
    repeated.insert(middle, lines[middle]);
    let edited = lines[middle].replacen("kv.put", "kv.get", 1);
    let mut changed = lines.clone();
    changed[middle] = &edited;
    ensure!(edited != lines[middle], "there is nothing to edit in {edited}");
    for (what, lines) in [
        ("deleted", &deleted[..]),
        ("swapped", &swapped),
        ("repeated", &repeated),
        ("edited", &changed),
        ("cut at its end", &lines[..lines.len() - 2]),
        (
            "cut before its end",
            &[&lines[..middle], &lines[lines.len() - 1..]].concat(),
        ),
        ("without its head", &lines[1..]),
    ] {
        ensure!(!verify(lines)?, "{what}: it verifies");
    }
    Ok(())
}

/// The fingerprint of the key that signs checkpoints, as `init` told it.
fn fingerprint(cluster: &Cluster) -> Result<String> {
    let env = std::fs::read(cluster.dir().join("env.json"))?;
    let env: serde_json::Value = serde_json::from_slice(&env)?;
    let told = env["checkpoint_fingerprint"].as_str();
    Ok(told.context("the cluster told its fingerprint")?.to_owned())
}

/// The whole log, as anybody can verify it.
fn export(cluster: &Cluster) -> Result<String> {
    let file = cluster.everything().join("whole");
    let exported = cluster.cli(&["audit", "export", &file.to_string_lossy()], "")?;
    ensure!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    Ok(std::fs::read_to_string(file)?)
}
