//! Exactly once: the reply to an idempotency key is stored with the change, sealed, and given again to a retry.

use aumbry_auth::Caller;
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_state::{Counters, key};
use aumbry_types::{ObjectId, SecretBytes};
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
    let Some(row) = row_key(txn, request, caller) else {
        return Ok(None);
    };
    let Some(object) = txn.read_sealed(&row, Kind::StoredReply)? else {
        return Ok(None);
    };
    if object.expires_at <= txn.now().0 {
        return Ok(None);
    }
    let stored: Stored = record::decode(VERSION, object.plain.expose())
        .map_err(|_| Failure::internal("a stored reply cannot be read by this build"))?;
    if stored.fingerprint != fingerprint(txn.barrier().keyring().fields(), &request.operation) {
        return Err(Failure::invalid(
            "the idempotency key was used for another request; use a new one",
        ));
    }
    Ok(Some(stored.reply))
}

/// Stores the reply.
pub(crate) fn keep(txn: &mut Txn<'_>, request: &Request, caller: &Caller, reply: &Reply) {
    let Some(row) = row_key(txn, request, caller) else {
        return;
    };
    let fingerprint = fingerprint(txn.barrier().keyring().fields(), &request.operation);
    let plain = encode(fingerprint, reply);
    let options = ObjectOptions {
        expires_at: txn.now().plus_ms(KEPT_MS).0,
        counters: Counters::Set([0, 0]),
        container: ObjectId::well_known(0),
    };
    txn.put_row(row, Kind::StoredReply, plain.expose(), options);
}

/// A [`Stored`] in its encoding. The reply is borrowed, not cloned into one, as it may hold a token.
fn encode(fingerprint: [u8; 16], reply: &Reply) -> SecretBytes {
    record::encode(VERSION, &(fingerprint, reply))
}

fn row_key(txn: &Txn<'_>, request: &Request, caller: &Caller) -> Option<Bytes> {
    if request.idempotency_key.is_empty() || !request.operation.is_write() {
        return None;
    }
    let digest = txn
        .barrier()
        .hash_idempotency_key(caller.id.as_bytes(), &request.idempotency_key);
    Some(key::dedup(digest))
}

const VERSION: u8 = 1;
/// Ten minutes of log time: longer than any client retries.
const KEPT_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use aumbry_auth::token::{Info, NewToken};
    use aumbry_engines::kv;

    use super::*;
    use crate::Joined;

    #[test]
    fn what_is_stored_can_be_read() {
        let secret = || SecretBytes::from("sesame".to_owned());
        let info = Info {
            policies: vec!["a".to_owned()],
            expires_at: 7,
            ..Info::default()
        };
        let version = kv::VersionInfo {
            version: 3,
            ..kv::VersionInfo::default()
        };
        let joined = Joined {
            node_id: 2,
            cluster_id: "c".to_owned(),
            certificate: "x".to_owned(),
            authority: "y".to_owned(),
        };
        let custom = [("k".to_owned(), "v".to_owned())];
        let item = |data| kv::Item {
            data,
            info: version.clone(),
            custom: custom.clone().into(),
        };
        let replies = [
            Reply::Done,
            Reply::NewToken(NewToken {
                token: secret(),
                info: info.clone(),
            }),
            Reply::Token(info),
            Reply::JoinToken(secret()),
            Reply::Joined(joined),
            Reply::Kv(kv::Reply::Done),
            Reply::Kv(kv::Reply::Written {
                info: version.clone(),
                custom: custom.clone().into(),
            }),
            Reply::Kv(kv::Reply::Item(item(Some(secret())))),
            Reply::Kv(kv::Reply::Items(vec![None, Some(item(None))])),
        ];
        for reply in replies {
            let bytes = encode([9; 16], &reply);
            let stored: Stored = record::decode(VERSION, bytes.expose()).expect("decodes");
            assert_eq!(stored.fingerprint, [9; 16]);
            assert_eq!(encode(stored.fingerprint, &stored.reply).expose(), bytes.expose());
        }
    }
}
