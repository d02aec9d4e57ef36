//! The configuration file of a node: TOML, every field known, checked once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aumbry_state::Member;
use aumbry_types::NodeId;
use serde::Deserialize;

/// A node's configuration. `deploy/aumbry.toml` documents each field.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The node's name, for people.
    pub name: String,
    /// Where everything is kept; made with mode 0700.
    pub data_dir: PathBuf,
    /// The node's region, for placement.
    #[serde(default)]
    pub region: String,
    /// The node's zone, for placement.
    #[serde(default)]
    pub zone: String,
    /// The listener for clients.
    pub client: ClientListener,
    /// The listener for the other nodes.
    pub peer: PeerListener,
    /// The listener for metrics; none by default.
    pub metrics: Option<MetricsListener>,
    /// How to join a cluster at the first start; none by default.
    pub join: Option<Join>,
    /// Seals beside the shares; none by default.
    #[serde(default)]
    pub seal: Seal,
    /// Times and sizes of consensus.
    #[serde(default)]
    pub raft: Raft,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
    /// Limits for clients.
    #[serde(default)]
    pub limits: Limits,
}

/// The listener for clients: gRPC over TLS 1.2 or 1.3.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// Where clients reach it, `host:port`; as `address` by default.
    pub advertise: Option<String>,
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// The private key, PEM.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are taken note of, PEM; none by default.
    pub ca_file: Option<PathBuf>,
}

/// The listener for the other nodes: gRPC over TLS 1.3, with certificates of the cluster's own authority.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// Where peers reach it, `host:port`; as `address` by default.
    pub advertise: Option<String>,
}

/// The listener for metrics: plain HTTP, on loopback only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsListener {
    /// Where to listen; must be a loopback address.
    pub address: SocketAddr,
}

/// How to join a cluster at the first start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The file that holds the join token.
    pub token_file: PathBuf,
    /// The authority of the members' client listeners, PEM.
    pub ca_file: PathBuf,
}

/// Seals beside the shares.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// A key in a file.
    #[serde(rename = "static")]
    pub static_key: Option<StaticSeal>,
}

/// A key in a file, with which the node unseals itself when it is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticSeal {
    /// The file. It may be missing: then the node stays sealed until shares open it, or the file is there.
    pub key_file: PathBuf,
}

/// Times and sizes of consensus. The times must be the same on all nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raft {
    /// How often a leader is heard, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a node campaigns, in milliseconds.
    pub election_min_ms: u64,
    /// The longest one, and the leader's lease for writes, in milliseconds.
    pub election_max_ms: u64,
    /// After how many bytes of log a snapshot is taken.
    pub snapshot_log_bytes: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Self {
            heartbeat_ms: 100,
            election_min_ms: 300,
            election_max_ms: 600,
            snapshot_log_bytes: 256 << 20,
        }
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how. `RUST_LOG` in the environment stands before `level`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The form.
    pub format: LogFormat,
    /// The least level: `error`, `warn`, `info`, `debug`, `trace`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".to_owned(),
        }
    }
}

/// Limits for clients.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// How many requests of one connection are served at once.
    pub streams_per_connection: u32,
    /// How many connections are open at once.
    pub connections: usize,
    /// How many connections of one address are open at once.
    pub connections_per_address: usize,
    /// How many bytes of requests and replies are held at once; one address gets a quarter of it.
    pub memory_bytes: usize,
    /// How long a request may take at most, in milliseconds.
    pub request_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_per_connection: 256,
            connections: 4_096,
            connections_per_address: 1_024,
            memory_bytes: 256 << 20,
            request_ms: 30_000,
        }
    }
}

/// A quarter of it holds some requests of the largest size.
const MEMORY_BYTES_MIN: usize = 32 << 20;

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration; the text names the line.
    #[error("the configuration {path} is wrong: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// A value does not fit.
    #[error("the configuration {path} is wrong: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        message: &'static str,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, where, and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim().to_owned(),
        })?;
        match config.check() {
            Ok(()) => Ok(config),
            Err(message) => Err(ConfigError::Value {
                path: path.to_owned(),
                message,
            }),
        }
    }

    /// Where clients reach the node.
    #[must_use]
    pub fn client_advertise(&self) -> String {
        self.client
            .advertise
            .clone()
            .unwrap_or_else(|| self.client.address.to_string())
    }

    /// Where peers reach the node.
    #[must_use]
    pub fn peer_advertise(&self) -> String {
        self.peer
            .advertise
            .clone()
            .unwrap_or_else(|| self.peer.address.to_string())
    }

    /// The node of this configuration as a voter, with this public key.
    pub(crate) fn member(&self, id: NodeId, spki: &[u8]) -> Member {
        Member {
            id,
            name: self.name.clone(),
            peer_addr: self.peer_advertise(),
            client_addr: self.client_advertise(),
            spki_pin: aumbry_crypto::sha256(&[spki]),
            region: self.region.clone(),
            zone: self.zone.clone(),
            voter: true,
            matched: None,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let is_name =
            |text: &str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if self.name.is_empty() || !is_name(&self.name) || !is_name(&self.region) || !is_name(&self.zone) {
            return Err(
                "name, region and zone have at most 64 characters of A-Z, a-z, 0-9, `-`, `_`, `.`; a name is needed",
            );
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err("data_dir is empty; name a directory");
        }
        if let Some(seal) = &self.seal.static_key {
            if !seal.key_file.is_absolute() {
                return Err("seal.static.key_file is an absolute path");
            }
            if seal.key_file.starts_with(&self.data_dir) {
                return Err(
                    "seal.static.key_file lies in data_dir, so that the disk alone would open the seal; keep it elsewhere",
                );
            }
        }
        if self
            .metrics
            .as_ref()
            .is_some_and(|metrics| !metrics.address.ip().is_loopback())
        {
            return Err("metrics.address must be a loopback address, such as 127.0.0.1:8202");
        }
        let raft = &self.raft;
        if raft.heartbeat_ms < 10 || raft.election_min_ms < 2 * raft.heartbeat_ms {
            return Err("raft.heartbeat_ms is at least 10, and raft.election_min_ms at least twice that");
        }
        if raft.election_max_ms <= raft.election_min_ms || raft.election_max_ms > 60_000 {
            return Err("raft.election_max_ms is above raft.election_min_ms and at most 60000");
        }
        if raft.snapshot_log_bytes < 1 << 20 {
            return Err("raft.snapshot_log_bytes is at least 1048576");
        }
        let limits = &self.limits;
        if limits.streams_per_connection == 0
            || limits.connections == 0
            || limits.connections_per_address == 0
            || !(100..=600_000).contains(&limits.request_ms)
        {
            return Err(
                "limits: streams_per_connection and both connections are at least 1, request_ms is 100 to 600000",
            );
        }
        if !(MEMORY_BYTES_MIN..=u32::MAX as usize).contains(&limits.memory_bytes) {
            return Err("limits: memory_bytes is 33554432 (32 MiB) to 4294967295");
        }
        Ok(())
    }
}
