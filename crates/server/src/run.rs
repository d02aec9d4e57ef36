//! A node from start to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use aumbry_api::v1;
use aumbry_state::Consensus as _;
use aumbry_storage::{DataDir, StorageError, with_causes};
use aumbry_types::SystemClock;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tonic::transport::Server;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use crate::certificate::{self, Certificate, CertificateError, Files};
use crate::config::{ClientListener, Config, ConfigError, HealthListener, HttpListener};
use crate::gateway::Gateway;
use crate::harden::{check_memory, harden};
use crate::holding::HoldLayer;
use crate::http::{self, Answer, Asked};
use crate::lifecycle::{Lifecycle, MemberError, VERSION};
use crate::media::GrpcOnlyLayer;
use crate::metrics::Metrics;
use crate::seals::SealSource;
use crate::services::Services;
use crate::sink::Sinks;
use crate::vault::{self, Vault};
use crate::{auto_unseal, disk, health, telemetry, tls};

/// Why a node did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A listener's certificate.
    #[error("[{listener}] {source}")]
    Certificate {
        /// The section of the configuration.
        listener: &'static str,
        /// Why.
        source: Box<CertificateError>,
    },
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
    /// Keys could be written to a disk.
    #[error(
        "there is swap, and no memory can be locked for keys ({0}): raise the limit (LimitMEMLOCK= in the service's unit, `ulimit -l`), \
         turn swap off, or accept that keys may be written to a disk with `allow_swap = true` in [runtime]"
    )]
    Swap(String),
    /// The data directory is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The cluster.
    #[error("{0}")]
    Member(String),
    /// The server.
    #[error("the server stopped: {0}")]
    Server(String),
}

impl From<MemberError> for RunError {
    fn from(error: MemberError) -> Self {
        let text = with_causes(&error);
        match error.is_damage() {
            true => Self::Damaged(text),
            false => Self::Member(text),
        }
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
    match check_memory(config.runtime.allow_swap) {
        Ok(Some(warning)) => tracing::warn!("{warning}"),
        Ok(None) => {}
        Err(why) => return Err(RunError::Swap(why)),
    }
    let mut builder = match config.runtime.threads() {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let runtime = builder
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
    // From here on a SIGHUP no longer ends the process, not even one that comes while it starts.
    let hangup = signal(SignalKind::hangup()).map_err(|error| RunError::Server(error.to_string()))?;
    // Everything that can be wrong is found before anything is changed: certificates, then ports, then the data directory.
    let metrics = Metrics::new();
    let shown = load_certificate(Files::of_clients(&config.client), &metrics)?;
    let health_files = config.health.as_ref().and_then(Files::of_health);
    let health_shown = health_files
        .map(|files| load_certificate(files, &metrics))
        .transpose()?;
    let clients = listen(config.client.address).await?;
    let peers = listen(config.peer.address).await?;
    let scrapes = match &config.metrics {
        Some(listener) => Some(listen(listener.address).await?),
        None => None,
    };
    let http_files = config
        .http
        .as_ref()
        .and_then(|http| Files::of_http(http, &config.client));
    let http_shown = http_files.map(|files| load_certificate(files, &metrics)).transpose()?;
    let vault_clients = match &config.http {
        Some(HttpListener { address, .. }) => Some(listen(*address).await?),
        None => None,
    };
    let checks = match &config.health {
        Some(HealthListener { address, .. }) => Some(listen(*address).await?),
        None => None,
    };
    let data = DataDir::open(&config.data_dir).map_err(|error| match error.is_damage() {
        true => RunError::Damaged(with_causes(&error)),
        false => error.into(),
    })?;
    let limits = config.limits.clone();
    let lifecycle = Lifecycle::new(config, data, peers, Arc::clone(&metrics));
    let gateway = Arc::new(Gateway {
        lifecycle: Arc::clone(&lifecycle),
        scrape: std::sync::OnceLock::new(),
    });
    lifecycle.set_gateway(&gateway);
    tokio::spawn(disk::watch(Arc::clone(&lifecycle)));
    let sinks = Sinks::start(&lifecycle, &metrics).map_err(|error| RunError::Server(error.to_string()))?;
    let counted = (Arc::clone(&metrics), Arc::downgrade(&lifecycle), Arc::clone(&sinks));
    // Set once, here.
    let _ = gateway.scrape.set(Box::new(move || {
        let (metrics, lifecycle, sinks) = &counted;
        if let Some(lifecycle) = lifecycle.upgrade() {
            refresh(metrics, &lifecycle, sinks);
        }
        metrics.encode()
    }));
    // A node that takes long to start is alive, and not ready, meanwhile.
    if let Some(listener) = scrapes {
        spawn_scrapes(listener, &lifecycle, &metrics, &sinks);
    }
    if let Some(listener) = checks {
        spawn_checks(listener, &lifecycle, health_shown.clone());
    }
    let watched = std::iter::once(Arc::clone(&shown))
        .chain(health_shown)
        .chain(http_shown.clone())
        .collect();
    tokio::spawn(certificate::watch(
        watched,
        hangup,
        Arc::clone(&lifecycle.clock),
        metrics,
    ));
    lifecycle.resume().await?;
    let services = Services {
        gateway,
        lifecycle: Arc::clone(&lifecycle),
    };
    let sources = SealSource::all(&lifecycle.config().seal);
    if !sources.is_empty() {
        tokio::spawn(auto_unseal::run(Arc::clone(&lifecycle), sources));
    }
    let (reporter, health_service) = tonic_health::server::health_reporter();
    tokio::spawn(health::report(reporter, Arc::clone(&lifecycle)));
    tracing::info!(
        version = VERSION,
        client = %lifecycle.config().client.address,
        peer = %lifecycle.config().peer.address,
        "the node is up"
    );
    if lifecycle.member().is_none() {
        tracing::info!(
            "the node belongs to no cluster and waits: `aumbry operator init --address {0}` makes a new one of it, `aumbry operator join --address {0} TOKEN_FILE` adds it to one",
            lifecycle.config().client_advertise()
        );
    }
    let server = Server::builder()
        .layer(GrpcOnlyLayer)
        .layer(HoldLayer)
        .timeout(Duration::from_millis(limits.request_ms) + DEADLINE_GRACE)
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(health_service)
        .add_service(sized!(v1::kv_service_server::KvServiceServer<Services>, services))
        .add_service(sized!(v1::token_service_server::TokenServiceServer<Services>, services))
        .add_service(sized!(v1::auth_service_server::AuthServiceServer<Services>, services))
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
        .add_service(sized!(v1::audit_service_server::AuditServiceServer<Services>, services))
        .add_service(sized!(
            v1::logical_service_server::LogicalServiceServer<Services>,
            services
        ));
    let server = server.add_optional_service(reflection(&lifecycle.config().client)?);
    let bounds = tls::bounds(&limits);
    let (stop_http, http_stopped) = tokio::sync::watch::channel(false);
    let serving_http = vault_clients.map(|listener| {
        let vault = Arc::new(Vault::new(services.clone()));
        match http_shown {
            Some(certificate) => tokio::spawn(vault::serve(
                tls::accept(listener, certificate, bounds.clone()),
                vault,
                http_stopped,
            )),
            None => tokio::spawn(vault::serve(
                tls::accept_plain(listener, bounds.clone()),
                vault,
                http_stopped,
            )),
        }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let connections = tls::accept(clients, shown, bounds);
    let mut serving = tokio::spawn(server.serve_with_incoming_shutdown(connections, async {
        // Dropping the sender stops as well.
        let _ = stopped.await;
    }));
    tokio::select! {
        () = wait_for_signal() => {}
        reason = lifecycle.must_end() => {
            lifecycle.abandon();
            return Err(RunError::Damaged(reason));
        }
    }
    tracing::info!("stopping: leadership is handed over, requests in flight are finished");
    // The other nodes have a leader, which this one knows, before its clients are turned away; and it is a member until the last of them is gone. So
    // no request finds a node that cannot say where to go.
    lifecycle.leave().await;
    drop(stop);
    stop_http.send_replace(true);
    if let Some(mut serving) = serving_http {
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, &mut serving).await;
    }
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, &mut serving).await;
    sinks.stop().await;
    lifecycle.shutdown().await;
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

/// What tells clients which services and messages there are, if it is wanted.
fn reflection(listener: &ClientListener) -> Result<Option<ServerReflectionServer<impl ServerReflection>>, RunError> {
    if !listener.reflection {
        return Ok(None);
    }
    let service = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(aumbry_api::FILE_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| RunError::Server(error.to_string()))?;
    Ok(Some(
        service
            .max_decoding_message_size(REFLECTION_BYTES_MAX)
            .max_encoding_message_size(REPLY_BYTES_MAX),
    ))
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

fn load_certificate(files: Files, metrics: &Metrics) -> Result<Arc<Certificate>, RunError> {
    let listener = files.listener;
    let loaded = Certificate::load(files, &SystemClock, metrics);
    loaded.map_err(|source| RunError::Certificate {
        listener,
        source: Box::new(source),
    })
}

/// Metrics and health, for this machine.
fn spawn_scrapes(listener: TcpListener, lifecycle: &Arc<Lifecycle>, metrics: &Arc<Metrics>, sinks: &Arc<Sinks>) {
    let (lifecycle, metrics, sinks) = (Arc::clone(lifecycle), Arc::clone(metrics), Arc::clone(sinks));
    let answer = move |asked: &Asked| -> Answer {
        if asked.uri().path() == "/metrics" {
            refresh(&metrics, &lifecycle, &sinks);
            return http::with_type(StatusCode::OK, METRICS_TYPE, metrics.encode());
        }
        health::answer(&lifecycle, asked).unwrap_or_else(|| health::not_found("/metrics, /health, /ready and /live"))
    };
    tokio::spawn(http::serve(aumbry_net::accept_plain(listener, http::bounds()), answer));
}

/// Health, for load balancers: with TLS if there is a certificate for it.
fn spawn_checks(listener: TcpListener, lifecycle: &Arc<Lifecycle>, certificate: Option<Arc<Certificate>>) {
    let lifecycle = Arc::clone(lifecycle);
    let answer = move |asked: &Asked| -> Answer {
        health::answer(&lifecycle, asked).unwrap_or_else(|| health::not_found("/health, /ready and /live"))
    };
    match certificate {
        None => {
            tokio::spawn(http::serve(aumbry_net::accept_plain(listener, http::bounds()), answer));
        }
        Some(certificate) => {
            let acceptor = move || certificate.acceptor();
            let connections = aumbry_net::accept(listener, http::bounds(), acceptor, |address, _, _| Some(address));
            tokio::spawn(http::serve(connections, answer));
        }
    }
}

fn refresh(metrics: &Metrics, lifecycle: &Lifecycle, sinks: &Sinks) {
    metrics.disk_free_bytes.set(lifecycle.space.free());
    metrics.disk_reserve_bytes.set(lifecycle.space.reserve());
    let Some(member) = lifecycle.member() else { return };
    let status = member.raft.status();
    metrics.sealed.set(i64::from(!member.node.is_unsealed()));
    metrics.is_leader.set(i64::from(status.leader == Some(status.node)));
    metrics.applied_index.set(status.applied.0);
    metrics.audit_records.set(status.audit_size);
    metrics.audit_archived.set(member.node.archived());
    metrics.audit_floor.set(member.node.audit_floor());
    metrics.log_fsyncs.set(member.raft.log_fsyncs());
    metrics.state_differences.set(member.node.state_differences());
    if let Some(offset) = member.node.clock_offset_ms() {
        metrics.clock_offset_ms.set(offset);
    }
    metrics.campaigns.set(i64::from(member.raft.campaigns()));
    sinks.refresh(metrics, &member, status.audit_size, lifecycle.clock.wall().0);
}

/// A value of 1 MiB with its path and header.
const REQUEST_BYTES_MAX: usize = 2 << 20;
/// The name of a symbol or file.
const REFLECTION_BYTES_MAX: usize = 4 << 10;
/// A batch of 4 MiB of secrets, or a page of audit records.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// A token, a timeout, and what proxies add.
const HEADER_BYTES_MAX: u32 = 16 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The pipeline keeps the deadline itself and says what became of the request; the transport's own comes after it.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The text format of OpenMetrics, which the encoder writes.
pub(crate) const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
