//! The text of a token: recognisable to a secret scanner, checkable without storage, known to the store by a keyed hash.
//!
//! ```text
//! token = "aum." kind "." term "." value "." checksum
//! kind     one letter
//! term     of the key that hashes it, in decimal without leading zeros
//! value    256 random bits in base 62, 43 characters
//! checksum CRC-32C of all before its dot, in base 62, 6 characters
//! ```
//!
//! What it guarantees: a token has one text, and a mistyped or cut one is refused before anything is looked up. The store
//! holds [`digest`] only, so that what it holds gives no access, and a look-up compares nothing that a clock could tell.
//!
//! What it does not do: say whether a token is valid. That is in its row.

use aumbry_types::{Entropy, SecretBytes, SecretKey};
use zeroize::Zeroizing;

use crate::mac16;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// Authenticates a client.
    Service,
    /// Lets one node join the cluster.
    Join,
    /// Opens one wrapped reply.
    Wrapping,
}

/// Why a text is not a token. The text is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text has another form.
    #[error("the text is not a token of this store: it begins with `aum.` and has five parts")]
    Form,
    /// The form is right and the checksum differs.
    #[error("the token has a typing error or was cut; copy all of it")]
    Checksum,
}

/// Makes a token of 256 random bits. `term` is that of the key which [`digest`] will get.
#[must_use]
pub fn make(kind: TokenKind, term: u32, entropy: &dyn Entropy) -> SecretBytes {
    let mut value = Zeroizing::new([0; 32]);
    entropy.fill(&mut *value);
    let mut text = Vec::with_capacity(TEXT_BYTES_MAX);
    text.extend_from_slice(PREFIX);
    text.extend_from_slice(&[kind.letter(), b'.']);
    text.extend_from_slice(term.to_string().as_bytes());
    text.push(b'.');
    text.extend_from_slice(&*base62::<VALUE_SYMBOLS>(&mut *value));
    let checksum = base62::<CHECKSUM_SYMBOLS>(&mut crc32c::crc32c(&text).to_be_bytes());
    text.push(b'.');
    text.extend_from_slice(&*checksum);
    SecretBytes::new(text)
}

/// How long the text of a token is whose key has this term.
#[must_use]
pub fn text_bytes(term: u32) -> usize {
    let digits = term.checked_ilog10().map_or(1, |tens| tens as usize + 1);
    TEXT_BYTES_MAX - TERM_DIGITS_MAX + digits
}

/// Checks form and checksum, and returns what stands in clear: the kind, and the term of the key for [`digest`].
///
/// # Errors
/// [`TokenError`] if the text is no token, without looking into any store.
pub fn parse(text: &[u8]) -> Result<(TokenKind, u32), TokenError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TokenError::Form);
    }
    let rest = text.strip_prefix(PREFIX).ok_or(TokenError::Form)?;
    let mut parts = rest.split(|byte| *byte == b'.');
    let mut part = || parts.next().ok_or(TokenError::Form);
    let (kind, term, value, checksum) = (part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(TokenError::Form);
    }
    let &[letter] = kind else {
        return Err(TokenError::Form);
    };
    let kind = TokenKind::ALL.into_iter().find(|kind| kind.letter() == letter);
    let kind = kind.ok_or(TokenError::Form)?;
    let term = parse_term(term).ok_or(TokenError::Form)?;
    let well_formed = |part: &[u8], length| part.len() == length && part.iter().all(u8::is_ascii_alphanumeric);
    if !well_formed(value, VALUE_SYMBOLS) || !well_formed(checksum, CHECKSUM_SYMBOLS) {
        return Err(TokenError::Form);
    }
    let content = &text[..text.len() - CHECKSUM_SYMBOLS - 1];
    let expect = base62::<CHECKSUM_SYMBOLS>(&mut crc32c::crc32c(content).to_be_bytes());
    if checksum == &expect[..] {
        Ok((kind, term))
    } else {
        Err(TokenError::Checksum)
    }
}

/// What the store knows a token by: a keyed hash of its text.
#[must_use]
pub fn digest(key: &SecretKey, text: &[u8]) -> [u8; 16] {
    mac16(key, &[DIGEST_LABEL, text])
}

impl TokenKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Service, Self::Join, Self::Wrapping];

    const fn letter(self) -> u8 {
        match self {
            Self::Service => b's',
            Self::Join => b'j',
            Self::Wrapping => b'w',
        }
    }
}

fn parse_term(text: &[u8]) -> Option<u32> {
    let canonical = matches!(text, [b'0'] | [b'1'..=b'9', ..]) && text.iter().all(u8::is_ascii_digit);
    let text = core::str::from_utf8(text).ok()?;
    if canonical { text.parse().ok() } else { None }
}

/// The number, in network order, in base 62 with leading zeros. The number is used up.
fn base62<const SYMBOLS: usize>(number: &mut [u8]) -> Zeroizing<[u8; SYMBOLS]> {
    let mut symbols = Zeroizing::new([0; SYMBOLS]);
    for symbol in symbols.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in number.iter_mut() {
            let dividend = remainder << 8 | u16::from(*byte);
            *byte = (dividend / 62) as u8;
            remainder = dividend % 62;
        }
        *symbol = ALPHABET[usize::from(remainder)];
    }
    symbols
}

const PREFIX: &[u8] = b"aum.";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is just above 2^256.
const VALUE_SYMBOLS: usize = 43;
/// 62^6 is above 2^32.
const CHECKSUM_SYMBOLS: usize = 6;
const TERM_DIGITS_MAX: usize = 10;
const TEXT_BYTES_MAX: usize = PREFIX.len() + 2 + TERM_DIGITS_MAX + 1 + VALUE_SYMBOLS + 1 + CHECKSUM_SYMBOLS;
const DIGEST_LABEL: &[u8] = b"aumbry/token/1";

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{hex, key};

    fn token(kind: TokenKind, term: u32) -> String {
        let token = make(kind, term, &SimulatedEntropy::new(1));
        token.expose_str().expect("is ASCII").to_string()
    }

    #[test]
    fn frozen_bytes() {
        let token = token(TokenKind::Service, 1);
        assert_eq!(token, "aum.s.1.jqn3i8W019QpjpAEowqL9NUk0tTUSX6HBbj3oMKTsX3.3MOtHP");
        assert_eq!(
            hex(&digest(&key(1), token.as_bytes())),
            "6750446d7b30abc802b4a963015e73e9"
        );
    }

    #[test]
    fn base62_of_known_numbers() {
        let check = |number: &[u8], expect: &str| {
            assert_eq!(
                &base62::<VALUE_SYMBOLS>(&mut number.to_vec())[..],
                format!("{expect:0>43}").as_bytes()
            );
        };
        check(&[0; 32], "");
        check(&[61], "z");
        check(&[62], "10");
        check(&[0xff; 4], "4gfFC3");
        // 2^256 - 1 fills all 43 symbols, and no more.
        assert_eq!(base62::<44>(&mut [0xff; 32])[0], b'0');
        assert_ne!(base62::<43>(&mut [0xff; 32])[0], b'0');
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |text: &str, expect: Result<(TokenKind, u32), TokenError>| {
            assert_eq!(parse(text.as_bytes()), expect, "{text}");
        };
        for kind in TokenKind::ALL {
            for term in [0, 1, u32::MAX] {
                check(&token(kind, term), Ok((kind, term)));
            }
        }
        let good = token(TokenKind::Service, 1);
        let form = Err(TokenError::Form);
        check("", form);
        check("aum", form);
        check(&good[1..], form);
        check(&good[..good.len() - 1], form);
        check(&format!("{good}.x"), form);
        check(&format!("{good} "), form);
        check(&good.replace("aum.s", "AUM.s"), form);
        check(&good.replace(".s.", ".x."), form);
        check(&good.replace(".s.1.", ".s.01."), form);
        check(&good.replace(".s.1.", ".s.+1."), form);
        check(&good.replace(".s.1.", ".s.."), form);
        check(&good.replace(".s.1.", ".s.4294967296."), form);
        check(&good.replace(".s.1.", ".s.2."), Err(TokenError::Checksum));
        check(&good.replace(".s.", ".j."), Err(TokenError::Checksum));
        check(&"a".repeat(10_000_000), form);
    }

    /// Abuse cases: 34.
    #[test]
    fn every_typing_error_is_noticed() {
        let good = token(TokenKind::Service, 1).into_bytes();
        for place in 0..good.len() {
            for symbol in ALPHABET {
                let mut typed = good.clone();
                typed[place] = *symbol;
                assert_eq!(parse(&typed).is_ok(), typed == good);
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_token(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            prop_assert!(parse(&bytes).is_err());
            prop_assert!(parse(&[b"aum.s.1.", &bytes[..]].concat()).is_err());
        }
    }
}
