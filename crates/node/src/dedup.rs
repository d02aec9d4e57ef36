//! Exactly once: the reply to an idempotency key is stored with the change, sealed, and given again to a retry.

use aumbry_auth::token::{FirstInfo, NewToken};
use aumbry_barrier::record::UnreadableRecord;
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_engines::kv;
use aumbry_state::{Counters, key};
use aumbry_types::{ObjectId, SecretBytes, exposed};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::method::{Asked, Shown};
use crate::record::fingerprint;
use crate::{Failure, Joined, Operation, Reply, Request};

#[derive(Serialize, Deserialize)]
struct Stored {
    fingerprint: [u8; 16],
    reply: Reply,
}

/// The first layout: less was told of tokens.
#[derive(Deserialize)]
struct First {
    fingerprint: [u8; 16],
    reply: FirstReply,
}

/// Replies as they were then. Those that are never stored only keep the places of the others.
#[derive(Deserialize)]
enum FirstReply {
    Kv(kv::Reply),
    NewToken(FirstNewToken),
    Token(FirstInfo),
    Policy,
    Names,
    Mounts,
    JoinToken(#[serde(with = "exposed")] SecretBytes),
    Joined(Joined),
    Audit,
    Checkpoint,
    Done,
}

#[derive(Deserialize)]
struct FirstNewToken {
    #[serde(with = "exposed")]
    token: SecretBytes,
    info: FirstInfo,
}

impl FirstReply {
    fn into_reply(self) -> Option<Reply> {
        Some(match self {
            Self::Kv(reply) => Reply::Kv(reply),
            Self::NewToken(new) => Reply::NewToken(NewToken {
                token: new.token,
                info: new.info.into(),
            }),
            Self::Token(info) => Reply::Token(info.into()),
            Self::JoinToken(secret) => Reply::JoinToken(secret),
            Self::Joined(joined) => Reply::Joined(joined),
            Self::Done => Reply::Done,
            Self::Policy | Self::Names | Self::Mounts | Self::Audit | Self::Checkpoint => return None,
        })
    }
}

impl Stored {
    fn decode(plain: &[u8]) -> Result<Self, UnreadableRecord> {
        if plain.first() != Some(&VERSION_FIRST) {
            return record::decode(VERSION, plain);
        }
        let First { fingerprint, reply } = record::decode(VERSION_FIRST, plain)?;
        let reply = reply.into_reply().ok_or(UnreadableRecord)?;
        Ok(Self { fingerprint, reply })
    }
}

/// The stored reply, if the same request was made under this key before. Keys belong to the token of their caller; those of requests that take no token,
/// to the namespace: their fingerprint has what they show instead.
pub(crate) fn find(txn: &mut Txn<'_>, request: &Request, owner: ObjectId) -> Result<Option<Reply>, Failure> {
    let Some(row) = row_key(txn, request, owner) else {
        return Ok(None);
    };
    let Some(object) = txn.read_sealed(&row, Kind::StoredReply)? else {
        return Ok(None);
    };
    if object.expires_at <= txn.now().0 {
        return Ok(None);
    }
    let stored = Stored::decode(object.plain.expose())
        .map_err(|_| Failure::internal("a stored reply cannot be read by this build"))?;
    if stored.fingerprint != fingerprint(txn.barrier().keyring().fields(), request) {
        return Err(Failure::invalid(
            "the idempotency key was used for another request; use a new one",
        ));
    }
    Ok(Some(stored.reply))
}

/// Stores the reply.
pub(crate) fn keep(txn: &mut Txn<'_>, request: &Request, owner: ObjectId, reply: &Reply) {
    let Some(row) = row_key(txn, request, owner) else {
        return;
    };
    let fingerprint = fingerprint(txn.barrier().keyring().fields(), request);
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

fn row_key(txn: &Txn<'_>, request: &Request, owner: ObjectId) -> Option<Bytes> {
    if request.idempotency_key.is_empty() || !request.operation.is_write() || request.operation.tells_once() {
        return None;
    }
    let digest = txn
        .barrier()
        .hash_idempotency_key(owner.as_bytes(), &request.idempotency_key);
    Some(key::dedup(digest))
}

impl Operation {
    /// Whether its reply is stored nowhere, neither for a retry nor wrapped: it can hold all the key shares, or what hides a root token. A retry finds the
    /// share counted already.
    #[must_use]
    pub const fn tells_once(&self) -> bool {
        match self {
            Self::Method(ask) => matches!(ask.asked, Asked::Rekey(_) | Asked::GenerateRoot(_)),
            Self::Login(ask) => matches!(ask.shown, Shown::Custodian(_)),
            _ => false,
        }
    }
}

const VERSION_FIRST: u8 = 1;
const VERSION: u8 = 2;
/// Ten minutes of log time: longer than any client retries.
const KEPT_MS: u64 = 600_000;

#[cfg(test)]
mod tests {
    use aumbry_auth::token::Info;
    use aumbry_types::hex;

    use super::*;

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
            let stored = Stored::decode(bytes.expose()).expect("decodes");
            assert_eq!(stored.fingerprint, [9; 16]);
            assert_eq!(encode(stored.fingerprint, &stored.reply).expose(), bytes.expose());
        }
    }

    /// What the builds before this one stored.
    #[test]
    fn frozen_bytes_of_the_first_layout() {
        let check = |bytes: &str, is_expected: fn(&Reply) -> bool| {
            let bytes = hex::decode_all(bytes).expect("is hex");
            let stored = Stored::decode(&bytes).expect("decodes");
            assert_eq!(stored.fingerprint, [9; 16]);
            assert!(is_expected(&stored.reply));
        };
        let info = "0161010161000000070000000001000170";
        let stored = |reply: &str| format!("01{}{reply}", "09".repeat(16));
        check(&stored(&format!("02{info}")), |reply| match reply {
            Reply::Token(info) => info.accessor == "a" && info.expires_at == 7 && info.orphan && info.path == "p",
            _ => false,
        });
        let is_new = |reply: &Reply| matches!(reply, Reply::NewToken(new) if new.token.expose() == b"abc");
        check(&stored(&format!("0103616263{info}")), is_new);
        check(
            &stored("060178"),
            |reply| matches!(reply, Reply::JoinToken(secret) if secret.expose() == b"x"),
        );
        check(&stored("0a"), |reply| matches!(reply, Reply::Done));
    }
}
