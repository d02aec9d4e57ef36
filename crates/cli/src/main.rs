//! The `aumbry` binary: the server, and the tools of operators and users.
//!
//! What it guarantees: a secret is never required on the command line; core dumps are off in every command; what comes from a server
//! is escaped before it reaches a terminal; exit codes say what happened.

mod audit;
mod context;
mod dev;
mod kv;
mod login;
mod operator;
mod output;
mod policy;
mod secrets;
mod snapshot;
mod status;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::context::{Context, Global};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Aumbry: a distributed, replicated secrets store.
#[derive(Parser)]
#[command(name = "aumbry", version, after_help = EXAMPLES, after_long_help = LONG)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node
    Server {
        /// The configuration file; deploy/aumbry.toml documents it
        #[arg(long)]
        config: PathBuf,
    },
    /// Run a local cluster, for trying things out
    Dev(dev::DevArgs),
    /// Initialise, unseal and run a cluster
    #[command(subcommand)]
    Operator(operator::Command),
    /// Read and write secrets
    #[command(subcommand)]
    Kv(kv::Command),
    /// Enable and disable secrets engines
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Write and read policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Create, renew and revoke tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Read, export and verify the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Tell the seal and health of every endpoint; needs no token
    Status,
    /// Check a token and keep it for later commands
    Login(login::Args),
    /// Write a completion script for a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = aumbry_server::harden()
        .map_err(anyhow::Error::from)
        .and_then(|()| run(cli));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(output::exit_code(&error))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let global = cli.global;
    match cli.command {
        Command::Server { config } => Ok(aumbry_server::run(&config)?),
        Command::Dev(args) => dev::run(args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "aumbry", &mut std::io::stdout());
            Ok(())
        }
        // Verifying needs no cluster.
        Command::Audit(audit::Command::Verify(verify)) => audit::verify(&verify, global.output),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(call(command, Context::new(global)))
        }
    }
}

async fn call(command: Command, context: Context) -> anyhow::Result<()> {
    match command {
        Command::Operator(command) => operator::run(command, &context).await,
        Command::Kv(command) => kv::run(command, &context).await,
        Command::Secrets(command) => secrets::run(command, &context).await,
        Command::Policy(command) => policy::run(command, &context).await,
        Command::Token(command) => token::run(command, &context).await,
        Command::Audit(command) => audit::run(command, &context).await,
        Command::Status => status::run(&context).await,
        Command::Login(args) => login::run(&args, &context).await,
        Command::Server { .. } | Command::Dev(_) | Command::Completion { .. } => Ok(()),
    }
}

const EXAMPLES: &str = "Examples:
  aumbry dev                                    a local cluster of three nodes
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv get secret/app
  aumbry operator unseal                        asks for a key share";

const LONG: &str = "Environment:
  AUMBRY_ADDR    the nodes, host:port, separated by commas
  AUMBRY_CACERT  the file with the authority of the nodes' certificates (PEM)
  AUMBRY_TOKEN   the token; else the one that `aumbry login` kept

Exit codes:
  0  done
  1  failed; nothing was changed unless the message says so
  2  the command line is wrong
  3  the node is sealed
  4  permission denied, or no valid token
  5  the outcome is unknown: the request may have been applied

Examples:
  aumbry dev
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv get --output json secret/app
  aumbry operator unseal -  <share.txt";
