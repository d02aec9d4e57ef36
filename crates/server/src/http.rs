//! Small answers by HTTP/1.1, for machines that watch this one. Bounded in connections (by the listener), in headers and in time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aumbry_net::{Bounds, Connection, Incoming, Memory};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// What is asked, of which nothing but the head matters.
pub(crate) type Asked = Request<hyper::body::Incoming>;
/// What is answered.
pub(crate) type Answer = Response<Full<Bytes>>;

/// How much a listener for small answers takes on.
pub(crate) fn bounds() -> Bounds {
    Bounds {
        connections: CONNECTIONS_MAX,
        connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
        // Nobody can send anything that is kept.
        memory: Memory::new(0, 0),
    }
}

/// Answers on these connections until dropped.
pub(crate) async fn serve<I, S>(
    mut connections: Incoming<I, S>,
    answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
) where
    I: Send + Unpin + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answer = Arc::new(answer);
    while let Some(Ok(connection)) = connections.next().await {
        tokio::spawn(serve_connection(connection, Arc::clone(&answer)));
    }
}

async fn serve_connection<I, S>(connection: Connection<I, S>, answer: Arc<impl Fn(&Asked) -> Answer>)
where
    I: Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(move |asked: Asked| {
        let answer = Arc::clone(&answer);
        async move {
            let answered = match *asked.method() {
                Method::GET | Method::HEAD => answer(&asked),
                _ => only_reading(),
            };
            Ok::<_, io::Error>(answered)
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    let serving = http.serve_connection(TokioIo::new(connection), service);
    let mut serving = std::pin::pin!(serving);
    // Who asks and goes away is no event.
    tokio::select! {
        biased;
        _ = serving.as_mut() => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HEADER_TIMEOUT, serving).await;
        }
    }
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

/// An answer with a type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // What was true a second ago need not be.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn only_reading() -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n");
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    // A body that was sent along is not read.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Some load balancers, a scraper or two, and a person.
const CONNECTIONS_MAX: usize = 64;
/// A load balancer keeps a connection or two open; one that goes wrong leaves the others theirs.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 16;
/// A request for health has one line and a few headers.
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// From the first byte of a request, and the end of the one before, to the end of its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// However slowly somebody reads, the place is free again after this.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
