//! Clients that ask all the while, and write down what they asked and were told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aumbry_checker::{Content, End, Event, Fate, Operation, Reply};
use aumbry_client::{Client, Dispatch, v1};
use aumbry_types::{RequestId, SecretBytes, SystemEntropy};
use tokio::task::JoinHandle;

use super::history::{Recorder, end_of};
use super::patience::{LIVENESS, POLL, within};
use super::reach::Reach;
use crate::damage::Dice;

/// Clients at work.
pub(crate) struct Clients {
    stop: Arc<AtomicBool>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

/// What clients have in common.
pub(crate) struct Shared {
    pub(crate) recorder: Recorder,
    reach: Reach,
    tokens: Mutex<Vec<Token>>,
    /// The secrets that are written once each.
    fresh: Mutex<Vec<String>>,
    /// The last value that was given to a write.
    values: AtomicU64,
    made: AtomicU64,
    pad: usize,
}

/// A token that clients use and revoke.
#[derive(Clone)]
struct Token {
    /// What the history calls it.
    label: String,
    secret: Arc<SecretBytes>,
    /// By which it is revoked.
    accessor: String,
}

impl Clients {
    /// Starts so many, with what a seed decides. Values are padded to at most so many bytes.
    pub(crate) async fn start(reach: Reach, count: u64, pad: usize, dice: &mut Dice) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let shared = Arc::new(Shared {
            recorder: Recorder::new(),
            reach,
            tokens: Mutex::default(),
            fresh: Mutex::default(),
            values: AtomicU64::default(),
            made: AtomicU64::default(),
            pad,
        });
        let mut first = Worker::new(0, Arc::clone(&shared), Dice::seeded(0));
        first.prepare().await?;
        let tasks = (1..=count).map(|number| {
            let (stop, shared) = (Arc::clone(&stop), Arc::clone(&shared));
            let mut worker = Worker::new(number, shared, Dice::seeded(dice.below(u64::MAX)));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    worker.step().await?;
                }
                Ok(())
            })
        });
        let tasks = tasks.collect();
        Ok(Self { stop, shared, tasks })
    }

    /// What they wrote down so far.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Waits until so many more operations are answered.
    pub(crate) async fn go_on(&self, more: u64) -> Result<()> {
        let enough = self.recorder().answered() + more;
        within("requests are answered", || async {
            self.recorder().answered() >= enough
        })
        .await
    }

    /// Ends them; what is under way is waited for.
    pub(crate) async fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await??;
        }
        Ok(())
    }

    /// Reads everything once more, spread over these nodes: each version of the hot secrets, all others, and the tokens on each node.
    pub(crate) async fn read_all(&self, reach: &Reach) -> Result<()> {
        let mut reader = Worker::new(FINAL, Arc::clone(&self.shared), Dice::seeded(0));
        for node in 0..reach.nodes() {
            let client = reach.patient_on(node)?;
            for key in 0..HOT {
                // A node may hold the disks of others for full a moment longer than they are.
                let until = Instant::now() + LIVENESS;
                while reader.get(&client, hot(key), None).await.is_none() {
                    ensure!(
                        Instant::now() < until,
                        "a last read is not answered within {LIVENESS:?}"
                    );
                    tokio::time::sleep(POLL).await;
                }
            }
            for token in self.shared.newest_tokens(TOKENS_READ) {
                reader
                    .use_token(&reach.token_on(node, token.secret.duplicate())?, token.label)
                    .await;
            }
        }
        let client = reach.patient_from(0)?;
        for key in 0..HOT {
            let versions = reader
                .metadata(&client, hot(key))
                .await
                .context("the versions of a secret")?;
            for version in versions {
                reader
                    .get(&client, hot(key), Some(version))
                    .await
                    .context("a version")?;
            }
        }
        let fresh = lock(&self.shared.fresh).clone();
        let mut directories: Vec<&str> = fresh.iter().filter_map(|path| Some(path.rsplit_once('/')?.0)).collect();
        for (turn, paths) in fresh.chunks(BATCH).enumerate() {
            let client = reach.patient_on(turn % reach.nodes())?;
            reader.batch(&client, paths).await?;
        }
        directories.dedup();
        for directory in directories {
            reader.list(&client, directory.to_owned()).await;
        }
        Ok(())
    }
}

impl Shared {
    fn newest_tokens(&self, count: usize) -> Vec<Token> {
        lock(&self.tokens).iter().rev().take(count).cloned().collect()
    }
}

struct Worker {
    number: u64,
    shared: Arc<Shared>,
    dice: Dice,
    written: u64,
    /// The last version seen of each hot secret.
    seen: Vec<u64>,
    patient: Option<Client>,
    /// A client of each node alone, which asks once.
    once: Vec<Option<Client>>,
}

impl Worker {
    fn new(number: u64, shared: Arc<Shared>, dice: Dice) -> Self {
        Self {
            number,
            dice,
            written: 0,
            seen: vec![0; HOT as usize],
            patient: None,
            once: vec![None; shared.reach.nodes()],
            shared,
        }
    }

    /// Makes the hot secrets, so that they keep all that is written.
    async fn prepare(&mut self) -> Result<()> {
        let client = self.shared.reach.patient_from(0)?;
        for key in 0..HOT {
            let request = v1::KvPutMetadataRequest {
                path: hot(key),
                max_versions: Some(VERSIONS_MAX),
                ..Default::default()
            };
            let operation = Operation::WriteMetadata {
                key: hot(key),
                max_versions: Some(VERSIONS_MAX),
                cas_required: None,
            };
            let made = self.ask(&client, request, operation, |_| Reply::Done).await;
            made.context("a secret could not be made")?;
            self.put(&client, key, None).await;
        }
        Ok(())
    }

    /// One operation, through the SDK with its retries, or asked once of any one node.
    async fn step(&mut self) -> Result<()> {
        let before = self.shared.recorder.answered();
        let client = self.any_client()?;
        let key = self.dice.below(HOT);
        let is_full = self.seen[key as usize] > u64::from(VERSIONS_MAX) * 9 / 10;
        match self.dice.below(100) {
            0..25 if !is_full => self.put(&client, key, None).await,
            25..40 if !is_full => self.put(&client, key, Some(self.seen[key as usize])).await,
            40..58 => drop(self.get(&client, hot(key), None).await),
            58..62 => self.delete(&client, key).await,
            62..64 => {
                let directory = self.directory();
                self.list(&client, directory).await;
            }
            64..86 => self.put_fresh(&client).await,
            86..100 => self.token(&client).await?,
            _ => self.put_fresh(&client).await,
        }
        if self.shared.recorder.answered() == before {
            // A cluster that refuses at once is not asked without a pause.
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn any_client(&mut self) -> Result<Client> {
        if self.dice.below(3) > 0 {
            let patient = match &self.patient {
                Some(client) => client.clone(),
                None => self.shared.reach.patient_from(self.number as usize)?,
            };
            return Ok(self.patient.insert(patient).clone());
        }
        let node = self.dice.below(self.once.len() as u64) as usize;
        let once = match &self.once[node] {
            Some(client) => client.clone(),
            None => self.shared.reach.once_on(node)?,
        };
        Ok(self.once[node].insert(once).clone())
    }

    async fn put(&mut self, client: &Client, key: u64, cas: Option<u64>) {
        let version = self.write(client, hot(key), cas).await;
        match version {
            Some(version) => self.seen[key as usize] = version,
            None if cas.is_some() => drop(self.get(client, hot(key), None).await),
            None => {}
        }
    }

    /// A secret of its own, so that a write that is applied twice shows as a second version.
    async fn put_fresh(&mut self, client: &Client) {
        self.written += 1;
        let path = format!("{}/{}", self.directory(), self.written);
        lock(&self.shared.fresh).push(path.clone());
        self.write(client, path, None).await;
    }

    /// Where it writes secrets of its own now.
    fn directory(&self) -> String {
        format!("secret/own/{}/{}", self.number, self.written / DIRECTORY)
    }

    async fn write(&mut self, client: &Client, key: String, cas: Option<u64>) -> Option<u64> {
        let value = self.shared.values.fetch_add(1, Ordering::SeqCst) + 1;
        let pad = self.dice.below(self.shared.pad as u64 + 1) as usize;
        let request = v1::KvPutRequest {
            path: key.clone(),
            data: serde_json::json!({ "v": value, "pad": "x".repeat(pad) })
                .to_string()
                .into(),
            cas,
            ..Default::default()
        };
        let version = |reply: &v1::KvPutReply| reply.version.as_ref().map_or(0, |version| version.version);
        let written = |reply: &v1::KvPutReply| Reply::Written {
            version: version(reply),
        };
        let reply = self
            .ask(client, request, Operation::Put { key, value, cas }, written)
            .await;
        reply.as_ref().map(version)
    }

    /// Reads a version, the current one if none is named. None if it was not answered.
    async fn get(&mut self, client: &Client, key: String, version: Option<u64>) -> Option<()> {
        let request = v1::KvGetRequest {
            path: key.clone(),
            version: version.unwrap_or(0),
            ..Default::default()
        };
        let number = hot_number(&key);
        let answered = self.shared.recorder.answered();
        let read = |reply: &v1::KvGetReply| item_of(reply.item.as_ref());
        let reply = self.ask(client, request, Operation::Get { key, version }, read).await;
        let told = reply.and_then(|reply| reply.item?.version);
        if let (Some(told), Some(number)) = (told, number) {
            self.seen[number] = self.seen[number].max(told.version);
        }
        // That there is nothing is an answer.
        (self.shared.recorder.answered() > answered).then_some(())
    }

    async fn batch(&mut self, client: &Client, paths: &[String]) -> Result<()> {
        let request_id = RequestId::make(&SystemEntropy).to_string();
        let header = v1::RequestHeader {
            request_id: request_id.clone(),
            ..Default::default()
        };
        let request = v1::KvBatchGetRequest {
            header: Some(header),
            paths: paths.to_vec(),
        };
        let call = self.shared.recorder.now();
        let reply = client.call(request).await.context("reading what was written")?;
        let at = self.shared.recorder.now();
        for (key, item) in paths.iter().zip(&reply.items) {
            let reply = if item.found {
                item_of(Some(item))
            } else {
                Reply::NotFound
            };
            self.shared.recorder.note(Event {
                client: self.number,
                request: Some(request_id.clone()),
                call,
                operation: Operation::Get {
                    key: key.clone(),
                    version: None,
                },
                end: End::Returned { at, reply, seq: None },
            });
        }
        Ok(())
    }

    /// The versions that there are.
    async fn metadata(&mut self, client: &Client, key: String) -> Option<Vec<u64>> {
        let request = v1::KvGetMetadataRequest {
            path: key.clone(),
            ..Default::default()
        };
        let fate = |version: &v1::VersionInfo| match (version.destroyed, version.deleted_at_ms) {
            (true, _) => Fate::Destroyed,
            (false, 0) => Fate::Live,
            (false, _) => Fate::Deleted,
        };
        let read = |reply: &v1::KvGetMetadataReply| Reply::Metadata {
            current: reply.current_version,
            versions: reply
                .versions
                .iter()
                .map(|version| (version.version, fate(version)))
                .collect(),
        };
        let reply = self.ask(client, request, Operation::ReadMetadata { key }, read).await?;
        Some(reply.versions.iter().map(|version| version.version).collect())
    }

    async fn delete(&mut self, client: &Client, key: u64) {
        let request = v1::KvDeleteRequest {
            path: hot(key),
            ..Default::default()
        };
        let operation = Operation::Delete {
            key: hot(key),
            versions: Vec::new(),
        };
        self.ask(client, request, operation, |_| Reply::Done).await;
    }

    async fn list(&mut self, client: &Client, path: String) {
        let operation = Operation::List {
            directory: format!("{path}/"),
        };
        let request = v1::KvListRequest {
            path,
            ..Default::default()
        };
        let read = |reply: &v1::KvListReply| Reply::Names(reply.names.clone());
        self.ask(client, request, operation, read).await;
    }

    /// Makes a token, uses one, or revokes one.
    async fn token(&mut self, client: &Client) -> Result<()> {
        let newest = self.shared.newest_tokens(TOKENS_USED);
        let choice = self.dice.below(10);
        if newest.is_empty() || choice < 3 {
            self.make_token(client).await;
            return Ok(());
        }
        let token = newest[self.dice.below(newest.len() as u64) as usize].clone();
        if choice < 9 {
            let node = self.dice.below(self.shared.reach.nodes() as u64) as usize;
            let its = self.shared.reach.token_on(node, token.secret.duplicate())?;
            self.use_token(&its, token.label).await;
        } else {
            self.revoke(client, token).await;
        }
        Ok(())
    }

    async fn make_token(&mut self, client: &Client) {
        let label = format!("token-{}", self.shared.made.fetch_add(1, Ordering::SeqCst));
        let uses = [0, 3][self.dice.below(2) as usize];
        let request = v1::TokenCreateRequest {
            policies: vec!["default".to_owned()],
            ttl_s: TOKEN_TTL_S,
            num_uses: uses,
            ..Default::default()
        };
        let operation = Operation::CreateToken {
            token: label.clone(),
            parent: None,
            uses,
        };
        let Some(reply) = self.ask(client, request, operation, |_| Reply::Done).await else {
            return;
        };
        lock(&self.shared.tokens).push(Token {
            label,
            secret: Arc::new(SecretBytes::new(reply.token.to_vec())),
            accessor: reply.info.unwrap_or_default().accessor,
        });
    }

    async fn use_token(&mut self, client: &Client, token: String) {
        let request = v1::TokenLookupRequest::default();
        self.ask(client, request, Operation::UseToken { token }, |_| Reply::Done)
            .await;
    }

    async fn revoke(&mut self, client: &Client, token: Token) {
        let request = v1::TokenRevokeRequest {
            token: Some(v1::TokenName {
                by: Some(v1::token_name::By::Accessor(token.accessor)),
            }),
            ..Default::default()
        };
        let operation = Operation::RevokeToken { token: token.label };
        self.ask(client, request, operation, |_| Reply::Done).await;
    }

    async fn ask<O: Dispatch>(
        &self,
        client: &Client,
        mut request: O,
        operation: Operation,
        reply_of: impl FnOnce(&O::Reply) -> Reply,
    ) -> Option<O::Reply> {
        let id = RequestId::make(&SystemEntropy).to_string();
        request.header_mut().request_id.clone_from(&id);
        let recorder = &self.shared.recorder;
        let call = recorder.now();
        let answer = client.call(request).await;
        let at = recorder.now();
        let end = match &answer {
            Ok(reply) => End::Returned {
                at,
                reply: reply_of(reply),
                seq: None,
            },
            Err(error) => {
                recorder.failed(error);
                end_of(error, &operation, at)
            }
        };
        recorder.note(Event {
            client: self.number,
            request: Some(id),
            call,
            operation,
            end,
        });
        answer.ok()
    }
}

fn item_of(item: Option<&v1::KvItem>) -> Reply {
    let Some(item) = item else { return Reply::NotFound };
    let json: serde_json::Value = serde_json::from_slice(&item.data).unwrap_or_default();
    let version = item.version.as_ref();
    let content = match (item.has_data, version) {
        // What is no value of ours is one that nobody wrote.
        (true, _) => Content::Value(json["v"].as_u64().unwrap_or(0)),
        (false, Some(version)) if version.destroyed => Content::Destroyed,
        (false, _) => Content::Deleted,
    };
    Reply::Item {
        version: version.map_or(0, |version| version.version),
        content,
    }
}

/// A secret that all clients write.
pub(crate) fn hot(key: u64) -> String {
    format!("secret/hot/{key}")
}

fn hot_number(path: &str) -> Option<usize> {
    path.strip_prefix("secret/hot/")?.parse().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Secrets that all clients write: few, so that they meet.
const HOT: u64 = 24;
/// As many as a secret can keep.
const VERSIONS_MAX: u32 = 1_000;
/// So many secrets of a client's own are in one directory: a list of it is judged name by name.
const DIRECTORY: u64 = 40;
/// The number of the client that reads at the end.
const FINAL: u64 = 1_000;
/// Longer than a round, and than what log time gains in one.
const TOKEN_TTL_S: u64 = 30 * 86_400;
/// Of the newest so many tokens one is used or revoked.
const TOKENS_USED: usize = 6;
const TOKENS_READ: usize = 30;
const BATCH: usize = 64;
const PAUSE: Duration = Duration::from_millis(20);
