//! From the text of a token to a caller.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn};
use aumbry_crypto::token;
use aumbry_state::{Precondition, Slot, Write, key};
use aumbry_types::ObjectId;

use super::batch;
use super::record::{Alias, Info, Record, TokenType};
use crate::NAMESPACE_ROOT;
use crate::cidr::{self, Cidr};

/// Who makes a request.
pub struct Caller {
    /// The token's object.
    pub id: ObjectId,
    /// The token's accessor.
    pub accessor: ObjectId,
    /// The token's name for people.
    pub display_name: String,
    /// The token's policies, sorted.
    pub policies: Vec<String>,
    /// The creator's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// Whose the token is.
    pub entity: Option<ObjectId>,
    /// The login that the token comes from, by itself or by an ancestor.
    pub alias: Option<Alias>,
    /// Of which kind the token is.
    pub token_type: TokenType,
    /// What is told of the token, if it is not stored.
    pub batch: Option<Box<Info>>,
    /// Where the token's policies are, and from where on it is accepted.
    pub namespace: ObjectId,
    pub(super) bound_cidrs: Vec<Cidr>,
    pub(super) depth: u8,
    /// Whether its number of uses is limited.
    pub(super) is_counted: bool,
}

impl Caller {
    /// Whether the caller may do everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.namespace == NAMESPACE_ROOT && self.policies.iter().any(|policy| policy == "root")
    }
}

/// Why there is no caller. A client is told only that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such token: malformed, unknown, expired, used up, below a revoked one, shown from elsewhere than it is bound to, or one that
    /// only opens a wrapped reply.
    #[error("missing or invalid token")]
    Invalid,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// Authenticates a token, and fences the plan with it: the plan is refused if the token changes or expires before it is applied.
/// A token with a limited number of uses loses one; after the last it waits for the sweep.
///
/// `custom` allows tokens that do not have Aumbry's form, as an operator may choose for the root token of a development cluster.
/// `client_address` is that of the connection, with its port or without; a token that is bound to addresses is refused elsewhere, and
/// loses no use by it.
///
/// # Errors
/// [`Refusal`]
pub fn authenticate(txn: &mut Txn<'_>, text: &[u8], custom: bool, client_address: &str) -> Result<Caller, Refusal> {
    if batch::is_batch(text) {
        return batch::authenticate(txn, text, client_address);
    }
    let id = object_id(txn, text, custom).ok_or(Refusal::Invalid)?;
    let row_key = key::object(id);
    let row = txn.peek_row(&row_key)?.ok_or(Refusal::Invalid)?;
    let (record, object) = Record::peek(txn, id)?.ok_or(Refusal::Invalid)?;
    if record.token_type != TokenType::Service {
        return Err(Refusal::Invalid);
    }
    if row.is_expired(txn.now().0) || !cidr::is_allowed(&record.bound_cidrs, client_address) {
        return Err(Refusal::Invalid);
    }
    let is_counted = record.num_uses > 0;
    if is_counted && object.counters[0] == 0 {
        // It may not be marked, if a use was applied of which the plan of the last one did not know.
        txn.fence(Precondition::RowIs(row_key, row.writer));
        mark_used_up(txn, id);
        return Err(Refusal::Invalid);
    }
    check_ancestors(txn, &record)?;
    txn.fence(Precondition::RowIs(row_key.clone(), row.writer));
    if row.expires_at != 0 {
        txn.fence(Precondition::NotExpired(row_key.clone()));
    }
    if is_counted {
        if object.counters[0] == 1 {
            mark_used_up(txn, id);
        }
        txn.fence_write(Write::CounterAdd {
            key: row_key,
            slot: Slot::First,
            delta: -1,
            floor: 0,
        });
    }
    Ok(Caller {
        id,
        accessor: record.accessor,
        display_name: record.display_name,
        policies: record.policies,
        metadata: record.metadata,
        entity: record.entity,
        alias: record.alias,
        token_type: record.token_type,
        batch: None,
        namespace: record.namespace,
        bound_cidrs: record.bound_cidrs,
        depth: record.depth,
        is_counted,
    })
}

/// Leaves a token that is used up to the sweep, which revokes it. Not here: the request that takes the last use may itself renew the
/// token.
fn mark_used_up(txn: &mut Txn<'_>, id: ObjectId) {
    txn.fence_row(key::work(id), Kind::Work, b"used up", ObjectOptions::default());
}

/// The object of a token with this text, if the text can be one.
pub(super) fn object_id(txn: &Txn<'_>, text: &[u8], custom: bool) -> Option<ObjectId> {
    let has_form = token::parse(text).is_ok();
    let can_be_custom = custom && (CUSTOM_BYTES_MIN..=CUSTOM_BYTES_MAX).contains(&text.len());
    if !has_form && !can_be_custom {
        return None;
    }
    Some(ObjectId::from_bytes(token::digest(
        txn.barrier().keyring().tokens(),
        text,
    )))
}

/// Every ancestor must stand. A parent is fenced by the generation of its container, which its revocation bumps.
pub(super) fn check_ancestors(txn: &mut Txn<'_>, token: &Record) -> Result<(), Refusal> {
    check_namespace(txn, token)?;
    check_home(txn, token)?;
    let mut next = token.parent;
    for _ in 0..=token.depth {
        let Some(id) = next else { return Ok(()) };
        let row_key = key::object(id);
        let row = txn.peek_row(&row_key)?.ok_or(Refusal::Invalid)?;
        let (parent, object) = Record::peek(txn, id)?.ok_or(Refusal::Invalid)?;
        if row.is_expired(txn.now().0) || (parent.num_uses > 0 && object.counters[0] == 0) {
            return Err(Refusal::Invalid);
        }
        check_home(txn, &parent)?;
        txn.fence(Precondition::RowIs(row_key.clone(), row.writer));
        if row.expires_at != 0 {
            txn.fence(Precondition::NotExpired(row_key));
        }
        next = parent.parent;
    }
    Err(Refusal::Invalid)
}

/// The namespace must stand: its tokens end with it. One that goes bumps the root's generation, which the pipeline fences.
fn check_namespace(txn: &Txn<'_>, token: &Record) -> Result<(), Refusal> {
    let stands = token.namespace == NAMESPACE_ROOT || txn.peek_row(&key::object(token.namespace))?.is_some();
    if stands { Ok(()) } else { Err(Refusal::Invalid) }
}

/// The mount of the login must stand.
fn check_home(txn: &mut Txn<'_>, token: &Record) -> Result<(), Refusal> {
    let Some(home) = token.home else { return Ok(()) };
    txn.fence_generation(home)?;
    if txn.container(home)?.revoked {
        return Err(Refusal::Invalid);
    }
    Ok(())
}

/// A shorter token could be guessed.
const CUSTOM_BYTES_MIN: usize = 4;
const CUSTOM_BYTES_MAX: usize = 256;
