//! What can be asked of an attempt by path.

use aumbry_auth::Error;
use aumbry_logical::{Body, Verb};
use aumbry_types::SecretBytes;

use super::super::given::{read_key, read_nonce};

/// A request about a root token, by who it is that asks.
pub enum Asking {
    /// Whoever holds a token with `sudo`.
    Token(Request),
    /// Whoever shows a share.
    Share(Custodian),
}

/// What takes a token.
pub enum Request {
    /// Tells how far it is.
    Status,
    /// Begins. The pad is made unless one is given.
    Start(Option<SecretBytes>),
    /// Ends it. With a nonce, only the attempt that has it.
    Cancel(String),
}

/// What takes a share.
pub struct Custodian {
    /// What is done.
    pub(super) step: Step,
    /// The share.
    pub(super) share: SecretBytes,
}

/// What is done with a share.
pub enum Step {
    /// Begins, and counts the share.
    Start(Option<SecretBytes>),
    /// Counts the share, in the attempt with this nonce.
    Update(String),
    /// Ends the attempt with this nonce; any if there is none.
    Cancel(String),
}

impl Asking {
    /// Reads a request; the path is canonical, below `sys/generate-root/`. A body with `key` is a custodian's.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: &Body) -> Result<Self, Error> {
        if body.text("pgp_key")?.is_some_and(|key| !key.is_empty()) {
            return Err(Error::Invalid(
                "the token is not encrypted to a PGP key; leave pgp_key out, and the answer has a one-time pad, `otp`",
            ));
        }
        let share = read_key(body)?;
        Ok(match (path, verb, share) {
            ("attempt", Verb::Read, None) => Self::Token(Request::Status),
            ("attempt", Verb::Write, None) => Self::Token(Request::Start(pad(body)?)),
            ("attempt", Verb::Delete, None) => Self::Token(Request::Cancel(read_nonce(body)?)),
            ("attempt", Verb::Write, Some(share)) => Self::of_share(Step::Start(pad(body)?), share),
            ("attempt", Verb::Delete, Some(share)) => Self::of_share(Step::Cancel(read_nonce(body)?), share),
            ("update", Verb::Write, Some(share)) => Self::of_share(Step::Update(read_nonce(body)?), share),
            ("update", Verb::Write, None) => {
                return Err(Error::Invalid(
                    "the body has `key`, a share, and `nonce`, that of the attempt",
                ));
            }
            _ => return Err(Error::Unsupported),
        })
    }

    const fn of_share(step: Step, share: SecretBytes) -> Self {
        Self::Share(Custodian { step, share })
    }
}

impl Request {
    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Status => "root.read",
            Self::Start(_) => "root.start",
            Self::Cancel(_) => "root.cancel",
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Status)
    }
}

impl Custodian {
    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self.step {
            Step::Start(_) => "root.start-with-share",
            Step::Update(_) => "root.share",
            Step::Cancel(_) => "root.cancel-with-share",
        }
    }

    /// The share, for its digest on record.
    pub(crate) const fn share(&self) -> &SecretBytes {
        &self.share
    }
}

fn pad(body: &Body) -> Result<Option<SecretBytes>, Error> {
    Ok(body.secret("otp")?.filter(|pad| !pad.is_empty()))
}
