//! The cluster that is moved to: what a migration asks of it. In a dry run it is only read.

use anyhow::{Result, ensure};
use aumbry_client::v1::{self, Verb};
use aumbry_types::SecretPath;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::context::{ByPath, Caller};
use crate::failure::Failed;

pub(super) struct Target {
    client: Caller,
    is_dry: bool,
}

impl Target {
    pub(super) const fn new(client: Caller, is_dry: bool) -> Self {
        Self { client, is_dry }
    }

    /// What stands at a path; none is not found.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Map<String, Value>>> {
        let answer = self.client.by_path(ByPath::new(Verb::Read, path)).await;
        let Some(reply) = found(answer)? else { return Ok(None) };
        Ok(Answer::of(reply)?.data.as_object().cloned())
    }

    /// The bytes that stand at a path, as they were written.
    pub(super) async fn raw(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let answer = self.client.by_path(ByPath::new(Verb::Read, path)).await;
        Ok(found(answer)?.map(|reply| reply.data.to_vec()))
    }

    /// All names below a path.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let body = json!({ "after": names.last().cloned().unwrap_or_default(), "limit": PAGE });
            let answer = self.client.by_path(ByPath::new(Verb::List, path).with(&body)).await;
            let Some(reply) = found(answer)? else { return Ok(names) };
            let data = Answer::of(reply)?.data;
            let page = data["keys"].as_array().cloned().unwrap_or_default();
            names.extend(page.iter().filter_map(|name| name.as_str().map(str::to_owned)));
            if page.len() < PAGE {
                return Ok(names);
            }
        }
    }

    /// Writes to a path.
    pub(super) async fn write(&self, path: &str, body: Vec<u8>) -> Result<()> {
        if self.is_dry {
            return Ok(());
        }
        let asked = ByPath {
            body,
            ..ByPath::new(Verb::Write, path)
        };
        self.client.by_path(asked).await?;
        Ok(())
    }

    /// Makes a request of the versioned engine that only reads.
    pub(super) async fn ask<O: aumbry_client::Dispatch>(&self, request: O) -> Result<Option<O::Reply>> {
        ensure!(!O::IS_WRITE, "a write is no question");
        found(self.client.call(request).await)
    }

    /// Makes a request that changes something.
    pub(super) async fn change<O: aumbry_client::Dispatch>(&self, request: O) -> Result<()> {
        if self.is_dry {
            return Ok(());
        }
        self.client.call(request).await?;
        Ok(())
    }

    /// A version's data; none if there is none to read.
    pub(super) async fn data(&self, path: &str, version: u64) -> Result<Option<Vec<u8>>> {
        let request = v1::KvGetRequest {
            path: path.to_owned(),
            version,
            ..Default::default()
        };
        let item = self.ask(request).await?.and_then(|reply| reply.item);
        Ok(item.filter(|item| item.has_data).map(|item| item.data.to_vec()))
    }
}

/// Whether the target can have a secret of this name; a dry run asks it this way.
pub(super) fn check_path(path: &str) -> Result<()> {
    SecretPath::parse(path)?;
    Ok(())
}

fn found<T>(answer: Result<T, Failed>) -> Result<Option<T>> {
    match answer {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What a server gives at most.
const PAGE: usize = 10_000;
