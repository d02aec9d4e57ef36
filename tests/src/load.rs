//! Writers that go on whatever happens, and remember what was acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_client::{Client, v1};
use tokio::task::JoinHandle;

use crate::cluster::eventually;
use crate::records::records;

/// Writers at work. Each write is of a secret of its own, so that one that is applied twice shows as a second version.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledgements,
    writers: Vec<JoinHandle<Result<Ledger>>>,
}

/// When writes were acknowledged.
#[derive(Clone, Default)]
struct Acknowledgements(Arc<Mutex<Vec<Instant>>>);

impl Acknowledgements {
    fn note(&self) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken under the lock, so that they are in order.
        times.push(Instant::now());
    }

    fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// The longest time between two of them, of which the later one came after this moment.
    fn longest_pause(&self, since: Instant) -> Duration {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = times.partition_point(|time| *time <= since).saturating_sub(1);
        let pauses = times[first..].windows(2).map(|pair| pair[1] - pair[0]);
        pauses.max().unwrap_or_default()
    }
}

/// What became of writes.
#[derive(Default)]
pub struct Ledger {
    /// The acknowledged ones: path, and the id of the request.
    pub acknowledged: BTreeMap<String, String>,
    /// Those of which nobody knows.
    unknown: Vec<String>,
    /// Reasons of the failures.
    pub failures: BTreeMap<String, u64>,
    value_bytes: usize,
}

impl Load {
    /// Starts a writer for each client, below this directory. Values have so many bytes.
    pub fn start(clients: Vec<Client>, directory: &str, value_bytes: usize) -> Self {
        let (stop, acknowledged) = (Arc::<AtomicBool>::default(), Acknowledgements::default());
        let writers = clients.into_iter().enumerate().map(|(number, client)| {
            let (stop, acknowledged) = (Arc::clone(&stop), acknowledged.clone());
            let directory = format!("secret/{directory}/{number}");
            tokio::spawn(async move { write(&client, &directory, value_bytes, &stop, &acknowledged).await })
        });
        let writers = writers.collect();
        Self {
            stop,
            acknowledged,
            writers,
        }
    }

    /// How many writes were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.count()
    }

    /// The longest time between two acknowledgements, from the last one before this moment until now.
    #[must_use]
    pub fn longest_pause(&self, since: Instant) -> Duration {
        self.acknowledged.longest_pause(since)
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn goes_on(&self, more: u64) -> Result<()> {
        let enough = self.acknowledged() + more;
        eventually("writes are acknowledged", || async { self.acknowledged() >= enough }).await
    }

    /// Ends the writers. Gives what became of their writes.
    pub async fn end(self) -> Result<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Ledger::default();
        for writer in self.writers {
            all.extend(writer.await??);
        }
        Ok(all)
    }
}

async fn write(
    client: &Client,
    directory: &str,
    value_bytes: usize,
    stop: &AtomicBool,
    acknowledged: &Acknowledgements,
) -> Result<Ledger> {
    let mut ledger = Ledger {
        value_bytes,
        ..Ledger::default()
    };
    let mut n = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let path = format!("{directory}/{n}");
        let request = v1::KvPutRequest {
            data: value(&path, value_bytes).into(),
            path: path.clone(),
            ..Default::default()
        };
        match client.call(request).await {
            Ok(reply) => {
                let version = reply.version.unwrap_or_default().version;
                ensure!(
                    version == 1,
                    "{path} was written for the first time as version {version}"
                );
                let id = reply.header.unwrap_or_default().request_id;
                ledger.acknowledged.insert(path, id);
                acknowledged.note();
            }
            Err(error) => {
                *ledger.failures.entry(error.reason().to_owned()).or_default() += 1;
                // What certainly was not applied must not be there either, so it is looked for as well.
                ledger.unknown.push(path);
                // A cluster that refuses at once is not asked without a pause.
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(ledger)
}

impl Ledger {
    /// Everything that was acknowledged is there with its value, and nothing was applied twice.
    pub async fn check(&self, client: &Client) -> Result<()> {
        for paths in batches(self.acknowledged.keys()) {
            for (path, item) in read(client, paths).await? {
                ensure!(item.found && item.has_data, "{path} was acknowledged, and is lost");
                let version = item.version.unwrap_or_default().version;
                ensure!(version == 1, "{path} was applied {version} times");
                ensure!(
                    item.data == value(&path, self.value_bytes),
                    "{path} holds another value than was written"
                );
            }
        }
        for paths in batches(&self.unknown) {
            for (path, item) in read(client, paths).await? {
                let version = item.version.unwrap_or_default().version;
                ensure!(version <= 1, "{path} was applied {version} times");
            }
        }
        Ok(())
    }

    /// Everything that was acknowledged has one record of a change, and the records go on without a gap.
    pub async fn check_records(&self, client: &Client) -> Result<()> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for record in records(client).await? {
            // A write whose answer was lost is asked for again, under its key, and that is on record too.
            if record.is_allowed() && record.text("reason") != "REPLAYED" {
                *found.entry(record.text("request_id").to_owned()).or_default() += 1;
            }
        }
        for (path, id) in &self.acknowledged {
            let count = found.get(id).copied().unwrap_or(0);
            ensure!(count == 1, "the write of {path} has {count} records");
        }
        Ok(())
    }

    /// Adds what became of other writes, of values as long.
    pub fn extend(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.unknown.extend(other.unknown);
        self.value_bytes = other.value_bytes;
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}

/// The paths, some at a time.
fn batches<'a>(paths: impl IntoIterator<Item = &'a String>) -> Vec<Vec<String>> {
    let paths: Vec<String> = paths.into_iter().cloned().collect();
    paths.chunks(BATCH).map(<[String]>::to_vec).collect()
}

async fn read(client: &Client, paths: Vec<String>) -> Result<Vec<(String, v1::KvItem)>> {
    let request = v1::KvBatchGetRequest {
        paths: paths.clone(),
        ..Default::default()
    };
    let items = client.call(request).await.context("reading what was written")?.items;
    ensure!(items.len() == paths.len(), "{} of {} items", items.len(), paths.len());
    Ok(paths.into_iter().zip(items).collect())
}

fn value(path: &str, bytes: usize) -> Vec<u8> {
    let filling = "x".repeat(bytes.saturating_sub(path.len()));
    format!("{{\"k\":\"{path}{filling}\"}}").into_bytes()
}

const PAUSE: Duration = Duration::from_millis(20);
/// Some values of 64 KiB make a reply of 2 MiB.
const BATCH: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_begins_with_the_last_acknowledgement_before() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let times = Acknowledgements::default();
        assert_eq!(times.longest_pause(start), Duration::ZERO);
        *times.0.lock().unwrap() = [0, 90, 100, 130, 135].map(at).to_vec();
        assert_eq!(times.longest_pause(at(0)).as_millis(), 90);
        assert_eq!(times.longest_pause(at(95)).as_millis(), 30);
        assert_eq!(times.longest_pause(at(110)).as_millis(), 30);
        assert_eq!(times.longest_pause(at(130)).as_millis(), 5);
        assert_eq!(times.longest_pause(at(140)).as_millis(), 0);
    }
}
