//! Connections of HTTP/1.1: bounded in heads, bodies, memory and time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aumbry_net::{Connection, Incoming};
use futures::StreamExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either};
use hyper::body::{Body as _, Incoming as Body};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Vault;
use super::answer::{Answer, Refused};
use super::asked::Asked;
use crate::holding::{Sent, hold_reply};
use crate::tls::Peer;

/// Serves these connections until told to stop; those that stand finish what they are at.
pub(crate) async fn serve<S>(mut connections: Incoming<Peer, S>, vault: Arc<Vault>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = told(&mut stop) => break,
            Some(_) = open.join_next() => {}
            connection = connections.next() => match connection {
                Some(Ok(connection)) => {
                    open.spawn(serve_connection(connection, Arc::clone(&vault), stop.clone()));
                }
                Some(Err(_)) => {}
                None => break,
            }
        }
    }
    drop(connections);
    while open.join_next().await.is_some() {}
}

async fn serve_connection<S>(connection: Connection<Peer, S>, vault: Arc<Vault>, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let peer = Arc::new(connection.info().clone());
    let service = service_fn(move |request: Request<Body>| {
        let (vault, peer) = (Arc::clone(&vault), Arc::clone(&peer));
        async move { Ok::<_, io::Error>(serve_request(&vault, &peer, request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX);
    let serving = http.serve_connection(TokioIo::new(connection), service);
    let mut serving = std::pin::pin!(serving);
    // Who asks and goes away is no event.
    tokio::select! {
        biased;
        _ = serving.as_mut() => {}
        () = told(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, serving).await;
        }
    }
}

/// Waits until told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Nobody left to tell is as good.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Answers a request. What it makes the node hold is counted until the answer is sent.
async fn serve_request(vault: &Vault, peer: &Peer, request: Request<Body>) -> Response<Held> {
    let (answer, of_request) = answer(vault, peer, request).await;
    let bytes = usize::try_from(answer.body().size_hint().lower()).unwrap_or(usize::MAX);
    let (answer, of_answer) = match hold_reply(&peer.share, bytes) {
        Ok(held) => (answer, held),
        Err(status) => {
            let refused = Refused::new(StatusCode::TOO_MANY_REQUESTS, status.message());
            (refused.into_answer(), None)
        }
    };
    answer.map(|inner| Sent {
        inner,
        _held: (of_request, of_answer),
    })
}

async fn answer(vault: &Vault, peer: &Peer, request: Request<Body>) -> (Answer, Option<aumbry_net::Held>) {
    let deadline = Instant::now() + Duration::from_millis(vault.services.lifecycle.config().limits.request_ms);
    let (head, body) = request.into_parts();
    let is_head = head.method == http::Method::HEAD;
    let reading = tokio::time::timeout_at(deadline.min(Instant::now() + BODY_TIMEOUT), read(body, peer));
    let late = || Refused::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
    let (body, held) = match reading.await.unwrap_or_else(|_| Err(late())) {
        Ok(read) => read,
        Err(refused) => return (refused.into_answer(), None),
    };
    let answer = match Asked::read(&head, body) {
        Ok(asked) => vault.answer(asked, peer, deadline).await,
        Err(refused) => refused.into_answer(),
    };
    let answer = if is_head {
        answer.map(|_| Either::Left(http_body_util::Full::default()))
    } else {
        answer
    };
    (answer, held)
}

/// An answer with what is held for it.
type Held = Sent<super::answer::Body, (Option<aumbry_net::Held>, Option<Arc<aumbry_net::Held>>)>;

/// Reads a body within its bounds, and counts it against its sender until it is answered.
async fn read(mut body: Body, peer: &Peer) -> Result<(Vec<u8>, Option<aumbry_net::Held>), Refused> {
    let mut bytes = Vec::new();
    let mut held: Option<aumbry_net::Held> = None;
    let mut received = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "the body ended early"))?;
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        if received > BODY_BYTES_MAX {
            // Who still sends does not read yet: a little more than the bound is thrown away, so that the answer is seen.
            (bytes, held) = (Vec::new(), None);
            if received > BODY_BYTES_READ_MAX {
                break;
            }
            continue;
        }
        let busy = "too many unfinished requests of this address, or in all; try again later";
        let more = peer.share.hold(data.len());
        let more = more.ok_or_else(|| Refused::new(StatusCode::TOO_MANY_REQUESTS, busy))?;
        match &mut held {
            Some(held) => held.merge(more),
            None => held = Some(more),
        }
        bytes.extend_from_slice(&data);
    }
    if received > BODY_BYTES_MAX {
        return Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 2 MiB",
        ));
    }
    Ok((bytes, held))
}

/// A value of 1 MiB with what stands around it.
const BODY_BYTES_MAX: usize = 2 << 20;
/// What is longer than this is not read to its end.
const BODY_BYTES_READ_MAX: usize = 16 << 20;
/// A token, a few headers, and what proxies add.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// From the end of one request to the end of the next one's head; clients that keep connections look before they use them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// A slow line takes some seconds for the largest body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
