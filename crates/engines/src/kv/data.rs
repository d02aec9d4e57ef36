//! The data of a version: one JSON object, checked before it is stored and kept as it was sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aumbry_types::SecretBytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::{Zeroize as _, Zeroizing};

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
///
/// Values are taken apart no further than the patch reaches: they stay as they were sent, to the last digit, and the only copy of
/// them is in the result.
pub(super) fn merge(document: &SecretBytes, patch: &SecretBytes) -> Result<SecretBytes, DataError> {
    check(patch)?;
    let document = document.expose_str().ok_or(DataError::Form)?;
    let patch = patch.expose_str().ok_or(DataError::Form)?;
    // The two together are the most that the result can be: a buffer that grows would leave copies behind, unwiped.
    let mut merged = Zeroizing::new(Vec::with_capacity(document.len() + patch.len()));
    merge_object(document, patch, &mut merged)?;
    let merged = SecretBytes::new(std::mem::take(&mut *merged));
    check(&merged).map(|()| merged)
}

/// Writes the merged object, sorted by key.
fn merge_object(target: &str, patch: &str, out: &mut Vec<u8>) -> Result<(), DataError> {
    // Each value, with the patch of an object.
    let mut members: BTreeMap<Key<'_>, (&str, Option<&str>)> = BTreeMap::new();
    for (key, value) in parse(target)? {
        members.insert(key, (value.get(), None));
    }
    for (key, value) in parse(patch)? {
        match value.get() {
            "null" => {
                members.remove(&key);
            }
            object if object.starts_with('{') => {
                let (before, patch) = members.entry(key).or_insert(("{}", None));
                if !before.starts_with('{') {
                    *before = "{}";
                }
                *patch = Some(object);
            }
            other => {
                members.insert(key, (other, None));
            }
        }
    }
    out.push(b'{');
    for (position, (key, (value, patch))) in members.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &key.0).map_err(|_| DataError::Form)?;
        out.push(b':');
        match patch {
            Some(patch) => merge_object(value, patch, out)?,
            None => out.extend_from_slice(value.as_bytes()),
        }
    }
    out.push(b'}');
    Ok(())
}

/// The keys of a document, so many levels deep, with null for each value; 0 is all levels.
pub(super) fn subkeys(document: &SecretBytes, depth: usize) -> Result<SecretBytes, DataError> {
    let text = document.expose_str().ok_or(DataError::Form)?;
    // Nulls can be longer than what they stand for, as 1 is; but not by more than this.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 3));
    let levels = if depth == 0 { DEPTH_MAX } else { depth };
    write_subkeys(text, levels, &mut out)?;
    Ok(SecretBytes::new(std::mem::take(&mut *out)))
}

fn write_subkeys(object: &str, levels: usize, out: &mut Vec<u8>) -> Result<(), DataError> {
    out.push(b'{');
    for (position, (key, value)) in parse(object)?.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &key.0).map_err(|_| DataError::Form)?;
        out.push(b':');
        let value = value.get();
        let is_filled = value.starts_with('{') && value.trim_start_matches('{').trim_start() != "}";
        if is_filled && levels > 1 {
            write_subkeys(value, levels - 1, out)?;
        } else {
            out.extend_from_slice(b"null");
        }
    }
    out.push(b'}');
    Ok(())
}

/// An object's members, borrowed.
fn parse(object: &str) -> Result<BTreeMap<Key<'_>, &RawValue>, DataError> {
    serde_json::from_str(object).map_err(|_| DataError::Form)
}

/// A key: borrowed, or its own copy if it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl Drop for Key<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.0 {
            text.zeroize();
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

    /// Abuse cases: 92.
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

    fn merged(document: &str, patch: &str) -> String {
        let (document, patch) = (
            SecretBytes::from(document.to_owned()),
            SecretBytes::from(patch.to_owned()),
        );
        let merged = merge(&document, &patch).expect("can be merged");
        assert!(merged.len() <= document.len() + patch.len(), "the buffer grew");
        merged.expose_str().expect("is text").to_owned()
    }

    #[test]
    fn merges_as_rfc_7396() {
        let check = |document, patch, expect| assert_eq!(merged(document, patch), expect);
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
        check(r#"{"a":"foo"}"#, r#"{"a":{"b":1,"c":null}}"#, r#"{"a":{"b":1}}"#);
        check(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1,null]}"#, r#"{"a":[1,null]}"#);
    }

    #[test]
    fn a_merge_keeps_values_as_they_were_sent() {
        let check = |document, patch, expect| assert_eq!(merged(document, patch), expect);
        check(
            r#"{"a":1.0,"b":123456789012345678901234567890,"c":{"d":1E+2, "e":0.10},"f":{ "g" : [1.50, -0] }}"#,
            r#" { "c" : { "x" : 0.1000000000000000055511151231257827 } , "h" : 9007199254740993.0 } "#,
            concat!(
                r#"{"a":1.0,"b":123456789012345678901234567890,"c":{"d":1E+2,"e":0.10,"x":0.1000000000000000055511151231257827},"#,
                r#""f":{ "g" : [1.50, -0] },"h":9007199254740993.0}"#
            ),
        );
        // A key is the same however it is escaped; a value keeps its escapes.
        check(
            r#"{"\u0061":1,"b":"\u0062\/"}"#,
            r#"{"a":2}"#,
            r#"{"a":2,"b":"\u0062\/"}"#,
        );
        check(
            r#"{"a\"\n\u0001":1,"b":2}"#,
            r#"{"\u0062":null}"#,
            r#"{"a\"\n\u0001":1}"#,
        );
    }
}
