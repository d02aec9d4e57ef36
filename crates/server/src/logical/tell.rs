//! What the node tells of itself, of its audit log and of the cluster, once the request for it is on record.

use aumbry_crypto::HashKind;
use aumbry_node::look::{Guard, Look, What};
use aumbry_node::method::Said;
use aumbry_node::{Class, Failure, Operation, Reply, auth_methods};
use aumbry_state::Consensus as _;
use aumbry_types::{Entropy as _, NodeId, SecretBytes, SystemEntropy, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::content::Content;
use super::{Asked, Resolved, malformed, mismatched};
use crate::health::VAULT_VERSION;
use crate::lifecycle::VERSION;
use crate::member::Member;

/// The operation that asks for it.
pub(super) fn looked(asked: &Asked<'_>, what: What, guard: Guard) -> Operation {
    Operation::Look(Look {
        what,
        path: asked.path.as_str().to_owned(),
        capability: asked.verb.capability(),
        guard,
        said: Vec::new(),
    })
}

/// A number that the plan found.
pub(super) fn number(reply: &Reply, name: &str) -> Result<u64, Failure> {
    told(reply)?[name].as_u64().ok_or_else(mismatched)
}

fn told(reply: &Reply) -> Result<Value, Failure> {
    let Reply::Json { data, .. } = reply else {
        return Err(mismatched());
    };
    serde_json::from_slice(data.expose()).map_err(|_| mismatched())
}

/// What the plan found is told as it is.
fn as_found(asked: &Asked<'_>, what: What, guard: Guard) -> Result<Resolved, Failure> {
    Ok(Resolved::new(looked(asked, what, guard), |_, reply| match reply {
        Reply::Json { data, .. } => Ok(Content {
            data: Some(data),
            ..Content::default()
        }),
        _ => Err(mismatched()),
    }))
}

/// What the member tells.
fn by_member(
    asked: &Asked<'_>,
    what: What,
    guard: Guard,
    tell: impl FnOnce(&Member) -> Value + Send + 'static,
) -> Result<Resolved, Failure> {
    Ok(Resolved::new(looked(asked, what, guard), move |member, _| {
        Content::data(&tell(member))
    }))
}

/// The audit devices: one, and it cannot be otherwise.
pub(super) fn audit_devices(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::AuditDevices, Guard::Sudo, |_| {
        json!({ "log/": {
            "description": "every request, in the replicated log, before it is answered",
            "local": false,
            "options": {},
            "path": "log/",
            "type": "log",
        } })
    })
}

/// The digest by which the audit log knows a value. The value itself is on record by that alone.
pub(super) fn audit_hash(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let input = SecretBytes::from(asked.body.required_text("input").map_err(malformed)?);
    let said = Said {
        name: "input".to_owned(),
        value: input.duplicate(),
        is_clear: false,
    };
    let look = Look {
        what: What::AuditHash(input),
        path: asked.path.as_str().to_owned(),
        capability: asked.verb.capability(),
        guard: Guard::Plain,
        said: vec![said],
    };
    Ok(Resolved::new(Operation::Look(look), |_, reply| {
        Content::data(&told(&reply)?)
    }))
}

/// The nodes of the cluster.
pub(super) fn ha_status(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::HaStatus, Guard::Plain, |member| {
        let nodes = member.members().into_iter().map(|member| {
            json!({
                "active_node": member.leader,
                "api_address": member.client_addr,
                "cluster_address": member.peer_addr,
                "hostname": member.name,
                "last_echo": null,
                "version": VAULT_VERSION,
            })
        });
        json!({ "nodes": nodes.collect::<Vec<_>>() })
    })
}

/// The machine; the node that was called puts itself there.
pub(super) fn host_info(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::HostInfo, Guard::Plain, |_| json!({}))
}

/// What was counted; the node that was called tells its own.
pub(super) fn metrics(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let format = asked.body.text("format").map_err(malformed)?.unwrap_or_default();
    if !["prometheus", ""].contains(&format.as_str()) {
        return Err(Failure::invalid("format is prometheus"));
    }
    by_member(asked, What::Metrics, Guard::Plain, |_| json!({}))
}

/// The version that runs.
pub(super) fn version_history(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::VersionHistory, Guard::Plain, |_| {
        let info = json!({ "aumbry_version": VERSION, "build_date": "", "previous_version": null, "timestamp_installed": null });
        json!({ "keys": [VAULT_VERSION], "key_info": { VAULT_VERSION: info } })
    })
}

/// Random bytes.
pub(super) fn random(asked: &Asked<'_>, parameters: &[String]) -> Result<Resolved, Failure> {
    let sources = ["platform", "seal", "all"];
    let named = |text: &String| text.parse().map_err(|_| Failure::invalid("bytes is a whole number"));
    let bytes: usize = match parameters {
        [source] if sources.contains(&source.as_str()) => count(asked)?,
        [bytes] => named(bytes)?,
        [source, bytes] if sources.contains(&source.as_str()) => named(bytes)?,
        [_, _] => return Err(Failure::invalid("the source is platform, seal or all")),
        _ => count(asked)?,
    };
    if !(1..=RANDOM_MAX).contains(&bytes) {
        return Err(Failure::invalid("bytes is 1 to 131,072"));
    }
    let encode = encoder(asked, Encoding::Base64)?;
    by_member(asked, What::Random, Guard::Plain, move |_| {
        let mut random = vec![0; bytes];
        SystemEntropy.fill(&mut random);
        json!({ "random_bytes": encode(&random) })
    })
}

fn count(asked: &Asked<'_>) -> Result<usize, Failure> {
    let bytes = asked.body.count("bytes").map_err(malformed)?;
    Ok(bytes.map_or(RANDOM_DEFAULT, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// The hash of what is sent.
pub(super) fn hash(asked: &Asked<'_>, algorithms: &[String]) -> Result<Resolved, Failure> {
    let named = match algorithms.first() {
        Some(algorithm) => Some(algorithm.clone()),
        None => asked.body.text("algorithm").map_err(malformed)?,
    };
    let kind = match named.as_deref().unwrap_or("sha2-256") {
        "sha2-224" => HashKind::Sha224,
        "sha2-256" => HashKind::Sha256,
        "sha2-384" => HashKind::Sha384,
        "sha2-512" => HashKind::Sha512,
        _ => {
            return Err(Failure::invalid(
                "the algorithm is sha2-224, sha2-256, sha2-384 or sha2-512",
            ));
        }
    };
    let input = asked.body.required_text("input").map_err(malformed)?;
    let input = STANDARD
        .decode(input)
        .map_err(|_| Failure::invalid("input is in base64"))?;
    let sum = kind.hash(&input);
    let encode = encoder(asked, Encoding::Hex)?;
    by_member(asked, What::Hash, Guard::Plain, move |_| json!({ "sum": encode(&sum) }))
}

#[derive(Clone, Copy)]
enum Encoding {
    Hex,
    Base64,
}

fn encoder(asked: &Asked<'_>, default: Encoding) -> Result<fn(&[u8]) -> String, Failure> {
    let encoding = match asked.body.text("format").map_err(malformed)?.as_deref() {
        None | Some("") => default,
        Some("hex") => Encoding::Hex,
        Some("base64") => Encoding::Base64,
        Some(_) => return Err(Failure::invalid("format is hex or base64")),
    };
    Ok(match encoding {
        Encoding::Hex => hex::encode,
        Encoding::Base64 => |bytes| STANDARD.encode(bytes),
    })
}

/// Which web pages may ask.
pub(super) fn cors(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(
        asked,
        What::Cors,
        Guard::Sudo,
        |_| json!({ "enabled": false, "allowed_origins": [], "allowed_headers": [] }),
    )
}

/// None may, as before.
pub(super) fn cors_off(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(looked(asked, What::Cors, Guard::Sudo)))
}

/// How much is logged.
pub(super) fn loggers(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    if names.first().is_some_and(|name| name != "aumbry") {
        return Err(absent());
    }
    by_member(
        asked,
        What::Loggers,
        Guard::Sudo,
        |_| json!({ "aumbry": tracing::level_filters::LevelFilter::current().to_string() }),
    )
}

/// What all engines and methods are.
pub(super) fn plugins(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::Plugins, Guard::Plain, |_| {
        let detailed: Vec<Value> = PLUGIN_KINDS
            .iter()
            .flat_map(|kind| built_in(kind).into_iter().map(move |name| shown_plugin(kind, name)))
            .collect();
        let mut told: Map<String, Value> = Map::new();
        for kind in PLUGIN_KINDS {
            told.insert(kind.to_owned(), built_in(kind).into());
        }
        told.insert("detailed".to_owned(), detailed.into());
        Value::Object(told)
    })
}

/// Those of a type.
pub(super) fn plugins_of(asked: &Asked<'_>, kinds: &[String]) -> Result<Resolved, Failure> {
    let kind = PLUGIN_KINDS
        .into_iter()
        .find(|kind| *kind == kinds[0])
        .ok_or_else(absent)?;
    by_member(
        asked,
        What::Plugins,
        Guard::Plain,
        move |_| json!({ "keys": built_in(kind) }),
    )
}

/// One.
pub(super) fn plugin(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    let kind = PLUGIN_KINDS
        .into_iter()
        .find(|kind| *kind == names[0])
        .ok_or_else(absent)?;
    let name = built_in(kind)
        .into_iter()
        .find(|name| *name == names[1])
        .ok_or_else(absent)?;
    by_member(asked, What::Plugins, Guard::Plain, move |_| shown_plugin(kind, name))
}

/// Nothing has this name.
fn absent() -> Failure {
    Failure::new(Class::NotFound, "NO_SUCH_NAME", "nothing has this name")
}

fn built_in(kind: &str) -> Vec<&'static str> {
    match kind {
        "auth" => auth_methods().to_vec(),
        "secret" => vec!["kv"],
        _ => Vec::new(),
    }
}

fn shown_plugin(kind: &str, name: &str) -> Value {
    json!({
        "builtin": true,
        "deprecation_status": "supported",
        "name": name,
        "type": kind,
        "version": format!("v{VERSION}+builtin"),
    })
}

/// The rules of the caller.
pub(super) fn resultant_acl(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    as_found(asked, What::ResultantAcl, Guard::Token)
}

/// How many tokens there are.
pub(super) fn token_count(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let look = looked(asked, What::TokenCount, Guard::Sudo);
    Ok(Resolved::new(look, |_, reply| {
        let tokens = number(&reply, "tokens")?;
        Content::data(&json!({ "counters": { "service_tokens": { "total": tokens } } }))
    }))
}

/// Nobody counts requests by month.
pub(super) fn request_count(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::RequestCount, Guard::Sudo, |_| json!({ "counters": [] }))
}

/// What is left to remove.
pub(super) fn sweep_count(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    as_found(asked, What::SweepCount, Guard::Sudo)
}

/// What is built in.
pub(super) fn autopilot_configuration(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::Autopilot, Guard::Plain, |_| {
        json!({
            "cleanup_dead_servers": false,
            "dead_server_last_contact_threshold": "24h0m0s",
            "last_contact_threshold": "10s",
            "max_trailing_logs": 1000,
            "min_quorum": 0,
            "server_stabilization_time": "0s",
            "disable_upgrade_migration": true,
        })
    })
}

/// How the members are.
pub(super) fn autopilot_state(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    by_member(asked, What::Autopilot, Guard::Plain, |member| {
        let status = member.raft.status();
        let silence_ms = |id: u64| match id == status.node.0 {
            true => Some(0),
            false => member.node.silence_ms(NodeId(id)),
        };
        let mut servers = Map::new();
        let (mut voters, mut leader, mut heard) = (Vec::new(), String::new(), 0);
        for known in member.members() {
            let id = known.id.to_string();
            let silence_ms = silence_ms(known.id);
            let is_healthy = silence_ms.is_some();
            if known.voter {
                voters.push(id.clone());
                heard += usize::from(is_healthy);
            }
            if known.leader {
                leader.clone_from(&id);
            }
            let state = match (known.leader, known.voter) {
                (true, _) => "leader",
                (false, true) => "voter",
                (false, false) => "non-voter",
            };
            let last_index = known
                .matched
                .unwrap_or(if known.leader { status.last_log.0 } else { 0 });
            servers.insert(
                id.clone(),
                json!({
                    "address": known.peer_addr,
                    "healthy": is_healthy,
                    "id": id,
                    "last_contact": silence_ms.map(|ms| format!("{ms}ms")).unwrap_or_default(),
                    "last_index": last_index,
                    "last_term": status.term.0,
                    "name": known.name,
                    "node_status": if is_healthy { "alive" } else { "failed" },
                    "node_type": "voter",
                    "status": state,
                    "version": VAULT_VERSION,
                }),
            );
        }
        let needed = voters.len() / 2 + 1;
        json!({
            "failure_tolerance": heard.saturating_sub(needed),
            "healthy": heard == voters.len(),
            "leader": leader,
            "servers": servers,
            "voters": voters,
        })
    })
}

const PLUGIN_KINDS: [&str; 3] = ["auth", "database", "secret"];
const RANDOM_DEFAULT: usize = 32;
/// As much as clients of this interface may ask for.
const RANDOM_MAX: usize = 128 << 10;
