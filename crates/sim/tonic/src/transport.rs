//! Servers whose answers carry the same date for ever.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{DATE, HeaderValue};
use http::{Request, Response};
use tonic::transport::server::Server as Real;
pub use tonic::transport::*;
use tower_layer::{Identity, Layer, Stack};
use tower_service::Service;

/// Makes servers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// A server with its defaults.
    #[must_use]
    pub fn builder() -> Real<Stack<Dated, Identity>> {
        Real::builder().layer(Dated)
    }
}

/// Puts a date into answers.
#[derive(Clone, Copy, Debug)]
pub struct Dated;

impl<S> Layer<S> for Dated {
    type Service = DatedService<S>;

    fn layer(&self, inner: S) -> DatedService<S> {
        DatedService(inner)
    }
}

/// A service whose answers have a date.
#[derive(Clone, Debug)]
pub struct DatedService<S>(S);

impl<S, B, C> Service<Request<B>> for DatedService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<C>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async move {
            let mut answer = answering.await?;
            answer.headers_mut().insert(DATE, HeaderValue::from_static(ONE_DAY));
            Ok(answer)
        })
    }
}

const ONE_DAY: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
