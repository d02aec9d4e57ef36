//! Response wrapping: a reply is stored, sealed, and its client gets a token that opens it once.
//!
//! The token is good for nothing else: [`super::authenticate`] refuses it. The reply stands beside the token's row, under a key of its own,
//! and goes with it: when it is opened, when its time is over, and when it is revoked by its accessor. Whichever of two requests to open it
//! comes second in the log is refused, on every node.

use aumbry_barrier::{DamagedRow, InsertError, Txn};
use aumbry_crypto::token;
use aumbry_logical::Object;
use aumbry_state::{Precondition, key};
use aumbry_types::{ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::authenticate::object_id;
use super::create;
use super::lifetime::TTL_S_MAX;
use super::record::{Record, TokenType};
use super::revoke::revoke;
use crate::answer::{object, timestamp};

/// A reply that is wrapped: what its client is told instead.
#[derive(Serialize, Deserialize)]
pub struct Wrapped {
    /// The token that opens it.
    #[serde(with = "exposed")]
    pub token: SecretBytes,
    /// The token's accessor.
    pub accessor: String,
    /// For how many seconds it can be opened.
    pub ttl_s: u64,
    /// When it was wrapped, in log time (ms).
    pub created: u64,
    /// The path of the request whose reply it is.
    pub path: String,
    /// The accessor of the token in the reply, if there is one; empty otherwise.
    pub wrapped_accessor: String,
}

/// What is told of a wrapped reply without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedInfo {
    /// The path of the request whose reply it is.
    pub path: String,
    /// When it was wrapped, in log time (ms).
    pub created: u64,
    /// For how many seconds it can be opened, from then on.
    pub ttl_s: u64,
}

/// Why a reply was not wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// The time is none, or longer than any token lives.
    #[error("a reply is wrapped for 1 second to 32 days")]
    Ttl,
    /// The reply is larger than what is stored of one.
    #[error("the reply is too large to be wrapped")]
    TooLarge,
    /// A stored row is damaged, or a container full.
    #[error(transparent)]
    Insert(#[from] InsertError),
}

/// Why a wrapped reply was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The text is no token that opens a reply.
    #[error("wrapping token is not valid or does not exist")]
    NotOne,
    /// It has the form of one, and there is nothing that it opens: it was opened already, which somebody else may have done, or its time is
    /// over, or it was revoked. Worth an alarm.
    #[error("wrapping token is not valid or does not exist")]
    Gone,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Wraps a reply, in whatever encoding, for so many seconds. `path` is that of the request.
///
/// # Errors
/// [`WrapError`]
pub fn wrap(
    txn: &mut Txn<'_>,
    reply: &[u8],
    path: &str,
    ttl_s: u64,
    wrapped_accessor: &str,
) -> Result<Wrapped, WrapError> {
    if !(1..=TTL_S_MAX).contains(&ttl_s) {
        return Err(WrapError::Ttl);
    }
    if reply.len() > REPLY_BYTES_MAX {
        return Err(WrapError::TooLarge);
    }
    let now_ms = txn.now().0;
    let record = Record {
        accessor: ObjectId::make(txn.entropy()),
        policies: vec![POLICY.to_owned()],
        issued: now_ms,
        ttl_s,
        explicit_max_ttl_s: ttl_s,
        path: path.to_owned(),
        token_type: TokenType::Wrapping,
        namespace: txn.namespace(),
        ..Record::default()
    };
    let text = token::make(
        token::TokenKind::Wrapping,
        txn.barrier().keyring().term(),
        txn.entropy(),
    );
    let id = ObjectId::from_bytes(token::digest(txn.barrier().keyring().tokens(), text.expose()));
    let new = create::enter(txn, text, &record, "")?;
    txn.put_version(id, REPLY, reply);
    Ok(Wrapped {
        token: new.token,
        accessor: new.info.accessor,
        ttl_s,
        created: now_ms,
        path: path.to_owned(),
        wrapped_accessor: wrapped_accessor.to_owned(),
    })
}

/// Opens a wrapped reply, once and for all.
///
/// # Errors
/// [`UnwrapError`]
pub fn unwrap(txn: &mut Txn<'_>, text: &[u8]) -> Result<SecretBytes, UnwrapError> {
    open(txn, text).map(|(reply, _)| reply)
}

/// Wraps a reply anew: the token that was shown opens nothing any more, and the new one has the same time.
///
/// # Errors
/// [`UnwrapError`]
pub fn rewrap(txn: &mut Txn<'_>, text: &[u8]) -> Result<Wrapped, UnwrapError> {
    let (reply, info) = open(txn, text)?;
    wrap(txn, reply.expose(), &info.path, info.ttl_s, "").map_err(|error| match error {
        // Time and size are those of a reply that was wrapped, and tokens have no limit.
        WrapError::Ttl | WrapError::TooLarge | WrapError::Insert(_) => UnwrapError::Damaged(DamagedRow),
    })
}

/// Tells of a wrapped reply without opening it.
///
/// # Errors
/// [`UnwrapError`]
pub fn lookup_wrapped(txn: &mut Txn<'_>, text: &[u8]) -> Result<WrappedInfo, UnwrapError> {
    find(txn, text).map(|(_, info)| info)
}

/// Whether a text has the form of a token that opens a reply.
#[must_use]
pub fn is_wrapping(text: &[u8]) -> bool {
    matches!(token::parse(text), Ok((token::TokenKind::Wrapping, _)))
}

impl Wrapped {
    /// The `wrap_info` of an answer.
    #[must_use]
    pub fn render(&self) -> Object {
        let mut info = object([
            ("token", self.token.expose_str().unwrap_or_default().into()),
            ("accessor", self.accessor.as_str().into()),
            ("ttl", self.ttl_s.into()),
            ("creation_time", timestamp(self.created).into()),
            ("creation_path", self.path.as_str().into()),
        ]);
        if !self.wrapped_accessor.is_empty() {
            info.insert("wrapped_accessor".to_owned(), self.wrapped_accessor.as_str().into());
        }
        info
    }
}

impl WrappedInfo {
    /// The `data` of an answer.
    #[must_use]
    pub fn render(&self) -> Object {
        object([
            ("creation_path", self.path.as_str().into()),
            ("creation_time", timestamp(self.created).into()),
            ("creation_ttl", self.ttl_s.into()),
        ])
    }
}

fn open(txn: &mut Txn<'_>, text: &[u8]) -> Result<(SecretBytes, WrappedInfo), UnwrapError> {
    let (id, info) = find(txn, text)?;
    let reply = txn.read_version(id, REPLY)?.ok_or(UnwrapError::Gone)?;
    revoke(txn, id)?;
    Ok((reply, info))
}

fn find(txn: &mut Txn<'_>, text: &[u8]) -> Result<(ObjectId, WrappedInfo), UnwrapError> {
    if !is_wrapping(text) {
        return Err(UnwrapError::NotOne);
    }
    let id = object_id(txn, text, false).ok_or(UnwrapError::NotOne)?;
    let (record, object) = Record::read(txn, id)?.ok_or(UnwrapError::Gone)?;
    // It is opened where it was wrapped: names in the reply are of there.
    if record.namespace != txn.namespace() {
        return Err(UnwrapError::NotOne);
    }
    let is_expired = object.expires_at <= txn.now().0;
    if record.token_type != TokenType::Wrapping || is_expired {
        return Err(UnwrapError::Gone);
    }
    // That it is still there comes first: one that somebody else opened meanwhile has not expired.
    let row_key = key::object(id);
    if let Some(row) = txn.peek_row(&row_key)? {
        txn.fence(Precondition::RowIs(row_key.clone(), row.writer));
    }
    txn.fence(Precondition::NotExpired(row_key));
    let info = WrappedInfo {
        path: record.path,
        created: record.issued,
        ttl_s: record.ttl_s,
    };
    Ok((id, info))
}

/// Where the reply stands, among the versions of the token's object.
pub(super) const REPLY: u64 = 1;
/// What the token says that it may do. No policy has this name.
const POLICY: &str = "response-wrapping";
/// A secret of 1 MiB, with what JSON makes of it.
const REPLY_BYTES_MAX: usize = 3 << 20;
