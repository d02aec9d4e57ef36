//! Plans a request about quotas.

use aumbry_auth::{Answer, Error, QUOTAS};
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_logical::{Body, Object};
use aumbry_types::ObjectId;
use serde::Serialize;
use serde_json::{Value, json};

use super::request::Request;
use super::{EXEMPT, GroupBy, Quota, Quotas, VERSION, numbers};
use crate::mounts::AuthCache;

/// Plans a request. A change bumps the namespace's generation, which is the caller's to do.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub(crate) fn plan(txn: &mut Txn<'_>, auth: &mut AuthCache, request: &Request) -> Result<Answer, Error> {
    if let Request::Number(request) = request {
        return numbers::plan(txn, auth, request);
    }
    let quotas = Quotas::read(txn)?;
    let find = |name: &str| quotas.all.iter().find(|(_, quota)| quota.name == name);
    match request {
        Request::Write(name, body) => {
            let known = find(name.as_str()).map(|(_, quota)| quota.clone());
            if known.is_none() && quotas.all.len() >= QUOTAS_MAX {
                return Err(Error::Invalid("there are 1,000 quotas, which is the most"));
            }
            let quota = merge(name.as_str(), known, body)?;
            let clash =
                |other: &Quota| other.name != quota.name && other.path == quota.path && other.role == quota.role;
            if quotas.all.iter().any(|(_, other)| clash(other)) {
                return Err(Error::Invalid("another quota holds for this path and role"));
            }
            write(txn, name.as_str(), &quota)?;
            Ok(Answer::done())
        }
        Request::Read(name) => {
            let (_, quota) = find(name.as_str()).ok_or(Error::NotFound)?;
            Ok(Answer::of(show(quota)))
        }
        Request::Delete(name) => {
            if let Some(child) = txn.lookup(QUOTAS, name.as_str())? {
                txn.remove(QUOTAS, name.as_str())?;
                txn.delete_object(child.id);
            }
            Ok(Answer::done())
        }
        Request::List => {
            let names: Vec<&str> = quotas.all.iter().map(|(_, quota)| quota.name.as_str()).collect();
            if names.is_empty() {
                return Err(Error::NotFound);
            }
            Ok(Answer::of(object(json!({ "keys": names }))))
        }
        Request::Number(_) => Err(Error::NotFound),
        Request::WriteConfig(body) => {
            let paths = body.texts("rate_limit_exempt_paths")?.unwrap_or_default();
            if paths.len() > EXEMPT_MAX || paths.iter().any(|path| path.is_empty() || path.len() > PATH_BYTES_MAX) {
                return Err(Error::Invalid("at most 100 exempt paths, each of 1 to 1,024 bytes"));
            }
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.trim_start_matches('/').to_owned())
                .collect();
            write(txn, EXEMPT, &paths)?;
            Ok(Answer::done())
        }
        Request::ReadConfig => Ok(Answer::of(object(json!({
            "rate_limit_exempt_paths": quotas.exempt,
            // Refusals are in the audit log: the first of each minute one by one, the rest by their number.
            "enable_rate_limit_audit_logging": true,
            "enable_rate_limit_response_headers": false,
        })))),
    }
}

/// Whether what a request is about is there: a write where nothing is needs `create` instead of `update`.
///
/// # Errors
/// [`Error`]
pub(crate) fn exists(txn: &mut Txn<'_>, request: &Request) -> Result<bool, Error> {
    match request {
        Request::Write(name, _) => Ok(txn.lookup(QUOTAS, name.as_str())?.is_some()),
        Request::Number(request) => numbers::exists(txn, request),
        _ => Ok(true),
    }
}

fn merge(name: &str, known: Option<Quota>, body: &Body) -> Result<Quota, Error> {
    let is_new = known.is_none();
    let mut quota = known.unwrap_or_else(|| Quota {
        name: name.to_owned(),
        path: String::new(),
        role: String::new(),
        rate_milli: 0,
        interval_ms: 1_000,
        block_ms: 0,
        group_by: GroupBy::Address,
    });
    match rate_milli(body)? {
        Some(rate) => quota.rate_milli = rate,
        None if is_new => return Err(Error::Invalid(RATE)),
        None => {}
    }
    if let Some(path) = body.text("path")? {
        quota.path = parse_path(&path)?;
    }
    if let Some(role) = body.text("role")? {
        quota.role = role.to_ascii_lowercase();
    }
    if let Some(interval_s) = body.seconds("interval")? {
        if !(1..=INTERVAL_S_MAX).contains(&interval_s) {
            return Err(Error::Invalid("interval is one second to a day"));
        }
        quota.interval_ms = interval_s * 1_000;
    }
    if let Some(block_s) = body.seconds("block_interval")? {
        if block_s > INTERVAL_S_MAX {
            return Err(Error::Invalid("block_interval is at most a day"));
        }
        quota.block_ms = block_s * 1_000;
    }
    if let Some(group_by) = body.text("group_by")? {
        quota.group_by = match group_by.as_str() {
            "" | "ip" => GroupBy::Address,
            "none" => GroupBy::Nobody,
            "entity_then_ip" => GroupBy::EntityThenAddress,
            "entity_then_none" => GroupBy::EntityThenNobody,
            _ => {
                return Err(Error::Invalid(
                    "group_by is ip, none, entity_then_ip or entity_then_none",
                ));
            }
        };
    }
    Ok(quota)
}

/// The path that a quota speaks of.
pub(super) fn parse_path(path: &str) -> Result<String, Error> {
    let path = path.trim_start_matches('/').trim_end_matches('/');
    if path.len() > PATH_BYTES_MAX || path.chars().any(char::is_control) || path.trim_end_matches('*').contains('*') {
        return Err(Error::Invalid(
            "path is a mount or a path of at most 1,024 bytes, with `*` at its end only",
        ));
    }
    Ok(path.to_owned())
}

/// Requests in an interval, which may be a fraction.
fn rate_milli(body: &Body) -> Result<Option<u64>, Error> {
    let rate = match body.get("rate") {
        None => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let rate = rate
        .filter(|rate| (0.001..=RATE_MAX).contains(rate))
        .ok_or(Error::Invalid(RATE))?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is between 1 and 10^12"
    )]
    let milli = (rate * 1_000.0).round() as u64;
    Ok(Some(milli))
}

fn write(txn: &mut Txn<'_>, name: &str, what: &impl Serialize) -> Result<(), Error> {
    let id = match txn.lookup(QUOTAS, name)? {
        Some(child) => child.id,
        None => {
            let id = ObjectId::make(txn.entropy());
            txn.insert(QUOTAS, name, Kind::Quota, id)?;
            id
        }
    };
    let plain = record::encode(VERSION, what);
    txn.put_object(id, Kind::Quota, plain.expose(), ObjectOptions::default());
    Ok(())
}

fn show(quota: &Quota) -> Object {
    let group_by = match quota.group_by {
        GroupBy::Address => "ip",
        GroupBy::Nobody => "none",
        GroupBy::EntityThenAddress => "entity_then_ip",
        GroupBy::EntityThenNobody => "entity_then_none",
    };
    // Exact to a thousandth, which a double holds.
    #[expect(clippy::cast_precision_loss, reason = "at most 10^12")]
    let part = quota.rate_milli as f64 / 1_000.0;
    let rate = match quota.rate_milli % 1_000 {
        0 => Value::from(quota.rate_milli / 1_000),
        _ => Value::from(part),
    };
    object(json!({
        "name": quota.name,
        "type": "rate-limit",
        "path": quota.path,
        "role": quota.role,
        "rate": rate,
        "interval": quota.interval_ms / 1_000,
        "block_interval": quota.block_ms / 1_000,
        "group_by": group_by,
        "inheritable": true,
        "secondary_rate": 0,
    }))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

const RATE: &str = "rate is required: requests in an interval, 0.001 to 1,000,000,000";
const RATE_MAX: f64 = 1e9;
const INTERVAL_S_MAX: u64 = 86_400;
pub(super) const PATH_BYTES_MAX: usize = 1_024;
/// All are looked at for each request.
const QUOTAS_MAX: usize = 1_000;
const EXEMPT_MAX: usize = 100;
