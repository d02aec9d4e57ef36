//! What clients make the node hold: the bytes of a request from their arrival until its reply is sent, and those of a large reply. They are
//! counted against the client's address and the node, so that no number of half-sent requests or unread replies takes all memory.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use aumbry_net::{Held, Share};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::tls::Peer;

/// Puts [`Holding`] around the services.
#[derive(Clone, Copy)]
pub(crate) struct HoldLayer;

impl<S> Layer<S> for HoldLayer {
    type Service = Holding<S>;

    fn layer(&self, inner: S) -> Holding<S> {
        Holding { inner }
    }
}

/// Counts what each request makes the node hold.
#[derive(Clone)]
pub(crate) struct Holding<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Holding<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let share = request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.share));
        // A backup goes to the disk as it comes.
        let is_counted = !request.uri().path().ends_with(RESTORE);
        let held = Arc::new(Mutex::new(None));
        let request = match share {
            Some(share) if is_counted => request.map(|inner| {
                Body::new(Received {
                    inner,
                    share,
                    held: Arc::clone(&held),
                })
            }),
            _ => request,
        };
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            let reply = response.extensions_mut().remove::<Arc<Held>>();
            Ok(response.map(|inner| {
                Body::new(Sent {
                    inner,
                    _held: (held, reply),
                })
            }))
        })
    }
}

/// Counts a reply of so many bytes, if it is large. What is given goes into the response's extensions.
///
/// # Errors
/// `RESOURCE_EXHAUSTED` if the client's address has too much unread already.
pub(crate) fn hold_reply(share: &Share, bytes: usize) -> Result<Option<Arc<Held>>, Status> {
    if bytes < LARGE_BYTES {
        return Ok(None);
    }
    match share.hold(bytes) {
        Some(held) => Ok(Some(Arc::new(held))),
        None => Err(too_much(
            "too many replies to this address wait to be read; read them first",
        )),
    }
}

type Holder = Arc<Mutex<Option<Held>>>;

/// The body of a request.
struct Received {
    inner: Body,
    share: Arc<Share>,
    held: Holder,
}

impl hyper::body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        if bytes > 0 {
            let Some(more) = self.share.hold(bytes) else {
                return Poll::Ready(Some(Err(too_much(
                    "the node holds too many unfinished requests of this address, or in all; try again later",
                ))));
            };
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *held {
                Some(held) => held.merge(more),
                None => *held = Some(more),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a reply, with what is held until it was sent, or never will be.
pub(crate) struct Sent<B, H> {
    pub(crate) inner: B,
    pub(crate) _held: H,
}

impl<B: hyper::body::Body + Unpin, H: Unpin> hyper::body::Body for Sent<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn too_much(message: &'static str) -> Status {
    Status::resource_exhausted(message)
}

/// Smaller replies are bounded well enough by the number of requests.
const LARGE_BYTES: usize = 16 << 10;
const RESTORE: &str = "/SnapshotRestore";

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use aumbry_net::Memory;
    use http_body_util::{BodyExt as _, StreamBody};
    use tower::ServiceExt as _;

    use super::*;

    const MIB: usize = 1 << 20;

    /// A request with a body of so many MiB that ends, or waits for ever.
    fn request(share: &Arc<Share>, mib: usize, ends: bool) -> Request<Body> {
        let frames = (0..mib).map(|_| Ok::<_, Status>(Frame::data(Bytes::from(vec![0; MIB]))));
        let frames = futures::stream::iter(frames);
        let body = if ends {
            Body::new(StreamBody::new(frames))
        } else {
            Body::new(StreamBody::new(futures::StreamExt::chain(
                frames,
                futures::stream::pending(),
            )))
        };
        let mut request = Request::new(body);
        request.extensions_mut().insert(Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate: None,
            chain: Arc::new([]),
            share: Arc::clone(share),
        });
        request
    }

    /// Reads the body to its end, and answers with what came of it.
    async fn read(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let read = request.into_body().collect().await;
        let code = read.map_or_else(|status| status.code() as i32, |_| 0);
        Ok(Response::builder()
            .header("code", code)
            .body(Body::new(
                http_body_util::Full::new(Bytes::from_static(b"reply")).map_err(|never| match never {}),
            ))
            .expect("is a response"))
    }

    async fn code(request: Request<Body>) -> (i32, Response<Body>) {
        let response = HoldLayer.layer(tower::service_fn(read)).oneshot(request).await;
        let response = response.expect("never fails");
        let code = response.headers()["code"].to_str().expect("is text").parse();
        (code.expect("is a number"), response)
    }

    /// Abuse cases: 92.
    #[tokio::test]
    async fn requests_are_held_until_their_replies_are_sent() {
        let (one, other) = aumbry_net::shares_for_tests(Memory::new(10 * MIB, 6 * MIB));
        let exhausted = tonic::Code::ResourceExhausted as i32;
        let (first, reply) = code(request(&one, 5, true)).await;
        assert_eq!(first, 0);
        assert_eq!(
            code(request(&one, 2, true)).await.0,
            exhausted,
            "the reply of the first is not sent yet"
        );
        drop(reply);
        assert_eq!(code(request(&one, 2, true)).await.0, 0);

        // One address with requests that never end leaves the other its part, and its own is free when they are given up.
        let endless = tokio::spawn(code(request(&one, 6, false)));
        while one.hold(1).is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(code(request(&other, 4, true)).await.0, 0);
        endless.abort();
        let _ = endless.await;
        assert_eq!(code(request(&one, 6, true)).await.0, 0);
    }

    /// Abuse cases: 92.
    #[test]
    fn unread_replies_are_bounded() {
        let (one, _) = aumbry_net::shares_for_tests(Memory::new(10 * MIB, 6 * MIB));
        let held = hold_reply(&one, 5 * MIB).expect("fits").expect("is counted");
        assert!(hold_reply(&one, 2 * MIB).is_err());
        assert!(hold_reply(&one, 100).expect("is small").is_none());
        drop(held);
        assert!(hold_reply(&one, 2 * MIB).is_ok());
    }
}
