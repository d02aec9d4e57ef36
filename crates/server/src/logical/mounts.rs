//! `sys/mounts/` and `sys/auth/`: the two tables of mounts; and what a caller may see of them.

use aumbry_auth::lockout::{self, Lockout};
use aumbry_auth::token::{TTL_S_DEFAULT, TTL_S_MAX};
use aumbry_logical::Body;
use aumbry_node::look::{Guard, What};
use aumbry_node::method::failure;
use aumbry_node::{Contents, Failure, MountChange, MountOptions, MountRow, MountTable, Operation, Reply};
use aumbry_types::MountPath;
use serde_json::{Map, Value, json};

use super::content::Content;
use super::tell::looked;
use super::{Asked, Resolved, malformed, mismatched};

/// The secrets engines.
pub(super) fn secrets(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(table(MountTable::Secrets))
}

/// The auth methods.
pub(super) fn methods(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(table(MountTable::Auth))
}

/// A secrets engine.
pub(super) fn secret(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    one(MountTable::Secrets, &paths[0])
}

/// An auth method.
pub(super) fn method(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    one(MountTable::Auth, &paths[0])
}

/// The settings of a secrets engine.
pub(super) fn secrets_tuned(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    settings(MountTable::Secrets, &paths[0])
}

/// The settings of an auth method.
pub(super) fn method_tuned(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    settings(MountTable::Auth, &paths[0])
}

/// Changes the settings of a secrets engine.
pub(super) fn tune_secrets(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    tune(asked, MountTable::Secrets, &paths[0])
}

/// Changes the settings of an auth method.
pub(super) fn tune_method(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    tune(asked, MountTable::Auth, &paths[0])
}

/// Mounts a secrets engine.
pub(super) fn enable_secrets(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    enable(asked, MountTable::Secrets, &paths[0])
}

/// Mounts an auth method.
pub(super) fn enable_method(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    enable(asked, MountTable::Auth, &paths[0])
}

/// Removes a secrets engine with all that it holds.
pub(super) fn disable_secrets(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    if BUILT_IN.contains(&paths[0].as_str()) {
        return Err(Failure::invalid(format!(
            "cannot unmount \"{}/\": it is built in",
            paths[0]
        )));
    }
    let disable = Operation::MountDisable(MountTable::Secrets, path(&paths[0])?, Contents::Gone);
    Ok(Resolved::silent(disable).or_absent())
}

/// Removes an auth method with all that it let in.
pub(super) fn disable_method(_: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    if paths[0] == "token" {
        return Err(Failure::invalid("token credential backend cannot be disabled"));
    }
    let disable = Operation::MountDisable(MountTable::Auth, path(&paths[0])?, Contents::Gone);
    Ok(Resolved::silent(disable).or_absent())
}

/// Moves a mount.
pub(super) fn relocate(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let named = |field| asked.body.required_text(field).map_err(malformed);
    let (from, to) = (named("from")?, named("to")?);
    let (from, to) = (from.trim_matches('/'), to.trim_matches('/'));
    let whole = from.to_owned();
    let (table, from, to) = match (from.strip_prefix("auth/"), to.strip_prefix("auth/")) {
        (Some(from), Some(to)) => (MountTable::Auth, from, to),
        (None, None) => (MountTable::Secrets, from, to),
        _ => {
            return Err(Failure::invalid(
                "cannot remount an auth method as a secrets engine, or the other way round",
            ));
        }
    };
    let operation = Operation::MountMove {
        table,
        from: path(from)?,
        to: path(to)?,
    };
    let resolved = Resolved::new(operation, |_, reply| match reply {
        Reply::MountRows(rows) => Content::data(&json!({ "migration_id": rows.first().ok_or_else(mismatched)?.id })),
        _ => Err(mismatched()),
    });
    Ok(resolved.or_wrong(format!("no matching mount at \"{whole}/\"")))
}

/// Whether a mount has moved. It has, as soon as anybody can ask: a move is one entry of the log.
pub(super) fn relocated(asked: &Asked<'_>, ids: &[String]) -> Result<Resolved, Failure> {
    let id = ids[0].clone();
    let look = looked(asked, What::MoveStatus(id.clone()), Guard::Plain);
    Ok(Resolved::new(look, move |_, reply| {
        let Reply::MountRows(rows) = reply else {
            return Err(mismatched());
        };
        let row = rows.first().ok_or_else(mismatched)?;
        let info = json!({ "source_mount": "", "target_mount": with_slash(row), "status": "success" });
        Content::data(&json!({ "migration_id": id, "migration_info": info }))
    }))
}

fn path(text: &str) -> Result<MountPath, Failure> {
    MountPath::parse(text).map_err(|error| Failure::invalid(error.to_string()))
}

fn table(table: MountTable) -> Resolved {
    Resolved::new(Operation::MountRows(table), move |_, reply| match reply {
        Reply::MountRows(rows) => Content::data(&shown_table(table, &rows)),
        _ => Err(mismatched()),
    })
}

fn one(table: MountTable, text: &str) -> Result<Resolved, Failure> {
    let operation = Operation::MountRead(table, path(text)?);
    let resolved = Resolved::new(operation, move |_, reply| match reply {
        Reply::MountRows(rows) => Content::data(&shown(table, rows.first().ok_or_else(mismatched)?)),
        _ => Err(mismatched()),
    });
    // Clients know by these words that the mount is gone.
    let kind = match table {
        MountTable::Secrets => "secret engine mount",
        MountTable::Auth => "auth engine",
    };
    Ok(resolved.or_wrong(format!("No {kind} at {text}/")))
}

fn settings(table: MountTable, text: &str) -> Result<Resolved, Failure> {
    let operation = Operation::MountRead(table, path(text)?);
    let resolved = Resolved::new(operation, move |_, reply| match reply {
        Reply::MountRows(rows) => Content::data(&tuned(table, rows.first().ok_or_else(mismatched)?)),
        _ => Err(mismatched()),
    });
    Ok(resolved.or_wrong(format!("cannot fetch sysview for path \"{text}/\": no mount is there")))
}

fn tune(asked: &Asked<'_>, table: MountTable, text: &str) -> Result<Resolved, Failure> {
    let operation = Operation::MountTune(table, path(text)?, change(&asked.body)?);
    let resolved = with_warnings(operation, ignored(asked.body.object()));
    Ok(resolved.or_wrong(format!("tune of path \"{text}/\" failed: no mount entry found")))
}

fn enable(asked: &Asked<'_>, table: MountTable, text: &str) -> Result<Resolved, Failure> {
    let operation = Operation::MountEnable {
        table,
        path: path(text)?,
        kind: asked.body.required_text("type").map_err(malformed)?,
        description: asked.body.text("description").map_err(malformed)?.unwrap_or_default(),
        options: options(&asked.body)?,
    };
    Ok(with_warnings(
        operation,
        ignored(nested(&asked.body, "config")?.object()),
    ))
}

/// An operation of which nothing is told but that it was done, and what was not done of it.
fn with_warnings(operation: Operation, warnings: Vec<String>) -> Resolved {
    Resolved::new(operation, move |_, _| {
        Ok(Content {
            warnings,
            ..Content::default()
        })
    })
}

/// What is said of settings that decide who gets in and how, and are not taken here. Nobody may believe that they hold.
fn ignored(settings: &Map<String, Value>) -> Vec<String> {
    let is_other_type = |value: &Value| {
        value
            .as_str()
            .is_some_and(|kind| !matches!(kind, "" | "default-service"))
    };
    let mut warnings = Vec::new();
    if settings.get("token_type").is_some_and(is_other_type) {
        warnings.push("token_type of a mount is not taken: set it in the roles or users of the method".to_owned());
    }
    warnings
}

/// `sys/internal/ui/mounts`: the mounts on which the caller may do something.
pub(super) fn seen(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::MountsSeen, |_, reply| match reply {
        Reply::MountRows(rows) => Content::data(&json!({
            "auth": {},
            "secret": Value::Object(rows.iter().map(|row| (with_slash(row), shown(MountTable::Secrets, row))).collect()),
        })),
        _ => Err(mismatched()),
    }))
}

/// What clients ask before they use a path, to learn which engine it is.
pub(super) fn of_path(asked: &Asked<'_>, paths: &[String]) -> Result<Resolved, Failure> {
    // Names of namespaces that stood in the path that was asked for stand in the answer's too.
    let names = match &asked.request.operation {
        Operation::Logical(ask) if ask.path.starts_with(OF_PATH) => asked.namespace.below(&asked.request.namespace),
        _ => None,
    };
    let names = names
        .filter(|names| !names.is_empty())
        .map(|names| format!("{names}/"))
        .unwrap_or_default();
    Ok(Resolved::new(Operation::MountOf(paths[0].clone()), move |_, reply| {
        let Reply::MountRows(rows) = reply else {
            return Err(mismatched());
        };
        let row = rows.first().ok_or_else(mismatched)?;
        let mut told = shown(MountTable::Secrets, row);
        if let Some(told) = told.as_object_mut() {
            told.insert("path".to_owned(), Value::String(format!("{names}{}", with_slash(row))));
        }
        Content::data(&told)
    }))
}

fn with_slash(row: &MountRow) -> String {
    format!("{}/", row.info.path)
}

fn shown_table(table: MountTable, rows: &[MountRow]) -> Value {
    let mut told: Map<String, Value> = rows.iter().map(|row| (with_slash(row), shown(table, row))).collect();
    let own: &[(&str, &str, &str)] = match table {
        MountTable::Secrets => &[
            ("cubbyhole/", "cubbyhole", "per-token private secret storage"),
            ("identity/", "identity", "identity store"),
            (
                "sys/",
                "system",
                "system endpoints used for control, policy and debugging",
            ),
        ],
        MountTable::Auth => &[("token/", "token", "token based credentials")],
    };
    for (path, kind, description) in own {
        let mut config = json!({ "default_lease_ttl": 0, "force_no_cache": false, "max_lease_ttl": 0 });
        add_token_type(table, &mut config);
        told.insert(
            (*path).to_owned(),
            json!({
                "accessor": format!("{kind}_builtin"),
                "config": config,
                "deprecation_status": "supported",
                "description": description,
                "external_entropy_access": false,
                "local": false,
                "options": null,
                "plugin_version": "",
                "running_plugin_version": "",
                "running_sha256": "",
                "seal_wrap": false,
                "type": kind,
                "uuid": kind,
            }),
        );
    }
    Value::Object(told)
}

/// Some clients read it of every auth method.
fn add_token_type(table: MountTable, config: &mut Value) {
    if table == MountTable::Auth
        && let Some(config) = config.as_object_mut()
    {
        config.insert("token_type".to_owned(), Value::String("default-service".to_owned()));
    }
}

fn shown(table: MountTable, row: &MountRow) -> Value {
    let options = match row.options.version {
        0 => Value::Null,
        version => json!({ "version": version.to_string() }),
    };
    let mut config = json!({
        "default_lease_ttl": row.options.default_lease_ttl_s,
        "force_no_cache": false,
        "max_lease_ttl": row.options.max_lease_ttl_s,
    });
    add_token_type(table, &mut config);
    if !row.options.listing_visibility.is_empty()
        && let Some(config) = config.as_object_mut()
    {
        config.insert(
            "listing_visibility".to_owned(),
            Value::String(row.options.listing_visibility.clone()),
        );
    }
    if is_locking(table, row)
        && let Some(config) = config.as_object_mut()
    {
        config.insert("user_lockout_config".to_owned(), Value::Object(lockout_shown(row)));
    }
    json!({
        "accessor": row.info.accessor,
        "config": config,
        "deprecation_status": "supported",
        "description": row.info.description,
        "external_entropy_access": false,
        "local": false,
        "options": options,
        "plugin_version": "",
        "running_plugin_version": "",
        "running_sha256": "",
        "seal_wrap": false,
        "type": row.info.kind,
        "uuid": row.id,
    })
}

fn tuned(table: MountTable, row: &MountRow) -> Value {
    let or = |seconds: u64, default: u64| if seconds == 0 { default } else { seconds };
    let options = match row.options.version {
        0 => Value::Null,
        version => json!({ "version": version.to_string() }),
    };
    let mut told = json!({
        "default_lease_ttl": or(row.options.default_lease_ttl_s, TTL_S_DEFAULT),
        "description": row.info.description,
        "force_no_cache": false,
        "max_lease_ttl": or(row.options.max_lease_ttl_s, TTL_S_MAX),
        "options": options,
    });
    add_token_type(table, &mut told);
    if !row.options.listing_visibility.is_empty()
        && let Some(told) = told.as_object_mut()
    {
        let visibility = Value::String(row.options.listing_visibility.clone());
        told.insert("listing_visibility".to_owned(), visibility);
    }
    if is_locking(table, row)
        && let Some(told) = told.as_object_mut()
    {
        told.append(&mut lockout_shown(row));
    }
    told
}

fn is_locking(table: MountTable, row: &MountRow) -> bool {
    table == MountTable::Auth && lockout::is_of(&row.info.kind)
}

/// As clients read it, under other names than they write it.
fn lockout_shown(row: &MountRow) -> Map<String, Value> {
    let lockout = &row.options.lockout;
    [
        ("user_lockout_threshold", json!(lockout.threshold)),
        ("user_lockout_duration", json!(lockout.duration_s)),
        ("user_lockout_counter_reset_duration", json!(lockout.reset_s)),
        ("user_lockout_disable", json!(lockout.is_disabled)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

fn options(body: &Body) -> Result<MountOptions, Failure> {
    let change = change(&nested(body, "config")?)?;
    let mut lockout = Lockout::default();
    // Clients send it in `config`; some people write it beside that.
    for change in [change.lockout, lockout_change(body)?].into_iter().flatten() {
        change.apply(&mut lockout);
    }
    // A kv engine without a version is one of version 1, as people know it.
    let version = version(body)?.unwrap_or(1);
    Ok(MountOptions {
        version,
        default_lease_ttl_s: change.default_lease_ttl_s.unwrap_or(0),
        max_lease_ttl_s: change.max_lease_ttl_s.unwrap_or(0),
        listing_visibility: change.listing_visibility.unwrap_or_default(),
        lockout,
        ..MountOptions::default()
    })
}

fn change(body: &Body) -> Result<MountChange, Failure> {
    Ok(MountChange {
        description: body.text("description").map_err(malformed)?,
        version: version(body)?,
        default_lease_ttl_s: lease_s(body, "default_lease_ttl")?,
        max_lease_ttl_s: lease_s(body, "max_lease_ttl")?,
        listing_visibility: body.text("listing_visibility").map_err(malformed)?,
        lockout: lockout_change(body)?,
        ..MountChange::default()
    })
}

fn lockout_change(body: &Body) -> Result<Option<lockout::Change>, Failure> {
    let nested = body.nested("user_lockout_config").map_err(malformed)?;
    let change = nested.map(|object| lockout::Change::parse(&Body::new(object.clone())));
    change.transpose().map_err(failure)
}

/// A time of leases; `system` is that of the system, as clients say it who take theirs back.
fn lease_s(body: &Body, field: &'static str) -> Result<Option<u64>, Failure> {
    match body.get(field) {
        Some(Value::String(text)) if text == "system" => Ok(Some(0)),
        _ => body.seconds(field).map_err(malformed),
    }
}

fn version(body: &Body) -> Result<Option<u8>, Failure> {
    let version = nested(body, "options")?.count("version").map_err(malformed)?;
    Ok(version.map(|version| u8::try_from(version).unwrap_or(u8::MAX)))
}

fn nested(body: &Body, field: &'static str) -> Result<Body, Failure> {
    let nested = body.nested(field).map_err(malformed)?;
    Ok(Body::new(nested.cloned().unwrap_or_default()))
}

/// Where clients ask which mount holds a path.
pub(super) const OF_PATH: &str = "sys/internal/ui/mounts/";
/// What is there by itself.
const BUILT_IN: [&str; 3] = ["cubbyhole", "identity", "sys"];
