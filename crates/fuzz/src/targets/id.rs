//! Identifiers, bytes in hexadecimal digits, capabilities.

use aumbry_types::{Capability, ObjectId, hex};

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "id",
    seeds,
    run,
    input_bytes_max: 200,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Capability::ALL.iter().map(|one| one.as_str().into()).collect();
    all.push(ObjectId::from_bytes([0xa7; 16]).to_string().into_bytes());
    all.push(b"00ff".to_vec());
    all
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let bytes = bounded(input, USUAL, || hex::decode_all(text));
    let id = text.parse::<ObjectId>();
    let capability = text.parse::<Capability>();
    if let Some(bytes) = &bytes {
        assert_eq!(hex::encode(bytes), text, "bytes have one text");
        assert_eq!(hex::decode::<16>(text).is_some(), bytes.len() == 16);
        assert_eq!(id.is_ok(), bytes.len() == 16);
    }
    if let Ok(id) = id {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(capability) = capability {
        assert_eq!(capability.as_str(), text, "a capability has one name");
    }
    Verdict::of(bytes.is_some() || id.is_ok() || capability.is_ok())
}
