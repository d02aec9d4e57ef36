//! What can be done with one node of a running local cluster.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use super::NodeArgs;
use super::env_file::{ChangeLock, EnvFile, RunLock};
use super::process::{KILL_DEADLINE, NodeProcess, log_tail, server_command};
use super::setup::wait_for_health;
use crate::output::{Format, done};

/// Ends a node in good order. One that does not run is left alone.
pub(super) async fn stop(args: &NodeArgs, format: Format) -> anyhow::Result<()> {
    let Some(process) = find(args)? else {
        return done(format, &format!("node {} does not run", args.node));
    };
    let ended = end(&process, Signal::TERM, STOP_DEADLINE).await?;
    ensure!(
        ended,
        "node {} did not end within {} s; use `aumbry dev kill`",
        args.node,
        STOP_DEADLINE.as_secs()
    );
    done(format, &format!("node {} has ended", args.node))
}

/// Kills a node.
pub(super) async fn kill(args: &NodeArgs, format: Format) -> anyhow::Result<()> {
    let process = find(args)?.with_context(|| format!("node {} does not run", args.node))?;
    let ended = end(&process, Signal::KILL, KILL_DEADLINE).await?;
    ensure!(
        ended,
        "node {} did not end within {} s",
        args.node,
        KILL_DEADLINE.as_secs()
    );
    done(format, &format!("node {} was killed", args.node))
}

/// Starts a node again with its own configuration, and waits until it answers.
pub(super) async fn start(args: &NodeArgs, format: Format) -> anyhow::Result<()> {
    let dir = directory(args)?;
    let change = ChangeLock::take(&dir)?;
    // Nobody would end the node.
    ensure!(
        RunLock::try_take(&dir)?.is_none(),
        "no `aumbry dev` runs the cluster in {}; start a new one",
        dir.display()
    );
    let mut env = EnvFile::read(&dir)?;
    let ca = std::fs::read_to_string(&env.ca).with_context(|| format!("cannot read {}", env.ca.display()))?;
    let node = env.node(args.node)?;
    ensure!(NodeProcess::find(node)?.is_none(), "node {} runs already", node.id);
    let mut child = server_command(&node.config)?.spawn().context("cannot start the node")?;
    node.pid = child.id();
    let node = node.clone();
    env.write_all(&dir)?;
    // Other nodes can be acted upon while this one wakes up.
    drop(change);
    let ended = async {
        loop {
            if let Some(status) = child.try_wait().context("cannot wait for the node")? {
                return anyhow::Ok(status);
            }
            tokio::time::sleep(END_PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        status = ended => bail!("node {} ended at once ({}); {}", node.id, status?, log_tail(&node.config)),
        healthy = wait_for_health(&node.client, &ca) => healthy.with_context(|| log_tail(&node.config))?,
    }
    let text = format!(
        "node {} runs, sealed: unseal it with `aumbry operator unseal --address {}`",
        node.id, node.client
    );
    done(format, &text)
}

/// The process of a node; none if it does not run.
fn find(args: &NodeArgs) -> anyhow::Result<Option<NodeProcess>> {
    let dir = directory(args)?;
    let _change = ChangeLock::take(&dir)?;
    NodeProcess::find(EnvFile::read(&dir)?.node(args.node)?)
}

/// Signals a process, and waits until it is gone; says whether it is.
async fn end(process: &NodeProcess, signal: Signal, deadline: Duration) -> anyhow::Result<bool> {
    process.signal(signal)?;
    Ok(process.gone_within(deadline).await)
}

fn directory(args: &NodeArgs) -> anyhow::Result<PathBuf> {
    args.dir
        .canonicalize()
        .with_context(|| format!("cannot find the directory {}", args.dir.display()))
}

/// Longer than a server's own deadline for draining.
const STOP_DEADLINE: Duration = Duration::from_secs(60);
/// How soon it is noticed that a node does not start.
const END_PAUSE: Duration = Duration::from_millis(20);
