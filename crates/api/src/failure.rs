//! Failures on the wire: a canonical code, and in its details a stable reason, the request, the outcome class and hints.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::v1::{Failure, OutcomeClass};

/// The gRPC status of a failure.
#[must_use]
pub fn status_of(failure: &Failure) -> Status {
    let outcome = match failure.outcome() {
        OutcomeClass::NotApplied => NOT_APPLIED,
        OutcomeClass::Unknown => UNKNOWN,
    };
    let metadata = HashMap::from([
        ("request_id".to_owned(), failure.request_id.clone()),
        ("outcome".to_owned(), outcome.to_owned()),
        ("leader_address".to_owned(), failure.leader_address.clone()),
        ("leader_id".to_owned(), failure.leader_id.to_string()),
        ("index".to_owned(), failure.index.to_string()),
        ("term".to_owned(), failure.term.to_string()),
        ("audit_seq".to_owned(), failure.audit_seq.to_string()),
    ]);
    let mut details = ErrorDetails::with_error_info(failure.reason.clone(), DOMAIN, metadata);
    if failure.retry_after_ms > 0 {
        details.set_retry_info(Some(Duration::from_millis(failure.retry_after_ms)));
    }
    let code = Code::from_i32(i32::try_from(failure.code).unwrap_or(i32::MAX));
    Status::with_error_details(code, failure.message.clone(), details)
}

/// The failure that a gRPC status tells. One that did not come from Aumbry, such as a broken connection, has the reason
/// `TRANSPORT`, and its outcome is unknown.
#[must_use]
pub fn failure_of(status: &Status) -> Failure {
    let details = status.get_error_details();
    let mut failure = Failure {
        code: u32::try_from(status.code() as i32).unwrap_or(2),
        message: status.message().to_owned(),
        ..Failure::default()
    };
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        failure.reason = "TRANSPORT".to_owned();
        failure.set_outcome(OutcomeClass::Unknown);
        return failure;
    };
    let text = |name: &str| info.metadata.get(name).cloned().unwrap_or_default();
    let number = |name: &str| info.metadata.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
    failure.reason.clone_from(&info.reason);
    failure.request_id = text("request_id");
    failure.set_outcome(if text("outcome") == NOT_APPLIED {
        OutcomeClass::NotApplied
    } else {
        OutcomeClass::Unknown
    });
    failure.leader_address = text("leader_address");
    failure.leader_id = number("leader_id");
    failure.index = number("index");
    failure.term = number("term");
    failure.audit_seq = number("audit_seq");
    let delay = details.retry_info().and_then(|retry| retry.retry_delay);
    failure.retry_after_ms = delay.map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    failure
}

/// The failure that the headers or trailers of a gRPC answer tell; none if they tell success, or nothing.
#[must_use]
pub fn failure_in(headers: &http::HeaderMap) -> Option<Failure> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok).then(|| failure_of(&status))
}

/// The name of a canonical gRPC code.
#[must_use]
pub const fn code_name(code: u32) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        6 => "ALREADY_EXISTS",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        10 => "ABORTED",
        11 => "OUT_OF_RANGE",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        15 => "DATA_LOSS",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

const DOMAIN: &str = "aumbry";
const NOT_APPLIED: &str = "NOT_APPLIED";
const UNKNOWN: &str = "UNKNOWN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_wire() {
        let failure = Failure {
            code: 14,
            reason: "NOT_LEADER".to_owned(),
            message: "try again".to_owned(),
            request_id: "00".to_owned(),
            outcome: OutcomeClass::NotApplied as i32,
            leader_address: "127.0.0.1:8200".to_owned(),
            leader_id: 2,
            retry_after_ms: 50,
            index: 3,
            term: 4,
            audit_seq: 5,
        };
        let status = status_of(&failure);
        assert_eq!(status.code(), Code::Unavailable);
        let read = failure_of(&status);
        assert!(read == failure);
        assert!(failure_of(&Status::unavailable("gone")).outcome() == OutcomeClass::Unknown);
    }
}
