//! What can be asked of a rekey by path.

use aumbry_auth::Error;
use aumbry_logical::{Body, Verb};
use aumbry_types::SecretBytes;

use super::super::given::{read_key, read_nonce};

/// A request about new shares.
pub enum Request {
    /// Tells how far it is.
    Status,
    /// Begins.
    Start(Start),
    /// Ends it; the old shares stay. With a nonce, only the session that has it.
    Cancel(String),
    /// Shows an old share.
    Update(Shown),
    /// Tells how far the new shares are tried.
    VerifyStatus,
    /// Tries a new share.
    Verify(Shown),
    /// Forgets the new shares that were tried.
    VerifyReset(String),
}

/// What to begin with.
pub struct Start {
    /// How many shares there will be.
    pub(super) shares: u8,
    /// How many will open the seal.
    pub(super) threshold: u8,
    /// Whether the new shares must be tried before they count.
    pub(super) verifies: bool,
    /// Whether there will be a new root key as well.
    pub(super) rotates_root: bool,
    /// Whom they are encrypted to, as they were written.
    pub(super) recipients: Vec<String>,
}

/// A share with the session that it is for.
pub struct Shown {
    pub(super) nonce: String,
    pub(super) share: SecretBytes,
}

impl Request {
    /// Reads a request; the path is canonical, below `sys/`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: &Body) -> Result<Self, Error> {
        let path = path
            .strip_prefix("rekey/")
            .or_else(|| path.strip_prefix("rotate/root/"));
        Ok(match (path, verb) {
            (Some("init"), Verb::Read) => Self::Status,
            (Some("init"), Verb::Write) => Self::Start(Start::parse(body)?),
            (Some("init"), Verb::Delete) => Self::Cancel(read_nonce(body)?),
            (Some("update"), Verb::Write) => Self::Update(Shown::parse(body)?),
            (Some("verify"), Verb::Read) => Self::VerifyStatus,
            (Some("verify"), Verb::Write) => Self::Verify(Shown::parse(body)?),
            (Some("verify"), Verb::Delete) => Self::VerifyReset(read_nonce(body)?),
            _ => return Err(Error::Unsupported),
        })
    }

    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Status | Self::VerifyStatus => "rekey.read",
            Self::Start(_) => "rekey.start",
            Self::Cancel(_) => "rekey.cancel",
            Self::Update(_) => "rekey.share",
            Self::Verify(_) => "rekey.verify",
            Self::VerifyReset(_) => "rekey.verify-reset",
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Status | Self::VerifyStatus)
    }
}

impl Start {
    fn parse(body: &Body) -> Result<Self, Error> {
        let is_set = |field| Ok::<_, Error>(body.flag(field)?.unwrap_or(false));
        if is_set("backup")? || body.texts("pgp_keys")?.is_some_and(|keys| !keys.is_empty()) {
            return Err(Error::Invalid(
                "shares are not encrypted to PGP keys, and kept nowhere; leave pgp_keys and backup out, or name age_recipients",
            ));
        }
        let number = |field| {
            let count = body.count(field)?.and_then(|count| u8::try_from(count).ok());
            Ok::<_, Error>(count.unwrap_or(0))
        };
        let (shares, threshold) = (number("secret_shares")?, number("secret_threshold")?);
        if !aumbry_crypto::seal::is_threshold(threshold, shares) {
            return Err(Error::Invalid(
                "secret_shares and secret_threshold: choose 1 of 1 share, or a threshold from 2 to the number of shares, which is at most 255",
            ));
        }
        Ok(Self {
            shares,
            threshold,
            rotates_root: is_set("rotate_root")?,
            verifies: body.flag("require_verification")?.unwrap_or(true),
            recipients: body.texts("age_recipients")?.unwrap_or_default(),
        })
    }
}

impl Shown {
    fn parse(body: &Body) -> Result<Self, Error> {
        let share = read_key(body)?.ok_or(Error::Invalid(
            "the body has `key`, a share, and `nonce`, that of the session",
        ))?;
        Ok(Self {
            nonce: read_nonce(body)?,
            share,
        })
    }
}
