//! The `aumbry` binary.

mod dev;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
enum Cli {
    /// Runs a node
    Server {
        #[arg(long)]
        config: PathBuf,
    },
    /// Runs a local cluster
    Dev(dev::DevArgs),
}

fn main() -> ExitCode {
    use std::io::Write as _;
    let result = match Cli::parse() {
        Cli::Server { config } => aumbry_server::run(&config).map_err(anyhow::Error::from),
        Cli::Dev(args) => dev::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "aumbry: {error:#}");
            ExitCode::FAILURE
        }
    }
}
