//! Batch tokens: nothing of them is stored. The text holds all there is, sealed by a key of the term in which it was made, and is good until it expires, until
//! its parent or its login's mount goes, until its entity is disabled, or until the term is retired.

use aumbry_barrier::Txn;
use aumbry_crypto::token;
use aumbry_state::key;
use aumbry_types::{ObjectId, SecretBytes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::authenticate::{Caller, Refusal, check_ancestors};
use super::create::{CreateError, NewToken};
use super::record::{Info, Record, TokenType};
use super::renew::Holder;
use crate::cidr;

/// Whether a text has the form of a batch token.
#[must_use]
pub fn is_batch(text: &[u8]) -> bool {
    text.len() <= TEXT_BYTES_MAX && text.starts_with(PREFIX)
}

/// Makes a token of a record, and stores nothing.
pub(super) fn make(txn: &Txn<'_>, record: &Record) -> Result<NewToken, CreateError> {
    let plain = record.encode();
    if plain.expose().len() > PLAIN_BYTES_MAX {
        return Err(CreateError::Invalid(
            "a batch token carries its policies and metadata in itself, and these are over 2 KiB; use a service token",
        ));
    }
    let sealed = txn.barrier().seal_token(plain.expose(), txn.entropy());
    let mut text = PREFIX.to_vec();
    text.extend_from_slice(URL_SAFE_NO_PAD.encode(&sealed).as_bytes());
    Ok(NewToken {
        token: SecretBytes::new(text),
        info: info(record, txn.now().0),
    })
}

/// What is told of a batch token, whether or not it is good for anything.
#[must_use]
pub fn batch_info(txn: &Txn<'_>, text: &[u8]) -> Option<Info> {
    let record = open_here(txn, text)?;
    let now_ms = txn.now().0;
    (now_ms < expires_at(&record)).then(|| info(&record, now_ms))
}

/// What decides what a batch token may do.
#[must_use]
pub fn batch_holder(txn: &Txn<'_>, text: &[u8]) -> Option<Holder> {
    open_here(txn, text).map(|record| Holder {
        namespace: record.namespace,
        policies: record.policies,
        who: record.entity.map(|entity| (entity, record.alias)),
    })
}

/// As [`super::authenticate`]. The time of expiry is that of the plan: no row bears it.
pub(super) fn authenticate(txn: &mut Txn<'_>, text: &[u8], client_address: &str) -> Result<Caller, Refusal> {
    let record = open(txn, text).ok_or(Refusal::Invalid)?;
    let now_ms = txn.now().0;
    if now_ms >= expires_at(&record) || !cidr::is_allowed(&record.bound_cidrs, client_address) {
        return Err(Refusal::Invalid);
    }
    // The container of a login's tokens knows nothing of those that are not stored. A mount that goes bumps the namespace's generation.
    if let (Some(_), Some(alias)) = (record.home, &record.alias)
        && txn.peek_row(&key::object(alias.mount))?.is_none()
    {
        return Err(Refusal::Invalid);
    }
    check_ancestors(txn, &record)?;
    let id = ObjectId::from_bytes(token::digest(txn.barrier().keyring().tokens(), text));
    let told = info(&record, now_ms);
    Ok(Caller {
        id,
        // It has none that could be looked up; in the audit log one token is one.
        accessor: id,
        display_name: record.display_name,
        policies: record.policies,
        metadata: record.metadata,
        entity: record.entity,
        alias: record.alias,
        token_type: TokenType::Batch,
        batch: Some(Box::new(told)),
        namespace: record.namespace,
        bound_cidrs: record.bound_cidrs,
        depth: record.depth,
        is_counted: false,
    })
}

fn open(txn: &Txn<'_>, text: &[u8]) -> Option<Record> {
    let sealed = text.strip_prefix(PREFIX).filter(|_| is_batch(text))?;
    let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
    let plain = txn.barrier().open_token(&sealed)?;
    Record::decode(plain.expose()).filter(|record| record.token_type == TokenType::Batch)
}

/// One of the namespace that a plan is in.
fn open_here(txn: &Txn<'_>, text: &[u8]) -> Option<Record> {
    open(txn, text).filter(|record| record.namespace == txn.namespace())
}

const fn expires_at(record: &Record) -> u64 {
    record.issued.saturating_add(record.ttl_s.saturating_mul(1_000))
}

fn info(record: &Record, now_ms: u64) -> Info {
    let object = aumbry_barrier::Object {
        plain: SecretBytes::default(),
        created: aumbry_types::LogTime(record.issued),
        expires_at: expires_at(record),
        counters: [0, 0],
        container: record.container(),
    };
    Info {
        accessor: String::new(),
        ..record.info(&object, now_ms)
    }
}

/// The form of `aum.`, with a letter of its own, and no checksum: it is sealed.
const PREFIX: &[u8] = b"aum.b.";
/// A token goes with every request, in a header.
const PLAIN_BYTES_MAX: usize = 2_048;
/// The longest text of any token: one of this kind, with what sealing adds, in base 64.
pub const TEXT_BYTES_MAX: usize = 3_072;
