//! The cluster that the tests share, and what they ask of it.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;
use aumbry_client::{Client, Dispatch, Error, v1};
use aumbry_tests::Cluster;
use aumbry_types::SecretBytes;
use futures::future::BoxFuture;

/// Three nodes that nobody harms, for all tests that run at the moment. The last of them stops it: what is static is never dropped.
pub(crate) fn shared() -> Result<Arc<Cluster>> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return Ok(cluster);
    }
    let cluster = Arc::new(Cluster::start(3)?);
    *shared = Arc::downgrade(&cluster);
    Ok(cluster)
}

/// Why it was refused, or `OK`.
pub(crate) fn reason<T>(answer: Result<T, Error>) -> String {
    answer.map_or_else(|error| error.reason().to_owned(), |_| "OK".to_owned())
}

/// Asks, and tells why it was refused, or `OK`.
pub(crate) fn ask<O: Dispatch + Sync + 'static>(client: &Client, request: O) -> BoxFuture<'_, String> {
    Box::pin(async move { reason(client.call(request).await) })
}

pub(crate) fn put(path: &str, data: &str) -> v1::KvPutRequest {
    v1::KvPutRequest {
        path: path.to_owned(),
        data: data.to_owned().into(),
        ..Default::default()
    }
}

pub(crate) fn get(path: &str) -> v1::KvGetRequest {
    v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    }
}

pub(crate) fn list(path: &str) -> v1::KvListRequest {
    v1::KvListRequest {
        path: path.to_owned(),
        ..Default::default()
    }
}

/// A policy of its own with this text, and a client of these nodes with a token that has it alone.
pub(crate) async fn with_policy(cluster: &Cluster, name: &str, text: &str, endpoints: &[String]) -> Result<Client> {
    let token = token_with(&cluster.client()?, name, text).await?;
    let builder = cluster.builder(token, endpoints)?;
    Ok(builder.retries(false).build()?)
}

/// A token that has a new policy with this text alone.
pub(crate) async fn token_with(root: &Client, name: &str, text: &str) -> Result<SecretBytes> {
    let policy = v1::PolicyPutRequest {
        name: name.to_owned(),
        policy: text.to_owned(),
        ..Default::default()
    };
    root.call(policy).await?;
    let create = v1::TokenCreateRequest {
        policies: vec![name.to_owned()],
        ttl_s: 3_600,
        no_default_policy: true,
        ..Default::default()
    };
    Ok(SecretBytes::new(root.call(create).await?.token.to_vec()))
}

/// The nodes' client addresses, one by one.
pub(crate) fn each(cluster: &Cluster) -> Vec<Vec<String>> {
    cluster.endpoints().into_iter().map(|endpoint| vec![endpoint]).collect()
}
