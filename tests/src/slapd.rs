//! A directory on this machine: OpenLDAP's `slapd`, with a tree, certificates and a configuration of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::net::TcpStream;

use crate::certificates::Authority;
use crate::cluster::eventually;
use crate::ports::free_ports;

/// A running directory. Dropping it kills it.
pub struct Slapd {
    directory: tempfile::TempDir,
    process: Option<Child>,
    ports: [u16; 2],
}

impl Slapd {
    /// The top of the tree.
    pub const TOP: &str = "dc=example,dc=org";
    /// Who may change everything.
    pub const MANAGER: &str = "cn=manager,dc=example,dc=org";
    /// The manager's password.
    pub const MANAGER_PASSWORD: &str = "manager-password-canary";

    /// Starts one with a certificate of this authority and these entries (LDIF).
    pub async fn start(authority: &Authority, entries: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = directory.path();
        let pair = authority.issue()?;
        std::fs::create_dir(at.join("data"))?;
        std::fs::write(at.join("server.pem"), &pair.certificate)?;
        std::fs::write(at.join("server.key"), &pair.key)?;
        std::fs::write(at.join("slapd.conf"), configuration(at))?;
        std::fs::write(at.join("entries.ldif"), entries)?;
        let loaded = Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(at.join("slapd.conf"))
            .arg("-l")
            .arg(at.join("entries.ldif"))
            .output()
            .context("slapadd cannot be run; `cargo xtask setup` installs what the tests need")?;
        ensure!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        let ports = free_ports(2)?;
        let mut slapd = Self {
            directory,
            process: None,
            ports: [ports[0], ports[1]],
        };
        slapd.run().await?;
        Ok(slapd)
    }

    /// Starts the process.
    pub async fn run(&mut self) -> Result<()> {
        let log = std::fs::File::create(self.directory.path().join("log"))?;
        let process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &format!("{}/ {}/", self.plain(), self.tls())])
            .arg("-f")
            .arg(self.directory.path().join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.process = Some(process);
        let ports = self.ports;
        let up = eventually("the directory is up", || async move {
            let mut is_up = true;
            for port in ports {
                is_up &= TcpStream::connect(("127.0.0.1", port)).await.is_ok();
            }
            is_up
        });
        up.await
            .with_context(|| std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default())
    }

    /// Ends it.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Where it is reached without TLS, or with StartTLS.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.ports[0])
    }

    /// Where it is reached by TLS.
    #[must_use]
    pub fn tls(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.ports[1])
    }

    /// Changes the tree, by the manager (LDIF).
    pub fn change(&self, changes: &str) -> Result<()> {
        let mut process = Command::new("ldapmodify")
            .args([
                "-x",
                "-H",
                &self.plain(),
                "-D",
                Self::MANAGER,
                "-w",
                Self::MANAGER_PASSWORD,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("ldapmodify cannot be run; `cargo xtask setup` installs what the tests need")?;
        process
            .stdin
            .take()
            .context("it reads its input")?
            .write_all(changes.as_bytes())?;
        let done = process.wait_with_output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn configuration(at: &Path) -> String {
    let (at, top) = (at.display(), Slapd::TOP);
    let (manager, password) = (Slapd::MANAGER, Slapd::MANAGER_PASSWORD);
    format!(
        "include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {at}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {at}/server.pem
TLSCertificateKeyFile {at}/server.key
database mdb
suffix \"{top}\"
rootdn \"{manager}\"
rootpw {password}
directory {at}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"
    )
}
