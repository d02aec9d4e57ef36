//! The client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use aumbry_api::v1::cluster_service_client::ClusterServiceClient;
use aumbry_api::v1::sys_service_client::SysServiceClient;
use aumbry_api::v1::{self, Failure, OutcomeClass};
use aumbry_api::{Reply as _, Tries, failure_of};
use aumbry_types::{Entropy as _, NamespacePath, RequestId, SecretBytes, SystemEntropy};
use prost::bytes::Bytes;
use tokio::time::Instant;
use tonic::{Request, Status};

use crate::connection::{Authorized, Connections};
use crate::dispatch::Dispatch;
use crate::session::Keeper;
use crate::{Builder, Error};

/// A place in the log of a cluster, to be handed from who wrote to who reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// A client of a cluster. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    connections: Connections,
    /// The endpoint that answered last.
    preferred: Arc<AtomicUsize>,
    timeout: Duration,
    retries: bool,
    idempotency_key: Option<String>,
    namespace: NamespacePath,
    /// What is known of the token, by all clones that show it.
    standing: Arc<Standing>,
    /// Logs in again when the token is no longer taken.
    keeper: Option<Arc<Keeper>>,
    /// Reads reflect at least this, and need be no newer.
    reads_at: Option<Position>,
    /// Whether answers are to hold receipts.
    receipts: bool,
}

/// What the answers to a token's holder have shown.
#[derive(Default)]
struct Standing {
    /// How often the token was found to be none.
    denials: AtomicU64,
    /// The furthest place in the log that an answer told.
    index: AtomicU64,
}

impl Client {
    pub(crate) fn new(
        connections: Connections,
        timeout: Duration,
        retries: bool,
        idempotency_key: Option<String>,
        namespace: NamespacePath,
    ) -> Self {
        Self {
            connections,
            preferred: Arc::default(),
            timeout,
            retries,
            idempotency_key,
            namespace,
            standing: Arc::default(),
            keeper: None,
            reads_at: None,
            receipts: false,
        }
    }

    /// Begins to set up a client.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The endpoints.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.connections.addresses().map(str::to_owned).collect()
    }

    /// A client of the same nodes by the same connections, with this token.
    ///
    /// # Errors
    /// [`Error::Configuration`] if it can be none.
    pub fn with_token(&self, token: &SecretBytes) -> Result<Self, Error> {
        Ok(Self {
            connections: self.connections.with_token(token)?,
            standing: Arc::default(),
            keeper: None,
            ..self.clone()
        })
    }

    /// How far the log is, as far as the answers to this client and its clones have told. What it has written stands at or before it.
    #[must_use]
    pub fn position(&self) -> Position {
        Position(self.standing.index.load(Ordering::Relaxed))
    }

    /// A clone whose reads reflect at least this position, instead of everything that was acknowledged before they began: whoever was told of a write,
    /// with its position, sees it, and no node has to ask others for that.
    #[must_use]
    pub fn reading_at(&self, position: Position) -> Self {
        Self {
            reads_at: Some(position),
            ..self.clone()
        }
    }

    /// A clone whose requests ask for signed receipts: the header of each reply has one, with which it can be proved later that the audit
    /// log has the record of that request. A reply without one was served by a node that could not sign it any more.
    #[must_use]
    pub fn with_receipts(&self) -> Self {
        Self {
            receipts: true,
            ..self.clone()
        }
    }

    /// Makes a request of any node. Any node will do: it hands the request to the leader. The client of a [`crate::Session`] logs in again, once, if its
    /// token is no longer taken.
    ///
    /// # Errors
    /// [`Error::Failure`] says whether anything changed.
    pub async fn call<O: Dispatch>(&self, mut request: O) -> Result<O::Reply, Error> {
        self.complete(&mut request);
        let Some(keeper) = &self.keeper else {
            return self.call_as_it_is(request).await;
        };
        let generation = keeper.generation();
        match self.call_as_it_is(request.clone()).await {
            Err(error) if is_refused(&error) => {
                keeper.log_in_again(generation).await?;
                self.call_as_it_is(request).await
            }
            answer => answer,
        }
    }

    async fn call_as_it_is<O: Dispatch>(&self, request: O) -> Result<O::Reply, Error> {
        let answer = self.try_all(request).await;
        match &answer {
            Ok(reply) => {
                let index = reply.header().map_or(0, |header| header.index);
                self.standing.index.fetch_max(index, Ordering::Relaxed);
            }
            Err(error) if error.reason() == TOKEN_INVALID => {
                self.standing.denials.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {}
        }
        answer
    }

    async fn try_all<O: Dispatch>(&self, request: O) -> Result<O::Reply, Error> {
        let deadline = Instant::now() + self.timeout;
        let is_safe = !O::IS_WRITE || !request.header().is_none_or(|header| header.idempotency_key.is_empty());
        let mut position = self.preferred.load(Ordering::Relaxed);
        let mut pause = PAUSE_MIN;
        let mut sealed = 0;
        let mut tries = Tries::default();
        loop {
            let mut failure = match self.try_at(position, &request, deadline).await {
                Ok(reply) => {
                    self.preferred.store(position, Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(failure) => failure,
            };
            tries.note(O::IS_WRITE, &mut failure);
            if let Some(header) = request.header().filter(|_| failure.request_id.is_empty()) {
                failure.request_id.clone_from(&header.request_id);
            }
            self.avoid(position, &failure);
            let left = deadline.saturating_duration_since(Instant::now());
            // A sealed node stays so until a person comes; another one may be open.
            sealed += usize::from(failure.reason == "SEALED");
            if sealed >= self.connections.len() {
                return Err(Error::Failure(Box::new(failure)));
            }
            if !self.retries || !may_retry(&failure, is_safe) || left <= pause {
                return Err(Error::Failure(Box::new(failure)));
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            position = (position + 1) % self.connections.len();
        }
    }

    /// Makes a request of exactly this endpoint, once.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn call_on<O: Dispatch>(&self, endpoint: &str, mut request: O) -> Result<O::Reply, Error> {
        self.complete(&mut request);
        let position = self.place_of(Some(endpoint))?;
        let answer = self.try_at(position, &request, Instant::now() + self.timeout).await;
        answer.map_err(|failure| Error::Failure(Box::new(failure)))
    }

    /// Makes a new cluster of the first endpoint.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn init(&self, request: v1::InitRequest) -> Result<v1::InitReply, Error> {
        let mut service = SysServiceClient::new(self.connections.at(0));
        self.once(service.init(self.timed(request))).await
    }

    /// Shows one key share to an endpoint, the first by default.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn unseal(&self, endpoint: Option<&str>, share: SecretBytes) -> Result<v1::SealStatusReply, Error> {
        let request = v1::UnsealRequest {
            share: Bytes::copy_from_slice(share.expose()),
        };
        let mut service = self.sys(endpoint)?;
        self.once(service.unseal(self.timed(request))).await
    }

    /// Makes an endpoint forget the shares shown so far.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn reset_unseal(&self, endpoint: Option<&str>) -> Result<v1::SealStatusReply, Error> {
        let mut service = self.sys(endpoint)?;
        self.once(service.reset_unseal(self.timed(v1::ResetUnsealRequest {})))
            .await
    }

    /// The seal of an endpoint.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn seal_status(&self, endpoint: Option<&str>) -> Result<v1::SealStatusReply, Error> {
        let mut service = self.sys(endpoint)?;
        self.once(service.seal_status(self.timed(v1::SealStatusRequest {})))
            .await
    }

    /// Whether an endpoint can serve.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn health(&self, endpoint: Option<&str>) -> Result<v1::HealthReply, Error> {
        let mut service = self.sys(endpoint)?;
        self.once(service.health(self.timed(v1::HealthRequest {}))).await
    }

    /// Tells a fresh node to join a cluster.
    ///
    /// # Errors
    /// [`Error`]
    pub async fn join_cluster(
        &self,
        endpoint: Option<&str>,
        request: v1::JoinClusterRequest,
    ) -> Result<v1::JoinClusterReply, Error> {
        let mut service = ClusterServiceClient::new(self.connections.at(self.place_of(endpoint)?));
        self.once(service.join_cluster(self.timed(request))).await
    }

    /// How often the token was found to be none. Whoever keeps what it was given for the token looks whether this has changed.
    pub(crate) fn denials(&self) -> u64 {
        self.standing.denials.load(Ordering::Relaxed)
    }

    pub(crate) fn replace_token(&self, token: &SecretBytes) -> Result<(), Error> {
        self.connections.replace_token(token)
    }

    pub(crate) fn kept_by(self, keeper: Arc<Keeper>) -> Self {
        Self {
            keeper: Some(keeper),
            ..self
        }
    }

    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn connection(&self, endpoint: Option<&str>) -> Result<Authorized, Error> {
        Ok(self.connections.at(self.place_of(endpoint)?))
    }

    /// The next request does not begin with a node that could not serve this one. One that takes requests and answers none of them uses up all
    /// the time of each: a client that always began with it would be served by nobody.
    fn avoid(&self, position: usize, failure: &Failure) {
        if is_unserved(failure) {
            let next = (position + 1) % self.connections.len();
            // Another request may have found a better one meanwhile.
            let _ = self
                .preferred
                .compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn sys(&self, endpoint: Option<&str>) -> Result<SysServiceClient<Authorized>, Error> {
        Ok(SysServiceClient::new(self.connections.at(self.place_of(endpoint)?)))
    }

    fn place_of(&self, endpoint: Option<&str>) -> Result<usize, Error> {
        let Some(endpoint) = endpoint else { return Ok(0) };
        let position = self.connections.position(endpoint);
        position.ok_or_else(|| Error::Configuration("the endpoint is not one of the client's".to_owned()))
    }

    /// Gives the request an id, and a write a key under which trying again is safe.
    fn complete<O: Dispatch>(&self, request: &mut O) {
        let header = request.header_mut();
        header.receipt |= self.receipts;
        if header.request_id.is_empty() {
            header.request_id = RequestId::make(&SystemEntropy).to_string();
        }
        if let Some(Position(index)) = self.reads_at
            && !O::IS_WRITE
            && header.min_index == 0
        {
            header.min_index = index;
            header.set_consistency(v1::Consistency::AtIndex);
        }
        if header.namespace.is_empty() {
            self.namespace.as_str().clone_into(&mut header.namespace);
        }
        if O::IS_WRITE && header.idempotency_key.is_empty() {
            match &self.idempotency_key {
                Some(key) => header.idempotency_key.clone_from(key),
                None if self.retries => header.idempotency_key.clone_from(&header.request_id),
                None => {}
            }
        }
    }

    async fn try_at<O: Dispatch>(&self, position: usize, request: &O, deadline: Instant) -> Result<O::Reply, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut timed = Request::new(request.clone());
        timed.set_timeout(left);
        let call = O::dispatch(self.connections.at(position), timed);
        match tokio::time::timeout(left + DEADLINE_GRACE, call).await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(failure_of(&status)),
            Err(_) => Err(failure_of(&Status::deadline_exceeded("no node answered in time"))),
        }
    }

    pub(crate) fn timed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) async fn once<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(self.timeout + DEADLINE_GRACE, call).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("the node did not answer in time")));
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| Error::Failure(Box::new(failure_of(&status))))
    }
}

/// Whether the node did not get to serve the request; another one may.
fn is_unserved(failure: &Failure) -> bool {
    let reason = failure.reason.as_str();
    matches!(
        reason,
        "TRANSPORT" | "NOT_LEADER" | "SEALED" | "OUTCOME_UNKNOWN" | "NOT_ANSWERED"
    )
}

/// Whether trying again can help and do no harm.
fn may_retry(failure: &Failure, is_safe: bool) -> bool {
    let may_help = (1..=HINT_MS_MAX).contains(&failure.retry_after_ms) || is_unserved(failure);
    may_help && (is_safe || failure.outcome() == OutcomeClass::NotApplied)
}

/// Whether the token is none any more, and the request certainly changed nothing.
fn is_refused(error: &Error) -> bool {
    let failure = error.failure();
    failure.is_some_and(|failure| failure.reason == TOKEN_INVALID && failure.outcome() == OutcomeClass::NotApplied)
}

/// A pause of half to all of this, so that clients that failed together do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    SystemEntropy.fill(&mut byte);
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

const TOKEN_INVALID: &str = "TOKEN_INVALID";
/// A longer hint says that waiting within a request is of no use: the caller is told why.
const HINT_MS_MAX: u64 = 1_000;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// The server keeps the deadline and says what became of the request; the client waits a little longer to hear it.
const DEADLINE_GRACE: Duration = Duration::from_millis(500);
