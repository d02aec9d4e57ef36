//! Durations as people write them: `90`, `90s`, `15m`, `1h30m`, `7d`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// The text has another form.
    #[error("a duration is whole seconds or numbers with units, such as 90, 90s, 15m, 1h30m or 7d")]
    Form,
    /// More than [`SECONDS_MAX`].
    #[error("a duration is at most 100 years")]
    TooLong,
}

/// Reads a duration: whole seconds, or numbers each with a unit of `s`, `m`, `h` or `d`, each unit once and the larger first.
///
/// # Errors
/// [`DurationError`] if the text has another form or means more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.len() > 32 {
        return Err(DurationError::Form);
    }
    let mut total: u64 = 0;
    let mut number: Option<u64> = None;
    let mut last_unit = u64::MAX;
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            let grown = number
                .unwrap_or(0)
                .checked_mul(10)
                .and_then(|n| n.checked_add(u64::from(digit)));
            number = Some(grown.ok_or(DurationError::TooLong)?);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(DurationError::Form),
        };
        if unit >= last_unit {
            return Err(DurationError::Form);
        }
        last_unit = unit;
        let part = number.take().ok_or(DurationError::Form)?.checked_mul(unit);
        total = part.and_then(|p| total.checked_add(p)).ok_or(DurationError::TooLong)?;
    }
    match (number, last_unit) {
        (Some(seconds), u64::MAX) => total = seconds,
        (Some(_), _) | (None, u64::MAX) => return Err(DurationError::Form),
        (None, _) => {}
    }
    if total > SECONDS_MAX {
        return Err(DurationError::TooLong);
    }
    Ok(Duration::from_secs(total))
}

/// Writes a duration in the shortest form that [`parse_duration`] reads back; parts under a second are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= unit {
            text.push_str(&(rest / unit).to_string());
            text.push(name);
            rest %= unit;
        }
    }
    text
}

/// One hundred years: longer than anything that expires, far from overflow in milliseconds.
const SECONDS_MAX: u64 = 100 * 366 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats() {
        let check = |text: &str, seconds: Result<u64, DurationError>| {
            assert_eq!(parse_duration(text).map(|d| d.as_secs()), seconds, "{text}");
        };
        check("0", Ok(0));
        check("90", Ok(90));
        check("90s", Ok(90));
        check("1h30m", Ok(5_400));
        check("7d", Ok(604_800));
        for bad in ["", "h", "1x", "-1", "1.5h", "1h1h", "1m1h", "1h30", " 1h", "1 h"] {
            check(bad, Err(DurationError::Form));
        }
        check("99999999999999999999", Err(DurationError::TooLong));
        check("200000d", Err(DurationError::TooLong));
        for seconds in [0, 1, 59, 60, 3_661, 90_061] {
            let text = format_duration(Duration::from_secs(seconds));
            check(&text, Ok(seconds));
        }
    }
}
