//! What is no gRPC is not served. A page of another origin can make a browser send a form or plain text without being asked, and no more than that
//! is needed for the few methods that take no token: to reset an unsealing, or to make a cluster of a node that waits for one.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use http::{HeaderMap, Request, Response, StatusCode, header};
use tonic::body::Body;
use tower::{Layer, Service};

/// Puts [`GrpcOnly`] around the services.
#[derive(Clone, Copy)]
pub(crate) struct GrpcOnlyLayer;

impl<S> Layer<S> for GrpcOnlyLayer {
    type Service = GrpcOnly<S>;

    fn layer(&self, inner: S) -> GrpcOnly<S> {
        GrpcOnly { inner }
    }
}

/// Refuses requests that do not say that they are gRPC.
#[derive(Clone)]
pub(crate) struct GrpcOnly<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for GrpcOnly<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_grpc(request.headers()) {
            return Either::Left(self.inner.call(request));
        }
        let mut refused = Response::new(Body::empty());
        *refused.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Either::Right(ready(Ok(refused)))
    }
}

/// Whether there is one type, and it is gRPC in the encoding of protobuf.
fn is_grpc(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let first = types.next().and_then(|value| value.to_str().ok());
    types.next().is_none() && first.is_some_and(|kind| TYPES.contains(&kind))
}

const TYPES: [&str; 2] = ["application/grpc", "application/grpc+proto"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_is_grpc() {
        let is_grpc = |types: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for kind in types {
                headers.append(header::CONTENT_TYPE, kind.parse().unwrap());
            }
            is_grpc(&headers)
        };
        for kind in TYPES {
            assert!(is_grpc(&[kind]));
        }
        for types in [
            &[][..],
            &[""],
            &["text/plain"],
            &["application/grpc-web"],
            &["application/grpcx"],
            &["application/grpc", "text/plain"],
            &["text/plain", "application/grpc"],
        ] {
            assert!(!is_grpc(types), "{types:?}");
        }
    }
}
