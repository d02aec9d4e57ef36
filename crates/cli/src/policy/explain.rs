//! `aumbry policy explain`: which rule decides, and the smallest grant that would allow it.

use anyhow::{Context as _, Result, bail};
use aumbry_audit::{Place, shown};
use aumbry_client::v1;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::context::{Caller, Context};
use crate::failure::usage;
use crate::fields::split;
use crate::output::{Format, line_json, raw};

#[derive(Args)]
pub(crate) struct Explain {
    /// What would be done, such as read; not with --request-id
    #[arg(required_unless_present = "request_id", conflicts_with = "request_id")]
    capability: Option<String>,
    /// Where, as policies name it, such as secret/data/app
    #[arg(required_unless_present = "request_id", conflicts_with = "request_id")]
    path: Option<String>,
    /// Of the token with this accessor; your own by default
    #[arg(long, conflicts_with_all = ["policy", "request_id"])]
    accessor: Option<String>,
    /// Of these policies instead of a token's; repeat for several
    #[arg(long, conflicts_with = "request_id")]
    policy: Vec<String>,
    /// Of a request that was refused, by the id that its caller was told
    #[arg(long)]
    request_id: Option<String>,
    /// A parameter of the request, key=value; repeat for several
    #[arg(long, value_name = "KEY=VALUE")]
    parameter: Vec<String>,
    /// For how long the answer would be wrapped, such as 60s
    #[arg(long)]
    wrap_ttl: Option<String>,
    /// Where `sudo` is needed beside the capability
    #[arg(long)]
    sudo: bool,
    /// How many of the newest records are looked through for the request
    #[arg(long, default_value_t = 20_000, requires = "request_id")]
    records: u64,
}

pub(super) async fn run(arguments: &Explain, context: &Context) -> Result<()> {
    let client = context.client()?;
    let mut body = Map::new();
    let mut say = |name: &str, value: Value| {
        body.insert(name.to_owned(), value);
    };
    match (&arguments.request_id, &arguments.capability, &arguments.path) {
        (Some(id), ..) => {
            let refused = find(&client, id, arguments.records).await?;
            say("accessor", refused.accessor.into());
            say("capability", refused.capability.into());
            say("path", refused.path.into());
            say("sudo", refused.is_protected.into());
        }
        (None, Some(capability), Some(path)) => {
            say("capability", capability.as_str().into());
            say("path", path.as_str().into());
            say("sudo", arguments.sudo.into());
            if let Some(accessor) = &arguments.accessor {
                say("accessor", accessor.as_str().into());
            }
            if !arguments.policy.is_empty() {
                say("policies", json!(arguments.policy));
            }
        }
        _ => return Err(usage("say what would be done, and where")),
    }
    if !arguments.parameter.is_empty() {
        let mut parameters = Map::new();
        for parameter in &arguments.parameter {
            let (name, value) = split(parameter)?;
            parameters.insert(name.to_owned(), value.into());
        }
        say("parameters", Value::Object(parameters));
    }
    if let Some(ttl) = &arguments.wrap_ttl {
        say("wrap_ttl", ttl.as_str().into());
    }
    let request = v1::LogicalRequest {
        verb: v1::Verb::Write.into(),
        path: "sys/policies/explain".to_owned(),
        body: Value::Object(body).to_string().into_bytes().into(),
        ..Default::default()
    };
    let reply = client.call(request).await?;
    let told: Value = serde_json::from_slice(&reply.data).context("the answer is no JSON object")?;
    match context.format() {
        Format::Json => line_json(&told),
        _ => raw(format!("{}\n", told["text"].as_str().unwrap_or_default().trim_end()).as_bytes()),
    }
}

/// What somebody was refused.
struct Refused {
    accessor: String,
    capability: String,
    path: String,
    is_protected: bool,
}

/// Looks for the record of a request among the newest, from the end.
async fn find(client: &Caller, id: &str, records: u64) -> Result<Refused> {
    let page = |from: u64, limit: u64| v1::AuditReadRequest {
        from,
        limit: u32::try_from(limit).unwrap_or(PAGE),
        ..Default::default()
    };
    // The record of this very look is the end.
    let end = client
        .call(page(u64::MAX, 1))
        .await?
        .header
        .unwrap_or_default()
        .audit_seq;
    let first = end.saturating_sub(records);
    let mut until = end;
    while until > first {
        let from = until.saturating_sub(u64::from(PAGE)).max(first);
        for row in client.call(page(from, until - from)).await?.rows.iter().rev() {
            let place = Place {
                seq: row.seq,
                index: row.index,
                term: row.term,
                log_time: row.log_time_ms,
                outcome: u8::try_from(row.outcome).unwrap_or(u8::MAX),
            };
            let event = shown(&row.event, &place);
            if event["request_id"] == *id
                && let Some(refused) = refused(&event)
            {
                return Ok(refused);
            }
        }
        until = from;
    }
    bail!(
        "no refusal by policies under this request id among the newest {records} records; look further back with --records, \
         or give accessor, capability and path"
    )
}

fn refused(event: &Value) -> Option<Refused> {
    let needed = event["fields"]["needed"].as_str()?;
    let (is_protected, needed) = match needed.strip_prefix("sudo ") {
        Some(needed) => (true, needed),
        None => (false, needed),
    };
    let (capability, path) = needed.split_once(' ')?;
    Some(Refused {
        accessor: event["principal"]["accessor"].as_str()?.to_owned(),
        capability: capability.to_owned(),
        path: path.to_owned(),
        is_protected,
    })
}

/// As many as one answer holds.
const PAGE: u32 = 1_000;

pub(super) const EXAMPLES: &str = "Examples:
  aumbry policy explain read secret/data/app                          what your own token may do
  aumbry policy explain --accessor ACCESSOR update secret/data/app    what another may
  aumbry policy explain --policy app --policy ci read secret/data/x   what policies give together
  aumbry policy explain --request-id ID                               why somebody was refused

It needs `update` and `sudo` on sys/policies/explain; by a request id, `read` and `sudo` on sys/audit-log too.";
