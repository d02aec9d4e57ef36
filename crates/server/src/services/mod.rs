//! The gRPC services: thin adapters from typed methods to the gateway.

mod cluster;
mod pipeline;
mod snapshot;
mod sys;

use std::sync::Arc;
use std::time::Duration;

use aumbry_api::{Operation, Reply as _, status_of};
use aumbry_auth::token::TEXT_BYTES_MAX;
use aumbry_node::Evidence;
use aumbry_types::SecretBytes;
use prost::Message as _;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::gateway::Gateway;
use crate::holding::hold_reply;
use crate::lifecycle::Lifecycle;
use crate::tls::Peer;

/// All services of the client listener.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Services {
    /// Serves a request that passes through the pipeline.
    async fn call<O: Operation>(&self, request: Request<O>) -> Result<Response<O::Reply>, Status> {
        let deadline = self.deadline(request.metadata());
        let evidence = self.evidence(&request)?;
        let share = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.share));
        let call = request.into_inner().into_call();
        let answer = self.gateway.serve(call, evidence, deadline).await;
        let answer = answer.map_err(|failure| status_of(&failure))?;
        let reply =
            O::Reply::from_answer(answer).ok_or_else(|| Status::internal("the answer does not go with the request"))?;
        let held = share.map(|share| hold_reply(&share, reply.encoded_len())).transpose()?;
        let mut response = Response::new(reply);
        if let Some(held) = held.flatten() {
            response.extensions_mut().insert(held);
        }
        Ok(response)
    }

    /// This node's id, 0 before it has one.
    pub(crate) fn own_id(&self) -> aumbry_types::NodeId {
        self.lifecycle
            .member()
            .map_or(aumbry_types::NodeId(0), |member| member.raft_id())
    }

    /// The cluster's id, if the node belongs to one.
    pub(crate) fn cluster(&self) -> Option<String> {
        self.lifecycle.member().map(|member| member.cluster().to_string())
    }

    fn evidence<T>(&self, request: &Request<T>) -> Result<Evidence, Status> {
        let peer = request.extensions().get::<Peer>();
        Ok(Evidence {
            token: token(request.metadata())?,
            client_address: peer.map(|peer| peer.address.to_string()).unwrap_or_default(),
            tls_identity: peer.and_then(|peer| peer.certificate.clone()).unwrap_or_default(),
            received_by: self.own_id(),
            certificates: peer.map(|peer| peer.chain.to_vec()).unwrap_or_default(),
        })
    }

    /// The client's deadline, within the limit of the configuration.
    fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let limit = Duration::from_millis(self.lifecycle.config().limits.request_ms);
        let wanted = metadata
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok())
            .and_then(parse_timeout);
        Instant::now() + wanted.map_or(limit, |wanted| wanted.min(limit))
    }
}

/// The token in `authorization: Bearer`. Two are one too many: which of them counts must not be a matter of order.
fn token(metadata: &MetadataMap) -> Result<SecretBytes, Status> {
    let mut values = metadata.get_all("authorization").iter();
    let Some(value) = values.next() else {
        return Ok(SecretBytes::default());
    };
    if values.next().is_some() {
        return Err(Status::invalid_argument("send one authorization header"));
    }
    let token = value
        .as_bytes()
        .strip_prefix(b"Bearer ")
        .filter(|token| token.len() <= TEXT_BYTES_MAX);
    let token =
        token.ok_or_else(|| Status::unauthenticated("the authorization header must be `Bearer` and a token"))?;
    Ok(SecretBytes::new(token.to_vec()))
}

/// The form of gRPC's timeouts: at most eight digits and a unit.
pub(crate) fn parse_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3_600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        assert_eq!(parse_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse_timeout("3S"), Some(Duration::from_secs(3)));
        for bad in ["", "S", "1", "1x", "-1S", "123456789S", "1é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
