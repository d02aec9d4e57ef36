//! Auth methods: the roles of AppRole, the users of userpass.

use anyhow::{Context as _, Result, bail};
use aumbry_types::{Entropy as _, SystemEntropy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use super::mounts::{self, Made, Mount};
use super::report::{Fate, Kind, Why};
use super::{Part, Run};

pub(super) async fn run(run: &Run) -> Result<()> {
    if run.plan.only.is_empty() {
        identities(run).await;
    }
    for mount in mounts::of(run, TABLE).await? {
        let (part, kind, directory) = match mount.kind.as_str() {
            "approle" => (Part::Approle, Kind::Role, "role"),
            "userpass" => (Part::Userpass, Kind::User, "users"),
            "token" | "ns_token" => continue,
            other => {
                let why = format!("an auth method of the type {other} is not moved; enable and configure it anew");
                run.report
                    .remains(Kind::Other, &format!("auth/{}/", mount.path), Why::ByHand(why));
                continue;
            }
        };
        if !run.plan.has(part) {
            continue;
        }
        let made = mounts::ensure(run, TABLE, &mount).await;
        let is_ready = made.is_ok();
        let fate = made.map(|made| match made {
            Made::Now => Fate::Moved,
            Made::Before => Fate::Same,
        });
        run.report.note(Kind::Mount, &format!("auth/{}/", mount.path), fate);
        if is_ready {
            entries(run, &mount, kind, directory).await;
        }
    }
    Ok(())
}

/// Entities are made by logins; who made groups by hand makes them again.
async fn identities(run: &Run) {
    for (path, what) in [("identity/entity/id", "entities"), ("identity/group/id", "groups")] {
        // A source without them, or one that does not show them, has nothing to tell of.
        let count = run.source.list(path).await.map_or(0, |ids| ids.len());
        if count > 0 {
            let why = format!(
                "{count} {what} are not moved: a login makes its entity, and groups are made with `aumbry identity write`"
            );
            run.report.remains(Kind::Other, path, Why::ByHand(why));
        }
    }
}

/// The roles or users of a mount, one after the other: there are few, and the target hashes a password for each user.
async fn entries(run: &Run, mount: &Mount, kind: Kind, directory: &str) {
    let below = format!("auth/{}/{directory}", mount.path);
    let names = match run.source.list(&below).await {
        Ok(names) => names,
        Err(error) => {
            return run
                .report
                .remains(kind, &below, Why::Left(format!("they cannot be listed: {error:#}")));
        }
    };
    for name in &names {
        let path = format!("{below}/{name}");
        let fate = match kind {
            Kind::Role => role(run, &path).await,
            _ => user(run, mount, name, &path).await,
        };
        run.report.note(kind, &path, fate);
    }
    if !run.plan.is_dry {
        match run.target.list(&below).await {
            Ok(there) => {
                let seen = names.iter().filter(|name| there.contains(&name.to_ascii_lowercase()));
                run.report.verified(kind, seen.count() as u64);
            }
            Err(error) => run.report.remains(
                kind,
                &below,
                Why::Left(format!("the target's cannot be listed: {error:#}")),
            ),
        }
    }
}

async fn role(run: &Run, path: &str) -> Result<Fate> {
    let mut wanted = fields(&run.source.read(path).await?.context("it is gone from the source")?);
    let id_path = format!("{path}/role-id");
    let id = run
        .source
        .read(&id_path)
        .await?
        .and_then(|mut data| data.remove("role_id"));
    wanted.insert("role_id".to_owned(), id.context("its role id cannot be read")?);
    let there = match run.target.read(path).await? {
        None => None,
        Some(there) => {
            let mut there = fields(&there);
            let id = run
                .target
                .read(&id_path)
                .await?
                .and_then(|mut data| data.remove("role_id"));
            there.insert("role_id".to_owned(), id.unwrap_or_default());
            Some(there)
        }
    };
    let fate = settle(run, path, there, wanted.clone(), &Map::new()).await?;
    if wanted.get("bind_secret_id") != Some(&Value::Bool(false)) {
        secret_ids(run, path).await?;
    }
    Ok(fate)
}

/// Secret ids are kept by their hashes, on either server.
async fn secret_ids(run: &Run, path: &str) -> Result<()> {
    let list = format!("{path}/secret-id");
    let count = run.source.list(&list).await?.len();
    let has_own = !run.target.list(&list).await?.is_empty();
    if count > 0 && !has_own {
        let why = format!(
            "its {count} secret ids cannot be read: make new ones with `aumbry write --force {path}/secret-id`"
        );
        run.report.remains(Kind::Role, path, Why::ByHand(why));
    }
    Ok(())
}

async fn user(run: &Run, mount: &Mount, name: &str, path: &str) -> Result<Fate> {
    let wanted = fields(&run.source.read(path).await?.context("it is gone from the source")?);
    let there = run.target.read(path).await?.map(|there| fields(&there));
    let is_new = there.is_none();
    let given = run.plan.passwords.get(&format!("{}/{name}", mount.path));
    let mut extra = Map::new();
    if is_new {
        let password = match given {
            Some(password) => password.expose_str().context("a password is text")?.to_owned(),
            None => unknown_password(),
        };
        extra.insert("password".to_owned(), json!(password));
    }
    let fate = settle(run, path, there, wanted, &extra).await?;
    if is_new && given.is_none() {
        let why = format!(
            "its password cannot be read, and nobody knows the one it has now: set one with `aumbry write {path}/password password=-`"
        );
        run.report.remains(Kind::User, path, Why::ByHand(why));
    }
    Ok(fate)
}

/// Writes what is wanted, with what is for a new one alone, unless it is there.
async fn settle(
    run: &Run,
    path: &str,
    there: Option<Map<String, Value>>,
    wanted: Map<String, Value>,
    extra: &Map<String, Value>,
) -> Result<Fate> {
    if let Some(there) = there {
        let differing: Vec<&str> = wanted
            .iter()
            .filter(|(name, value)| normal(there.get(*name)) != normal(Some(*value)))
            .map(|(name, _)| name.as_str())
            .collect();
        if differing.is_empty() {
            return Ok(Fate::Same);
        }
        if !run.plan.overwrites {
            bail!("the target's differs in {} (--overwrite)", differing.join(", "));
        }
    }
    let mut body = wanted;
    body.extend(extra.clone());
    run.target
        .write(path, Value::Object(body).to_string().into_bytes())
        .await?;
    Ok(Fate::Moved)
}

/// A password that nobody knows, so that nobody logs in until a new one is set.
fn unknown_password() -> String {
    let mut bytes = [0; 32];
    SystemEntropy.fill(&mut bytes);
    STANDARD_NO_PAD.encode(bytes)
}

/// The settings that both servers know, as far as they say anything.
fn fields(data: &Map<String, Value>) -> Map<String, Value> {
    let known = data.iter().filter(|(name, _)| FIELDS.contains(&name.as_str()));
    let said = known.filter(|(name, value)| name.as_str() == "bind_secret_id" || normal(Some(*value)) != Value::Null);
    said.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A setting as it compares: nothing is nothing in whatever form, and a list has no order.
fn normal(value: Option<&Value>) -> Value {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Value::Null,
        Some(Value::String(text)) if text.is_empty() || text == "default" => Value::Null,
        Some(Value::Number(number)) if number.as_u64() == Some(0) => Value::Null,
        Some(Value::Array(items)) if items.is_empty() => Value::Null,
        Some(Value::Array(items)) => {
            let mut texts: Vec<String> = items.iter().map(ToString::to_string).collect();
            texts.sort_unstable();
            json!(texts)
        }
        Some(other) => other.clone(),
    }
}

const TABLE: &str = "sys/auth";
/// Settings of roles and users that both servers know.
const FIELDS: [&str; 15] = [
    "bind_secret_id",
    "local_secret_ids",
    "secret_id_bound_cidrs",
    "secret_id_num_uses",
    "secret_id_ttl",
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
    "token_policies",
    "token_strictly_bind_ip",
    "token_ttl",
    "token_type",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_compare_by_what_they_mean() {
        let check =
            |a: Value, b: Value, expected| assert_eq!(normal(Some(&a)) == normal(Some(&b)), expected, "{a} {b}");
        check(json!(null), json!([]), true);
        check(json!(0), json!(""), true);
        check(json!("default"), json!(null), true);
        check(json!(["a", "b"]), json!(["b", "a"]), true);
        check(json!(["a"]), json!(["b"]), false);
        check(json!(60), json!(0), false);
    }

    #[test]
    fn a_password_that_nobody_knows_is_never_the_same() {
        assert_ne!(unknown_password(), unknown_password());
        assert!(unknown_password().len() > 40);
    }
}
