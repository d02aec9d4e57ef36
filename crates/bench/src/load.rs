//! The tasks that send: each has one request in flight, and counts it from when it was to be sent.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Error;
use crate::fault::{Fault, Of};
use crate::link::Link;
use crate::pacer::Schedule;
use crate::sequence::{Operation, Sequence};
use crate::tally::{Done, Tally};

/// What all tasks of a run share.
pub(crate) struct Load {
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) sequence: Sequence,
    pub(crate) timeout: Duration,
    pub(crate) next: AtomicU64,
    pub(crate) is_over: AtomicBool,
    pub(crate) permits: Semaphore,
    tally: Mutex<Tally>,
}

impl Load {
    pub(crate) fn new(links: Vec<Arc<Link>>, sequence: Sequence, timeout: Duration) -> Self {
        Self {
            links,
            sequence,
            timeout,
            next: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            permits: Semaphore::new(0),
            tally: Mutex::new(Tally::new()),
        }
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the next request when the one before is answered.
    pub(crate) async fn closed(self: Arc<Self>, worker: usize) {
        while !self.is_over.load(Ordering::Relaxed) {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            if self.request(worker, n, now).await == Of::Connection {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Sends the next request of the schedule as soon as it is due, or at once if it is overdue.
    pub(crate) async fn open(self: Arc<Self>, worker: usize, schedule: Schedule) {
        while let Ok(permit) = self.permits.acquire().await {
            permit.forget();
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            self.request(worker, n, schedule.at(n)).await;
        }
    }

    /// Lets no task begin a request any more.
    pub(crate) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.permits.close();
    }

    async fn request(&self, worker: usize, n: u64, intended: Instant) -> Of {
        let (operation, key) = self.sequence.nth(n);
        let link = &self.links[worker % self.links.len()];
        let sent = Instant::now();
        let result = self.call(link, operation, key, n).await;
        let of = result.as_ref().map_or_else(|fault| fault.of, |()| Of::Request);
        let done = Done {
            operation,
            intended,
            sent,
            result,
        };
        self.tally().count(done, Instant::now());
        of
    }

    async fn call(&self, link: &Link, operation: Operation, key: u64, n: u64) -> Result<(), Fault> {
        let call = tokio::time::timeout(self.timeout, link.call(operation, key, n));
        call.await.unwrap_or(Err(Fault::TIMEOUT))
    }
}

/// Writes all keys, so many at once; tells how many are written.
pub(crate) async fn prepare(
    load: &Arc<Load>,
    keys: u64,
    concurrency: usize,
    tell: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for worker in 0..concurrency {
        let (load, next) = (Arc::clone(load), Arc::clone(&next));
        tasks.spawn(async move {
            let link = &load.links[worker % load.links.len()];
            loop {
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key >= keys {
                    return Ok(());
                }
                write(&load, link, key).await?;
            }
        });
    }
    let mut ticks = tokio::time::interval(TELL);
    loop {
        tokio::select! {
            biased;
            ended = tasks.join_next() => match ended {
                Some(result) => result.unwrap_or_else(|panic| Err(Error::System(panic.into())))?,
                None => break,
            },
            _ = ticks.tick() => tell(next.load(Ordering::Relaxed).min(keys)),
        }
    }
    tell(keys);
    Ok(())
}

/// Writes one key, a few times if need be: an election must not end a preparation of an hour.
async fn write(load: &Load, link: &Link, key: u64) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        // Ids from the other end than those of the run, so that none is used twice.
        let n = u64::MAX - (key * TRIES + tries);
        match load.call(link, Operation::Write, key, n).await {
            Ok(()) => return Ok(()),
            Err(fault) if tries + 1 == TRIES || fault.is_final() => {
                return Err(Error::Prepare {
                    key,
                    kind: fault.kind.into_owned(),
                });
            }
            Err(_) => tokio::time::sleep(PAUSE * 2_u32.pow(u32::try_from(tries).unwrap_or(0))).await,
        }
        tries += 1;
    }
}

/// A server that is not there is asked again by each task after this, not without a break.
const PAUSE: Duration = Duration::from_millis(20);
/// With the pauses doubled, five seconds: longer than an election.
const TRIES: u64 = 9;
const TELL: Duration = Duration::from_secs(1);
