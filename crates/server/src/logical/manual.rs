//! What the table of paths says, for people and for programs.

use std::collections::BTreeMap;

use aumbry_logical::Verb;
use aumbry_node::Failure;
use aumbry_node::look::{Guard, What};
use serde_json::{Map, Value, json};

use super::content::Content;
use super::table::{Route, SECTIONS, Section, below, described};
use super::tell::looked;
use super::{Asked, Resolved, no_route};
use crate::health::VAULT_VERSION;

/// `sys/internal/specs/openapi`. Paths of mounts stand below the name of their kind: what is mounted is nobody's business who may not see it.
pub(super) fn openapi(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let look = looked(asked, What::OpenApi, Guard::Token);
    Ok(Resolved::new(look, |_, _| {
        let routes = SECTIONS
            .iter()
            .flat_map(|section| section.routes.iter().map(move |route| (section, route)));
        Content::data(&document(routes))
    }))
}

/// What stands before a path that is asked about.
pub(super) const OF_PATH: &str = "sys/internal/help/";

/// What a path is for.
pub(super) fn help(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    let mut found = described(&paths[0]);
    let look = looked(asked, What::Help, Guard::Token);
    let mut text = match found.first() {
        Some((_, first)) => format!("{}\n\n", first.about),
        None => {
            found = below(&paths[0]);
            "The paths below. Ask with one of them for what it is for.\n\n".to_owned()
        }
    };
    if found.is_empty() {
        return Ok(Resolved::new(look, |_, _| Err(no_route())));
    }
    for (section, route) in &found {
        let verbs: Vec<&str> = route.verbs().map(Verb::name).collect();
        text.push_str(&format!("    {}{}: {}\n", section.place, route.path, verbs.join(", ")));
    }
    let told = json!({ "help": text, "see_also": null, "openapi": document(found.into_iter()) });
    Ok(Resolved::new(look, move |_, _| Content::data(&told)))
}

fn document(routes: impl Iterator<Item = (&'static Section, &'static Route)>) -> Value {
    let mut paths: BTreeMap<String, Value> = BTreeMap::new();
    for (section, route) in routes.filter(|(_, route)| !route.is_refused()) {
        let path = format!("/{}{}", section.place, route.path).replace("...}", "}");
        paths.insert(path.clone(), item(section, route, &path));
    }
    json!({
        "openapi": "3.0.2",
        "info": {
            "title": "Aumbry",
            "description": "The HTTP interface of a replicated store of secrets. Requests carry a token in X-Vault-Token.",
            "version": VAULT_VERSION,
        },
        "paths": paths,
    })
}

/// One path.
fn item(section: &Section, route: &Route, path: &str) -> Value {
    let parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let verbs: Vec<Verb> = route.verbs().collect();
    let mut item = Map::new();
    item.insert("description".to_owned(), route.about.into());
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for verb in &verbs {
        let method = match verb {
            Verb::Read | Verb::List | Verb::Scan => "get",
            Verb::Write => "post",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        };
        let mut operation = json!({
            "operationId": id(*verb, path),
            "tags": [section.kind],
            "summary": route.about,
            "responses": { "200": { "description": "OK" } },
        });
        if matches!(verb, Verb::Write | Verb::Patch) {
            operation["requestBody"] = json!({ "content": { "application/json": { "schema": { "type": "object" } } } });
        }
        let is_only_list = *verb == Verb::List && !verbs.contains(&Verb::Read);
        if *verb == Verb::List {
            operation["parameters"] = json!([
                { "name": "list", "in": "query", "required": is_only_list, "schema": { "type": "string", "enum": ["true"] } },
                { "name": "after", "in": "query", "schema": { "type": "string" } },
                { "name": "limit", "in": "query", "schema": { "type": "integer" } },
            ]);
        }
        match item.get_mut(method) {
            // Reading and listing are one method, told apart by the query.
            Some(known) => known["parameters"] = operation["parameters"].clone(),
            None => {
                item.insert(method.to_owned(), operation);
            }
        }
    }
    if route.is_open() {
        item.insert("x-vault-unauthenticated".to_owned(), true.into());
    }
    Value::Object(item)
}

/// A name that no other operation has.
fn id(verb: Verb, path: &str) -> String {
    let words: Vec<&str> = path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    format!("{}-{}", verb.name(), words.join("-"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn operations_have_names_of_their_own() {
        let routes = SECTIONS
            .iter()
            .flat_map(|section| section.routes.iter().map(move |route| (section, route)));
        let document = document(routes);
        let paths = document["paths"].as_object().expect("is an object");
        let operations = paths
            .values()
            .flat_map(|item| item.as_object().expect("is one").values());
        let ids: Vec<&str> = operations
            .filter_map(|operation| operation["operationId"].as_str())
            .collect();
        let distinct: BTreeSet<&&str> = ids.iter().collect();
        assert!(ids.len() > 100, "{}", ids.len());
        assert_eq!(ids.len(), distinct.len());
        assert!(paths.contains_key("/auth/{approle_mount_path}/role/{role_name}"));
        assert!(
            !paths.contains_key("/sys/rekey/backup"),
            "what is not offered is not told of"
        );
    }

    #[test]
    fn help_finds_mounts_by_how_their_paths_end() {
        let kinds = |path: &str| -> Vec<&str> { described(path).iter().map(|(section, _)| section.kind).collect() };
        assert_eq!(kinds("sys/mounts/a/b"), ["system"]);
        assert_eq!(kinds("auth/token/create"), ["token"]);
        assert_eq!(kinds("auth/approle/role/app/role-id"), ["approle"]);
        assert_eq!(kinds("auth/any/role/app"), ["approle", "jwt", "oidc", "kubernetes"]);
        assert_eq!(kinds("secret/data/a"), ["kv-v2"]);
        assert_eq!(kinds("secret/a"), ["kv-v1"]);
        assert_eq!(kinds("sys/nothing"), [""; 0]);
    }
}
