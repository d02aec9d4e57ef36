//! A reply that never arrives, and a leader that dies right after: nobody is told what is not so.

use anyhow::{Context as _, Result, ensure};
use aumbry_client::v1::{self, OutcomeClass};
use aumbry_client::{Client, Error};
use aumbry_tests::{Cluster, Proxy, eventually};

/// Abuse cases: 73.
#[tokio::test(flavor = "multi_thread")]
async fn an_eaten_reply_is_unknown_or_given_again() -> Result<()> {
    for key in ["", "order-4711"] {
        let cluster = Cluster::start(3)?;
        let leader = cluster.leader().await?;
        let proxy = Proxy::start(&cluster.node(leader)?.client).await?;
        let builder = cluster.builder(cluster.root_token(), &[proxy.address().to_owned()])?;
        let through_proxy = builder.retries(false).build()?;
        // The connection stands, and answers get through, before they are swallowed.
        through_proxy.health(None).await?;
        proxy.swallow_replies();

        let asking = {
            let client = through_proxy.clone();
            tokio::spawn(async move { client.call(put(key)).await })
        };
        let others: Vec<u64> = cluster
            .nodes()
            .iter()
            .map(|node| node.id)
            .filter(|id| *id != leader)
            .collect();
        let other = cluster.client_on(others[0])?;
        eventually("the write is applied", || async {
            version(&other).await.is_ok_and(|version| version == 1)
        })
        .await?;
        ensure!(!asking.is_finished(), "the reply was not eaten: the test shows nothing");
        cluster.kill(leader)?;
        let answer = asking.await?;
        ensure!(
            is_unknown(&answer),
            "key {key:?}: an outcome was made up: {:?}",
            answer.err()
        );

        eventually("there is another leader", || async { version(&other).await.is_ok() }).await?;
        if key.is_empty() {
            ensure!(
                version(&other).await? == 1,
                "the write is there, as the unknown outcome allows"
            );
            continue;
        }
        let again = other.call(put(key)).await?;
        let once_more = cluster.client_on(others[1])?.call(put(key)).await?;
        let given = |reply: &v1::KvPutReply| reply.version.as_ref().map(|info| (info.version, info.created_ms));
        ensure!(
            given(&again) == given(&once_more),
            "two retries were answered differently"
        );
        ensure!(
            given(&again).context("it tells the version")?.0 == 1,
            "the retry made another version"
        );
        ensure!(version(&other).await? == 1, "the write was applied twice");
        let other_request = v1::KvPutRequest {
            data: "{\"k\":\"another\"}".into(),
            ..put(key)
        };
        ensure!(
            other.call(other_request).await.is_err(),
            "the key was taken for another request"
        );
    }
    Ok(())
}

fn put(key: &str) -> v1::KvPutRequest {
    v1::KvPutRequest {
        header: Some(v1::RequestHeader {
            idempotency_key: key.to_owned(),
            ..Default::default()
        }),
        path: "secret/order".to_owned(),
        data: "{\"k\":\"v\"}".into(),
        ..Default::default()
    }
}

async fn version(client: &Client) -> Result<u64> {
    let request = v1::KvGetMetadataRequest {
        path: "secret/order".to_owned(),
        ..Default::default()
    };
    Ok(client.call(request).await?.current_version)
}

fn is_unknown<T>(answer: &Result<T, Error>) -> bool {
    let failure = answer.as_ref().err().and_then(Error::failure);
    failure.is_some_and(|failure| failure.outcome() == OutcomeClass::Unknown)
}
