//! What a token claims, compared with what is demanded.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Reason;
use super::role::{ClaimsType, Role};
use crate::fields::{is_match, is_plain};

/// A claim by its name, or by a JSON pointer (RFC 6901), which begins with a slash.
pub(super) fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    let found = match name.starts_with('/') {
        true => claims.pointer(name),
        false => claims.get(name),
    };
    found.filter(|value| !value.is_null())
}

/// A value as a text, if it has one.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// For whom a token must be.
#[derive(Clone, Copy)]
pub(super) enum Audience<'a> {
    /// For one of the role's audiences.
    Bound,
    /// For this client, which asked for it, and for one of the role's audiences if it has any.
    Client(&'a String),
}

/// Compares all that a role demands.
pub(super) fn check(claims: &Value, role: &Role, audience: Audience<'_>, now_ms: u64) -> Result<(), Reason> {
    check_times(claims, role, i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX))?;
    if let Audience::Client(client) = audience {
        check_audience(claims, std::slice::from_ref(client))?;
    }
    if matches!(audience, Audience::Bound) || !role.bound_audiences.is_empty() {
        check_audience(claims, &role.bound_audiences)?;
    }
    let subject = claims.get("sub").and_then(Value::as_str);
    if !role.bound_subject.is_empty() && subject != Some(&role.bound_subject) {
        return Err(Reason("subject"));
    }
    for (name, expected) in &role.bound_claims {
        let actual = claim(claims, name).ok_or(Reason("claim"))?;
        let actual = match actual {
            Value::Array(values) => &values[..],
            value => std::slice::from_ref(value),
        };
        let is_bound = |value: &Value| {
            expected
                .iter()
                .any(|expected| is_equal(expected, value, role.claims_type))
        };
        if !actual.iter().any(is_bound) {
            return Err(Reason("claim"));
        }
    }
    Ok(())
}

/// Whether a value is the one that is demanded, which is written as JSON.
fn is_equal(expected: &str, value: &Value, claims_type: ClaimsType) -> bool {
    match (claims_type, value, serde_json::from_str(expected)) {
        (ClaimsType::Glob, Value::String(text), Ok(Value::String(pattern))) => is_match(&pattern, text),
        (_, value, Ok(expected)) => *value == expected,
        (_, _, Err(_)) => false,
    }
}

/// A token for somebody else is none for us, and one that says for whom it is must be bound to that.
fn check_audience(claims: &Value, bound: &[String]) -> Result<(), Reason> {
    let audiences = match claims.get("aud") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(audience)) if audience.is_empty() => Vec::new(),
        Some(Value::String(audience)) => vec![audience.as_str()],
        Some(Value::Array(audiences)) => {
            let texts: Option<Vec<&str>> = audiences.iter().map(Value::as_str).collect();
            texts.ok_or(Reason("audience"))?
        }
        Some(_) => return Err(Reason("audience")),
    };
    let is_right = match bound {
        [] => audiences.is_empty(),
        bound => audiences
            .iter()
            .any(|audience| bound.iter().any(|bound| bound == audience)),
    };
    is_right.then_some(()).ok_or(Reason("audience"))
}

/// As Vault does it: what of its times a token leaves out follows from the others, and one without any has no end.
fn check_times(claims: &Value, role: &Role, now: i64) -> Result<(), Reason> {
    let time = |name: &str| match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or(Reason("malformed")),
    };
    let (issued, expires, begins) = (time("iat")?, time("exp")?, time("nbf")?);
    let leeway = |wanted: i64, default: i64| match wanted {
        0 => default,
        wanted => wanted.max(0),
    };
    let skew = leeway(role.clock_skew_leeway, SKEW_S);
    let expires = match (expires, issued.max(begins)) {
        (Some(expires), _) => expires,
        (None, Some(latest)) => latest.saturating_add(leeway(role.expiration_leeway, LEEWAY_S)),
        (None, None) => return Err(Reason("no time")),
    };
    let begins = begins
        .or(issued)
        .unwrap_or_else(|| expires.saturating_sub(leeway(role.not_before_leeway, LEEWAY_S)));
    if now.saturating_sub(skew) > expires {
        return Err(Reason("expired"));
    }
    let soon = now.saturating_add(skew);
    if soon < begins || issued.is_some_and(|issued| soon < issued) {
        return Err(Reason("not yet valid"));
    }
    if role.max_age_s > 0 {
        let proved = time("auth_time")?.ok_or(Reason("age"))?;
        let age = i64::try_from(role.max_age_s).unwrap_or(i64::MAX);
        if now.saturating_sub(skew) > proved.saturating_add(age) {
            return Err(Reason("age"));
        }
    }
    Ok(())
}

/// Seconds since 1970, of which some issuers write parts.
fn seconds(value: &Value) -> Option<i64> {
    if let Some(seconds) = value.as_i64() {
        return (seconds >= 0).then_some(seconds);
    }
    let seconds = value.as_f64()?;
    // Beyond 2^53 a float has no ones.
    let is_time = (0.0..9_007_199_254_740_992.0).contains(&seconds);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is in range, and parts of a second do not matter"
    )]
    is_time.then_some(seconds as i64)
}

/// Who a token is of.
pub(super) fn user(claims: &Value, role: &Role) -> Result<String, Reason> {
    let value = match role.user_claim_json_pointer {
        true => claim(claims, &role.user_claim),
        false => claims.get(&role.user_claim),
    };
    let user = value
        .and_then(Value::as_str)
        .filter(|user| !user.is_empty() && is_plain(user));
    user.map(str::to_owned).ok_or(Reason("user claim"))
}

/// The groups that a token names.
pub(super) fn groups(claims: &Value, role: &Role) -> Result<Vec<String>, Reason> {
    if role.groups_claim.is_empty() {
        return Ok(Vec::new());
    }
    let values = match claim(claims, &role.groups_claim) {
        Some(Value::Array(values)) if values.len() <= GROUPS_MAX => &values[..],
        Some(value @ Value::String(_)) => std::slice::from_ref(value),
        _ => return Err(Reason("groups claim")),
    };
    let group = |value: &Value| value.as_str().filter(|group| is_plain(group)).map(str::to_owned);
    values
        .iter()
        .map(group)
        .collect::<Option<_>>()
        .ok_or(Reason("groups claim"))
}

/// The pairs that a token is given of what is claimed.
pub(super) fn metadata(claims: &Value, role: &Role) -> Result<BTreeMap<String, String>, Reason> {
    let mut metadata = BTreeMap::from([("role".to_owned(), role.name.clone())]);
    for (name, key) in &role.claim_mappings {
        if let Some(value) = claim(claims, name) {
            let text = text_of(value)
                .filter(|text| is_plain(text))
                .ok_or(Reason("mapped claim"))?;
            metadata.insert(key.clone(), text);
        }
    }
    Ok(metadata)
}

/// As Vault has it.
const SKEW_S: i64 = 60;
/// As Vault has it.
const LEEWAY_S: i64 = 150;
/// Some issuers stop at 200, and point to a service for more.
const GROUPS_MAX: usize = 1_000;
