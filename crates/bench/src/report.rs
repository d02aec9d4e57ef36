//! What a run found, for programs and for people.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use crate::{Loop, Plan};

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// What was asked for.
    pub plan: Plan,
    /// How long the part that counts lasted.
    pub duration: Duration,
    /// Requests answered in all, before and after that part too, failed ones included.
    pub answered: u64,
    /// Good replies in that part.
    pub replies: u64,
    /// Requests of an open loop that were due in that part and were never sent, because all that may be in flight were.
    pub unsent: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Failures of the warm-up and of what was sent after that part, by kind.
    pub errors_outside: BTreeMap<String, u64>,
    /// What the servers used.
    pub costs: Costs,
    pub(crate) latencies: Latencies,
}

/// Times in microseconds.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) all: Histogram<u64>,
    /// By operation, if there is more than one.
    pub(crate) operations: Vec<(&'static str, Histogram<u64>)>,
    pub(crate) delays: Histogram<u64>,
}

/// What was used in the part that counts. What could not be read is none.
#[derive(Debug, Default)]
pub struct Costs {
    /// Processor time of the processes.
    pub cpu: Option<Duration>,
    /// Processor time of the generator.
    pub generator_cpu: Duration,
    /// Synced writes of the nodes' logs.
    pub fdatasyncs: Option<u64>,
    /// Bytes that the processes made the disk write.
    pub write_bytes: Option<u64>,
    /// Memory of the processes at the end.
    pub rss_bytes: Option<u64>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Report {
    /// How many requests failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Whether requests were made, and none succeeded.
    #[must_use]
    pub fn is_all_failed(&self) -> bool {
        self.replies == 0 && self.latencies.all.is_empty()
    }

    /// Good replies in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.replies as f64 / self.duration.as_secs_f64()
    }

    /// The kinds of failures, as people read them.
    #[must_use]
    pub fn kinds(&self) -> String {
        kinds(&self.errors)
    }

    /// All of it. The keys are stable.
    #[must_use]
    pub fn document(&self) -> Value {
        let plan = &self.plan;
        let (kind, offered) = match plan.pace {
            Loop::Closed => ("closed", None),
            Loop::Open { rate } => ("open", Some(rate)),
        };
        let mut document = json!({
            "target": name(plan.target),
            "mix": name(plan.mix),
            "loop": kind,
            "offered_rate": offered,
            "addresses": plan.addresses,
            "concurrency": plan.concurrency,
            "connections": plan.connections(),
            "keys": plan.keys,
            "value_size": plan.value_size,
            "duration_s": self.duration.as_secs_f64(),
            "requests": self.replies,
            "answered_total": self.answered,
            "unsent": self.unsent,
            "rate": self.rate(),
            "errors": self.errors,
            "error_count": self.failures(),
            "errors_outside": self.errors_outside,
        });
        let map = document.as_object_mut().expect("it was made as an object");
        if plan.target == crate::Target::Aumbry {
            map.insert("channel".to_owned(), json!(name(plan.channel)));
        }
        map.extend(times(&self.latencies.all));
        if offered.is_some() {
            map.insert("start_delay_p99_ms".to_owned(), quantile(&self.latencies.delays, 0.99));
        }
        if self.latencies.operations.len() > 1 {
            let of = |(name, times_of): &(&str, Histogram<u64>)| ((*name).to_owned(), Value::Object(times(times_of)));
            let operations = self.latencies.operations.iter().map(of).collect();
            map.insert("operations".to_owned(), Value::Object(operations));
        }
        map.extend(self.costs());
        document
    }

    fn costs(&self) -> Map<String, Value> {
        let each = |sum: Option<f64>| sum.filter(|_| self.replies > 0).map(|sum| sum / self.replies as f64);
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let costs = &self.costs;
        let pairs = [
            ("cpu_us_per_request", json!(each(costs.cpu.map(micros)))),
            (
                "generator_cpu_us_per_request",
                json!(each(Some(micros(costs.generator_cpu)))),
            ),
            (
                "fdatasync_per_request",
                json!(each(costs.fdatasyncs.map(|count| count as f64))),
            ),
            (
                "write_bytes_per_request",
                json!(each(costs.write_bytes.map(|bytes| bytes as f64))),
            ),
            ("rss_bytes", json!(costs.rss_bytes)),
            ("notes", json!(self.notes())),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// What a reader should know.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.costs.notes.clone();
        if !self.errors_outside.is_empty() {
            notes.push(format!(
                "requests outside the window failed too, in the warm-up or after it: {}",
                kinds(&self.errors_outside)
            ));
        }
        if self.unsent > 0 {
            notes.push(format!(
                "{} requests were due and never sent, as {} were in flight: the percentiles leave them out and are too low; raise --concurrency or lower --rate",
                self.unsent, self.plan.concurrency
            ));
        }
        notes
    }
}

fn kinds(errors: &BTreeMap<String, u64>) -> String {
    let kinds = errors.iter().map(|(kind, count)| format!("{kind} {count}"));
    kinds.collect::<Vec<_>>().join(", ")
}

/// The name that the command line has for it.
fn name(value: impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

fn times(latencies: &Histogram<u64>) -> Map<String, Value> {
    let mean = (!latencies.is_empty()).then(|| latencies.mean() / 1e3);
    let pairs = [
        ("samples", json!(latencies.len())),
        ("mean_ms", json!(mean)),
        ("p50_ms", quantile(latencies, 0.5)),
        ("p90_ms", quantile(latencies, 0.9)),
        ("p99_ms", quantile(latencies, 0.99)),
        ("p999_ms", quantile(latencies, 0.999)),
        ("max_ms", quantile(latencies, 1.0)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// In milliseconds; null if there are no samples.
fn quantile(latencies: &Histogram<u64>, share: f64) -> Value {
    let millis = || latencies.value_at_quantile(share) as f64 / 1e3;
    json!((!latencies.is_empty()).then(millis))
}
