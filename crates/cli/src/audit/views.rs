//! `aumbry audit who-read` and `what-did`: the log by who, and by what.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use super::event::{Given, given, path_of, text};
use super::query::{Which, fold};
use crate::context::Context;
use crate::failure::usage;
use crate::output::table;

#[derive(Args)]
pub(crate) struct WhoRead {
    /// The secret, such as secret/app
    path: String,
    /// From when on: a time such as 2026-11-22T17:00:00Z, or how long ago, such as 24h
    #[arg(long)]
    since: Option<String>,
    /// Until when, in the same way
    #[arg(long)]
    until: Option<String>,
}

#[derive(Args)]
pub(crate) struct WhatDid {
    /// An entity's name or id, or a display name
    #[arg(value_name = "IDENTITY")]
    who: Option<String>,
    #[command(flatten)]
    which: Which,
}

pub(super) const WHO_READ: &str = "Examples:
  aumbry audit who-read secret/app
  aumbry audit who-read secret/app --since 30d --output json

Told are those whom its value was given to, with the versions. `?` stands for a version that a record does not name.";

pub(super) const WHAT_DID: &str = "Examples:
  aumbry audit what-did ann --since 24h
  aumbry audit what-did --accessor 1b5c... --output json
  aumbry audit what-did --ip 10.0.0.7";

/// The operations that give the values of secrets away.
pub(super) const READS: [&str; 3] = ["kv.get", "kv.batch-get", "kv1.get"];

/// What happened, and when first and last.
#[derive(Default)]
struct Span {
    count: u64,
    first: String,
    last: String,
}

impl Span {
    /// Records come with the oldest first.
    fn add(&mut self, event: &Value) {
        let time = text(event, "time");
        if self.count == 0 {
            time.clone_into(&mut self.first);
        }
        time.clone_into(&mut self.last);
        self.count += event["count"].as_u64().unwrap_or(1);
    }
}

#[derive(Default)]
struct Reader {
    span: Span,
    entity: String,
    accessors: BTreeSet<String>,
    addresses: BTreeSet<String>,
    versions: BTreeSet<String>,
}

pub(super) async fn who_read(arguments: WhoRead, context: &Context) -> Result<()> {
    let client = context.client()?;
    let path = arguments.path.trim_matches('/').to_owned();
    let which = Which {
        since: arguments.since,
        until: arguments.until,
        ..Which::default()
    };
    let mut body = which.body(&client).await;
    body.insert("path".to_owned(), json!(path));
    body.insert("operation".to_owned(), json!(READS));
    oldest_allowed(&mut body);
    let readers: BTreeMap<String, Reader> = fold(&client, &body, BTreeMap::new(), |readers, event| {
        for Given { path: given, version } in given(event) {
            if given != path {
                continue;
            }
            let principal = &event["principal"];
            let who = text(principal, "display_name");
            // People of one name are two if they are two entities.
            let entity = text(principal, "entity");
            let reader: &mut Reader = readers.entry(format!("{who}\0{entity}")).or_default();
            reader.span.add(event);
            entity.clone_into(&mut reader.entity);
            reader
                .versions
                .insert(version.map_or_else(|| "?".to_owned(), |version| version.to_string()));
            // As many as can be looked at; more would be told of by a query.
            for (set, value) in [
                (&mut reader.accessors, text(principal, "accessor")),
                (&mut reader.addresses, super::event::host(event)),
            ] {
                if set.len() < NAMED_MAX {
                    set.insert(value.to_owned());
                }
            }
        }
        check(readers.len())
    })
    .await?;
    let rows: Vec<Value> = readers
        .iter()
        .map(|(who, reader)| {
            json!({
                "who": who.split('\0').next(),
                "entity": reader.entity,
                "reads": reader.span.count,
                "versions": in_order(&reader.versions),
                "first": reader.span.first,
                "last": reader.span.last,
                "accessors": reader.accessors,
                "addresses": reader.addresses,
            })
        })
        .collect();
    table(
        context.format(),
        &["who", "entity", "reads", "versions", "first", "last", "addresses"],
        &rows,
    )
}

#[derive(Default)]
struct Deed {
    span: Span,
    refused: u64,
}

pub(super) async fn what_did(mut arguments: WhatDid, context: &Context) -> Result<()> {
    let client = context.client()?;
    arguments.which.identity.extend(arguments.who);
    if !arguments.which.is_somebody() {
        return Err(usage("name an identity, an --accessor or an --ip"));
    }
    let mut body = arguments.which.body(&client).await;
    body.insert("oldest_first".to_owned(), json!(true));
    let deeds: BTreeMap<(String, String), Deed> = fold(&client, &body, BTreeMap::new(), |deeds, event| {
        let operation = text(event, "operation").to_owned();
        let deed: &mut Deed = deeds.entry((path_of(event), operation)).or_default();
        deed.span.add(event);
        deed.refused += u64::from(text(event, "decision") != "allowed");
        check(deeds.len())
    })
    .await?;
    let rows: Vec<Value> = deeds
        .iter()
        .map(|((path, operation), deed)| {
            json!({
                "path": path,
                "operation": operation,
                "count": deed.span.count,
                "refused": deed.refused,
                "first": deed.span.first,
                "last": deed.span.last,
            })
        })
        .collect();
    table(
        context.format(),
        &["path", "operation", "count", "refused", "first", "last"],
        &rows,
    )
}

/// Those that were allowed, from the beginning on.
pub(super) fn oldest_allowed(body: &mut Map<String, Value>) {
    body.insert("outcome".to_owned(), json!(["allowed"]));
    body.insert("oldest_first".to_owned(), json!(true));
}

/// What is held in memory has an end.
pub(super) fn check(rows: usize) -> Result<()> {
    ensure!(
        rows <= ROWS_MAX,
        "there are more than 100,000 rows to tell; narrow it with --since and --until, or use `aumbry audit query`"
    );
    Ok(())
}

/// Numbers by their size, not by their digits.
fn in_order(versions: &BTreeSet<String>) -> Vec<&String> {
    let mut versions: Vec<&String> = versions.iter().collect();
    versions.sort_by_key(|version| version.parse::<u64>().unwrap_or(u64::MAX));
    versions
}

/// Some tens of megabytes.
const ROWS_MAX: usize = 100_000;
/// Accessors and addresses that are named of one reader.
const NAMED_MAX: usize = 32;
