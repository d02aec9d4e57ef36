//! What anybody may ask: the seal, the health, who leads. Answered by the node that was called, without a token.

use aumbry_api::failure_of;
use aumbry_api::v1::{self, sys_service_server::SysService as _};
use aumbry_logical::Verb;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Request, Status};

use super::answer::{self, Answer};
use super::asked::Asked;
use crate::health::{self, VAULT_VERSION};
use crate::logical::{self, NodePath};
use crate::services::Services;
use crate::tls::Peer;

/// The answer, if it is one of these, as the table of paths says.
pub(super) async fn answer(services: &Services, asked: &Asked, peer: &Peer) -> Option<Answer> {
    let path = match logical::open(&asked.path, verb(asked.verb))? {
        Ok(path) => path,
        Err(failure) if failure.reason == "UNSUPPORTED_OPERATION" => {
            return Some(answer::error(StatusCode::METHOD_NOT_ALLOWED, &failure.message));
        }
        Err(failure) => return Some(answer::error(StatusCode::BAD_REQUEST, &failure.message)),
    };
    let is_read = asked.verb == v1::Verb::Read;
    Some(match path {
        NodePath::Health => match health::for_vault(&services.lifecycle, &asked.query) {
            Ok((status, value)) => answer::bare(status, &value),
            Err(message) => answer::error(StatusCode::BAD_REQUEST, message.trim_end()),
        },
        NodePath::SealStatus => shown(seal_status(services).await),
        NodePath::Leader => leader(services),
        NodePath::Init if is_read => shown(is_initialised(services).await),
        NodePath::Init => shown(init(services, asked).await),
        NodePath::Unseal => shown(unseal(services, asked, &peer.address.to_string()).await),
        NodePath::Replication => replication(),
    })
}

const fn verb(verb: v1::Verb) -> Verb {
    match verb {
        v1::Verb::Read => Verb::Read,
        v1::Verb::Write => Verb::Write,
        v1::Verb::Patch => Verb::Patch,
        v1::Verb::Delete => Verb::Delete,
        v1::Verb::List => Verb::List,
        v1::Verb::Scan => Verb::Scan,
    }
}

/// Clusters are not replicated to others.
fn replication() -> Answer {
    let disabled = json!({ "mode": "disabled" });
    let data = json!({ "dr": disabled, "performance": disabled });
    let told = json!({
        "request_id": "",
        "lease_id": "",
        "renewable": false,
        "lease_duration": 0,
        "data": data,
        "wrap_info": null,
        "warnings": null,
        "auth": null,
        "mount_type": "system",
    });
    answer::bare(StatusCode::OK, &told)
}

fn shown(result: Result<Value, Refused>) -> Answer {
    match result {
        Ok(value) => answer::bare(StatusCode::OK, &value),
        Err(Refused::Status(status)) => answer::of_failure(&failure_of(&status)),
        Err(Refused::Text(text)) => answer::error(StatusCode::BAD_REQUEST, text),
    }
}

enum Refused {
    Status(Status),
    Text(&'static str),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

async fn seal_status(services: &Services) -> Result<Value, Refused> {
    let status = services
        .seal_status(Request::new(v1::SealStatusRequest::default()))
        .await?;
    Ok(told(services, &status.into_inner()))
}

fn told(services: &Services, status: &v1::SealStatusReply) -> Value {
    let mut told = json!({
        "type": "shamir",
        "initialized": status.initialized,
        "sealed": status.sealed,
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "nonce": "",
        "version": VAULT_VERSION,
        "aumbry_version": status.version,
        "build_date": BUILD_DATE,
        "commit_date": BUILD_DATE,
        "migration": false,
        "recovery_seal": false,
        "storage_type": "raft",
    });
    if !status.sealed
        && let (Some(told), Some(cluster)) = (told.as_object_mut(), services.cluster())
    {
        told.insert("cluster_name".to_owned(), json!("aumbry"));
        told.insert("cluster_id".to_owned(), json!(cluster));
    }
    told
}

async fn is_initialised(services: &Services) -> Result<Value, Refused> {
    let status = services
        .seal_status(Request::new(v1::SealStatusRequest::default()))
        .await?;
    Ok(json!({ "initialized": status.into_inner().initialized }))
}

#[derive(Deserialize)]
struct Init {
    #[serde(default)]
    secret_shares: u32,
    #[serde(default)]
    secret_threshold: u32,
    #[serde(default)]
    pgp_keys: Option<Vec<String>>,
    #[serde(default)]
    root_token_pgp_key: Option<String>,
    #[serde(default)]
    age_recipients: Vec<String>,
    #[serde(default)]
    root_token_age_recipient: String,
}

async fn init(services: &Services, asked: &Asked) -> Result<Value, Refused> {
    let init: Init = serde_json::from_slice(&asked.body).map_err(|_| Refused::Text(INIT))?;
    if init.pgp_keys.is_some_and(|keys| !keys.is_empty()) || init.root_token_pgp_key.is_some_and(|key| !key.is_empty())
    {
        return Err(Refused::Text(
            "shares and tokens are not encrypted to PGP keys; leave the keys out, or name age_recipients",
        ));
    }
    let request = v1::InitRequest {
        shares: init.secret_shares,
        threshold: init.secret_threshold,
        recipients: init.age_recipients,
        root_token_recipient: init.root_token_age_recipient,
        ..v1::InitRequest::default()
    };
    let made = services.init(Request::new(request)).await?.into_inner();
    let base64 = |share: &Bytes| STANDARD.encode(share);
    Ok(json!({
        "keys": made.shares.iter().map(|share| aumbry_types::hex::encode(share)).collect::<Vec<_>>(),
        "keys_base64": made.shares.iter().map(base64).collect::<Vec<_>>(),
        "root_token": String::from_utf8_lossy(&made.root_token),
        "checkpoint_fingerprint": made.checkpoint_fingerprint,
    }))
}

#[derive(Deserialize)]
struct Unseal {
    #[serde(default)]
    key: String,
    #[serde(default)]
    reset: bool,
}

async fn unseal(services: &Services, asked: &Asked, address: &str) -> Result<Value, Refused> {
    let unseal: Unseal = serde_json::from_slice(&asked.body).map_err(|_| Refused::Text(UNSEAL))?;
    let status = if unseal.reset {
        services.forget_shares(address)?
    } else if unseal.key.is_empty() {
        return Err(Refused::Text(UNSEAL));
    } else {
        let share = aumbry_node::ceremony::read_share(unseal.key.as_bytes());
        services.show_share(&share, address).await?
    };
    Ok(told(services, &status))
}

fn leader(services: &Services) -> Answer {
    let Some(member) = services.lifecycle.member() else {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed");
    };
    if !member.node.is_unsealed() {
        return answer::error(StatusCode::SERVICE_UNAVAILABLE, "Vault is sealed");
    }
    let leader = member.leader();
    let found = member.members().into_iter().find(|member| member.leader);
    let status = aumbry_state::Consensus::status(&*member.raft);
    answer::bare(
        StatusCode::OK,
        &json!({
            "ha_enabled": true,
            "is_self": leader == Some(member.raft_id()),
            "active_time": "0001-01-01T00:00:00Z",
            "leader_address": found.as_ref().map(|leader| leader.client_addr.clone()).unwrap_or_default(),
            "leader_cluster_address": found.map(|leader| leader.peer_addr).unwrap_or_default(),
            "performance_standby": false,
            "performance_standby_last_remote_wal": 0,
            "raft_committed_index": status.committed.0,
            "raft_applied_index": status.applied.0,
        }),
    )
}

const INIT: &str = "the body must be one JSON object with secret_shares and secret_threshold";
const UNSEAL: &str = "the body must be one JSON object with `key`, a share, or with `reset`";
/// Clients only want a date there.
const BUILD_DATE: &str = "2026-01-01T00:00:00Z";
