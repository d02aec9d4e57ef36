//! The `aumbry` binary: the server, and the tools of operators and users.
//!
//! What it guarantees: a secret is never required on the command line; core dumps are off in every command; what comes from a server
//! is escaped before it reaches a terminal; exit codes say what happened.

mod answer;
mod audit;
mod auth;
mod bench;
mod context;
mod dev;
mod failure;
mod fields;
mod identity;
mod kv;
mod lease;
mod logical;
mod login;
mod man;
mod migrate;
mod mounts;
mod namespace;
mod operator;
mod output;
mod policy;
mod secrets;
mod server;
mod snapshot;
mod status;
mod token;
mod usage;
mod yaml;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use mimalloc::MiMalloc;
use zeroizing_alloc::ZeroAlloc;

use crate::context::{Context, Global};
use crate::failure::EXIT_CODES;
use crate::output::Format;

/// What is freed is wiped. A request passes through buffers of TLS, HTTP/2 and gRPC that know nothing of secrets; what they leave behind would lie
/// in the memory of a node long after it was sealed.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

/// Aumbry: a distributed, replicated secrets store.
#[derive(Parser)]
#[command(name = "aumbry", version, after_help = EXAMPLES, after_long_help = after_long_help())]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node, or check whether one could run
    #[command(after_help = "Examples:
  aumbry server --config /etc/aumbry/aumbry.toml
  aumbry server --check --config /etc/aumbry/aumbry.toml
  aumbry server --dev --dev-root-token-id root")]
    Server(server::Args),
    /// Run a local cluster, for trying things out
    Dev(dev::DevArgs),
    /// Initialise, unseal and run a cluster
    #[command(subcommand)]
    Operator(operator::Command),
    /// Read and write secrets
    #[command(subcommand)]
    Kv(kv::Command),
    /// Read what stands at any path
    Read(logical::Read),
    /// Write to any path
    Write(logical::Write),
    /// List the names below any path
    List(logical::List),
    /// Delete what stands at any path
    Delete(logical::Delete),
    /// Change a part of what stands at any path
    Patch(logical::Patch),
    /// Tell what a path is for, and what can be done there
    PathHelp(logical::PathHelp),
    /// Give what was wrapped, once
    Unwrap(logical::Unwrap),
    /// Enable, tune and disable secrets engines
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Enable, tune and disable auth methods
    #[command(subcommand)]
    Auth(auth::Command),
    /// Write and read policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Entities, their aliases, and groups
    #[command(subcommand)]
    Identity(identity::Command),
    /// Tenants, each with mounts, policies, tokens and identities of its own
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Look up, renew and revoke what lives for a time
    #[command(subcommand)]
    Lease(lease::Command),
    /// Create, renew and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Read, export and verify the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Move what another server keeps into Aumbry
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Measure how many requests servers answer, how fast, and at what cost
    Bench(bench::Bench),
    /// Tell the seal and health of every endpoint; needs no token, but names the nodes only with one. Fails if no node serves
    #[command(after_help = "Example:
  aumbry status --address n1.example.com:8200,n2.example.com:8200")]
    Status,
    /// Log in and keep the token for later commands
    Login(login::Args),
    /// Write a completion script for a shell
    #[command(after_help = "Example:
  aumbry completion bash >~/.local/share/bash-completion/completions/aumbry")]
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    Man(man::Args),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match usage::parse::<Cli>(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && usage::wants_json(&arguments) => {
            failure::tell(Format::Json, &failure::usage(error.render().to_string()));
            return ExitCode::from(failure::USAGE);
        }
        Err(error) => {
            // If nobody reads it, nobody misses it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    let format = cli.global.output.settle();
    let result = aumbry_server::harden()
        .map_err(anyhow::Error::from)
        .and_then(|()| run(cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<failure::Closed>() {
                failure::tell(format, &error);
            }
            ExitCode::from(failure::exit_code(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    let format = global.output.format();
    match cli.command {
        Command::Server(args) => server::run(&args, format),
        Command::Dev(args) => dev::run(args, format),
        Command::Man(args) => man::run(&args, &Cli::command()),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "aumbry", &mut script);
            output::raw(&script)
        }
        // Verifying needs no cluster.
        Command::Audit(audit::Command::Verify(verify)) => audit::verify(&verify, format),
        Command::Operator(command) => match operator::run_offline(command, format)? {
            Some(command) => run_online(Command::Operator(command), global),
            None => Ok(()),
        },
        Command::Policy(command) => match policy::run_offline(command, format)? {
            Some(command) => run_online(Command::Policy(command), global),
            None => Ok(()),
        },
        command => run_online(command, global),
    }
}

fn run_online(command: Command, global: Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(call(command, Context::new(global)))
}

async fn call(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Operator(command) => operator::run(command, &context).await,
        Command::Kv(command) => kv::run(command, &context).await,
        Command::Read(args) => logical::read(args, &context).await,
        Command::Write(args) => logical::write(args, &context).await,
        Command::List(args) => logical::list(args, &context).await,
        Command::Delete(args) => logical::delete(args, &context).await,
        Command::Patch(args) => logical::patch(args, &context).await,
        Command::Unwrap(args) => logical::unwrap(args, &context).await,
        Command::Secrets(command) => secrets::run(command, &context).await,
        Command::Auth(command) => auth::run(command, &context).await,
        Command::Policy(command) => policy::run(command, &context).await,
        Command::Identity(command) => identity::run(command, &context).await,
        Command::Namespace(command) => namespace::run(command, &context).await,
        Command::Lease(command) => lease::run(command, &context).await,
        Command::PathHelp(args) => logical::path_help(args, &context).await,
        Command::Token(command) => token::run(command, &context).await,
        Command::Audit(command) => audit::run(command, &context).await,
        Command::Migrate(command) => migrate::run(command, &context).await,
        Command::Bench(args) => bench::run(args, &context).await,
        Command::Status => status::run(&context.at_root()).await,
        Command::Login(args) => login::run(&args, &context).await,
        // They are run without a cluster.
        Command::Server(_) | Command::Dev(_) | Command::Completion { .. } | Command::Man(_) => Ok(()),
    }
}

fn after_long_help() -> String {
    format!("{ENVIRONMENT}\n\n{EXIT_CODES}\n\n{EXAMPLES}")
}

const EXAMPLES: &str = "Examples:
  aumbry dev                                    a local cluster of three nodes
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv get --output json secret/app
  aumbry login --method userpass username=ann   asks for the password
  aumbry read auth/token/lookup-self
  aumbry operator unseal                        asks for a key share
  aumbry operator unseal -  <share.txt";

const ENVIRONMENT: &str = "Environment:
  AUMBRY_ADDR    the nodes, host:port, separated by commas
  AUMBRY_CACERT  the file with the authority of the nodes' certificates (PEM)
  AUMBRY_TOKEN   the token; else VAULT_TOKEN, else the one that `aumbry login` kept
  AUMBRY_NAMESPACE
                 what --namespace says if it is not given; else VAULT_NAMESPACE
  AUMBRY_FORMAT, AUMBRY_TIMEOUT, AUMBRY_WRAP_TTL
                 what --output, --timeout and --wrap-ttl say if they are not given
  VAULT_CACERT, VAULT_FORMAT, VAULT_WRAP_TTL
                 as those of Aumbry, which go first. VAULT_ADDR is not used: it names the HTTP interface";
