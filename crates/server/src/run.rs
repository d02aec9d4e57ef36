//! A node from start to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aumbry_api::v1;
use aumbry_state::Consensus as _;
use aumbry_storage::{DataDir, StorageError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::auto_unseal;
use crate::config::{Config, ConfigError};
use crate::gateway::Gateway;
use crate::harden::harden;
use crate::holding::HoldLayer;
use crate::lifecycle::{Lifecycle, MemberError, VERSION};
use crate::metrics::{self, Metrics};
use crate::services::Services;
use crate::telemetry;
use crate::tls::{self, TlsError};

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The client listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port.
    #[error("cannot listen on {address}: {source}; is another process using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The process could not be protected.
    #[error("cannot forbid core dumps: {0}; the node does not start without")]
    Harden(std::io::Error),
    /// The cluster.
    #[error("{0}")]
    Member(String),
    /// The server.
    #[error("the server stopped: {0}")]
    Server(String),
}

impl From<MemberError> for RunError {
    fn from(error: MemberError) -> Self {
        Self::Member(error.to_string())
    }
}

/// Runs a node with this configuration until it is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// [`RunError`] in one line that says what, where, and what to do.
pub fn run(config: &Path) -> Result<(), RunError> {
    let config = Config::load(config)?;
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    harden().map_err(RunError::Harden)?;
    telemetry::start(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| RunError::Server(error.to_string()))?;
    let result = runtime.block_on(serve(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// A service with bounded messages.
macro_rules! sized {
    ($server:ty, $services:expr) => {
        <$server>::new($services.clone())
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(REPLY_BYTES_MAX)
    };
}

async fn serve(config: Config) -> Result<(), RunError> {
    // Everything that can be wrong is found before anything is changed: certificates, then ports, then the data directory.
    let tls = tls::client_config(&config.client)?;
    let clients = listen(config.client.address).await?;
    let peers = listen(config.peer.address).await?;
    let metrics = Metrics::new();
    let scrapes = match &config.metrics {
        Some(listener) => Some(listen(listener.address).await?),
        None => None,
    };
    let data = DataDir::open(&config.data_dir)?;
    let limits = config.limits.clone();
    let lifecycle = Lifecycle::new(config, data, peers, Arc::clone(&metrics));
    let gateway = Arc::new(Gateway {
        lifecycle: Arc::clone(&lifecycle),
    });
    lifecycle.set_gateway(&gateway);
    lifecycle.resume().await?;
    if let Some(listener) = scrapes {
        let source = Arc::clone(&lifecycle);
        tokio::spawn(metrics::serve(listener, metrics, move |metrics| {
            refresh(metrics, &source)
        }));
    }
    let services = Services {
        gateway,
        lifecycle: Arc::clone(&lifecycle),
    };
    if let Some(seal) = lifecycle.config().seal.static_key.clone() {
        tokio::spawn(auto_unseal::run(Arc::clone(&lifecycle), seal.key_file));
    }
    let (health, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(health, Arc::clone(&lifecycle)));
    tracing::info!(
        version = VERSION,
        client = %lifecycle.config().client.address,
        peer = %lifecycle.config().peer.address,
        "the node is up"
    );
    let server = Server::builder()
        .layer(HoldLayer)
        .timeout(Duration::from_millis(limits.request_ms) + DEADLINE_GRACE)
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(health_service)
        .add_service(sized!(v1::kv_service_server::KvServiceServer<Services>, services))
        .add_service(sized!(v1::token_service_server::TokenServiceServer<Services>, services))
        .add_service(sized!(
            v1::policy_service_server::PolicyServiceServer<Services>,
            services
        ))
        .add_service(sized!(v1::mount_service_server::MountServiceServer<Services>, services))
        .add_service(sized!(v1::sys_service_server::SysServiceServer<Services>, services))
        .add_service(sized!(
            v1::cluster_service_server::ClusterServiceServer<Services>,
            services
        ))
        .add_service(sized!(v1::audit_service_server::AuditServiceServer<Services>, services));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let connections = tls::accept(clients, tls, &limits);
    let serving = tokio::spawn(server.serve_with_incoming_shutdown(connections, async {
        // Dropping the sender stops as well.
        let _ = stopped.await;
    }));
    wait_for_signal().await;
    tracing::info!("stopping: leadership is handed over, requests in flight are finished");
    // The other nodes have a leader before this one's clients are turned away.
    lifecycle.shutdown().await;
    drop(stop);
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, serving).await;
    match drained {
        Ok(Ok(Err(error))) => Err(RunError::Server(error.to_string())),
        _ => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })
}

async fn wait_for_signal() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::warn!("signals cannot be caught; end the node with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// The standard health service: `""` is the process, `aumbry` is whether the node can serve.
async fn report_health(reporter: tonic_health::server::HealthReporter, lifecycle: Arc<Lifecycle>) {
    reporter.set_service_status("", ServingStatus::Serving).await;
    let mut tick = tokio::time::interval(HEALTH_TICK);
    loop {
        tick.tick().await;
        let serves = lifecycle
            .member()
            .is_some_and(|member| member.node.is_unsealed() && member.leader().is_some());
        let status = if serves {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("aumbry", status).await;
    }
}

fn refresh(metrics: &Metrics, lifecycle: &Lifecycle) {
    let Some(member) = lifecycle.member() else { return };
    let status = member.raft.status();
    metrics.sealed.set(i64::from(!member.node.is_unsealed()));
    metrics.is_leader.set(i64::from(status.leader == Some(status.node)));
    metrics.applied_index.set(status.applied.0);
    metrics.audit_records.set(status.audit_size);
    metrics.log_fsyncs.set(member.raft.log_fsyncs());
    metrics.state_differences.set(member.node.state_differences());
}

/// Two threads: one that plans while the other encrypts connections.
const WORKERS: usize = 2;
/// A value of 1 MiB with its path and header.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// A batch of 4 MiB of secrets, or a page of audit records.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// A token, a timeout, and what proxies add.
const HEADER_BYTES_MAX: u32 = 16 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The pipeline keeps the deadline itself and says what became of the request; the transport's own comes after it.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
const HEALTH_TICK: Duration = Duration::from_millis(200);
