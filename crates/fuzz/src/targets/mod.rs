//! The targets, one file for each thing that is decoded, and what they share.

use std::cell::RefCell;
use std::path::Path;

use aumbry_auth::jwt as method;
use aumbry_logical::{Body, Verb};
use aumbry_types::{ObjectId, SecretKey, StorageId};
use serde_json::Value;
use tempfile::TempDir;

use crate::Target;
use crate::store::Bed;

mod acknowledged;
mod apply;
mod audit_body;
mod audit_export;
mod audit_frontier;
mod audit_record;
mod audit_segments;
mod backup;
mod batch_token;
mod body;
mod browser_state;
mod call;
mod checkpoint;
mod cidr;
mod client_certificate;
mod command;
mod config;
mod container;
mod crl;
mod directory_answer;
mod duration;
mod entry;
mod envelope;
mod floor;
mod http_answer;
mod http_request;
mod id;
mod identity_template;
mod jwks;
mod jwt;
mod jwt_claims;
mod key_seal;
mod keyring;
mod kv_data;
mod log_entry;
mod logical;
mod machine_row;
mod messages;
mod method_config;
mod namespace_path;
mod path;
mod pattern;
mod peer_messages;
mod policy_decision;
mod policy_text;
mod process_times;
mod row;
mod seal_config;
mod share;
mod small_file;
mod snapshot;
mod static_key;
mod stored_record;
mod ticket;
mod timeout;
mod token;
mod token_review;
mod wal_damage;
mod wal_segment;

/// All of them.
pub static TARGETS: [&Target; 59] = [
    &acknowledged::TARGET,
    &apply::TARGET,
    &audit_body::TARGET,
    &audit_export::TARGET,
    &audit_frontier::TARGET,
    &audit_record::TARGET,
    &audit_segments::TARGET,
    &backup::TARGET,
    &batch_token::TARGET,
    &body::TARGET,
    &browser_state::TARGET,
    &call::TARGET,
    &checkpoint::TARGET,
    &cidr::TARGET,
    &client_certificate::TARGET,
    &command::TARGET,
    &config::TARGET,
    &container::TARGET,
    &crl::TARGET,
    &directory_answer::TARGET,
    &duration::TARGET,
    &entry::TARGET,
    &envelope::TARGET,
    &floor::TARGET,
    &http_answer::TARGET,
    &http_request::TARGET,
    &id::TARGET,
    &identity_template::TARGET,
    &jwks::TARGET,
    &jwt::TARGET,
    &jwt_claims::TARGET,
    &key_seal::TARGET,
    &keyring::TARGET,
    &kv_data::TARGET,
    &log_entry::TARGET,
    &logical::TARGET,
    &machine_row::TARGET,
    &messages::TARGET,
    &method_config::TARGET,
    &namespace_path::TARGET,
    &path::TARGET,
    &pattern::TARGET,
    &peer_messages::TARGET,
    &policy_decision::TARGET,
    &policy_text::TARGET,
    &process_times::TARGET,
    &row::TARGET,
    &seal_config::TARGET,
    &share::TARGET,
    &small_file::TARGET,
    &snapshot::TARGET,
    &static_key::TARGET,
    &stored_record::TARGET,
    &ticket::TARGET,
    &timeout::TARGET,
    &token::TARGET,
    &token_review::TARGET,
    &wal_damage::TARGET,
    &wal_segment::TARGET,
];

/// What is long, and what is deep: a million of each bracket, of the largest length, of a tag that begins a group or a message in it.
pub(crate) fn usual_bombs() -> Vec<Vec<u8>> {
    let repeated: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"a",
        b"/",
        b"[",
        b"{",
        b"(",
        b"\"",
        b"{\"a\":",
        b"[[a.",
        b"a={",
        b"\x0a\xff\xff\xff\x0f",
        b"\x0b",
        b"\x0a\x80",
    ];
    let closed = |open: &str, close: &str| [open.repeat(BOMB), close.repeat(BOMB)].concat().into_bytes();
    let mut bombs: Vec<Vec<u8>> = repeated.iter().map(|part| part.repeat(BOMB)).collect();
    bombs.extend([closed("[", "]"), closed("{\"a\":", "1}"), closed("{\"a\":[", "]}")]);
    bombs.push(nested(BOMB));
    bombs
}

/// Those of the usual ones that are something to a decoder of messages.
pub(crate) fn message_bombs() -> Vec<Vec<u8>> {
    vec![
        nested(BOMB),
        b"\x0b".repeat(BOMB),
        b"\x0a\x80".repeat(BOMB),
        b"\x0a\xff\xff\xff\x0f".to_vec(),
    ]
}

/// Messages inside each other, each the first field of the one around it, with right lengths.
fn nested(depth: usize) -> Vec<u8> {
    let mut reversed: Vec<u8> = Vec::new();
    for _ in 0..depth {
        let mut length = reversed.len();
        let mut varint = Vec::new();
        while length > 0x7f {
            varint.push(length as u8 | 0x80);
            length >>= 7;
        }
        varint.push(length as u8);
        reversed.extend(varint.iter().rev());
        reversed.push(0x0a);
    }
    reversed.reverse();
    reversed
}

/// The same bytes behind a byte that chooses what they are.
pub(crate) fn chosen(choice: u8, bytes: &[u8]) -> Vec<u8> {
    [&[choice], bytes].concat()
}

/// A text, or nothing for bytes that are none.
pub(crate) fn text(input: &[u8]) -> Option<&str> {
    core::str::from_utf8(input).ok()
}

/// Sets the CRC-32C in the last four bytes right.
pub(crate) fn mend_crc_at_end(input: &mut [u8]) {
    if let Some((content, checksum)) = input.split_last_chunk_mut::<4>() {
        *checksum = crc32c::crc32c(content).to_be_bytes();
    }
}

/// A key that protects nothing.
pub(crate) fn key(fill: u8) -> SecretKey {
    SecretKey::take(&mut [fill; 32])
}

/// The storage of all inputs.
pub(crate) const STORAGE: StorageId = StorageId::from_bytes([5; 16]);

/// Where requests of the methods' targets come from.
pub(crate) const HERE: &str = "10.0.0.1:1";
/// Their mount.
pub(crate) const MOUNT: ObjectId = ObjectId::from_bytes([0x78; 16]);

/// A body of a request by path.
pub(crate) fn object(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is an object")
}

/// A body, unless it is longer than any may be.
pub(crate) fn sendable(value: &Value) -> Option<Body> {
    Body::parse(value.to_string().as_bytes()).ok()
}

/// Asks of the jwt method at [`MOUNT`], and wants it done.
pub(crate) fn jwt_write(bed: &mut Bed, path: &str, value: &Value) {
    let request = method::parse(Verb::Write, path, object(value)).expect("is a request");
    bed.run(|txn| method::plan(txn, MOUNT, &request).map(drop))
        .expect("is done");
}

/// Calls with an empty directory of this thread, in memory where there is a place for that.
pub(crate) fn in_directory<T>(run: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static ROOT: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    ROOT.with_borrow_mut(|root| {
        let root = root.get_or_insert_with(|| {
            let shared = Path::new("/dev/shm");
            let made = if shared.is_dir() {
                tempfile::tempdir_in(shared)
            } else {
                tempfile::tempdir()
            };
            made.expect("a temporary directory can be made")
        });
        let place = root.path().join("place");
        // What is left of a run that ended in a panic.
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir(&place).expect("a directory can be made in it");
        run(&place)
    })
}

/// How often a part is repeated in a bomb.
const BOMB: usize = 1_000_000;
