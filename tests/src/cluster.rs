//! A cluster that `aumbry dev` runs.

use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;
use serde::Deserialize;

/// A running cluster. Dropping it stops it.
pub struct Cluster {
    dev: Child,
    directory: tempfile::TempDir,
    env: Env,
    /// What nodes have in their environment, also those that are started again.
    environment: Vec<(String, String)>,
}

#[derive(Deserialize, Clone)]
struct Env {
    nodes: Vec<NodeEnv>,
    ca: String,
    root_token: String,
    shares: Vec<String>,
    threshold: usize,
}

/// One node of the cluster.
#[derive(Deserialize, Clone, Debug)]
pub struct NodeEnv {
    /// Its id.
    pub id: u64,
    /// Where clients reach it.
    pub client: String,
    /// Where peers reach it.
    pub peer: String,
    /// Where its metrics are.
    pub metrics: String,
    /// Where clients of the HTTP interface reach it.
    pub http: String,
    /// Its process.
    pub pid: u32,
    /// Its configuration.
    pub config: String,
    /// Its data directory.
    pub data_dir: String,
}

impl Cluster {
    /// Starts so many nodes, initialised and unsealed.
    pub fn start(nodes: usize) -> Result<Self> {
        Self::start_with(nodes, &[], &[])
    }

    /// Starts with further arguments and environment.
    pub fn start_with(nodes: usize, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let env_file = directory.path().join("cluster.json");
        let log = std::fs::File::create(directory.path().join("dev.log"))?;
        let mut command = Command::new(binary());
        command
            .args(["dev", "--nodes", &nodes.to_string(), "--dir"])
            .arg(directory.path().join("cluster"))
            .arg("--env-file")
            .arg(&env_file)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut dev = command
            .spawn()
            .with_context(|| format!("starting {}", binary().display()))?;
        let ready = poll(START, || {
            if let Some(status) = dev.try_wait()? {
                bail!(
                    "aumbry dev ended with {status}: {}",
                    read(&directory.path().join("dev.log"))
                );
            }
            Ok(std::fs::read(&env_file)
                .ok()
                .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
        });
        let env = match ready {
            Ok(env) => env,
            Err(error) => {
                let _ = dev.kill();
                let _ = dev.wait();
                return Err(error.context(read(&directory.path().join("dev.log"))));
            }
        };
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Ok(Self {
            dev,
            directory,
            env,
            environment: environment.collect(),
        })
    }

    /// The nodes as they are now: processes change with restarts.
    pub fn nodes(&self) -> Vec<NodeEnv> {
        let current = std::fs::read(self.dir().join("env.json")).ok();
        let current: Option<Env> = current.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        current.map_or_else(|| self.env.nodes.clone(), |env| env.nodes)
    }

    /// The cluster's directory.
    pub fn dir(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    /// Everything that the cluster and its tool wrote.
    pub fn everything(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The root token.
    pub fn root_token(&self) -> SecretBytes {
        SecretBytes::from(self.env.root_token.clone())
    }

    /// The key shares.
    pub fn shares(&self) -> &[String] {
        &self.env.shares
    }

    /// How many shares open the seal.
    pub const fn threshold(&self) -> usize {
        self.env.threshold
    }

    /// The file of the authority of the client listeners.
    pub fn ca_file(&self) -> &str {
        &self.env.ca
    }

    /// A client of all nodes with the root token.
    pub fn client(&self) -> Result<Client> {
        self.client_as(self.root_token(), &self.endpoints())
    }

    /// A client of one node with the root token, which does not retry.
    pub fn client_on(&self, id: u64) -> Result<Client> {
        let node = self.node(id)?;
        let builder = self.builder(self.root_token(), &[node.client])?;
        Ok(builder.retries(false).build()?)
    }

    /// A client of these endpoints with this token.
    pub fn client_as(&self, token: SecretBytes, endpoints: &[String]) -> Result<Client> {
        Ok(self.builder(token, endpoints)?.build()?)
    }

    /// Settings for a client.
    pub fn builder(&self, token: SecretBytes, endpoints: &[String]) -> Result<aumbry_client::Builder> {
        let ca = std::fs::read(&self.env.ca)?;
        Ok(Client::builder()
            .endpoints(endpoints.to_vec())
            .ca_pem(ca)
            .token(token)
            .timeout(Duration::from_secs(15)))
    }

    /// Where all nodes serve clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.env.nodes.iter().map(|node| node.client.clone()).collect()
    }

    /// The node with this id.
    pub fn node(&self, id: u64) -> Result<NodeEnv> {
        self.nodes()
            .into_iter()
            .find(|node| node.id == id)
            .context("no such node")
    }

    /// The id of the leader, as soon as there is one.
    pub async fn leader(&self) -> Result<u64> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            for node in self.nodes() {
                let client = self.client_on(node.id)?;
                if client.health(None).await.is_ok_and(|health| health.is_leader) {
                    return Ok(node.id);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("there is no leader")
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&self, id: u64) -> Result<()> {
        self.act("kill", id)
    }

    /// Ends a node in good order.
    pub fn stop(&self, id: u64) -> Result<()> {
        self.act("stop", id)
    }

    /// Starts a node again; it is sealed.
    pub fn restart(&self, id: u64) -> Result<()> {
        self.act("start", id)
    }

    /// Unseals a node with the shares, as soon as it can be.
    pub async fn unseal(&self, id: u64) -> Result<()> {
        let client = self.client_on(id)?;
        let shares = self.shares().iter().take(self.threshold());
        for share in shares {
            eventually("the share is taken", || async {
                client.unseal(None, SecretBytes::from(share.clone())).await.is_ok()
            })
            .await?;
        }
        let status = client.seal_status(None).await?;
        ensure!(!status.sealed, "the node is still sealed");
        Ok(())
    }

    /// The status of one node, asked of itself.
    pub async fn status(&self, id: u64) -> Result<v1::StatusReply> {
        let node = self.node(id)?;
        let client = self.client_as(self.root_token(), &[node.client])?;
        Ok(client.call(v1::StatusRequest::default()).await?)
    }

    fn act(&self, action: &str, id: u64) -> Result<()> {
        let environment: Vec<_> = self
            .environment
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let output = run_cli(
            &[
                "dev",
                action,
                "--dir",
                &self.dir().to_string_lossy(),
                "--node",
                &id.to_string(),
            ],
            &environment,
            "",
        )?;
        ensure!(
            output.status.success(),
            "aumbry dev {action}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Runs the CLI against this cluster.
    pub fn cli(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let endpoints = self.endpoints().join(",");
        let environment = [
            ("AUMBRY_ADDR", endpoints.as_str()),
            ("AUMBRY_CACERT", self.ca_file()),
            ("AUMBRY_TOKEN", self.env.root_token.as_str()),
        ];
        run_cli(arguments, &environment, input)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGINT, as a person would: the tool ends its nodes.
        let _ = Command::new("kill").args(["-INT", &self.dev.id().to_string()]).status();
        let ended = poll(Duration::from_secs(20), || Ok(self.dev.try_wait()?));
        if ended.is_err() {
            let _ = self.dev.kill();
            let _ = self.dev.wait();
        }
        self.look_into_logs();
    }
}

impl Cluster {
    /// A node that panics goes on without the task that did; no test passes over that. `AUMBRY_KEEP_LOGS` names a directory in which the logs of all
    /// nodes are kept.
    fn look_into_logs(&self) {
        let mut panics = Vec::new();
        for node in &self.env.nodes {
            let log = read(&Path::new(&node.config).with_file_name("server.log"));
            panics.extend(
                log.lines()
                    .filter(|line| line.contains("panicked at"))
                    .map(str::to_owned),
            );
            if let Some(kept) = std::env::var_os("AUMBRY_KEEP_LOGS") {
                let name = format!("{}-{}.log", self.dev.id(), node.id);
                let _ = std::fs::write(Path::new(&kept).join(name), log);
            }
        }
        assert!(
            panics.is_empty() || std::thread::panicking(),
            "a node panicked: {panics:?}"
        );
    }
}

/// Runs the CLI.
pub fn run_cli(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Result<Output> {
    let mut child = Command::new(binary())
        .args(arguments)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // A command that does not read its input closes it early.
    let _ = child.stdin.take().context("no stdin")?.write_all(input.as_bytes());
    Ok(child.wait_with_output()?)
}

/// Waits until a condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) -> Result<()> {
    let deadline = Instant::now() + START;
    while !holds().await {
        ensure!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn poll<T>(limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "not in time");
        std::thread::sleep(POLL);
    }
}

/// The binary under test: named by the environment, or beside this program, or one directory above it as for tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("AUMBRY_BIN") {
        return path.into();
    }
    let this = std::env::current_exe().unwrap_or_default();
    let mut beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("aumbry"));
    beside.find(|path| path.is_file()).unwrap_or_else(|| "aumbry".into())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
