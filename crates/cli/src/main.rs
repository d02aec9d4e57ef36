//! The `aumbry` binary: the server, and the tools of operators and users.
//!
//! What it guarantees: a secret is never required on the command line; core dumps are off in every command; what comes from a server
//! is escaped before it reaches a terminal; exit codes say what happened.

mod audit;
mod bench;
mod context;
mod dev;
mod failure;
mod kv;
mod login;
mod operator;
mod output;
mod policy;
mod secrets;
mod server;
mod snapshot;
mod status;
mod token;
mod usage;

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
    Server(server::Args),
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
    /// Measure how many requests servers answer, how fast, and at what cost
    Bench(bench::Bench),
    /// Tell the seal and health of every endpoint; needs no token, but names the nodes only with one. Fails if no node serves
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
    let format = cli.global.output;
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
    match cli.command {
        Command::Server(args) => server::run(&args, global.output),
        Command::Dev(args) => dev::run(args, global.output),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "aumbry", &mut script);
            output::raw(&script)
        }
        // Verifying needs no cluster.
        Command::Audit(audit::Command::Verify(verify)) => audit::verify(&verify, global.output),
        Command::Operator(command) => match operator::run_offline(command, global.output)? {
            Some(command) => run_online(Command::Operator(command), global),
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
        Command::Secrets(command) => secrets::run(command, &context).await,
        Command::Policy(command) => policy::run(command, &context).await,
        Command::Token(command) => token::run(command, &context).await,
        Command::Audit(command) => audit::run(command, &context).await,
        Command::Bench(args) => bench::run(args, &context).await,
        Command::Status => status::run(&context).await,
        Command::Login(args) => login::run(&args, &context).await,
        Command::Server(_) | Command::Dev(_) | Command::Completion { .. } => Ok(()),
    }
}

fn after_long_help() -> String {
    format!("{ENVIRONMENT}\n\n{EXIT_CODES}\n\n{EXAMPLES}")
}

const EXAMPLES: &str = "Examples:
  aumbry dev                                    a local cluster of three nodes
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv get --output json secret/app
  aumbry operator unseal                        asks for a key share
  aumbry operator unseal -  <share.txt";

const ENVIRONMENT: &str = "Environment:
  AUMBRY_ADDR    the nodes, host:port, separated by commas
  AUMBRY_CACERT  the file with the authority of the nodes' certificates (PEM)
  AUMBRY_TOKEN   the token; else the one that `aumbry login` kept";
