//! What can go wrong.

use core::fmt;

use aumbry_api::v1::Failure;

/// Why a request has no reply.
pub enum Error {
    /// The client was not set up right.
    Configuration(String),
    /// The request failed; says whether it changed anything.
    Failure(Box<Failure>),
}

impl Error {
    /// The failure, if a server or the transport told one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failure(failure) => Some(failure),
            Self::Configuration(_) => None,
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Failure(failure) => &failure.reason,
            Self::Configuration(_) => "CONFIGURATION",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(message) => f.write_str(message),
            Self::Failure(failure) if failure.request_id.is_empty() => f.write_str(&failure.message),
            Self::Failure(failure) => write!(f, "{} (request {})", failure.message, failure.request_id),
        }
    }
}

// A failure holds no secret: its Debug is its message.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.reason())
    }
}

impl std::error::Error for Error {}

/// No connection to an endpoint.
#[derive(Debug)]
pub(crate) struct ConnectError(String);

impl ConnectError {
    pub(crate) fn new(address: &str, why: &dyn fmt::Display) -> Self {
        Self(format!("cannot connect to {address}: {why}"))
    }

    /// The one that an error comes from, if it does.
    pub(crate) fn among<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|error| error.downcast_ref())
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConnectError {}
