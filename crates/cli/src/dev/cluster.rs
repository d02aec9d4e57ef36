//! A local cluster, from its first file to its last process.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::ClusterArgs;
use super::env_file::{ChangeLock, EnvFile, NodeEntry, RunLock};
use super::layout::{Home, Layout};
use super::process::{end_all, log_tail, server_command};
use super::setup::{self, Secrets};
use crate::output::raw;

/// Runs a cluster until a signal ends it, or until it cannot be set up.
pub(super) async fn run(args: ClusterArgs) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let home = Home::make(args.dir.as_deref())?;
    let dir = home.path();
    let running = RunLock::try_take(dir)?.with_context(|| format!("a cluster is being run in {}", dir.display()))?;
    let layout = Layout::make(dir, args.nodes)?;
    let mut processes = Processes::default();
    let outcome = async {
        processes.start(&layout)?;
        if let Some(env) = make_ready(&args, &layout, &mut processes, &mut stop).await? {
            env.write_all(dir)?;
            if !args.quiet {
                tell_usage(&env, dir)?;
            }
            processes.watch(&mut stop).await;
        }
        Ok(())
    }
    .await;
    // From here on no `aumbry dev start` adds a process; the one that waits for this lock finds that nobody runs the cluster.
    let _change = ChangeLock::take(dir)?;
    // The file knows of nodes that were started again. A cluster that never was ready has none.
    let nodes = EnvFile::read(dir).map_or(processes.started, |env| env.nodes);
    let ended = end_all(&nodes).await;
    drop(running);
    outcome.and(ended)
}

/// Sets the cluster up; none if it was told to stop before.
async fn make_ready(
    args: &ClusterArgs,
    layout: &Layout,
    processes: &mut Processes,
    stop: &mut Stop,
) -> anyhow::Result<Option<EnvFile>> {
    let set_up = async {
        let secrets = setup::set_up(&layout.nodes, &layout.ca_pem, args.root_token.clone()).await?;
        if args.sealed {
            setup::seal(&layout.nodes, &layout.ca_pem, &secrets).await?;
        }
        anyhow::Ok(secrets)
    };
    let Secrets {
        ids,
        root_token,
        shares,
        checkpoint_fingerprint,
    } = tokio::select! {
        biased;
        () = stop.told() => return Ok(None),
        Some(end) = processes.next_end() => {
            let config = &layout.nodes[end.position].config;
            return Err(anyhow!("node {} ended ({}) before the cluster was ready;\n{}", end.position + 1, end.how, log_tail(config)));
        }
        secrets = set_up => secrets.map_err(|error| {
            let logs: Vec<String> = layout.nodes.iter().map(|node| log_tail(&node.config)).collect();
            anyhow!("the cluster cannot be set up: {error:#}\n{}", logs.join("\n"))
        })?,
    };
    for (node, id) in processes.started.iter_mut().zip(ids) {
        node.id = id;
    }
    let nodes = processes.started.clone();
    // `aumbry dev start` runs elsewhere.
    let env_file = args.env_file.as_deref().map(std::path::absolute).transpose()?;
    Ok(Some(EnvFile {
        nodes,
        ca: layout.ca.clone(),
        root_token,
        shares,
        threshold: setup::THRESHOLD,
        checkpoint_fingerprint,
        env_file,
    }))
}

/// The processes that this one started. Dropped, they are killed.
#[derive(Default)]
struct Processes {
    started: Vec<NodeEntry>,
    ends: JoinSet<End>,
}

/// A process has ended.
struct End {
    /// Of its node.
    position: usize,
    how: String,
}

impl Processes {
    fn start(&mut self, layout: &Layout) -> anyhow::Result<()> {
        for (position, place) in layout.nodes.iter().enumerate() {
            let mut command = tokio::process::Command::from(server_command(&place.config)?);
            let mut child = command.kill_on_drop(true).spawn().context("cannot start a node")?;
            self.started.push(NodeEntry {
                id: position as u64 + 1,
                client: place.client.clone(),
                peer: place.peer.clone(),
                metrics: place.metrics.clone(),
                http: place.http.clone(),
                pid: child.id().context("a node ended at once")?,
                config: place.config.clone(),
                data_dir: place.data_dir.clone(),
            });
            self.ends.spawn(async move {
                let how = child.wait().await.map_or_else(|error| error.to_string(), describe);
                End { position, how }
            });
        }
        Ok(())
    }

    async fn next_end(&mut self) -> Option<End> {
        self.ends.join_next().await.and_then(Result::ok)
    }

    /// Tells of nodes that end, and keeps the others running.
    async fn watch(&mut self, stop: &mut Stop) {
        loop {
            tokio::select! {
                biased;
                () = stop.told() => return,
                Some(end) = self.next_end() => {
                    let id = self.started[end.position].id;
                    // A closed standard error is no reason to end a cluster.
                    let _ = writeln!(std::io::stderr(), "node {id} has ended ({}); the others run on", end.how);
                }
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    status.to_string()
}

/// What ends the command: Ctrl-C, a service manager, or the end of the terminal.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn told(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

fn tell_usage(env: &EnvFile, dir: &Path) -> anyhow::Result<()> {
    let addresses: Vec<&str> = env.nodes.iter().map(|node| node.client.as_str()).collect();
    let text = format!(
        "{} nodes are ready; shares and logs are in {}. Ctrl-C ends them.\n\n\
         export AUMBRY_ADDR={}\nexport AUMBRY_CACERT='{}'\nexport AUMBRY_TOKEN={}\n\n\
         For clients of Vault:\n\
         export VAULT_ADDR=https://{} VAULT_CACERT='{}' VAULT_TOKEN={}\n\n\
         checkpoint_fingerprint {}\n",
        env.nodes.len(),
        dir.display(),
        addresses.join(","),
        env.ca.display(),
        env.root_token,
        env.nodes.first().map_or("", |node| &node.http),
        env.ca.display(),
        env.root_token,
        env.checkpoint_fingerprint,
    );
    raw(text.as_bytes())
}
