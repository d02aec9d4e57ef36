//! Three servers whose disks and processes fail.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

use crate::cluster::{eventually, run_cli};
use crate::http::{Answered, ask};
use crate::lab::{make_certificates, unite};
use crate::native;
use crate::ports::free_ports;
use crate::proxy::Proxy;
use crate::scrape::metric;
use crate::server::{Server, Unusual};
use crate::states::{are_equal, equal_states};
use crate::volume::Volume;

/// A running cluster of three, initialised and unsealed. Dropping it kills it.
pub struct Rack {
    /// The servers; node n is the one at n - 1.
    pub servers: Vec<Server>,
    /// The disk of each, if they have some of their own.
    pub volumes: Vec<Volume>,
    /// What stands between each and the others, if anything does.
    pub between: Vec<Proxy>,
    metrics: Vec<String>,
    ca: Vec<u8>,
    root: SecretBytes,
    share: String,
    directory: tempfile::TempDir,
}

/// What the disks of the servers are.
#[derive(Clone, Copy)]
pub enum Disks {
    /// Directories.
    Directories,
    /// A [`Volume`] of so many bytes for each.
    Volumes(u64),
    /// Directories, in whose files below this place a sync can be made to fail, see [`Rack::fail_next_sync`].
    Failing(&'static str),
}

/// What is unusual about a rack.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// What the disks are.
    pub disks: Disks,
    /// What the section `[raft]` begins with, if not with quick elections.
    pub times: Option<&'a str>,
    /// Further lines of configuration: of the section `[raft]`, then whole sections.
    pub config: &'a str,
    /// With a proxy before each node, for the others: how long the way between two nodes and back takes.
    pub round_trip: Option<Duration>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            disks: Disks::Directories,
            times: None,
            config: "",
            round_trip: None,
        }
    }
}

impl Rack {
    /// Starts three servers with these further lines of configuration: of the section `[raft]`, then whole sections.
    pub async fn start(disks: Disks, config: &str) -> Result<Self> {
        Self::start_as(Setup {
            disks,
            config,
            ..Setup::default()
        })
        .await
    }

    /// Starts three servers that are set up in this way.
    pub async fn start_as(setup: Setup<'_>) -> Result<Self> {
        let Setup { disks, config, .. } = setup;
        let directory = tempfile::tempdir()?;
        let certificates = make_certificates(directory.path(), vec!["127.0.0.1".to_owned()])?;
        let shim = match disks {
            Disks::Failing(_) => Some(native::failing_sync(directory.path())?),
            _ => None,
        };
        // All at once: a port is free until its server listens.
        let ports = free_ports(3 * NODES)?;
        let (mut servers, mut volumes, mut between, mut metrics) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (n, ports) in (1..).zip(ports.chunks(3)) {
            let [client, peer, scraped] = [0, 1, 2].map(|at| format!("127.0.0.1:{}", ports[at]));
            let home = directory.path().join(format!("n{n}"));
            std::fs::create_dir(&home)?;
            // Whatever ends the test ends its servers.
            let mut prefix: Vec<String> = ["setpriv", "--pdeathsig", "KILL", "env"].map(str::to_owned).to_vec();
            if let (Disks::Failing(place), Some(shim)) = (disks, &shim) {
                prefix.extend([
                    format!("AUMBRY_SYNC_PLACE={}{place}", home.to_string_lossy()),
                    format!("AUMBRY_SYNC_TRIGGER={}", home.join(TRIGGER).to_string_lossy()),
                    format!("AUMBRY_SYNC_SEEN={}", home.join(SEEN).to_string_lossy()),
                    format!("LD_PRELOAD={}", shim.to_string_lossy()),
                ]);
            }
            if let Disks::Volumes(bytes) = disks {
                let image = directory.path().join(format!("n{n}.ext4"));
                volumes.push(Volume::make(image, home.join("data"), bytes)?);
            }
            if let Some(round_trip) = setup.round_trip {
                between.push(Proxy::start_far(&peer, round_trip).await?);
            }
            let unusual = Unusual {
                prefix,
                peer_advertise: between.last().map(|proxy: &Proxy| proxy.address().to_owned()),
                times: setup.times.map(str::to_owned),
                config: format!("{config}\n[metrics]\naddress = {scraped:?}\n"),
            };
            servers.push(Server::start_at(&home, &certificates, &unusual, client, peer).await?);
            metrics.push(scraped);
        }
        let ca = std::fs::read(&certificates.ca)?;
        let (root, share) = unite(&servers.iter().collect::<Vec<_>>(), &ca).await?;
        Ok(Self {
            servers,
            volumes,
            between,
            metrics,
            ca,
            root,
            share,
            directory,
        })
    }

    /// A client of all nodes with the root token.
    pub fn client(&self) -> Result<Client> {
        self.client_from(0)
    }

    /// As [`Self::client`]; this node is the one that it asks first.
    pub fn client_from(&self, at: usize) -> Result<Client> {
        let count = self.servers.len();
        let order = self.servers.iter().cycle().skip(at % count).take(count);
        self.client_of(order.map(|server| server.client_address().to_owned()))
    }

    /// As [`Self::client`], of these endpoints.
    pub fn client_of(&self, endpoints: impl IntoIterator<Item = String>) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(endpoints)
            .ca_pem(self.ca.clone())
            .token(self.root.duplicate());
        Ok(builder.build()?)
    }

    /// A client of one node with the root token, which does not retry.
    pub fn client_on(&self, at: usize) -> Result<Client> {
        self.servers[at].client_as(self.root.duplicate())
    }

    /// Which node leads, as soon as one does.
    pub async fn leader(&self) -> Result<usize> {
        let mut leader = None;
        let anonymous: Result<Vec<Client>> = self
            .servers
            .iter()
            .map(|server| server.client_as(SecretBytes::default()))
            .collect();
        let anonymous = anonymous?;
        let found = std::sync::Mutex::new(&mut leader);
        eventually("there is a leader", || async {
            for (at, client) in anonymous.iter().enumerate() {
                if client.health(None).await.is_ok_and(|health| health.is_leader) {
                    if let Ok(mut found) = found.lock() {
                        **found = Some(at);
                    }
                    return true;
                }
            }
            false
        })
        .await?;
        leader.context("there is a leader")
    }

    /// Kills these nodes with SIGKILL, all in one moment.
    pub fn kill(&mut self, nodes: &[usize]) -> Result<()> {
        let running = nodes.iter().filter_map(|at| self.servers[*at].process());
        let processes: Vec<String> = running.map(|process| process.to_string()).collect();
        // One that has ended by itself is gone already.
        Command::new("kill").arg("-KILL").args(processes).output()?;
        nodes.iter().try_for_each(|at| self.servers[*at].kill())
    }

    /// Cuts the power of these nodes, of processes and disks. The processes are stopped first: a kernel that goes on without
    /// its disk calls a sync that was under way a success now and then, and what was told of it would be told by a machine without power.
    pub async fn cut_power(&mut self, nodes: &[usize]) -> Result<()> {
        let running = nodes.iter().filter_map(|at| self.servers[*at].process());
        let processes: Vec<String> = running.map(|process| process.to_string()).collect();
        let stopped = Command::new("kill").arg("-STOP").args(&processes).status()?;
        ensure!(stopped.success(), "a node has ended by itself");
        for process in &processes {
            eventually("the process has stopped", || async { is_stopped(process) }).await?;
        }
        let volumes: Vec<&Volume> = nodes.iter().filter_map(|at| self.volumes.get(*at)).collect();
        Volume::cut(&volumes)?;
        self.kill(nodes)
    }

    /// Mounts the disks of these nodes again, if they have any of their own.
    pub async fn remount(&self, nodes: &[usize]) -> Result<()> {
        for volume in nodes.iter().filter_map(|at| self.volumes.get(*at)) {
            volume.remount().await?;
        }
        Ok(())
    }

    /// Starts nodes that are down, and unseals them.
    pub async fn restart(&mut self, nodes: &[usize]) -> Result<()> {
        for at in nodes {
            self.servers[*at].run().await?;
        }
        for at in nodes {
            let shares = std::slice::from_ref(&self.share);
            let unsealed = self.servers[*at].unseal(shares).await;
            unsealed.with_context(|| format!("node {}", at + 1))?;
        }
        Ok(())
    }

    /// What a node answers to load balancers.
    pub async fn ask(&self, at: usize, path: &str) -> Result<Answered> {
        ask(&self.metrics[at], "GET", path).await
    }

    /// A metric of a node.
    pub async fn metric(&self, at: usize, name: &str) -> Result<f64> {
        metric(&self.metrics[at], name).await
    }

    /// The status of a node, by its own word.
    pub async fn status(&self, at: usize) -> Result<v1::StatusReply> {
        Ok(self.client_on(at)?.call(v1::StatusRequest::default()).await?)
    }

    /// From now on the next sync of a node fails, once, in the place that [`Disks::Failing`] names.
    pub fn fail_next_sync(&self, at: usize) -> Result<()> {
        Ok(std::fs::write(self.servers[at].directory().join(TRIGGER), "")?)
    }

    /// The file whose sync failed, and those that were synced after it in the same place.
    pub fn failed_sync(&self, at: usize) -> Result<Option<(String, Vec<String>)>> {
        let Ok(seen) = std::fs::read_to_string(self.servers[at].directory().join(SEEN)) else {
            return Ok(None);
        };
        let mut lines = seen.lines();
        let Some(failed) = lines.find_map(|line| line.strip_prefix("failed ")) else {
            return Ok(None);
        };
        let synced = lines.map(|line| line.strip_prefix("synced ").map(str::to_owned));
        let synced: Option<Vec<String>> = synced.collect();
        Ok(Some((failed.to_owned(), synced.context("it failed twice")?)))
    }

    /// Waits until all nodes have the same state and audit tree.
    pub async fn equal_states(&self) -> Result<()> {
        equal_states(&self.clients()?).await
    }

    /// Whether all nodes have the same state and audit tree now.
    pub async fn are_equal(&self) -> Result<bool> {
        Ok(are_equal(&self.clients()?).await)
    }

    /// The exported audit log verifies. Gives how many records it has.
    pub fn verify_audit(&self) -> Result<u64> {
        let file = self.directory.path().join("audit.jsonl");
        let file = file.to_string_lossy();
        let root = String::from_utf8(self.root.expose().to_vec())?;
        let addresses: Vec<&str> = self.servers.iter().map(Server::client_address).collect();
        let (addresses, ca) = (addresses.join(","), self.directory.path().join("ca.pem"));
        let environment = [
            ("AUMBRY_ADDR", addresses.as_str()),
            ("AUMBRY_CACERT", &*ca.to_string_lossy()),
            ("AUMBRY_TOKEN", root.as_str()),
        ];
        // It writes over nothing.
        let _ = std::fs::remove_file(&*file);
        let exported = run_cli(&["audit", "export", &file], &environment, "")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(exported.status.success(), "{}", text(&exported.stderr));
        let verified = run_cli(&["audit", "verify", &file, "--output", "json"], &[], "")?;
        ensure!(
            verified.status.success(),
            "{}{}",
            text(&verified.stdout),
            text(&verified.stderr)
        );
        let told: serde_json::Value = serde_json::from_slice(&verified.stdout)?;
        told["records"].as_u64().with_context(|| told.to_string())
    }

    /// What the nodes wrote into their logs, for a test that fails.
    #[must_use]
    pub fn logs(&self) -> String {
        self.servers
            .iter()
            .map(|server| format!("{}:\n{}", name(server.directory()), server.log()))
            .collect()
    }

    fn clients(&self) -> Result<Vec<Client>> {
        (0..self.servers.len()).map(|at| self.client_on(at)).collect()
    }
}

impl Drop for Rack {
    /// A server that is killed first lets its disk go.
    fn drop(&mut self) {
        let _ = self.kill(&(0..self.servers.len()).collect::<Vec<_>>());
        // They would go with the namespace; the directory goes first.
        for volume in &self.volumes {
            volume.unmount();
        }
    }
}

/// Whether all threads of a process have stopped.
fn is_stopped(process: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let states = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default());
    // The state comes after the name, which stands in parentheses.
    let mut states = states.map(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')));
    states.all(|is_stopped| is_stopped)
}

fn name(directory: &Path) -> String {
    directory.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

const NODES: u16 = 3;
const TRIGGER: &str = "fail-next-sync";
const SEEN: &str = "syncs";
