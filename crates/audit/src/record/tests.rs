use proptest::prelude::*;

use super::*;
use crate::{hex, text};

pub(crate) fn sample() -> Record {
    Record {
        request_id: RequestId::from_bytes([0xab; 16]),
        attempt: 1,
        operation: "kv.put".into(),
        path: "kv/app/db".into(),
        principal: Some(Principal {
            accessor: "acc1".into(),
            display_name: "ci".into(),
            policies: vec!["app".into(), "default".into()],
            entity: Some(ObjectId::well_known(9)),
        }),
        decision: Decision::Allowed,
        reason: String::new(),
        deciding_policies: vec!["app".into()],
        rule: "kv/app/*".into(),
        client: "10.0.0.7:51000".into(),
        tls_identity: String::new(),
        node: 2,
        leader: 1,
        region: "eu".into(),
        fields: vec![
            ("password".into(), Field::Hmac([0xcd; 16])),
            ("cas".into(), Field::Clear("3".into())),
        ],
        response: Some([0xef; 16]),
        count: 1,
    }
}

#[test]
fn frozen_record() {
    let frozen = "01abababababababababababababababab01066b762e707574096b762f6170702f646201046163633102636902036170700764656661756c74010000000000000000000000000000000900000103617070086b762f6170702f2a0e31302e302e302e373a353130303000020102657502036361730001330870617373776f726401cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd01efefefefefefefefefefefefefefefef01";
    assert_eq!(hex::encode(&sample().encode()), frozen);
}

#[test]
fn frozen_event() {
    let frozen = r#"{"request_id":"abababababababababababababababab","attempt":1,"operation":"kv.put","path":"kv/app/db","principal":{"accessor":"acc1","display_name":"ci","policies":["app","default"],"entity":"00000000000000000000000000000009"},"decision":"allowed","reason":"","deciding_policies":["app"],"rule":"kv/app/*","client":"10.0.0.7:51000","tls_identity":"","node":2,"leader":1,"region":"eu","fields":{"cas":"3","password":"hmac:cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"},"response":"hmac:efefefefefefefefefefefefefefefef","count":1}"#;
    assert_eq!(text::json(&crate::event::Event(&sample())).unwrap(), frozen);
    assert_eq!(
        sample().to_json(),
        serde_json::from_str::<serde_json::Value>(frozen).unwrap()
    );
}

#[test]
fn a_typical_read_is_small() {
    let read = Record {
        fields: Vec::new(),
        ..sample()
    };
    assert!(read.encode().len() <= 130, "{} bytes", read.encode().len());
}

#[test]
fn what_is_too_long_is_cut_visibly() {
    let record = Record {
        path: "é".repeat(5_000),
        deciding_policies: vec!["p".repeat(300); NAMES_MAX + 10],
        fields: (0..FIELDS_MAX + 10)
            .map(|i| (format!("{i:03}{}", "n".repeat(100)), Field::Clear("v".repeat(9_000))))
            .collect(),
        ..sample()
    };
    let bytes = record.encode();
    assert!(bytes.len() < 80 << 10);
    let cut = Record::decode(&bytes).unwrap();
    assert!(cut.path.len() <= PATH_BYTES_MAX && cut.path.ends_with("é…"));
    assert_eq!(cut.deciding_policies.len(), NAMES_MAX);
    assert_eq!(cut.deciding_policies.last().map(String::as_str), Some("… 11 more"));
    assert_eq!(cut.fields.len(), FIELDS_MAX);
    assert!(cut.fields.contains(&("…".into(), Field::Clear("… 11 more".into()))));
}

#[test]
fn a_second_encoding_of_a_record_is_refused() {
    let swapped = {
        // The same record with its two fields in the other order, which the encoder never writes.
        let bytes = sample().encode();
        let (cas, password) = (
            b"\x03cas\x00\x013".as_slice(),
            [b"\x08password\x01".as_slice(), &[0xcd; 16]].concat(),
        );
        let (sorted, other) = ([cas, &password].concat(), [password.as_slice(), cas].concat());
        let at = bytes.windows(sorted.len()).position(|part| part == sorted).unwrap();
        [&bytes[..at], &other, &bytes[at + sorted.len()..]].concat()
    };
    let oversized = Record {
        region: "r".repeat(WORD_BYTES_MAX),
        ..sample()
    }
    .encode();
    let at = oversized.windows(2).position(|part| part == b"\x40r").unwrap();
    let oversized = [&oversized[..at], b"\x41r", &oversized[at + 1..]].concat();
    let longer = [sample().encode(), vec![0]].concat();
    let version = [&[2], &sample().encode()[1..]].concat();
    for bytes in [swapped, oversized, longer, version, Vec::new()] {
        assert_eq!(Record::decode(&bytes), None);
    }
}

/// Abuse cases: 88.
#[test]
fn an_event_cannot_be_forged_by_a_value() {
    let forged = format!("hmac:{}", "cd".repeat(16));
    let record = Record {
        path: "kv/\u{1b}[2J\n\u{202e}\",\"decision\":\"denied".into(),
        fields: vec![
            ("a".into(), Field::Clear(forged.clone())),
            ("b".into(), Field::Clear("clear:x".into())),
            ("c".into(), Field::Hmac([0xcd; 16])),
            ("d".into(), Field::Clear("2".into())),
            ("d".into(), Field::Clear("1".into())),
        ],
        ..sample()
    };
    let event = record.to_json();
    assert_eq!(event["decision"], "allowed");
    assert_eq!(event["fields"]["a"], format!("clear:{forged}"));
    assert_eq!(event["fields"]["b"], "clear:clear:x");
    assert_eq!(event["fields"]["c"], forged);
    assert_eq!(event["fields"]["d"], serde_json::json!(["1", "2"]));
    assert!(!text::json(&event).unwrap().contains(text::is_dangerous));
}

#[test]
fn debug_shows_no_name() {
    let shown = format!(
        "{:?} {:?} {:?}",
        sample(),
        sample().principal,
        Field::Clear("kv/app".into())
    );
    for hidden in ["kv/app", "acc1", "default", "password", "10.0.0.7"] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

fn fields() -> impl Strategy<Value = Vec<(String, Field)>> {
    let field = prop_oneof![
        ".{0,600}".prop_map(Field::Clear),
        any::<[u8; 16]>().prop_map(Field::Hmac)
    ];
    prop::collection::vec((".{0,70}", field), 0..70)
}

fn principal() -> impl Strategy<Value = Option<Principal>> {
    let parts = (
        ".{0,260}",
        ".{0,9}",
        prop::collection::vec(".{0,9}", 0..70),
        any::<Option<[u8; 16]>>(),
    );
    prop::option::of(parts.prop_map(|(accessor, display_name, policies, entity)| Principal {
        accessor,
        display_name,
        policies,
        entity: entity.map(ObjectId::from_bytes),
    }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn encode_and_decode_agree(
        id: [u8; 16], attempt: u32, path in ".{0,500}", principal in principal(), decision in 0_u8..4,
        fields in fields(), response: Option<[u8; 16]>, count: u64,
    ) {
        let record = Record {
            request_id: RequestId::from_bytes(id),
            attempt,
            path,
            principal,
            decision: Decision::from_u8(decision).unwrap(),
            fields,
            response,
            count,
            ..sample()
        };
        let bytes = record.encode();
        let decoded = Record::decode(&bytes).expect("an encoding decodes");
        prop_assert_eq!(decoded.encode(), bytes);
        let event = decoded.to_json();
        prop_assert_eq!(event["path"].as_str(), Some(decoded.path.as_str()));
    }

    #[test]
    fn decoding_never_panics(bytes: Vec<u8>, at: prop::sample::Index, byte: u8) {
        prop_assert!(Record::decode(&bytes).is_none_or(|record| record.encode() == bytes));
        let mut near = sample().encode();
        let at = at.index(near.len());
        near[at] = byte;
        prop_assert!(Record::decode(&near).is_none_or(|record| record.encode() == near));
    }
}
