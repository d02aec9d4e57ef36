//! A list of revoked certificates, as an operator writes it: what is refused leaves nothing, and with lists demanded none that was changed lets anybody in.

use aumbry_auth::Error;
use aumbry_auth::cert::{self, Request};
use aumbry_logical::Verb;
use serde_json::{Value, json};

use super::client_certificate::{AUTHORITY, HOLDER, login, pem, write};
use super::{MOUNT, object, sendable};
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "crl",
    seeds: || vec![OTHER_REVOKED.to_vec(), HOLDER_REVOKED.to_vec()],
    run,
    words: &[
        b"\x30\x82",
        b"\x30\x80",
        b"\x17\x0d",
        b"\x18\x0f",
        b"\x02\x01\x4d",
        b"\xa0",
        b"\x55\x1d\x14",
        b"\x55\x1d\x1c",
    ],
    input_bytes_max: 2_048,
    smoke: 1_000,
    ..Target::USUAL
};

fn run(input: &[u8]) -> Verdict {
    let mut bed = Bed::new(7);
    write(&mut bed, "config", &json!({ "require_crl": true }));
    write(
        &mut bed,
        "certs/staff",
        &json!({ "certificate": pem("CERTIFICATE", AUTHORITY) }),
    );
    let text = pem("X509 CRL", input);
    let Some(body) = sendable(&json!({ "crl": text })) else {
        return Verdict::Refused;
    };
    let request = bounded(input, MEMORY, || Request::parse(Verb::Write, "crls/one", body));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            assert!(matches!(error, Error::Invalid(_)), "it is told what a list is: {error}");
            assert_eq!(read(&mut bed), None, "what is refused leaves nothing");
            return Verdict::Refused;
        }
    };
    bed.run(|txn| cert::plan(txn, MOUNT, &request).map(drop))
        .expect("is done");
    assert_eq!(
        read(&mut bed),
        Some(json!({ "crl": text })),
        "it is told as it was written"
    );
    let is_in = login(&bed, HOLDER).is_some();
    assert_eq!(
        is_in,
        input == OTHER_REVOKED,
        "a list that nobody signed says nothing of anybody"
    );
    Verdict::Accepted
}

fn read(bed: &mut Bed) -> Option<Value> {
    let request = Request::parse(Verb::Read, "crls/one", object(&json!({}))).expect("is one");
    let answer = bed.run(|txn| cert::plan(txn, MOUNT, &request));
    answer.ok().and_then(|answer| answer.data).map(Value::Object)
}

/// The authority's, which names the certificate with the number 5.
const OTHER_REVOKED: &[u8] = include_bytes!("../../fixtures/good.crl");
/// The authority's, which names the holder's.
const HOLDER_REVOKED: &[u8] = include_bytes!("../../fixtures/revoked.crl");
/// As text, in lines, in JSON, and decoded.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
