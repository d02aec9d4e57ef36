//! `sys/`: the system, as far as it takes a token. What everybody may ask is answered before it comes here.

use aumbry_auth::{canonical, lockout, namespace};
use aumbry_logical::{Body, Verb};
use aumbry_node::ceremony::{generate_root as root_token, rekey as new_shares};
use aumbry_node::method::{Asked as Method, LoginAsk, Unwrapping, WrappedAsk, failure};
use aumbry_node::{Failure, LogicalAsk, Operation, Reply, TokenName, erasure, keys, quotas};
use aumbry_types::{NodeId, SecretBytes};
use serde_json::{Map, Value, json};

use super::content::{Content, encode};
use super::token::ACCESSOR;
use super::{Asked, Resolved, auth, malformed, mismatched};

/// What the caller may do.
pub(super) fn own_capabilities(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    capabilities(asked, TokenName::Own)
}

/// What the holder of a token may do.
pub(super) fn capabilities_of_token(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let token = asked.body.required_text("token").map_err(malformed)?;
    Ok(capabilities(asked, TokenName::Text(SecretBytes::from(token)))?.or_wrong("invalid token"))
}

/// What the holder of the token with an accessor may do.
pub(super) fn capabilities_by_accessor(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let accessor = asked.body.required_text("accessor").map_err(malformed)?;
    Ok(capabilities(asked, TokenName::Accessor(accessor))?.or_wrong(ACCESSOR))
}

/// Wraps what is sent.
pub(super) fn wrap(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    if !asked.is_wrapped {
        return Err(Failure::invalid(
            "endpoint requires response wrapping to be used: say for how long in X-Vault-Wrap-TTL",
        ));
    }
    let data = asked.body.object().clone();
    Ok(Resolved::new(Operation::WrapData, move |_, _| Content::data(&data)))
}

/// Opens what was wrapped.
pub(super) fn unwrap(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    wrapped(asked, Unwrapping::Open)
}

/// Wraps it anew.
pub(super) fn rewrap(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    wrapped(asked, Unwrapping::Rewrap)
}

/// Tells of it.
pub(super) fn lookup_wrapped(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    wrapped(asked, Unwrapping::Lookup)
}

/// Seals the node, or the whole cluster.
pub(super) fn seal(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let is_all = asked.body.flag("cluster").map_err(malformed)?;
    Ok(Resolved::silent(match is_all {
        Some(true) => Operation::SealCluster,
        _ => Operation::Seal,
    }))
}

/// Seals the whole cluster.
pub(super) fn seal_cluster(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::SealCluster))
}

/// Lets seals of keys open nodes again.
pub(super) fn release_seals(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::SealRelease))
}

/// What a request that the leader has admitted seals on the node that was called.
pub(crate) fn sealed_by(ask: &LogicalAsk) -> Option<Sealed> {
    if ask.verb != Verb::Write {
        return None;
    }
    match ask.path.trim_end_matches('/') {
        "sys/seal/cluster" => Some(Sealed::Cluster),
        "sys/seal" => {
            let flag = Body::parse(ask.sent.body.expose()).map(|body| body.flag("cluster"));
            let is_all = matches!(flag, Ok(Ok(Some(true))));
            Some(if is_all { Sealed::Cluster } else { Sealed::Node })
        }
        _ => None,
    }
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// The node that was called.
    Node,
    /// Every node.
    Cluster,
}

/// Makes the leader hand over.
pub(super) fn step_down(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::StepDown))
}

/// The members of the cluster.
pub(super) fn members(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::Members, |member, _| {
        Content::data(&shown_members(member))
    }))
}

/// Removes one.
pub(super) fn remove(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let id = asked.body.count("server_id").map_err(malformed)?;
    let id = id.ok_or_else(|| Failure::invalid("server_id is required"))?;
    Ok(Resolved::silent(Operation::Remove(NodeId(id))))
}

/// Namespaces.
pub(super) fn namespaces(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    let name = names.first().map(String::as_str);
    let request = namespace::Request::parse(asked.verb, name, asked.body.duplicate()).map_err(failure)?;
    let path = asked.path.as_str().to_owned();
    Ok(auth::method(asked, path, Method::Namespace(request)))
}

/// Who is locked for having shown wrong passwords.
pub(super) fn locked_users(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = canonical(&asked.segments[1..].join("/"));
    let request = lockout::Request::parse(asked.verb, &below, &asked.body).map_err(failure)?;
    Ok(auth::method(asked, format!("sys/{below}"), Method::Lockout(request)))
}

/// Rate limits.
pub(super) fn quotas(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = canonical(&asked.segments[2..].join("/"));
    let request = quotas::Request::parse(asked.verb, &below, asked.body.duplicate()).map_err(failure)?;
    Ok(auth::method(
        asked,
        format!("sys/quotas/{below}"),
        Method::Quota(request),
    ))
}

/// The keys that seal what is stored.
pub(super) fn keys(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = asked.segments[1..].join("/");
    let request = keys::Request::parse(asked.verb, &below, asked.body.duplicate()).map_err(failure)?;
    Ok(auth::method(asked, format!("sys/{below}"), Method::Keys(request)))
}

/// What is to go from the disks.
pub(super) fn erasure(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let request = erasure::Request::parse(asked.verb).map_err(failure)?;
    Ok(auth::method(asked, "sys/erasure".to_owned(), Method::Erasure(request)))
}

/// New key shares: decided and recorded by one path, however it is asked.
pub(super) fn rekey(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = asked.segments[1..].join("/");
    let below = match below.strip_prefix("rotate/root/") {
        Some(step) => format!("rekey/{step}"),
        None => below,
    };
    let request = new_shares::Request::parse(asked.verb, &below, &asked.body).map_err(failure)?;
    Ok(auth::method(asked, format!("sys/{below}"), Method::Rekey(request)))
}

/// A root token that is made with shares. Whoever shows one needs no token.
pub(super) fn generate_root(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = asked.segments[2..].join("/");
    let path = format!("sys/generate-root/{below}");
    match root_token::Asking::parse(asked.verb, &below, &asked.body).map_err(failure)? {
        root_token::Asking::Token(request) => Ok(auth::method(asked, path, Method::GenerateRoot(request))),
        root_token::Asking::Share(shown) => {
            let operation = Operation::Login(LoginAsk::custodian(path, shown)?);
            Ok(Resolved::new(operation, |_, reply| match reply {
                Reply::RootAttempt { data, .. } => Ok(Content {
                    data: Some(data).filter(|data| !data.is_empty()),
                    ..Content::default()
                }),
                _ => Err(mismatched()),
            }))
        }
    }
}

/// What is done with a wrapping token: the one that is named, or the one that the caller shows as its own.
fn wrapped(asked: &Asked<'_>, what: Unwrapping) -> Result<Resolved, Failure> {
    let named = asked
        .body
        .secret("token")
        .map_err(malformed)?
        .filter(|token| !token.is_empty());
    let token = named.unwrap_or_else(|| asked.request.evidence.token.duplicate());
    let operation = Operation::Wrapped(WrappedAsk { what, token });
    Ok(Resolved::new(operation, |_, reply| match reply {
        Reply::Unwrapped(content) => Content::decode(&content),
        Reply::WrappedInfo(info) => Content::data(&info.render()),
        Reply::Wrapped(wrapped) => Ok(Content {
            wrap_info: Some(encode(&wrapped.render())?),
            ..Content::default()
        }),
        _ => Err(mismatched()),
    }))
}

fn capabilities(asked: &Asked<'_>, token: TokenName) -> Result<Resolved, Failure> {
    let paths = match asked.body.texts("paths").map_err(malformed)? {
        Some(paths) => paths,
        None => asked.body.texts("path").map_err(malformed)?.unwrap_or_default(),
    };
    let names = paths.clone();
    let operation = Operation::Capabilities { token, paths };
    Ok(Resolved::new(operation, move |_, reply| {
        let Reply::Capabilities(lists) = reply else {
            return Err(mismatched());
        };
        let mut told: Map<String, Value> = names
            .iter()
            .cloned()
            .zip(lists.iter().map(|list| json!(list)))
            .collect();
        // For one path clients read it here; for several they take every name for a path.
        if let [one] = &lists[..] {
            told.insert("capabilities".to_owned(), json!(one));
        }
        Content::data(&told)
    }))
}

fn shown_members(member: &crate::member::Member) -> Value {
    let servers: Vec<Value> = member
        .members()
        .into_iter()
        .map(|member| {
            json!({
                "address": member.peer_addr,
                "leader": member.leader,
                "node_id": member.id.to_string(),
                "protocol_version": "3",
                "voter": member.voter,
            })
        })
        .collect();
    json!({ "config": { "index": 0, "servers": servers } })
}
