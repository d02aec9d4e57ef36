//! The HTTP interface that Vault's clients speak: a translation of paths, headers and JSON onto the same calls as gRPC.
//!
//! What it guarantees: heads and bodies are bounded before anything is parsed, what comes from a browser page of another origin is refused, and every
//! request that needs a token takes the road of the typed services.
//! What it does not do: decide anything, or know an engine.

mod answer;
mod asked;
mod backup;
mod connection;
mod sys;

use aumbry_api::{Operation as _, Reply as _, v1};
use aumbry_node::Evidence;
use aumbry_types::NamespacePath;
use http::StatusCode;
use tokio::time::Instant;

pub(crate) use connection::serve;

use answer::Answer;
use asked::Asked;

use crate::gateway::METRICS;
use crate::run::METRICS_TYPE;
use crate::services::Services;
use crate::tls::Peer;

/// Answers requests by HTTP.
pub(crate) struct Vault {
    services: Services,
}

impl Vault {
    pub(crate) const fn new(services: Services) -> Self {
        Self { services }
    }

    /// Answers one request.
    async fn answer(&self, asked: Asked, peer: &Peer, deadline: Instant) -> Answer {
        if let Some(answer) = sys::answer(&self.services, &asked, peer).await {
            return answer;
        }
        let evidence = Evidence {
            token: asked.token,
            client_address: peer.address.to_string(),
            tls_identity: peer.certificate.clone().unwrap_or_default(),
            received_by: self.services.own_id(),
            certificates: certificates(&asked.path, peer),
        };
        if asked.verb == v1::Verb::Read && asked.path.trim_end_matches('/') == SNAPSHOT {
            return backup::answer(&self.services, &asked.namespace, evidence, deadline).await;
        }
        let is_write = matches!(asked.verb, v1::Verb::Write | v1::Verb::Patch | v1::Verb::Delete);
        let call = v1::LogicalRequest {
            header: Some(v1::RequestHeader {
                namespace: asked.namespace.as_str().to_owned(),
                receipt: asked.wants_receipt,
                ..v1::RequestHeader::default()
            }),
            verb: asked.verb as i32,
            path: asked.path.clone(),
            body: asked.body.into(),
            wrap_ttl_s: asked.wrap_ttl_s,
            passcodes: asked.codes,
        };
        let answer = self.services.gateway.serve(call.into_call(), evidence, deadline).await;
        match answer.map(v1::LogicalReply::from_answer) {
            Ok(Some(reply)) if asked.path.trim_end_matches('/') == "sys/metrics" => counted(reply),
            Ok(Some(reply)) => {
                let path = below(&asked.namespace, &reply.namespace, &asked.path).to_owned();
                answer::of_reply(&path, reply, is_write, self.services.cluster().as_deref())
            }
            Ok(None) => answer::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer does not go with the request",
            ),
            Err(failure) => answer::of_failure(&failure),
        }
    }
}

/// What of a path is left behind the names of namespaces, for forms of answers that go by paths.
fn below<'a>(base: &NamespacePath, found: &str, path: &'a str) -> &'a str {
    let found = NamespacePath::parse(found).unwrap_or_default();
    let names = found.below(base).unwrap_or_default();
    let rest = path.strip_prefix(names).and_then(|rest| rest.strip_prefix('/'));
    rest.filter(|_| !names.is_empty()).unwrap_or(path)
}

/// The certificates that a client showed, which are handed on with the request: with those above it where it is verified, and else by itself.
fn certificates(path: &str, peer: &Peer) -> Vec<Vec<u8>> {
    // Names of namespaces may stand before it.
    let is_of_auth = path.starts_with("auth/") || path.contains("/auth/");
    let is_verified = is_of_auth && (path.ends_with("/login") || path.contains("auth/token/renew"));
    let count = if is_verified { peer.chain.len() } else { 1 };
    peer.chain.iter().take(count).cloned().collect()
}

/// The text that Prometheus reads. One that was wrapped, or that nobody may have, does not come here.
fn counted(reply: v1::LogicalReply) -> Answer {
    let told: serde_json::Value = serde_json::from_slice(&reply.data).unwrap_or_default();
    match told[METRICS].as_str() {
        Some(text) => answer::with_type(StatusCode::OK, METRICS_TYPE, text.as_bytes().to_vec()),
        None => answer::of_reply("sys/metrics", reply, false, None),
    }
}

/// Where backups are given.
const SNAPSHOT: &str = "sys/storage/raft/snapshot";

/// See [`crate::fuzzing::http`].
pub(crate) fn fuzzing(method: &str, target: &str, kind: &str, body: &[u8]) -> Result<(String, Vec<u8>), u16> {
    let request = http::Request::builder().method(method).uri(target);
    let request = request.header(http::header::CONTENT_TYPE, kind).body(());
    let (head, ()) = request.map_err(|_| 400_u16)?.into_parts();
    let asked = Asked::read(&head, body.to_vec()).map_err(|refused| refused.status().as_u16())?;
    Ok((asked.path, asked.body))
}
