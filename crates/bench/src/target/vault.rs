//! A server with the HTTP API of Vault: KV version 2, tokens by `auth/token`.

use aumbry_types::SecretBytes;

use super::{TOKEN_TTL_S, token_is_wrong};
use crate::sequence::Operation;
use crate::template::{KEY_MARK, document};
use crate::{Error, Plan};

/// The request, head and body.
pub(super) fn encoded(plan: &Plan, operation: Operation, token: &SecretBytes, address: &str) -> Result<Vec<u8>, Error> {
    let (mount, directory) = plan.path.split_once('/').expect("the plan's path was checked");
    let (method, target, body) = match operation {
        Operation::Read => ("GET", format!("{mount}/data/{directory}/{KEY_MARK}"), String::new()),
        Operation::Write => (
            "POST",
            format!("{mount}/data/{directory}/{KEY_MARK}"),
            format!("{{\"data\":{}}}", document(plan.value_size)),
        ),
        Operation::List => ("GET", format!("{mount}/metadata/{directory}?list=true"), String::new()),
        Operation::Token => (
            "POST",
            "auth/token/create".to_owned(),
            format!("{{\"policies\":[\"default\"],\"ttl\":\"{TOKEN_TTL_S}s\"}}"),
        ),
        Operation::Login => {
            let role = plan.role.as_ref().expect("the plan's role was checked");
            let secret_id = String::from_utf8_lossy(role.secret_id.expose());
            let body = format!("{{\"role_id\":\"{}\",\"secret_id\":\"{secret_id}\"}}", role.role_id);
            ("POST", format!("auth/{}/login", role.mount), body)
        }
    };
    let host = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest)
        .trim_end_matches('/');
    let token = core::str::from_utf8(token.expose()).map_err(|_| token_is_wrong())?;
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(token_is_wrong());
    }
    // What a length is told of that is not there, some servers refuse.
    let length = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    // Who logs in has no token yet.
    let token = match operation {
        Operation::Login => String::new(),
        _ => format!("X-Vault-Token: {token}\r\n"),
    };
    let text =
        format!("{method} /v1/{target} HTTP/1.1\r\nHost: {host}\r\n{token}X-Vault-Request: true\r\n{length}\r\n{body}");
    Ok(text.into_bytes())
}
