//! `aumbry audit blast-radius`: what somebody was given that is still good, as a plan of what to rotate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Result, ensure};
use aumbry_client::v1;
use clap::Args;
use serde_json::{Map, Value, json};

use super::event::{Given, given, text};
use super::query::{Which, each, fold};
use super::views::{READS, check, oldest_allowed};
use crate::context::{Caller, Context};
use crate::failure::usage;
use crate::output::{Format, line, line_json, table};

#[derive(Args)]
pub(crate) struct BlastRadius {
    /// Whose it was: an entity's name or id, or a display name; may be repeated
    #[arg(long)]
    identity: Vec<String>,
    /// The accessor of a token; may be repeated
    #[arg(long, alias = "accessor")]
    token: Vec<String>,
    /// A client's address, without a port; may be repeated
    #[arg(long)]
    ip: Vec<String>,
    /// Since when it may have been somebody else: a time such as 2026-11-22T17:00:00Z, or how long ago, such as 24h
    #[arg(long)]
    since: String,
}

pub(super) const EXAMPLES: &str = "Examples:
  aumbry audit blast-radius --identity ann --since 24h
  aumbry audit blast-radius --token 1b5c... --since 2026-11-22T17:00:00Z --output json
  aumbry audit blast-radius --ip 10.0.0.7 --since 7d

Told are the secrets whose current version was given to the identity, the token or the address, and to tokens that were made with those or by logins from there. What
was rotated, destroyed or deleted with its metadata since is counted, and not in the plan. Besides `read` and `sudo` on sys/audit-log/query it takes `read` on the secrets' metadata: a
secret whose metadata may not be read is in the plan.";

/// A secret that was given away.
#[derive(Default)]
struct Exposed {
    versions: BTreeSet<u64>,
    /// Whether there is a record that does not name the version.
    has_unnamed: bool,
    /// Whether it is of an engine without versions.
    is_plain: bool,
    reads: u64,
    first: String,
    last: String,
    last_seq: u64,
}

/// What has become of a secret since.
enum Since {
    /// What was given is what is there.
    Same { current: Option<u64> },
    /// It is not known.
    Unknown { why: &'static str },
    /// It is another one now.
    Rotated,
    /// It is gone.
    Gone,
}

/// All that was found.
#[derive(Default)]
struct Found {
    secrets: BTreeMap<String, Exposed>,
    /// Tokens that were made with what was exposed, whose records are still to be looked at.
    tokens: VecDeque<String>,
}

pub(super) async fn run(arguments: BlastRadius, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    if arguments.identity.is_empty() && arguments.token.is_empty() && arguments.ip.is_empty() {
        return Err(usage("name an --identity, a --token by its accessor, or an --ip"));
    }
    let which = |identity, accessor, ip| Which {
        identity,
        accessor,
        ip,
        since: Some(arguments.since.clone()),
        until: None,
    };
    // Each by itself: who is at risk is whom one of them fits, and a record has to fit all that one question names.
    let mut questions = Vec::new();
    for (identity, accessor, ip) in [
        (arguments.identity.clone(), Vec::new(), Vec::new()),
        (Vec::new(), arguments.token.clone(), Vec::new()),
        (Vec::new(), Vec::new(), arguments.ip.clone()),
    ] {
        let which = which(identity, accessor, ip);
        if which.is_somebody() {
            questions.push(which.body(&client).await);
        }
    }
    let mut found = Found::default();
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    for question in questions {
        look(&client, question, &mut found, &mut seen).await?;
    }
    let mut tokens: BTreeSet<String> = arguments.token.iter().cloned().collect();
    while let Some(accessor) = found.tokens.pop_front() {
        if !tokens.insert(accessor.clone()) {
            continue;
        }
        ensure!(
            tokens.len() <= TOKENS_MAX,
            "more than 1,000 tokens are at risk; name a later --since, or look at one token at a time"
        );
        let question = which(Vec::new(), vec![accessor], Vec::new()).body(&client).await;
        look(&client, question, &mut found, &mut seen).await?;
    }
    let plan = plan(&client, &found.secrets, &tokens).await?;
    show(format, &plan)
}

/// Looks through the records that a question names. What is found by two is counted once.
async fn look(
    client: &Caller,
    mut question: Map<String, Value>,
    found: &mut Found,
    seen: &mut BTreeSet<u64>,
) -> Result<()> {
    oldest_allowed(&mut question);
    let operations: Vec<&str> = READS.into_iter().chain(TOKENS).collect();
    question.insert("operation".to_owned(), json!(operations));
    fold(client, &question, (found, seen), |(found, seen), event| {
        let seq = event["seq"].as_u64().unwrap_or_default();
        if !seen.insert(seq) {
            return Ok(());
        }
        if let Some(accessor) = event["fields"]["accessor"].as_str() {
            found.tokens.push_back(accessor.to_owned());
        }
        if READS.contains(&text(event, "operation")) {
            for Given { path, version } in given(event) {
                let secret = found.secrets.entry(path).or_default();
                secret.note(event, seq, version);
            }
        }
        check(seen.len().div_ceil(RECORDS_EACH))
    })
    .await
    .map(drop)
}

impl Exposed {
    fn note(&mut self, event: &Value, seq: u64, version: Option<u64>) {
        let time = text(event, "time");
        self.is_plain = text(event, "operation") == "kv1.get";
        self.reads += 1;
        match version {
            Some(version) => drop(self.versions.insert(version)),
            None => self.has_unnamed = true,
        }
        // Times have one width, so texts are in their order.
        if self.first.is_empty() || time < self.first.as_str() {
            time.clone_into(&mut self.first);
        }
        if time >= self.last.as_str() {
            time.clone_into(&mut self.last);
        }
        self.last_seq = self.last_seq.max(seq);
    }
}

/// What to do: rotate what is still good, and end the tokens.
async fn plan(client: &Caller, secrets: &BTreeMap<String, Exposed>, tokens: &BTreeSet<String>) -> Result<Value> {
    let (mut rotate, mut rotated, mut gone) = (Vec::new(), 0, 0);
    for (path, secret) in secrets {
        let (current, because) = match since(client, path, secret).await? {
            Since::Same { current } => (current, "the current version was given away"),
            Since::Unknown { why } => (None, why),
            Since::Rotated => {
                rotated += 1;
                continue;
            }
            Since::Gone => {
                gone += 1;
                continue;
            }
        };
        rotate.push(json!({
            "path": path,
            "versions": secret.versions,
            "current": current,
            "reads": secret.reads,
            "first": secret.first,
            "last": secret.last,
            "because": because,
        }));
    }
    Ok(json!({ "rotate": rotate, "rotated_since": rotated, "gone": gone, "tokens": tokens }))
}

async fn since(client: &Caller, path: &str, secret: &Exposed) -> Result<Since> {
    if secret.is_plain {
        return written_since(client, path, secret.last_seq).await;
    }
    let request = v1::KvGetMetadataRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let metadata = match client.call(request).await {
        Ok(metadata) => metadata,
        Err(error) if error.reason() == "NOT_FOUND" => return Ok(Since::Gone),
        Err(error) if error.reason() == "PERMISSION_DENIED" => {
            return Ok(Since::Unknown {
                why: "its metadata may not be read, so nobody knows whether it was rotated",
            });
        }
        Err(error) => return Err(error.into()),
    };
    let current = metadata.current_version;
    let newest = metadata.versions.iter().find(|version| version.version == current);
    // A version that is deleted can be had again, and what it was is as good as before: it is gone once it is destroyed.
    let Some(newest) = newest.filter(|version| !version.destroyed) else {
        return Ok(Since::Gone);
    };
    // What a record does not name was the current version of then.
    let was_unnamed = secret.has_unnamed && aumbry_audit::text::time(newest.created_ms) <= secret.last;
    if secret.versions.contains(&current) || was_unnamed {
        let current = Some(current);
        return Ok(Since::Same { current });
    }
    Ok(Since::Rotated)
}

/// Whether a secret without versions was written or deleted behind a record.
async fn written_since(client: &Caller, path: &str, seq: u64) -> Result<Since> {
    let body: Map<String, Value> = [
        ("path", json!(path)),
        ("operation", json!(["kv1.put", "kv1.delete"])),
        ("outcome", json!(["allowed"])),
        ("from", json!(seq + 1)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    let mut last = String::new();
    // The newest of those that were applied comes first.
    each(client, &body, u64::MAX, |event| {
        if last.is_empty() && text(&event, "outcome") == "ok" {
            text(&event, "operation").clone_into(&mut last);
        }
        Ok(())
    })
    .await?;
    Ok(match last.as_str() {
        "" => Since::Same { current: None },
        "kv1.delete" => Since::Gone,
        _ => Since::Rotated,
    })
}

fn show(format: Format, plan: &Value) -> Result<()> {
    if format == Format::Json {
        return line_json(plan);
    }
    let empty = Vec::new();
    let rotate = plan["rotate"].as_array().unwrap_or(&empty);
    let tokens = plan["tokens"].as_array().unwrap_or(&empty);
    line(&format!(
        "{} to rotate; {} rotated since, {} gone since",
        rotate.len(),
        plan["rotated_since"],
        plan["gone"]
    ))?;
    if !rotate.is_empty() {
        let columns = ["path", "versions", "current", "reads", "first", "last", "because"];
        table(format, &columns, rotate)?;
    }
    if !tokens.is_empty() {
        line(&format!("{} tokens to revoke by their accessors:", tokens.len()))?;
        for accessor in tokens {
            line(&format!(
                "aumbry token revoke --accessor {}",
                accessor.as_str().unwrap_or_default()
            ))?;
        }
    }
    Ok(())
}

/// The operations that make tokens.
const TOKENS: [&str; 9] = [
    "token.create",
    "approle.login",
    "userpass.login",
    "jwt.login",
    "oidc.login",
    "kubernetes.login",
    "ldap.login",
    "cert.login",
    "mfa.validate",
];
/// Each is a query of its own.
const TOKENS_MAX: usize = 1_000;
/// A number takes a tenth of what a row does.
const RECORDS_EACH: usize = 10;
