//! What the tests of several modules share.

use aumbry_types::SecretKey;

/// The bytes of a text of hexadecimal digits.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "an even number of digits");
    let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).expect("a hexadecimal digit");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key of 32 equal bytes.
pub(crate) fn key(byte: u8) -> SecretKey {
    SecretKey::take(&mut [byte; 32])
}

/// Fails to compile if the type implements the trait: both implementations of `Lacks` would then apply.
macro_rules! assert_lacks {
    ($($type:ty),* ; $trait:path) => {{
        trait Lacks<Marker> {
            fn check() {}
        }
        impl<T: ?Sized> Lacks<()> for T {}
        struct Has;
        impl<T: ?Sized + $trait> Lacks<Has> for T {}
        $(<$type as Lacks<_>>::check();)*
    }};
}

/// Abuse cases: 33.
#[test]
fn secrets_cannot_be_shown_copied_or_compared() {
    use crate::keyring::Keyring;
    use crate::password::PasswordHash;
    use crate::seal::{StaticKey, Submitted, Unseal};
    use crate::share::Share;
    use crate::signature::SigningKey;

    assert_lacks!(Keyring, PasswordHash, Share, SigningKey, StaticKey, Submitted, Unseal; core::fmt::Debug);
    assert_lacks!(Keyring, PasswordHash, Share, SigningKey, StaticKey, Submitted, Unseal; Clone);
    assert_lacks!(Keyring, PasswordHash, Share, SigningKey, StaticKey, Submitted, Unseal; PartialEq);
}
