//! One-time codes by time (RFC 6238), as authenticator programs show them.
//!
//! What it guarantees: a code is compared in a time that does not depend on it. What it does not do: remember which codes were used; that is the caller's.

use aws_lc_rs::hmac;

/// The hash of the codes. SHA-1 is what most programs know; as a MAC it is not broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-1.
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How codes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The hash.
    pub algorithm: Algorithm,
    /// How many digits a code has, 6 or 8.
    pub digits: u32,
    /// For how many seconds a code is shown.
    pub period_s: u64,
    /// How many periods before and after the present one are accepted.
    pub skew: u64,
}

impl Settings {
    /// The period whose code this is, if it is one of those accepted now and later than the one used last.
    #[must_use]
    pub fn find(&self, secret: &[u8], code: &[u8], now_s: u64, used: u64) -> Option<u64> {
        let present = now_s / self.period_s.max(1);
        let mut found = None;
        for period in present.saturating_sub(self.skew)..=present.saturating_add(self.skew) {
            let expected = self.code(secret, period);
            if crate::equal(expected.as_bytes(), code) && period > used {
                found = Some(period);
            }
        }
        found
    }

    /// The code of a period since 1970 (RFC 4226, section 5.3).
    #[must_use]
    pub fn code(&self, secret: &[u8], period: u64) -> String {
        let algorithm = match self.algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret), &period.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or(0) & 0xf);
        let chunk = tag.get(offset..).and_then(|rest| rest.first_chunk::<4>());
        let number = u32::from_be_bytes(*chunk.expect("a tag has at least 20 bytes")) & 0x7fff_ffff;
        let digits = self.digits.clamp(6, 8);
        let width = digits as usize;
        format!("{:0width$}", number % 10_u32.pow(digits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B.
    #[test]
    fn codes_of_the_rfc() {
        let secrets: [(Algorithm, &[u8]); 3] = [
            (Algorithm::Sha1, b"12345678901234567890"),
            (Algorithm::Sha256, b"12345678901234567890123456789012"),
            (
                Algorithm::Sha512,
                b"1234567890123456789012345678901234567890123456789012345678901234",
            ),
        ];
        let check = |now_s: u64, codes: [&str; 3]| {
            for ((algorithm, secret), code) in secrets.iter().zip(codes) {
                let settings = Settings {
                    algorithm: *algorithm,
                    digits: 8,
                    period_s: 30,
                    skew: 0,
                };
                assert_eq!(
                    settings.find(secret, code.as_bytes(), now_s, 0),
                    Some(now_s / 30),
                    "{now_s}"
                );
            }
        };
        check(59, ["94287082", "46119246", "90693936"]);
        check(1_111_111_109, ["07081804", "68084774", "25091201"]);
        check(2_000_000_000, ["69279037", "90698825", "38618901"]);
        check(20_000_000_000, ["65353130", "77737706", "47863826"]);
    }

    #[test]
    fn a_code_is_good_for_its_time_and_once() {
        let settings = Settings {
            algorithm: Algorithm::Sha1,
            digits: 6,
            period_s: 30,
            skew: 1,
        };
        let secret = b"12345678901234567890";
        let code = settings.code(secret, 100);
        let find = |now_s, used| settings.find(secret, code.as_bytes(), now_s, used);
        assert_eq!(find(100 * 30, 0), Some(100));
        assert_eq!(find(99 * 30, 0), Some(100));
        assert_eq!(find(101 * 30 + 29, 0), Some(100));
        assert_eq!(find(98 * 30 + 29, 0), None);
        assert_eq!(find(102 * 30, 0), None);
        assert_eq!(find(100 * 30, 100), None, "it was used");
        assert_eq!(settings.find(secret, &code.as_bytes()[..5], 3_000, 0), None);
        assert_eq!(settings.find(secret, b"", 3_000, 0), None);
    }
}
