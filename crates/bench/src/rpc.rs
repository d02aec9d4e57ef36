//! gRPC over HTTP/2 without a library for it: one connection, encoded messages, the status read from the trailers.
//!
//! A general client costs several times what is left here, and the generator runs beside the servers that it measures.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aumbry_api::failure_in;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use crate::Error;
use crate::fault::Fault;
use crate::stream::Dial;

/// One connection, made anew when it broke.
pub(crate) struct RpcConnection {
    dial: Dial,
    headers: HeaderMap,
    sender: Mutex<Option<SendRequest<Bytes>>>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
}

impl RpcConnection {
    /// Connects. `metadata` goes with each request.
    pub(crate) async fn open(dial: Dial, metadata: HeaderMap, timeout: Duration) -> Result<Self, Error> {
        let mut headers = metadata;
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        let micros = timeout.as_micros().min(TIMEOUT_DIGITS_MAX);
        let header = HeaderValue::from_str(&format!("{micros}u")).expect("digits and a letter are a header");
        headers.insert("grpc-timeout", header);
        let connection = Self {
            dial,
            headers,
            sender: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        };
        connection.connect().await?;
        Ok(connection)
    }

    /// The address of a method at this server.
    pub(crate) fn uri(&self, method: &str) -> Result<Uri, Error> {
        let text = format!("{}://{}{method}", self.dial.scheme(), self.dial.address);
        text.parse()
            .map_err(|_| Error::Setting(format!("the address {} has a form that is no URI", self.dial.address)))
    }

    /// Sends a message, its prefix included, and waits until the reply is read.
    pub(crate) async fn call(&self, uri: &Uri, message: Bytes) -> Result<(), Fault> {
        let sender = match self.current() {
            Some(sender) => sender,
            None => self.again().await?,
        };
        let answer = self.exchange(sender, uri, message).await;
        answer.unwrap_or_else(|error| {
            // A stream alone may be reset, for example because the server has enough of them; the connection goes on.
            if error.is_reset() {
                return Err(Fault::RESET);
            }
            *self.slot() = None;
            Err(Fault::BROKEN)
        })
    }

    async fn exchange(
        &self,
        sender: SendRequest<Bytes>,
        uri: &Uri,
        message: Bytes,
    ) -> Result<Result<(), Fault>, h2::Error> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = self.headers.clone();
        let mut sender = sender.ready().await?;
        let (answer, mut body) = sender.send_request(request, false)?;
        body.send_data(message, true)?;
        let (head, mut body) = answer.await?.into_parts();
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        let trailers = body.trailers().await?;
        Ok(verdict(trailers.as_ref().unwrap_or(&head.headers)))
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<SendRequest<Bytes>>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<SendRequest<Bytes>> {
        self.slot().clone()
    }

    /// Connects again, once for all that wait.
    async fn again(&self) -> Result<SendRequest<Bytes>, Fault> {
        let _alone = self.connecting.lock().await;
        if let Some(sender) = self.current() {
            return Ok(sender);
        }
        self.connect().await.map_err(|_| Fault::CONNECT)
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, Error> {
        let stream = self.dial.connect().await?;
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false);
        let (sender, connection) = builder.handshake(stream).await.map_err(|error| Error::Connect {
            address: self.dial.address.clone(),
            why: error.to_string(),
        })?;
        // It ends with the connection; whoever waits for an answer is told by then.
        tokio::spawn(connection);
        *self.slot() = Some(sender.clone());
        Ok(sender)
    }
}

fn verdict(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(_) => Err(failure_in(headers).map_or(Fault::MALFORMED, |failure| Fault::of_failure(&failure))),
        None => Err(Fault::MALFORMED),
    }
}

/// The encoded message as it is sent: not compressed, its length, itself.
pub(crate) fn framed(message: &impl prost::Message) -> Vec<u8> {
    let mut bytes = vec![0];
    let length = u32::try_from(message.encoded_len()).expect("a request is at most a little more than 1 MiB");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

/// Replies larger than this need a window update each.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The protocol gives a timeout eight digits.
const TIMEOUT_DIGITS_MAX: u128 = 99_999_999;
