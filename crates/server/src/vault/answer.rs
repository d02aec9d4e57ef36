//! Answers in the form that clients expect, and the one table from failures to codes of HTTP.

use std::pin::Pin;

use aumbry_api::v1;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use crate::logical::KV_PATH;

/// What is answered.
pub(super) type Answer = Response<Body>;
/// Bytes that are there, or a stream of them.
pub(super) type Body = Either<Full<Bytes>, StreamBody<Parts>>;
/// The parts of what is too large to be there as a whole.
pub(super) type Parts = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Status>> + Send>>;

/// Why a request is not taken.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    /// Whoever sent it is told so.
    pub(super) fn into_answer(self) -> Answer {
        error(self.status, &self.message)
    }

    /// Its code.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }
}

/// The members that every answer with content has, null where there is nothing.
#[derive(Serialize)]
struct Envelope<'a> {
    request_id: &'a str,
    lease_id: &'static str,
    renewable: bool,
    lease_duration: u64,
    data: Option<&'a RawValue>,
    wrap_info: Option<&'a RawValue>,
    warnings: Option<&'a [String]>,
    auth: Option<&'a RawValue>,
    mount_type: &'a str,
    /// The members of the data again, where older clients look for them.
    #[serde(flatten)]
    top: Map<String, Value>,
}

/// The answer to a call that was served.
pub(super) fn of_reply(path: &str, reply: v1::LogicalReply, is_write: bool, cluster: Option<&str>) -> Answer {
    let header = reply.header.unwrap_or_default();
    let is_empty = reply.data.is_empty() && reply.auth.is_empty() && reply.wrap_info.is_empty();
    let mut answer = if reply.wrap_info.is_empty() && !reply.data.is_empty() && is_bare(path) {
        json_answer(StatusCode::OK, reply.data.to_vec())
    } else if is_empty && reply.warnings.is_empty() {
        empty(StatusCode::NO_CONTENT)
    } else {
        let raw = |bytes: &Bytes| -> Option<Box<RawValue>> {
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())?;
            serde_json::from_str(text).ok()
        };
        let (data, auth, wrap) = (raw(&reply.data), raw(&reply.auth), raw(&reply.wrap_info));
        let top = match &data {
            Some(data) if is_doubled(path) => serde_json::from_str(data.get()).unwrap_or_default(),
            _ => Map::new(),
        };
        let envelope = Envelope {
            request_id: &uuid(&header.request_id),
            lease_id: "",
            renewable: false,
            lease_duration: reply.lease_duration_s,
            data: data.as_deref(),
            wrap_info: wrap.as_deref(),
            warnings: (!reply.warnings.is_empty()).then_some(&reply.warnings[..]),
            auth: auth.as_deref(),
            mount_type: &reply.mount_type,
            top,
        };
        let status = match (reply.absent, reply.accepted) {
            (true, _) => StatusCode::NOT_FOUND,
            (false, true) => StatusCode::ACCEPTED,
            (false, false) => StatusCode::OK,
        };
        // Texts and JSON that was parsed are always written.
        json_answer(status, serde_json::to_vec(&envelope).unwrap_or_default())
    };
    if let Ok(receipt) = HeaderValue::from_str(&header.receipt)
        && !receipt.is_empty()
    {
        answer.headers_mut().insert(RECEIPT, receipt);
    }
    if is_write && let Some(index) = index_header(cluster, header.index) {
        answer.headers_mut().insert(INDEX, index);
    }
    answer
}

/// What clients read without the envelope.
fn is_bare(path: &str) -> bool {
    BARE.iter().any(|bare| path.starts_with(bare))
}

/// Some clients read the data of these at the top of the answer.
fn is_doubled(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    DOUBLED.iter().any(|doubled| {
        path.strip_prefix(doubled)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A UUID's form, for clients that check it.
fn uuid(id: &str) -> String {
    if id.len() != 32 || !id.is_ascii() {
        return id.to_owned();
    }
    [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-")
}

/// The index as clients take it apart: five parts in base64, of which theirs are the second to the fourth.
fn index_header(cluster: Option<&str>, index: u64) -> Option<HeaderValue> {
    let text = format!("v1:{}:{index}:{index}:aumbry", cluster?);
    HeaderValue::from_str(&STANDARD.encode(text)).ok()
}

/// The answer to a call that failed.
pub(super) fn of_failure(failure: &v1::Failure) -> Answer {
    let status = status(failure);
    let mut answer = match (status, failure.message.as_str()) {
        // It is said of another token than the caller's, to who may look tokens up.
        (StatusCode::FORBIDDEN, message) if failure.reason == "BAD_TOKEN" => error(status, message),
        (StatusCode::FORBIDDEN, _) => error(status, "permission denied"),
        (StatusCode::SERVICE_UNAVAILABLE, _) if failure.reason == "SEALED" => error(status, "Vault is sealed"),
        // Nothing there is no error that needs words.
        (StatusCode::NOT_FOUND, _) if failure.reason == "NOT_FOUND" => nothing(),
        // Clients take what is not found for nothing, and show its warnings alone.
        (StatusCode::NOT_FOUND, message) if failure.reason == KV_PATH => {
            bare(status, &json!({ "errors": [message], "warnings": [message] }))
        }
        (_, "") => nothing_with(status),
        (_, message) => error(status, message),
    };
    let headers = answer.headers_mut();
    if failure.retry_after_ms > 0 {
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(failure.retry_after_ms.div_ceil(1_000)),
        );
    }
    if let Ok(reason) = HeaderValue::from_str(&failure.reason) {
        headers.insert(REASON, reason);
    }
    if let Ok(id) = HeaderValue::from_str(&failure.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

fn status(failure: &v1::Failure) -> StatusCode {
    match failure.reason.as_str() {
        "UNSUPPORTED_OPERATION" => return StatusCode::METHOD_NOT_ALLOWED,
        // As clients know it: who cannot log in has said something wrong.
        "LOGIN_REFUSED" => return StatusCode::BAD_REQUEST,
        _ => {}
    }
    match Code::from(i32::try_from(failure.code).unwrap_or_default()) {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists | Code::OutOfRange => {
            match failure.reason.as_str() {
                "NO_CLUSTER" | "UNINITIALISED" | "UNINITIALIZED" => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            }
        }
        Code::Unauthenticated | Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Aborted | Code::Unavailable | Code::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer of JSON without the envelope.
pub(super) fn bare(status: StatusCode, value: &Value) -> Answer {
    json_answer(status, value.to_string().into_bytes())
}

/// An error in words.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    bare(status, &json!({ "errors": [message] }))
}

fn nothing() -> Answer {
    nothing_with(StatusCode::NOT_FOUND)
}

fn nothing_with(status: StatusCode) -> Answer {
    bare(status, &json!({ "errors": [] }))
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Left(Full::default()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn json_answer(status: StatusCode, body: Vec<u8>) -> Answer {
    with_type(status, "application/json", body)
}

/// An answer of a type.
pub(super) fn with_type(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Answer {
    of_kind(status, kind, Either::Left(Full::new(Bytes::from(body))))
}

/// An answer that is made while it is sent.
pub(super) fn stream(kind: &'static str, parts: Parts) -> Answer {
    of_kind(StatusCode::OK, kind, Either::Right(StreamBody::new(parts)))
}

fn of_kind(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

const INDEX: HeaderName = HeaderName::from_static("x-vault-index");
const RECEIPT: HeaderName = HeaderName::from_static("x-aumbry-receipt");
const REASON: HeaderName = HeaderName::from_static("x-aumbry-reason");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-aumbry-request-id");
const BARE: [&str; 6] = [
    "sys/internal/help/",
    "sys/internal/specs/openapi",
    "sys/rekey/",
    "sys/generate-root/",
    "sys/generate-root-token/",
    "sys/rotate/root/",
];
const DOUBLED: [&str; 14] = [
    "sys/audit",
    "sys/audit-hash",
    "sys/auth",
    "sys/capabilities",
    "sys/capabilities-accessor",
    "sys/capabilities-self",
    "sys/config/cors",
    "sys/ha-status",
    "sys/key-status",
    "sys/mounts",
    "sys/policy",
    "sys/remount",
    "sys/rotate",
    "sys/wrapping/wrap",
];
