//! How a command ends: the error for people and for programs, and the exit code.

use core::fmt;
use std::io::Write as _;

use aumbry_api::code_name;
use aumbry_audit::text::{escape, json};
use aumbry_client::Error;
use aumbry_client::v1::{Failure, OutcomeClass};
use serde_json::{Value, json};

use crate::output::Format;

/// A request that failed, and whether it was to change anything.
#[derive(Debug)]
pub(crate) struct Failed {
    error: Error,
    is_write: bool,
}

impl Failed {
    pub(crate) const fn write(error: Error) -> Self {
        Self { error, is_write: true }
    }

    pub(crate) const fn read(error: Error) -> Self {
        Self { error, is_write: false }
    }

    /// The same failure of what only reads.
    pub(crate) const fn of_read(mut self) -> Self {
        self.is_write = false;
        self
    }

    /// The same failure in other words.
    pub(crate) fn saying(mut self, message: &str) -> Self {
        if let Error::Failure(failure) = &mut self.error {
            message.clone_into(&mut failure.message);
        }
        self
    }

    /// A stable word for programs.
    pub(crate) fn reason(&self) -> &str {
        match self.error.failure() {
            // The services that have no pipeline tell the code alone.
            Some(failure) if failure.reason == TRANSPORT && is_certain(failure.code) => code_name(failure.code),
            _ => self.error.reason(),
        }
    }

    /// Whether it certainly changed nothing.
    pub(crate) fn is_not_applied(&self) -> bool {
        !self.is_unknown()
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.exit_code() == NOT_FOUND
    }

    /// A write that may have been applied.
    fn is_unknown(&self) -> bool {
        self.is_write
            && self.error.failure().is_some_and(|failure| {
                failure.outcome() == OutcomeClass::Unknown && !(failure.reason == TRANSPORT && is_certain(failure.code))
            })
    }

    /// Nobody decided anything: no quorum, no leader, no answer.
    fn is_unanswered(&self) -> bool {
        let failure = self.error.failure();
        failure.is_some_and(|failure| match failure.reason.as_str() {
            TRANSPORT => !is_certain(failure.code),
            "NOT_ANSWERED" | "NOT_LEADER" | "OUTCOME_UNKNOWN" => true,
            _ => false,
        })
    }

    fn exit_code(&self) -> u8 {
        let failure = self.error.failure();
        match self.reason() {
            "SEALED" => SEALED,
            "PERMISSION_DENIED" | "TOKEN_INVALID" | "LOGIN_REFUSED" | "WRAPPING_TOKEN_GONE" => DENIED,
            "CAS_MISMATCH" => CONFLICT,
            _ if self.is_unknown() => UNKNOWN,
            _ if failure.is_some_and(|failure| failure.code == GRPC_NOT_FOUND) => NOT_FOUND,
            _ => FAILED,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.error;
        if self.is_unknown() {
            return write!(
                f,
                "outcome unknown: the request may have been applied; read before you retry: {error}"
            );
        }
        if self.is_unanswered() {
            return write!(
                f,
                "no quorum or no node answered in time: {error}; `aumbry status` tells which nodes serve"
            );
        }
        write!(f, "{error}")
    }
}

impl std::error::Error for Failed {}

/// What the program itself refuses or finds.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The command line or the environment is wrong.
    Usage(String),
    /// What was asked for is not there.
    NotFound(String),
    /// A file is not what was written, or not of whom it should be.
    NotIntact(String),
    /// All nodes that answer are sealed.
    Sealed(String),
    /// All was done that can be, and a person has to see to the rest.
    Remains(String),
}

impl Refused {
    const fn parts(&self) -> (u8, &'static str, &'static str, &String) {
        match self {
            Self::Usage(text) => (USAGE, "INVALID_ARGUMENT", "USAGE", text),
            Self::NotFound(text) => (NOT_FOUND, "NOT_FOUND", "NOT_FOUND", text),
            Self::NotIntact(text) => (NOT_INTACT, "DATA_LOSS", "NOT_INTACT", text),
            Self::Sealed(text) => (SEALED, "UNAVAILABLE", "SEALED", text),
            Self::Remains(text) => (REMAINS, "FAILED_PRECONDITION", "REMAINS", text),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.parts().3)
    }
}

impl std::error::Error for Refused {}

/// The command line is wrong.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Refused::Usage(text.into()).into()
}

/// Why a server did not start or has stopped.
pub(crate) fn of_server(error: aumbry_server::RunError) -> anyhow::Error {
    match error {
        aumbry_server::RunError::Damaged(text) => Refused::NotIntact(text).into(),
        error => error.into(),
    }
}

/// Standard output was closed: whoever read it has seen enough.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed")
    }
}

impl std::error::Error for Closed {}

/// The code that the process ends with.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Closed>() {
        return 0;
    }
    if let Some(refused) = error.downcast_ref::<Refused>() {
        return refused.parts().0;
    }
    match error.downcast_ref::<Error>() {
        Some(Error::Configuration(_)) => USAGE,
        _ => error.downcast_ref::<Failed>().map_or(FAILED, Failed::exit_code),
    }
}

/// Tells of an error on standard error: a line for people, one object for programs.
pub(crate) fn tell(format: Format, error: &anyhow::Error) {
    let text = match format {
        Format::Table => format!("aumbry: {}", escape(&format!("{error:#}"))),
        Format::Json => json(&object(error)).unwrap_or_default(),
    };
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells of what is no error, but should be known.
pub(crate) fn warn(format: Format, text: &str) {
    let text = match format {
        Format::Table => format!("aumbry: warning: {}", escape(text)),
        Format::Json => json(&json!({ "warning": { "message": text } })).unwrap_or_default(),
    };
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Tells a person at the terminal what is going on.
pub(crate) fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", escape(text));
}

/// The error for programs.
fn object(error: &anyhow::Error) -> Value {
    let failed = error.downcast_ref::<Failed>();
    let failure = failed.and_then(|failed| failed.error.failure());
    let (code, reason) = match (failed, error.downcast_ref::<Refused>()) {
        (_, Some(refused)) => (refused.parts().1, refused.parts().2),
        (Some(failed), None) => (
            failure.map_or("INVALID_ARGUMENT", |f| code_name(f.code)),
            failed.reason(),
        ),
        _ if exit_code(error) == USAGE => ("INVALID_ARGUMENT", "CONFIGURATION"),
        _ => ("UNKNOWN", "FAILED"),
    };
    let is_unknown = failed.is_some_and(Failed::is_unknown);
    json!({ "error": {
        "code": code,
        "reason": reason,
        "message": message(error, failure),
        "request_id": failure.map_or("", |failure| &failure.request_id),
        "outcome": if is_unknown { "UNKNOWN" } else { "NOT_APPLIED" },
    }})
}

/// The request has a field of its own.
fn message(error: &anyhow::Error, failure: Option<&Failure>) -> String {
    let text = format!("{error:#}");
    match failure {
        Some(failure) => text.replace(&format!(" (request {})", failure.request_id), ""),
        None => text,
    }
}

/// Whether a bare gRPC status with this code says that nothing was changed.
const fn is_certain(code: u32) -> bool {
    matches!(code, 3 | 5..=9 | 11 | 12 | 16)
}

/// What `aumbry --help` says of the codes.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failed; nothing was changed unless the message says so
  2  the command line or the environment is wrong
  3  the node is sealed
  4  permission denied, or no valid token
  5  the outcome is unknown: the request may have been applied; read before you retry
  6  what was asked for is not there
  7  another version is current than --cas names
  8  audit verify, snapshot inspect: the file is not intact, or not of the key of --fingerprint
     server, operator check, operator repair: the data directory is damaged
  9  migrate: all that can be read was moved, and the report names what remains to be done by hand";

const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
const SEALED: u8 = 3;
const DENIED: u8 = 4;
const UNKNOWN: u8 = 5;
const NOT_FOUND: u8 = 6;
const CONFLICT: u8 = 7;
const NOT_INTACT: u8 = 8;
const REMAINS: u8 = 9;

const GRPC_NOT_FOUND: u32 = 5;
/// The reason of what no pipeline answered.
const TRANSPORT: &str = "TRANSPORT";

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: u32, reason: &str, outcome: OutcomeClass) -> Error {
        Error::Failure(Box::new(Failure {
            code,
            reason: reason.to_owned(),
            message: "why".to_owned(),
            request_id: "ab".to_owned(),
            outcome: outcome as i32,
            ..Failure::default()
        }))
    }

    #[test]
    fn a_write_that_may_have_been_applied_ends_with_its_own_code() {
        use OutcomeClass::{NotApplied, Unknown};
        let cases = [
            // Cancelled, unknown, deadline, unavailable: lost on the way.
            (1, "TRANSPORT", Unknown, 5, 1),
            (2, "TRANSPORT", Unknown, 5, 1),
            (4, "TRANSPORT", Unknown, 5, 1),
            (14, "TRANSPORT", Unknown, 5, 1),
            (14, "OUTCOME_UNKNOWN", Unknown, 5, 1),
            // It was never sent.
            (14, "UNREACHABLE", NotApplied, 1, 1),
            // It is a further try of one whose answer was lost.
            (14, "UNREACHABLE", Unknown, 5, 1),
            // A bare status that refuses.
            (9, "TRANSPORT", Unknown, 1, 1),
            (3, "TRANSPORT", Unknown, 1, 1),
            (14, "SEALED", NotApplied, 3, 3),
            (7, "PERMISSION_DENIED", NotApplied, 4, 4),
            (16, "TOKEN_INVALID", NotApplied, 4, 4),
            (5, "NOT_FOUND", NotApplied, 6, 6),
            (5, "NO_SUCH_MEMBER", NotApplied, 6, 6),
            (9, "CAS_MISMATCH", NotApplied, 7, 7),
            (9, "MOUNT_NOT_EMPTY", NotApplied, 1, 1),
        ];
        for (code, reason, outcome, write, read) in cases {
            let writing = Failed::write(failure(code, reason, outcome));
            let is_unknown = write == 5;
            assert_eq!(
                writing.to_string().contains("may have been applied"),
                is_unknown,
                "{reason}"
            );
            let writing = anyhow::Error::from(writing).context("cannot do it");
            assert_eq!(exit_code(&writing), write, "{reason} {code}");
            let word = object(&writing)["error"]["outcome"].clone();
            assert_eq!(word, if is_unknown { "UNKNOWN" } else { "NOT_APPLIED" });
            let reading = Failed::read(failure(code, reason, outcome)).into();
            assert_eq!(exit_code(&reading), read, "{reason} {code}");
        }
    }

    #[test]
    fn an_error_is_one_object_for_programs() {
        let error = Failed::read(failure(5, "NOT_FOUND", OutcomeClass::NotApplied)).into();
        let expected = json!({ "error": {
            "code": "NOT_FOUND", "reason": "NOT_FOUND", "message": "why", "request_id": "ab", "outcome": "NOT_APPLIED",
        }});
        assert_eq!(object(&error), expected);
        assert_eq!(object(&usage("no"))["error"]["reason"], "USAGE");
        let codes = [
            (usage("no"), 2),
            (Refused::NotIntact(String::new()).into(), 8),
            (Closed.into(), 0),
            (anyhow::anyhow!("x"), 1),
        ];
        for (error, code) in codes {
            assert_eq!(exit_code(&error), code);
            if code > 0 {
                assert!(EXIT_CODES.contains(&format!("\n  {code}  ")));
            }
        }
    }
}
