//! Tokens: what they can be made into, and what is none.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, eventually};
use aumbry_types::{Entropy as _, SecretBytes, SystemEntropy};
use futures::future::join_all;

use crate::bed::{ask, get, put, reason, shared, token_with};

const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

async fn create(client: &Client, wanted: v1::TokenCreateRequest) -> Result<v1::TokenCreateReply> {
    Ok(client.call(wanted).await?)
}

fn secret(reply: &v1::TokenCreateReply) -> SecretBytes {
    SecretBytes::new(reply.token.to_vec())
}

fn by_accessor(accessor: &str) -> Option<v1::TokenName> {
    let by = v1::token_name::By::Accessor(accessor.to_owned());
    Some(v1::TokenName { by: Some(by) })
}

fn by_token(token: &SecretBytes) -> Option<v1::TokenName> {
    let by = v1::token_name::By::Token(token.expose().to_vec().into());
    Some(v1::TokenName { by: Some(by) })
}

/// Tokens that were guessed, cut, mistyped or put together of others are none.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_034_a_guessed_token_is_none() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.root_token().expose_str().unwrap_or_default().to_owned();
    let mut guesses: Vec<Vec<u8>> = Vec::new();
    for at in 0..root.len() {
        let mut other = root.clone().into_bytes();
        other[at] = if other[at] == b'x' { b'y' } else { b'x' };
        guesses.push(other);
        guesses.push(root.as_bytes()[..at].to_vec());
    }
    let prefix = root.rfind('.').map_or(0, |dot| dot + 1);
    for _ in 0..500 {
        let mut bytes = vec![0; root.len() - prefix];
        SystemEntropy.fill(&mut bytes);
        let random = bytes.iter().map(|byte| ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        guesses.push(root.as_bytes()[..prefix].iter().copied().chain(random).collect());
    }
    guesses.extend(
        [
            format!("{root}0"),
            format!("{root}.{root}"),
            root.to_uppercase(),
            root.to_lowercase(),
        ]
        .map(String::into_bytes),
    );
    for chunk in guesses.chunks(100) {
        let clients = chunk
            .iter()
            .map(|guess| {
                cluster
                    .builder(SecretBytes::new(guess.clone()), &cluster.endpoints())?
                    .retries(false)
                    .build()
                    .map_err(Into::into)
            })
            .collect::<Result<Vec<_>>>()?;
        let answers = join_all(clients.iter().map(|client| ask(client, v1::StatusRequest::default()))).await;
        for (answer, guess) in answers.iter().zip(chunk) {
            ensure!(
                answer == "TOKEN_INVALID",
                "{answer}: {}",
                String::from_utf8_lossy(guess)
            );
        }
    }
    ensure!(ask(&cluster.client()?, v1::StatusRequest::default()).await == "OK");
    Ok(())
}

/// A child has no policy, no life and no freedom that its parent may not give.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_035_a_child_has_no_more_than_its_parent() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let text = r#"path "auth/token/*" { capabilities = ["create", "read", "update"] }"#;
    let other = token_with(&root, "a035-other", "path \"*\" { capabilities = [\"read\"] }").await?;
    drop(other);
    let parent = token_with(&root, "a035", text).await?;
    let parent = cluster.builder(parent, &cluster.endpoints())?.retries(false).build()?;
    let wanted = |policies: &[&str]| v1::TokenCreateRequest {
        policies: policies.iter().map(|policy| (*policy).to_owned()).collect(),
        ttl_s: 60,
        ..Default::default()
    };
    ensure!(ask(&parent, wanted(&["a035"])).await == "OK", "the positive control");
    for policies in [
        &["root"][..],
        &["a035-other"],
        &["a035", "a035-other"],
        &["a035", "root"],
        &["none"],
    ] {
        let answer = ask(&parent, wanted(policies)).await;
        ensure!(
            ["PERMISSION_DENIED", "POLICY_NOT_HELD", "INVALID_REQUEST"].contains(&&*answer),
            "{policies:?}: {answer}"
        );
    }
    let orphan = v1::TokenCreateRequest {
        orphan: true,
        ..wanted(&["a035"])
    };
    ensure!(
        ask(&parent, orphan).await == "PERMISSION_DENIED",
        "an orphan without sudo"
    );
    for ttl_s in [u64::MAX, u64::MAX / 1_000, 1 << 40] {
        let long = v1::TokenCreateRequest {
            ttl_s,
            ..wanted(&["a035"])
        };
        if let Ok(made) = parent.call(long).await {
            let info = made.info.context("what was made is told")?;
            let days = (info.expires_at_ms - info.issued_ms) / 86_400_000;
            ensure!(
                info.expires_at_ms > 0 && days <= 32,
                "{ttl_s}: until {}",
                info.expires_at_ms
            );
        }
    }
    Ok(())
}

/// A tree of tokens that is revoked is gone as a whole, though the leader dies in the middle: acknowledged or tried again.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_036_a_tree_is_revoked_though_the_leader_dies() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    root.call(put("secret/a036", "{}")).await?;
    let text = r#"
        path "auth/token/create" { capabilities = ["update"] }
        path "secret/data/a036" { capabilities = ["read"] }
    "#;
    let parent = token_with(&root, "a036", text).await?;
    let endpoints = cluster.endpoints();
    let mut above = vec![parent.duplicate()];
    let mut tree = Vec::new();
    for _ in 0..3 {
        let mut level = Vec::new();
        for who in &above {
            let client = cluster.client_as(who.duplicate(), &endpoints)?;
            for _ in 0..4 {
                let child = create(
                    &client,
                    v1::TokenCreateRequest {
                        ttl_s: 3_600,
                        ..Default::default()
                    },
                )
                .await?;
                level.push(secret(&child));
            }
        }
        tree.append(&mut above);
        above = level;
    }
    tree.append(&mut above);
    let bystander = token_with(&root, "a036", text).await?;
    let revoke = || v1::TokenRevokeRequest {
        token: by_token(&parent),
        ..Default::default()
    };
    let leader = cluster.leader().await?;
    let revoking = root.call(revoke());
    let killing = async { cluster.kill(leader) };
    let (revoked, killed) = tokio::join!(revoking, killing);
    killed?;
    if revoked.is_err() {
        // It may have been applied; then there is nothing to revoke any more.
        eventually("it is revoked again", || async {
            ["OK", "NOT_FOUND", "TOKEN_INVALID"].contains(&&*reason(root.call(revoke()).await))
        })
        .await?;
    }
    let left: Vec<String> = cluster
        .nodes()
        .into_iter()
        .filter(|node| node.id != leader)
        .map(|node| node.client)
        .collect();
    ensure!(tree.len() == 85);
    for endpoint in left.chunks(1) {
        for who in &tree {
            let client = cluster.client_as(who.duplicate(), endpoint)?;
            let answer = ask(&client, get("secret/a036")).await;
            ensure!(answer == "TOKEN_INVALID", "{answer}");
        }
        let client = cluster.client_as(bystander.duplicate(), endpoint)?;
        ensure!(ask(&client, get("secret/a036")).await == "OK", "the positive control");
    }
    Ok(())
}

/// No renewal takes a token beyond its limits, whatever is asked for, and none makes it live for ever.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_039_no_renewal_is_for_ever() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let limited = create(
        &root,
        v1::TokenCreateRequest {
            ttl_s: 60,
            explicit_max_ttl_s: 600,
            ..Default::default()
        },
    )
    .await?;
    let free = create(
        &root,
        v1::TokenCreateRequest {
            ttl_s: 60,
            ..Default::default()
        },
    )
    .await?;
    for (made, seconds_max) in [(&limited, 600), (&free, 32 * 86_400)] {
        let issued = made.info.clone().context("what was made is told")?.issued_ms;
        for increment_s in [
            0,
            1,
            601,
            1 << 31,
            1 << 32,
            1 << 53,
            u64::MAX / 1_000,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let renew = v1::TokenRenewRequest {
                token: by_token(&secret(made)),
                increment_s,
                ..Default::default()
            };
            match root.call(renew).await {
                Ok(renewed) => {
                    let until = renewed.info.context("what was renewed is told")?.expires_at_ms;
                    ensure!(until > issued, "{increment_s}: it has no end, or has ended");
                    ensure!((until - issued) / 1_000 <= seconds_max, "{increment_s}: until {until}");
                }
                Err(error) => ensure!(error.reason() == "INVALID_REQUEST", "{increment_s}: {error}"),
            }
        }
    }
    let brief = create(
        &root,
        v1::TokenCreateRequest {
            ttl_s: 1,
            ..Default::default()
        },
    )
    .await?;
    let renewer = cluster.client_as(secret(&brief), &cluster.endpoints())?;
    eventually("it expires", || async {
        ask(&renewer, v1::TokenLookupRequest::default()).await == "TOKEN_INVALID"
    })
    .await?;
    for token in [
        by_token(&secret(&brief)),
        by_accessor(&brief.info.context("an accessor")?.accessor),
    ] {
        let renew = v1::TokenRenewRequest {
            token,
            increment_s: 600,
            ..Default::default()
        };
        ensure!(ask(&root, renew).await != "OK", "what has expired was renewed");
    }
    Ok(())
}

/// What a token was made without, renewing does not give it; and who renews is no more than who may renew.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_040_a_renewal_gives_nothing_but_time() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let made = create(
        &root,
        v1::TokenCreateRequest {
            ttl_s: 600,
            not_renewable: true,
            num_uses: 50,
            ..Default::default()
        },
    )
    .await?;
    let own = cluster.client_as(secret(&made), &cluster.endpoints())?;
    let renew = |token| v1::TokenRenewRequest {
        token,
        increment_s: 3_600,
        ..Default::default()
    };
    ensure!(ask(&own, renew(None)).await != "OK");
    ensure!(
        ask(&root, renew(by_token(&secret(&made)))).await != "OK",
        "not even root renews it"
    );
    let lookup = v1::TokenLookupRequest {
        token: by_token(&secret(&made)),
        ..Default::default()
    };
    let before = made.info.context("what was made is told")?;
    let after = root.call(lookup).await?.info.context("what it is is told")?;
    ensure!(
        !after.renewable && after.expires_at_ms == before.expires_at_ms && after.num_uses < 50,
        "it was given more"
    );
    ensure!(
        after.policies == before.policies && after.orphan == before.orphan,
        "it is another one"
    );
    Ok(())
}

/// An accessor names a token for who may manage tokens, authenticates nobody, and shows no token.
///
/// Abuse cases: 41.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_042_an_accessor_is_no_token() -> Result<()> {
    let cluster = shared()?;
    let root = cluster.client()?;
    let made = create(
        &root,
        v1::TokenCreateRequest {
            policies: vec!["root".to_owned()],
            ttl_s: 600,
            ..Default::default()
        },
    )
    .await?;
    let accessor = made.info.clone().context("an accessor")?.accessor;
    for text in [accessor.clone(), format!("aum.s.{accessor}"), format!("amb.{accessor}")] {
        let client = cluster.client_as(SecretBytes::from(text), &cluster.endpoints())?;
        ensure!(ask(&client, v1::TokenLookupRequest::default()).await == "TOKEN_INVALID");
    }
    let name = || by_accessor(&accessor);
    let lookup = || v1::TokenLookupRequest {
        token: name(),
        ..Default::default()
    };
    let told = root.call(lookup()).await?;
    let token = secret(&made);
    let told = prost::Message::encode_to_vec(&told);
    ensure!(
        !told.windows(token.len()).any(|part| part == token.expose()),
        "a token was told"
    );
    // Whoever may use its own token alone may do nothing with the accessors of others.
    let own = r#"
        path "auth/token/lookup-self" { capabilities = ["read"] }
        path "auth/token/renew-self" { capabilities = ["update"] }
        path "auth/token/revoke-self" { capabilities = ["update"] }
    "#;
    let stranger = token_with(&root, "a042", own).await?;
    let stranger = cluster.client_as(stranger, &cluster.endpoints())?;
    ensure!(
        ask(&stranger, v1::TokenLookupRequest::default()).await == "OK",
        "the positive control"
    );
    let renew = v1::TokenRenewRequest {
        token: name(),
        ..Default::default()
    };
    let revoke = v1::TokenRevokeRequest {
        token: name(),
        ..Default::default()
    };
    ensure!(ask(&stranger, lookup()).await == "PERMISSION_DENIED");
    ensure!(ask(&stranger, renew).await == "PERMISSION_DENIED");
    ensure!(ask(&stranger, revoke).await == "PERMISSION_DENIED");
    ensure!(ask(&root, lookup()).await == "OK", "it is still there");
    Ok(())
}

/// The first token can be revoked like any other, once there is another; what made it is on record; and there is no second one.
#[tokio::test(flavor = "multi_thread")]
async fn abuse_048_the_first_token_can_go_and_does_not_come_again() -> Result<()> {
    let cluster = Cluster::start(3)?;
    let root = cluster.client()?;
    let records = aumbry_tests::records(&root).await?;
    ensure!(
        records
            .iter()
            .filter(|record| record.text("operation") == "sys.init")
            .count()
            == 1,
        "what made the first token is on record"
    );
    let second = create(
        &root,
        v1::TokenCreateRequest {
            policies: vec!["root".to_owned()],
            orphan: true,
            ..Default::default()
        },
    )
    .await?;
    let second = cluster.client_as(secret(&second), &cluster.endpoints())?;
    let revoke = v1::TokenRevokeRequest {
        token: by_token(&cluster.root_token()),
        ..Default::default()
    };
    second.call(revoke).await?;
    ensure!(ask(&root, v1::StatusRequest::default()).await == "TOKEN_INVALID");
    for seal in [false, true] {
        for node in cluster.nodes() {
            let anonymous = cluster.client_as(SecretBytes::default(), std::slice::from_ref(&node.client))?;
            if seal {
                second.call_on(&node.client, v1::SealRequest::default()).await?;
            }
            for key in ["", "owner"] {
                let init = v1::InitRequest {
                    shares: 1,
                    threshold: 1,
                    key: key.into(),
                    ..Default::default()
                };
                let refused = anonymous.init(init).await;
                ensure!(
                    refused.is_err_and(|error| error.reason() == "ALREADY"),
                    "node {} was initialised again",
                    node.id
                );
            }
            if seal {
                cluster.unseal(node.id).await?;
            }
        }
    }
    ensure!(ask(&second, v1::StatusRequest::default()).await == "OK");
    Ok(())
}
