//! Metrics for Prometheus, on a loopback listener. Labels are operations and classes, never names.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) operation: &'static str,
    pub(crate) outcome: &'static str,
}

/// A node's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) seconds: Histogram,
    pub(crate) forwarded: Counter,
    pub(crate) sealed: Gauge,
    pub(crate) is_leader: Gauge,
    pub(crate) applied_index: Gauge<u64, AtomicU64>,
    pub(crate) audit_records: Gauge<u64, AtomicU64>,
    pub(crate) log_fsyncs: Gauge<u64, AtomicU64>,
    pub(crate) state_differences: Gauge<u64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("aumbry");
        let metrics = Self {
            requests: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            forwarded: Counter::default(),
            sealed: Gauge::default(),
            is_leader: Gauge::default(),
            applied_index: Gauge::default(),
            audit_records: Gauge::default(),
            log_fsyncs: Gauge::default(),
            state_differences: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Requests by operation and outcome",
            metrics.requests.clone(),
        );
        registry.register("request_seconds", "Time from request to reply", metrics.seconds.clone());
        registry.register("forwarded", "Requests handed to the leader", metrics.forwarded.clone());
        registry.register("sealed", "1 while the node is sealed", metrics.sealed.clone());
        registry.register("leader", "1 while the node leads", metrics.is_leader.clone());
        registry.register("applied_index", "Last applied log index", metrics.applied_index.clone());
        registry.register("audit_records", "Audit records applied", metrics.audit_records.clone());
        registry.register("log_fsyncs", "Synced writes of the log", metrics.log_fsyncs.clone());
        registry.register(
            "state_differences",
            "Times that a peer had another state at the same index; anything but 0 is a fault",
            metrics.state_differences.clone(),
        );
        Arc::new(Self { registry, ..metrics })
    }

    fn encode(&self) -> String {
        let mut body = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut body, &self.registry);
        body
    }
}

/// Serves the metrics until dropped. `refresh` brings gauges up to date before each answer.
pub(crate) async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    refresh: impl Fn(&Metrics) + Send + Sync + 'static,
) {
    let refresh = Arc::new(refresh);
    let open = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (metrics, refresh) = (Arc::clone(&metrics), Arc::clone(&refresh));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (metrics, refresh) = (Arc::clone(&metrics), Arc::clone(&refresh));
                async move {
                    let (status, body) = match request.uri().path() {
                        "/metrics" => {
                            refresh(&metrics);
                            (StatusCode::OK, metrics.encode())
                        }
                        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
                    };
                    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
                    response.map_err(std::io::Error::other)
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(5));
            // A scraper that goes away is no event.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

/// A scraper or two, and a person.
const CONNECTIONS_MAX: usize = 16;
