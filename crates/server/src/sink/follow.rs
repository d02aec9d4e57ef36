//! The thread of one sink: it looks for new records, writes them, and tries again what failed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use aumbry_audit::format::Format;
use prometheus_client::metrics::counter::Counter;

use super::cursor::Cursor;
use super::lines::{self, Author, Bounds};
use super::writer::{Transport, Writer};
use super::{SinkError, Told};
use crate::config::SinkStart;
use crate::lifecycle::Lifecycle;
use crate::member::Member;

/// What all kinds of sinks are told in the configuration.
pub(super) struct Settings {
    /// Its name, for people.
    pub(super) name: String,
    /// What its cursor goes with: the path of a file, or the kind and the name.
    pub(super) key: PathBuf,
    pub(super) from: SinkStart,
    pub(super) format: Format,
    pub(super) bounds: Bounds,
    /// How often new records are looked for.
    pub(super) tick: Duration,
}

/// One sink.
pub(super) struct Follower<T> {
    lifecycle: Arc<Lifecycle>,
    settings: Settings,
    author: Author,
    /// There until the sink has a cursor, and the log was found to be the one that it follows.
    transport: Option<T>,
    /// There from then on.
    writer: Option<Writer<T>>,
    /// Up to where the batch went that was not delivered: it is sent again as it was.
    unsettled: Option<u64>,
    /// What others are told.
    told: Arc<Told>,
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

impl<T: Transport> Follower<T> {
    pub(super) fn new(
        lifecycle: Arc<Lifecycle>,
        settings: Settings,
        transport: T,
        told: Arc<Told>,
        errors: Counter,
    ) -> Self {
        let author = Author {
            name: lifecycle.config().name.clone(),
            region: lifecycle.config().region.clone(),
        };
        Self {
            lifecycle,
            settings,
            author,
            transport: Some(transport),
            writer: None,
            unsettled: None,
            told,
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
                        self.settings.tick
                    }
                }
                Err(error @ SinkError::Refused { .. }) => {
                    self.failed(&error);
                    if !self.is_woken(rung) {
                        return;
                    }
                    Duration::ZERO
                }
                Err(error) => {
                    self.failed(&error);
                    let asked = match error {
                        SinkError::Later { after, .. } => after.unwrap_or_default().min(RETRY_AFTER_MAX),
                        _ => Duration::ZERO,
                    };
                    let pause = retry.max(asked);
                    retry = (2 * retry).min(RETRY_MAX);
                    pause
                }
            };
            match rung.recv_timeout(pause) {
                Ok(()) => self.reload(),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Stands still until somebody has looked at what was refused. False if the sink is to end.
    fn is_woken(&mut self, rung: &Receiver<()>) -> bool {
        self.told.is_stopped.store(true, Ordering::Relaxed);
        let rung = rung.recv();
        self.told.is_stopped.store(false, Ordering::Relaxed);
        self.reload();
        // What comes of it is told, even if it is the same.
        self.is_failing = false;
        rung.is_ok()
    }

    fn reload(&mut self) {
        let transport = self.transport.as_mut();
        if let Some(transport) = transport.or_else(|| self.writer.as_mut().map(Writer::transport)) {
            transport.reload();
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
            None => {
                let Some(cursor) = self.begin(&member)? else {
                    return Ok(Look::Idle);
                };
                let Some(transport) = self.transport.take() else {
                    return Ok(Look::Idle);
                };
                Writer::new(transport, cursor)
            }
        };
        let (next, floor) = (writer.cursor().next, member.node.audit_floor());
        if next < floor {
            // Who pruned said that what went is kept elsewhere. The gap shows in the numbers of the lines.
            let sink = &self.settings.name;
            tracing::error!(
                sink,
                next,
                floor,
                "ALARM: audit records were pruned before this sink had them; it goes on with the first that is kept; take those between from an export"
            );
            let skipped = writer.skip_to(&self.lifecycle.data, floor);
            self.unsettled = None;
            self.writer = Some(writer);
            return skipped.map(|()| Look::Wrote);
        }
        let mut bounds = self.settings.bounds;
        if let Some(end) = self.unsettled {
            bounds.records = usize::try_from(end.saturating_sub(next))
                .unwrap_or(bounds.records)
                .max(1);
        }
        let batch = lines::batch(
            &member,
            &self.author,
            next,
            bounds,
            self.settings.format,
            writer.transport(),
        );
        drop(member);
        let written = match batch {
            Ok(Some(batch)) => {
                self.unsettled = Some(batch.next);
                writer.put(&self.lifecycle.data, &batch).map(|()| Look::Wrote)
            }
            Ok(None) => {
                writer.transport().idle();
                Ok(Look::Idle)
            }
            Err(error) => Err(error),
        };
        let next = writer.cursor().next;
        self.told.next.store(next, Ordering::Relaxed);
        self.writer = Some(writer);
        if matches!(written, Ok(Look::Wrote)) {
            self.unsettled = None;
            if self.is_failing {
                self.is_failing = false;
                tracing::info!(sink = self.settings.name, next, "the audit sink writes again");
            }
        }
        written
    }

    /// Loads the cursor, or makes one. `None` while it cannot be told whether the log is the one that was followed.
    fn begin(&self, member: &Member) -> Result<Option<Cursor>, SinkError> {
        let data = &self.lifecycle.data;
        let key = &self.settings.key;
        let cluster = member.cluster().to_string();
        let Some(mut cursor) = Cursor::load(data, key)? else {
            let next = match self.settings.from {
                SinkStart::Start => 0,
                SinkStart::Now => lines::size(member),
            };
            let cursor = Cursor::new(key, cluster, next);
            // Stored at once: "now" must not be later after a crash.
            cursor.save(data)?;
            return Ok(Some(cursor));
        };
        let is_other = match cursor.next.checked_sub(1).filter(|_| !cursor.leaf.is_empty()) {
            None => false,
            Some(last) => match lines::leaf(member, last) {
                Some(leaf) => aumbry_types::hex::encode(&leaf.hash()) != cursor.leaf,
                None if cursor.cluster != cluster => true,
                // It was pruned, and can be compared no more.
                None if last < member.node.audit_floor() => false,
                // A node that was killed applies again what it had applied.
                None => return Ok(None),
            },
        };
        if is_other {
            let sink = &self.settings.name;
            tracing::warn!(
                sink,
                "the log is not the one that the audit sink followed; it is written anew"
            );
            cursor.restart(data, cluster)?;
        } else if cursor.cluster != cluster {
            // Recovered from fewer nodes, with everything that was written.
            cursor.move_to(data, cluster)?;
        }
        Ok(Some(cursor))
    }

    fn failed(&mut self, error: &SinkError) {
        self.errors.inc();
        let sink = &self.settings.name;
        if let SinkError::Refused { .. } = error {
            self.is_failing = true;
            tracing::error!(
                sink,
                %error,
                "ALARM: an audit sink is refused and stands still; its records wait in the log, requests go on; repair what it says, then send SIGHUP"
            );
        } else if !self.is_failing {
            self.is_failing = true;
            tracing::error!(sink, %error, "an audit sink cannot write; its records wait in the log, requests go on");
        }
    }
}

const RETRY_MIN: Duration = Duration::from_millis(200);
/// A disk that was freed, or a collector that is back, is noticed within it.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// A collector that asks for more does not know when.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
