//! `aumbry dev`: a local cluster of real server processes, for trying things out and for tests.
//!
//! What it guarantees:
//! - The nodes run the code and the configuration of production: TLS, join tokens, shares, each in a process of its own.
//! - The environment files appear only when the cluster is ready, whole, and readable by their owner alone.
//! - Only processes of this cluster are ever signalled, and none is left when the command ends by a signal or an error.
//!
//! What it does not do: keep anything safe. Shares and root token stand in a file beside the data.

mod certificates;
mod cluster;
mod control;
mod env_file;
mod layout;
mod process;
mod setup;
mod single;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use crate::output::Format;

pub(crate) use single::run as run_single;

/// Runs a local cluster until it is interrupted.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevArgs {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// How the cluster is to be.
#[derive(Args)]
struct ClusterArgs {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=NODES_MAX))]
    nodes: u8,
    /// Where everything is kept; a temporary directory, removed at the end, if not given
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The root token; made by the cluster if not given
    #[arg(long)]
    root_token: Option<String>,
    /// A file that tells how to use the cluster (JSON), written when it is ready and whenever a node is started again
    #[arg(long)]
    env_file: Option<PathBuf>,
    /// Seal the nodes when all is set up
    #[arg(long)]
    sealed: bool,
    /// Do not say how to use the cluster
    #[arg(long, short)]
    quiet: bool,
}

/// What to do with one node of a running cluster.
#[derive(Subcommand)]
enum Action {
    /// Ends a node in good order, and waits until it is gone
    #[command(after_help = "Example:
  aumbry dev stop --dir cluster --node 2")]
    Stop(NodeArgs),
    /// Starts a node again, and waits until it answers; it comes back sealed
    #[command(after_help = "Example:
  aumbry dev start --dir cluster --node 2")]
    Start(NodeArgs),
    /// Kills a node (SIGKILL), and waits until it is gone; fails if it does not run
    #[command(after_help = "Example:
  aumbry dev kill --dir cluster --node 2")]
    Kill(NodeArgs),
}

/// Which node.
#[derive(Args)]
struct NodeArgs {
    /// The directory of the cluster
    #[arg(long)]
    dir: PathBuf,
    /// The node's number
    #[arg(long)]
    node: u64,
}

/// Runs the command. Not to be called on an asynchronous runtime: it makes its own.
///
/// # Errors
/// One text that says what failed, where, and, if a node did, what it logged last.
pub(crate) fn run(args: DevArgs, format: Format) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the asynchronous runtime")?;
    runtime.block_on(async {
        match args.action {
            None => cluster::run(args.cluster).await,
            Some(Action::Stop(node)) => control::stop(&node, format).await,
            Some(Action::Start(node)) => control::start(&node, format).await,
            Some(Action::Kill(node)) => control::kill(&node, format).await,
        }
    })
}

/// More nodes than a machine is sensibly used for; it bounds processes and ports.
const NODES_MAX: i64 = 9;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aumbry_server::config::Config;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        dev: DevArgs,
    }

    #[test]
    fn arguments_are_taken_as_documented() {
        let parse = |line: &str| Command::try_parse_from(line.split(' '));
        let all = parse("dev --nodes 5 --dir d --root-token t --env-file f --sealed")
            .map_err(|e| e.to_string())
            .unwrap();
        assert!(all.dev.action.is_none() && all.dev.cluster.nodes == 5 && all.dev.cluster.sealed);
        assert!(matches!(
            parse("dev kill --dir d --node 2")
                .map_err(|e| e.to_string())
                .unwrap()
                .dev
                .action,
            Some(Action::Kill(NodeArgs { node: 2, .. }))
        ));
        for wrong in [
            "dev --nodes 0",
            "dev --nodes 10",
            "dev stop --dir d",
            "dev start --node 1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    /// The reference configuration is one, as it stands and with every default written out.
    #[test]
    fn the_reference_configuration_is_true() {
        let file = Path::new("../../deploy/aumbry.toml");
        let plain = Config::load(file).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let written_out: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => rest,
                _ => line,
            })
            .collect();
        let copy = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&copy, written_out.join("\n")).unwrap();
        let full = Config::load(copy.path()).unwrap();
        assert!(plain.join.is_none() && full.join.is_some());
        assert!(plain.seal.static_key.is_none() && full.seal.static_key.is_some());
        // What is commented out as a default is the default.
        assert_eq!(
            format!(
                "{:?}",
                (&plain.raft, &plain.log, &plain.limits, &plain.region, &plain.zone)
            ),
            format!("{:?}", (&full.raft, &full.log, &full.limits, &full.region, &full.zone)),
        );
    }
}
