//! The one table from failures to gRPC codes.

use aumbry_api::v1;
use aumbry_node::{Class, Failure, OutcomeClass};
use aumbry_types::RequestId;
use tonic::Code;

/// The failure as it goes over the wire.
pub(crate) fn failure(failure: &Failure, request: RequestId, leader_address: String) -> v1::Failure {
    let code = match failure.class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::Aborted => Code::Aborted,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::DeadlineExceeded => Code::DeadlineExceeded,
        Class::Internal => Code::Internal,
    };
    let outcome = match failure.outcome {
        OutcomeClass::NotApplied => v1::OutcomeClass::NotApplied,
        OutcomeClass::Unknown => v1::OutcomeClass::Unknown,
    };
    v1::Failure {
        code: u32::try_from(code as i32).unwrap_or(2),
        reason: failure.reason.to_owned(),
        message: failure.message.clone(),
        request_id: request.to_string(),
        outcome: outcome as i32,
        leader_address,
        leader_id: failure.leader.map_or(0, |leader| leader.0),
        retry_after_ms: failure.retry_after_ms,
        index: failure.position.index,
        term: failure.position.term,
        audit_seq: failure.position.audit_seq,
    }
}
