//! Percent-encoding (RFC 3986, section 2.1), as it stands in addresses and forms.

/// What `+` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// Itself, as in paths.
    IsItself,
    /// A space, as in queries and forms.
    IsSpace,
}

/// Appends a value, with everything but what nobody takes for something else as `%XX`. Into a buffer of its caller's, who knows whether it is secret.
pub fn encode(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value & 0xf)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
        }
    }
}

/// The text, decoded once. `None` if it is malformed, or not UTF-8.
#[must_use]
pub fn decode(text: &str, plus: Plus) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus == Plus::IsSpace => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The pairs of a query or a form, in their order. `None` if one of them is malformed.
#[must_use]
pub fn decode_query(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, Plus::IsSpace)?, decode(value, Plus::IsSpace)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_to_itself() {
        for value in ["", "plain-._~", "a b&c=d+e%20/?#", "\u{e9}\u{1f512}", "\0\r\n"] {
            let mut encoded = Vec::new();
            encode(&mut encoded, value.as_bytes());
            let encoded = String::from_utf8(encoded).expect("is of ASCII");
            assert!(
                !encoded.contains(['&', '=', '+', '/', '?', '#', ' ', '\r']),
                "{encoded}"
            );
            for plus in [Plus::IsItself, Plus::IsSpace] {
                assert_eq!(decode(&encoded, plus).as_deref(), Some(value), "{encoded}");
            }
        }
    }

    #[test]
    fn decoded_once_or_not_at_all() {
        for (text, expected) in [
            ("a%2Fb", Some("a/b")),
            ("a%2fb", Some("a/b")),
            ("%2525", Some("%25")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
            ("%C3%A4", Some("\u{e4}")),
        ] {
            assert_eq!(decode(text, Plus::IsItself).as_deref(), expected, "{text}");
        }
        assert_eq!(decode("a+b", Plus::IsItself).as_deref(), Some("a+b"));
        assert_eq!(decode("a+b", Plus::IsSpace).as_deref(), Some("a b"));
    }

    #[test]
    fn a_query_is_pairs() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            decode_query("a=1&b&&c=x+%3D=y"),
            Some(vec![pair("a", "1"), pair("b", ""), pair("c", "x ==y")])
        );
        assert_eq!(decode_query(""), Some(Vec::new()));
        assert_eq!(decode_query("a=1&b=%"), None);
    }
}
