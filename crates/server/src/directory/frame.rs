//! What a directory sends, before the client's parser sees it: whole messages, bounded in length and depth.
//!
//! That parser calls itself for each level of a message, and keeps what it reads until a message is whole: a server, or before TLS anybody on the
//! way, could end the process with one of many levels, or fill the memory with one of great length.

/// A message cannot be read, or is over a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is none.
    Malformed,
    /// It is too long.
    TooLong,
}

/// The length of the first message, once all of it is there.
pub(super) fn message(bytes: &[u8]) -> Result<Option<usize>, Unfit> {
    let Some(outer) = Header::parse(bytes)? else {
        return Ok(None);
    };
    if outer.tag != SEQUENCE {
        return Err(Unfit::Malformed);
    }
    let end = outer.end();
    if end > MESSAGE_BYTES_MAX {
        return Err(Unfit::TooLong);
    }
    let Some(bytes) = bytes.get(..end) else {
        return Ok(None);
    };
    check_levels(bytes, outer.length_at)?;
    check_shape(&bytes[outer.length_at..])?;
    Ok(Some(end))
}

/// The code of a whole answer to StartTLS.
pub(super) fn starttls_code(message: &[u8]) -> Option<u8> {
    let content = message.get(Header::parse(message).ok()??.length_at..)?;
    let id = Header::parse(content).ok()??;
    let operation = content.get(id.end()..)?;
    let header = Header::parse(operation).ok()??;
    let [ENUMERATED, 1, code, ..] = *operation.get(header.length_at..)? else {
        return None;
    };
    (header.tag == EXTENDED_RESPONSE).then_some(code)
}

/// The head of an element.
struct Header {
    tag: u8,
    /// Where the content begins.
    length_at: usize,
    length: usize,
}

impl Header {
    /// `None` until it is whole. LDAP has one form of length: definite, and here of at most 4 bytes.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, Unfit> {
        let [tag, first, rest @ ..] = bytes else {
            return Ok(None);
        };
        if tag & NUMBER == NUMBER {
            return Err(Unfit::Malformed);
        }
        let count = match first {
            0..=0x7f => {
                return Ok(Some(Self {
                    tag: *tag,
                    length_at: 2,
                    length: usize::from(*first),
                }));
            }
            0x81..=0x84 => usize::from(first & 0x7f),
            _ => return Err(Unfit::Malformed),
        };
        let Some(digits) = rest.get(..count) else {
            return Ok(None);
        };
        let length = digits
            .iter()
            .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
        Ok(Some(Self {
            tag: *tag,
            length_at: 2 + count,
            length,
        }))
    }

    const fn end(&self) -> usize {
        self.length_at.saturating_add(self.length)
    }
}

/// Each element lies within the one that holds it, and none lies deep.
fn check_levels(bytes: &[u8], content: usize) -> Result<(), Unfit> {
    let mut ends = vec![bytes.len()];
    let mut at = content;
    while let Some(end) = ends.last().copied() {
        if at == end {
            ends.pop();
            continue;
        }
        let header = Header::parse(&bytes[at..end])?.ok_or(Unfit::Malformed)?;
        let next = at.saturating_add(header.end());
        if next > end {
            return Err(Unfit::Malformed);
        }
        if header.tag & CONSTRUCTED == 0 {
            at = next;
            continue;
        }
        if ends.len() >= DEPTH_MAX {
            return Err(Unfit::Malformed);
        }
        ends.push(next);
        at += header.length_at;
    }
    Ok(())
}

/// A number, then an answer of a kind that we may get.
fn check_shape(content: &[u8]) -> Result<(), Unfit> {
    let whole = |bytes| Header::parse(bytes)?.ok_or(Unfit::Malformed);
    let id = whole(content)?;
    let operation = whole(&content[id.end()..])?;
    let is_id = id.tag == INTEGER && (1..=4).contains(&id.length);
    if is_id && OPERATIONS.contains(&operation.tag) {
        Ok(())
    } else {
        Err(Unfit::Malformed)
    }
}

const NUMBER: u8 = 0x1f;
const CONSTRUCTED: u8 = 0x20;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const EXTENDED_RESPONSE: u8 = 0x78;
/// Answers to a bind, entries, the end of a search, references, extended and intermediate answers.
const OPERATIONS: [u8; 6] = [0x61, 0x64, 0x65, 0x73, EXTENDED_RESPONSE, 0x79];
/// An entry is a message, an operation, attributes, an attribute, values; controls have some levels more.
const DEPTH_MAX: usize = 12;
/// An entry with thousands of values that are names of groups.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer to a bind: it succeeded.
    const BOUND: [u8; 14] = [0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];

    fn wrapped(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("is short").to_be_bytes();
        [&[tag, 0x84], &length[..], content].concat()
    }

    #[test]
    fn whole_messages_are_let_through() {
        assert_eq!(message(&BOUND), Ok(Some(14)));
        for cut in 0..BOUND.len() {
            assert_eq!(message(&BOUND[..cut]), Ok(None), "{cut}");
        }
        let two = [BOUND, BOUND].concat();
        assert_eq!(message(&two), Ok(Some(14)));
        let long = wrapped(SEQUENCE, &BOUND[2..]);
        assert_eq!(message(&long), Ok(Some(long.len())));
    }

    /// Abuse cases: 92, 103.
    #[test]
    fn what_is_deep_long_or_no_message_is_not_let_through() {
        let nested = |levels: usize| {
            let inner = (0..levels).fold(Vec::new(), |inner, _| wrapped(SEQUENCE, &inner));
            wrapped(SEQUENCE, &[&[2, 1, 1], &wrapped(0x64, &inner)[..]].concat())
        };
        assert!(message(&nested(DEPTH_MAX - 2)).is_ok_and(|length| length.is_some()));
        assert_eq!(message(&nested(DEPTH_MAX - 1)), Err(Unfit::Malformed));
        assert_eq!(message(&nested(10_000)), Err(Unfit::Malformed));
        assert_eq!(message(&[0x30, 0x83, 0x20, 0, 0]), Err(Unfit::TooLong));
        assert_eq!(message(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), Err(Unfit::TooLong));
        for bad in [
            // Not a sequence; a length of any form but one; a tag of many bytes.
            &b"HTTP/1.1 400 Bad Request"[..],
            &[0x16, 3, 1, 0, 5],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 1],
            &[0x30, 0xff],
            &[0x3f, 0x81, 1],
            // Nothing in it; one thing; an id of no bytes, or of many; another operation.
            &[0x30, 0],
            &[0x30, 3, 2, 1, 1],
            &[0x30, 4, 2, 0, 0x61, 0],
            &[0x30, 9, 2, 5, 1, 1, 1, 1, 1, 0x61, 0],
            &[0x30, 5, 2, 1, 1, 0x60, 0],
            &[0x30, 5, 4, 1, 1, 0x61, 0],
            // An element that is longer than what holds it.
            &[0x30, 5, 2, 1, 1, 0x61, 1],
            &[0x30, 7, 2, 1, 1, 0x61, 2, 4, 1],
            &[0x30, 4, 2, 1, 1, 0x61],
        ] {
            assert_eq!(message(bad), Err(Unfit::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_to_starttls_has_a_code() {
        let answer = |operation: u8, code: u8| [0x30, 12, 2, 1, 1, operation, 7, 10, 1, code, 4, 0, 4, 0];
        assert_eq!(starttls_code(&answer(0x78, 0)), Some(0));
        assert_eq!(starttls_code(&answer(0x78, 52)), Some(52));
        assert_eq!(starttls_code(&answer(0x61, 0)), None);
        assert_eq!(starttls_code(&[0x30, 5, 2, 1, 1, 0x78, 0]), None);
        assert_eq!(starttls_code(&[]), None);
    }
}
