//! Shamir's secret sharing of 32 bytes over GF(2^8), each byte by a polynomial of its own.
//!
//! What it guarantees: fewer than the threshold of shares say nothing about the secret, because every coefficient is
//! uniform over the whole field, zero and the leading one included. The arithmetic is `vsss-rs`'s, which looks nothing up
//! in tables by secret indices; the polynomials are wiped.
//!
//! What it does not do: notice a wrong share. The seal checks each one by its digest before it comes here.
//!
//! Source: A. Shamir, "How to share a secret", 1979; the field is that of AES (FIPS 197).

use core::convert::Infallible;

use aumbry_types::{Entropy, SecretKey};
use rand_core::{TryCryptoRng, TryRng};
use vsss_rs::{DefaultShare, Gf256, IdentifierGf256, Polynomial};
use zeroize::Zeroizing;

/// Splits the secret into shares at x = 1, 2, ..., so the first is the share at 1.
///
/// With one share and a threshold of 1 the polynomial is constant and the share is the secret.
pub(crate) fn split(secret: &SecretKey, threshold: u8, shares: u8, entropy: &dyn Entropy) -> Vec<SecretKey> {
    assert!(threshold >= 1 && threshold <= shares, "the caller checks the threshold");
    let terms = usize::from(threshold);
    let mut values: Vec<_> = (0..shares).map(|_| Zeroizing::new([0; 32])).collect();
    let mut polynomial = Zeroizing::new(<Vec<Coefficient> as Polynomial<Coefficient>>::create(terms));
    for (position, byte) in secret.expose().iter().enumerate() {
        let filled = polynomial.fill(&IdentifierGf256(Gf256(*byte)), Source(entropy), terms);
        filled.expect("the polynomial was created with this many terms");
        for (x, value) in (1..=shares).zip(&mut values) {
            let at = IdentifierGf256(Gf256(x));
            value[position] = polynomial.evaluate(&at, terms).0.0;
        }
    }
    values.iter_mut().map(|value| SecretKey::take(value)).collect()
}

/// The secret at x = 0 of the polynomials through these points; nothing if an x is zero or comes twice.
///
/// With fewer points than the threshold, or with wrong ones, the result is a random key.
pub(crate) fn combine(points: &[(u8, &SecretKey)]) -> Option<SecretKey> {
    // One point makes a constant polynomial, for which the library sees no use.
    if let [(x, value)] = points {
        return (*x != 0).then(|| value.duplicate());
    }
    let encode = |(x, value): &(u8, &SecretKey)| [&[*x], &value.expose()[..]].concat();
    let encoded: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(points.iter().map(encode).collect());
    let combined = Zeroizing::new(Gf256::combine_bytes(&*encoded).ok()?);
    let mut secret = Zeroizing::new([0; 32]);
    secret.copy_from_slice(&combined);
    Some(SecretKey::take(&mut secret))
}

/// The library keeps a polynomial as a list of its shares: the secret in the first one's value, the other coefficients
/// in the identifiers.
type Coefficient = DefaultShare<IdentifierGf256, IdentifierGf256>;

/// The injected entropy, as the library wants it.
struct Source<'a>(&'a dyn Entropy);

impl TryRng for Source<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = Zeroizing::new([0; 4]);
        self.0.fill(&mut *bytes);
        Ok(u32::from_le_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = Zeroizing::new([0; 8]);
        self.0.fill(&mut *bytes);
        Ok(u64::from_le_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

// Whether it is fit for keys is decided where the entropy is injected.
impl TryCryptoRng for Source<'_> {}

#[cfg(test)]
mod tests;
