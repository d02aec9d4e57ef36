//! `aumbry migrate vault`: moves what a Vault-compatible server keeps into Aumbry.
//!
//! What it guarantees:
//! - The source is only read. What is in the target already and equal is left alone; what differs is told, and kept unless `--overwrite` is given.
//! - It can be broken off at any moment and run again: the next run goes on where it ended.
//! - The report names everything that was not moved, and why; the exit code says whether there is any.
//! - Memory holds one version of each of a bounded number of secrets, and the names of the directories on the way down.
//!
//! What it does not do: move tokens, leases, secret ids and passwords, which no server gives out; move other engines and methods.

mod kv;
mod logins;
mod mounts;
mod policies;
mod report;
mod source;
mod target;
mod versions;
mod walk;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aumbry_types::SecretBytes;
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use crate::context::{Context, file_token, own_token, read_stdin, set};
use crate::failure::usage;
use report::{Kind, Report, Why};
use source::{Settings, Source};
use target::Target;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// From a server that speaks Vault's HTTP interface: kv engines, policies, AppRole roles, userpass users
    #[command(
        after_help = "The source is only read. The command can be broken off and run again: what is there already and equal is left alone.
It ends with 0 if everything is there, with 9 if only such things remain as no server gives out (the report names them), with 1 if
anything was left.

Examples:
  aumbry migrate vault --source-address https://vault.example.com:8200 --source-token-file vault-token --dry-run
  aumbry migrate vault --source-address https://vault.example.com:8200 --source-token-file vault-token --passwords new.json
  aumbry migrate vault --source-address http://127.0.0.1:8200 --source-token-file - --only kv --mount team <vault-token"
    )]
    Vault(Vault),
}

/// How to move.
#[derive(clap::Args)]
pub(crate) struct Vault {
    /// Where the source is: https://HOST:PORT, or http:// on this machine
    #[arg(long, env = "VAULT_ADDR")]
    source_address: String,
    /// The file with the source's token, or - for standard input; VAULT_TOKEN by default
    #[arg(long)]
    source_token_file: Option<String>,
    /// The authority of the source's certificate (PEM); VAULT_CACERT, or those that the system trusts, by default
    #[arg(long)]
    source_ca_cert: Option<PathBuf>,
    /// The source's namespace
    #[arg(long)]
    source_namespace: Option<String>,
    /// Send the source's token over a network in clear
    #[arg(long)]
    danger_plain_http: bool,
    /// Write nothing; tell what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write over what differs in the target
    #[arg(long)]
    overwrite: bool,
    /// Only these, separated by commas
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only kv engines mounted here; repeat for several
    #[arg(long)]
    mount: Vec<String>,
    /// A JSON file with the new passwords of users: {\"userpass/ann\": \"...\"}
    #[arg(long)]
    passwords: Option<PathBuf>,
}

/// What can be moved.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Policies,
    Kv,
    Approle,
    Userpass,
}

/// What is decided for the whole run.
struct Plan {
    is_dry: bool,
    overwrites: bool,
    only: Vec<Part>,
    mounts: Vec<String>,
    passwords: BTreeMap<String, SecretBytes>,
}

impl Plan {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// The two servers, the plan, and what became of it so far.
struct Run {
    source: Source,
    target: Target,
    plan: Plan,
    report: Report,
}

impl Run {
    /// A part that cannot be moved keeps no other from being moved.
    fn part(&self, kind: Kind, name: &str, ended: Result<()>) {
        if let Err(error) = ended {
            self.report.remains(kind, name, Why::Left(format!("{error:#}")));
        }
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let Command::Vault(args) = command;
    let run = prepare(args, context)?;
    // Whatever it says: it is there and speaks the interface.
    run.source.read("sys/seal-status").await?;
    if run.plan.has(Part::Policies) {
        run.part(Kind::Policy, "policies", policies::run(&run).await);
    }
    if run.plan.has(Part::Kv) {
        run.part(Kind::Mount, "kv engines", kv::run(&run).await);
    }
    if run.plan.has(Part::Approle) || run.plan.has(Part::Userpass) {
        run.part(Kind::Mount, "auth methods", logins::run(&run).await);
    }
    run.report.finish()
}

fn prepare(args: Vault, context: &Context) -> Result<Run> {
    let token = match args.source_token_file.as_deref() {
        Some("-") => read_stdin()?,
        Some(file) => file_token(file.as_ref())?,
        None => SecretBytes::from(set("VAULT_TOKEN").ok_or_else(|| {
            usage("give the source's token: --source-token-file FILE, - for standard input, or VAULT_TOKEN")
        })?),
    };
    let ca_file = args.source_ca_cert.or_else(|| set("VAULT_CACERT").map(PathBuf::from));
    let ca_pem = ca_file
        .map(|file| std::fs::read(&file).with_context(|| format!("cannot read {}", file.display())))
        .transpose()?;
    let source = Source::new(Settings {
        address: args.source_address,
        ca_pem,
        token,
        namespace: args.source_namespace,
        is_plain_allowed: args.danger_plain_http,
    })?;
    // VAULT_TOKEN is the source's here.
    let client = context.build(context.builder()?.token(own_token()?))?;
    Ok(Run {
        source,
        target: Target::new(client, args.dry_run),
        plan: Plan {
            is_dry: args.dry_run,
            overwrites: args.overwrite,
            only: args.only,
            mounts: args
                .mount
                .iter()
                .map(|mount| mount.trim_matches('/').to_owned())
                .collect(),
            passwords: args
                .passwords
                .as_deref()
                .map(passwords)
                .transpose()?
                .unwrap_or_default(),
        },
        report: Report::new(context.format(), args.dry_run),
    })
}

/// The new passwords, by mount and user.
fn passwords(file: &std::path::Path) -> Result<BTreeMap<String, SecretBytes>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let wrong = || usage(format!("{} is no JSON object of texts", file.display()));
    // The parser's error could quote a password.
    let Ok(Value::Object(object)) = serde_json::from_slice(&text) else {
        return Err(wrong());
    };
    let text = |(name, value): (String, Value)| match value {
        Value::String(password) => Ok((name.trim_start_matches("auth/").to_owned(), SecretBytes::from(password))),
        _ => Err(wrong()),
    };
    object.into_iter().map(text).collect()
}
