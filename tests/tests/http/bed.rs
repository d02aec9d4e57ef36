//! One cluster for all tests, and how it is asked by HTTP.

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, Cluster, connect, send_on};
use serde_json::Value;

/// How one caller asks one node.
pub(crate) struct Http {
    address: String,
    authority: String,
    token: String,
}

impl Http {
    /// The holder of the root token, on the first node.
    pub(crate) fn root(cluster: &Cluster) -> Result<Self> {
        Self::on(cluster, 0, cluster.root_token().expose_str().unwrap_or_default())
    }

    /// The token that it shows.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The holder of a token, on the node at this place.
    pub(crate) fn on(cluster: &Cluster, node: usize, token: &str) -> Result<Self> {
        Ok(Self {
            address: cluster.nodes()[node].http.clone(),
            authority: std::fs::read_to_string(cluster.ca_file())?,
            token: token.to_owned(),
        })
    }

    /// Asks; the path is that below `/v1/`.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Answered> {
        self.ask_with(method, path, &[("X-Vault-Token", &self.token)], body)
            .await
    }

    /// Asks with these headers alone.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answered> {
        let stream = connect(&self.address, &self.authority, "http/1.1").await?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send_on(stream, method, &format!("/v1/{path}"), headers, &body).await
    }
}

/// Asks for what must be done, and gives the answer.
pub(crate) async fn done(http: &Http, method: &str, path: &str, body: Value) -> Result<Value> {
    let answer = http.ask(method, path, &body).await?;
    ensure!((200..300).contains(&answer.code), "{method} {path}: {answer:?}");
    Ok(answer.json())
}

/// A value that must be a text.
pub(crate) fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().context("a text")?.to_owned())
}
