//! Tokens.

use aumbry_auth::Caller;
use aumbry_auth::token::{self, Create, CreateError, RenewError};
use aumbry_barrier::Txn;
use aumbry_types::ObjectId;

use crate::operation::TokenName;
use crate::{Class, Failure, Reply, genesis};

pub(super) fn create(txn: &mut Txn<'_>, caller: &Caller, privileged: bool, wanted: &Create) -> Result<Reply, Failure> {
    let wanted = Create {
        policies: wanted.policies.clone(),
        display_name: wanted.display_name.clone(),
        metadata: wanted.metadata.clone(),
        ..*wanted
    };
    let created = token::create(txn, caller, privileged, wanted);
    created.map(Reply::NewToken).map_err(|error| match error {
        CreateError::PolicyNotHeld => Failure::new(Class::PermissionDenied, "POLICY_NOT_HELD", error.to_string()),
        CreateError::Invalid(text) => Failure::invalid(text),
        CreateError::Damaged(damaged) => damaged.into(),
    })
}

pub(super) fn lookup(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Reply, Failure> {
    let id = find(txn, caller, name)?.ok_or_else(not_found)?;
    token::info(txn, id).map(Reply::Token).map_err(renew_failure)
}

pub(super) fn renew(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName, increment_s: u64) -> Result<Reply, Failure> {
    let id = find(txn, caller, name)?.ok_or_else(not_found)?;
    token::renew(txn, id, increment_s)
        .map(Reply::Token)
        .map_err(renew_failure)
}

/// Revoking what is not there fails: a name that was mistyped would leave the token that was meant. A retry has its stored reply.
pub(super) fn revoke(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Reply, Failure> {
    let id = find(txn, caller, name)?.ok_or_else(not_found)?;
    if token::revoke(txn, id)? {
        Ok(Reply::Done)
    } else {
        Err(not_found())
    }
}

fn find(txn: &mut Txn<'_>, caller: &Caller, name: &TokenName) -> Result<Option<ObjectId>, Failure> {
    Ok(match name {
        TokenName::Own => Some(caller.id),
        TokenName::Text(text) => {
            let custom = genesis::allows_custom_tokens(txn);
            token::find_by_text(txn, text.expose(), custom)?
        }
        TokenName::Accessor(accessor) => token::find_by_accessor(txn, accessor)?,
    })
}

fn renew_failure(error: RenewError) -> Failure {
    match error {
        RenewError::NotFound => not_found(),
        RenewError::NotRenewable => Failure::new(Class::FailedPrecondition, "NOT_RENEWABLE", error.to_string()),
        RenewError::Damaged(damaged) => damaged.into(),
    }
}

fn not_found() -> Failure {
    Failure::new(Class::NotFound, "NOT_FOUND", "no such token")
}
