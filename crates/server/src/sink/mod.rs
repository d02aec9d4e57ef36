//! Audit sinks: every record of the replicated log, brought to a file, a receiver of syslog or a collector by HTTP, by each node that is
//! unsealed.
//!
//! What it guarantees:
//! - No request waits for a sink. It reads what is applied, on a thread of its own; a disk or a receiver that is full, broken, hung or hostile
//!   stops that thread and nothing else. What was not delivered stays in the log, and is delivered later; nothing is queued in memory but one batch.
//! - Records are delivered in their order, each at least once and whole: a cursor in the data directory says up to where, and it never runs ahead
//!   of what is durable in a file, or what a receiver has said it has.
//! - The lines of a file, and of those it was renamed to, are the records in their order, each once.
//! - A line holds what `aumbry audit log` shows, so no secret; and what its place in the Merkle tree is made of.
//!
//! Where a record can be delivered twice (never left out; `seq` tells): to a receiver, when its answer did not come back, or the node was killed
//! before it had stored that. To a file, if the data directory, and the cursor with it, is lost; if the name or
//! region of the node, its form, or its build, changed between a crash and the start after it; if a file was renamed and compressed between a failed
//! write and the next; and after `from` a log that is not the one followed so far, as one recovered from fewer nodes, which is written anew.
//!
//! What it does not do: sign its files, which an export does, or remove them, which is for whoever rotates them.

mod alarm;
mod cursor;
mod follow;
mod http;
mod lines;
mod output;
mod road;
mod syslog;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_storage::StorageError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::certificate::CertificateError;
use crate::config::{AuditFile, AuditHttp, AuditSyslog};
use crate::lifecycle::Lifecycle;
use crate::member::Member;
use crate::metrics::{Metrics, SinkLabels};
use crate::sink::cursor::Cursor;
use crate::sink::follow::{Follower, Settings};
use crate::sink::http::Http;
use crate::sink::lines::Bounds;
use crate::sink::output::Output;
use crate::sink::syslog::Syslog;
use crate::sink::writer::Transport;

/// The sinks of a node.
pub(crate) struct Sinks {
    sinks: Vec<Sink>,
    /// Gives nothing, and ends when the last thread has ended.
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

/// One sink, as others see it.
struct Sink {
    labels: SinkLabels,
    told: Arc<Told>,
    /// Wakes the thread; dropped, it ends it.
    bell: Mutex<Option<std::sync::mpsc::SyncSender<()>>>,
}

/// What a sink's thread tells others.
struct Told {
    /// The record that it delivers next.
    next: AtomicU64,
    /// Whether it stands still until somebody asks it to go on.
    is_stopped: AtomicBool,
}

/// Why lines were not written. They are tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkError {
    /// The disk.
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// A device, a pipe, a directory or a symbolic link.
    #[error("{path} is no regular file; remove it, or name another one")]
    NotAFile { path: PathBuf },
    /// Somebody else holds it.
    #[error("{path} is locked by another process; each sink of each node needs a file of its own")]
    Shared { path: PathBuf },
    /// It was renamed between two looks.
    #[error("{path} was renamed at this very moment")]
    Moved { path: PathBuf },
    /// The cursor.
    #[error("the cursor cannot be used: {0}")]
    Cursor(#[from] StorageError),
    /// The log.
    #[error("the audit log cannot be read: {0}")]
    Records(String),
    /// A certificate, a key or a token.
    #[error(transparent)]
    File(#[from] CertificateError),
    /// What is in those files does not suit.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The token. Nothing of it is told.
    #[error("the token in {path} is empty, or has characters that no header has; it is one line of text")]
    Token { path: PathBuf },
    /// The receiver is not there, or does not answer.
    #[error("{target} cannot be reached: {message}")]
    Unreachable { target: String, message: String },
    /// It takes nothing now.
    #[error("{target} answered {code}")]
    Later {
        target: String,
        code: u16,
        after: Option<Duration>,
    },
    /// It will not take this, however often it is asked.
    #[error("{target} refuses records: {why}")]
    Refused { target: String, why: String },
}

impl Sinks {
    /// Starts the sinks that the configuration names.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(lifecycle: &Arc<Lifecycle>, metrics: &Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let (alive, ended) = mpsc::channel(1);
        let mut sinks = Vec::new();
        let (audit, node) = (&lifecycle.config().audit, &lifecycle.config().name);
        let mut start = Start {
            lifecycle,
            metrics,
            alive,
            sinks: &mut sinks,
        };
        for file in &audit.file {
            let output = Output::new(file.path.clone(), file.mode);
            start.sink(of_file(file), output)?;
        }
        for syslog in &audit.syslog {
            start.sink(of_syslog(syslog), Syslog::new(syslog, node)?)?;
        }
        for http in &audit.http {
            start.sink(of_http(http), Http::new(http, node)?)?;
        }
        // The threads alone are to keep it.
        drop(start);
        let sinks = Arc::new(Self {
            sinks,
            ended: tokio::sync::Mutex::new(ended),
        });
        tokio::spawn(Arc::clone(&sinks).hear_hangups());
        tokio::spawn(alarm::watch(Arc::clone(&sinks), Arc::clone(lifecycle)));
        Ok(sinks)
    }

    /// Brings the metrics up to date: how far each sink is behind what is applied here.
    pub(crate) fn refresh(&self, metrics: &Metrics, member: &Member, size: u64, now_ms: u64) {
        for sink in &self.sinks {
            let (lag, age) = sink.lag(member, size, now_ms);
            metrics.sink_lag_records.get_or_create(&sink.labels).set(lag);
            metrics
                .sink_lag_seconds
                .get_or_create(&sink.labels)
                .set(age.as_secs_f64());
            let is_stopped = sink.told.is_stopped.load(Ordering::Relaxed);
            metrics
                .sink_stopped
                .get_or_create(&sink.labels)
                .set(i64::from(is_stopped));
        }
    }

    /// Ends the sinks after what they are writing now. One that hangs is left behind: what it did not write is written after the next start.
    pub(crate) async fn stop(&self) {
        for sink in &self.sinks {
            sink.bell.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        let mut ended = self.ended.lock().await;
        if tokio::time::timeout(STOP_TIMEOUT, ended.recv()).await.is_err() {
            tracing::warn!("an audit sink hangs and is left behind");
        }
    }

    /// Looks for renamed files at once when told so, as programs that rotate files do, and asks those again that refused. Without a sink the
    /// signal does nothing.
    async fn hear_hangups(self: Arc<Self>) {
        let Ok(mut hangups) = signal(SignalKind::hangup()) else {
            return;
        };
        while hangups.recv().await.is_some() {
            for sink in &self.sinks {
                let bell = sink.bell.lock().unwrap_or_else(PoisonError::into_inner);
                // One that was rung already, or hangs, will look anyway.
                let _ = bell.as_ref().map(|bell| bell.try_send(()));
            }
        }
    }
}

impl Sink {
    /// How many records are not delivered, and the age of the oldest of them.
    fn lag(&self, member: &Member, size: u64, now_ms: u64) -> (u64, Duration) {
        let next = self.told.next.load(Ordering::Relaxed);
        let lag = size.saturating_sub(next);
        let oldest = if lag > 0 { lines::leaf(member, next) } else { None };
        let age_ms = oldest.map_or(0, |leaf| now_ms.saturating_sub(leaf.log_time));
        (lag, Duration::from_millis(age_ms))
    }
}

/// Starts sinks, one after the other.
struct Start<'a> {
    lifecycle: &'a Arc<Lifecycle>,
    metrics: &'a Arc<Metrics>,
    alive: mpsc::Sender<()>,
    sinks: &'a mut Vec<Sink>,
}

impl Start<'_> {
    fn sink(&mut self, settings: Settings, transport: impl Transport) -> std::io::Result<()> {
        let labels = SinkLabels {
            sink: settings.name.clone(),
        };
        let first = Cursor::first_look(&self.lifecycle.data, &settings.key, settings.from);
        let told = Arc::new(Told {
            next: AtomicU64::new(first),
            is_stopped: AtomicBool::new(false),
        });
        let errors = self.metrics.sink_errors.get_or_create(&labels).clone();
        let (bell, rung) = std::sync::mpsc::sync_channel(1);
        let lifecycle = Arc::clone(self.lifecycle);
        let follower = Follower::new(lifecycle, settings, transport, Arc::clone(&told), errors);
        let alive = self.alive.clone();
        std::thread::Builder::new()
            .name("audit-sink".to_owned())
            .spawn(move || {
                follower.run(&rung);
                drop(alive);
            })?;
        self.sinks.push(Sink {
            labels,
            told,
            bell: Mutex::new(Some(bell)),
        });
        Ok(())
    }
}

fn of_file(file: &AuditFile) -> Settings {
    Settings {
        name: file.name.clone(),
        key: file.path.clone(),
        from: file.from,
        format: file.format,
        bounds: Bounds::OF_FILES,
        tick: FILE_TICK,
    }
}

/// The keys of cursors of what is elsewhere are no absolute paths, so that no file has the same.
fn of_syslog(syslog: &AuditSyslog) -> Settings {
    Settings {
        name: syslog.name.clone(),
        key: PathBuf::from(format!("syslog/{}", syslog.name)),
        from: syslog.from,
        format: syslog.format,
        bounds: Bounds {
            records: syslog.batch_records,
            bytes: syslog.batch_bytes,
        },
        tick: REMOTE_TICK,
    }
}

fn of_http(http: &AuditHttp) -> Settings {
    Settings {
        name: http.name.clone(),
        key: PathBuf::from(format!("http/{}", http.name)),
        from: http.from,
        format: http.format,
        bounds: Bounds {
            records: http.batch_records,
            bytes: http.batch_bytes,
        },
        tick: REMOTE_TICK,
    }
}

/// Shorter ones would cost a sync each on a busy node.
const FILE_TICK: Duration = Duration::from_millis(200);
/// Each batch is a connection of its own.
const REMOTE_TICK: Duration = Duration::from_secs(1);
/// A write of one batch takes milliseconds; a disk that needs longer is not waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
