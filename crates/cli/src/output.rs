//! What commands print.

use std::io::{ErrorKind, Write as _};
use std::sync::OnceLock;

use anyhow::Result;
pub(crate) use aumbry_audit::text::time;
use aumbry_audit::text::{escape, json};
use serde_json::Value;

use crate::failure::{Closed, Refused};
use crate::yaml;

/// The form of the output that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// For whom the output is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one document.
    Json,
}

impl Output {
    /// What is usual here: as Vault's own variable says, or for people.
    pub(crate) fn usual() -> Self {
        match std::env::var("VAULT_FORMAT").as_deref() {
            Ok("json") => Self::Json,
            Ok("yaml" | "yml") => Self::Yaml,
            _ => Self::Table,
        }
    }

    /// For whom that is.
    pub(crate) const fn format(self) -> Format {
        match self {
            Self::Table => Format::Table,
            Self::Json | Self::Yaml => Format::Json,
        }
    }

    /// Settles in which syntax documents are printed. It is one for the whole program, as it is one choice of whoever started it: handing it to every
    /// place that prints would say nothing more.
    pub(crate) fn settle(self) -> Format {
        // It is settled once, at the start.
        let _ = OUTPUT.set(self);
        self.format()
    }
}

static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Prints a line, escaped for terminals.
pub(crate) fn line(text: &str) -> Result<()> {
    escaped_line(escape(text))
}

/// Prints bytes as they are: for what a person asked to see unchanged.
pub(crate) fn raw(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
        written => Ok(written?),
    }
}

fn escaped_line(mut text: String) -> Result<()> {
    text.push('\n');
    raw(text.as_bytes())
}

/// Prints a document: as JSON, or for people one line a key.
pub(crate) fn document(format: Format, value: &Value) -> Result<()> {
    match (format, value) {
        (Format::Json, value) => line_json(value),
        (Format::Table, Value::Object(map)) => pairs("", map.iter().map(|(key, value)| (key.as_str(), plain(value)))),
        (Format::Table, Value::Array(items)) => items.iter().try_for_each(|item| line(&plain(item))),
        (Format::Table, value) => line(&plain(value)),
    }
}

/// Prints keys and values, one line each.
pub(crate) fn pairs<'a>(indent: &str, pairs: impl IntoIterator<Item = (&'a str, String)>) -> Result<()> {
    let escaped = |(key, value): (&str, String)| (escape(key), escape(&value));
    let pairs: Vec<(String, String)> = pairs.into_iter().map(escaped).collect();
    let width = pairs.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    pairs
        .iter()
        .try_for_each(|(key, value)| escaped_line(format!("{indent}{key:<width$}  {value}").trim_end().to_owned()))
}

/// Prints rows under their names.
pub(crate) fn table(format: Format, columns: &[&str], rows: &[Value]) -> Result<()> {
    if format == Format::Json {
        return line_json(&Value::Array(rows.to_vec()));
    }
    aligned(columns, rows).into_iter().try_for_each(escaped_line)
}

/// The lines of a table. What a row does not know is empty.
fn aligned(columns: &[&str], rows: &[Value]) -> Vec<String> {
    let names = columns.iter().map(|column| (*column).to_owned()).collect();
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => String::new(),
        value => escape(&plain(value)),
    };
    let cells = |row: &Value| columns.iter().map(|column| cell(row, column)).collect();
    let lines: Vec<Vec<String>> = std::iter::once(names).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let print = |line: &Vec<String>| {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(print).collect()
}

/// Prints a document for programs: JSON in one line, or YAML.
pub(crate) fn line_json(value: &Value) -> Result<()> {
    match OUTPUT.get() {
        Some(Output::Yaml) => raw(yaml::document(value).as_bytes()),
        _ => escaped_line(json(value)?),
    }
}

/// Prints the value of one key alone: a text as it is, unless programs read it.
pub(crate) fn field(format: Format, name: &str, value: Option<&Value>) -> Result<()> {
    let missing = || Refused::NotFound(format!("the answer has no field {name}"));
    match (format, value.ok_or_else(missing)?) {
        (Format::Table, Value::String(text)) => raw(text.as_bytes()),
        (_, other) => line_json(other),
    }
}

/// Prints a document, or one of its values.
pub(crate) fn document_or_field(format: Format, name: Option<&str>, value: &Value) -> Result<()> {
    match name {
        Some(name) => field(format, name, value.get(name)),
        None => document(format, value),
    }
}

/// Prints that something was done.
pub(crate) fn done(format: Format, word: &str) -> Result<()> {
    match format {
        Format::Json => raw(b"{}\n"),
        Format::Table => line(word),
    }
}

/// A value for people, not escaped.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned_and_escaped() {
        let rows = [json!({ "a": "x\u{1b}[2J", "b": 1 }), json!({ "a": "ü", "b": null })];
        let lines = aligned(&["a", "b"], &rows);
        assert_eq!(lines, ["a           b", "x\\u{1b}[2J  1", "ü"]);
    }

    #[test]
    fn nothing_is_not_the_empty_text() {
        let shown = |value| plain(&value);
        assert_eq!(
            (shown(json!(null)), shown(json!(""))),
            ("null".to_owned(), String::new())
        );
        assert_eq!(shown(json!(["a", null])), "a,null");
    }
}
