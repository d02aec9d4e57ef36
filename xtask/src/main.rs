//! What `cargo xtask` runs: set-up, demo, checks and figures.
//!
//! What it guarantees: each command needs nothing but git, a Rust toolchain and the network of a package mirror; the first thing
//! that is not so ends it with a line that says what to do and an exit code other than 0.
//! What it does not do: depend on any crate, so that it compiles in seconds before anything else is there; change a file of the
//! checkout, except for `fix`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

mod bench;
mod checks;
mod clients;
mod demo;
mod fuzz;
mod policy;
mod process;
mod setup;
mod sim;
mod torture;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["setup"] => setup::run(),
        ["demo"] => demo::run(demo::Afterwards::CleanUp),
        ["demo", "--keep"] => demo::run(demo::Afterwards::Keep),
        ["bench", ref arguments @ ..] => bench::run(arguments),
        ["torture", ref arguments @ ..] => torture::run(arguments),
        ["fuzz", ref arguments @ ..] => fuzz::run(arguments),
        ["sim", ref arguments @ ..] => sim::run(arguments),
        ["test"] => checks::test(),
        ["test", "--all"] => checks::test().and_then(|()| clients::run(&[])),
        ["clients", ref names @ ..] => clients::run(names),
        ["verify"] => checks::verify(),
        ["fix"] => checks::fix(),
        ["advisories"] => policy::advisories(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("unknown command: {}\n\n{HELP}", words.join(" "));
            return ExitCode::from(USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: u8 = 2;

const HELP: &str = "\
cargo xtask <command>

  demo [--keep]  start three nodes, use them, kill the leader, check what was promised
  test [--all]   everything that must pass; with --all also `clients`
  clients        clients that others wrote, from their registries: hvac, ansible, node-vault, go, vaultrs
  bench          measure three nodes; `bench --help` tells how
  torture        real clusters under faults and load, round after round; `torture --help` tells how
  fuzz           every decoder against changed inputs, for as long as you like; `fuzz --help` tells how
  sim            simulate clusters under faults; `sim --help` tells how
  verify         what passes in a minute or two: `test` without real processes and documentation
  fix            format, apply the lints' own corrections, make the table of abuse cases anew
  setup          check for what the build needs, and install it where that is allowed
  advisories     compare the dependencies with the RustSec database (needs github.com)";
