//! The data of a version: one JSON object, checked before it is stored and kept as it was sent.

use std::collections::BTreeSet;
use std::fmt;

use aumbry_types::SecretBytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why data was refused. Never repeats any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// Over [`DATA_BYTES_MAX`].
    #[error("the data is larger than 1 MiB")]
    TooLarge,
    /// Not a JSON object, too deep, or with a key twice.
    #[error("the data must be one JSON object with no key twice and at most 32 levels")]
    Form,
}

/// Checks data without taking it apart.
pub(super) fn check(data: &SecretBytes) -> Result<(), DataError> {
    if data.len() > DATA_BYTES_MAX {
        return Err(DataError::TooLarge);
    }
    if data.expose().iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(DataError::Form);
    }
    let mut parser = serde_json::Deserializer::from_slice(data.expose());
    Level(DEPTH_MAX)
        .deserialize(&mut parser)
        .and_then(|()| parser.end())
        .map_err(|_| DataError::Form)
}

/// Merges a patch into a document (RFC 7396): null removes a key, objects merge, anything else replaces.
pub(super) fn merge(document: &SecretBytes, patch: &SecretBytes) -> Result<SecretBytes, DataError> {
    check(patch)?;
    let mut target: Map<String, Value> = serde_json::from_slice(document.expose()).map_err(|_| DataError::Form)?;
    let patch: Map<String, Value> = serde_json::from_slice(patch.expose()).map_err(|_| DataError::Form)?;
    merge_object(&mut target, patch);
    let merged = SecretBytes::new(serde_json::to_vec(&target).map_err(|_| DataError::Form)?);
    check(&merged).map(|()| merged)
}

fn merge_object(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(inner) => {
                let slot = target.entry(key).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(object) = slot {
                    merge_object(object, inner);
                }
            }
            other => {
                target.insert(key, other);
            }
        }
    }
}

/// Walks a JSON value with so many levels left.
#[derive(Clone, Copy)]
struct Level(usize);

impl Level {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        self.0.checked_sub(1).map(Self).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while seq.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let below = self.below()?;
        let mut keys = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(below)?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(())
    }
}

/// The largest value that is stored.
const DATA_BYTES_MAX: usize = 1 << 20;
/// As deep as a path may be.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_data() {
        let form = |text: &str| check(&SecretBytes::from(text.to_owned()));
        for good in ["{}", " {\"a\":{\"b\":[1,true,null,\"x\",1.5]}} "] {
            assert_eq!(form(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "[]",
            "\"a\"",
            "{",
            "{}x",
            "{\"a\":1,\"a\":2}",
            "{\"a\":{\"b\":1,\"b\":2}}",
        ] {
            assert_eq!(form(bad), Err(DataError::Form), "{bad}");
        }
        let deep = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
        assert_eq!(form(&deep), Err(DataError::Form));
        assert_eq!(form(&"[".repeat(1 << 20)), Err(DataError::Form));
        assert_eq!(
            form(&format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20))),
            Err(DataError::TooLarge)
        );
    }

    #[test]
    fn merges_as_rfc_7396() {
        let check = |document: &str, patch: &str, expect: &str| {
            let merged = merge(
                &SecretBytes::from(document.to_owned()),
                &SecretBytes::from(patch.to_owned()),
            );
            assert_eq!(
                merged.map(|m| String::from_utf8_lossy(m.expose()).into_owned()),
                Ok(expect.to_owned())
            );
        };
        // From the table of test cases of RFC 7396, appendix A.
        check(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"a":null}"#, "{}");
        check(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(
            r#"{"a":{"b":"c"}}"#,
            r#"{"a":{"b":"d","c":null}}"#,
            r#"{"a":{"b":"d"}}"#,
        );
        check(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#);
        check("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#);
    }
}
