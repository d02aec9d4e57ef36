//! How a request failed, in a word for programs.

use std::borrow::Cow;

use aumbry_api::code_name;
use aumbry_api::v1::Failure;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What the report counts it under.
    pub(crate) kind: Cow<'static, str>,
    /// Whether the connection is at fault, so that the next request at once would fail as well.
    pub(crate) of: Of,
}

/// What is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The server answered that it does not do it.
    Request,
    /// No answer came.
    Connection,
}

impl Fault {
    /// No connection could be made.
    pub(crate) const CONNECT: Self = Self::connection("UNREACHABLE");
    /// The connection ended before the answer.
    pub(crate) const BROKEN: Self = Self::connection("CONNECTION_BROKEN");
    /// The server gave up this request alone.
    pub(crate) const RESET: Self = Self {
        kind: Cow::Borrowed("STREAM_RESET"),
        of: Of::Request,
    };
    /// No answer within the time that a request may take.
    pub(crate) const TIMEOUT: Self = Self::connection("TIMEOUT");
    /// The answer is none of this protocol.
    pub(crate) const MALFORMED: Self = Self::connection("MALFORMED_ANSWER");

    const fn connection(kind: &'static str) -> Self {
        Self {
            kind: Cow::Borrowed(kind),
            of: Of::Connection,
        }
    }

    /// The server refused it.
    pub(crate) fn refused(kind: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: kind.into(),
            of: Of::Request,
        }
    }

    /// Whether another try would be refused too.
    pub(crate) fn is_final(&self) -> bool {
        let refusals = [
            "PERMISSION_DENIED",
            "TOKEN_INVALID",
            "UNAUTHENTICATED",
            "INVALID_ARGUMENT",
            "NOT_FOUND",
        ];
        refusals.contains(&&*self.kind) || self.kind.starts_with("HTTP_4")
    }

    /// What a gRPC status says: Aumbry's own reason, or the name of the code if another server answered.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure.reason.as_str() {
            "UNREACHABLE" => Self::CONNECT,
            "TRANSPORT" => match failure.code {
                DEADLINE_EXCEEDED => Self::TIMEOUT,
                UNAVAILABLE => Self::BROKEN,
                code => Self::refused(code_name(code)),
            },
            reason => Self::refused(reason.to_owned()),
        }
    }
}

const DEADLINE_EXCEEDED: u32 = 4;
const UNAVAILABLE: u32 = 14;
