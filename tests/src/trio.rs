//! Three nodes of which one is damaged, again and again.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

use crate::cluster::{Cluster, eventually};
use crate::damage::operator;
use crate::server::{Server, Unusual};
use crate::states::are_equal;

/// Three nodes with short logs, of which the last is the one that is damaged.
pub struct Trio {
    /// Lends its certificates.
    cluster: Cluster,
    directory: tempfile::TempDir,
    /// The two that nothing is done to.
    pub sound: [Server; 2],
    /// The one that is damaged.
    pub victim: Server,
    victim_id: u64,
    shares: Vec<String>,
    root_token: SecretBytes,
    /// Everything that was acknowledged: path and value.
    written: Vec<(String, String)>,
}

impl Trio {
    /// Starts them, with short logs.
    pub async fn start() -> Result<Self> {
        let cluster = Cluster::start(1)?;
        let directory = tempfile::tempdir()?;
        let unusual = Unusual {
            config: "snapshot_log_bytes = 1048576\n".to_owned(),
            ..Unusual::default()
        };
        let [a, b, c] = ["a", "b", "c"].map(|name| directory.path().join(name));
        let first = Server::start(&a, &cluster, &unusual).await?;
        let second = Server::start(&b, &cluster, &unusual).await?;
        let victim = Server::start(&c, &cluster, &unusual).await?;
        let init = v1::InitRequest {
            shares: 1,
            threshold: 1,
            ..Default::default()
        };
        let made = first.client_as(SecretBytes::default())?.init(init).await?;
        let mut bed = Self {
            cluster,
            directory,
            sound: [first, second],
            victim,
            victim_id: 0,
            shares: vec![String::from_utf8(made.shares[0].to_vec())?],
            root_token: SecretBytes::new(made.root_token.to_vec()),
            written: Vec::new(),
        };
        bed.sound[0].unseal(&bed.shares).await?;
        let ticket = bed.ticket().await?;
        bed.join(&bed.sound[1], ticket).await?;
        bed.sound[1].unseal(&bed.shares).await?;
        bed.vote(2).await?;
        bed.join_victim().await?;
        Ok(bed)
    }

    /// A client of the nodes that are not damaged.
    fn client(&self) -> Result<Client> {
        let endpoints: Vec<String> = self
            .sound
            .iter()
            .map(|server| server.client_address().to_owned())
            .collect();
        self.cluster.client_as(self.root_token.duplicate(), &endpoints)
    }

    /// Where more can be stored; it goes with the nodes.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Unseals the nodes that are not damaged.
    pub async fn unseal_sound(&self) -> Result<()> {
        for server in &self.sound {
            server.unseal(&self.shares).await?;
        }
        Ok(())
    }

    async fn ticket(&self) -> Result<v1::JoinTokenCreateReply> {
        let client = self.sound[0].client_as(self.root_token.duplicate())?;
        Ok(client.call(v1::JoinTokenCreateRequest::default()).await?)
    }

    async fn join(&self, server: &Server, ticket: v1::JoinTokenCreateReply) -> Result<u64> {
        let request = v1::JoinClusterRequest {
            join_token: ticket.join_token,
            ca: fs::read(self.cluster.ca_file())?.into(),
        };
        let joining = server.client_as(SecretBytes::default())?;
        Ok(joining.join_cluster(None, request).await?.node_id)
    }

    async fn join_victim(&mut self) -> Result<()> {
        let ticket = self.client()?.call(v1::JoinTokenCreateRequest::default()).await?;
        self.victim_id = self.join(&self.victim, ticket).await?;
        self.victim.unseal(&self.shares).await?;
        self.vote(3).await
    }

    /// Waits until so many nodes vote: another change of membership is refused until the one under way is done.
    async fn vote(&self, count: usize) -> Result<()> {
        let client = self.client()?;
        eventually("all nodes vote", || async {
            let members = client.call(v1::MembersRequest::default()).await;
            members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == count)
        })
        .await
    }

    /// Writes so many secrets through the sound nodes.
    pub async fn write(&mut self, count: usize, value: &str) -> Result<()> {
        let client = self.client()?;
        for _ in 0..count {
            let path = format!("secret/s/{}", self.written.len());
            let value = format!("{}-{value}", self.written.len());
            put(&client, &path, &value).await?;
            self.written.push((path, value));
        }
        Ok(())
    }

    /// Writes until all logs are purged behind a snapshot, the first entries and memberships with them.
    pub async fn fill(&mut self) -> Result<()> {
        self.write(60, &"v".repeat(64 << 10)).await?;
        for server in self.sound.iter().chain([&self.victim]) {
            let client = server.client_as(self.root_token.duplicate())?;
            eventually("the log is purged behind a snapshot", || async {
                let status = client.call(v1::StatusRequest::default()).await;
                status.is_ok_and(|status| status.purged > 10)
            })
            .await?;
        }
        self.write(20, "after the purge").await
    }

    /// Whether everything that was acknowledged is read.
    pub async fn all_is_there(&self) -> Result<()> {
        let client = self.client()?;
        for (path, value) in &self.written {
            let read = get(&client, path).await?;
            ensure!(read.contains(value.as_str()), "{path} is not what was acknowledged");
        }
        Ok(())
    }

    /// Waits until the victim has the state of the others; false if its process ends instead.
    pub async fn catches_up(&mut self) -> Result<bool> {
        let clients =
            [&self.sound[0], &self.sound[1], &self.victim].map(|server| server.client_as(self.root_token.duplicate()));
        let clients = clients.into_iter().collect::<Result<Vec<_>>>()?;
        let victim = self.victim.client_as(SecretBytes::default())?;
        let share = || SecretBytes::from(self.shares[0].clone());
        let server = Mutex::new(&mut self.victim);
        let has_ended = || server.lock().is_ok_and(|mut server| server.has_ended());
        let settled = eventually("the node has the state of the others, or has ended", || async {
            let is_open = victim.seal_status(None).await.is_ok_and(|status| !status.sealed);
            has_ended() || ((is_open || victim.unseal(None, share()).await.is_ok()) && are_equal(&clients).await)
        })
        .await;
        let has_ended = has_ended();
        settled.with_context(|| self.victim.log())?;
        Ok(!has_ended)
    }

    /// Does what `check` says until the node is back: repairs it, or gives it up and joins anew.
    pub async fn bring_back(&mut self, remedy: &str) -> Result<()> {
        let config = self.victim.config();
        match remedy {
            "nothing" => {}
            "repair" | "repair-from-peers" => {
                let (code, told) = operator("repair", &config, &[])?;
                ensure!(code == 0 && told["remedy"] == remedy, "{told}");
            }
            "discard" => {
                let (code, told) = operator("repair", &config, &[])?;
                ensure!(code == 8, "a node that lost its log was repaired: {told}");
                let node_id = self.victim_id;
                let request = v1::RemoveRequest {
                    node_id,
                    ..Default::default()
                };
                self.client()?.call(request).await?;
                let (code, told) = operator("repair", &config, &["--discard"])?;
                ensure!(code == 0, "{told}");
            }
            other => bail!("an unexpected remedy: {other}"),
        }
        self.victim.run().await?;
        if remedy == "discard" {
            self.join_victim().await?;
            ensure!(
                self.victim
                    .client_as(self.root_token.duplicate())?
                    .call(v1::StatusRequest::default())
                    .await?
                    .node_id
                    == self.victim_id
            );
        }
        ensure!(self.catches_up().await?, "the node has ended: {}", self.victim.log());
        Ok(())
    }
}

/// Writes a secret.
pub async fn put(client: &Client, path: &str, value: &str) -> Result<()> {
    client
        .call(v1::KvPutRequest {
            path: path.to_owned(),
            data: serde_json::to_vec(&serde_json::json!({ "k": value }))?.into(),
            ..Default::default()
        })
        .await?;
    Ok(())
}

/// Reads a secret, as JSON.
pub async fn get(client: &Client, path: &str) -> Result<String> {
    let request = v1::KvGetRequest {
        path: path.to_owned(),
        ..Default::default()
    };
    let item = client.call(request).await?.item.context("there is an item")?;
    Ok(String::from_utf8(item.data.to_vec())?)
}
