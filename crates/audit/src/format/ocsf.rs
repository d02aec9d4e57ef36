//! Events of the Open Cybersecurity Schema Framework, version 1.3.0.

use serde_json::{Value, json};

use super::{Action, Gravity, Line, PRODUCT, VERSION};

pub(super) fn event(line: &Line<'_>) -> Value {
    let gravity = Gravity::of(line.0);
    let (severity_id, severity) = match gravity {
        Gravity::Done => (1, "Informational"),
        Gravity::Failed => (2, "Low"),
        Gravity::Refused => (3, "Medium"),
    };
    let (status_id, status) = match gravity {
        Gravity::Done => (1, "Success"),
        Gravity::Failed | Gravity::Refused => (2, "Failure"),
    };
    let (class, activity) = if line.is_login() {
        (AUTHENTICATION, (1, "Logon"))
    } else {
        (API_ACTIVITY, activity(line.action()))
    };
    let mut event = json!({
        "class_uid": class.uid,
        "class_name": class.name,
        "category_uid": class.category,
        "category_name": class.category_name,
        "activity_id": activity.0,
        "activity_name": activity.1,
        "type_uid": class.uid * 100 + activity.0,
        "time": line.log_time(),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "status_detail": line.text("reason"),
        "count": line.number("count").max(1),
        "metadata": {
            "version": "1.3.0",
            "product": { "name": PRODUCT, "vendor_name": PRODUCT, "version": VERSION },
            "uid": line.0["tree"]["leaf"].clone(),
            "sequence": line.number("seq"),
            "log_name": "audit",
            "log_provider": line.writer("name"),
        },
        "src_endpoint": source(line),
        "unmapped": {
            "index": line.number("index"),
            "decision": line.text("decision"),
            "outcome": line.text("outcome"),
            "namespace": line.namespace(),
            "rule": line.text("rule"),
            "deciding_policies": line.deciding_policies(),
            "fields": line.0["fields"].clone(),
            "response": line.0["response"].clone(),
        },
    });
    let user = json!({
        "name": user_name(line),
        "uid": line.principal("entity"),
        "groups": line.policies().iter().map(|name| json!({ "name": name, "type": "policy" })).collect::<Vec<_>>(),
    });
    if line.is_login() {
        event["user"] = user;
        event["service"] = json!({ "name": line.text("path") });
        event["is_remote"] = json!(true);
    } else {
        event["actor"] = json!({ "user": user, "session": { "uid": line.principal("accessor") } });
        event["api"] = json!({
            "operation": line.text("operation"),
            "service": { "name": "aumbry" },
            "request": { "uid": line.text("request_id") },
        });
        event["resources"] = json!([{ "name": line.text("path"), "namespace": line.namespace() }]);
    }
    event
}

/// At a login nobody is known before it: it is who was claimed, or came in.
fn user_name<'a>(line: &Line<'a>) -> &'a str {
    let fields = &line.0["fields"];
    let claimed = ["username", "role_name", "role", "cert_name"];
    let claimed = claimed.iter().find_map(|key| fields[*key].as_str());
    match line.principal("display_name") {
        "" => claimed.unwrap_or_default(),
        name => name,
    }
}

/// What consensus does by itself comes from the node.
fn source(line: &Line<'_>) -> Value {
    match line.client() {
        (Some(address), Some(port)) => json!({ "ip": address.to_string(), "port": port }),
        (Some(address), None) => json!({ "ip": address.to_string() }),
        (None, _) => json!({ "name": line.writer("name") }),
    }
}

const fn activity(action: Action) -> (u64, &'static str) {
    match action {
        Action::Create => (1, "Create"),
        Action::Read | Action::List => (2, "Read"),
        Action::Update | Action::Patch => (3, "Update"),
        Action::Delete => (4, "Delete"),
    }
}

struct Class {
    uid: u64,
    name: &'static str,
    category: u64,
    category_name: &'static str,
}

const API_ACTIVITY: Class = Class {
    uid: 6_003,
    name: "API Activity",
    category: 6,
    category_name: "Application Activity",
};
const AUTHENTICATION: Class = Class {
    uid: 3_002,
    name: "Authentication",
    category: 3,
    category_name: "Identity & Access Management",
};
