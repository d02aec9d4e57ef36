//! A server process with an authority, certificates and a configuration of its own.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

use crate::certificates::{Authority, Pair};
use crate::cluster::{binary, eventually};
use crate::http::ask;
use crate::ports::free_ports;

/// A node that is alone. Dropping it kills it.
pub struct Own {
    directory: tempfile::TempDir,
    process: Option<Child>,
    /// The authority of its first certificate.
    pub authority: Authority,
    /// Where clients reach it.
    pub client: String,
    /// Where it would listen to peers.
    pub peer: String,
    /// Where load balancers reach it.
    pub health: String,
    /// Where its metrics are.
    pub metrics: String,
}

impl Own {
    /// Makes certificates and a configuration, and starts nothing.
    pub fn make() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::make()?;
        let ports = free_ports(4)?;
        let address = |at: usize| format!("127.0.0.1:{}", ports[at]);
        let own = Self {
            directory,
            process: None,
            authority,
            client: address(0),
            peer: address(1),
            health: address(2),
            metrics: address(3),
        };
        own.write_pair(&own.authority.issue()?)?;
        let at = own.path("");
        let at = at.to_string_lossy();
        let at = at.trim_end_matches('/');
        let Self {
            client,
            peer,
            health,
            metrics,
            ..
        } = &own;
        std::fs::write(
            own.config(),
            format!(
                "name = \"own\"\ndata_dir = \"{at}/data\"\n\n[client]\naddress = \"{client}\"\ncert_file = \"{at}/client.pem\"\nkey_file = \"{at}/client.key\"\n\n[peer]\naddress = \"{peer}\"\n\n[health]\naddress = \"{health}\"\n\n[metrics]\naddress = \"{metrics}\"\n"
            ),
        )?;
        Ok(own)
    }

    /// Starts it, and waits until it lives.
    pub async fn start() -> Result<Self> {
        let mut own = Self::make()?;
        own.run().await?;
        Ok(own)
    }

    /// Starts the process.
    pub async fn run(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.path("log"))?;
        let mut command = Command::new(binary());
        command.args(["server", "--config"]).arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(command.spawn()?);
        let anonymous = self.anonymous()?;
        let up = eventually("the server is up", || async { anonymous.health(None).await.is_ok() }).await;
        up.with_context(|| self.log())
    }

    /// Stops it as a service manager does, and waits for its end.
    pub fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        if let Some(mut process) = self.process.take() {
            process.wait()?;
        }
        Ok(())
    }

    /// Sends it a signal.
    pub fn signal(&self, name: &str) -> Result<()> {
        let process = self.process.as_ref().context("it does not run")?;
        let status = Command::new("kill")
            .args([&format!("-{name}"), &process.id().to_string()])
            .status()?;
        ensure!(status.success());
        Ok(())
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(match &mut self.process {
            Some(process) => process.try_wait()?.is_none(),
            None => false,
        })
    }

    /// Makes it a cluster of its own, with one share, which is given back with the root token.
    pub async fn init(&self) -> Result<(SecretBytes, SecretBytes)> {
        let request = v1::InitRequest {
            shares: 1,
            threshold: 1,
            ..Default::default()
        };
        let made = self.anonymous()?.init(request).await?;
        Ok((
            SecretBytes::new(made.shares[0].to_vec()),
            SecretBytes::new(made.root_token.to_vec()),
        ))
    }

    /// A client without a token, which trusts the first authority.
    pub fn anonymous(&self) -> Result<Client> {
        self.client_as(SecretBytes::default(), self.authority.pem())
    }

    /// A client with this token, which trusts this authority.
    pub fn client_as(&self, token: SecretBytes, authority: &str) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(vec![self.client.clone()])
            .ca_pem(authority.as_bytes().to_vec())
            .token(token)
            .timeout(Duration::from_secs(15));
        Ok(builder.retries(false).build()?)
    }

    /// Replaces certificate and key, as a careful person does: each by renaming, the key with mode 0600.
    pub fn write_pair(&self, pair: &Pair) -> Result<()> {
        for (name, text) in [("client.pem", &pair.certificate), ("client.key", &pair.key)] {
            let new = self.path(&format!("{name}.new"));
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            std::fs::rename(new, self.path(name))?;
        }
        Ok(())
    }

    /// A file in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("aumbry.toml")
    }

    /// Everything that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The value of a metric, with its labels as they are written.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let answer = ask(&self.metrics, "GET", "/metrics").await?;
        let line = answer
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line
            .with_context(|| format!("no metric {name} in {}", answer.body))?
            .parse()?)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
