//! Secrets as they are printed.

use std::borrow::Cow;

use anyhow::{Context as _, Result};
use aumbry_audit::text::is_dangerous;
use aumbry_client::v1;
use serde_json::{Map, Value, json};

use crate::failure::{Refused, note};
use crate::output::{self, Format, line, line_json, pairs, plain, table, time};

/// Prints a secret, or one value of it.
pub(super) fn secret(format: Format, field: Option<&str>, path: &str, item: &v1::KvItem) -> Result<()> {
    let info = item.version.unwrap_or_default();
    if !item.has_data {
        let how = match info.destroyed {
            true => "destroyed",
            false => "deleted; restore it with `aumbry kv undelete`",
        };
        return Err(Refused::NotFound(format!("version {} is {how}", info.version)).into());
    }
    let data: Map<String, Value> = serde_json::from_slice(&item.data).context("the secret's data is no JSON object")?;
    if let Some(field) = field {
        return output::field(format, field, data.get(field));
    }
    if format == Format::Json {
        let mut metadata = version(&info);
        metadata["custom_metadata"] = json!(item.custom_metadata);
        return line_json(&json!({ "data": data, "metadata": metadata }));
    }
    line("Metadata")?;
    let mut metadata = vec![
        ("path", path.to_owned()),
        ("version", info.version.to_string()),
        ("created", time(info.created_ms)),
        ("deleted", deleted(&info).into_owned()),
    ];
    metadata.extend(
        item.custom_metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone())),
    );
    pairs("  ", metadata)?;
    line("Data")?;
    pairs("  ", data.iter().map(|(key, value)| (key.as_str(), plain(value))))?;
    if let Some((key, _)) = data.iter().find(|(_, value)| is_escaped(&plain(value))) {
        note(&format!(
            "some characters are shown escaped; `--field {key}` prints a value as it is"
        ));
    }
    Ok(())
}

/// Prints what is known of a secret beside its data.
pub(super) fn metadata(format: Format, reply: &v1::KvGetMetadataReply) -> Result<()> {
    if format == Format::Json {
        let versions = reply.versions.iter();
        let versions: Map<String, Value> = versions.map(|info| (info.version.to_string(), version(info))).collect();
        return line_json(&json!({
            "current_version": reply.current_version,
            "oldest_version": reply.oldest_version,
            "created_time": time(reply.created_ms),
            "updated_time": time(reply.updated_ms),
            "max_versions": reply.max_versions,
            "cas_required": reply.cas_required,
            "delete_version_after": format!("{}s", reply.delete_version_after_s),
            "custom_metadata": reply.custom_metadata,
            "versions": versions,
        }));
    }
    let custom = reply
        .custom_metadata
        .iter()
        .map(|(key, value)| format!("{key}={value}"));
    let mut custom: Vec<String> = custom.collect();
    custom.sort_unstable();
    let or = |number: u64, zero: &str, unit: &str| match number {
        0 => zero.to_owned(),
        number => format!("{number}{unit}"),
    };
    pairs(
        "",
        [
            ("current version", reply.current_version.to_string()),
            ("oldest version", reply.oldest_version.to_string()),
            ("created", time(reply.created_ms)),
            ("updated", time(reply.updated_ms)),
            ("versions kept", or(reply.max_versions.into(), "the default", "")),
            ("cas required", reply.cas_required.to_string()),
            ("delete version after", or(reply.delete_version_after_s, "never", "s")),
            ("custom metadata", custom.join(" ")),
        ],
    )?;
    line("")?;
    let row = |info: &v1::VersionInfo| json!({ "version": info.version, "created": time(info.created_ms), "deleted": deleted(info) });
    let rows: Vec<Value> = reply.versions.iter().map(row).collect();
    table(format, &["version", "created", "deleted"], &rows)
}

/// A version for programs.
pub(super) fn version(info: &v1::VersionInfo) -> Value {
    json!({
        "version": info.version,
        "created_time": time(info.created_ms),
        "deletion_time": time(info.deleted_at_ms),
        "destroyed": info.destroyed,
    })
}

fn deleted(info: &v1::VersionInfo) -> Cow<'static, str> {
    match (info.destroyed, info.deleted_at_ms) {
        (true, _) => "destroyed".into(),
        (false, 0) => "no".into(),
        (false, at) => time(at).into(),
    }
}

fn is_escaped(text: &str) -> bool {
    text.contains(is_dangerous) || text.contains('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_found() {
        let item = |data: &'static str| v1::KvItem {
            has_data: !data.is_empty(),
            data: data.into(),
            ..Default::default()
        };
        for (data, field) in [("", None), (r#"{"a":null}"#, Some("b"))] {
            let error = secret(Format::Json, field, "secret/x", &item(data)).err().unwrap();
            assert_eq!(crate::failure::exit_code(&error), 6, "{error}");
        }
    }

    #[test]
    fn a_version_says_whether_it_is_deleted() {
        let info = |deleted_at_ms, destroyed| v1::VersionInfo {
            deleted_at_ms,
            destroyed,
            ..Default::default()
        };
        assert_eq!(deleted(&info(0, false)), "no");
        assert_eq!(deleted(&info(1, false)), "1970-01-01T00:00:00.001Z");
        assert_eq!(deleted(&info(1, true)), "destroyed");
        assert!(is_escaped("a\nb") && is_escaped("a\\b") && !is_escaped("pässword"));
    }
}
