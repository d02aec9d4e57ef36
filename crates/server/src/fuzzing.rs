//! What the fuzzer needs of formats that nothing else outside this crate sees. Not for any other use: it changes with them.

use std::time::Duration;

use aumbry_api::v1::Call;
use aumbry_auth::cidr::Cidr;
use aumbry_logical::{Body, Verb};
use aumbry_types::NamespacePath;
use prost::Message as _;

use crate::config::{Config, Misread};
use crate::ticket::Ticket;
use crate::{convert, directory, logical, services, vault};

/// Reads a configuration: whether it is one, what is wrong with its text, and what with its values.
#[must_use]
pub fn config(text: &str) -> (bool, Vec<Misread>, Vec<&'static str>) {
    let (config, misread) = Config::read(text);
    let problems = config.as_ref().map(Config::problems).unwrap_or_default();
    (config.is_some(), misread, problems)
}

/// Reads a join token and writes it again.
///
/// # Errors
/// What is told of a text that is none.
pub fn ticket(text: &[u8]) -> Result<Vec<u8>, String> {
    let ticket = Ticket::parse(text).map_err(|error| format!("{error} {error:?}"))?;
    Ok(ticket.to_text().expose().to_vec())
}

/// Decodes a call and turns it into an operation.
///
/// # Errors
/// What is told of one that is none.
pub fn call(bytes: &[u8]) -> Result<(), String> {
    let call = Call::decode(bytes).map_err(|error| error.to_string())?;
    let op = call.op.ok_or("the call is empty")?;
    convert::operation(op)
        .map(drop)
        .map_err(|failure| format!("{failure:?}"))
}

/// Reads a timeout as gRPC has it.
#[must_use]
pub fn timeout(text: &str) -> Option<Duration> {
    services::parse_timeout(text)
}

/// Reads a request by HTTP: its method, target, type and body. Gives its path and the one JSON object in it.
///
/// # Errors
/// The code that answers one that is refused.
pub fn http(method: &str, target: &str, kind: &str, body: &[u8]) -> Result<(String, Vec<u8>), u16> {
    vault::fuzzing(method, target, kind, body)
}

/// Reads a range of addresses and writes it again.
#[must_use]
pub fn cidr(text: &str) -> Option<String> {
    text.parse::<Cidr>().ok().map(|cidr| cidr.to_string())
}

/// Reads a body and writes it again.
#[must_use]
pub fn body(bytes: &[u8]) -> Option<Vec<u8>> {
    let body = Body::parse(bytes).ok()?;
    Some(body.encode().expose().to_vec())
}

/// Turns a path with a body into an operation, as far as that is decided without a mount: gives its name in audit records, and whether it writes.
///
/// # Errors
/// What is told of one that comes to none.
pub fn logical(verb: Verb, namespace: &NamespacePath, path: &str, body: &[u8]) -> Result<(&'static str, bool), String> {
    let operation = logical::fuzzing(verb, namespace, path, body).map_err(|failure| format!("{failure:?}"))?;
    Ok((operation.name(), operation.is_write()))
}

/// The length of the first message of a directory, once all of it is there.
///
/// # Errors
/// What is told of one that is let through to nobody.
pub fn directory(bytes: &[u8]) -> Result<Option<usize>, String> {
    directory::fuzzing(bytes)
}
