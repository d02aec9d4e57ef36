//! How parameters stand in an address and in a form.

use aumbry_types::{SecretBytes, percent};

/// Pairs as a form or a query has them.
pub(super) fn pairs(pairs: &[(&str, &[u8])]) -> SecretBytes {
    // Three bytes for each at most: a buffer that grows would leave copies behind.
    let size: usize = pairs.iter().map(|(name, value)| name.len() + value.len() * 3 + 2).sum();
    let mut out = Vec::with_capacity(size);
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        percent::encode(&mut out, value);
    }
    SecretBytes::new(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_ends_it() {
        let told = pairs(&[("a", b"x y"), ("b", "&=+%#?\u{e9}".as_bytes()), ("c", b"-._~09")]);
        assert_eq!(told.expose_str(), Some("a=x%20y&b=%26%3D%2B%25%23%3F%C3%A9&c=-._~09"));
    }
}
