//! A server process of its own, with certificates that a cluster lends it, for example.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::Client;
use aumbry_types::SecretBytes;

use crate::cluster::{Cluster, binary, eventually};
use crate::ports::free_address;

/// A running server. Dropping it kills it.
pub struct Server {
    process: Option<Child>,
    prefix: Vec<String>,
    directory: PathBuf,
    ca: Vec<u8>,
    client: String,
    peer: String,
}

/// What the client listener of a server shows: files, PEM.
#[derive(Clone)]
pub struct Certificates {
    /// The authority.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl From<&Cluster> for Certificates {
    /// Those that the nodes of the cluster show.
    fn from(cluster: &Cluster) -> Self {
        Self {
            ca: cluster.ca_file().into(),
            certificate: cluster.dir().join("server.pem"),
            key: cluster.dir().join("server.key"),
        }
    }
}

impl From<&Self> for Certificates {
    fn from(certificates: &Self) -> Self {
        certificates.clone()
    }
}

/// How a server ended that did not come up.
#[derive(Debug)]
pub struct Refusal {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote since it was started.
    pub text: String,
}

/// What is unusual about a server.
#[derive(Default)]
pub struct Unusual {
    /// What the command line begins with.
    pub prefix: Vec<String>,
    /// Where peers are told to reach it, if not at its own address.
    pub peer_advertise: Option<String>,
    /// What the section `[raft]` begins with, if not with quick elections.
    pub times: Option<String>,
    /// Further lines of the configuration: of the section `[raft]`, then whole sections.
    pub config: String,
}

impl Server {
    /// Starts a fresh node in this directory. Its client listener shows the certificate of the cluster's nodes.
    pub async fn start(directory: &Path, lent: impl Into<Certificates>, unusual: &Unusual) -> Result<Self> {
        let (client, peer) = (free_address()?, free_address()?);
        Self::start_at(directory, lent, unusual, client, peer).await
    }

    /// As [`Self::start`], at addresses that were chosen before.
    pub async fn start_at(
        directory: &Path,
        lent: impl Into<Certificates>,
        unusual: &Unusual,
        client: String,
        peer: String,
    ) -> Result<Self> {
        let mut server = Self::make_at(directory, lent, unusual, client, peer)?;
        server.run().await?;
        Ok(server)
    }

    /// As [`Self::start_at`], and starts nothing yet.
    pub fn make_at(
        directory: &Path,
        lent: impl Into<Certificates>,
        unusual: &Unusual,
        client: String,
        peer: String,
    ) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let lent = lent.into();
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let advertise = unusual.peer_advertise.as_ref();
        let advertise = advertise
            .map(|address| format!("advertise = {address:?}\n"))
            .unwrap_or_default();
        let config = format!(
            "name = {:?}\ndata_dir = {:?}\n[client]\naddress = {client:?}\ncert_file = {:?}\nkey_file = {:?}\n[peer]\naddress = {peer:?}\n{advertise}[raft]\n{}\n{}",
            directory.file_name().unwrap_or_default().to_string_lossy(),
            text(&directory.join("data")),
            text(&lent.certificate),
            text(&lent.key),
            unusual.times.as_deref().unwrap_or(QUICK_ELECTIONS),
            unusual.config,
        );
        std::fs::write(directory.join("aumbry.toml"), config)?;
        Ok(Self {
            process: None,
            prefix: unusual.prefix.clone(),
            directory: directory.to_owned(),
            ca: std::fs::read(&lent.ca)?,
            client,
            peer,
        })
    }

    /// Starts the process again.
    pub async fn run(&mut self) -> Result<()> {
        match self.try_run().await? {
            None => Ok(()),
            Some(refusal) => bail!("the server ended with {}: {}", refusal.code, refusal.text),
        }
    }

    /// Starts the process again, and waits until it serves, or has ended and said why.
    pub async fn try_run(&mut self) -> Result<Option<Refusal>> {
        let before = self.log().len();
        self.spawn()?;
        let client = self.client_as(SecretBytes::default())?;
        let process = Mutex::new(self.process.take());
        let ended = || {
            process
                .lock()
                .ok()
                .and_then(|mut process| process.as_mut()?.try_wait().ok().flatten())
        };
        let settled = eventually("the server is up or has ended", || async {
            ended().is_some() || client.health(None).await.is_ok()
        })
        .await;
        let status = ended();
        self.process = process.into_inner().unwrap_or_default();
        settled.with_context(|| self.log())?;
        Ok(status.map(|status| {
            self.process = None;
            Refusal {
                code: status.code().unwrap_or(-1),
                text: self.log().split_off(before),
            }
        }))
    }

    /// Starts the process again and does not wait for anything.
    pub fn spawn(&mut self) -> Result<()> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.directory.join("server.log"))?;
        let program = binary().into_os_string();
        let mut line = self.prefix.iter().map(OsString::from).chain([program]);
        let mut command = Command::new(line.next().context("there is a program")?);
        command
            .args(line)
            .args(["server", "--config"])
            .arg(self.directory.join("aumbry.toml"));
        self.process = Some(
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()?,
        );
        Ok(())
    }

    /// Ends the process in good order.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        let sent = Command::new("kill")
            .args(["-TERM", &process.id().to_string()])
            .status()?;
        let process = Mutex::new(process);
        let ended = eventually("the server has ended", || async {
            process
                .lock()
                .is_ok_and(|mut process| matches!(process.try_wait(), Ok(Some(_)) | Err(_)))
        })
        .await;
        if ended.is_err() {
            self.process = process.into_inner().ok();
        }
        ended.with_context(|| format!("{sent}: {}", self.log()))
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| matches!(process.try_wait(), Ok(Some(_))))
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.join("aumbry.toml")
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Waits until the process has ended by itself. Gives its exit code; -1 if a signal ended it.
    pub async fn ended(&mut self) -> Result<i32> {
        let process = Mutex::new(self.process.take().context("the server does not run")?);
        let status = || {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            process.try_wait().ok().flatten()
        };
        let ended = eventually("the server has ended", || async { status().is_some() }).await;
        let code = status().map(|status| status.code().unwrap_or(-1));
        if code.is_none() {
            self.process = process.into_inner().ok();
        }
        ended.with_context(|| self.log())?;
        code.context("the server has ended")
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Where clients reach it.
    #[must_use]
    pub fn client_address(&self) -> &str {
        &self.client
    }

    /// Where it listens to peers.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        &self.peer
    }

    /// Everything that it wrote.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    /// A client of it with this token, which does not retry.
    pub fn client_as(&self, token: SecretBytes) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(vec![self.client.clone()])
            .ca_pem(self.ca.clone())
            .token(token)
            .timeout(Duration::from_secs(15));
        Ok(builder.retries(false).build()?)
    }

    /// Unseals it with these shares, as soon as it can be.
    pub async fn unseal(&self, shares: &[String]) -> Result<()> {
        let client = self.client_as(SecretBytes::default())?;
        for share in shares {
            eventually("the share is taken", || async {
                client.unseal(None, SecretBytes::from(share.clone())).await.is_ok()
            })
            .await
            .with_context(|| self.log())?;
        }
        ensure!(!client.seal_status(None).await?.sealed, "the node is still sealed");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A test that waits for an election waits for less.
const QUICK_ELECTIONS: &str = "heartbeat_ms = 50\nelection_min_ms = 150\nelection_max_ms = 300";
