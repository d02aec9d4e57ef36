//! A local cluster as `aumbry dev` makes it, and `aumbry` called as a user calls it.
//!
//! All that the demo takes for granted about commands and their output stands here.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Afterwards;
use super::json::Json;
use crate::process::{self, Finished};

/// The cluster. Dropped while it runs, it is stopped the hard way.
pub(crate) struct Cluster {
    aumbry: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    dev: Child,
    /// Whether nothing is left to stop.
    released: bool,
    pub(crate) environment: Environment,
}

/// What `aumbry dev` writes for its user.
pub(crate) struct Environment {
    pub(crate) nodes: Vec<Node>,
    pub(crate) ca: String,
    pub(crate) root_token: String,
    pub(crate) shares: Vec<String>,
    pub(crate) threshold: String,
}

/// One node of it.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) data_dir: PathBuf,
    pid: String,
}

impl Cluster {
    /// Starts three sealed nodes below `work` and waits until they are ready.
    pub(crate) fn start(aumbry: PathBuf, work: &Path, afterwards: Afterwards) -> Result<Self, String> {
        let (dir, file, log) = (work.join("cluster"), work.join("ready.json"), work.join("dev.log"));
        let output = File::create(&log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let errors = output
            .try_clone()
            .map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        let mut command = Command::new(&aumbry);
        without_settings(&mut command)
            .args(["dev", "--nodes", "3", "--sealed", "--dir"])
            .arg(&dir)
            .arg("--env-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        if afterwards == Afterwards::Keep {
            // A later Ctrl-C in this terminal is not meant for a cluster that was to be kept.
            command.process_group(0);
        }
        let mut dev = command
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", aumbry.display()))?;
        let ready = wait_for_file(&mut dev, &file);
        let mut cluster = Self {
            aumbry,
            dir,
            log,
            dev,
            released: false,
            environment: Environment::none(),
        };
        ready?;
        cluster.environment = Environment::read(&file)?;
        Ok(cluster)
    }

    /// Calls `aumbry` as the holder of `token`, knowing the addresses of these nodes alone.
    pub(crate) fn call(
        &self,
        nodes: &[usize],
        token: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<Finished, String> {
        let addresses: Vec<&str> = nodes
            .iter()
            .map(|&n| self.environment.nodes[n].client.as_str())
            .collect();
        let mut command = Command::new(&self.aumbry);
        without_settings(&mut command)
            .args(arguments)
            .env("AUMBRY_ADDR", addresses.join(","))
            .env("AUMBRY_CACERT", &self.environment.ca)
            .env("AUMBRY_TOKEN", token);
        process::capture(&mut command, input, CALL_DEADLINE)
    }

    /// As [`call`](Self::call); an exit code other than 0 is an error.
    pub(crate) fn must(
        &self,
        nodes: &[usize],
        token: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<Finished, String> {
        let finished = self.call(nodes, token, arguments, input)?;
        if finished.succeeded() {
            Ok(finished)
        } else {
            Err(format!(
                "`aumbry {}` should have worked: {finished}",
                arguments.join(" ")
            ))
        }
    }

    /// As [`call`](Self::call), but it has to fail, and to say one of these words.
    pub(crate) fn must_not(
        &self,
        nodes: &[usize],
        token: &str,
        arguments: &[&str],
        input: &str,
        words: &[&str],
    ) -> Result<Finished, String> {
        let finished = self.call(nodes, token, arguments, input)?;
        let said = finished.said().to_lowercase();
        if finished.succeeded() {
            Err(format!("`aumbry {}` should have been refused", arguments.join(" ")))
        } else if words.iter().any(|word| said.contains(word)) {
            Ok(finished)
        } else {
            Err(format!(
                "`aumbry {}` was refused for another reason than \"{}\": {finished}",
                arguments.join(" "),
                words.join("\" or \"")
            ))
        }
    }

    /// Calls `aumbry` with no settings at all: what works so needs no server.
    pub(crate) fn offline(&self, arguments: &[&str]) -> Result<Finished, String> {
        let mut command = Command::new(&self.aumbry);
        process::capture(without_settings(&mut command).args(arguments), "", CALL_DEADLINE)
    }

    /// The index of the node that leads, as the given nodes see it.
    pub(crate) fn leader(&self, ask: &[usize]) -> Result<usize, String> {
        let members = self.must(
            ask,
            &self.environment.root_token,
            &["operator", "members", "--output", "json"],
            "",
        )?;
        let members = Json::parse(&members.stdout)?;
        let leader = members
            .list("members")?
            .iter()
            .find(|member| member.is_true("leader"))
            .ok_or("no member is said to be the leader")?
            .text("id")?;
        self.environment
            .nodes
            .iter()
            .position(|node| node.id == leader)
            .ok_or_else(|| format!("the leader {leader} is none of the nodes that were started"))
    }

    /// Whether the node is sealed, and up to where it has applied the log. Asks for no token: a sealed node answers this.
    pub(crate) fn status(&self, node: usize) -> Result<(bool, u64), String> {
        let status = self.must(&[node], "", &["operator", "seal-status", "--output", "json"], "")?;
        let status = Json::parse(&status.stdout)?;
        let index = status.text("applied_index")?;
        let index = index
            .parse()
            .map_err(|_| format!("the applied index {index} is no number"))?;
        Ok((status.is_true("sealed"), index))
    }

    /// `aumbry dev kill` (SIGKILL), and the proof that the process is gone.
    pub(crate) fn kill(&self, node: usize) -> Result<(), String> {
        let pid = self.environment.nodes[node].pid.clone();
        if !self.runs(&pid) {
            return Err(format!(
                "process {pid} of node {} does not run before it is killed",
                self.environment.nodes[node].id
            ));
        }
        self.dev_command("kill", node)?;
        until(STOP_DEADLINE, || {
            if self.runs(&pid) {
                Err(format!("process {pid} still runs"))
            } else {
                Ok(())
            }
        })
    }

    /// `aumbry dev start`: the node comes back, sealed.
    pub(crate) fn start_again(&mut self, node: usize) -> Result<(), String> {
        self.dev_command("start", node)?;
        self.environment = Environment::read(&self.dir.join("env.json"))?;
        Ok(())
    }

    fn dev_command(&self, verb: &str, node: usize) -> Result<(), String> {
        let dir = self.dir.display().to_string();
        let finished = self.offline(&["dev", verb, "--dir", &dir, "--node", &self.environment.nodes[node].id])?;
        if finished.succeeded() {
            Ok(())
        } else {
            Err(format!("`aumbry dev {verb}` failed: {finished}"))
        }
    }

    /// Interrupts `aumbry dev`, as Ctrl-C does, and waits until all processes are gone.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        self.interrupt();
        if process::wait(&mut self.dev, STOP_DEADLINE)?.is_none() {
            return Err(format!("`aumbry dev` did not stop within {STOP_DEADLINE:?}"));
        }
        let left: Vec<&str> = self.pids().filter(|pid| self.runs(pid)).collect();
        if !left.is_empty() {
            return Err(format!("`aumbry dev` left processes behind: {}", left.join(", ")));
        }
        self.released = true;
        Ok(())
    }

    /// Leaves it running, and says how to stop it.
    pub(crate) fn keep(mut self) -> u32 {
        self.released = true;
        self.dev.id()
    }

    /// The directory of the cluster.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    fn pids(&self) -> impl Iterator<Item = &str> {
        self.environment.nodes.iter().map(|node| node.pid.as_str())
    }

    /// Whether this is a running process of the program under test; the number may have gone to another one since.
    fn runs(&self, pid: &str) -> bool {
        let exe = fs::read_link(format!("/proc/{pid}/exe"));
        exe.is_ok_and(|exe| fs::canonicalize(&self.aumbry).is_ok_and(|aumbry| exe == aumbry))
    }

    fn interrupt(&self) {
        signal("INT", &self.dev.id().to_string());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        eprintln!("\nthe cluster's last words:\n{}", tail(&self.log));
        self.interrupt();
        if !matches!(process::wait(&mut self.dev, STOP_DEADLINE), Ok(Some(_))) {
            let _ = self.dev.kill();
            let _ = self.dev.wait();
        }
        for pid in self.pids().filter(|pid| self.runs(pid)) {
            signal("KILL", pid);
        }
    }
}

impl Environment {
    const fn none() -> Self {
        Self {
            nodes: Vec::new(),
            ca: String::new(),
            root_token: String::new(),
            shares: Vec::new(),
            threshold: String::new(),
        }
    }

    fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        let json = Json::parse(&text)?;
        let node = |json: &Json| {
            Ok(Node {
                id: json.text("id")?,
                client: json.text("client")?,
                data_dir: json.text("data_dir")?.into(),
                pid: json.text("pid")?,
            })
        };
        let share = |json: &Json| match json {
            Json::Text(share) => Ok(share.clone()),
            _ => Err("a share is no text".to_owned()),
        };
        Ok(Self {
            nodes: json.list("nodes")?.iter().map(node).collect::<Result<_, String>>()?,
            ca: json.text("ca")?,
            root_token: json.text("root_token")?,
            shares: json.list("shares")?.iter().map(share).collect::<Result<_, String>>()?,
            threshold: json.text("threshold")?,
        })
    }
}

/// Tries again until it works; the last failure, if it does not within the deadline.
pub(crate) fn until<T>(deadline: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let until = Instant::now() + deadline;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(failure) if Instant::now() >= until => {
                return Err(format!("not within {deadline:?}: {failure}"));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// The user's own settings must not reach the demo, nor the demo the user's own servers.
fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("AUMBRY_")) {
            command.env_remove(name);
        }
    }
    command
}

fn wait_for_file(dev: &mut Child, file: &Path) -> Result<(), String> {
    let until = Instant::now() + READY_DEADLINE;
    while !file.exists() {
        if let Ok(Some(status)) = dev.try_wait() {
            return Err(format!("`aumbry dev` ended before it was ready ({status})"));
        }
        if Instant::now() >= until {
            return Err(format!("`aumbry dev` was not ready within {READY_DEADLINE:?}"));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The shell's own `kill`: the standard library sends no signal but SIGKILL, and only to children.
fn signal(name: &str, pid: &str) {
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .stderr(Stdio::null())
        .status();
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
}

/// `aumbry dev` promises 5 seconds; a machine that is busy building gets more before the demo gives up.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Longer than any deadline that a client has by default: it is the client that is to give up first.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// A node that is told to stop hands leadership over and drains.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

/// Between two attempts; it bounds how exact a reported time is.
const PAUSE: Duration = Duration::from_millis(20);

const LINES_SHOWN: usize = 15;
