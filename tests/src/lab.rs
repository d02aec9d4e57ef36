//! A cluster whose nodes are in network namespaces of their own, so that single directions between two nodes can be cut.
//!
//! The test itself runs in a fresh namespace, with a bridge that its nodes are plugged into: nothing of it is outside, nothing is left
//! behind however the test ends, and addresses can be fixed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use aumbry_types::SecretBytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::cluster::eventually;
use crate::server::{Certificates, Server, Unusual};

/// Runs this test, which is the one of this name, in a network namespace that is made for it.
pub fn in_namespace<F: Future<Output = Result<()>>>(name: &str, test: impl FnOnce() -> F) -> Result<()> {
    in_own("--net", name, test)
}

/// Runs this test, which is the one of this name, in a mount namespace that is made for it: what it mounts is seen by nobody else, and gone
/// when it ends.
pub fn in_mount_namespace<F: Future<Output = Result<()>>>(name: &str, test: impl FnOnce() -> F) -> Result<()> {
    in_own("--mount", name, test)
}

fn in_own<F: Future<Output = Result<()>>>(what: &str, name: &str, test: impl FnOnce() -> F) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(test());
    }
    let mut unshare = Command::new("unshare");
    // Who is not root is it in a user namespace, if the machine allows that.
    if run("id", &["-u"])?.trim() != "0" {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args([what, "--"]).arg(std::env::current_exe()?);
    let status = unshare.args([name, "--exact", "--nocapture"]).env(INSIDE, "1").status();
    let status = status.context("unshare (Debian: util-linux)")?;
    ensure!(
        status.success(),
        "the test failed in its namespace, see above: {status}"
    );
    Ok(())
}

/// A running cluster of nodes 1, 2, 3, ..., initialised and unsealed. Dropping it kills them.
pub struct Lab {
    nodes: Vec<Node>,
    ca: Vec<u8>,
    root: SecretBytes,
    share: String,
    _directory: tempfile::TempDir,
}

struct Node {
    server: Server,
    namespace: Namespace,
}

impl Lab {
    /// Starts so many nodes. To be called once, within [`in_namespace`].
    pub async fn start(nodes: u8) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let certificates = make_certificates(directory.path(), (1..=nodes).map(address).collect())?;
        make_bridge()?;
        let mut started = Vec::new();
        for n in 1..=nodes {
            let namespace = Namespace::make(n)?;
            let unusual = Unusual {
                prefix: namespace.enter(),
                ..Unusual::default()
            };
            let (client, peer) = (format!("{}:8200", address(n)), format!("{}:8201", address(n)));
            let home = directory.path().join(format!("n{n}"));
            let server = Server::start_at(&home, &certificates, &unusual, client, peer).await?;
            started.push(Node { server, namespace });
        }
        let ca = std::fs::read(&certificates.ca)?;
        let servers: Vec<_> = started.iter().map(|node| &node.server).collect();
        let (root, share) = unite(&servers, &ca).await?;
        Ok(Self {
            nodes: started,
            ca,
            root,
            share,
            _directory: directory,
        })
    }

    /// From now on nothing that `from` sends reaches `to`. What `to` sends still arrives.
    pub fn cut(&self, from: u8, to: u8) -> Result<()> {
        self.route(from, "add", to)
    }

    /// Ends [`Self::cut`].
    pub fn heal(&self, from: u8, to: u8) -> Result<()> {
        self.route(from, "delete", to)
    }

    fn route(&self, from: u8, action: &str, to: u8) -> Result<()> {
        let to = format!("{}/32", address(to));
        let namespace = &self.node(from).namespace;
        namespace.run("ip", &["route", action, "blackhole", &to])?;
        // Connections remember their route.
        namespace.run("ip", &["route", "flush", "cache"]).map(drop)
    }

    /// Sends a signal to a node.
    pub fn signal(&self, node: u8, signal: &str) -> Result<()> {
        let process = self.node(node).server.process().context("the node is down")?;
        run("sh", &["-c", &format!("kill -{signal} {process}")]).map(drop)
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&mut self, node: u8) -> Result<()> {
        self.nodes[usize::from(node) - 1].server.kill()
    }

    /// Starts a node again, and unseals it.
    pub async fn restart(&mut self, node: u8) -> Result<()> {
        let server = &mut self.nodes[usize::from(node) - 1].server;
        server.run().await?;
        self.unseal(node).await
    }

    /// Unseals a node.
    pub async fn unseal(&self, node: u8) -> Result<()> {
        self.node(node).server.unseal(std::slice::from_ref(&self.share)).await
    }

    /// The numbers of the nodes.
    pub fn ids(&self) -> impl Iterator<Item = u8> + use<> {
        1..=u8::try_from(self.nodes.len()).unwrap_or(u8::MAX)
    }

    /// A client of one node with the root token, which does not retry. A request may take so long.
    pub fn client_on(&self, node: u8, timeout: Duration) -> Result<Client> {
        let builder = Client::builder()
            .endpoints(vec![self.node(node).server.client_address().to_owned()])
            .ca_pem(self.ca.clone())
            .token(SecretBytes::new(self.root.expose().to_vec()))
            .timeout(timeout);
        Ok(builder.retries(false).build()?)
    }

    /// The leader among these nodes that serves, as soon as there is one: by its own word, given in answer to a request.
    pub async fn leader_of(&self, nodes: &[u8]) -> Result<u8> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for node in nodes {
                let client = self.client_on(*node, Duration::from_millis(1_500))?;
                if let Ok(status) = client.call(v1::StatusRequest::default()).await
                    && status.is_leader
                {
                    return Ok(*node);
                }
            }
        }
        anyhow::bail!("none of {nodes:?} leads")
    }

    /// What a node wrote into its log.
    #[must_use]
    pub fn log(&self, node: u8) -> String {
        self.node(node).server.log()
    }

    fn node(&self, node: u8) -> &Node {
        &self.nodes[usize::from(node) - 1]
    }
}

/// Makes one cluster of fresh servers. Gives the root token and the one share.
pub(crate) async fn unite(servers: &[&Server], ca: &[u8]) -> Result<(SecretBytes, String)> {
    let anonymous = |server: &Server| server.client_as(SecretBytes::default());
    let init = v1::InitRequest {
        shares: 1,
        threshold: 1,
        ..Default::default()
    };
    let made = anonymous(servers[0])?.init(init).await?;
    let share = String::from_utf8(made.shares[0].to_vec())?;
    let root = || SecretBytes::new(made.root_token.to_vec());
    servers[0].unseal(std::slice::from_ref(&share)).await?;
    let client = servers[0].client_as(root())?;
    for server in &servers[1..] {
        let join_token = client.call(v1::JoinTokenCreateRequest::default()).await?.join_token;
        let ca = ca.to_vec().into();
        let request = v1::JoinClusterRequest { join_token, ca };
        anonymous(server)?.join_cluster(None, request).await?;
        server.unseal(std::slice::from_ref(&share)).await?;
    }
    eventually("all nodes vote", || async {
        let members = client.call(v1::MembersRequest::default()).await;
        members.is_ok_and(|reply| reply.members.iter().filter(|member| member.voter).count() == servers.len())
    })
    .await?;
    Ok((root(), share))
}

/// Makes the bridge that the nodes are plugged into. To be called once in a network namespace.
pub(crate) fn make_bridge() -> Result<()> {
    run("ip", &["link", "set", "lo", "up"])?;
    run("ip", &["link", "add", "aumbry", "type", "bridge"])?;
    let address = format!("{BRIDGE_ADDRESS}/24");
    run("ip", &["address", "add", &address, "dev", "aumbry"])?;
    run("ip", &["link", "set", "aumbry", "up"]).map(drop)
}

/// A network namespace, held by a process that sleeps.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Makes the one of this node, plugged into the bridge.
    pub(crate) fn make(n: u8) -> Result<Self> {
        // It dies with the test, however that ends.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--", "sleep", "infinity"])
            .stdin(Stdio::null());
        let holder = command.spawn().context("setpriv (Debian: util-linux)")?;
        let namespace = Self { holder };
        let theirs = PathBuf::from(format!("/proc/{}/ns/net", namespace.holder.id()));
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let deadline = Instant::now() + PATIENCE;
        while std::fs::read_link(&theirs)? == own {
            ensure!(Instant::now() < deadline, "no namespace was made");
            std::thread::yield_now();
        }
        let (plug, pid) = (format!("node{n}"), namespace.holder.id().to_string());
        let veth = [
            "link", "add", &plug, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ];
        run("ip", &veth)?;
        run("ip", &["link", "set", &plug, "master", "aumbry", "up"])?;
        let address = format!("{}/24", address(n));
        namespace.run("ip", &["address", "add", &address, "dev", "eth0"])?;
        for link in ["lo", "eth0"] {
            namespace.run("ip", &["link", "set", link, "up"])?;
        }
        Ok(namespace)
    }

    /// What a command begins with to run inside.
    pub(crate) fn enter(&self) -> Vec<String> {
        let path = format!("--net=/proc/{}/ns/net", self.holder.id());
        vec!["nsenter".to_owned(), path, "--".to_owned()]
    }

    /// Runs a program inside, to its end. Gives what it wrote.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let enter = self.enter();
        let before = enter[1..].iter().map(String::as_str);
        let all: Vec<&str> = before.chain([program]).chain(arguments.iter().copied()).collect();
        run(&enter[0], &all)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The address of a node on the bridge.
pub(crate) fn address(n: u8) -> String {
    format!("10.77.0.{n}")
}

/// One certificate for all these addresses, and its authority.
pub(crate) fn make_certificates(directory: &Path, addresses: Vec<String>) -> Result<Certificates> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(addresses)?.signed_by(&key, &issuer)?.pem();
    let file = |name: &str, text: &str| -> Result<PathBuf> {
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let made = Certificates {
        ca: file("ca.pem", &authority)?,
        certificate: file("server.pem", &certificate)?,
        key: file("server.key", &key.serialize_pem())?,
    };
    run("chmod", &["600", &made.key.to_string_lossy()])?;
    Ok(made)
}

/// Runs a program to its end. Gives what it wrote.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("starting {program} (Debian: iproute2, util-linux)"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Where the test itself is on the bridge.
pub(crate) const BRIDGE_ADDRESS: &str = "10.77.0.254";
const PATIENCE: Duration = Duration::from_secs(60);
/// Tells the test that it runs in its namespace.
const INSIDE: &str = "AUMBRY_TEST_NAMESPACE";
