//! The thread of one sink: it looks for new records, writes them, and tries again what failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::SinkError;
use super::cursor::Cursor;
use super::lines::{self, Author};
use super::output::Output;
use super::writer::Writer;
use crate::config::{AuditFile, SinkStart};
use crate::lifecycle::Lifecycle;
use crate::member::Member;

/// One sink.
pub(super) struct Follower {
    lifecycle: Arc<Lifecycle>,
    file: AuditFile,
    author: Author,
    /// There once the sink has a cursor and the log was found to be the one that it follows.
    writer: Option<Writer>,
    /// What others are told of the cursor.
    next: Arc<AtomicU64>,
    errors: Counter,
    is_failing: bool,
}

/// What came of one look.
enum Look {
    /// A batch was written; there may be more.
    Wrote,
    /// There is nothing to do now.
    Idle,
}

impl Follower {
    pub(super) fn new(lifecycle: Arc<Lifecycle>, file: AuditFile, next: Arc<AtomicU64>, errors: Counter) -> Self {
        let author = Author {
            name: lifecycle.config().name.clone(),
            region: lifecycle.config().region.clone(),
        };
        Self {
            lifecycle,
            file,
            author,
            writer: None,
            next,
            errors,
            is_failing: false,
        }
    }

    /// Follows the log until the sender of `rung` is dropped.
    pub(super) fn run(mut self, rung: &Receiver<()>) {
        let mut retry = RETRY_MIN;
        loop {
            let pause = match self.look() {
                Ok(look) => {
                    retry = RETRY_MIN;
                    if matches!(look, Look::Wrote) {
                        Duration::ZERO
                    } else {
                        TICK
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    let pause = retry;
                    retry = (2 * retry).min(RETRY_MAX);
                    pause
                }
            };
            if rung.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn look(&mut self) -> Result<Look, SinkError> {
        // Held while it is read from, and not while the file is written: that can take for ever.
        let Some(member) = self.lifecycle.member() else {
            return Ok(Look::Idle);
        };
        if !member.node.is_unsealed() {
            return Ok(Look::Idle);
        }
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => match self.begin(&member)? {
                Some(writer) => writer,
                None => return Ok(Look::Idle),
            },
        };
        let batch = lines::batch(&member, &self.author, writer.cursor().next);
        drop(member);
        let written = match batch {
            Ok(Some(batch)) => writer.put(&self.lifecycle.data, &batch).map(|()| Look::Wrote),
            Ok(None) => {
                writer.release();
                Ok(Look::Idle)
            }
            Err(error) => Err(error),
        };
        let next = writer.cursor().next;
        self.next.store(next, Ordering::Relaxed);
        self.writer = Some(writer);
        if self.is_failing && matches!(written, Ok(Look::Wrote)) {
            self.is_failing = false;
            tracing::info!(sink = self.file.name, next, "the audit sink writes again");
        }
        written
    }

    /// Loads the cursor, or makes one. `None` while it cannot be told whether the log is the one that was followed.
    fn begin(&self, member: &Member) -> Result<Option<Writer>, SinkError> {
        let data = &self.lifecycle.data;
        let output = Output::new(self.file.path.clone(), self.file.mode);
        let cluster = member.cluster().to_string();
        let Some(cursor) = Cursor::load(data, &self.file.path)? else {
            let next = match self.file.from {
                SinkStart::Start => 0,
                SinkStart::Now => lines::size(member),
            };
            let cursor = Cursor::new(&self.file.path, cluster, next);
            // Stored at once: "now" must not be later after a crash.
            cursor.save(data)?;
            return Ok(Some(Writer::new(output, cursor)));
        };
        let is_other = match cursor.next.checked_sub(1).filter(|_| !cursor.leaf.is_empty()) {
            None => false,
            Some(last) => match lines::leaf(member, last) {
                Some(leaf) => aumbry_types::hex::encode(&leaf.hash()) != cursor.leaf,
                None if cursor.cluster != cluster => true,
                // A node that was killed applies again what it had applied.
                None => return Ok(None),
            },
        };
        let is_new_cluster = cursor.cluster != cluster;
        let mut writer = Writer::new(output, cursor);
        if is_other {
            let sink = &self.file.name;
            tracing::warn!(
                sink,
                "the log is not the one that the audit sink followed; it is written anew"
            );
            writer.restart(data, cluster)?;
        } else if is_new_cluster {
            // Recovered from fewer nodes, with everything that was written.
            writer.move_to(data, cluster)?;
        }
        Ok(Some(writer))
    }

    fn failed(&mut self, error: &SinkError) {
        self.errors.inc();
        if !self.is_failing {
            self.is_failing = true;
            let sink = &self.file.name;
            tracing::error!(sink, %error, "an audit sink cannot write; its records wait in the log, requests go on");
        }
    }
}

/// How often new records are looked for. Shorter ones would cost a sync each on a busy node.
const TICK: Duration = Duration::from_millis(200);
const RETRY_MIN: Duration = Duration::from_millis(200);
/// A disk that was freed is noticed within it.
const RETRY_MAX: Duration = Duration::from_secs(10);
