//! The configuration file of a node: TOML, every field known, checked once.

mod file;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aumbry_state::Member;
use aumbry_types::NodeId;
pub use file::Misread;
use serde::Deserialize;

mod audit;
mod raft;
mod runtime;
mod seal;

pub use audit::{Audit, AuditArchive, AuditFile, AuditHttp, AuditSyslog, Facility, FileMode, HttpKind, SinkStart};
pub use raft::{Profile, Raft};
pub use runtime::Runtime;
pub use seal::{Pkcs11Seal, Seal, StaticSeal, TransitSeal};

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
    /// The listener for load balancers; none by default.
    pub health: Option<HealthListener>,
    /// The listener for clients of the HTTP interface; none by default.
    pub http: Option<HttpListener>,
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
    /// On how many threads the node serves.
    #[serde(default)]
    pub runtime: Runtime,
    /// Where audit records are written besides the log; nowhere by default.
    #[serde(default)]
    pub audit: Audit,
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
    /// The private key, PEM; readable by its owner alone.
    pub key_file: PathBuf,
    /// Authorities whose client certificates are taken note of, PEM; none by default.
    pub ca_file: Option<PathBuf>,
    /// Whether anybody may ask which services and messages there are (gRPC server reflection).
    #[serde(default)]
    pub reflection: bool,
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

/// The listener for metrics and health: plain HTTP, on loopback only.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsListener {
    /// Where to listen; must be a loopback address.
    pub address: SocketAddr,
}

/// The listener for load balancers: it tells the node's state, which everybody may know, by HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// The certificate chain, PEM; with it and the key the listener speaks HTTPS, without both plain HTTP.
    pub cert_file: Option<PathBuf>,
    /// The private key, PEM; readable by its owner alone.
    pub key_file: Option<PathBuf>,
}

/// The listener for clients of the HTTP interface: HTTPS with the certificate of the client listener, or with one of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpListener {
    /// Where to listen.
    pub address: SocketAddr,
    /// The certificate chain, PEM; that of the client listener by default.
    pub cert_file: Option<PathBuf>,
    /// The private key, PEM; readable by its owner alone.
    pub key_file: Option<PathBuf>,
    /// Speaks plain HTTP, on a loopback address only.
    #[serde(default)]
    pub plain: bool,
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
    /// How many bytes are to stay free on the node's disk; with less, requests are refused.
    pub disk_reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_per_connection: 256,
            connections: 4_096,
            connections_per_address: 1_024,
            memory_bytes: 256 << 20,
            request_ms: 30_000,
            disk_reserve_bytes: 1 << 30,
        }
    }
}

/// A quarter of it holds what is on its way.
const DISK_RESERVE_BYTES_MIN: u64 = 16 << 20;
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
    /// The file is no configuration.
    #[error("the configuration {path} is wrong: {}", told(.misread))]
    Parse {
        /// The file.
        path: PathBuf,
        /// What does not belong into it, and where.
        misread: Vec<Misread>,
    },
    /// Values do not fit.
    #[error("the configuration {path} is wrong: {}", .messages.join("; "))]
    Value {
        /// The file.
        path: PathBuf,
        /// What, and what to do.
        messages: Vec<&'static str>,
    },
}

fn told(misread: &[Misread]) -> String {
    let told: Vec<String> = misread.iter().map(ToString::to_string).collect();
    told.join("; ")
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, where, and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let (config, misread) = Self::look(path)?;
        let config = config
            .filter(|_| misread.is_empty())
            .ok_or_else(|| ConfigError::Parse {
                path: path.to_owned(),
                misread,
            })?;
        let messages = config.problems();
        if !messages.is_empty() {
            return Err(ConfigError::Value {
                path: path.to_owned(),
                messages,
            });
        }
        Ok(config)
    }

    /// Reads a file, as far as it can be read, and tells what in it cannot.
    ///
    /// # Errors
    /// [`ConfigError::Read`]
    pub(crate) fn look(path: &Path) -> Result<(Option<Self>, Vec<Misread>), ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::read(&text))
    }

    /// Reads a text, as far as it can be read, and tells what in it cannot.
    pub(crate) fn read(text: &str) -> (Option<Self>, Vec<Misread>) {
        file::read(text)
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

    /// The values that do not fit, and what to do.
    pub(crate) fn problems(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut demand = |holds: bool, message| {
            if !holds {
                found.push(message);
            }
        };
        demand(
            !self.name.is_empty() && is_name(&self.name) && is_name(&self.region) && is_name(&self.zone),
            "name, region and zone have at most 64 characters of A-Z, a-z, 0-9, `-`, `_`, `.`; a name is needed",
        );
        demand(
            !self.data_dir.as_os_str().is_empty(),
            "data_dir is empty; name a directory",
        );
        let metrics = self.metrics.as_ref().map(|metrics| metrics.address);
        demand(
            metrics.is_none_or(|address| address.ip().is_loopback()),
            "metrics.address must be a loopback address, such as 127.0.0.1:8202",
        );
        let health = self.health.as_ref();
        demand(
            health.is_none_or(|health| health.cert_file.is_some() == health.key_file.is_some()),
            "health.cert_file and health.key_file go together; name both, or none for plain HTTP",
        );
        let http = self.http.as_ref();
        demand(
            http.is_none_or(|http| http.cert_file.is_some() == http.key_file.is_some()),
            "http.cert_file and http.key_file go together; name both, or none for those of [client]",
        );
        demand(
            http.is_none_or(|http| !http.plain || http.address.ip().is_loopback() && http.cert_file.is_none()),
            "http.plain takes a loopback address, such as 127.0.0.1:8200, and no certificate",
        );
        let addresses = [
            Some(self.client.address),
            Some(self.peer.address),
            metrics,
            http.map(|http| http.address),
        ];
        let mut addresses: Vec<SocketAddr> = addresses
            .into_iter()
            .flatten()
            .chain(health.map(|health| health.address))
            // The system chooses another port for each.
            .filter(|address| address.port() != 0)
            .collect();
        addresses.sort_unstable();
        demand(
            addresses.windows(2).all(|pair| pair[0] != pair[1]),
            "two listeners have the same address; each of client, peer, metrics, health and http needs its own",
        );
        let raft = &self.raft;
        demand(
            raft.heartbeat_ms >= 10 && raft.election_min_ms >= raft.heartbeat_ms.saturating_mul(2),
            "raft.heartbeat_ms is at least 10, and raft.election_min_ms at least twice that",
        );
        demand(
            raft.election_max_ms > raft.election_min_ms && raft.election_max_ms <= 60_000,
            "raft.election_max_ms is above raft.election_min_ms and at most 60000",
        );
        demand(
            raft.snapshot_log_bytes >= 1 << 20,
            "raft.snapshot_log_bytes is at least 1048576",
        );
        let limits = &self.limits;
        demand(
            limits.streams_per_connection > 0
                && limits.connections > 0
                && limits.connections_per_address > 0
                && (100..=600_000).contains(&limits.request_ms),
            "limits: streams_per_connection and both connections are at least 1, request_ms is 100 to 600000",
        );
        demand(
            (MEMORY_BYTES_MIN..=u32::MAX as usize).contains(&limits.memory_bytes),
            "limits: memory_bytes is 33554432 (32 MiB) to 4294967295",
        );
        demand(
            limits.disk_reserve_bytes >= DISK_RESERVE_BYTES_MIN,
            "limits: disk_reserve_bytes is at least 16777216 (16 MiB)",
        );
        let listeners = [Some(self.client.address), http.map(|http| http.address)];
        let own = listeners.into_iter().flatten().map(|address| address.to_string());
        let own: Vec<String> = own.chain([self.client_advertise()]).collect();
        found.extend(self.seal.check(&self.data_dir, &own));
        found.extend(self.runtime.check().err());
        found.extend(self.audit.check(&self.data_dir).err());
        found
    }
}

/// Whether this can be a name, or be left out: it stands in metrics and in logs.
fn is_name(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
