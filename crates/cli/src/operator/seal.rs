//! The seals of nodes: each has its own, and is opened and closed by itself.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aumbry_client::v1::{self, Verb};
use aumbry_types::SecretBytes;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::context::{ByPath, Caller, Context, ask, read_stdin};
use crate::failure::{Failed, usage};
use crate::logical::call;
use crate::output::{Format, document, done, line, line_json};

/// Which share is shown, to whom.
#[derive(clap::Args)]
pub(crate) struct Unseal {
    /// `-` reads the share from standard input; by default it is asked for
    share: Option<String>,
    /// Read the share from this file
    #[arg(long)]
    file: Option<PathBuf>,
    /// Forget the shares shown so far
    #[arg(long)]
    reset: bool,
    /// Show it to every endpoint, not to the first alone
    #[arg(long)]
    all: bool,
}

pub(super) async fn unseal(context: &Context, arguments: &Unseal) -> Result<()> {
    let client = context.anonymous()?;
    let share = match (arguments.reset, arguments.share.as_deref(), arguments.file.as_deref()) {
        (true, None, None) => None,
        (true, ..) => return Err(usage("--reset takes no share")),
        (false, None, None) => Some(ask("Key share: ")?),
        (false, Some("-"), None) => Some(read_stdin()?),
        (false, None, Some(file)) => Some(read(file)?),
        _ => {
            return Err(usage(
                "a share on the command line would stay in the shell's history: pass `-` or --file FILE",
            ));
        }
    };
    let mut shows = Shows::new(context, arguments.all)?;
    for address in shows.addresses.clone() {
        let told = match &share {
            Some(share) => client.sdk().unseal(Some(&address), share.duplicate()).await,
            None => client.sdk().reset_unseal(Some(&address)).await,
        };
        shows.tell(&address, told.map_err(Failed::read))?;
    }
    shows.end(&client).await
}

/// What is sealed.
#[derive(clap::Args)]
pub(crate) struct Seal {
    /// Seal every endpoint
    #[arg(long, conflicts_with_all = ["cluster", "release"])]
    all: bool,
    /// Seal every node of the cluster for good: one that is cut off or down seals itself when it comes back, and only key shares open nodes
    #[arg(long, conflicts_with = "release")]
    cluster: bool,
    /// After --cluster: let seals of keys, such as key files, open nodes again
    #[arg(long)]
    release: bool,
}

pub(super) async fn seal(context: &Context, arguments: &Seal) -> Result<()> {
    if arguments.cluster {
        return seal_cluster(context).await;
    }
    let client = context.client()?;
    if arguments.release {
        call(&client, ByPath::new(Verb::Delete, CLUSTER)).await?;
        return done(context.format(), "released");
    }
    let mut shows = Shows::new(context, arguments.all)?;
    if shows.addresses.len() > 1 {
        let mut leads = Vec::new();
        for address in &shows.addresses {
            let health = client.sdk().health(Some(address)).await;
            leads.push(health.is_ok_and(|health| health.is_leader));
        }
        // The leader last: it admits the requests.
        let (leader, mut others): (Vec<_>, Vec<_>) =
            shows.addresses.drain(..).zip(leads).partition(|(_, leads)| *leads);
        others.extend(leader);
        shows.addresses = others.into_iter().map(|(address, _)| address).collect();
    }
    for address in shows.addresses.clone() {
        let told = seal_one(context, &client, &address).await;
        shows.tell(&address, told)?;
    }
    shows.end(&client).await
}

/// Seals the cluster, and tells how the endpoints take it: each obeys when it hears of it, which is soon, or when it comes back.
async fn seal_cluster(context: &Context) -> Result<()> {
    let client = context.client()?;
    call(&client, ByPath::new(Verb::Write, CLUSTER)).await?;
    let mut shows = Shows::new(context, true)?;
    let deadline = Instant::now() + context.global.timeout.min(OBEYED);
    for address in shows.addresses.clone() {
        let status = loop {
            match client.seal_status(&address).await {
                // The one that was asked is sealed before it has applied what the leader wrote.
                Ok(status) if !(status.sealed && status.keys_held_back) && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                status => break status,
            }
        };
        match (context.format(), status) {
            (Format::Table, Err(error)) => {
                line(&format!(
                    "{address}: {error}; it seals itself when it hears of the others"
                ))?;
            }
            (Format::Json, Err(error)) => {
                let told = json!({ "address": address, "error": error.to_string() });
                shows.rows.push(told);
            }
            (_, status) => shows.tell(&address, status)?,
        }
    }
    // The cluster is sealed by now, whatever an endpoint says.
    shows.end(&client).await
}

/// Seals a node, and tells its seal. Between two leaders it is tried again.
async fn seal_one(context: &Context, client: &Caller, address: &str) -> Result<v1::SealStatusReply, Failed> {
    let deadline = Instant::now() + context.global.timeout;
    loop {
        let sealing = client.call_on(address, v1::SealRequest::default()).await;
        let status = client.seal_status(address).await;
        // An answer may be lost to the sealing itself; what counts is the seal.
        match (sealing, status) {
            (_, Ok(status)) if status.sealed && status.initialized => return Ok(status),
            (Err(error), _) if error.reason() == "NOT_LEADER" && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            (Err(error), _) => return Err(error),
            (Ok(_), status) => return status,
        }
    }
}

pub(super) async fn status(context: &Context) -> Result<()> {
    let client = context.anonymous()?;
    let first = context.first()?;
    let status = client.seal_status(first).await?;
    document(context.format(), &object(first, &status))?;
    if context.format() == Format::Table {
        tell_others(context, &client, &[first.to_owned()]).await?;
    }
    Ok(())
}

/// What was done to some endpoints, as it is shown.
struct Shows<'a> {
    context: &'a Context,
    addresses: Vec<String>,
    all: bool,
    /// For programs that asked for all.
    rows: Vec<Value>,
    failure: Option<Failed>,
}

impl<'a> Shows<'a> {
    fn new(context: &'a Context, all: bool) -> Result<Self> {
        let addresses = match all {
            true => context.global.address.clone(),
            false => vec![context.first()?.to_owned()],
        };
        Ok(Self {
            context,
            addresses,
            all,
            rows: Vec::new(),
            failure: None,
        })
    }

    /// Tells of one endpoint; with several, a failure of one does not keep the others.
    fn tell(&mut self, address: &str, told: Result<v1::SealStatusReply, Failed>) -> Result<()> {
        let format = self.context.format();
        match told {
            Ok(status) if format == Format::Json => self.rows.push(object(address, &status)),
            Ok(status) => line(&format!("{address}: {}", words(&status)))?,
            Err(error) if !self.all => return Err(error.into()),
            Err(error) => {
                match format {
                    Format::Json => self
                        .rows
                        .push(json!({ "address": address, "error": error.to_string() })),
                    Format::Table => line(&format!("{address}: {error}"))?,
                }
                self.failure.get_or_insert(error);
            }
        }
        Ok(())
    }

    async fn end(self, client: &Caller) -> Result<()> {
        match (self.context.format(), self.rows.as_slice()) {
            (Format::Json, [row]) if !self.all => line_json(row)?,
            (Format::Json, rows) => line_json(&json!({ "nodes": rows }))?,
            (Format::Table, _) => tell_others(self.context, client, &self.addresses).await?,
        }
        self.failure.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// How it stands with the addresses that were given, and that nothing was done to.
async fn tell_others(context: &Context, client: &Caller, told: &[String]) -> Result<()> {
    let (mut open, mut sealed) = (Vec::new(), Vec::new());
    for address in context.global.address.iter().filter(|address| !told.contains(address)) {
        match client.seal_status(address).await {
            Ok(status) if status.sealed => sealed.push(address.as_str()),
            Ok(_) => open.push(address.as_str()),
            Err(_) => {}
        }
    }
    for (word, addresses) in [("open", open), ("sealed", sealed)] {
        if !addresses.is_empty() {
            line(&format!(
                "{} of the other addresses {} {word}: {}",
                addresses.len(),
                if addresses.len() == 1 { "is" } else { "are" },
                addresses.join(", ")
            ))?;
        }
    }
    Ok(())
}

fn words(status: &v1::SealStatusReply) -> String {
    match (status.initialized, status.sealed, status.progress) {
        (false, ..) => "belongs to no cluster yet".to_owned(),
        (_, false, _) if status.keys_held_back => {
            "unsealed; keys open no node until `aumbry operator seal --release`".to_owned()
        }
        (_, false, _) => "unsealed".to_owned(),
        (_, true, 0) if status.keys_held_back => "sealed with the whole cluster: key shares open it".to_owned(),
        (_, true, 0) => "sealed".to_owned(),
        (_, true, progress) => format!("{progress} of {} shares", status.threshold),
    }
}

fn object(address: &str, status: &v1::SealStatusReply) -> Value {
    json!({
        "address": address,
        "initialized": status.initialized,
        "sealed": status.sealed,
        "threshold": status.threshold,
        "shares": status.shares,
        "progress": status.progress,
        "epoch": status.epoch,
        "seals": status.seals,
        "keys_held_back": status.keys_held_back,
        "version": status.version,
        "cluster_id": status.cluster_id,
        "applied_index": status.applied_index,
    })
}

/// Reads a share from a file.
pub(super) fn read(file: &Path) -> Result<SecretBytes> {
    // The shares of `init --out-dir` have no newline; an editor may have added one.
    let mut bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    while bytes.last().is_some_and(u8::is_ascii_whitespace) {
        bytes.pop();
    }
    Ok(SecretBytes::new(bytes))
}

const PAUSE: Duration = Duration::from_millis(50);
/// A node that hears of its leader obeys within a heartbeat and a tenth of a second.
const OBEYED: Duration = Duration::from_secs(5);
/// The path of the seal of the whole cluster.
const CLUSTER: &str = "sys/seal/cluster";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_told_in_words() {
        let status = |initialized, sealed, progress| v1::SealStatusReply {
            initialized,
            sealed,
            progress,
            threshold: 3,
            ..Default::default()
        };
        let held_back = |sealed| v1::SealStatusReply {
            keys_held_back: true,
            ..status(true, sealed, 0)
        };
        for (status, text) in [
            (status(false, true, 0), "belongs to no cluster yet"),
            (status(true, true, 0), "sealed"),
            (status(true, true, 2), "2 of 3 shares"),
            (status(true, false, 0), "unsealed"),
            (held_back(true), "sealed with the whole cluster: key shares open it"),
            (
                held_back(false),
                "unsealed; keys open no node until `aumbry operator seal --release`",
            ),
        ] {
            assert_eq!(words(&status), text);
        }
    }
}
