use serde_json::json;

use super::*;
use crate::record::tests::sample;
use crate::{Decision, Field, Place, Record, shown};

fn line(record: &Record, outcome: u8) -> Value {
    let event = record.to_json().to_string();
    let place = Place {
        seq: 7,
        index: 9,
        term: 2,
        log_time: 1_795_160_000_350,
        outcome,
    };
    let mut line = shown(&event, &place);
    line["tree"] = json!({ "k": 0, "log_time": 1_795_160_000_350_u64, "commitment": "aa", "leaf": "bb" });
    line["written_by"] = json!({ "cluster": "c", "node": 1, "name": "n1", "region": "eu" });
    line
}

fn login() -> Record {
    Record {
        operation: "userpass.login".into(),
        path: "auth/userpass/login/eve".into(),
        principal: None,
        decision: Decision::Unauthenticated,
        reason: "LOGIN_REFUSED".into(),
        deciding_policies: Vec::new(),
        rule: String::new(),
        client: "[2001:db8::7]:51000".into(),
        fields: vec![
            ("username".into(), Field::Clear("eve".into())),
            ("password".into(), Field::Hmac([0xcd; 16])),
            ("namespace".into(), Field::Clear("team/".into())),
        ],
        response: None,
        ..sample()
    }
}

const FORMATS: [Format; 4] = [Format::Json, Format::Ocsf, Format::Cef, Format::Vault];

/// What rules of others were written for stays as it is: keys are only added.
#[test]
fn frozen_lines() {
    let mut made = String::new();
    for format in [Format::Ocsf, Format::Cef, Format::Vault] {
        for record in [sample(), login()] {
            made += &format.render(&line(&record, 0)).unwrap().replace(VERSION, "VERSION");
            made.push('\n');
        }
    }
    assert_eq!(made, include_str!("frozen.txt"), "{made}");
}

/// What consensus does by itself has a place and an operation, and nothing else.
#[test]
fn each_form_has_what_consensus_does() {
    let place = Place {
        seq: 1,
        index: 2,
        term: 3,
        log_time: 4,
        outcome: 5,
    };
    let line = shown(r#"{"operation":"raft.leader"}"#, &place);
    assert_eq!(Gravity::of(&line), Gravity::Done);
    for format in FORMATS {
        let text = format.render(&line).unwrap();
        assert!(text.contains("raft.leader"), "{text}");
    }
}

/// Whatever a name holds, it is one value of one field of one line.
///
/// Abuse cases: 88.
#[test]
fn no_name_makes_lines_or_fields_of_its_own() {
    for hostile in [
        "a\nCEF:0|Aumbry|Aumbry|1|forged|x|1|act=forged",
        "a\r\nb",
        "x outcome=success suser=root",
        "x|9|act=forged",
        "ends in \\",
        "\\n \\= \\|",
        "\",\"decision\":\"allowed",
        "\u{1b}[2J\u{202e}\u{2028}\u{85}\0",
        "hmac-sha256:00",
        "hmac:00",
    ] {
        let record = Record {
            operation: hostile.into(),
            path: hostile.into(),
            decision: Decision::Denied,
            reason: hostile.into(),
            rule: hostile.into(),
            deciding_policies: vec![hostile.into()],
            client: hostile.into(),
            region: hostile.into(),
            fields: vec![
                ("namespace".into(), Field::Clear(hostile.into())),
                ("k".into(), Field::Clear(hostile.into())),
            ],
            principal: sample().principal.map(|principal| crate::Principal {
                accessor: hostile.into(),
                display_name: hostile.into(),
                ..principal
            }),
            ..sample()
        };
        let line = line(&record, 0);
        for format in FORMATS {
            let text = format.render(&line).unwrap();
            assert!(!text.contains(text::is_dangerous), "{format:?}: {text:?}");
        }
        let vault: Value = serde_json::from_str(&Format::Vault.render(&line).unwrap()).unwrap();
        assert_eq!(vault["request"]["path"], hostile);
        let data = vault["request"]["data"]["k"].as_str().unwrap();
        assert!(!data.starts_with("hmac") && data.ends_with(hostile), "{data}");
        let ocsf: Value = serde_json::from_str(&Format::Ocsf.render(&line).unwrap()).unwrap();
        assert_eq!(
            (&ocsf["resources"][0]["name"], &ocsf["status_id"]),
            (&json!(hostile), &json!(2))
        );

        let cef = Format::Cef.render(&line).unwrap();
        let (head, pairs) = read_cef(&cef);
        assert_eq!((head.len(), head[6].as_str()), (7, "7"), "{cef}");
        assert_eq!(pairs.iter().filter(|(key, _)| key == "outcome").count(), 1, "{cef}");
        let has_controls = hostile.chars().any(|c| text::is_dangerous(c) && c != '\n' && c != '\r');
        if !has_controls {
            let of = |name: &str| {
                pairs
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.as_str())
            };
            for key in ["request", "act", "suser", "reason", "cs3"] {
                assert_eq!(of(key), Some(hostile), "{cef}");
            }
        }
    }
}

/// A reader of the format: the seven fields of the head, and the pairs, whose values last until the next key.
fn read_cef(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut head = vec![String::new()];
    let mut characters = line.chars();
    while head.len() < 8 {
        let last = head.last_mut().unwrap();
        match characters.next().unwrap() {
            '\\' => last.push(characters.next().unwrap()),
            '|' => head.push(String::new()),
            other => last.push(other),
        }
    }
    assert_eq!(head.pop().as_deref(), Some(""));
    // An equals sign that is not escaped ends a key, which begins behind the last blank.
    let (mut parts, mut part) = (Vec::new(), String::new());
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next().unwrap() {
                'n' => part.push('\n'),
                'r' => part.push('\r'),
                other => part.push(other),
            },
            '=' => parts.push(core::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    let mut key = parts[0].clone();
    let mut pairs = Vec::new();
    for (at, part) in parts[1..].iter().enumerate() {
        let is_last = at + 2 == parts.len();
        let (value, next) = match part.rsplit_once(' ') {
            Some((value, next)) if !is_last => (value, next),
            _ => (part.as_str(), ""),
        };
        pairs.push((core::mem::replace(&mut key, next.to_owned()), value.to_owned()));
    }
    (head, pairs)
}
