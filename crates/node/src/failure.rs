//! What is told when a request fails: never a name, a value, or why access was denied.

use aumbry_barrier::InsertError;
use aumbry_types::NodeId;

/// The kind of failure, in the canonical classes of gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request is wrong by itself.
    InvalidArgument,
    /// There is no valid token.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// Nothing is there.
    NotFound,
    /// Something is there already.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// It lost a race; try again.
    Aborted,
    /// A limit is reached.
    ResourceExhausted,
    /// The node cannot serve now; try again, perhaps elsewhere.
    Unavailable,
    /// The time given is over.
    DeadlineExceeded,
    /// A bug or damage.
    Internal,
}

/// Whether a failed request changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeClass {
    /// It certainly did not.
    NotApplied,
    /// It may have, or still may.
    Unknown,
}

/// Where in the log an answer stands; zeros if it stands nowhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The index of its entry.
    pub index: u64,
    /// The term of its entry.
    pub term: u64,
    /// The sequence number of its audit record.
    pub audit_seq: u64,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub class: Class,
    /// A stable word for programs, such as `TOKEN_INVALID`.
    pub reason: &'static str,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// Whether anything changed.
    pub outcome: OutcomeClass,
    /// The leader, if this node knows another one.
    pub leader: Option<NodeId>,
    /// After how many milliseconds to try again; 0 is "not by itself".
    pub retry_after_ms: u64,
    /// Where its audit record stands.
    pub position: Position,
}

impl Failure {
    /// A failure that certainly changed nothing.
    #[must_use]
    pub fn new(class: Class, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            class,
            reason,
            message: message.into(),
            outcome: OutcomeClass::NotApplied,
            leader: None,
            retry_after_ms: 0,
            position: Position::default(),
        }
    }

    /// The request is wrong by itself.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Class::InvalidArgument, "INVALID_REQUEST", message)
    }

    /// The caller may not do this. Says nothing of why, or of what is there.
    #[must_use]
    pub fn denied() -> Self {
        Self::new(Class::PermissionDenied, "PERMISSION_DENIED", "permission denied")
    }

    /// There is no valid token.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            Class::Unauthenticated,
            "TOKEN_INVALID",
            "missing or invalid token; set AUMBRY_TOKEN or run `aumbry login`",
        )
    }

    /// Too much waits already.
    #[must_use]
    pub fn overloaded() -> Self {
        Self::new(
            Class::ResourceExhausted,
            "OVERLOADED",
            "too many requests wait; try again later",
        )
        .retry()
    }

    /// There is no room for the record of an answer.
    #[must_use]
    pub fn disk_full() -> Self {
        let mut failure = Self::new(
            Class::ResourceExhausted,
            "DISK_FULL",
            "disks are nearly full, and nothing is answered that cannot be recorded; make room on the nodes that are not ready (`/ready`, aumbry_disk_free_bytes), or lower limits.disk_reserve_bytes there",
        );
        failure.retry_after_ms = ROOM_RETRY_MS;
        failure
    }

    /// An operator's limit on a number is reached.
    #[must_use]
    pub fn limited(text: &'static str) -> Self {
        Self::new(Class::ResourceExhausted, crate::quotas::EXCEEDED, text)
    }

    /// The node is sealed.
    #[must_use]
    pub fn sealed() -> Self {
        Self::new(
            Class::Unavailable,
            "SEALED",
            "the node is sealed; unseal it with `aumbry operator unseal`",
        )
    }

    /// The cluster was not initialised.
    #[must_use]
    pub fn uninitialised() -> Self {
        Self::new(
            Class::FailedPrecondition,
            "NOT_INITIALISED",
            "the node belongs to no cluster yet; run `aumbry operator init`, or `aumbry operator join`",
        )
    }

    /// Another node leads, or none.
    #[must_use]
    pub fn not_leader(leader: Option<NodeId>) -> Self {
        let mut failure = Self::new(Class::Unavailable, "NOT_LEADER", "this node does not lead; try again");
        failure.leader = leader;
        failure.retry_after_ms = RETRY_MS;
        failure
    }

    /// The outcome cannot be told.
    #[must_use]
    pub fn unknown(class: Class, message: &str) -> Self {
        let mut failure = Self::new(class, "OUTCOME_UNKNOWN", message);
        failure.outcome = OutcomeClass::Unknown;
        failure
    }

    /// Something that must not happen did. The details are in the node's own log, without secrets.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Class::Internal, "INTERNAL", message)
    }

    /// With its place in the log.
    #[must_use]
    pub const fn at(mut self, position: Position) -> Self {
        self.position = position;
        self
    }

    /// With a hint when to try again.
    #[must_use]
    pub const fn retry(mut self) -> Self {
        self.retry_after_ms = RETRY_MS;
        self
    }
}

impl From<aumbry_barrier::DamagedRow> for Failure {
    fn from(damaged: aumbry_barrier::DamagedRow) -> Self {
        Self::new(Class::Internal, "DAMAGED_ROW", damaged.to_string())
    }
}

impl From<InsertError> for Failure {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::new(Class::ResourceExhausted, "DIRECTORY_FULL", error.to_string()),
            InsertError::Limited(text) => Self::limited(text),
            InsertError::Damaged(damaged) => damaged.into(),
        }
    }
}

/// About an election's length is too long to wait blindly; clients back off from here.
const RETRY_MS: u64 = 50;
/// Room is made by people or by a purge, and measured every second.
const ROOM_RETRY_MS: u64 = 5_000;
