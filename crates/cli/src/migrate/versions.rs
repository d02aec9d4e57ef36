//! One secret of an engine with versions: its settings, and each version under its own number.
//!
//! What cannot be read from the source (a deleted, destroyed or trimmed version) has its number taken by a placeholder that is destroyed at once: the
//! others keep theirs, and nobody is ever given the placeholder for data.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::v1;
use aumbry_types::parse_duration;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Run;
use super::kv::is_equal;
use super::report::{Fate, Kind, Why};

/// What the source knows of a secret beside its data.
#[derive(Deserialize)]
struct Wanted {
    current_version: u64,
    #[serde(default)]
    max_versions: u32,
    #[serde(default)]
    cas_required: bool,
    #[serde(default)]
    delete_version_after: Value,
    #[serde(default)]
    custom_metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    versions: BTreeMap<u64, State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    destroyed: bool,
}

/// A version with its data, as the source sends it.
#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A secret on its way.
struct Secret<'a> {
    run: &'a Run,
    mount: &'a str,
    below: &'a str,
    /// In the target.
    path: String,
    wanted: Wanted,
}

pub(super) async fn run(run: &Run, mount: &str, below: &str) -> Result<Fate> {
    let raw = run.source.raw(&format!("{mount}/metadata/{below}"), "").await?;
    let raw = raw.context("it is gone from the source")?;
    let wanted: Wanted = serde_json::from_str(raw.get()).context("the source's metadata is not understood")?;
    ensure!(
        wanted.current_version <= VERSIONS_MAX,
        "it has had {} versions, and at most {VERSIONS_MAX} are moved, so that each keeps its number",
        wanted.current_version
    );
    let secret = Secret {
        run,
        mount,
        below,
        path: format!("{mount}/{below}"),
        wanted,
    };
    secret.run().await
}

impl Secret<'_> {
    async fn run(&self) -> Result<Fate> {
        let request = v1::KvGetMetadataRequest {
            path: self.path.clone(),
            ..Default::default()
        };
        let there = self.run.target.ask(request).await?;
        let begun = match &there {
            None => 0,
            Some(there) => match self.compare(there).await {
                Ok(()) if there.current_version == self.wanted.current_version => return Ok(Fate::Same),
                Ok(()) => there.current_version,
                Err(error) if !self.run.plan.overwrites => return Err(error),
                Err(_) => {
                    let request = v1::KvDeleteMetadataRequest {
                        path: self.path.clone(),
                        ..Default::default()
                    };
                    self.run.target.change(request).await?;
                    0
                }
            },
        };
        if begun == 0 {
            self.run.target.change(self.settings()?).await?;
        }
        let mut unread = 0;
        for version in begun + 1..=self.wanted.current_version {
            unread += u64::from(self.write(version).await?);
        }
        if unread > 0 {
            let why = format!(
                "{unread} deleted versions cannot be read; undelete them on the source and move again with --overwrite, if they are needed"
            );
            self.run.report.remains(Kind::Secret, &self.path, Why::ByHand(why));
        }
        Ok(Fate::Moved)
    }

    fn settings(&self) -> Result<v1::KvPutMetadataRequest> {
        Ok(v1::KvPutMetadataRequest {
            path: self.path.clone(),
            max_versions: Some(self.wanted.max_versions),
            cas_required: Some(self.wanted.cas_required),
            delete_version_after_s: Some(seconds(&self.wanted.delete_version_after)?),
            custom_metadata: self.custom().into_iter().collect(),
            set_custom_metadata: true,
            ..Default::default()
        })
    }

    fn custom(&self) -> BTreeMap<String, String> {
        self.wanted.custom_metadata.clone().unwrap_or_default()
    }

    /// Fails if what the target has is not the beginning of what the source has.
    async fn compare(&self, there: &v1::KvGetMetadataReply) -> Result<()> {
        let custom: BTreeMap<String, String> = there.custom_metadata.clone().into_iter().collect();
        let is_same = there.max_versions == self.wanted.max_versions
            && there.cas_required == self.wanted.cas_required
            && there.delete_version_after_s == seconds(&self.wanted.delete_version_after)?
            && custom == self.custom();
        ensure!(is_same, "the target has the secret with other settings (--overwrite)");
        ensure!(
            there.current_version <= self.wanted.current_version,
            "the target has more versions than the source (--overwrite)"
        );
        for info in &there.versions {
            let readable = match info.destroyed {
                true => None,
                false => self.run.target.data(&self.path, info.version).await?,
            };
            let wanted = self.read(info.version).await?;
            match (readable, wanted) {
                (None, None) => {}
                (Some(there), Some(wanted)) if is_equal(&there, wanted.as_bytes()) => {}
                // A run that was broken off between the two steps.
                (Some(there), None) if there == PLACEHOLDER.as_bytes() => self.destroy(info.version).await?,
                _ => bail!("version {} is another in the target (--overwrite)", info.version),
            }
        }
        Ok(())
    }

    /// Writes a version, or a placeholder; tells whether there was something that could not be read.
    async fn write(&self, version: u64) -> Result<bool> {
        let wanted = self.read(version).await?;
        let request = v1::KvPutRequest {
            path: self.path.clone(),
            data: wanted.as_deref().unwrap_or(PLACEHOLDER).as_bytes().to_vec().into(),
            // Whoever writes there meanwhile is noticed.
            cas: Some(version - 1),
            ..Default::default()
        };
        self.run.target.change(request).await?;
        self.run.report.version();
        if wanted.is_some() {
            return Ok(false);
        }
        self.destroy(version).await?;
        Ok(self.wanted.versions.get(&version).is_some_and(|state| !state.destroyed))
    }

    async fn destroy(&self, version: u64) -> Result<()> {
        let request = v1::KvDestroyRequest {
            path: self.path.clone(),
            versions: vec![version],
            ..Default::default()
        };
        self.run.target.change(request).await
    }

    /// A version's data as the source keeps it; none if it cannot be read.
    async fn read(&self, version: u64) -> Result<Option<String>> {
        match self.wanted.versions.get(&version) {
            None | Some(State { destroyed: true }) => return Ok(None),
            Some(_) => {}
        }
        let path = format!("{}/data/{}", self.mount, self.below);
        let Some(raw) = self.run.source.raw(&path, &format!("?version={version}")).await? else {
            return Ok(None);
        };
        let read: Version<'_> = serde_json::from_str(raw.get()).context("the source's version is not understood")?;
        Ok(read
            .data
            .map(|data| data.get().to_owned())
            .filter(|data| data != "null"))
    }
}

/// A duration as servers tell it: a number, or a text such as `3h0m0s`.
pub(super) fn seconds(value: &Value) -> Result<u64> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) if text.is_empty() => Ok(0),
        Value::String(text) => Ok(parse_duration(text).context("a duration is not understood")?.as_secs()),
        value => value.as_u64().context("a duration is not understood"),
    }
}

/// Takes the number of a version that cannot be read, until it is destroyed a moment later.
const PLACEHOLDER: &str = r#"{"aumbry_migration":"no data"}"#;
/// Each number takes a write: more would take minutes for a single secret.
const VERSIONS_MAX: u64 = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_read_as_servers_tell_them() {
        for (value, expected) in [
            (json!(null), Some(0)),
            (json!(""), Some(0)),
            (json!("0s"), Some(0)),
            (json!("3h25m19s"), Some(12_319)),
            (json!(60), Some(60)),
            (json!("x"), None),
            (json!(-1), None),
        ] {
            assert_eq!(seconds(&value).ok(), expected, "{value}");
        }
    }
}
