//! Connections to the nodes: made when first used, kept.
//!
//! What fails names the address. A request that never left, because no connection could be made, is told from one whose answer was
//! lost: only the first certainly changed nothing.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aumbry_api::v1::{Failure, OutcomeClass};
use aumbry_api::{failure_of, status_of};
use aumbry_types::SecretBytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tower::Service;

use crate::Error;
use crate::error::ConnectError;

/// A channel that shows the token.
pub type Authorized = InterceptedService<Node, Authorize>;

/// One connection to each endpoint.
#[derive(Clone)]
pub(crate) struct Connections {
    nodes: Arc<Vec<Node>>,
    authorize: Authorize,
}

/// Puts the token onto each call. Clones show one token, whichever it is at the moment.
#[derive(Clone)]
pub struct Authorize(Arc<RwLock<Option<MetadataValue<Ascii>>>>);

impl Authorize {
    fn new(token: &SecretBytes) -> Result<Self, Error> {
        Ok(Self(Arc::new(RwLock::new(header(token)?))))
    }

    /// Shows another token from now on.
    pub(crate) fn replace(&self, token: &SecretBytes) -> Result<(), Error> {
        let value = header(token)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
        Ok(())
    }
}

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

fn header(token: &SecretBytes) -> Result<Option<MetadataValue<Ascii>>, Error> {
    let wrong = || Error::Configuration("the token holds characters that no token has".to_owned());
    let text = match token.expose() {
        [] => return Ok(None),
        bytes => core::str::from_utf8(bytes).map_err(|_| wrong())?,
    };
    let mut value: MetadataValue<Ascii> = format!("Bearer {text}").parse().map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

impl Connections {
    pub(crate) fn new(endpoints: Vec<String>, tls: Arc<ClientConfig>, token: &SecretBytes) -> Result<Self, Error> {
        let authorize = Authorize::new(token)?;
        let reach = Arc::new(Reach {
            endpoints: endpoints.len(),
            outage: Mutex::default(),
            is_uncertain: AtomicBool::new(false),
        });
        let connect = |(position, address): (usize, String)| {
            let channel = channel(&address, &tls)?;
            Ok(Node {
                position,
                address: address.into(),
                channel,
                reach: Arc::clone(&reach),
            })
        };
        let nodes = endpoints.into_iter().enumerate().map(connect);
        Ok(Self {
            nodes: Arc::new(nodes.collect::<Result<Vec<_>, Error>>()?),
            authorize,
        })
    }

    /// The same connections, with a token of their own.
    pub(crate) fn with_token(&self, token: &SecretBytes) -> Result<Self, Error> {
        Ok(Self {
            nodes: Arc::clone(&self.nodes),
            authorize: Authorize::new(token)?,
        })
    }

    /// Shows another token from now on, in all clones.
    pub(crate) fn replace_token(&self, token: &SecretBytes) -> Result<(), Error> {
        self.authorize.replace(token)
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| &*node.address)
    }

    /// The connection to the endpoint at this position, counted round.
    pub(crate) fn at(&self, position: usize) -> Authorized {
        let node = &self.nodes[position % self.nodes.len()];
        InterceptedService::new(node.clone(), self.authorize.clone())
    }

    pub(crate) fn position(&self, address: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.address == address)
    }
}

/// The connection to one endpoint.
#[derive(Clone)]
pub struct Node {
    position: usize,
    address: Arc<str>,
    channel: Channel,
    reach: Arc<Reach>,
}

impl Service<http::Request<Body>> for Node {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.channel
            .poll_ready(context)
            .map_err(|error| broken(&self.address, error))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (position, address, reach) = (self.position, Arc::clone(&self.address), Arc::clone(&self.reach));
        let answer = self.channel.call(request);
        Box::pin(async move {
            let mut sent = Sent {
                reach: &reach,
                is_answered: false,
            };
            let began = Instant::now();
            match answer.await {
                Ok(response) => {
                    sent.is_answered = is_certain(&response);
                    reach.outage().clear();
                    Ok(response)
                }
                Err(error) => match ConnectError::among(&error) {
                    Some(failed) => {
                        sent.is_answered = true;
                        Err(reach.unreachable(position, failed, began))
                    }
                    None => Err(broken(&address, error)),
                },
            }
        })
    }
}

/// Whether the response says what became of the request. That of a stream, or of success, does.
fn is_certain(response: &http::Response<Body>) -> bool {
    Status::from_header_map(response.headers())
        .is_none_or(|status| status.code() == Code::Ok || failure_of(&status).outcome() == OutcomeClass::NotApplied)
}

/// A request on its way. Dropped without an answer, it may have been applied.
struct Sent<'a> {
    reach: &'a Reach,
    is_answered: bool,
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.reach.is_uncertain.store(true, Ordering::Relaxed);
        }
    }
}

/// What the tries of a client have shown of its endpoints.
struct Reach {
    endpoints: usize,
    outage: Mutex<Outage>,
    /// An answer was lost. If what could not be sent is a further try of that request, the whole may still have been applied.
    is_uncertain: AtomicBool,
}

impl Reach {
    fn outage(&self) -> std::sync::MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No connection. It is worth another try as long as one endpoint was not tried, or for a moment: a node may be starting again.
    fn unreachable(&self, position: usize, failed: &ConnectError, began: Instant) -> Status {
        let mut outage = self.outage();
        let lasts = outage.failed(position, failed.to_string(), began, Instant::now());
        let is_hopeless = outage.failed.len() == self.endpoints && lasts >= OUTAGE;
        let message = match is_hopeless {
            true => outage.failed.values().cloned().collect::<Vec<_>>().join("; "),
            false => failed.to_string(),
        };
        let mut failure = Failure {
            code: Code::Unavailable as u32,
            reason: UNREACHABLE.to_owned(),
            message,
            retry_after_ms: if is_hopeless { 0 } else { RETRY_MS },
            ..Failure::default()
        };
        if !self.is_uncertain.load(Ordering::Relaxed) {
            failure.set_outcome(OutcomeClass::NotApplied);
        }
        status_of(&failure)
    }
}

/// Failures to connect, one soon after the other, with no success among them.
#[derive(Default)]
struct Outage {
    since: Option<Instant>,
    last: Option<Instant>,
    /// What was wrong with each endpoint.
    failed: BTreeMap<usize, String>,
}

impl Outage {
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes a failure; says how long the outage lasts. One that nobody looked at for a while may be over: it begins anew.
    fn failed(&mut self, position: usize, message: String, began: Instant, now: Instant) -> Duration {
        if self
            .last
            .is_none_or(|last| began.saturating_duration_since(last) > OUTAGE_GAP)
        {
            self.clear();
        }
        self.last = Some(now);
        self.failed.insert(position, message);
        now.saturating_duration_since(*self.since.get_or_insert(began))
    }
}

/// The connection was there, and no answer came.
fn broken(address: &str, error: tonic::transport::Error) -> Status {
    let status = Status::from_error(Box::new(error));
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded => {
            Status::deadline_exceeded(format!("{address} did not answer in time"))
        }
        code => {
            let message = format!(
                "the connection to {address} broke before the answer: {}",
                status.message()
            );
            Status::new(code, message)
        }
    }
}

fn channel(address: &str, tls: &Arc<ClientConfig>) -> Result<Channel, Error> {
    let host = address
        .rsplit_once(':')
        .map_or(address, |(host, _)| host)
        .trim_matches(['[', ']'])
        .to_owned();
    let name = ServerName::try_from(host).map_err(|_| Error::Configuration("an endpoint is host:port".to_owned()))?;
    let (connector, target) = (TlsConnector::from(Arc::clone(tls)), address.to_owned());
    let connect = tower::service_fn(move |_: Uri| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connect(&connector, name, &target)).await;
            connected
                .unwrap_or_else(|_| {
                    let seconds = CONNECT_TIMEOUT.as_secs();
                    Err(ConnectError::new(&target, &format!("no answer within {seconds} s")))
                })
                .map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("https://node.aumbry.internal")
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    Ok(endpoint.connect_with_connector_lazy(connect))
}

async fn connect(
    connector: &TlsConnector,
    name: ServerName<'static>,
    target: &str,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let tcp = TcpStream::connect(target).await;
    let tcp = tcp.map_err(|error| ConnectError::new(target, &error))?;
    tcp.set_nodelay(true)
        .map_err(|error| ConnectError::new(target, &error))?;
    let tls = connector.connect(name, tcp).await;
    tls.map_err(|error| {
        let is_foreign = error.to_string().contains("UnknownIssuer");
        let hint = if is_foreign {
            "; is the authority that was given that of this node?"
        } else {
            ""
        };
        ConnectError::new(target, &format!("TLS: {error}{hint}"))
    })
}

/// The reason of what could not be sent.
const UNREACHABLE: &str = "UNREACHABLE";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// So long may a node take to start again while nobody else answers.
const OUTAGE: Duration = Duration::from_secs(2);
/// Longer than the longest pause between two tries.
const OUTAGE_GAP: Duration = Duration::from_secs(1);
/// The client has pauses of its own; this says that trying again can help.
const RETRY_MS: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_of_all_endpoints_and_lasts() {
        let start = Instant::now();
        let reach = |endpoints| Reach {
            endpoints,
            outage: Mutex::default(),
            is_uncertain: AtomicBool::new(false),
        };
        let failed = ConnectError::new("a:1", &"refused");
        let mut outage = Outage::default();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(outage.failed(0, String::new(), at(0), at(1)).as_millis(), 1);
        assert_eq!(outage.failed(0, String::new(), at(500), at(501)).as_millis(), 501);
        assert_eq!(outage.failed(1, String::new(), at(2_000), at(2_001)).as_millis(), 1);
        assert_eq!(outage.failed.len(), 1, "what is long ago does not count");

        let hopeless = |reach: &Reach, position| {
            let long_ago = Instant::now().checked_sub(OUTAGE).unwrap_or(start);
            failure_of(&reach.unreachable(position, &failed, long_ago)).retry_after_ms == 0
        };
        assert!(hopeless(&reach(1), 0));
        let two = reach(2);
        assert!(!hopeless(&two, 0));
        assert!(hopeless(&two, 1));
        two.outage().clear();
        assert!(!hopeless(&two, 1));
    }

    #[test]
    fn what_was_not_sent_changed_nothing_unless_an_answer_was_lost_before() {
        let reach = Reach {
            endpoints: 1,
            outage: Mutex::default(),
            is_uncertain: AtomicBool::new(false),
        };
        let outcome =
            || failure_of(&reach.unreachable(0, &ConnectError::new("a:1", &"refused"), Instant::now())).outcome();
        assert!(outcome() == OutcomeClass::NotApplied);
        drop(Sent {
            reach: &reach,
            is_answered: true,
        });
        assert!(outcome() == OutcomeClass::NotApplied);
        drop(Sent {
            reach: &reach,
            is_answered: false,
        });
        assert!(outcome() == OutcomeClass::Unknown);
    }
}
