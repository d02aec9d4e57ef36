//! Decimal numbers as texts, compared by what they mean: no float, which would make neighbours of different numbers.

/// A number without what does not matter: zeros at either end of its digits, and how its power of ten is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Canonical {
    is_negative: bool,
    /// Invariant: neither begins nor ends with 0; empty for zero.
    digits: String,
    /// Invariant: 0 for zero.
    power: i64,
}

impl Canonical {
    /// Reads what JSON calls a number; nothing if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
        let power = exponent
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(zeros)?;
        let significant = significant.trim_start_matches('0');
        if significant.is_empty() {
            return Some(Self {
                is_negative: false,
                digits: String::new(),
                power: 0,
            });
        }
        Some(Self {
            is_negative,
            digits: significant.to_owned(),
            power,
        })
    }
}

/// Whether two texts are the same number.
pub(crate) fn equal(one: &str, other: &str) -> bool {
    match (Canonical::parse(one), Canonical::parse(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_what_they_mean() {
        for (one, other) in [
            ("0", "-0.00"),
            ("10", "1e1"),
            ("10", "10.0"),
            ("0.10", "1E-1"),
            ("0010", "10"),
            ("-2.50", "-25e-1"),
        ] {
            assert!(equal(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("1", "-1"),
            ("1", "10"),
            ("0.1", "0.01"),
            ("9007199254740993", "9007199254740992"),
            ("", ""),
            (".5", ".5"),
            ("1e", "1e"),
            ("1e99999999999999999999", "1e99999999999999999999"),
            ("x", "x"),
        ] {
            assert!(!equal(one, other), "{one} {other}");
        }
    }
}
