//! What a policy probably does not mean.

/// The paths of a policy's `path` rules, as far as they are plain. Parsing is the server's: this looks, for hints alone.
pub(super) fn paths(policy: &str) -> Vec<String> {
    if policy.trim_start().starts_with('{') {
        let json: serde_json::Value = serde_json::from_str(policy).unwrap_or_default();
        let rules = json["path"].as_object();
        return rules.into_iter().flat_map(|rules| rules.keys().cloned()).collect();
    }
    let mut rest = policy
        .lines()
        .filter(|line| !is_comment(line))
        .collect::<Vec<_>>()
        .join("\n");
    let mut paths = Vec::new();
    while let Some(at) = rest.find("path") {
        let is_word = rest[..at]
            .chars()
            .next_back()
            .is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let after = rest[at + "path".len()..].trim_start();
        if is_word && let Some(path) = after.strip_prefix('"').and_then(|text| text.split('"').next()) {
            paths.push(path.to_owned());
        }
        rest = rest[at + "path".len()..].to_owned();
    }
    paths
}

/// What is wrong with a path below one of these KV mounts, if the route is missing in it.
pub(super) fn missing_route(path: &str, mounts: &[String]) -> Option<String> {
    let mounts = mounts.iter().map(|mount| mount.trim_end_matches('/'));
    let below = mounts.filter_map(|mount| Some((mount, path.strip_prefix(mount)?.strip_prefix('/')?)));
    let (mount, rest) = below.max_by_key(|(mount, _)| mount.len())?;
    let route = rest.split('/').next().unwrap_or_default();
    let is_route = ROUTES.contains(&route) || route.is_empty() || route.starts_with(['*', '+']);
    // `data*` and such begin with a route.
    let is_begun = route
        .strip_suffix('*')
        .is_some_and(|start| ROUTES.iter().any(|route| route.starts_with(start)));
    (!is_route && !is_begun).then(|| {
        format!(
            "path \"{path}\" allows nothing: rules on secrets name data or metadata after the mount, such as \
             \"{mount}/data/{rest}\" and \"{mount}/metadata/{rest}\""
        )
    })
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('#') || line.starts_with("//")
}

/// The first parts of what policies call the operations of a KV mount.
const ROUTES: [&str; 5] = ["data", "metadata", "delete", "undelete", "destroy"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_both_languages() {
        let hcl = "# path \"no\" {}\npath \"a/*\" { capabilities = [\"read\"] }\n  path\t\"b\" {}\nmypath \"no\" {} secret \"no\" {}";
        assert_eq!(paths(hcl), ["a/*", "b"]);
        assert_eq!(paths(r#"{"path": {"a/*": {"capabilities": ["read"]}}}"#), ["a/*"]);
        assert!(paths("{").is_empty() && paths("path").is_empty());
    }

    #[test]
    fn a_path_without_its_route_is_noticed() {
        let mounts = ["secret/".to_owned(), "team/kv".to_owned()];
        for (path, is_wrong) in [
            ("secret/app/*", true),
            ("secret/app", true),
            ("secret/database/x", true),
            ("team/kv/x", true),
            ("secret/data/app/*", false),
            ("secret/metadata/", false),
            ("secret/destroy/a", false),
            ("secret/*", false),
            ("secret/+/app", false),
            ("secret/d*", false),
            ("secret", false),
            ("secrets/x", false),
            ("sys/mounts", false),
        ] {
            assert_eq!(missing_route(path, &mounts).is_some(), is_wrong, "{path}");
        }
        let hint = missing_route("secret/app/*", &mounts).unwrap();
        assert!(hint.contains("\"secret/data/app/*\""), "{hint}");
    }
}
