//! Mounts of version 1, which have no versions: their paths are asked as they are. Also where a secret of version 2 stands for requests by path.

use anyhow::Result;
use aumbry_client::v1::Verb;
use serde_json::{Value, json};

use crate::context::{ByPath, Caller};
use crate::failure::Failed;
use crate::logical::call;

/// The mount of a secret.
pub(super) struct Place {
    mount: String,
    is_plain: bool,
}

impl Place {
    /// Asks for it.
    pub(super) async fn of(client: &Caller, path: &str) -> Result<Self> {
        let answer = call(
            client,
            ByPath::new(Verb::Read, format!("sys/internal/ui/mounts/{path}")),
        )
        .await?;
        Ok(Self {
            mount: answer.data["path"]
                .as_str()
                .unwrap_or_default()
                .trim_end_matches('/')
                .to_owned(),
            is_plain: answer.data["type"] == "kv" && answer.data["options"]["version"] != "2",
        })
    }

    /// Where the data of a secret stands.
    pub(super) fn data(&self, path: &str) -> String {
        match path.strip_prefix(&self.mount) {
            Some(below) if !self.is_plain => format!("{}/data{below}", self.mount),
            _ => path.to_owned(),
        }
    }
}

/// Whether a request for versions failed because the mount has none. It is asked for only then.
pub(super) async fn is_plain(client: &Caller, failed: &Failed, path: &str) -> bool {
    failed.reason() == "INVALID_REQUEST" && Place::of(client, path).await.is_ok_and(|place| place.is_plain)
}

/// Reads a secret.
pub(super) async fn get(client: &Caller, path: &str) -> Result<Value> {
    Ok(call(client, ByPath::new(Verb::Read, path)).await?.data)
}

/// Writes a secret; the data is one JSON object.
pub(super) async fn put(client: &Caller, path: &str, data: &[u8]) -> Result<()> {
    let asked = ByPath {
        body: data.to_vec(),
        ..ByPath::new(Verb::Write, path)
    };
    call(client, asked).await.map(|_| ())
}

/// Deletes a secret.
pub(super) async fn delete(client: &Caller, path: &str) -> Result<()> {
    call(client, ByPath::new(Verb::Delete, path)).await.map(|_| ())
}

/// Lists names, a page.
pub(super) async fn list(client: &Caller, path: &str, after: &str, limit: usize) -> Result<Vec<String>> {
    let body = json!({ "after": after, "limit": limit.min(PAGE_MAX) });
    let answer = call(client, ByPath::new(Verb::List, path).with(&body)).await?;
    let keys = answer.data["keys"].as_array().cloned().unwrap_or_default();
    Ok(keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect())
}

/// What a server gives at most.
const PAGE_MAX: usize = 10_000;
