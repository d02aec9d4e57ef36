//! A certificate as whoever connects shows it: what an authority signed lets in, and nothing that was changed since.

use aumbry_auth::cert::Request;
use aumbry_auth::cert::{self, LoginRequest};
use aumbry_logical::{Body, Verb};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{HERE, MOUNT, object};
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "client_certificate",
    seeds: || vec![HOLDER.to_vec()],
    run,
    words: &[
        b"\x30\x82",
        b"\x30\x80",
        b"\x06\x03\x55\x04\x03",
        b"\x55\x1d\x11",
        b"\x17\x0d",
        b"\x18\x0f",
        b"\xa3\x82",
        b"\x02\x01",
    ],
    input_bytes_max: 2_048,
    smoke: 2_000,
    ..Target::USUAL
};

thread_local! {
    static BED: Bed = bed();
}

fn bed() -> Bed {
    let mut bed = Bed::new(6);
    write(
        &mut bed,
        "certs/staff",
        &json!({ "certificate": pem("CERTIFICATE", AUTHORITY) }),
    );
    bed
}

/// Asks of the method, and wants it done.
pub(super) fn write(bed: &mut Bed, path: &str, value: &Value) {
    let request = Request::parse(Verb::Write, path, object(value)).expect("is a request");
    bed.run(|txn| cert::plan(txn, MOUNT, &request).map(drop))
        .expect("is done");
}

/// DER as PEM.
pub(super) fn pem(kind: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// Who gets in with a certificate: its name.
pub(super) fn login(bed: &Bed, shown: &[u8]) -> Option<String> {
    let chain = [shown.to_vec()];
    let request = LoginRequest::parse(&Body::default(), &chain).expect("is one");
    let challenge = bed.plan(|txn| cert::prepare(txn, MOUNT, &request)).0.expect("opens");
    let verified = bounded(shown, MEMORY, || challenge.verify(&chain));
    let login = bed.plan(|txn| {
        let login = cert::login(txn, MOUNT, &verified, HERE);
        assert!(login.is_ok() || txn.is_read_only(), "what is refused writes nothing");
        login
    });
    login.0.ok().map(|login| login.alias)
}

fn run(input: &[u8]) -> Verdict {
    let name = BED.with(|bed| login(bed, input));
    if let Some(name) = &name {
        assert_eq!(input, HOLDER, "a certificate is good as it was signed");
        assert_eq!(name, "app");
    }
    Verdict::of(name.is_some())
}

/// Of 2023, for ten years; it signed the other one and the lists.
pub(super) const AUTHORITY: &[u8] = include_bytes!("../../fixtures/authority.der");
/// That of `app`, with the number 77.
pub(super) const HOLDER: &[u8] = include_bytes!("../../fixtures/holder.der");
/// Each value as text, and names once more.
const MEMORY: Memory = Memory {
    per_byte: 128,
    at_least: 128 << 10,
};
