//! `aumbry audit query`: records by what they are about.

use anyhow::{Context as _, Result};
use aumbry_client::v1::Verb;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{HEADINGS, columns, show_event};
use crate::context::{ByPath, Caller, Context};
use crate::failure::note;
use crate::logical::call;
use crate::output::{Format, line};

/// Which records.
#[derive(Args, Clone, Default)]
pub(crate) struct Which {
    /// Who asked: an entity's name or id, or a display name; may be repeated
    #[arg(long)]
    pub(super) identity: Vec<String>,
    /// The accessor of the token that was shown; may be repeated
    #[arg(long)]
    pub(super) accessor: Vec<String>,
    /// The client's address, without a port; may be repeated
    #[arg(long)]
    pub(super) ip: Vec<String>,
    /// From when on: a time such as 2026-11-22T17:00:00Z, or how long ago, such as 24h
    #[arg(long)]
    pub(super) since: Option<String>,
    /// Until when, in the same way
    #[arg(long)]
    pub(super) until: Option<String>,
}

#[derive(Args)]
pub(crate) struct Query {
    #[command(flatten)]
    which: Which,
    /// The path as records have it, such as secret/app
    #[arg(long, conflicts_with = "path_prefix")]
    path: Option<String>,
    /// This path and all below it
    #[arg(long)]
    path_prefix: Option<String>,
    /// The operation, such as kv.get, or kv.* for all that begin so; may be repeated
    #[arg(long)]
    operation: Vec<String>,
    /// What was decided or became of it: allowed, denied, unauthenticated, failed, ok, conflict, expired ...; may be repeated
    #[arg(long)]
    outcome: Vec<String>,
    /// The id of the request
    #[arg(long)]
    request_id: Option<String>,
    /// From this sequence number on
    #[arg(long)]
    from: Option<u64>,
    /// Up to this sequence number
    #[arg(long)]
    to: Option<u64>,
    /// From this index of the log on
    #[arg(long)]
    from_index: Option<u64>,
    /// Up to this index of the log
    #[arg(long)]
    to_index: Option<u64>,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// Records of the namespaces below this one too
    #[arg(long)]
    with_namespaces: bool,
    /// At most so many; 0 for all
    #[arg(long, default_value_t = 100)]
    limit: u64,
}

pub(super) const EXAMPLES: &str = "Examples:
  aumbry audit query --path secret/app --since 24h
  aumbry audit query --identity ann --operation 'kv.*' --outcome denied
  aumbry audit query --request-id 018f3c... --output json
  aumbry audit query --path-prefix secret/team --from-index 4000 --to-index 5000 --limit 0

It needs `read` and `sudo` on sys/audit-log/query, and is itself recorded. Namespaces see their own records.";

pub(super) async fn run(arguments: Query, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    let mut body = arguments.which.body(&client).await;
    let mut say = |name: &str, value: Value| {
        if !matches!(&value, Value::Null | Value::Bool(false)) && value != json!([]) {
            body.insert(name.to_owned(), value);
        }
    };
    say("path", json!(arguments.path));
    say("path_prefix", json!(arguments.path_prefix));
    say("operation", json!(arguments.operation));
    say("outcome", json!(arguments.outcome));
    say("request_id", json!(arguments.request_id));
    say("from", json!(arguments.from));
    say("to", json!(arguments.to));
    say("from_index", json!(arguments.from_index));
    say("to_index", json!(arguments.to_index));
    say("oldest_first", json!(arguments.oldest_first));
    say("below", json!(arguments.with_namespaces));
    if format == Format::Table {
        line(&columns(HEADINGS))?;
    }
    let limit = if arguments.limit == 0 {
        u64::MAX
    } else {
        arguments.limit
    };
    each(&client, &body, limit, |event| show_event(format, &event)).await
}

impl Which {
    /// What a request says of it. The name of an entity is looked up, as records have its id; whoever may not look it up is told of display names alone.
    pub(super) async fn body(&self, client: &Caller) -> Map<String, Value> {
        let mut body = Map::new();
        let mut identities = self.identity.clone();
        for name in &self.identity {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
            if name.is_empty() || !name.chars().all(is_name) {
                continue;
            }
            let asked = ByPath::new(Verb::Read, format!("identity/entity/name/{name}"));
            if let Ok(answer) = call(client, asked).await
                && let Some(id) = answer.data["id"].as_str()
            {
                identities.push(id.to_owned());
            }
        }
        for (name, values) in [
            ("identity", &identities),
            ("accessor", &self.accessor),
            ("address", &self.ip),
        ] {
            if !values.is_empty() {
                body.insert(name.to_owned(), json!(values));
            }
        }
        for (name, value) in [("since", &self.since), ("until", &self.until)] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        body
    }

    /// Whether somebody is named.
    pub(super) const fn is_somebody(&self) -> bool {
        !self.identity.is_empty() || !self.accessor.is_empty() || !self.ip.is_empty()
    }
}

/// Gets what a query finds, page by page, at most so many records. A page reads a bounded part of the log, so there may be many that hold nothing; of those a person is
/// told.
pub(super) async fn each(
    client: &Caller,
    body: &Map<String, Value>,
    limit: u64,
    mut each: impl FnMut(Value) -> Result<()>,
) -> Result<()> {
    let (mut left, mut looked_at, mut told_at) = (limit, 0, TELL_EVERY);
    let mut is_told = false;
    let mut body = body.clone();
    while left > 0 {
        body.insert("limit".to_owned(), json!(left.min(PAGE)));
        let asked = ByPath::new(Verb::Write, "sys/audit-log/query").with(&Value::Object(body.clone()));
        let mut answer = call(client, asked).await?;
        let Value::Array(records) = answer.data["records"].take() else {
            break;
        };
        left = left.saturating_sub(records.len() as u64);
        records.into_iter().try_for_each(&mut each)?;
        if let Some(floor) = answer.data["floor"].as_u64().filter(|_| !is_told) {
            is_told = true;
            note(&format!("the log begins with record {floor}; those before were pruned"));
        }
        looked_at += answer.data["looked_at"].as_u64().unwrap_or_default();
        if looked_at >= told_at {
            told_at = looked_at + TELL_EVERY;
            note(&format!("{looked_at} records were looked at so far"));
        }
        match answer.data["next"].as_u64() {
            Some(next) => body.insert("page".to_owned(), json!(next)),
            None => break,
        };
    }
    Ok(())
}

/// All of what a query finds, one after the other into something that grows with what is told, and not with how much is found.
pub(super) async fn fold<T>(
    client: &Caller,
    body: &Map<String, Value>,
    mut into: T,
    mut add: impl FnMut(&mut T, &Value) -> Result<()>,
) -> Result<T> {
    each(client, body, u64::MAX, |event| add(&mut into, &event))
        .await
        .context("the audit log could not be read to its end")?;
    Ok(into)
}

/// The most records of one page.
const PAGE: u64 = 1_000;
/// Some seconds of work of the cluster.
const TELL_EVERY: u64 = 200_000;
