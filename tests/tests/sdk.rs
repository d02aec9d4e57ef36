//! What the SDK does beyond a request: sessions, the cache, watches, positions; and its examples, against a real cluster.

#[expect(dead_code, reason = "the example's own main is not called")]
#[path = "../../crates/client/examples/approle.rs"]
mod approle;
#[expect(dead_code, reason = "the example's own main is not called")]
#[path = "../../crates/client/examples/cache.rs"]
mod cache;
#[expect(dead_code, reason = "the example's own main is not called")]
#[path = "../../crates/client/examples/kv.rs"]
mod kv;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use aumbry_client::{Bounds, Cache, Client, Error, Evidence, Login, Session, Watch, v1};
use aumbry_tests::{Cluster, eventually};
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

/// A cluster with a role, a user and a secret.
struct Bed {
    cluster: Cluster,
    root: Client,
    /// Without a token.
    anonymous: Client,
    role_id: String,
}

impl Bed {
    async fn start(nodes: usize, role: Value) -> Result<Self> {
        let cluster = Cluster::start(nodes)?;
        let root = cluster.client()?;
        let anonymous = cluster.client_as(SecretBytes::default(), &cluster.endpoints())?;
        let policy = "path \"secret/*\" { capabilities = [\"read\", \"list\"] }";
        write(&root, "sys/policies/acl/app", json!({ "policy": policy })).await?;
        write(&root, "sys/auth/approle", json!({ "type": "approle" })).await?;
        write(&root, "sys/auth/userpass", json!({ "type": "userpass" })).await?;
        write(
            &root,
            "auth/userpass/users/ann",
            json!({ "password": "c0rrect", "token_policies": "app" }),
        )
        .await?;
        write(&root, "auth/approle/role/app", role).await?;
        let reply = by_path(&root, v1::Verb::Read, "auth/approle/role/app/role-id", Value::Null).await?;
        let role_id = reply["role_id"].as_str().context("no role id")?.to_owned();
        put(&root, "secret/app", json!({ "password": "one" })).await?;
        Ok(Self {
            cluster,
            root,
            anonymous,
            role_id,
        })
    }

    async fn secret_id(&self) -> Result<String> {
        let reply = by_path(
            &self.root,
            v1::Verb::Write,
            "auth/approle/role/app/secret-id",
            json!({}),
        )
        .await?;
        Ok(reply["secret_id"].as_str().context("no secret id")?.to_owned())
    }

    async fn login(&self) -> Result<Login> {
        let secret_id = SecretBytes::from(self.secret_id().await?);
        Ok(Login::approle("approle", &self.role_id, Evidence::fixed(secret_id)))
    }

    /// Revokes the token that a client shows.
    async fn revoke(&self, client: &Client) -> Result<()> {
        let info = client
            .call(v1::TokenLookupRequest::default())
            .await?
            .info
            .context("no token")?;
        let by = Some(v1::token_name::By::Accessor(info.accessor));
        let request = v1::TokenRevokeRequest {
            token: Some(v1::TokenName { by }),
            ..Default::default()
        };
        self.root.call(request).await?;
        Ok(())
    }
}

async fn by_path(client: &Client, verb: v1::Verb, path: &str, body: Value) -> Result<Value> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = v1::LogicalRequest {
        verb: verb as i32,
        path: path.to_owned(),
        body: body.into_bytes().into(),
        ..Default::default()
    };
    let reply = client.call(request).await?;
    Ok(serde_json::from_slice(&reply.data).unwrap_or_default())
}

async fn write(client: &Client, path: &str, body: Value) -> Result<()> {
    by_path(client, v1::Verb::Write, path, body).await.map(|_| ())
}

async fn put(client: &Client, path: &str, data: Value) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: data.to_string().into_bytes().into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

async fn read(client: &Client, path: &str) -> Result<v1::KvItem, Error> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    Ok(client.call(request).await?.item.unwrap_or_default())
}

fn reason<T>(answer: Result<T, Error>) -> String {
    answer.err().map(|error| error.reason().to_owned()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_its_tokens() -> Result<()> {
    // A token lives for 2 s, and 4 s with renewals: renewing must work, end, and be followed by a login.
    let bed = Bed::start(
        1,
        json!({ "token_policies": "app", "token_ttl": 2, "token_max_ttl": 4 }),
    )
    .await?;
    let session = Session::start(&bed.anonymous, bed.login().await?).await?;
    let client = session.client().clone();
    let accessor = |client: Client| async move {
        let reply = client.call(v1::TokenLookupRequest::default()).await;
        reply.ok().and_then(|reply| reply.info).map(|info| info.accessor)
    };
    let first = accessor(client.clone()).await.context("no token")?;
    eventually("a third login", || async {
        assert!(read(&client, "secret/app").await.is_ok(), "every read between succeeds");
        session.logins() >= 3
    })
    .await?;
    assert_ne!(accessor(client.clone()).await.context("no token")?, first);
    // The positive control: the first token alone would have ended.
    let by = Some(v1::token_name::By::Accessor(first));
    let lookup = v1::TokenLookupRequest {
        token: Some(v1::TokenName { by }),
        ..Default::default()
    };
    eventually("the first token ends", || async {
        bed.root.call(lookup.clone()).await.is_err()
    })
    .await?;
    session.end().await?;
    assert_eq!(
        reason(
            client
                .with_token(&SecretBytes::from("hvs.none".to_owned()))?
                .call(v1::TokenLookupRequest::default())
                .await
        ),
        "TOKEN_INVALID"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_logs_in_again_once_for_all_who_wait() -> Result<()> {
    let bed = Bed::start(1, json!({ "token_policies": "app", "token_ttl": "1h" })).await?;
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let evidence = Evidence::asked(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(SecretBytes::from("c0rrect".to_owned()))
    });
    let session = Session::start(&bed.anonymous, Login::userpass("userpass", "ann", evidence)).await?;
    let client = session.client().clone();
    bed.revoke(&client).await?;
    let reads = (0..20).map(|_| read(&client, "secret/app"));
    for answer in futures::future::join_all(reads).await {
        assert!(answer?.has_data);
    }
    assert_eq!((session.logins(), asked.load(Ordering::Relaxed)), (2, 2));
    // A login that is refused is told to all, and not made twenty times.
    write(
        &bed.root,
        "auth/userpass/users/ann/password",
        json!({ "password": "an0ther" }),
    )
    .await?;
    bed.revoke(&client).await?;
    let before = asked.load(Ordering::Relaxed);
    let reads = (0..20).map(|_| read(&client, "secret/app"));
    for answer in futures::future::join_all(reads).await {
        assert_eq!(reason(answer), "LOGIN_REFUSED");
    }
    assert!(
        asked.load(Ordering::Relaxed) - before <= 3,
        "{} logins",
        asked.load(Ordering::Relaxed) - before
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_gives_nothing_after_its_token_or_its_time() -> Result<()> {
    let bed = Bed::start(1, json!({ "token_policies": "app", "token_ttl": "1h" })).await?;
    let token = bed.root.call(v1::TokenCreateRequest {
        policies: vec!["app".to_owned()],
        ttl_s: 3_600,
        ..Default::default()
    });
    let token = SecretBytes::new(token.await?.token.to_vec());
    let client = bed.anonymous.with_token(&token)?;
    let long = Bounds {
        fresh: Duration::from_secs(3_600),
        stale: Duration::from_secs(7_200),
        ..Bounds::default()
    };
    let cache = Cache::new(&client, long);
    assert_eq!(cache.get("secret/app").await?.version(), 1);
    put(&bed.root, "secret/app", json!({ "password": "two" })).await?;
    assert_eq!(cache.get("secret/app").await?.version(), 1, "it is fresh");
    cache.forget("secret/app");
    let secret = cache.get("secret/app").await?;
    assert_eq!(
        (secret.version(), secret.text("password").context("no text")?.expose()),
        (2, &b"two"[..])
    );
    // What is not fresh is given, and asked for anew meanwhile.
    let stale = Cache::new(
        &client,
        Bounds {
            fresh: Duration::ZERO,
            ..long
        },
    );
    assert_eq!(stale.get("secret/app").await?.version(), 2);
    put(&bed.root, "secret/app", json!({ "password": "three" })).await?;
    assert_eq!(stale.get("secret/app").await?.version(), 2, "the old one, at once");
    eventually("the new version is there", || async {
        stale.get("secret/app").await.is_ok_and(|secret| secret.version() == 3)
    })
    .await?;
    // What is over its time is not given: with none at all each reader asks.
    let never = Cache::new(
        &client,
        Bounds {
            fresh: Duration::ZERO,
            stale: Duration::ZERO,
            ..long
        },
    );
    assert_eq!(never.get("secret/app").await?.version(), 3);
    put(&bed.root, "secret/app", json!({ "password": "four" })).await?;
    assert_eq!(never.get("secret/app").await?.version(), 4);
    // Nobody has told the client yet that its token is none: the entry is given, as its time is not over. Then a request tells it.
    bed.revoke(&client).await?;
    assert_eq!(cache.get("secret/app").await?.version(), 2);
    assert_eq!(reason(read(&client, "secret/other").await), "TOKEN_INVALID");
    assert_eq!(reason(cache.get("secret/app").await.map(|_| ())), "TOKEN_INVALID");
    assert!(cache.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_sees_each_kind_of_change() -> Result<()> {
    let bed = Bed::start(1, json!({ "token_policies": "app" })).await?;
    let mut watch = Watch::new(&bed.root, "secret/watched", Duration::ZERO);
    let seen = watch.changed().await?;
    assert_eq!((seen.version, seen.is_readable), (0, false));
    put(&bed.root, "secret/watched", json!({})).await?;
    let seen = watch.changed().await?;
    assert_eq!((seen.version, seen.is_readable), (1, true));
    let delete = v1::KvDeleteRequest {
        path: "secret/watched".to_owned(),
        ..Default::default()
    };
    bed.root.call(delete).await?;
    let seen = watch.changed().await?;
    assert_eq!((seen.version, seen.is_readable), (1, false));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_read_on_every_node() -> Result<()> {
    let bed = Bed::start(3, json!({ "token_policies": "app" })).await?;
    for n in 1..=20 {
        put(&bed.root, "secret/own", json!({ "n": n })).await?;
        let position = bed.root.position();
        for endpoint in bed.cluster.endpoints() {
            let client = bed.cluster.client_as(bed.cluster.root_token(), &[endpoint])?;
            let item = read(&client.reading_at(position), "secret/own").await?;
            let data: Value = serde_json::from_slice(&item.data)?;
            assert!(data["n"].as_u64() >= Some(n), "{data} at {position:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_run() -> Result<()> {
    let bed = Bed::start(1, json!({ "token_policies": "app", "token_ttl": "1h" })).await?;
    let told = |error: Box<dyn std::error::Error>| anyhow!("{error}");
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("secret-id");
    std::fs::write(&file, format!("{}\n", bed.secret_id().await?))?;
    let version = approle::run(&bed.anonymous, &bed.role_id, file, "secret/app").await;
    assert_eq!(version.map_err(told)?, 1);
    for n in 1..=2 {
        assert_eq!(kv::run(&bed.root, "secret/counter").await.map_err(told)?, n);
    }
    let (root, waits) = (bed.root.clone(), bed.root.clone());
    let writes = async move {
        // The watch has seen the first version before this one comes, or the two are one change: then it is written again.
        for n in 2..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            put(&root, "secret/app", json!({ "password": n.to_string() })).await?;
        }
        anyhow::Ok(())
    };
    let runs = async {
        cache::run(&waits, "secret/app", 100)
            .await
            .map_err(|error| anyhow!("{error}"))
    };
    tokio::select! {
        ran = runs => {
            let (first, second) = ran?;
            assert!(first >= 1 && second > first, "{first} {second}");
        }
        wrote = writes => {
            wrote?;
            bail!("the example did not see a change");
        }
    }
    Ok(())
}
