//! The keys of rows: one byte for the table, then ids. No key holds a name.
//!
//! Bytes from [`RESERVED`] up belong to the storage of a node (applied index, membership) and never to the replicated state.

use aumbry_types::ObjectId;
use bytes::Bytes;

/// The first table byte that is not replicated state.
pub const RESERVED: u8 = 0xf0;

const META: u8 = 0x00;
const CLUSTER: u8 = 0x01;
const DIRECTORY: u8 = 0x02;
const OBJECT: u8 = 0x03;
const VERSION: u8 = 0x04;
const CONTAINER: u8 = 0x05;
const DEDUP: u8 = 0x06;
const EXPIRY: u8 = 0x07;
const WORK: u8 = 0x08;

/// The first bytes of all tables that commands write, and of the containers that follow from them.
pub const TABLES: [u8; 7] = [CLUSTER, DIRECTORY, OBJECT, VERSION, CONTAINER, DEDUP, WORK];

/// Those of them whose rows a key may seal.
pub const SEALED_TABLES: [u8; 4] = [DIRECTORY, OBJECT, VERSION, DEDUP];

/// The state machine's own row: audit frontier, log time, digest. Not part of the digest.
#[must_use]
pub fn machine() -> Bytes {
    Bytes::from_static(&[META, 1])
}

/// The seal configuration: clear, holds wrapped keys and digests of shares.
#[must_use]
pub fn seal_config() -> Bytes {
    Bytes::from_static(&[CLUSTER, 1])
}

/// The keyring, wrapped by the root key.
#[must_use]
pub fn keyring() -> Bytes {
    Bytes::from_static(&[CLUSTER, 2])
}

/// The counter from which node ids come; slot 0 is the last id given.
#[must_use]
pub fn node_ids() -> Bytes {
    Bytes::from_static(&[CLUSTER, 3])
}

/// The cluster's public facts (cluster id, CA certificate, checkpoint key): clear.
#[must_use]
pub fn genesis() -> Bytes {
    Bytes::from_static(&[CLUSTER, 4])
}

/// The generation of everything that decides access in a namespace; slot 0.
#[must_use]
pub fn auth_generation(namespace: ObjectId) -> Bytes {
    with_id(&[CLUSTER, 5], namespace, &[])
}

/// A seal that a key opens: clear, holds the wrapped root key. `key_id` is a digest of the key.
///
/// It is an entry of a directory of its own, not a new kind of key: the members' apply takes such rows whatever their version.
#[must_use]
pub fn key_seal(key_id: [u8; 16]) -> Bytes {
    directory(KEY_SEALS, key_id)
}

/// The prefix of all seals that keys open.
#[must_use]
pub fn key_seals_prefix() -> Bytes {
    directory_prefix(KEY_SEALS)
}

/// What hands the key of a new root key over to nodes that are open, for a while. As with seals, an entry of a directory of its own.
#[must_use]
pub fn keyring_handover() -> Bytes {
    directory(KEYRING_HANDOVER, [0; 16])
}

/// The seal of the whole cluster: clear. As those seals, an entry of a directory of its own, which members of every version take.
#[must_use]
pub fn cluster_seal() -> Bytes {
    directory(CLUSTER_SEALS, [0; 16])
}

/// The order to erase what was replaced from the disks: clear. An entry of a directory of its own, as the seal of the whole cluster.
#[must_use]
pub fn erasure() -> Bytes {
    directory(ERASURES, [0; 16])
}

/// Where the audit records begin that are still kept: clear. As the seal of the cluster, an entry of a directory of its own.
#[must_use]
pub fn audit_floor() -> Bytes {
    directory(AUDIT_FLOOR, [0; 16])
}

/// The entry of a name in a directory. `name` is the keyed hash of container and name.
#[must_use]
pub fn directory(container: ObjectId, name: [u8; 16]) -> Bytes {
    with_id(&[DIRECTORY], container, &name)
}

/// The prefix of all entries of a directory.
#[must_use]
pub fn directory_prefix(container: ObjectId) -> Bytes {
    with_id(&[DIRECTORY], container, &[])
}

/// An object's own row.
#[must_use]
pub fn object(id: ObjectId) -> Bytes {
    with_id(&[OBJECT], id, &[])
}

/// One version of an object's data.
#[must_use]
pub fn version(id: ObjectId, version: u64) -> Bytes {
    with_id(&[VERSION], id, &version.to_be_bytes())
}

/// The prefix of all versions of an object.
#[must_use]
pub fn version_prefix(id: ObjectId) -> Bytes {
    with_id(&[VERSION], id, &[])
}

/// The state of a container, kept by apply.
#[must_use]
pub fn container(id: ObjectId) -> Bytes {
    with_id(&[CONTAINER], id, &[])
}

/// A stored reply. `digest` is the keyed hash of identity and idempotency key.
#[must_use]
pub fn dedup(digest: [u8; 16]) -> Bytes {
    with_id(&[DEDUP], ObjectId::from_bytes(digest), &[])
}

/// A container whose children wait to be swept.
#[must_use]
pub fn work(id: ObjectId) -> Bytes {
    with_id(&[WORK], id, &[])
}

/// The prefix of all waiting sweeps.
#[must_use]
pub fn work_prefix() -> Bytes {
    Bytes::from_static(&[WORK])
}

/// The entry of a row in the index by expiry, kept by apply.
#[must_use]
pub fn expiry(expires_at: u64, row: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(9 + row.len());
    key.push(EXPIRY);
    key.extend_from_slice(&expires_at.to_be_bytes());
    key.extend_from_slice(row);
    key.into()
}

/// The prefix of the index by expiry.
#[must_use]
pub fn expiry_prefix() -> Bytes {
    Bytes::from_static(&[EXPIRY])
}

/// Reads an entry of the index by expiry: when, and which row.
#[must_use]
pub fn parse_expiry(key: &Bytes) -> Option<(u64, Bytes)> {
    let rest = key.strip_prefix(&[EXPIRY])?;
    let when = rest.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*when), key.slice(9..)))
}

/// The id in the key of an object, container or sweep.
#[must_use]
pub fn parse_id(key: &[u8]) -> Option<ObjectId> {
    matches!(key.first()?, &OBJECT | &CONTAINER | &WORK).then_some(())?;
    Some(ObjectId::from_bytes(key.get(1..)?.try_into().ok()?))
}

/// The id in the key of a container.
#[must_use]
pub fn parse_container(key: &[u8]) -> Option<ObjectId> {
    (key.first() == Some(&CONTAINER)).then(|| parse_id(key)).flatten()
}

/// The container of a directory entry's key.
#[must_use]
pub fn parse_directory(key: &[u8]) -> Option<ObjectId> {
    let rest = key.strip_prefix(&[DIRECTORY])?;
    (rest.len() == 32)
        .then(|| rest.first_chunk::<16>().map(|id| ObjectId::from_bytes(*id)))
        .flatten()
}

/// Whether a command may name this key: a known table that apply does not keep for itself, at its exact length.
#[must_use]
pub fn is_writable(key: &[u8]) -> bool {
    match key.first() {
        Some(&CLUSTER) => matches!(key, [_, 1..=4]) || (key.len() == 18 && key[1] == 5),
        Some(&DIRECTORY) => key.len() == 33,
        Some(&(OBJECT | DEDUP | WORK)) => key.len() == 17,
        Some(&VERSION) => key.len() == 25,
        _ => false,
    }
}

/// Whether the digest covers this row: all but the machine's own row and the index by expiry, which follow from the others.
#[must_use]
pub fn is_digested(key: &[u8]) -> bool {
    key.first()
        .is_some_and(|table| (CLUSTER..EXPIRY).contains(table) || *table == WORK)
}

/// Whether rows of this key's table are found by scans all the time, and not by their keys alone.
#[must_use]
pub fn is_scanned(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(CLUSTER | DIRECTORY | EXPIRY | WORK)))
}

/// The directory of the seals that keys open. Well-known objects below it are those of `auth` and `node`.
pub const KEY_SEALS: ObjectId = ObjectId::well_known(8);
/// The directory of the key that is handed over when the root key is replaced.
const KEYRING_HANDOVER: ObjectId = ObjectId::well_known(51);
/// The directory of the row that seals the whole cluster.
pub const CLUSTER_SEALS: ObjectId = ObjectId::well_known(48);
/// The directory of the order to erase what was replaced.
pub const ERASURES: ObjectId = ObjectId::well_known(55);
/// The directory of the row that says from where on audit records are kept.
pub const AUDIT_FLOOR: ObjectId = ObjectId::well_known(52);
/// The longest key of a row that a command may name.
pub const ROW_KEY_BYTES_MAX: usize = 33;

fn with_id(table: &[u8], id: ObjectId, rest: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(table.len() + 16 + rest.len());
    key.extend_from_slice(table);
    key.extend_from_slice(id.as_bytes());
    key.extend_from_slice(rest);
    key.into()
}
