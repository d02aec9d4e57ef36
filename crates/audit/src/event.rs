//! A record as JSON, for people and for systems that collect events. Derived from the canonical bytes, never a source.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::{Field, Record, hex};

impl Record {
    /// The record as JSON. A digest is `hmac:<hex>`; a clear value that itself begins with `hmac:` or `clear:` gets
    /// `clear:` before it, so that nobody can write a value which reads as a digest. A field that comes more than once
    /// is an array. Print it with [`text::json`](crate::text::json), which also escapes what JSON alone lets through.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(Event(self)).expect("an event has text keys and no failing part")
    }
}

/// A record that serialises as its event. The order of keys is that of [`Shape`] whatever features `serde_json` has,
/// because the lines of an export are compared byte by byte.
pub(crate) struct Event<'a>(pub(crate) &'a Record);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut sorted: Vec<_> = record.fields.iter().collect();
        sorted.sort_unstable();
        let mut fields: BTreeMap<&str, Values> = BTreeMap::new();
        for (name, field) in sorted {
            fields.entry(name).or_default().0.push(shown(field));
        }
        Shape {
            request_id: record.request_id.to_string(),
            attempt: record.attempt,
            operation: &record.operation,
            path: &record.path,
            principal: record.principal.as_ref().map(|principal| PrincipalShape {
                accessor: &principal.accessor,
                display_name: &principal.display_name,
                policies: &principal.policies,
                entity: principal.entity.map(|entity| entity.to_string()),
            }),
            decision: record.decision.name(),
            reason: &record.reason,
            deciding_policies: &record.deciding_policies,
            rule: &record.rule,
            client: &record.client,
            tls_identity: &record.tls_identity,
            node: record.node,
            leader: record.leader,
            region: &record.region,
            fields,
            response: record.response.as_ref().map(digest),
            count: record.count,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Shape<'a> {
    request_id: String,
    attempt: u32,
    operation: &'a str,
    path: &'a str,
    principal: Option<PrincipalShape<'a>>,
    decision: &'static str,
    reason: &'a str,
    deciding_policies: &'a [String],
    rule: &'a str,
    client: &'a str,
    tls_identity: &'a str,
    node: u64,
    leader: u64,
    region: &'a str,
    fields: BTreeMap<&'a str, Values>,
    response: Option<String>,
    count: u64,
}

#[derive(Serialize)]
struct PrincipalShape<'a> {
    accessor: &'a str,
    display_name: &'a str,
    policies: &'a [String],
    entity: Option<String>,
}

/// The values of one field: a text if there is one, else an array.
#[derive(Default)]
struct Values(Vec<String>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

fn shown(field: &Field) -> String {
    match field {
        Field::Clear(value) if value.starts_with("hmac:") || value.starts_with("clear:") => {
            format!("clear:{value}")
        }
        Field::Clear(value) => value.clone(),
        Field::Hmac(bytes) => digest(bytes),
    }
}

fn digest(bytes: &[u8; 16]) -> String {
    format!("hmac:{}", hex::encode(bytes))
}
