//! The lines of Vault's file audit device, for rules that were written for them.
//!
//! A record knows how its request ended, so there is one line of the type `response` for it, which has the request, too. Names of tokens are
//! accessors in clear, as in all our forms; a value that is hidden is `hmac-sha256:` and 32 digits, the first half of a digest.

use serde_json::{Map, Value, json};

use super::{Action, Gravity, Line};

pub(super) fn entry(line: &Line<'_>) -> Value {
    let is_allowed = line.text("decision") == "allowed";
    let (address, port) = line.client();
    let mut request = json!({
        "id": uuid(line.text("request_id")),
        "operation": operation(line.action()),
        "namespace": namespace(line),
        "path": line.text("path"),
        "data": values(&line.0["fields"]),
        "remote_address": address.map(|address| address.to_string()).unwrap_or_default(),
    });
    if let Some(port) = port {
        request["remote_port"] = json!(port);
    }
    let accessor = line.principal("accessor");
    if !accessor.is_empty() {
        request["client_token_accessor"] = json!(accessor);
    }
    let mut entry = json!({
        "time": line.text("time"),
        "type": "response",
        "auth": {
            "accessor": accessor,
            "display_name": line.principal("display_name"),
            "policies": line.policies(),
            "token_policies": line.policies(),
            "entity_id": uuid(line.principal("entity")),
            "policy_results": {
                "allowed": is_allowed,
                "granting_policies": granting(line, is_allowed),
            },
        },
        "request": request,
        "response": {},
        "aumbry": {
            "seq": line.number("seq"),
            "index": line.number("index"),
            "operation": line.text("operation"),
            "outcome": line.text("outcome"),
            "count": line.number("count").max(1),
            "node": line.writer("name"),
        },
    });
    if let Some(digest) = line.0["response"].as_str() {
        entry["response"] = json!({ "data": { "digest": value(digest) } });
    }
    match Gravity::of(line.0) {
        Gravity::Done => {}
        Gravity::Refused => entry["error"] = json!("permission denied"),
        Gravity::Failed => {
            let told = [line.text("reason"), line.text("outcome")];
            entry["error"] = json!(told.iter().find(|text| !text.is_empty()));
        }
    }
    entry
}

fn granting(line: &Line<'_>, is_allowed: bool) -> Vec<Value> {
    let policies = line.deciding_policies();
    let policies = policies.iter().filter(|_| is_allowed);
    policies.map(|name| json!({ "name": name, "type": "acl" })).collect()
}

fn namespace(line: &Line<'_>) -> Value {
    match line.namespace() {
        "" => json!({ "id": "root" }),
        path => json!({ "id": path, "path": path }),
    }
}

fn values(fields: &Value) -> Value {
    let shown = |field: &Value| match field {
        Value::String(text) => json!(value(text)),
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(value).collect(),
        other => other.clone(),
    };
    let fields = fields.as_object().into_iter().flatten();
    // A request's namespace stands beside its values there.
    let fields = fields.filter(|(name, _)| *name != "namespace");
    Value::Object(
        fields
            .map(|(name, field)| (name.clone(), shown(field)))
            .collect::<Map<_, _>>(),
    )
}

/// A digest with the name that it has there; a clear text that would read as one is marked, as `clear:` marks ours.
fn value(text: &str) -> String {
    match text.strip_prefix("hmac:") {
        Some(digest) => format!("{DIGEST}{digest}"),
        None if text.starts_with(DIGEST) => format!("clear:{text}"),
        None => text.to_owned(),
    }
}

/// An id of ours with the dashes that theirs have.
fn uuid(id: &str) -> String {
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]];
    parts.join("-")
}

const fn operation(action: Action) -> &'static str {
    match action {
        // Whether something was there before is not told apart there, either, but for paths that know.
        Action::Create | Action::Update => "update",
        Action::Read => "read",
        Action::Delete => "delete",
        Action::List => "list",
        Action::Patch => "patch",
    }
}

const DIGEST: &str = "hmac-sha256:";
