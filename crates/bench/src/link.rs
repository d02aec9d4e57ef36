//! A connection with the requests of a run made ready for it.

use std::sync::Arc;

use aumbry_client::Encoded;
use http::Uri;

use crate::fault::Fault;
use crate::http1::HttpConnection;
use crate::rpc::RpcConnection;
use crate::sequence::Operation;
use crate::template::{RequestIds, Template};

/// The requests of a run, by operation; none is where the mix has none.
pub(crate) type Templates = [Option<Arc<Template>>; Operation::ALL.len()];

/// A connection, and where each operation goes on it.
pub(crate) struct Link {
    pub(crate) templates: Templates,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) wire: Wire,
}

/// The protocol, with each operation's method.
pub(crate) enum Wire {
    Sdk(Methods<Encoded>),
    Rpc(Box<RpcConnection>, Methods<Uri>),
    Http(Box<HttpConnection>),
}

/// The methods of a run, by operation; none is where the mix has none.
pub(crate) type Methods<T> = Box<[Option<T>; Operation::ALL.len()]>;

impl Link {
    /// Makes the n-th request and waits until its answer is read.
    pub(crate) async fn call(&self, operation: Operation, key: u64, n: u64) -> Result<(), Fault> {
        let place = operation as usize;
        let template = self.templates[place]
            .as_ref()
            .expect("a run has the templates of its mix");
        let request = template.fill(key, &self.ids, n);
        match &self.wire {
            Wire::Sdk(methods) => {
                let method = methods[place].as_ref().expect("a template has a method");
                crate::sdk::call(method, request).await
            }
            Wire::Rpc(connection, methods) => {
                let method = methods[place].as_ref().expect("a template has a method");
                connection.call(method, request).await
            }
            Wire::Http(connection) => connection.call(request).await,
        }
    }
}
