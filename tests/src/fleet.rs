//! Servers on loopback that form a cluster, each started as the test wants it, and stopped and started one by one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;

use crate::cluster::eventually;
use crate::lab::{make_certificates, unite};
use crate::server::{Certificates, Server, Unusual};

/// A running cluster of nodes 1, 2, 3, ..., initialised and unsealed. Dropping it kills them.
pub struct Fleet {
    servers: Vec<Server>,
    certificates: Certificates,
    ca: Vec<u8>,
    root: SecretBytes,
    share: String,
    directory: tempfile::TempDir,
}

impl Fleet {
    /// Starts a node for each of these.
    pub async fn start(nodes: &[Unusual]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let certificates = make_certificates(directory.path(), vec!["127.0.0.1".to_owned()])?;
        let mut servers = Vec::new();
        for (node, unusual) in (1..).zip(nodes) {
            let home = directory.path().join(format!("n{node}"));
            servers.push(Server::start(&home, &certificates, unusual).await?);
        }
        let ca = std::fs::read(&certificates.ca)?;
        let (root, share) = unite(&servers.iter().collect::<Vec<_>>(), &ca).await?;
        Ok(Self {
            servers,
            certificates,
            ca,
            root,
            share,
            directory,
        })
    }

    /// Starts a further node, which belongs to no cluster yet.
    pub async fn fresh(&self, name: &str) -> Result<Server> {
        let home = self.directory.path().join(name);
        Server::start(&home, &self.certificates, &Unusual::default()).await
    }

    /// Has a fresh node join. Gives its id.
    pub async fn join(&self, fresh: &Server, join_token: &[u8]) -> Result<u64> {
        let (join_token, ca) = (join_token.to_vec().into(), self.ca.clone().into());
        let request = v1::JoinClusterRequest { join_token, ca };
        let client = fresh.client_as(SecretBytes::default())?;
        Ok(client.join_cluster(None, request).await?.node_id)
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&mut self, node: u64) -> Result<()> {
        self.server_mut(node).kill()
    }

    /// Starts a node again, and unseals it.
    pub async fn run(&mut self, node: u64) -> Result<()> {
        self.server_mut(node).run().await?;
        self.unseal(self.server(node)).await
    }

    /// Unseals a node of the cluster, as soon as it can be.
    pub async fn unseal(&self, server: &Server) -> Result<()> {
        server.unseal(std::slice::from_ref(&self.share)).await
    }

    /// The node with this id.
    #[must_use]
    pub fn server(&self, node: u64) -> &Server {
        &self.servers[place(node)]
    }

    /// The node with this id.
    pub fn server_mut(&mut self, node: u64) -> &mut Server {
        &mut self.servers[place(node)]
    }

    /// The data directory of a node.
    #[must_use]
    pub fn data(&self, node: u64) -> PathBuf {
        self.server(node).directory().join("data")
    }

    /// Where all nodes have their directories, and the test can have its own.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The root token.
    #[must_use]
    pub fn root_token(&self) -> SecretBytes {
        self.root.duplicate()
    }

    /// A client of one node with the root token, which does not retry.
    pub fn client_on(&self, node: u64) -> Result<Client> {
        self.server(node).client_as(self.root.duplicate())
    }

    /// A client of all nodes with the root token.
    pub fn client(&self) -> Result<Client> {
        self.client_as(self.root.duplicate())
    }

    /// A client of all nodes with this token.
    pub fn client_as(&self, token: SecretBytes) -> Result<Client> {
        let endpoints = self.servers.iter().map(|server| server.client_address().to_owned());
        let builder = Client::builder()
            .endpoints(endpoints.collect::<Vec<_>>())
            .ca_pem(self.ca.clone())
            .token(token)
            .timeout(Duration::from_secs(15));
        Ok(builder.build()?)
    }

    /// The leader, and its status by its own word, as soon as there is one that serves.
    pub async fn leader(&self) -> Result<(u64, v1::StatusReply)> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for (node, server) in (1..).zip(&self.servers) {
                let Some(_) = server.process() else { continue };
                let status = self.client_on(node)?.call(v1::StatusRequest::default()).await;
                match status {
                    Ok(status) if status.is_leader => return Ok((node, status)),
                    _ => {}
                }
            }
        }
        bail!("there is no leader")
    }

    /// Makes a node the leader.
    pub async fn lead(&self, node_id: u64) -> Result<()> {
        let client = self.client()?;
        let led = eventually("the node leads", || async {
            let request = v1::TransferRequest {
                node_id,
                ..Default::default()
            };
            // It is refused while the node lags, and once it leads.
            let _ = client.call(request).await;
            let status = client.call(v1::StatusRequest::default()).await;
            status.is_ok_and(|status| status.leader_id == node_id)
        });
        led.await.with_context(|| self.server(node_id).log())
    }
}

fn place(node: u64) -> usize {
    usize::try_from(node - 1).unwrap_or(usize::MAX)
}

const PATIENCE: Duration = Duration::from_secs(60);
