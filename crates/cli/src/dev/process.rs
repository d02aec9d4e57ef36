//! The processes of a local cluster: started, recognised, signalled, waited for.
//!
//! A process is held by a pidfd from the moment it was recognised, so that no signal ever reaches another one that got its number
//! since.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::env_file::NodeEntry;
use super::layout::{log_path, open_log};

/// The command that runs a node. It has a process group of its own: Ctrl-C is for `aumbry dev`, which then ends the nodes.
pub(super) fn server_command(config: &Path) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let log = open_log(config)?;
    let errors = log.try_clone().context("cannot open the log twice")?;
    let mut command = Command::new(program);
    command.args(["server", "--config"]).arg(config).process_group(0);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    // What the user's shell knows is none of a server's business.
    command.env_remove("AUMBRY_TOKEN");
    Ok(command)
}

/// A process that was seen to run a node of this cluster.
pub(super) struct NodeProcess {
    fd: AsyncFd<OwnedFd>,
}

impl NodeProcess {
    /// The process of a node; none if it does not run.
    pub(super) fn find(node: &NodeEntry) -> anyhow::Result<Option<Self>> {
        let Some(pid) = i32::try_from(node.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot look at process {}", node.pid)),
        };
        // Looked at after the process is held: what is seen is what will be signalled, or it is gone.
        if !runs_config(node.pid, &node.config) {
            return Ok(None);
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that others can close; an OwnedFd is none"
        )]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE).context("cannot wait for a process")?;
        Ok(Some(Self { fd }))
    }

    /// Sends a signal. That the process is gone is no error.
    pub(super) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("cannot signal a node's process"),
        }
    }

    /// Waits until it is gone with all its threads, locks and ports; says whether it is.
    pub(super) async fn gone_within(&self, deadline: Duration) -> bool {
        tokio::time::timeout(deadline, self.fd.readable()).await.is_ok()
    }
}

/// Ends these nodes: in good order if they do so in time, the hard way if not.
pub(super) async fn end_all(nodes: &[NodeEntry]) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for node in nodes {
        if let Some(process) = NodeProcess::find(node)? {
            process.signal(Signal::TERM)?;
            running.push((node.id, process));
        }
    }
    let deadline = tokio::time::Instant::now() + END_DEADLINE;
    for (id, process) in running {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if !process.gone_within(left).await {
            process.signal(Signal::KILL)?;
            anyhow::ensure!(process.gone_within(KILL_DEADLINE).await, "node {id} cannot be ended");
        }
    }
    Ok(())
}

/// The last lines of a node's log.
pub(super) fn log_tail(config: &Path) -> String {
    let path = log_path(config);
    let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    format!("the end of {}:\n{tail}", path.display())
}

/// Whether one of the process's arguments is this file. False for a process that has ended.
fn runs_config(pid: u32, config: &Path) -> bool {
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments
        .split(|&byte| byte == 0)
        .any(|argument| argument == config.as_os_str().as_encoded_bytes())
}

/// A node hands leadership over and drains; what takes longer is stuck.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// The kernel ends a process at once, but it may have gigabytes to free.
pub(super) const KILL_DEADLINE: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 15;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[tokio::test]
    async fn only_what_runs_the_configuration_is_found_and_it_is_seen_to_go() {
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; read line", "/some/aumbry.toml"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Until the program runs, its arguments are not to be seen.
        let mut ready = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let pid = child.id();
        let entry = |config: &str| NodeEntry {
            id: 1,
            client: String::new(),
            peer: String::new(),
            metrics: String::new(),
            http: String::new(),
            pid,
            config: config.into(),
            data_dir: "/".into(),
        };
        assert!(NodeProcess::find(&entry("/other/aumbry.toml")).unwrap().is_none());
        let process = NodeProcess::find(&entry("/some/aumbry.toml")).unwrap().unwrap();
        assert!(!process.gone_within(Duration::ZERO).await);
        process.signal(Signal::KILL).unwrap();
        assert!(process.gone_within(KILL_DEADLINE).await);
        child.wait().unwrap();
        assert!(NodeProcess::find(&entry("/some/aumbry.toml")).unwrap().is_none());
        process.signal(Signal::KILL).unwrap();
    }
}
