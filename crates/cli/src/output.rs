//! What commands print, and with which code they end.

use std::io::Write as _;

use anyhow::Result;
use aumbry_audit::text::escape;
use aumbry_client::Error;
use aumbry_client::v1::OutcomeClass;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The form of the output.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Prints a line, escaped for terminals.
pub(crate) fn line(text: &str) -> Result<()> {
    raw(escape(text).as_bytes())?;
    raw(b"\n")
}

/// Prints bytes as they are: for what a person asked to see unchanged.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(bytes)?)
}

/// Prints a document: as JSON, or for people one line a key.
pub(crate) fn document(format: Format, value: &Value) -> Result<()> {
    match (format, value) {
        (Format::Json, value) => line_json(value),
        (Format::Table, Value::Object(map)) => {
            let width = map.keys().map(String::len).max().unwrap_or(0);
            map.iter()
                .try_for_each(|(key, value)| line(&format!("{key:<width$}  {}", plain(value))))
        }
        (Format::Table, Value::Array(items)) => items.iter().try_for_each(|item| line(&plain(item))),
        (Format::Table, value) => line(&plain(value)),
    }
}

/// Prints rows under their names.
pub(crate) fn table(format: Format, columns: &[&str], rows: &[Value]) -> Result<()> {
    if format == Format::Json {
        return line_json(&Value::Array(rows.to_vec()));
    }
    let cell = |row: &Value, column: &str| plain(&row[column]);
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| {
            rows.iter()
                .map(|row| cell(row, column).len())
                .max()
                .unwrap_or(0)
                .max(column.len())
        })
        .collect();
    let print = |cells: Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    print(columns.iter().map(|column| (*column).to_owned()).collect())?;
    rows.iter()
        .try_for_each(|row| print(columns.iter().map(|column| cell(row, column)).collect()))
}

/// Prints a JSON value in one line.
pub(crate) fn line_json(value: &Value) -> Result<()> {
    raw(serde_json::to_string(value)?.as_bytes())?;
    raw(b"\n")
}

/// A time in milliseconds as people write it; empty for 0.
pub(crate) fn time(ms: u64) -> String {
    if ms == 0 {
        return String::new();
    }
    let nanos = i128::from(ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| ms.to_string())
}

/// Prints an error in one line.
pub(crate) fn error(error: &anyhow::Error) {
    // If standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "aumbry: {}", escape(&format!("{error:#}")));
}

/// The code that the process ends with.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let Some(error) = error.downcast_ref::<Error>() else {
        return 1;
    };
    match error.reason() {
        "SEALED" => 3,
        "PERMISSION_DENIED" | "TOKEN_INVALID" => 4,
        _ if error
            .failure()
            .is_some_and(|failure| failure.outcome() == OutcomeClass::Unknown && failure.reason != "TRANSPORT") =>
        {
            5
        }
        _ => 1,
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}
