//! A snapshot reaches a node that lags over connections that break and through kills, and what has arrived is not sent again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_tests::{Cluster, Gate, Server, Unusual, equal_states, eventually, free_address, metric};
use aumbry_types::{Entropy as _, SecretBytes, SystemEntropy};
use tokio::net::TcpListener;

/// The connection is cut again and again, and the receiver killed in between, under load. No single connection carries the snapshot.
///
/// Abuse cases: 69.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_on_after_cuts_and_a_kill_of_its_receiver() -> Result<()> {
    let mut bed = Bed::start().await?;
    let before = bed.gate.passed();
    bed.gate.open(CUT);
    bed.lagging.run().await?;
    let load = bed.load(bed.leader().await?)?;
    let mut parts = BTreeMap::new();
    for cut in 0..CUTS {
        let is_cut = || async { bed.gate.is_closed() };
        eventually("the connection is cut", is_cut)
            .await
            .with_context(|| bed.lagging.log())?;
        ensure!(bed.applied().await < bed.last, "it has everything already: cut earlier");
        if cut == CUTS / 2 {
            bed.lagging.kill()?;
            bed.lagging.run().await?;
        }
        // On a busy machine the receiver has yet to read what has passed.
        let is_kept = || async { bed.parts().is_ok_and(|parts| !parts.is_empty()) };
        eventually("what was received is kept", is_kept).await?;
        bed.keeps_its_part(&mut parts)?;
        bed.gate.open(CUT);
    }
    // A snapshot that was being taken when the first was offered may have replaced it, once.
    ensure!(
        (1..=2).contains(&parts.len()),
        "the transfer began anew with another snapshot: {parts:?}"
    );
    let is_there = || async {
        if bed.gate.is_closed() {
            bed.gate.open(CUT);
        }
        bed.applied().await >= bed.last
    };
    eventually("the snapshot is there", is_there)
        .await
        .with_context(|| bed.lagging.log())?;
    let (passed, longest, cuts) = (bed.gate.passed() - before, bed.gate.longest(), bed.gate.cuts());
    bed.gate.open(u64::MAX);
    load.end().await?;
    // The control: no connection carried it alone, so that from its beginning after each cut it would never arrive.
    ensure!(longest < BYTES / 3, "a connection carried {longest} bytes");
    ensure!(passed > BYTES, "only {passed} bytes passed: that was no snapshot");
    let bound = BYTES + (cuts + 1) * LOST;
    ensure!(
        passed < bound,
        "{passed} bytes passed for a snapshot of {BYTES} with {cuts} cuts: more than was on its way was sent again"
    );
    bed.ends_equal().await
}

/// The leader is killed while it sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_comes_from_another_leader_if_its_sender_is_killed() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.gate.open(CUT);
    bed.lagging.run().await?;
    let is_cut = || async { bed.gate.is_closed() };
    eventually("the connection is cut", is_cut)
        .await
        .with_context(|| bed.lagging.log())?;
    let sender = bed.leader().await?;
    bed.servers[sender].kill()?;
    bed.gate.open(u64::MAX);
    // Two of three can go on: the one that lags votes.
    let other = 1 - sender;
    let is_there = || async { bed.applied().await >= bed.last };
    eventually("the snapshot is there", is_there)
        .await
        .with_context(|| bed.lagging.log())?;
    put(&bed.client(&bed.servers[other])?, "secret/after", "x").await?;
    bed.servers[sender].run().await?;
    bed.servers[sender].unseal(&bed.shares).await?;
    bed.ends_equal().await
}

/// Three nodes, of which one was down until what it needs next was in no log any more.
struct Bed {
    servers: Vec<Server>,
    lagging: Server,
    gate: Gate,
    shares: Vec<String>,
    root: SecretBytes,
    /// What the others had applied.
    last: u64,
    metrics: String,
    lender: Cluster,
    _directory: tempfile::TempDir,
}

impl Bed {
    async fn start() -> Result<Self> {
        let lender = Cluster::start(1)?;
        let directory = tempfile::tempdir()?;
        let config = format!("snapshot_log_bytes = {LOG_BYTES}\n");
        let unusual = Unusual {
            config: config.clone(),
            ..Unusual::default()
        };
        let mut servers = Vec::new();
        for name in ["a", "b"] {
            servers.push(Server::start(&directory.path().join(name), &lender, &unusual).await?);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (client, peer) = (free_address()?, free_address()?);
        let metrics = free_address()?;
        let unusual = Unusual {
            config: format!("{config}[metrics]\naddress = {metrics:?}\n"),
            peer_advertise: Some(listener.local_addr()?.to_string()),
            ..Unusual::default()
        };
        let gate = Gate::serve(listener, &peer)?;
        let lagging = Server::start_at(&directory.path().join("c"), &lender, &unusual, client, peer).await?;
        let init = v1::InitRequest {
            shares: 1,
            threshold: 1,
            ..Default::default()
        };
        let made = servers[0].client_as(SecretBytes::default())?.init(init).await?;
        let mut bed = Self {
            servers,
            lagging,
            gate,
            shares: vec![String::from_utf8(made.shares[0].to_vec())?],
            root: SecretBytes::new(made.root_token.to_vec()),
            last: 0,
            metrics,
            lender,
            _directory: directory,
        };
        bed.servers[0].unseal(&bed.shares).await?;
        let root = bed.client(&bed.servers[0])?;
        for (server, count) in [(&bed.servers[1], 2), (&bed.lagging, 3)] {
            let join_token = root.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
            let ca = std::fs::read(bed.lender.ca_file())?.into();
            let request = v1::JoinClusterRequest { join_token, ca };
            let joining = server.client_as(SecretBytes::default())?;
            joining.join_cluster(None, request).await?;
            server.unseal(&bed.shares).await?;
            // One change of membership at a time.
            let votes = || async {
                let members = root.call(v1::MembersRequest::default()).await;
                members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == count)
            };
            eventually("the node votes", votes).await?;
        }
        bed.lagging.kill()?;
        let leader = bed.client(&bed.servers[bed.leader().await?])?;
        // What it has missed for certain: once that is purged, only a snapshot helps.
        put(&leader, "secret/missed", "x").await?;
        let missed = leader.call(v1::StatusRequest::default()).await?.applied;
        let mut bytes = vec![0; VALUE_BYTES / 2];
        for n in 0..BYTES / VALUE_BYTES as u64 {
            SystemEntropy.fill(&mut bytes);
            let value: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            put(&leader, &format!("secret/large/{n}"), &value).await?;
        }
        for server in &bed.servers {
            let client = bed.client(server)?;
            let is_purged = || async {
                let status = client.call(v1::StatusRequest::default()).await;
                status.is_ok_and(|status| status.purged >= missed)
            };
            eventually("the log is purged behind a snapshot", is_purged).await?;
        }
        bed.last = leader.call(v1::StatusRequest::default()).await?.applied;
        Ok(bed)
    }

    fn client(&self, server: &Server) -> Result<Client> {
        server.client_as(self.root.duplicate())
    }

    /// Which of the two that were never behind leads.
    async fn leader(&self) -> Result<usize> {
        let found = AtomicUsize::new(usize::MAX);
        let leads = || async {
            for (at, server) in self.servers.iter().enumerate() {
                let Ok(client) = self.client(server) else { continue };
                if client.health(None).await.is_ok_and(|health| health.is_leader) {
                    found.store(at, Ordering::SeqCst);
                    return true;
                }
            }
            false
        };
        eventually("one of them leads", leads).await?;
        Ok(found.load(Ordering::SeqCst))
    }

    /// What the node that lags has applied; its metrics tell it although it is sealed.
    async fn applied(&self) -> u64 {
        let applied = metric(&self.metrics, "aumbry_applied_index").await;
        applied.map_or(0, |applied| applied as u64)
    }

    /// What the node that lags has received, with the length of each file.
    fn parts(&self) -> Result<BTreeMap<OsString, u64>> {
        let mut parts = BTreeMap::new();
        for file in self.lagging.directory().join("data/snapshots").read_dir()? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "part") {
                parts.insert(file.file_name(), file.metadata()?.len());
            }
        }
        Ok(parts)
    }

    /// What the node that lags has received is there, and not less of it than before.
    fn keeps_its_part(&self, parts: &mut BTreeMap<OsString, u64>) -> Result<()> {
        for (name, length) in self.parts()? {
            let before = parts.insert(name, length).unwrap_or(0);
            ensure!(length >= before, "a part of {before} bytes shrank to {length}");
        }
        Ok(())
    }

    /// Requests, one after the other.
    fn load(&self, leader: usize) -> Result<Load> {
        let client = self.client(&self.servers[leader])?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut n = 0;
            while !stopping.load(Ordering::SeqCst) {
                n += 1;
                put(&client, &format!("secret/load/{}", n % 50), "y").await?;
            }
            anyhow::Ok(n)
        });
        Ok(Load { stop, task })
    }

    async fn ends_equal(&self) -> Result<()> {
        self.lagging.unseal(&self.shares).await?;
        let all = self.servers.iter().chain([&self.lagging]);
        let clients: Result<Vec<Client>> = all.map(|server| self.client(server)).collect();
        equal_states(&clients?).await
    }
}

struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<u64>>,
}

impl Load {
    async fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let answered = self.task.await??;
        ensure!(answered > 20, "only {answered} requests: there was no load");
        Ok(())
    }
}

async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    let request = v1::KvPutRequest {
        path: path.to_owned(),
        data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
        ..Default::default()
    };
    client.call(request).await?;
    Ok(())
}

/// What the snapshot holds at least.
const BYTES: u64 = 48 << 20;
const VALUE_BYTES: usize = 512 << 10;
/// A few snapshots while they are written.
const LOG_BYTES: u64 = 16 << 20;
/// What one connection may carry.
const CUT: u64 = 10 << 20;
/// What can be on its way when a connection is cut: a window of 4 MiB, and what the kernel holds.
const LOST: u64 = 8 << 20;
/// Before the rest may follow, in connections of the same length.
const CUTS: usize = 4;
