//! Entities, aliases and groups on three nodes: what comes with a login, and what goes.

use anyhow::{Result, ensure};
use aumbry_tests::{Cluster, records};
use serde_json::{Value, json};

use crate::bed::{Http, text};

/// A cluster with users, and the requests of its root.
struct House {
    cluster: Cluster,
    root: Http,
    accessor: String,
}

impl House {
    async fn start(users: &[&str]) -> Result<Self> {
        let cluster = Cluster::start(3)?;
        let root = Http::root(&cluster)?;
        let house = Self {
            accessor: String::new(),
            cluster,
            root,
        };
        house
            .done("POST", "sys/auth/userpass", json!({ "type": "userpass" }))
            .await?;
        for user in users {
            let path = format!("auth/userpass/users/{user}");
            house.done("POST", &path, json!({ "password": "right" })).await?;
        }
        let mounts = house.done("GET", "sys/auth", Value::Null).await?;
        let accessor = text(&mounts["data"]["userpass/"]["accessor"])?;
        Ok(Self { accessor, ..house })
    }

    async fn done(&self, method: &str, path: &str, body: Value) -> Result<Value> {
        let answer = self.root.ask(method, path, &body).await?;
        ensure!((200..300).contains(&answer.code), "{method} {path}: {answer:?}");
        Ok(answer.json())
    }

    async fn refused(&self, method: &str, path: &str, body: Value) -> Result<String> {
        let answer = self.root.ask(method, path, &body).await?;
        ensure!(answer.code == 400, "{method} {path}: {answer:?}");
        Ok(answer.body)
    }

    /// Logs in by a node. Gives the `auth` of the answer.
    async fn login(&self, node: usize, user: &str) -> Result<Value> {
        let http = Http::on(&self.cluster, node, "")?;
        let path = format!("auth/userpass/login/{user}");
        let answer = http
            .ask_with("POST", &path, &[], &json!({ "password": "right" }))
            .await?;
        ensure!(answer.code == 200, "{answer:?}");
        Ok(answer.json()["auth"].clone())
    }

    /// The code of a request with the token of a login, by each node.
    async fn codes(&self, auth: &Value, method: &str, path: &str, body: Value) -> Result<Vec<u16>> {
        let mut codes = Vec::new();
        for node in 0..3 {
            let http = Http::on(&self.cluster, node, &text(&auth["client_token"])?)?;
            codes.push(http.ask(method, path, &body).await?.code);
        }
        Ok(codes)
    }

    async fn policy(&self, name: &str, text: &str) -> Result<()> {
        let path = format!("sys/policies/acl/{name}");
        self.done("PUT", &path, json!({ "policy": text })).await.map(|_| ())
    }
}

/// Whoever logs in is the same entity each time, on any node; policies of the entity and of its groups, and templates, hold at the next request; and are
/// gone at once when they are taken away. Abuse cases: 11.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_an_entity() -> Result<()> {
    let house = House::start(&["alice", "bob"]).await?;
    let alice = house.login(0, "alice").await?;
    let again = house.login(1, "ALICE").await?;
    let bob = house.login(2, "bob").await?;
    let entity = text(&alice["entity_id"])?;
    ensure!(entity.len() == 32 && again["entity_id"] == *entity && bob["entity_id"] != *entity);
    ensure!(alice["identity_policies"] == json!([]), "{alice}");

    house.done("POST", "secret/data/team/x", json!({ "data": {} })).await?;
    house
        .policy("team", r#"path "secret/data/team/*" { capabilities = ["read"] }"#)
        .await?;
    let team = "secret/data/team/x";
    ensure!(house.codes(&alice, "GET", team, Value::Null).await? == [403, 403, 403]);
    let path = format!("identity/entity/id/{entity}");
    house
        .done(
            "POST",
            &path,
            json!({ "policies": ["team"], "metadata": { "floor": "three" } }),
        )
        .await?;
    ensure!(house.codes(&alice, "GET", team, Value::Null).await? == [200, 200, 200]);
    ensure!(house.codes(&bob, "GET", team, Value::Null).await? == [403, 403, 403]);
    let told = house.login(0, "alice").await?;
    ensure!(told["identity_policies"] == json!(["team"]) && told["policies"] == json!(["default", "team"]));
    ensure!(told["token_policies"] == json!(["default"]), "{told}");
    house.done("POST", &path, json!({ "policies": [] })).await?;
    ensure!(house.codes(&alice, "GET", team, Value::Null).await? == [403, 403, 403]);

    // By a group in a group.
    let inner = json!({ "name": "inner", "member_entity_ids": [entity] });
    let inner = text(&house.done("POST", "identity/group", inner).await?["data"]["id"])?;
    let outer = json!({ "name": "outer", "policies": "team", "member_group_ids": [inner] });
    let outer = text(&house.done("POST", "identity/group", outer).await?["data"]["id"])?;
    ensure!(house.codes(&alice, "GET", team, Value::Null).await? == [200, 200, 200]);
    let shown = house.done("GET", &path, Value::Null).await?["data"].clone();
    ensure!(
        shown["direct_group_ids"] == json!([inner]) && shown["inherited_group_ids"] == json!([outer]),
        "{shown}"
    );
    let told = house
        .refused(
            "POST",
            &format!("identity/group/id/{inner}"),
            json!({ "member_group_ids": [outer] }),
        )
        .await?;
    ensure!(told.contains("cannot contain itself"), "{told}");
    house
        .done(
            "POST",
            &format!("identity/group/id/{inner}"),
            json!({ "member_entity_ids": [] }),
        )
        .await?;
    ensure!(house.codes(&alice, "GET", team, Value::Null).await? == [403, 403, 403]);

    // By templates.
    let accessor = &house.accessor;
    house
        .policy(
            "own",
            &format!(
                r#"path "secret/data/own/{{{{identity.entity.aliases.{accessor}.name}}}}/*" {{ capabilities = ["create", "read"] }}
                path "secret/data/floor/{{{{identity.entity.metadata.floor}}}}" {{ capabilities = ["create"] }}"#
            ),
        )
        .await?;
    house
        .done("POST", "identity/group/name/outer", json!({ "policies": "own" }))
        .await?;
    house
        .done(
            "POST",
            &format!("identity/group/id/{inner}"),
            json!({ "member_entity_ids": [entity] }),
        )
        .await?;
    let write = async |auth: &Value, path: &str| house.codes(auth, "POST", path, json!({ "data": {} })).await;
    ensure!(write(&alice, "secret/data/own/alice/x").await?[0] == 200);
    ensure!(write(&alice, "secret/data/own/bob/x").await? == [403, 403, 403]);
    ensure!(write(&alice, "secret/data/floor/three").await?[0] == 200);
    for bad in ["*", "a/b", "+", "a,b", "{{identity.entity.id}}", ""] {
        house
            .done("POST", &path, json!({ "metadata": { "floor": bad } }))
            .await?;
        for floor in [
            "secret/data/floor/x",
            "secret/data/floor/three",
            "secret/data/floor/a/b",
        ] {
            ensure!(write(&alice, floor).await? == [403, 403, 403], "{bad}");
        }
    }
    Ok(())
}

/// What an entity that is disabled, or deleted, has left: nothing, on any node, at the next request. Abuse cases: 45.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_entity_has_no_tokens() -> Result<()> {
    let house = House::start(&["alice"]).await?;
    let alice = house.login(0, "alice").await?;
    let path = format!("identity/entity/id/{}", text(&alice["entity_id"])?);
    let look = "auth/token/lookup-self";
    // Below the login's token, and beside it.
    let http = Http::on(&house.cluster, 0, &text(&alice["client_token"])?)?;
    house.policy("default", r#"path "auth/token/create" { capabilities = ["update"] } path "auth/token/lookup-self" { capabilities = ["read"] }"#).await?;
    let child = http.ask("POST", "auth/token/create", &json!({})).await?.json()["auth"].clone();
    for auth in [&alice, &child] {
        ensure!(house.codes(auth, "GET", look, Value::Null).await? == [200, 200, 200]);
    }
    house.done("POST", &path, json!({ "disabled": true })).await?;
    for auth in [&alice, &child] {
        ensure!(house.codes(auth, "GET", look, Value::Null).await? == [403, 403, 403]);
    }
    let login = "auth/userpass/login/alice";
    let refused = http
        .ask_with("POST", login, &[], &json!({ "password": "right" }))
        .await?;
    ensure!(
        refused.code == 400 && refused.body.contains("invalid username or password"),
        "{refused:?}"
    );
    house.done("POST", &path, json!({ "disabled": false })).await?;
    ensure!(house.codes(&alice, "GET", look, Value::Null).await? == [200, 200, 200]);
    house.done("DELETE", &path, Value::Null).await?;
    for auth in [&alice, &child] {
        ensure!(house.codes(auth, "GET", look, Value::Null).await? == [403, 403, 403]);
    }
    // A new login is somebody else.
    let new = house.login(1, "alice").await?;
    ensure!(new["entity_id"] != alice["entity_id"]);
    let recorded = records(&house.cluster.client()?).await?;
    let of_entity = |record: &aumbry_tests::Recorded| record.event["principal"]["entity"] == alice["entity_id"];
    ensure!(
        recorded.iter().any(|record| of_entity(record) && !record.is_allowed()),
        "no refusal on record names the entity"
    );
    Ok(())
}

/// Aliases are nobody's to take, and a merge gives aliases and nothing else. Abuse cases: 10, 12, 44.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_another_unasked() -> Result<()> {
    let house = House::start(&["alice", "mallory"]).await?;
    house.done("POST", "secret/data/vault", json!({ "data": {} })).await?;
    house
        .policy("rich", r#"path "secret/data/vault" { capabilities = ["read"] }"#)
        .await?;
    let alice = house.login(0, "alice").await?;
    let mallory = house.login(0, "mallory").await?;
    let (rich, poor) = (text(&alice["entity_id"])?, text(&mallory["entity_id"])?);
    house
        .done(
            "POST",
            &format!("identity/entity/id/{rich}"),
            json!({ "policies": "rich" }),
        )
        .await?;
    ensure!(house.codes(&alice, "GET", "secret/data/vault", Value::Null).await? == [200, 200, 200]);

    let group = json!({ "name": "g", "policies": "rich" });
    let group = text(&house.done("POST", "identity/group", group).await?["data"]["id"])?;
    // One may write aliases, and Mallory's own entity, and that is all.
    house
        .policy(
            "default",
            &format!(
                r#"path "identity/entity-alias*" {{ capabilities = ["create", "update", "read", "delete"] }}
                path "identity/entity" {{ capabilities = ["create", "update"] }}
                path "identity/group" {{ capabilities = ["create", "update"] }}
                path "identity/group/name/*" {{ capabilities = ["update"] }}
                path "identity/group/id/*" {{ capabilities = ["update"] }}
                path "identity/group/id/{group}" {{ capabilities = ["deny"] }}
                path "identity/entity/merge" {{ capabilities = ["update"] }}
                path "identity/entity/name/*" {{ capabilities = ["update", "delete"] }}
                path "identity/entity/id/{poor}" {{ capabilities = ["update"] }}"#
            ),
        )
        .await?;
    let shown = house
        .done("GET", &format!("identity/entity/id/{rich}"), Value::Null)
        .await?["data"]
        .clone();
    let (alias, name) = (text(&shown["aliases"][0]["id"])?, text(&shown["name"])?);
    let take = json!({ "name": "alice", "mount_accessor": house.accessor, "canonical_id": poor });
    let theirs = json!({ "name": "other", "mount_accessor": house.accessor, "canonical_id": rich });
    for (method, path, body, expect) in [
        ("POST", "identity/entity-alias".to_owned(), take.clone(), 400),
        ("POST", "identity/entity-alias".to_owned(), theirs, 403),
        (
            "POST",
            format!("identity/entity-alias/id/{alias}"),
            json!({ "canonical_id": poor }),
            403,
        ),
        ("DELETE", format!("identity/entity-alias/id/{alias}"), Value::Null, 403),
        (
            "POST",
            "identity/entity/merge".to_owned(),
            json!({ "from_entity_ids": [rich], "to_entity_id": poor, "force": true }),
            403,
        ),
        (
            "POST",
            "identity/entity/merge".to_owned(),
            json!({ "from_entity_ids": [poor], "to_entity_id": rich, "force": true }),
            403,
        ),
        (
            "POST",
            "identity/entity".to_owned(),
            json!({ "id": rich, "disabled": true }),
            403,
        ),
        (
            "POST",
            "identity/entity".to_owned(),
            json!({ "name": name, "disabled": true }),
            403,
        ),
        (
            "POST",
            format!("identity/entity/name/{name}"),
            json!({ "disabled": true }),
            403,
        ),
        ("DELETE", format!("identity/entity/name/{name}"), Value::Null, 403),
        (
            "POST",
            "identity/group".to_owned(),
            json!({ "name": "g", "member_entity_ids": [poor] }),
            403,
        ),
        (
            "POST",
            "identity/group/name/g".to_owned(),
            json!({ "member_entity_ids": [poor] }),
            403,
        ),
        (
            "POST",
            format!("identity/group/id/{group}"),
            json!({ "member_entity_ids": [poor] }),
            403,
        ),
        (
            "POST",
            format!("identity/group/id/{}-{}", &group[..8], &group[8..]),
            json!({ "member_entity_ids": [poor] }),
            404,
        ),
    ] {
        let codes = house.codes(&mallory, method, &path, body.clone()).await?;
        ensure!(codes == [expect; 3], "{method} {path} {body}: {codes:?}");
    }
    ensure!(house.codes(&alice, "GET", "secret/data/vault", Value::Null).await? == [200, 200, 200]);

    // Root is refused what cannot be, too.
    for policies in ["root", "ROOT", "Root ", "root\u{200b}"] {
        for path in [format!("identity/entity/id/{rich}"), "identity/group/name/g".to_owned()] {
            house.refused("POST", &path, json!({ "policies": [policies] })).await?;
        }
    }
    let merge = |force: bool| json!({ "from_entity_ids": [rich], "to_entity_id": poor, "force": force });
    let told = house.refused("POST", "identity/entity/merge", merge(false)).await?;
    ensure!(told.contains("aliases on one mount"), "{told}");
    house.done("POST", "identity/entity/merge", merge(true)).await?;
    for auth in [&alice, &mallory] {
        ensure!(
            house.codes(auth, "GET", "secret/data/vault", Value::Null).await? == [403, 403, 403],
            "a merge gave a policy"
        );
    }
    let both = house.login(1, "alice").await?;
    ensure!(both["entity_id"] == *poor);

    // Of two aliases on one mount that of this login counts.
    let accessor = &house.accessor;
    house
        .policy(
            "default",
            &format!(r#"path "secret/data/own/{{{{identity.entity.aliases.{accessor}.name}}}}" {{ capabilities = ["create", "update"] }}"#),
        )
        .await?;
    let write = async |auth: &Value, path: &str| {
        Ok::<u16, anyhow::Error>(house.codes(auth, "POST", path, json!({ "data": {} })).await?[0])
    };
    for (auth, own, other) in [
        (&both, "alice", "mallory"),
        (&mallory, "mallory", "alice"),
        (&alice, "alice", "mallory"),
    ] {
        ensure!(write(auth, &format!("secret/data/own/{own}")).await? == 200, "{own}");
        ensure!(
            write(auth, &format!("secret/data/own/{other}")).await? == 403,
            "{own} {other}"
        );
    }
    Ok(())
}

/// Entities and groups can be found, renamed and listed as clients do.
#[tokio::test(flavor = "multi_thread")]
async fn entities_are_found_by_what_is_known_of_them() -> Result<()> {
    let house = House::start(&["ann@example.com"]).await?;
    let made = house
        .done(
            "POST",
            "identity/entity",
            json!({ "name": "Ann", "metadata": { "a": "b" } }),
        )
        .await?;
    let id = text(&made["data"]["id"])?;
    let alias = json!({ "name": "ann@example.com", "canonical_id": id, "mount_accessor": house.accessor });
    let made = house.done("POST", "identity/entity-alias", alias.clone()).await?;
    let alias_id = text(&made["data"]["id"])?;
    ensure!(house.login(2, "ann@example.com").await?["entity_id"] == *id);
    house.done("POST", "identity/entity-alias", alias).await?;
    for lookup in [
        json!({ "id": id }),
        json!({ "name": "ann" }),
        json!({ "alias_id": alias_id }),
        json!({ "alias_name": "ann@example.com", "alias_mount_accessor": house.accessor }),
    ] {
        let found = house.done("POST", "identity/lookup/entity", lookup.clone()).await?;
        ensure!(
            found["data"]["id"] == *id && found["data"]["metadata"] == json!({ "a": "b" }),
            "{lookup}: {found}"
        );
    }
    let nobody = house
        .root
        .ask("POST", "identity/lookup/entity", &json!({ "name": "nobody" }))
        .await?;
    ensure!(nobody.code == 204, "{nobody:?}");
    let other = json!({ "name": "bob", "canonical_id": id, "mount_accessor": house.accessor });
    ensure!(
        house
            .refused("POST", "identity/entity-alias", other)
            .await?
            .contains("already")
    );
    house
        .done("POST", &format!("identity/entity/id/{id}"), json!({ "name": "anna" }))
        .await?;
    ensure!(house.done("GET", "identity/entity/name/anna", Value::Null).await?["data"]["id"] == *id);
    ensure!(
        house
            .root
            .ask("GET", "identity/entity/name/ann", &Value::Null)
            .await?
            .code
            == 404
    );
    for (path, expect) in [
        ("identity/entity/id", json!([id])),
        ("identity/entity/name", json!(["anna"])),
        ("identity/entity-alias/id", json!([alias_id])),
    ] {
        ensure!(
            house.done("LIST", path, Value::Null).await?["data"]["keys"] == expect,
            "{path}"
        );
    }
    // External groups have an alias, and no members of their own.
    let group = json!({ "name": "ops", "type": "external", "policies": "ops" });
    let group = text(&house.done("POST", "identity/group", group).await?["data"]["id"])?;
    let alias = json!({ "name": "Ops Team", "canonical_id": group, "mount_accessor": house.accessor });
    let alias = text(&house.done("POST", "identity/group-alias", alias).await?["data"]["id"])?;
    let found = json!({ "alias_name": "Ops Team", "alias_mount_accessor": house.accessor });
    ensure!(house.done("POST", "identity/lookup/group", found).await?["data"]["alias"]["id"] == *alias);
    house
        .refused("POST", "identity/group/name/ops", json!({ "member_entity_ids": [id] }))
        .await?;
    // A role gives tokens aliases of its own.
    house
        .done(
            "POST",
            "auth/token/roles/ci",
            json!({ "allowed_entity_aliases": "build-*" }),
        )
        .await?;
    let make = async |path: &str, alias: &str| house.root.ask("POST", path, &json!({ "entity_alias": alias })).await;
    let built = make("auth/token/create/ci", "Build-7").await?.json()["auth"].clone();
    let same = make("auth/token/create/ci", "build-7").await?.json()["auth"].clone();
    ensure!(
        built["entity_id"] == same["entity_id"] && text(&built["entity_id"])?.len() == 32,
        "{built}"
    );
    for (path, alias) in [("auth/token/create/ci", "other"), ("auth/token/create", "build-7")] {
        ensure!(make(path, alias).await?.code == 400, "{path} {alias}");
    }
    let found = json!({ "alias_name": "build-7", "alias_mount_accessor": "token_builtin" });
    let found = house.done("POST", "identity/lookup/entity", found).await?;
    ensure!(
        found["data"]["id"] == built["entity_id"] && found["data"]["aliases"][0]["mount_type"] == "token",
        "{found}"
    );
    house
        .done(
            "DELETE",
            &format!("identity/entity/id/{}", text(&built["entity_id"])?),
            Value::Null,
        )
        .await?;
    // Deleting takes what belongs to it along.
    house
        .done("POST", "identity/group/name/in", json!({ "member_entity_ids": [id] }))
        .await?;
    house
        .done("POST", "identity/entity/batch-delete", json!({ "entity_ids": [id] }))
        .await?;
    ensure!(house.done("GET", "identity/group/name/in", Value::Null).await?["data"]["member_entity_ids"] == json!([]));
    ensure!(
        house
            .root
            .ask("LIST", "identity/entity-alias/id", &Value::Null)
            .await?
            .code
            == 404
    );
    // With its mount go the aliases.
    house.login(0, "ann@example.com").await?;
    house.done("DELETE", "sys/auth/userpass", Value::Null).await?;
    Ok(())
}
