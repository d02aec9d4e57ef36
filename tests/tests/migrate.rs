//! `aumbry migrate vault`: from a server that speaks Vault's HTTP interface to a cluster, broken off and run again.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, Page, binary, eventually, run_cli, send_on};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A development server, asked by HTTP as a server of Vault's is.
struct Vault {
    process: Child,
    address: String,
}

impl Vault {
    async fn start() -> Result<Self> {
        let address = free_address()?;
        let process = Command::new(binary())
            .args([
                "server",
                "--dev",
                "--dev-root-token-id",
                TOKEN,
                "--dev-listen-address",
                &address,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let vault = Self { process, address };
        eventually("the source serves", || async {
            vault
                .ask("GET", "secret/config", &Value::Null)
                .await
                .is_ok_and(|(code, _)| code == 200)
        })
        .await?;
        Ok(vault)
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        let stream = TcpStream::connect(&self.address).await?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = send_on(
            stream,
            method,
            &format!("/v1/{path}"),
            &[("X-Vault-Token", TOKEN)],
            &body,
        )
        .await?;
        Ok((answer.code, answer.json()))
    }

    async fn write(&self, path: &str, body: Value) -> Result<Value> {
        let (code, answer) = self.ask("POST", path, &body).await?;
        ensure!((200..300).contains(&code), "{path}: {code} {answer}");
        Ok(answer)
    }

    async fn put(&self, path: &str, data: Value) -> Result<()> {
        self.write(&format!("secret/data/{path}"), json!({ "data": data }))
            .await
            .map(|_| ())
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Loopback, a port that is free now.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}

/// The command with its environment, the source's token on standard input.
fn command(cluster: &Cluster, vault: &Vault, more: &[&str]) -> Command {
    let root = cluster.root_token();
    let mut command = Command::new(binary());
    command
        .args([
            "migrate",
            "vault",
            "--output",
            "json",
            "--timeout",
            "30s",
            "--source-token-file",
            "-",
            "--source-address",
        ])
        .arg(format!("http://{}", vault.address))
        .args(more)
        .env("AUMBRY_ADDR", cluster.endpoints().join(","))
        .env("AUMBRY_CACERT", cluster.ca_file())
        .env("AUMBRY_TOKEN", root.expose_str().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn start(mut command: Command) -> Result<Child> {
    let mut child = command.spawn()?;
    child.stdin.take().context("no stdin")?.write_all(TOKEN.as_bytes())?;
    Ok(child)
}

/// Runs it to its end: the exit code and the report.
fn migrate(cluster: &Cluster, vault: &Vault, more: &[&str]) -> Result<(i32, Value)> {
    let output = start(command(cluster, vault, more))?.wait_with_output()?;
    let told = told(&output);
    ensure!(!told.contains(TOKEN), "the token is told: {told}");
    let report = serde_json::from_slice(&output.stdout).with_context(|| told.clone())?;
    Ok((output.status.code().context("it was killed")?, report))
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What the report names of a kind.
fn named(report: &Value, part: &str) -> BTreeMap<String, String> {
    let items = report[part].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    items.map(|item| (text(&item["name"]), text(&item["why"]))).collect()
}

/// What a reader sees of a secret: each version's data, and whether it is destroyed.
async fn seen(client: &Client, path: &str) -> Result<Vec<(u64, Option<Value>)>> {
    let request = v1::KvGetMetadataRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let mut seen = Vec::new();
    for info in client.call(request).await?.versions {
        let request = v1::KvGetRequest {
            path: path.to_owned(),
            version: info.version,
            ..Default::default()
        };
        let item = client.call(request).await?.item.context("no item")?;
        let data = item.has_data.then(|| serde_json::from_slice(&item.data)).transpose()?;
        seen.push((info.version, data));
    }
    Ok(seen)
}

async fn count(client: &Client, path: &str) -> Result<usize> {
    let request = v1::KvListRequest {
        path: path.to_owned(),
        limit: 10_000,
        ..Default::default()
    };
    Ok(client.call(request).await.map_or(0, |reply| reply.names.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_secrets_survive_a_break_and_a_second_run() -> Result<()> {
    let (cluster, vault) = (Cluster::start(1)?, Vault::start().await?);
    stream::iter(0..SECRETS)
        .map(|n| {
            let vault = &vault;
            async move {
                vault
                    .put(
                        &format!("bulk/s{n:04}"),
                        json!({ "n": n, "text": format!("value {n}") }),
                    )
                    .await
            }
        })
        .buffer_unordered(16)
        .try_collect::<Vec<_>>()
        .await?;
    let client = cluster.client()?;

    let dry = migrate(&cluster, &vault, &["--only", "kv", "--dry-run"])?;
    assert_eq!(
        (dry.0, &dry.1["counts"]["secrets"]["moved"]),
        (0, &json!(SECRETS)),
        "{}",
        dry.1
    );
    assert_eq!(count(&client, "secret").await?, 0, "a dry run writes nothing");

    // It is killed as soon as some are there.
    let mut first = start(command(&cluster, &vault, &["--only", "kv"]))?;
    let deadline = Instant::now() + WAIT;
    let there = loop {
        let there = count(&client, "secret/bulk").await?;
        if there > 100 {
            break there;
        }
        if let Some(status) = first.try_wait()? {
            bail!("it ended before it was killed: {status}");
        }
        ensure!(Instant::now() < deadline, "nothing was moved in time");
    };
    first.kill()?;
    first.wait()?;
    ensure!(there < SECRETS, "the positive control: it was broken off in the middle");

    let (code, report) = migrate(&cluster, &vault, &["--only", "kv"])?;
    assert_eq!(code, 0, "{report}");
    let secrets = &report["counts"]["secrets"];
    assert_eq!(
        (&secrets["found"], &secrets["verified"], &secrets["left"]),
        (&json!(SECRETS), &json!(SECRETS), &json!(0))
    );
    assert!(
        secrets["same"].as_u64() > Some(50),
        "what the first run moved is left alone: {secrets}"
    );
    for n in [0, 1, 500, SECRETS - 1] {
        let expected = json!({ "n": n, "text": format!("value {n}") });
        assert_eq!(
            seen(&client, &format!("secret/bulk/s{n:04}")).await?,
            [(1, Some(expected))]
        );
    }
    // Nothing is left to do.
    let (code, report) = migrate(&cluster, &vault, &["--only", "kv"])?;
    assert_eq!((code, &report["versions_written"]), (0, &json!(0)), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_keep_their_numbers_and_names_their_letters() -> Result<()> {
    let (cluster, vault) = (Cluster::start(1)?, Vault::start().await?);
    let client = cluster.client()?;
    // Three versions, one deleted and one destroyed.
    for n in 1..=4 {
        vault.put("versions", json!({ "n": n })).await?;
    }
    vault
        .write("secret/delete/versions", json!({ "versions": [2] }))
        .await?;
    vault
        .write("secret/destroy/versions", json!({ "versions": [3] }))
        .await?;
    // More than are kept.
    for n in 1..=14 {
        vault.put("trimmed", json!({ "n": n })).await?;
    }
    // A number that no other form has, and settings of its own.
    vault
        .write(
            "secret/metadata/settings",
            json!({ "max_versions": 3, "cas_required": true, "custom_metadata": { "owner": "ann" } }),
        )
        .await?;
    vault
        .write(
            "secret/data/settings",
            json!({ "options": { "cas": 0 }, "data": { "big": 18_446_744_073_709_551_615_u64 } }),
        )
        .await?;
    vault
        .write(
            "secret/metadata/empty",
            json!({ "custom_metadata": { "only": "metadata" } }),
        )
        .await?;
    let odd = [
        "with space",
        "ünïcode/日本",
        "a+b&c=d",
        "deep/er/and/deep er",
        "both",
        "both/below",
        "(1)'\"",
        "UPPER",
        "x,y:z@w",
    ];
    for name in odd {
        vault.put(&name_encoded(name), json!({ "name": name })).await?;
    }
    // An engine of version 1.
    vault
        .write(
            "sys/mounts/old",
            json!({ "type": "kv", "description": "of old", "options": { "version": "1" } }),
        )
        .await?;
    vault.write("old/a/b", json!({ "plain": [1, 2.5, null] })).await?;

    let (code, report) = migrate(&cluster, &vault, &["--only", "kv"])?;
    assert_eq!(code, 9, "a deleted version cannot be read: {report}");
    let by_hand = named(&report, "by_hand");
    assert_eq!(by_hand.keys().collect::<Vec<_>>(), ["secret/versions"], "{report}");
    let data = |n: u64| Some(json!({ "n": n }));
    assert_eq!(
        seen(&client, "secret/versions").await?,
        [(1, data(1)), (2, None), (3, None), (4, data(4))]
    );
    let expected: Vec<_> = (5..=14).map(|n| (n, data(n))).collect();
    assert_eq!(seen(&client, "secret/trimmed").await?, expected);
    assert_eq!(
        seen(&client, "secret/settings").await?,
        [(1, Some(json!({ "big": 18_446_744_073_709_551_615_u64 })))]
    );
    let metadata = |path: &str| v1::KvGetMetadataRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let settings = client.call(metadata("secret/settings")).await?;
    assert_eq!((settings.max_versions, settings.cas_required), (3, true));
    assert_eq!(settings.custom_metadata.get("owner").map(String::as_str), Some("ann"));
    assert_eq!(client.call(metadata("secret/empty")).await?.current_version, 0);
    for name in odd {
        assert_eq!(
            seen(&client, &format!("secret/{name}")).await?,
            [(1, Some(json!({ "name": name })))],
            "{name}"
        );
    }
    let old = cluster.cli(&["read", "--output", "json", "old/a/b"], "")?;
    let old: Value = serde_json::from_slice(&old.stdout)?;
    assert_eq!(old["data"], json!({ "plain": [1, 2.5, null] }));
    // A placeholder is never given to anybody, not even undeleted.
    let undelete = v1::KvUndeleteRequest {
        path: "secret/versions".to_owned(),
        versions: vec![2, 3],
        ..Default::default()
    };
    let _ = client.call(undelete).await;
    assert_eq!(seen(&client, "secret/versions").await?[1..3], [(2, None), (3, None)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_is_told_and_kept() -> Result<()> {
    let (cluster, vault) = (Cluster::start(1)?, Vault::start().await?);
    let client = cluster.client()?;
    for (path, n) in [("a", 1), ("a", 2), ("b", 1), ("c", 1)] {
        vault.put(path, json!({ "n": n })).await?;
    }
    assert_eq!(migrate(&cluster, &vault, &["--only", "kv"])?.0, 0);
    // The source goes on: what is new is moved.
    vault.put("a", json!({ "n": 3 })).await?;
    // The target goes on: that is kept.
    for (path, text) in [("secret/b", r#"{"n":"other"}"#), ("secret/new", "{}")] {
        let data = text.as_bytes().to_vec().into();
        let request = v1::KvPutRequest {
            path: path.to_owned(),
            data,
            ..Default::default()
        };
        client.call(request).await?;
    }
    let (code, report) = migrate(&cluster, &vault, &["--only", "kv"])?;
    assert_eq!(code, 1, "{report}");
    let left = named(&report, "left");
    assert_eq!(left.keys().collect::<Vec<_>>(), ["secret/b"], "{report}");
    assert!(left["secret/b"].contains("--overwrite"), "{left:?}");
    assert_eq!(seen(&client, "secret/a").await?.len(), 3);
    assert_eq!(
        seen(&client, "secret/b").await?.last().context("none")?.1,
        Some(json!({ "n": "other" }))
    );
    let (code, report) = migrate(&cluster, &vault, &["--only", "kv", "--overwrite"])?;
    assert_eq!(code, 0, "{report}");
    assert_eq!(seen(&client, "secret/b").await?, [(1, Some(json!({ "n": 1 })))]);
    assert_eq!(
        seen(&client, "secret/new").await?.len(),
        1,
        "what only the target has stays"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_roles_and_users_move_but_for_what_no_server_gives_out() -> Result<()> {
    let (cluster, vault) = (Cluster::start(1)?, Vault::start().await?);
    let policy = "path \"secret/data/app\" { capabilities = [\"read\"] }";
    vault.write("sys/policies/acl/app", json!({ "policy": policy })).await?;
    vault.put("app", json!({ "password": "s3cret" })).await?;
    vault.write("sys/auth/approle", json!({ "type": "approle" })).await?;
    vault
        .write(
            "sys/auth/people",
            json!({ "type": "userpass", "config": { "max_lease_ttl": 3_600 } }),
        )
        .await?;
    vault
        .write(
            "auth/approle/role/app",
            json!({ "token_policies": ["app"], "token_ttl": "10m", "secret_id_num_uses": 5 }),
        )
        .await?;
    vault
        .write("auth/approle/role/app/role-id", json!({ "role_id": "r0le-of-old" }))
        .await?;
    vault.write("auth/approle/role/app/secret-id", json!({})).await?;
    vault
        .write("auth/approle/role/idle", json!({ "token_policies": "app" }))
        .await?;
    for user in ["ann", "bob"] {
        vault
            .write(
                &format!("auth/people/users/{user}"),
                json!({ "password": "0ld-password", "token_policies": "app" }),
            )
            .await?;
    }
    let directory = tempfile::tempdir()?;
    let passwords = directory.path().join("passwords.json");
    std::fs::write(&passwords, r#"{"people/ann":"n3w-password"}"#)?;
    let arguments = ["--passwords", &passwords.to_string_lossy()];

    let (code, report) = migrate(&cluster, &vault, &arguments)?;
    assert_eq!(code, 9, "{report}");
    let by_hand = named(&report, "by_hand");
    let by_hand: Vec<&str> = by_hand
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "default")
        .collect();
    assert_eq!(by_hand, ["auth/approle/role/app", "auth/people/users/bob"], "{report}");
    for kind in ["policies", "approle_roles", "userpass_users"] {
        let count = &report["counts"][kind];
        assert_eq!(count["found"], count["verified"], "{kind}: {report}");
        assert_eq!(count["left"], 0);
    }
    // What was moved works: the role under its old id, the user with the new password.
    let made = cluster.cli(
        &[
            "write",
            "--force",
            "--field",
            "secret_id",
            "auth/approle/role/app/secret-id",
        ],
        "",
    )?;
    let secret_id = String::from_utf8(made.stdout)?;
    let login = |arguments: &[&str], input: &str| -> Result<Output> {
        let endpoints = cluster.endpoints().join(",");
        let environment = [
            ("AUMBRY_ADDR", endpoints.as_str()),
            ("AUMBRY_CACERT", cluster.ca_file()),
        ];
        let arguments: Vec<&str> = ["login", "--no-store", "--field", "token"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let token = String::from_utf8(run_cli(&arguments, &environment, input)?.stdout)?;
        let with = [&environment[..], &[("AUMBRY_TOKEN", token.as_str())]].concat();
        run_cli(&["kv", "get", "--field", "password", "secret/app"], &with, "")
    };
    assert_eq!(
        login(&["--method", "approle", "role_id=r0le-of-old"], &secret_id)?.stdout,
        b"s3cret"
    );
    let people = |user: &str, password: &str| login(&["--method", "userpass", "--path", "people", user], password);
    assert_eq!(people("username=ann", "n3w-password")?.stdout, b"s3cret");
    assert_ne!(people("username=ann", "0ld-password")?.status.code(), Some(0));
    assert_ne!(people("username=bob", "0ld-password")?.status.code(), Some(0));
    // A second run has nothing to do, and nothing to complain of but the policy that each server has of its own.
    let (code, report) = migrate(&cluster, &vault, &arguments)?;
    assert!(matches!(code, 0 | 9), "{report}");
    for kind in ["policies", "approle_roles", "userpass_users"] {
        assert_eq!(report["counts"][kind]["moved"], 0, "{kind}: {report}");
    }
    Ok(())
}

/// The page about moving, with a source that has what the page speaks of.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_moving_works_as_written() -> Result<()> {
    let vault = Vault::start().await?;
    let policy = "path \"secret/data/app\" { capabilities = [\"read\"] }";
    vault.write("sys/policies/acl/app", json!({ "policy": policy })).await?;
    vault.put("app", json!({ "password": "s3cret" })).await?;
    vault.write("sys/auth/approle", json!({ "type": "approle" })).await?;
    vault
        .write("auth/approle/role/app", json!({ "token_policies": "app" }))
        .await?;
    vault.write("auth/approle/role/app/secret-id", json!({})).await?;
    vault.write("sys/auth/people", json!({ "type": "userpass" })).await?;
    for user in ["ann", "bob"] {
        let body = json!({ "password": "0ld", "token_policies": "app" });
        vault.write(&format!("auth/people/users/{user}"), body).await?;
    }
    let text = std::fs::read_to_string("../docs/migrate.md")?;
    let setup = "<!-- setup: cluster-1";
    let before = format!(
        "{setup}\nVAULT_ADDR=http://{}\necho {TOKEN} > vault-token\n",
        vault.address
    );
    let check = "<!-- check:\n[ \"$(aumbry kv get --field password secret/app)\" = s3cret ]\n-->\n";
    let text = text.replacen(setup, &before, 1) + check;
    Page::parse("migrate.md", &text)?.run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_read_is_told_of() -> Result<()> {
    let (cluster, vault) = (Cluster::start(1)?, Vault::start().await?);
    let root = cluster.root_token();
    let endpoints = cluster.endpoints().join(",");
    let environment = [
        ("AUMBRY_ADDR", endpoints.as_str()),
        ("AUMBRY_CACERT", cluster.ca_file()),
        ("AUMBRY_TOKEN", root.expose_str().unwrap_or_default()),
        ("VAULT_TOKEN", "hvs.c4nary"),
    ];
    let here = format!("http://{}", vault.address);
    for (address, word) in [
        (here.as_str(), "may not read"),
        ("http://127.0.0.1:1", "cannot connect"),
        ("http://vault.example.com", "danger-plain-http"),
    ] {
        let output = run_cli(&["migrate", "vault", "--source-address", address], &environment, "")?;
        let told = told(&output);
        assert!(!output.status.success() && told.contains(word), "{address}: {told}");
        assert!(!told.contains("c4nary"), "{told}");
    }
    Ok(())
}

/// A path as clients send it.
fn name_encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let encoded = name.bytes().map(|byte| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    encoded.collect()
}

const TOKEN: &str = "s0urce-root";
const SECRETS: usize = 1_000;
const WAIT: Duration = Duration::from_secs(60);
