//! Audit sinks: every record of the replicated log, written to a file as one JSON object a line, on each node that is unsealed.
//!
//! What it guarantees:
//! - No request waits for a sink. It reads what is applied, on a thread of its own; a file that is full, broken or hung stops that thread and
//!   nothing else. What was not written stays in the log, and is written later.
//! - The lines of a file, and of those it was renamed to, are the records in their order, each once and whole: a cursor in the data directory
//!   says up to where they are durable, and it never runs ahead of the file.
//! - A line holds what `aumbry audit log` shows, so no secret; and what its place in the Merkle tree is made of.
//!
//! Where a record can be written twice (never left out; `seq` tells): if the data directory, and the cursor with it, is lost; if the name or
//! region of the node, or its build, changed between a crash and the start after it; if a file was renamed and compressed between a failed
//! write and the next; and after `from` a log that is not the one followed so far, as one recovered from fewer nodes, which is written anew.
//!
//! What it does not do: sign its files, which an export does, or remove them, which is for whoever rotates them.

mod cursor;
mod follow;
mod lines;
mod output;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_storage::StorageError;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::lifecycle::Lifecycle;
use crate::member::Member;
use crate::metrics::{Metrics, SinkLabels};
use crate::sink::cursor::Cursor;
use crate::sink::follow::Follower;

/// The sinks of a node.
pub(crate) struct Sinks {
    sinks: Vec<Sink>,
    /// Gives nothing, and ends when the last thread has ended.
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

/// One sink, as others see it.
struct Sink {
    labels: SinkLabels,
    next: Arc<AtomicU64>,
    /// Wakes the thread; dropped, it ends it.
    bell: Mutex<Option<std::sync::mpsc::SyncSender<()>>>,
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
}

impl Sinks {
    /// Starts the sinks that the configuration names.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(lifecycle: &Arc<Lifecycle>, metrics: &Arc<Metrics>) -> std::io::Result<Arc<Self>> {
        let (alive, ended) = mpsc::channel(1);
        let mut sinks = Vec::new();
        for file in &lifecycle.config().audit.file {
            let labels = SinkLabels {
                sink: file.name.clone(),
            };
            let next = Arc::new(AtomicU64::new(Cursor::first_look(&lifecycle.data, file)));
            let errors = metrics.sink_errors.get_or_create(&labels).clone();
            let (bell, rung) = std::sync::mpsc::sync_channel(1);
            let follower = Follower::new(Arc::clone(lifecycle), file.clone(), Arc::clone(&next), errors);
            let alive = alive.clone();
            std::thread::Builder::new()
                .name("audit-sink".to_owned())
                .spawn(move || {
                    follower.run(&rung);
                    drop(alive);
                })?;
            sinks.push(Sink {
                labels,
                next,
                bell: Mutex::new(Some(bell)),
            });
        }
        let sinks = Arc::new(Self {
            sinks,
            ended: tokio::sync::Mutex::new(ended),
        });
        tokio::spawn(Arc::clone(&sinks).hear_hangups());
        Ok(sinks)
    }

    /// Brings the metrics up to date: how far each sink is behind what is applied here.
    pub(crate) fn refresh(&self, metrics: &Metrics, member: &Member, size: u64, now_ms: u64) {
        for sink in &self.sinks {
            let next = sink.next.load(Ordering::Relaxed);
            let lag = size.saturating_sub(next);
            metrics.sink_lag_records.get_or_create(&sink.labels).set(lag);
            let oldest = if lag > 0 { lines::leaf(member, next) } else { None };
            let age_ms = oldest.map_or(0, |leaf| now_ms.saturating_sub(leaf.log_time));
            let age = Duration::from_millis(age_ms).as_secs_f64();
            metrics.sink_lag_seconds.get_or_create(&sink.labels).set(age);
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

    /// Looks for renamed files at once when told so, as programs that rotate files do. Without a sink the signal does nothing.
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

/// A write of one batch takes milliseconds; a disk that needs longer is not waited for.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
