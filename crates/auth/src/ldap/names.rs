//! Names in the languages of directories: what people typed is escaped, so that it is one value, and the first name of a place in the tree.

use std::fmt::Write as _;

/// A value within a search filter (RFC 4515). Whatever is not plain stands as its bytes in hexadecimal digits.
#[must_use]
pub fn escape_filter(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'*' | b'(' | b')' | b'\\' | 0..=0x1f | 0x7f.. => push_hex(&mut escaped, byte),
            byte => escaped.push(char::from(byte)),
        }
    }
    escaped
}

/// A value within a distinguished name (RFC 4514).
#[must_use]
pub fn escape_dn(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, c) in value.char_indices() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '#' if at == 0 => escaped.push_str("\\#"),
            // One that stands at an end is no part of the value otherwise.
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            '\0'..='\u{1f}' | '\u{7f}' => push_hex(&mut escaped, u8::try_from(c).unwrap_or_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The value of the first part of a distinguished name, if that is a common name. `None` for what is no such name.
#[must_use]
pub fn first_cn(dn: &str) -> Option<String> {
    let (kind, rest) = dn.split_once('=')?;
    if !kind.trim().eq_ignore_ascii_case("cn") {
        return None;
    }
    let mut value: Vec<u8> = Vec::new();
    // How much of it stands, whatever spaces follow.
    let mut kept = 0;
    let mut bytes = rest.trim_start_matches(' ').bytes();
    let mut ended_by = None;
    while let Some(byte) = bytes.next() {
        match byte {
            b',' | b';' | b'+' => {
                ended_by = Some(byte);
                break;
            }
            b'\\' => {
                let first = bytes.next()?;
                value.push(match hex_digit(first) {
                    Some(high) => high << 4 | hex_digit(bytes.next()?)?,
                    None => first,
                });
                kept = value.len();
            }
            // In older writing; nobody is asked to guess what it means.
            b'"' => return None,
            byte => {
                value.push(byte);
                if byte != b' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    // A name of two kinds at once is not known by one of them.
    if ended_by == Some(b'+') || value.is_empty() {
        return None;
    }
    String::from_utf8(value).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn push_hex(text: &mut String, byte: u8) {
    // Writing to a text does not fail.
    let _ = write!(text, "\\{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is typed is one value, in a filter as in a name.
    #[test]
    fn what_is_typed_is_one_value() {
        for (value, in_filter, in_dn) in [
            ("ann", "ann", "ann"),
            ("", "", ""),
            ("*", "\\2a", "*"),
            ("a*", "a\\2a", "a*"),
            ("ann)(uid=*", "ann\\29\\28uid=\\2a", "ann)(uid\\=*"),
            ("*)(|(uid=*", "\\2a\\29\\28|\\28uid=\\2a", "*)(|(uid\\=*"),
            ("ann\0", "ann\\00", "ann\\00"),
            ("a\\b", "a\\5cb", "a\\\\b"),
            ("\\2a", "\\5c2a", "\\\\2a"),
            ("ann,ou=admins", "ann,ou=admins", "ann\\,ou\\=admins"),
            ("a+cn=b", "a+cn=b", "a\\+cn\\=b"),
            ("\"ann\"", "\"ann\"", "\\\"ann\\\""),
            ("a;b<c>", "a;b<c>", "a\\;b\\<c\\>"),
            ("#ann", "#ann", "\\#ann"),
            ("a#", "a#", "a#"),
            (" ann ", " ann ", "\\ ann\\ "),
            (" ", " ", "\\ "),
            ("a b", "a b", "a b"),
            ("\u{e4}nn", "\\c3\\a4nn", "\u{e4}nn"),
            ("\u{202e}", "\\e2\\80\\ae", "\u{202e}"),
            ("a\r\nb", "a\\0d\\0ab", "a\\0d\\0ab"),
            ("\u{7f}", "\\7f", "\\7f"),
        ] {
            assert_eq!(escape_filter(value), in_filter, "{value:?}");
            assert_eq!(escape_dn(value), in_dn, "{value:?}");
        }
    }

    #[test]
    fn whatever_is_escaped_is_read_back() {
        for value in [
            "ann", "a,b", " a ", "#a", "a+b=c", "\u{e4}", "\"q\"", "a\\", "a\0b", "x;y",
        ] {
            let dn = format!("cn={},ou=groups,dc=example", escape_dn(value));
            assert_eq!(first_cn(&dn).as_deref(), Some(value), "{dn}");
        }
    }

    #[test]
    fn a_group_is_known_by_its_common_name() {
        for (dn, expected) in [
            ("cn=dev,ou=groups,dc=example", Some("dev")),
            ("CN=Domain Admins,CN=Users,DC=example", Some("Domain Admins")),
            ("CN = dev , dc=example", Some("dev")),
            ("cn=dev", Some("dev")),
            ("cn=a\\2cb,dc=x", Some("a,b")),
            ("cn=a\\ ,dc=x", Some("a ")),
            ("cn=\\c3\\a4,dc=x", Some("\u{e4}")),
            ("ou=dev,cn=x", None),
            ("uid=ann,ou=people", None),
            ("cn=dev+uid=1,dc=x", None),
            ("cn=,dc=x", None),
            ("cn=\\", None),
            ("cn=\\f", None),
            ("cn=\\ff,dc=x", None),
            ("cn=\"a\",dc=x", None),
            ("dev", None),
            ("", None),
        ] {
            assert_eq!(first_cn(dn).as_deref(), expected, "{dn}");
        }
    }
}
