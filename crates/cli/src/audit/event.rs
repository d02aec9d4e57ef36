//! What a record says, as it is shown.

use serde_json::Value;

/// What was given to whoever asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The secret.
    pub(super) path: String,
    /// Its version; none if the record does not name it.
    pub(super) version: Option<u64>,
}

/// The secrets whose values an event gave away. A version 0 stands for nothing: it was deleted, or never there.
pub(super) fn given(event: &Value) -> Vec<Given> {
    if text(event, "decision") != "allowed" || text(event, "outcome") != "ok" {
        return Vec::new();
    }
    let fields = &event["fields"];
    let versions: Option<Vec<u64>> = fields["given"]
        .as_str()
        .map(|versions| versions.split(',').filter_map(|version| version.parse().ok()).collect());
    let paths: Vec<&str> = match &fields["paths"] {
        Value::String(paths) => paths.split('\n').collect(),
        // A large batch: its paths stand in several values, which have no order.
        Value::Array(parts) => parts
            .iter()
            .filter_map(Value::as_str)
            .flat_map(|part| part.split('\n'))
            .collect(),
        _ => vec![text(event, "path")],
    };
    let is_aligned = versions.as_ref().is_some_and(|versions| versions.len() == paths.len());
    let named = |at: usize| match &versions {
        Some(versions) if is_aligned && !fields["paths"].is_array() => Some(versions[at]),
        // Before records named what was given, they named what was asked for by its number.
        _ => fields["version"].as_str().and_then(|version| version.parse().ok()),
    };
    let all = paths.iter().enumerate().map(|(at, path)| Given {
        path: (*path).to_owned(),
        version: named(at),
    });
    all.filter(|given| given.version != Some(0)).collect()
}

/// The text with this name, or nothing.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The client's address without its port.
pub(super) fn host(event: &Value) -> &str {
    let client = text(event, "client");
    client.rsplit_once(':').map_or(client, |(host, _)| host)
}

/// What a record is about: a path, or the token that was named.
pub(super) fn path_of(event: &Value) -> String {
    let path = text(event, "path");
    match event["fields"]["accessor"].as_str() {
        Some(accessor) if path.is_empty() => format!("accessor {accessor}"),
        _ if path.is_empty() && text(event, "operation").starts_with("token.") => {
            format!("by {}", event["principal"]["accessor"].as_str().unwrap_or("-"))
        }
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_says_what_it_is_about() {
        for (event, about) in [
            (json!({ "operation": "kv.get", "path": "secret/x" }), "secret/x"),
            (
                json!({ "operation": "token.revoke", "path": "", "fields": { "accessor": "ab" } }),
                "accessor ab",
            ),
            (
                json!({ "operation": "token.create", "path": "", "principal": { "accessor": "cd" } }),
                "by cd",
            ),
            (json!({ "operation": "audit.read", "path": "" }), ""),
        ] {
            assert_eq!(path_of(&event), about);
        }
    }

    #[test]
    fn a_record_says_which_versions_were_given() {
        let event =
            |fields: Value| json!({ "decision": "allowed", "outcome": "ok", "path": "secret/x", "fields": fields });
        for (fields, expected) in [
            (json!({ "given": "3" }), vec![("secret/x", Some(3))]),
            (json!({ "given": "0" }), vec![]),
            (json!({}), vec![("secret/x", None)]),
            (json!({ "version": "2" }), vec![("secret/x", Some(2))]),
            (
                json!({ "paths": "a\nb\nc", "given": "1,0,2" }),
                vec![("a", Some(1)), ("c", Some(2))],
            ),
            (
                json!({ "paths": ["a\nb", "c"], "given": "1,0,2" }),
                vec![("a", None), ("b", None), ("c", None)],
            ),
            (json!({ "paths": "a\nb", "given": "1" }), vec![("a", None), ("b", None)]),
        ] {
            let expected: Vec<Given> = expected
                .into_iter()
                .map(|(path, version)| Given {
                    path: path.to_owned(),
                    version,
                })
                .collect();
            assert_eq!(given(&event(fields)), expected);
        }
        for (name, other) in [("decision", "denied"), ("outcome", "conflict")] {
            let mut refused = event(json!({ "given": "3" }));
            refused[name] = json!(other);
            assert_eq!(given(&refused), []);
        }
    }
}
