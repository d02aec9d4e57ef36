//! The mounts of the source, and those of the target as they have to be.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::Run;

/// A mount of the source.
pub(super) struct Mount {
    /// Without slashes around it.
    pub(super) path: String,
    pub(super) kind: String,
    /// Of a kv engine; 1 if it has none.
    pub(super) version: u8,
    /// As it was told.
    pub(super) info: Value,
}

/// The mounts of a table: `sys/mounts` or `sys/auth`.
pub(super) async fn of(run: &Run, table: &str) -> Result<Vec<Mount>> {
    let rows = run
        .source
        .read(table)
        .await
        .with_context(|| format!("cannot read the source's {table}"))?;
    let rows = rows.with_context(|| format!("the source has no {table}"))?;
    let mounts = rows.into_iter().filter_map(|(path, info)| {
        let kind = info["type"].as_str()?.to_owned();
        let version = if info["options"]["version"] == "2" { 2 } else { 1 };
        let path = path.trim_matches('/').to_owned();
        Some(Mount {
            path,
            kind,
            version,
            info,
        })
    });
    Ok(mounts.collect())
}

/// Whether the target had a mount already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Now,
    Before,
}

/// Sees to it that the target has the mount.
pub(super) async fn ensure(run: &Run, table: &str, mount: &Mount) -> Result<Made> {
    let all = run
        .target
        .read(table)
        .await?
        .context("the target has no table of mounts")?;
    let there = all.iter().find(|(path, _)| path.trim_matches('/') == mount.path);
    if let Some((_, there)) = there {
        let is_same_kind = there["type"] == mount.kind.as_str();
        if !is_same_kind {
            bail!("the target has another kind of mount there: disable or move one of them");
        }
        let version = if there["options"]["version"] == "2" { 2 } else { 1 };
        if mount.kind == KV && version != mount.version {
            bail!(
                "the source's is a kv engine of version {}, the target's one of version {version}: enable it anew with the right one",
                mount.version
            );
        }
        return Ok(Made::Before);
    }
    let mut body = json!({ "type": mount.kind, "description": mount.info["description"], "config": config(&mount.info["config"]) });
    if mount.kind == KV {
        body["options"] = json!({ "version": mount.version.to_string() });
    }
    run.target
        .write(&format!("{table}/{}", mount.path), body.to_string().into_bytes())
        .await?;
    Ok(Made::Now)
}

fn config(config: &Value) -> Value {
    let said = |name: &&str| !matches!(&config[*name], Value::Null) && config[*name] != 0 && config[*name] != "";
    let settings = SETTINGS.iter().filter(|name| said(name));
    settings
        .map(|name| ((*name).to_owned(), config[*name].clone()))
        .collect::<Map<_, _>>()
        .into()
}

pub(super) const KV: &str = "kv";
/// Settings that both servers know.
const SETTINGS: [&str; 3] = ["default_lease_ttl", "max_lease_ttl", "listing_visibility"];
