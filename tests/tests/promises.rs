//! What clients are promised, over real processes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, Error, v1};
use aumbry_tests::{Cluster, Recorded, eventually, records};
use aumbry_types::SecretBytes;
use futures::future::join_all;

fn put(path: &str, data: &str, cas: Option<u64>) -> v1::KvPutRequest {
    v1::KvPutRequest {
        path: path.to_owned(),
        data: data.to_owned().into(),
        cas,
        ..Default::default()
    }
}

fn get(path: &str) -> v1::KvGetRequest {
    v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    }
}

async fn token(client: &Client, create: v1::TokenCreateRequest) -> Result<SecretBytes> {
    let created = client.call(create).await?;
    Ok(SecretBytes::new(created.token.to_vec()))
}

async fn write_policy(client: &Client, name: &str, policy: &str) -> Result<()> {
    let request = v1::PolicyPutRequest {
        name: name.to_owned(),
        policy: policy.to_owned(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

fn reason<T>(answer: Result<T, Error>) -> String {
    answer.map_or_else(|error| error.reason().to_owned(), |_| "OK".to_owned())
}

/// Of 64 creates of one secret exactly one wins; of 64 increments by check-and-set none is lost; a token of ten uses is used ten times.
///
/// Abuse cases: 37.
#[tokio::test(flavor = "multi_thread")]
async fn races_have_exact_ends() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let clients: Vec<Client> = cluster
        .nodes()
        .iter()
        .map(|node| cluster.client_as(cluster.root_token(), std::slice::from_ref(&node.client)))
        .collect::<Result<_>>()?;
    let creates = (0..64).map(|n| clients[n % 3].call(put("secret/once", &format!("{{\"n\":{n}}}"), Some(0))));
    let reasons: Vec<String> = join_all(creates).await.into_iter().map(reason).collect();
    ensure!(
        reasons.iter().filter(|reason| *reason == "OK").count() == 1,
        "{reasons:?}"
    );
    ensure!(
        reasons.iter().filter(|reason| *reason == "CAS_MISMATCH").count() == 63,
        "{reasons:?}"
    );

    clients[0].call(put("secret/sum", "{\"sum\":0}", Some(0))).await?;
    let increments = (0..64).map(|n| increment(&clients[n % 3]));
    let added: u64 = join_all(increments)
        .await
        .into_iter()
        .collect::<Result<Vec<u64>>>()?
        .into_iter()
        .sum();
    ensure!(
        read_sum(&clients[0]).await?.0 == added && added > 0,
        "a success was lost or counted twice"
    );

    let counted = v1::TokenCreateRequest {
        policies: vec!["root".to_owned()],
        ttl_s: 600,
        num_uses: 10,
        ..Default::default()
    };
    let counted = token(&clients[0], counted).await?;
    let users: Vec<Client> = cluster
        .nodes()
        .iter()
        .map(|node| cluster.client_as(counted.duplicate(), std::slice::from_ref(&node.client)))
        .collect::<Result<_>>()?;
    let uses = (0..64).map(|n| users[n % 3].call(get("secret/once")));
    let reasons: Vec<String> = join_all(uses).await.into_iter().map(reason).collect();
    ensure!(
        reasons.iter().filter(|reason| *reason == "OK").count() == 10,
        "{reasons:?}"
    );
    Ok(())
}

async fn read_sum(client: &Client) -> Result<(u64, u64)> {
    let item = client.call(get("secret/sum")).await?.item.unwrap_or_default();
    let value: serde_json::Value = serde_json::from_slice(&item.data)?;
    Ok((
        value["sum"].as_u64().unwrap_or(0),
        item.version.unwrap_or_default().version,
    ))
}

async fn increment(client: &Client) -> Result<u64> {
    let (sum, version) = read_sum(client).await?;
    match client
        .call(put("secret/sum", &format!("{{\"sum\":{}}}", sum + 1), Some(version)))
        .await
    {
        Ok(_) => Ok(1),
        Err(error) if error.reason() == "CAS_MISMATCH" => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// After the reply to a revocation or to a narrower policy, no use succeeds on any node, over a change of leader too.
///
/// Abuse cases: 20, 36.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_and_policies_hold_at_once_everywhere() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    write_policy(&root, "app", APP_POLICY).await?;
    root.call(put("secret/app/x", "{}", None)).await?;
    let app = v1::TokenCreateRequest {
        policies: vec!["app".to_owned()],
        ttl_s: 600,
        ..Default::default()
    };
    let parent = token(&root, app.clone()).await?;
    let parent_client = cluster.client_as(parent.duplicate(), &cluster.endpoints())?;
    let child = token(
        &parent_client,
        v1::TokenCreateRequest {
            ttl_s: 600,
            ..Default::default()
        },
    )
    .await?;
    let bystander = token(&root, app).await?;
    let users = |who: &SecretBytes| -> Result<Vec<Client>> {
        cluster
            .nodes()
            .iter()
            .map(|node| cluster.client_as(who.duplicate(), std::slice::from_ref(&node.client)))
            .collect()
    };
    for who in [&parent, &child, &bystander] {
        for user in users(who)? {
            ensure!(reason(user.call(get("secret/app/x")).await) == "OK");
        }
    }
    // Children that are being made while their parent is revoked do not survive it.
    let racing = (0..16).map(|_| {
        parent_client.call(v1::TokenCreateRequest {
            ttl_s: 600,
            ..Default::default()
        })
    });
    let revoke = v1::TokenRevokeRequest {
        token: Some(v1::TokenName {
            by: Some(v1::token_name::By::Token(parent.expose().to_vec().into())),
        }),
        ..Default::default()
    };
    let (racing, revoked) = tokio::join!(join_all(racing), root.call(revoke));
    revoked?;
    let born: Vec<SecretBytes> = racing
        .into_iter()
        .flatten()
        .map(|created| SecretBytes::new(created.token.to_vec()))
        .collect();
    for who in born.iter().chain([&parent, &child]) {
        for user in users(who)? {
            ensure!(reason(user.call(get("secret/app/x")).await) == "TOKEN_INVALID");
        }
    }
    write_policy(&root, "app", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await?;
    for user in users(&bystander)? {
        ensure!(
            reason(user.call(get("secret/app/x")).await) == "OK",
            "the positive control"
        );
        ensure!(reason(user.call(put("secret/app/x", "{}", None)).await) == "PERMISSION_DENIED");
    }
    let leader = cluster.leader().await?;
    cluster.kill(leader)?;
    let left = cluster
        .nodes()
        .into_iter()
        .filter(|node| node.id != leader)
        .map(|node| node.client)
        .collect::<Vec<_>>();
    let user = cluster.client_as(child, &left)?;
    ensure!(reason(user.call(get("secret/app/x")).await) == "TOKEN_INVALID");
    let user = cluster.client_as(bystander, &left)?;
    ensure!(reason(user.call(put("secret/app/x", "{}", None)).await) == "PERMISSION_DENIED");
    ensure!(reason(user.call(get("secret/app/x")).await) == "OK");
    Ok(())
}

/// In the log itself: after a policy became narrower, or a token was revoked, nothing took effect under the old rule, though many tried.
///
/// Abuse cases: 20, 22.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_effect_under_an_old_rule() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    write_policy(&root, "app", APP_POLICY).await?;
    let create = v1::TokenCreateRequest {
        policies: vec!["app".to_owned()],
        ttl_s: 600,
        ..Default::default()
    };
    let created = root.call(create).await?;
    let who = SecretBytes::new(created.token.to_vec());
    let accessor = created.info.unwrap_or_default().accessor;
    let count = Arc::new([const { AtomicU64::new(0) }; 3]);
    let stop = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (0..USERS)
        .map(|user| {
            let node = &cluster.nodes()[user % 3];
            let client = cluster.client_as(who.duplicate(), std::slice::from_ref(&node.client));
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            tokio::spawn(async move {
                let client = client?;
                while !stop.load(Ordering::SeqCst) {
                    let answer = reason(client.call(put(&format!("secret/app/{user}"), "{}", None)).await);
                    let kind = ["OK", "PERMISSION_DENIED", "TOKEN_INVALID"]
                        .iter()
                        .position(|known| *known == answer);
                    if let Some(kind) = kind {
                        count[kind].fetch_add(1, Ordering::SeqCst);
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    let answered = |kind: usize| {
        let count = Arc::clone(&count);
        eventually("the users go on", move || {
            let enough = count[kind].load(Ordering::SeqCst) > 20 * USERS as u64;
            async move { enough }
        })
    };
    answered(0).await?;
    write_policy(&root, "app", r#"path "secret/data/app/*" { capabilities = ["read"] }"#).await?;
    answered(1).await?;
    let revoke = v1::TokenRevokeRequest {
        token: Some(v1::TokenName {
            by: Some(v1::token_name::By::Accessor(accessor.clone())),
        }),
        ..Default::default()
    };
    root.call(revoke).await?;
    answered(2).await?;
    stop.store(true, Ordering::SeqCst);
    for user in users {
        user.await??;
    }

    let log = records(&root).await?;
    let last = |operation: &str| {
        let found = log
            .iter()
            .rfind(|record| record.text("operation") == operation && record.is_allowed());
        found.map(|record| record.seq).context("the change is on record")
    };
    let (narrowed, revoked) = (last("policy.write")?, last("token.revoke")?);
    ensure!(narrowed < revoked);
    let written: Vec<u64> = log
        .iter()
        .filter(|record| record.text("operation") == "kv.put" && record.is_allowed())
        .map(|record| record.seq)
        .collect();
    ensure!(
        written.len() > 100,
        "the positive control: {} writes took effect before",
        written.len()
    );
    ensure!(
        written.iter().all(|seq| *seq < narrowed),
        "a write took effect under the wider policy"
    );
    let used = |record: &&Recorded| record.event["principal"]["accessor"] == accessor.as_str() && record.applied;
    let last_use = log.iter().rfind(used).map(|record| record.seq);
    ensure!(
        last_use.is_some_and(|seq| seq > narrowed && seq < revoked),
        "a revoked token was taken for one"
    );
    Ok(())
}

/// A write that is tried again with its key after the leader was killed is applied once and answered alike.
///
/// Abuse cases: 73.
#[tokio::test(flavor = "multi_thread")]
async fn a_retried_write_is_applied_once() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let with_key = |key: &str| -> Result<Client> {
        let builder = cluster.builder(cluster.root_token(), &cluster.endpoints())?;
        Ok(builder.idempotency_key(key.to_owned()).build()?)
    };
    let first = with_key("k1")?.call(put("secret/x", "{\"a\":1}", None)).await?;
    cluster.kill(cluster.leader().await?)?;
    let again = with_key("k1")?.call(put("secret/x", "{\"a\":1}", None)).await?;
    ensure!(first.version == again.version, "the same reply");
    ensure!(reason(with_key("k1")?.call(put("secret/x", "{\"a\":2}", None)).await) == "INVALID_REQUEST");
    let next = with_key("k2")?.call(put("secret/x", "{\"a\":1}", None)).await?;
    ensure!(next.version.unwrap_or_default().version == 2, "one version for one key");
    Ok(())
}

/// Pages of a large directory are sorted, whole and without doubles, while others insert; directories come and go with secrets.
///
/// Abuse cases: 98.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_whole_and_paged() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let client = cluster.client()?;
    // A fixed order that is none: multiplication by a unit modulo the count.
    let names: Vec<String> = (0..CHILDREN).map(|n| format!("c{:05}", n * 1_237 % CHILDREN)).collect();
    for chunk in names.chunks(128) {
        let puts = chunk
            .iter()
            .map(|name| client.call(put(&format!("secret/dir/{name}"), "{}", None)));
        for written in join_all(puts).await {
            written?;
        }
    }
    let inserting = async {
        for n in 0..50 {
            client.call(put(&format!("secret/dir/d{n:05}"), "{}", None)).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (listed, inserted) = tokio::join!(list_all(&client, "secret/dir", 700), inserting);
    inserted?;
    let listed = listed?;
    ensure!(
        listed.windows(2).all(|pair| pair[0] < pair[1]),
        "sorted, without doubles"
    );
    let found: BTreeSet<&String> = listed.iter().collect();
    ensure!(names.iter().all(|name| found.contains(name)), "without gaps");

    client.call(put("secret/a/b/c", "{}", None)).await?;
    ensure!(list_all(&client, "secret/a", 10).await? == ["b/"]);
    ensure!(list_all(&client, "secret", 10).await? == ["a/", "dir/"]);
    client
        .call(v1::KvDeleteMetadataRequest {
            path: "secret/a/b/c".to_owned(),
            ..Default::default()
        })
        .await?;
    ensure!(list_all(&client, "secret", 10).await? == ["dir/"]);
    Ok(())
}

async fn list_all(client: &Client, path: &str, limit: u32) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let after = names.last().cloned().unwrap_or_default();
        let request = v1::KvListRequest {
            path: path.to_owned(),
            after,
            limit,
            ..Default::default()
        };
        let page = client.call(request).await?;
        names.extend(page.names);
        if !page.more {
            return Ok(names);
        }
    }
}

/// Every field has a limit and a clear error that does not repeat what was sent.
///
/// Abuse cases: 4, 5, 10.
#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_clearly() -> Result<()> {
    let cluster = Cluster::start(1)?;
    let client = cluster.client()?;
    let long = "a".repeat(256);
    for path in [
        "",
        "secret",
        "/secret/a",
        "secret//a",
        "secret/a/",
        "secret/../a",
        "secret/a\u{200b}",
        "secret/a\n",
        "secret/e\u{301}",
        &format!("secret/{long}"),
    ] {
        let refused = client.call(put(path, "{}", None)).await;
        let Err(error) = refused else {
            anyhow::bail!("took {path:?}")
        };
        ensure!(error.reason() == "INVALID_REQUEST", "{path:?}: {error}");
        ensure!(
            path.is_empty() || path == "secret" || !error.to_string().contains(path),
            "{error}"
        );
    }
    for data in ["", "[]", "{\"a\":1,\"a\":2}", "{", "\"canary\""] {
        ensure!(
            reason(client.call(put("secret/x", data, None)).await) == "INVALID_REQUEST",
            "{data}"
        );
    }
    for (id, expected) in [
        ("5", "INVALID_REQUEST"),
        ("c56a4180-65aa-42ec-a945-5fd21dec0538", "INVALID_REQUEST"),
        ("c56a418065aa42eca9455fd21dec0538", "OK"),
    ] {
        let mut request = put("secret/x", "{}", None);
        request.header = Some(v1::RequestHeader {
            request_id: id.to_owned(),
            ..Default::default()
        });
        ensure!(reason(client.call(request).await) == expected, "{id}");
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 8));
    ensure!(
        reason(client.call(put("secret/large", &large, None)).await) == "OK",
        "1 MiB fits"
    );
    ensure!(reason(client.call(put("secret/large", &format!("{large} "), None)).await) == "INVALID_REQUEST");
    for (name, policy) in [
        ("ROOT", ""),
        ("root", "path \"a\" { capabilities = [\"read\"] }"),
        ("x", "path \"a\" { capabilities = [\"fly\"] }"),
    ] {
        let request = v1::PolicyPutRequest {
            name: name.to_owned(),
            policy: policy.to_owned(),
            ..Default::default()
        };
        ensure!(reason(client.call(request).await) == "INVALID_REQUEST", "{name}");
    }
    Ok(())
}

/// With two of three nodes down, nothing is answered, and that is said within the deadline; a write's outcome is said to be unknown.
///
/// Abuse cases: 81, 82.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_answered() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let leader = cluster.leader().await?;
    cluster.client()?.call(put("secret/x", "{}", None)).await?;
    for node in cluster.nodes().iter().filter(|node| node.id != leader) {
        cluster.kill(node.id)?;
    }
    let node = cluster.node(leader)?;
    let builder = cluster.builder(cluster.root_token(), &[node.client])?;
    let client = builder.timeout(Duration::from_secs(3)).retries(false).build()?;
    let read = client.call(get("secret/x")).await;
    let Err(error) = read else {
        anyhow::bail!("a value left without a quorum")
    };
    ensure!(
        error.failure().is_some_and(|failure| !failure.message.is_empty()),
        "{error}"
    );
    let written = client.call(put("secret/x", "{}", None)).await;
    ensure!(written.is_err());
    Ok(())
}

const USERS: usize = 12;
const APP_POLICY: &str = r#"
path "secret/data/app/*" { capabilities = ["create", "read", "update"] }
path "auth/token/create" { capabilities = ["update"] }
"#;
const CHILDREN: usize = 5_000;
