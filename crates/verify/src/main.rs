//! `aumbry-verify`: what an auditor runs on a machine of its own, with a public key and nothing else.
//!
//! What it guarantees:
//! - It opens the files that are named, writes only what `--save-checkpoint` and `--out` name, and speaks to nobody.
//! - An export is verified in one pass and in the memory of one line and one tree, whatever its length.
//! - It ends with 0 only if all that was asked was verified; with 1 and the first thing wrong if not; with 2 if it could
//!   not begin, because an argument, a key or a file is not there or not one.
//!
//! What it does not do: verify anything in its own way. All of that is `aumbry-audit`, as in `aumbry audit verify`.

mod chain;
mod checkpoints;
mod export;
mod files;
mod notes;
mod proofs;
mod prove;
mod receipt;
mod trust;
mod verdict;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Verifies audit exports, signed checkpoints and proofs, offline and with a public key alone
#[derive(Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 verified, 1 not verified, 2 wrong use or a file that cannot be opened."
)]
struct Cli {
    /// For people, or for programs: one JSON object
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Verify an export: every record, every checkpoint, in one pass
    Export(export::Arguments),
    /// Verify a chain of signed checkpoints, in the order given
    Checkpoints(checkpoints::Arguments),
    /// Verify that a newer checkpoint's log begins with all records of an older one's
    Consistency(proofs::Growth),
    /// Verify that one record is in the log of a checkpoint
    Inclusion(proofs::Membership),
    /// Verify a receipt of a server, and that the log has what it is of
    Receipt(receipt::Arguments),
    /// Make a proof from a whole export
    #[command(subcommand)]
    Prove(prove::Command),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If nobody reads it, nobody misses it.
            let _ = error.print();
            return if error.use_stderr() {
                verdict::misused()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let result = match cli.command {
        Command::Export(arguments) => export::run(&arguments),
        Command::Checkpoints(arguments) => checkpoints::run(&arguments),
        Command::Consistency(arguments) => proofs::consistency(&arguments),
        Command::Inclusion(arguments) => proofs::inclusion(&arguments),
        Command::Receipt(arguments) => receipt::run(&arguments),
        Command::Prove(command) => prove::run(&command),
    };
    verdict::tell(cli.output == Output::Json, result)
}
