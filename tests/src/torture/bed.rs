//! The cluster that is tortured: three or five real nodes, each with the network, disk, clock and library that the round wants.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

use super::links::Links;
use super::means;
use super::patience::within;
use super::reach::Reach;
use crate::http::Answered;
use crate::lab::{Namespace, address, make_bridge, make_certificates, unite};
use crate::native;
use crate::ports::free_ports;
use crate::server::{Refusal, Server, Unusual};
use crate::states::are_equal;
use crate::volume::Volume;

/// What a bed is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many nodes.
    pub(crate) nodes: u8,
    /// How they reach each other.
    pub(crate) net: Net,
    /// A disk of so many bytes for each, or directories.
    pub(crate) disks: Option<u64>,
    /// Whether syncs can be made to fail and to take long: below this place they fail.
    pub(crate) syncs: Option<&'static str>,
    /// Whether clocks can be set.
    pub(crate) has_clocks: bool,
}

/// How nodes reach each other, and clients them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// On loopback.
    Loopback,
    /// Each in a network namespace of its own, on a bridge: directions can be cut.
    Spaces,
    /// As [`Net::Spaces`], through a proxy that knows each direction of each pair: they can be made slow, and be stalled.
    Links,
}

/// A running cluster, initialised and unsealed. Dropping it kills it.
pub(crate) struct Bed {
    /// Where each node has its place, whether it is a member or not.
    pub(crate) slots: Vec<Slot>,
    /// What stands between the nodes, if the shape says so.
    pub(crate) links: Option<Links>,
    pub(crate) shape: Shape,
    directory: PathBuf,
    ca: Vec<u8>,
    root: SecretBytes,
    share: String,
}

/// The place of a node.
pub(crate) struct Slot {
    pub(crate) server: Server,
    /// Its id in the cluster.
    pub(crate) id: u64,
    pub(crate) volume: Option<Volume>,
    /// Whether something was done to it that may end the process.
    pub(crate) may_end: bool,
    /// Whether it belongs to the cluster now.
    pub(crate) is_member: bool,
    namespace: Option<Namespace>,
    health: String,
    metrics: String,
}

impl Bed {
    /// Starts a cluster in this directory, which is kept.
    pub(crate) async fn start(shape: Shape, directory: &Path) -> Result<Self> {
        // One more than there are nodes: who joins has its place.
        let places = shape.nodes + 1;
        let addresses = match shape.net {
            Net::Loopback => vec!["127.0.0.1".to_owned()],
            Net::Spaces | Net::Links => (1..=places).map(address).collect(),
        };
        let certificates = make_certificates(directory, addresses)?;
        let library = shape.syncs.map(|_| native::failing_sync(directory)).transpose()?;
        if shape.net != Net::Loopback {
            make_bridge()?;
        }
        let links = match shape.net {
            Net::Links => Some(Links::start(places).await?),
            Net::Loopback | Net::Spaces => None,
        };
        let ports = free_ports(4 * u16::from(places))?;
        let mut slots = Vec::new();
        for (n, ports) in (1..=places).zip(ports.chunks(4)) {
            let home = directory.join(format!("n{n}"));
            std::fs::create_dir(&home)?;
            let namespace = (shape.net != Net::Loopback).then(|| Namespace::make(n)).transpose()?;
            let at = |port: usize, fixed: u16| match shape.net {
                Net::Loopback => format!("127.0.0.1:{}", ports[port]),
                Net::Spaces | Net::Links => format!("{}:{fixed}", address(n)),
            };
            let (client, peer, health) = (at(0, 8_200), at(1, 8_201), at(2, 8_203));
            let metrics = format!("127.0.0.1:{}", ports[3]);
            let volume = shape.disks.map(|bytes| {
                let image = directory.join(format!("n{n}.ext4"));
                Volume::make(image, home.join("data"), bytes)
            });
            let unusual = Unusual {
                prefix: prefix(shape, &home, library.as_deref(), namespace.as_ref())?,
                peer_advertise: links.as_ref().map(|links| links.address(n)),
                times: None,
                config: format!(
                    "{}[health]\naddress = {health:?}\n[metrics]\naddress = {metrics:?}\n",
                    config(shape)
                ),
            };
            let server = Server::make_at(&home, &certificates, &unusual, client, peer)?;
            slots.push(Slot {
                server,
                id: u64::from(n),
                volume: volume.transpose()?,
                may_end: false,
                is_member: n <= shape.nodes,
                namespace,
                health,
                metrics,
            });
        }
        for slot in slots.iter_mut().filter(|slot| slot.is_member) {
            slot.server.run().await?;
        }
        let ca = std::fs::read(&certificates.ca)?;
        let members: Vec<&Server> = slots
            .iter()
            .filter(|slot| slot.is_member)
            .map(|slot| &slot.server)
            .collect();
        let (root, share) = unite(&members, &ca).await?;
        // For whoever looks at what is kept of a failure.
        std::fs::write(directory.join("share"), &share)?;
        std::fs::write(directory.join("root-token"), root.expose())?;
        Ok(Self {
            slots,
            links,
            shape,
            directory: directory.to_owned(),
            ca,
            root,
            share,
        })
    }

    /// How clients reach those that are members now.
    pub(crate) fn reach(&self) -> Reach {
        let endpoints = self
            .members()
            .into_iter()
            .map(|at| self.slots[at].server.client_address().to_owned());
        Reach::new(endpoints.collect(), self.ca.clone(), self.root.duplicate())
    }

    /// The places of those that are members now.
    pub(crate) fn members(&self) -> Vec<usize> {
        (0..self.slots.len()).filter(|at| self.slots[*at].is_member).collect()
    }

    /// The place that belongs to no member.
    pub(crate) fn spare(&self) -> Option<usize> {
        (0..self.slots.len()).find(|at| !self.slots[*at].is_member)
    }

    /// A client of one node with the root token, which does not retry.
    pub(crate) fn client_on(&self, at: usize) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(vec![self.slots[at].server.client_address().to_owned()])
            .ca_pem(self.ca.clone())
            .token(self.root.duplicate())
            .timeout(ONE);
        Ok(builder.retries(false).build()?)
    }

    /// A client of all members, which tries again.
    pub(crate) fn client(&self) -> Result<Client> {
        self.reach().patient_from(0)
    }

    /// The status of a node, by its own word.
    pub(crate) async fn status(&self, at: usize) -> Result<v1::StatusReply> {
        Ok(self.client_on(at)?.call(v1::StatusRequest::default()).await?)
    }

    /// The leader, as soon as one of these nodes proves that it is by an answer.
    pub(crate) async fn leader_of(&self, nodes: &[usize]) -> Result<usize> {
        let found = std::sync::Mutex::new(None);
        within("one of the nodes leads", || async {
            for at in nodes {
                if self.slots[*at].server.process().is_none() {
                    continue;
                }
                if self.status(*at).await.is_ok_and(|status| status.is_leader) {
                    if let Ok(mut found) = found.lock() {
                        *found = Some(*at);
                    }
                    return true;
                }
            }
            false
        })
        .await?;
        found.into_inner().ok().flatten().context("one of the nodes leads")
    }

    /// The leader.
    pub(crate) async fn leader(&self) -> Result<usize> {
        self.leader_of(&self.members()).await
    }

    /// Ends these nodes with SIGKILL, all in one moment. Each must have run until then.
    pub(crate) fn kill(&mut self, nodes: &[usize]) -> Result<()> {
        for at in nodes {
            ensure!(
                !self.slots[*at].server.has_ended() && self.slots[*at].server.process().is_some(),
                "node {} has ended before it was killed",
                at + 1
            );
        }
        self.signal(nodes, "KILL")?;
        nodes.iter().try_for_each(|at| self.slots[*at].server.kill())
    }

    /// Sends a signal to nodes.
    pub(crate) fn signal(&self, nodes: &[usize], signal: &str) -> Result<()> {
        let running = nodes.iter().filter_map(|at| self.slots[*at].server.process());
        let processes: Vec<String> = running.map(|process| process.to_string()).collect();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .args(&processes)
            .status()?;
        ensure!(sent.success(), "{signal} to nodes {nodes:?}: {sent}");
        Ok(())
    }

    /// Starts a node that is down. It stays sealed.
    pub(crate) async fn run(&mut self, at: usize) -> Result<()> {
        let server = &mut self.slots[at].server;
        server.run().await.with_context(|| format!("node {}", at + 1))
    }

    /// Starts a node that is down, and tells how it ended if it did not come up.
    pub(crate) async fn try_run(&mut self, at: usize) -> Result<Option<Refusal>> {
        self.slots[at].server.try_run().await
    }

    /// Unseals a node, as soon as it can be.
    pub(crate) async fn unseal(&self, at: usize) -> Result<()> {
        let (client, share) = self.unsealing(at)?;
        within("a node is open", || async {
            let _ = client.unseal(None, share.duplicate()).await;
            client.seal_status(None).await.is_ok_and(|status| !status.sealed)
        })
        .await
        .with_context(|| format!("node {}", at + 1))
    }

    /// Has the fresh node at this place join, and waits until it votes.
    pub(crate) async fn join(&mut self, at: usize) -> Result<()> {
        let client = self.client()?;
        let join_token = client.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
        let request = v1::JoinClusterRequest {
            join_token,
            ca: self.ca.clone().into(),
        };
        let joining = self.slots[at].server.client_as(SecretBytes::default())?;
        let id = joining.join_cluster(None, request).await?.node_id;
        self.slots[at].id = id;
        self.slots[at].is_member = true;
        self.unseal(at).await?;
        self.votes(id).await
    }

    /// Waits until a node votes.
    pub(crate) async fn votes(&self, id: u64) -> Result<()> {
        let client = self.client()?;
        within("the node votes", || async {
            let members = client.call(v1::MembersRequest::default()).await;
            members.is_ok_and(|reply| reply.members.iter().any(|member| member.id == id && member.voter))
        })
        .await
    }

    /// Removes a node from the cluster. Its process is not touched.
    pub(crate) async fn remove(&mut self, at: usize) -> Result<()> {
        let (client, node_id) = (self.client()?, self.slots[at].id);
        within("the node is removed", || async {
            let request = v1::RemoveRequest {
                node_id,
                ..Default::default()
            };
            // Asked again, it says that there is no such member: an answer that was lost, or a leader that removed itself.
            let _ = client.call(request).await;
            let members = client.call(v1::MembersRequest::default()).await;
            members.is_ok_and(|reply| reply.members.iter().all(|member| member.id != node_id))
        })
        .await?;
        self.slots[at].is_member = false;
        Ok(())
    }

    /// Empties the data directory of a node that is down.
    pub(crate) fn wipe(&self, at: usize) -> Result<()> {
        let data = self.slots[at].server.data();
        for entry in std::fs::read_dir(&data)? {
            let path = entry?.path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(path)?,
                false => std::fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    /// As [`Self::wipe`], of a node that may never have run.
    pub(crate) fn wipe_if_there(&self, at: usize) -> Result<()> {
        match self.slots[at].server.data().exists() {
            true => self.wipe(at),
            false => Ok(()),
        }
    }

    /// What unseals a node: a client of it, and the share.
    pub(crate) fn unsealing(&self, at: usize) -> Result<(Client, SecretBytes)> {
        let client = self.slots[at].server.client_as(SecretBytes::default())?;
        Ok((client, SecretBytes::from(self.share.clone())))
    }

    /// From now on nothing that `from` sends reaches `to`, or it does again.
    pub(crate) fn route(&self, from: usize, to: usize, way: Way) -> Result<()> {
        let to = format!("{}/32", address(u8::try_from(to + 1)?));
        let namespace = self.slots[from]
            .namespace
            .as_ref()
            .context("the nodes are on loopback")?;
        let action = match way {
            Way::Cut => "replace",
            Way::Open => "delete",
        };
        let routed = namespace.run("ip", &["route", action, "blackhole", &to]);
        // What was not cut is open.
        if way == Way::Cut {
            routed?;
        }
        // Connections remember their route.
        namespace.run("ip", &["route", "flush", "cache"]).map(drop)
    }

    /// What a node answers to load balancers.
    pub(crate) async fn ask(&self, at: usize, path: &str) -> Result<Answered> {
        crate::http::ask(&self.slots[at].health, "GET", path).await
    }

    /// A metric of a node, which it tells on its own loopback alone.
    pub(crate) async fn metric(&self, at: usize, name: &str) -> Result<f64> {
        let slot = &self.slots[at];
        let Some(namespace) = &slot.namespace else {
            return crate::scrape::metric(&slot.metrics, name).await;
        };
        let program = std::env::current_exe()?;
        let text = namespace.run(&program.to_string_lossy(), &["scrape", &slot.metrics])?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no metric {name}"))?.trim().parse()?)
    }

    /// Sets the clock of a node: how far it is from the machine's, in words of libfaketime.
    pub(crate) fn set_clock(&self, at: usize, offset: &str) -> Result<()> {
        let file = self.slots[at].server.directory().join(CLOCK);
        let new = file.with_extension("new");
        std::fs::write(&new, offset)?;
        Ok(std::fs::rename(new, file)?)
    }

    /// From now on the next sync of a node fails, once.
    pub(crate) fn fail_next_sync(&self, at: usize) -> Result<()> {
        Ok(std::fs::write(self.slots[at].server.directory().join(FAIL), "")?)
    }

    /// Whether that sync was asked for and failed.
    pub(crate) fn has_sync_failed(&self, at: usize) -> bool {
        let seen = std::fs::read_to_string(self.slots[at].server.directory().join(SEEN));
        seen.is_ok_and(|seen| seen.lines().any(|line| line.starts_with("failed ")))
    }

    /// Forgets what failed before.
    pub(crate) fn forget_syncs(&self, at: usize) {
        for name in [FAIL, SEEN, SLOW] {
            // It need not be there.
            let _ = std::fs::remove_file(self.slots[at].server.directory().join(name));
        }
    }

    /// From now on each sync of a node takes so much longer.
    pub(crate) fn slow_syncs(&self, at: usize, delay: Duration) -> Result<()> {
        let file = self.slots[at].server.directory().join(SLOW);
        let new = file.with_extension("new");
        std::fs::write(&new, delay.as_millis().to_string())?;
        Ok(std::fs::rename(new, file)?)
    }

    /// How many syncs of a node were made slow.
    pub(crate) fn slowed_syncs(&self, at: usize) -> u64 {
        let file = self.slots[at].server.directory().join(SLOWED);
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    }

    /// Whether all members answer with the same state and audit tree at the same index now.
    pub(crate) async fn are_equal(&self) -> Result<bool> {
        let clients = self.members().into_iter().map(|at| self.client_on(at));
        Ok(are_equal(&clients.collect::<Result<Vec<_>>>()?).await)
    }

    /// The exported audit log verifies. Gives how many records it has.
    pub(crate) fn verify_audit(&self) -> Result<u64> {
        let file = self.directory.join("audit.jsonl");
        // It writes over nothing.
        let _ = std::fs::remove_file(&file);
        let (file, ca) = (file.to_string_lossy().into_owned(), self.directory.join("ca.pem"));
        let root = String::from_utf8(self.root.expose().to_vec())?;
        let members = self.members().into_iter();
        let addresses: Vec<&str> = members.map(|at| self.slots[at].server.client_address()).collect();
        let addresses = addresses.join(",");
        let environment = [
            ("AUMBRY_ADDR", addresses.as_str()),
            ("AUMBRY_CACERT", &*ca.to_string_lossy()),
            ("AUMBRY_TOKEN", root.as_str()),
        ];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let exported = crate::cluster::run_cli(&["audit", "export", &file], &environment, "")?;
        ensure!(exported.status.success(), "audit export: {}", text(&exported.stderr));
        let verified = crate::cluster::run_cli(&["audit", "verify", &file, "--output", "json"], &[], "")?;
        if !verified.status.success() {
            bail!("audit verify: {}{}", text(&verified.stdout), text(&verified.stderr));
        }
        let told: serde_json::Value = serde_json::from_slice(&verified.stdout)?;
        told["records"].as_u64().with_context(|| told.to_string())
    }
}

impl Drop for Bed {
    /// A server that is killed first lets its disk go.
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let _ = slot.server.kill();
            if let Some(volume) = &slot.volume {
                volume.unmount();
            }
        }
    }
}

/// What is done to the way from one node to another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing arrives any more.
    Cut,
    /// It is as it was.
    Open,
}

/// What the command line of a server begins with. Whatever ends the round ends its servers.
fn prefix(shape: Shape, home: &Path, library: Option<&Path>, namespace: Option<&Namespace>) -> Result<Vec<String>> {
    let mut prefix: Vec<String> = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).to_vec();
    prefix.extend(namespace.into_iter().flat_map(Namespace::enter));
    let (mut preloaded, mut environment) = (Vec::new(), Vec::new());
    let file = |name: &str| home.join(name).to_string_lossy().into_owned();
    if let (Some(place), Some(library)) = (shape.syncs, library) {
        preloaded.push(library.to_string_lossy().into_owned());
        environment.extend([
            format!("AUMBRY_SYNC_PLACE={}{place}", home.to_string_lossy()),
            format!("AUMBRY_SYNC_TRIGGER={}", file(FAIL)),
            format!("AUMBRY_SYNC_SEEN={}", file(SEEN)),
            format!("AUMBRY_SYNC_SLOW={}", file(SLOW)),
            format!("AUMBRY_SYNC_SLOWED={}", file(SLOWED)),
        ]);
    }
    if shape.has_clocks {
        let library = means::faketime().context("libfaketime is missing (Debian: faketime)")?;
        preloaded.push(library.to_string_lossy().into_owned());
        std::fs::write(home.join(CLOCK), "+0")?;
        environment.extend([
            format!("FAKETIME_TIMESTAMP_FILE={}", file(CLOCK)),
            "FAKETIME_NO_CACHE=1".to_owned(),
            // Monotonic clocks and the time since boot stay as they are.
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ]);
    }
    if !preloaded.is_empty() {
        prefix.push("env".to_owned());
        prefix.extend(environment);
        prefix.push(format!("LD_PRELOAD={}", preloaded.join(":")));
    }
    Ok(prefix)
}

/// Logs so short that snapshots, flushes and purges are under way all the time.
const fn config(shape: Shape) -> &'static str {
    match shape.disks {
        None => "snapshot_log_bytes = 1048576\n[limits]\ndisk_reserve_bytes = 16777216\n",
        // With what a node may need while nothing comes in: the log's files alone take 128 MiB.
        Some(_) => "snapshot_log_bytes = 4194304\n[limits]\ndisk_reserve_bytes = 134217728\n",
    }
}

/// What is asked of one node, which may not answer.
const ONE: Duration = Duration::from_secs(4);
const FAIL: &str = "fail-next-sync";
const SEEN: &str = "syncs";
const SLOW: &str = "slow-syncs";
const SLOWED: &str = "slowed-syncs";
const CLOCK: &str = "clock";
