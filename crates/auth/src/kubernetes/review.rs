//! What the API server is asked, and what it answers (`authentication.k8s.io/v1`, `TokenReview`); and what a verified token says by itself.

use aumbry_logical::Body;
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

use crate::fields::is_plain;
use crate::jwt::Reason;

/// A question to the API server.
pub struct Review {
    /// Where: a whole address.
    pub url: String,
    /// Certificates in PEM, of which one must have signed the server's.
    pub authority_pem: String,
    /// Who asks.
    pub bearer: SecretBytes,
    /// What is asked.
    pub body: SecretBytes,
}

/// What the API server answered.
pub struct Answered {
    /// The code.
    pub code: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// What is asked about a token, for an audience if one is demanded.
pub(super) fn question(token: &SecretBytes, audience: &str) -> SecretBytes {
    let mut spec = json!({ "token": token.expose_str().unwrap_or_default() });
    if !audience.is_empty() {
        spec["audiences"] = json!([audience]);
    }
    let question = json!({ "apiVersion": API, "kind": "TokenReview", "spec": spec });
    SecretBytes::new(question.to_string().into_bytes())
}

/// Whose the token is, by the server's answer.
pub(super) fn account(answered: &Answered, audience: &str) -> Result<Account, Reason> {
    match answered.code {
        200 | 201 => {}
        // The reviewer's token, not the one that is reviewed, was refused.
        401 | 403 => return Err(Reason("reviewer refused")),
        _ => return Err(Reason("review failed")),
    }
    let form = || Reason("review failed");
    let body = Body::parse(&answered.body).map_err(|_| form())?;
    let status = body.get("status").and_then(Value::as_object).ok_or_else(form)?;
    let is_error = status
        .get("error")
        .and_then(Value::as_str)
        .is_some_and(|error| !error.is_empty());
    if is_error || status.get("authenticated") != Some(&Value::Bool(true)) {
        return Err(Reason("not authenticated"));
    }
    // A server that knows nothing of audiences would leave them out.
    if !audience.is_empty() {
        let audiences = status.get("audiences").and_then(Value::as_array);
        let is_for_us = audiences.is_some_and(|audiences| audiences.iter().any(|one| one == audience));
        if !is_for_us {
            return Err(Reason("audience"));
        }
    }
    let user = status.get("user").ok_or_else(form)?;
    let text = |field: &str| user.get(field).and_then(Value::as_str).unwrap_or_default();
    of_user(text("username"), text("uid"))
}

/// Whose a token is whose signature was verified here.
pub(super) fn account_of_claims(claims: &Value, audience: &str, issuer: &str, now_ms: u64) -> Result<Account, Reason> {
    let text = |pointer: &str| claims.pointer(pointer).and_then(Value::as_str);
    if !issuer.is_empty() && text("/iss") != Some(issuer) {
        return Err(Reason("issuer"));
    }
    let time = |field: &str| claims.get(field).and_then(Value::as_u64);
    let now = now_ms / 1_000;
    if time("exp").is_some_and(|expires| now > expires.saturating_add(SKEW_S)) {
        return Err(Reason("expired"));
    }
    if time("nbf").is_some_and(|begins| now.saturating_add(SKEW_S) < begins) {
        return Err(Reason("not yet valid"));
    }
    if !audience.is_empty() {
        let is_for_us = match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|one| one == audience),
            _ => false,
        };
        if !is_for_us {
            return Err(Reason("audience"));
        }
    }
    // Tokens of pods have an object; those that were stored as secrets have names with slashes.
    let uid = text("/kubernetes.io/serviceaccount/uid")
        .or_else(|| text("/kubernetes.io~1serviceaccount~1service-account.uid"))
        .unwrap_or_default();
    of_user(text("/sub").unwrap_or_default(), uid)
}

fn of_user(user: &str, uid: &str) -> Result<Account, Reason> {
    let account = user
        .strip_prefix("system:serviceaccount:")
        .and_then(|rest| rest.split_once(':'));
    let (namespace, name) = account.ok_or(Reason("no service account"))?;
    let is_fine = |text: &str| !text.is_empty() && !text.contains([':', '/']) && is_plain(text);
    if !is_fine(namespace) || !is_fine(name) || !is_plain(uid) {
        return Err(Reason("no service account"));
    }
    Ok(Account {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    })
}

const API: &str = "authentication.k8s.io/v1";
/// As for any token.
const SKEW_S: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn reviewed(code: u16, status: &Value, audience: &str) -> Result<Account, &'static str> {
        let body = json!({ "kind": "TokenReview", "status": status })
            .to_string()
            .into_bytes();
        account(&Answered { code, body }, audience).map_err(|reason| reason.0)
    }

    /// Abuse cases: 28.
    #[test]
    fn an_answer_says_yes_in_one_form() {
        let user = json!({ "username": "system:serviceaccount:prod:app", "uid": "u1" });
        let yes = json!({ "authenticated": true, "user": user, "audiences": ["aumbry"] });
        let expected = Account {
            namespace: "prod".to_owned(),
            name: "app".to_owned(),
            uid: "u1".to_owned(),
        };
        assert_eq!(reviewed(201, &yes, "aumbry"), Ok(expected.clone()));
        assert_eq!(reviewed(200, &yes, ""), Ok(expected));
        let with = |field: &str, value: Value| {
            let mut status = yes.clone();
            status[field] = value;
            status
        };
        let check = |code, status: &Value, audience: &str, why: &str| {
            assert_eq!(reviewed(code, status, audience), Err(why), "{code} {status} {audience}");
        };
        for code in [401, 403] {
            check(code, &yes, "", "reviewer refused");
        }
        for code in [204, 302, 404, 500] {
            check(code, &yes, "", "review failed");
        }
        for flag in [json!(false), json!("true"), json!(1), json!(null), json!({})] {
            check(201, &with("authenticated", flag), "", "not authenticated");
        }
        // An identity that comes with an error is none.
        check(201, &with("error", json!("expired")), "", "not authenticated");
        for audiences in [json!(null), json!([]), json!(["other"]), json!("aumbry")] {
            check(201, &with("audiences", audiences), "aumbry", "audience");
        }
        for name in [
            "admin",
            "",
            "system:serviceaccount:prod",
            "system:serviceaccount::app",
            "system:serviceaccount:prod:",
            "system:serviceaccount:prod:app:x",
            "system:serviceaccount:prod:a/b",
            "system:node:prod:app",
        ] {
            check(
                201,
                &with("user", json!({ "username": name, "uid": "u1" })),
                "",
                "no service account",
            );
        }
        check(201, &json!("yes"), "", "review failed");
        check(201, &json!({ "authenticated": true }), "", "review failed");
    }
}
