//! Metrics for Prometheus, told on a loopback listener. Labels are operations and classes, never names.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) operation: &'static str,
    pub(crate) outcome: &'static str,
}

/// Which listener a certificate is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ListenerLabels {
    pub(crate) listener: &'static str,
}

/// Which kind of seal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SealLabels {
    pub(crate) kind: &'static str,
}

/// Which audit sink: the name that the configuration gives it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct SinkLabels {
    pub(crate) sink: String,
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
    pub(crate) audit_archived: Gauge<u64, AtomicU64>,
    pub(crate) audit_floor: Gauge<u64, AtomicU64>,
    pub(crate) log_fsyncs: Gauge<u64, AtomicU64>,
    pub(crate) state_differences: Gauge<u64, AtomicU64>,
    pub(crate) certificate_expiry: Family<ListenerLabels, Gauge>,
    pub(crate) certificate_reloads: Family<ListenerLabels, Counter>,
    pub(crate) certificate_reload_failures: Family<ListenerLabels, Counter>,
    pub(crate) clock_offset_ms: Gauge,
    pub(crate) campaigns: Gauge,
    pub(crate) seal_works: Family<SealLabels, Gauge>,
    pub(crate) seal_tested: Family<SealLabels, Gauge>,
    pub(crate) disk_free_bytes: Gauge<u64, AtomicU64>,
    pub(crate) disk_reserve_bytes: Gauge<u64, AtomicU64>,
    pub(crate) sink_lag_records: Family<SinkLabels, Gauge<u64, AtomicU64>>,
    pub(crate) sink_lag_seconds: Family<SinkLabels, Gauge<f64, AtomicU64>>,
    pub(crate) sink_errors: Family<SinkLabels, Counter>,
    pub(crate) sink_stopped: Family<SinkLabels, Gauge>,
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
            audit_archived: Gauge::default(),
            audit_floor: Gauge::default(),
            log_fsyncs: Gauge::default(),
            state_differences: Gauge::default(),
            certificate_expiry: Family::default(),
            certificate_reloads: Family::default(),
            certificate_reload_failures: Family::default(),
            clock_offset_ms: Gauge::default(),
            campaigns: Gauge::default(),
            seal_works: Family::default(),
            seal_tested: Family::default(),
            disk_free_bytes: Gauge::default(),
            disk_reserve_bytes: Gauge::default(),
            sink_lag_records: Family::default(),
            sink_lag_seconds: Family::default(),
            sink_errors: Family::default(),
            sink_stopped: Family::default(),
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
        registry.register(
            "listener_certificate_expiry_timestamp_seconds",
            "When the certificate in use expires, in seconds since 1970",
            metrics.certificate_expiry.clone(),
        );
        registry.register(
            "listener_certificate_reloads",
            "Certificates taken from changed files",
            metrics.certificate_reloads.clone(),
        );
        registry.register(
            "listener_certificate_reload_failures",
            "Changed certificate files that were not taken, so that the old certificate stays; the log says why",
            metrics.certificate_reload_failures.clone(),
        );
        registry.register(
            "clock_offset_ms",
            "How far the node's clock is ahead of the median of the voters' clocks, as of when a majority was last heard",
            metrics.clock_offset_ms.clone(),
        );
        registry.register(
            "campaigns",
            "1 while the node calls elections, 0 while it leaves them to others because its clock is far off or its disk nearly full",
            metrics.campaigns.clone(),
        );
        registry.register(
            "disk_free_bytes",
            "Room on the disk of the data directory; below the reserve requests are refused",
            metrics.disk_free_bytes.clone(),
        );
        registry.register(
            "disk_reserve_bytes",
            "How many bytes are to stay free, as limits.disk_reserve_bytes says",
            metrics.disk_reserve_bytes.clone(),
        );
        registry.register(
            "seal_works",
            "1 if the seal that this node is configured for would open it, 0 if not; the log says why",
            metrics.seal_works.clone(),
        );
        registry.register(
            "seal_tested_timestamp_seconds",
            "When that was found, in seconds since 1970",
            metrics.seal_tested.clone(),
        );
        metrics.register_sinks(&mut registry);
        Arc::new(Self { registry, ..metrics })
    }

    fn register_sinks(&self, registry: &mut Registry) {
        registry.register(
            "audit_archived_records",
            "Up to which audit record the node's archive is; 0 without one, or while the node is sealed",
            self.audit_archived.clone(),
        );
        registry.register(
            "audit_floor_records",
            "How many audit records were pruned",
            self.audit_floor.clone(),
        );
        registry.register(
            "audit_sink_lag_records",
            "Applied audit records that the sink has not made durable yet",
            self.sink_lag_records.clone(),
        );
        registry.register(
            "audit_sink_lag_seconds",
            "Age of the oldest of them; 0 if there is none",
            self.sink_lag_seconds.clone(),
        );
        registry.register(
            "audit_sink_errors",
            "Failed attempts of the sink to write; it goes on trying",
            self.sink_errors.clone(),
        );
        registry.register(
            "audit_sink_stopped",
            "Whether the sink was refused, and waits for SIGHUP or a restart",
            self.sink_stopped.clone(),
        );
    }

    pub(crate) fn encode(&self) -> String {
        let mut body = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut body, &self.registry);
        body
    }
}
