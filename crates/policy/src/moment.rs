//! Moments as policies write them.

use aumbry_types::LogTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Reads a moment of RFC 3339, or seconds since 1970. Nothing for what is neither, or lies before that.
pub(crate) fn parse(text: &str) -> Option<LogTime> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(1_000).map(LogTime);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000)
        .ok()
        .map(LogTime)
}

/// Writes a moment as [`parse`] reads it, to the millisecond.
pub(crate) fn show(moment: LogTime) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.0) * 1_000_000)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| (moment.0 / 1_000).to_string())
}
