//! Exactly once: the reply to an idempotency key is stored with the change, sealed, and given again to a retry.

use aumbry_auth::Caller;
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_state::{Counters, key};
use aumbry_types::ObjectId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::fingerprint;
use crate::{Failure, Reply, Request};

#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: [u8; 16],
    reply: Reply,
}

/// The stored reply, if the same caller made the same request under this key before.
pub(crate) fn find(txn: &mut Txn<'_>, request: &Request, caller: &Caller) -> Result<Option<Reply>, Failure> {
    let Some(row) = row_key(txn, request, caller) else { return Ok(None) };
    let Some(object) = txn.read_sealed(&row, Kind::StoredReply)? else { return Ok(None) };
    if object.expires_at <= txn.now().0 {
        return Ok(None);
    }
    let stored: Stored = record::decode(VERSION, object.plain.expose())
        .map_err(|_| Failure::internal("a stored reply cannot be read by this build"))?;
    if stored.fingerprint != fingerprint(txn.barrier().keyring().fields(), &request.operation) {
        return Err(Failure::invalid("the idempotency key was used for another request; use a new one"));
    }
    Ok(Some(stored.reply))
}

/// Stores the reply.
pub(crate) fn keep(txn: &mut Txn<'_>, request: &Request, caller: &Caller, reply: &Reply) {
    let Some(row) = row_key(txn, request, caller) else { return };
    let fingerprint = fingerprint(txn.barrier().keyring().fields(), &request.operation);
    // The reply is encoded behind the fingerprint; it is not cloned for that, as it may hold a token.
    let mut plain = record::encode(VERSION, &fingerprint).expose().to_vec();
    plain.extend_from_slice(&record::encode(VERSION, reply).expose()[1..]);
    let plain = aumbry_types::SecretBytes::new(plain);
    let options = ObjectOptions {
        expires_at: txn.now().plus_ms(KEPT_MS).0,
        counters: Counters::Set([0, 0]),
        container: ObjectId::well_known(0),
    };
    txn.put_row(row, Kind::StoredReply, plain.expose(), options);
}

fn row_key(txn: &Txn<'_>, request: &Request, caller: &Caller) -> Option<Bytes> {
    if request.idempotency_key.is_empty() || !request.operation.is_write() {
        return None;
    }
    let digest = txn.barrier().hash_idempotency_key(caller.id.as_bytes(), &request.idempotency_key);
    Some(key::dedup(digest))
}

const VERSION: u8 = 1;
/// Ten minutes of log time: longer than any client retries.
const KEPT_MS: u64 = 600_000;
