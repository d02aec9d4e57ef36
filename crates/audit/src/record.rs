//! The audit record: the intent of one request, as the leader understood it.
//!
//! What it guarantees: one record has one encoding, bounded in size whatever a client sent; a text or a list over its
//! bound is shortened visibly, because a request must be recorded rather than refused for being long. What it does not
//! do: say what became of the request in the store. That is the leaf's outcome, which only apply knows.

use core::fmt;
use std::borrow::Cow;

use aumbry_types::{ObjectId, RequestId};

use crate::codec::{Decoder, Encoder};

/// Who asked, as far as a token proved it.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    /// The accessor of the token, which names it without being it.
    pub accessor: String,
    /// The name that the auth method gave.
    pub display_name: String,
    /// The names of the token's policies.
    pub policies: Vec<String>,
    /// The entity behind the token, if it has one.
    pub entity: Option<ObjectId>,
}

/// What the request pipeline decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Decision {
    /// The request was allowed and planned.
    Allowed = 0,
    /// Policies, or the lack of them, refused it.
    Denied = 1,
    /// It proved no identity, or a bad one.
    Unauthenticated = 2,
    /// It was allowed, and failed before it could be planned.
    Failed = 3,
}

impl Decision {
    /// The decision of this code, if there is one.
    #[must_use]
    pub const fn from_u8(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Allowed,
            1 => Self::Denied,
            2 => Self::Unauthenticated,
            3 => Self::Failed,
            _ => return None,
        })
    }

    /// The stable word of this decision in exports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Failed => "failed",
        }
    }
}

/// One value of a request or reply.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// The value itself. Only for fields that an allow-list names.
    Clear(String),
    /// A digest of the value, made by [`redact`](crate::redact).
    Hmac([u8; 16]),
}

/// The intent of one request. In clear only inside an AEAD and in memory of an unsealed node.
///
/// No `Debug` of it, or of its parts, shows a name: names of secrets are secret at rest, and logs are at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The request, the same over forwarding and planning again.
    pub request_id: RequestId,
    /// Which attempt at planning this record belongs to; the first is 1.
    pub attempt: u32,
    /// The operation, like `kv.put`.
    pub operation: String,
    /// The path it was asked for, the mount included.
    pub path: String,
    /// Who asked, if a token proved it.
    pub principal: Option<Principal>,
    /// What the pipeline decided.
    pub decision: Decision,
    /// The stable word for why, empty if there is nothing to explain.
    pub reason: String,
    /// The names of the policies that decided.
    pub deciding_policies: Vec<String>,
    /// The rule in them that decided.
    pub rule: String,
    /// The client's network address as the receiving node saw it.
    pub client: String,
    /// The identity in the client's certificate, empty if there is none.
    pub tls_identity: String,
    /// The node that received the request.
    pub node: u64,
    /// The node that planned it.
    pub leader: u64,
    /// The region of the receiving node.
    pub region: String,
    /// Named values of the request and reply. Their order does not count; a name may come more than once.
    pub fields: Vec<(String, Field)>,
    /// The digest of the answer that was released, if it carried anything.
    pub response: Option<[u8; 16]>,
    /// How many requests the record stands for: 1, or the refusals that it sums up.
    pub count: u64,
}

impl Record {
    /// The one encoding of the record. A text over its bound is cut and ends in `…`; a list over its bound ends in an
    /// item that says how many are left out; fields are sorted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new(VERSION);
        out.fixed(self.request_id.as_bytes());
        out.number(u64::from(self.attempt));
        text(&mut out, &self.operation, WORD_BYTES_MAX);
        text(&mut out, &self.path, PATH_BYTES_MAX);
        match &self.principal {
            None => out.byte(0),
            Some(principal) => {
                out.byte(1);
                encode_principal(&mut out, principal);
            }
        }
        out.byte(self.decision as u8);
        text(&mut out, &self.reason, WORD_BYTES_MAX);
        names(&mut out, &self.deciding_policies);
        text(&mut out, &self.rule, PATH_BYTES_MAX);
        text(&mut out, &self.client, NAME_BYTES_MAX);
        text(&mut out, &self.tls_identity, NAME_BYTES_MAX);
        out.number(self.node);
        out.number(self.leader);
        text(&mut out, &self.region, WORD_BYTES_MAX);
        encode_fields(&mut out, &self.fields);
        optional(&mut out, self.response.as_ref().map(|digest| digest.as_slice()));
        out.number(self.count);
        out.finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, and nothing else: bytes that the record would not encode to again
    /// are refused, so that two different byte strings never show as the same event.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Decoder::new(bytes);
        input.version(VERSION)?;
        let record = Self {
            request_id: RequestId::from_bytes(input.fixed()?),
            attempt: input.number_u32()?,
            operation: input.text()?,
            path: input.text()?,
            principal: match input.byte()? {
                0 => None,
                1 => Some(decode_principal(&mut input)?),
                _ => return None,
            },
            decision: Decision::from_u8(input.byte()?)?,
            reason: input.text()?,
            deciding_policies: decode_names(&mut input)?,
            rule: input.text()?,
            client: input.text()?,
            tls_identity: input.text()?,
            node: input.number()?,
            leader: input.number()?,
            region: input.text()?,
            fields: decode_fields(&mut input)?,
            response: decode_optional(&mut input)?,
            count: input.number()?,
        };
        input.finish()?;
        (record.encode() == bytes).then_some(record)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("entity", &self.entity)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "Clear(..)",
            Self::Hmac(_) => "Hmac(..)",
        })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("request_id", &self.request_id)
            .field("attempt", &self.attempt)
            .field("decision", &self.decision)
            .finish_non_exhaustive()
    }
}

fn encode_principal(out: &mut Encoder, principal: &Principal) {
    text(out, &principal.accessor, NAME_BYTES_MAX);
    text(out, &principal.display_name, NAME_BYTES_MAX);
    names(out, &principal.policies);
    optional(out, principal.entity.as_ref().map(|id| id.as_bytes().as_slice()));
}

fn decode_principal(input: &mut Decoder<'_>) -> Option<Principal> {
    Some(Principal {
        accessor: input.text()?,
        display_name: input.text()?,
        policies: decode_names(input)?,
        entity: decode_optional(input)?.map(ObjectId::from_bytes),
    })
}

fn encode_fields(out: &mut Encoder, fields: &[(String, Field)]) {
    // Most records have none or one, and a record is made of every request.
    if let [] | [_] = fields {
        out.length(fields.len());
        for (name, field) in fields {
            encode_field(out, &shortened(name, WORD_BYTES_MAX), &shortened_field(field));
        }
        return;
    }
    let left_out;
    let kept = if fields.len() > FIELDS_MAX {
        FIELDS_MAX - 1
    } else {
        fields.len()
    };
    let mut sorted: Vec<(Cow<'_, str>, Cow<'_, Field>)> = fields[..kept]
        .iter()
        .map(|(name, field)| (shortened(name, WORD_BYTES_MAX), shortened_field(field)))
        .collect();
    if kept < fields.len() {
        left_out = Field::Clear(more(fields.len(), FIELDS_MAX));
        sorted.push((Cow::Borrowed(ELLIPSIS), Cow::Borrowed(&left_out)));
    }
    sorted.sort_unstable();
    out.length(sorted.len());
    for (name, field) in sorted {
        encode_field(out, &name, &field);
    }
}

fn encode_field(out: &mut Encoder, name: &str, field: &Field) {
    out.bytes(name.as_bytes());
    match field {
        Field::Clear(value) => {
            out.byte(0);
            out.bytes(value.as_bytes());
        }
        Field::Hmac(digest) => {
            out.byte(1);
            out.fixed(digest);
        }
    }
}

fn decode_fields(input: &mut Decoder<'_>) -> Option<Vec<(String, Field)>> {
    let count = input.count(FIELD_BYTES_MIN)?;
    let mut fields = Vec::with_capacity(count.min(FIELDS_MAX));
    for _ in 0..count {
        let name = input.text()?;
        let field = match input.byte()? {
            0 => Field::Clear(input.text()?),
            1 => Field::Hmac(input.fixed()?),
            _ => return None,
        };
        fields.push((name, field));
    }
    Some(fields)
}

fn names(out: &mut Encoder, names: &[String]) {
    let kept = if names.len() > NAMES_MAX {
        NAMES_MAX - 1
    } else {
        names.len()
    };
    out.length(names.len().min(NAMES_MAX));
    for name in &names[..kept] {
        text(out, name, NAME_BYTES_MAX);
    }
    if kept < names.len() {
        text(out, &more(names.len(), NAMES_MAX), NAME_BYTES_MAX);
    }
}

fn decode_names(input: &mut Decoder<'_>) -> Option<Vec<String>> {
    (0..input.count(1)?).map(|_| input.text()).collect()
}

fn optional(out: &mut Encoder, bytes: Option<&[u8]>) {
    match bytes {
        None => out.byte(0),
        Some(bytes) => {
            out.byte(1);
            out.fixed(bytes);
        }
    }
}

fn decode_optional(input: &mut Decoder<'_>) -> Option<Option<[u8; 16]>> {
    match input.byte()? {
        0 => Some(None),
        1 => input.fixed().map(Some),
        _ => None,
    }
}

fn text(out: &mut Encoder, text: &str, bytes_max: usize) {
    out.bytes(shortened(text, bytes_max).as_bytes());
}

fn shortened(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max - ELLIPSIS.len());
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..end]))
}

fn shortened_field(field: &Field) -> Cow<'_, Field> {
    match field {
        Field::Clear(value) if value.len() > VALUE_BYTES_MAX => {
            Cow::Owned(Field::Clear(shortened(value, VALUE_BYTES_MAX).into_owned()))
        }
        _ => Cow::Borrowed(field),
    }
}

/// The item that ends a list of `count` items of which one less than `items_max` are kept.
fn more(count: usize, items_max: usize) -> String {
    format!("{ELLIPSIS} {} more", (count + 1).saturating_sub(items_max))
}

const VERSION: u8 = 1;

/// Ends what was cut.
const ELLIPSIS: &str = "…";

/// Operations, reasons, regions and the names of fields: words of our own vocabulary.
const WORD_BYTES_MAX: usize = 64;

/// Policies, accessors, addresses and certificate subjects: chosen by people, twice the longest name that is valid.
const NAME_BYTES_MAX: usize = 256;

/// A path of the longest valid length with its mount before it.
const PATH_BYTES_MAX: usize = 1_280;

/// A value that an allow-list lets through: a version, a lifetime, a flag, a short list.
const VALUE_BYTES_MAX: usize = 512;

/// More policies than a token has in practice.
const NAMES_MAX: usize = 64;

/// More values than a request has. With the bounds above a record stays below 80 KiB, and one of a read near 100 B.
const FIELDS_MAX: usize = 64;

/// A field with an empty name and an empty clear value.
const FIELD_BYTES_MIN: usize = 3;

#[cfg(test)]
pub(crate) mod tests;
