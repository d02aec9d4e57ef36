//! `aumbry bench`: a load generator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aumbry_bench::{Channel, Error, Idempotency, Loop, Mix, Plan, Progress, Report, Role, Target, run as run_plan};
use aumbry_types::{SecretBytes, parse_duration};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::context::{Context, file_token, kept_token};
use crate::failure::{note, usage, warn};
use crate::output::{Format, line_json, pairs};

/// The settings of a run.
#[derive(Args)]
#[command(after_help = EXAMPLES, after_long_help = after_long_help())]
pub(crate) struct Bench {
    /// What is asked of the servers
    #[arg(long, value_enum, default_value = "read")]
    mix: Mix,
    /// Who is asked
    #[arg(long, value_enum, default_value = "aumbry")]
    target: Target,
    /// How Aumbry is reached
    #[arg(long, value_enum, default_value = "sdk")]
    channel: Channel,
    /// How many requests are in flight at most
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Over how many connections; by default up to 8, with Vault one for each request in flight
    #[arg(long)]
    connections: Option<usize>,
    /// How long the part that counts lasts; 0 ends after --prepare
    #[arg(long, default_value = "8s", value_parser = parse_duration)]
    duration: Duration,
    /// How long the part before it lasts
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,
    /// Requests to send in a second, whether earlier ones are answered or not
    #[arg(long)]
    rate: Option<f64>,
    /// How many keys there are
    #[arg(long, default_value_t = 1_000)]
    keys: u64,
    /// How many bytes each secret has
    #[arg(long, default_value_t = 1_024)]
    value_size: usize,
    /// Where the keys are: the mount, then a directory
    #[arg(long, default_value = "secret/bench")]
    path: String,
    /// Write all keys first
    #[arg(long)]
    prepare: bool,
    /// Writes carry no idempotency keys, so that they could not be tried again safely
    #[arg(long)]
    no_idempotency_keys: bool,
    /// Processes on this machine whose costs are told, separated by commas
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Metrics listeners of the nodes, host:port, separated by commas
    #[arg(long, value_delimiter = ',')]
    metrics: Vec<String>,
    /// A file with the token, instead of AUMBRY_TOKEN
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// For --mix login: a JSON file with role_id, secret_id and, if it is not approle, mount
    #[arg(long)]
    approle_file: Option<PathBuf>,
}

pub(crate) async fn run(args: Bench, context: &Context) -> Result<()> {
    let format = context.format();
    let token = token(&args)?;
    let is_prepared = args.prepare;
    let plan = plan(args, context)?;
    let mut tell = |progress| {
        let Progress::Prepared { written, keys } = progress;
        note(&format!("{written} of {keys} keys are written"));
    };
    let tell: Option<&mut dyn FnMut(Progress)> = if is_prepared { Some(&mut tell) } else { None };
    let report = run_plan(&plan, &token, tell).await.map_err(|error| match error {
        Error::Setting(text) => usage(text),
        error => error.into(),
    })?;
    match report {
        Some(report) => show(&report, format),
        None => Ok(()),
    }
}

fn plan(args: Bench, context: &Context) -> Result<Plan> {
    if args.duration.is_zero() && !args.prepare {
        return Err(usage("--duration 0 does nothing without --prepare"));
    }
    let ca_pem = match &context.ca_cert() {
        Some(file) => std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => Vec::new(),
    };
    Ok(Plan {
        target: args.target,
        channel: args.channel,
        addresses: context.global.address.clone(),
        ca_pem,
        mix: args.mix,
        pace: args.rate.map_or(Loop::Closed, |rate| Loop::Open { rate }),
        concurrency: args.concurrency,
        connections: args.connections,
        duration: args.duration,
        warmup: args.warmup,
        timeout: context.global.timeout,
        path: args.path,
        keys: args.keys,
        value_size: args.value_size,
        idempotency: if args.no_idempotency_keys {
            Idempotency::Plain
        } else {
            Idempotency::Keyed
        },
        role: args.approle_file.as_deref().map(role).transpose()?,
        pids: args.pids,
        metrics: args.metrics,
    })
}

/// Reads who logs in.
fn role(file: &Path) -> Result<Role> {
    let bytes = file_token(file)?;
    // What stands in the file is never told.
    let wrong =
        || usage("--approle-file is JSON: {\"role_id\": \"..\", \"secret_id\": \"..\", \"mount\": \"approle\"}");
    let found: ApproleFile = serde_json::from_slice(bytes.expose()).map_err(|_| wrong())?;
    Ok(Role {
        mount: found.mount.unwrap_or_else(|| "approle".to_owned()),
        role_id: found.role_id,
        secret_id: Arc::new(SecretBytes::from(found.secret_id)),
    })
}

#[derive(Deserialize)]
struct ApproleFile {
    mount: Option<String>,
    role_id: String,
    secret_id: String,
}

/// The token to show. Another store than Aumbry is never shown the one that `aumbry login` kept, and etcd, which takes requests without
/// one, only what a file holds for it.
fn token(args: &Bench) -> Result<SecretBytes> {
    match (&args.token_file, args.target) {
        (Some(file), _) => file_token(file),
        (None, Target::Aumbry) => kept_token(),
        (None, Target::Vault) => std::env::var("AUMBRY_TOKEN")
            .map(SecretBytes::from)
            .map_err(|_| usage("name the token of the server that is measured: --token-file FILE or AUMBRY_TOKEN")),
        (None, Target::Etcd) => Ok(SecretBytes::default()),
    }
}

fn show(report: &Report, format: Format) -> Result<()> {
    let document = report.document();
    match format {
        Format::Json => line_json(&document)?,
        Format::Table => table(&document)?,
    }
    let failures = report.failures();
    if report.is_all_failed() && failures == 0 {
        return Err(anyhow!(
            "no request ended in time: raise --duration, or look whether the servers serve (`aumbry status`)"
        ));
    }
    if report.is_all_failed() {
        let kinds = report.kinds();
        return Err(anyhow!("all requests failed: {kinds}; {}", hint(report)));
    }
    if failures > 0 {
        let kinds = report.kinds();
        warn(
            format,
            &format!("{failures} requests failed: {kinds}; {}", hint(report)),
        );
    }
    if format == Format::Table {
        report.notes().iter().for_each(|text| note(text));
    }
    Ok(())
}

/// What to do about the failure that there is most of.
fn hint(report: &Report) -> &'static str {
    let most = report.errors.iter().max_by_key(|(_, count)| **count);
    match most.map_or("", |(kind, _)| kind.as_str()) {
        "TOKEN_INVALID" | "PERMISSION_DENIED" | "UNAUTHENTICATED" | "HTTP_403" | "HTTP_401" => {
            "check the token (AUMBRY_TOKEN, --token-file) and its policies"
        }
        "NOT_FOUND" | "HTTP_404" => "write the keys first with --prepare",
        "SEALED" | "HTTP_503" => "unseal the servers",
        "RESOURCE_EXHAUSTED" | "OVERLOADED" | "HTTP_429" => {
            "this is more than the servers take: lower --rate or --concurrency"
        }
        "TIMEOUT" => "raise --timeout, or lower --rate or --concurrency",
        _ => "`aumbry status` tells which nodes serve",
    }
}

fn table(document: &Value) -> Result<()> {
    let shown = |key: &str, digits: usize| {
        document[key]
            .as_f64()
            .map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
    };
    let rows = [
        ("requests", shown("requests", 0)),
        ("rate, 1/s", shown("rate", 1)),
        ("p50, ms", shown("p50_ms", 3)),
        ("p90, ms", shown("p90_ms", 3)),
        ("p99, ms", shown("p99_ms", 3)),
        ("p99.9, ms", shown("p999_ms", 3)),
        ("max, ms", shown("max_ms", 3)),
        ("failed", shown("error_count", 0)),
        ("CPU, us/request", shown("cpu_us_per_request", 1)),
        ("generator CPU, us/request", shown("generator_cpu_us_per_request", 1)),
        ("fdatasync/request", shown("fdatasync_per_request", 3)),
        ("bytes written/request", shown("write_bytes_per_request", 0)),
        ("memory, bytes", shown("rss_bytes", 0)),
    ];
    pairs("", rows)
}

fn after_long_help() -> String {
    format!("{METHOD}\n\n{KEYS}\n\n{EXAMPLES}")
}

const METHOD: &str = "Method:
  Without --rate the loop is closed: --concurrency requests are always in flight. With --rate it is open: requests
  are sent by a schedule, and latency counts from when a request was to be sent, so that a stall shows in all that it
  delays. Keys are asked in a scattered order, each once before any is asked again.
  Costs are of the processes of --pids, which must be on this machine, and of the nodes of --metrics, in the same
  window as the replies. fdatasync_per_request is null without --metrics: only Aumbry counts them, as
  aumbry_log_fsyncs. Bytes written are null unless /proc/PID/io may be read, which for a server takes root.
  What --prepare, writes and tokens leave behind stays; tokens live for ten minutes, those of logins as long as the role says.";

const KEYS: &str = "With --output json, times are in milliseconds and what is not known is null:
  rate, requests, duration_s             good replies that arrived in the window; their rate is requests / duration_s
  p50_ms p90_ms p99_ms p999_ms max_ms    of the good replies to requests that were to begin in the window (samples)
  operations                             the same for reads and writes of --mix mixed
  errors, error_count                    failed requests of the window, by kind
  errors_outside                         failed requests of the warm-up and after the window, by kind
  answered_total                         all answers, of the warm-up and after the window too
  unsent                                 requests of an open loop that were due and never sent
  start_delay_p99_ms                     how late an open loop sent; latency includes it
  cpu_us_per_request, generator_cpu_us_per_request, fdatasync_per_request, write_bytes_per_request, rss_bytes
Exit code 1 if all requests failed; 0 if some did, with a warning.";

const EXAMPLES: &str = "Examples:
  aumbry bench --prepare --mix read                     64 readers of 1,000 keys
  aumbry bench --mix mixed --rate 2000 --duration 30s   an open loop, 95 reads to 5 writes
  aumbry bench --mix write --concurrency 1 --pids 11,12,13 --metrics a:9100,b:9100,c:9100 --output json
  aumbry bench --target vault --address https://127.0.0.1:8200 --ca-cert ca.pem --token-file t --prepare
  aumbry bench --target etcd --address https://127.0.0.1:2379 --ca-cert ca.pem --mix write
  aumbry bench --mix login --approle-file role.json     logins with a role and a secret id";
