//! gRPC by hand: what no client library would send.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_tests::connect;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use prost::Message;

/// A connection on which anything can be sent.
pub(crate) struct Raw {
    sender: SendRequest<Bytes>,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The status of HTTP.
    pub(crate) http: u16,
    /// Headers and trailers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Why the stream broke off, if it did.
    pub(crate) broken: Option<String>,
}

impl Answer {
    /// The status of gRPC; nothing if none was given.
    pub(crate) fn code(&self) -> Option<u32> {
        self.headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    }

    /// Whether the request was served.
    pub(crate) fn is_served(&self) -> bool {
        self.http == 200 && self.code() == Some(0)
    }

    /// Everything that was said, for who looks for a word in it.
    pub(crate) fn text(&self) -> String {
        format!("{:?} {}", self.headers, String::from_utf8_lossy(&self.body))
    }
}

impl Raw {
    /// Connects to a client listener.
    pub(crate) async fn connect(address: &str, ca_file: &str) -> Result<Self> {
        let authority = std::fs::read_to_string(ca_file)?;
        let stream = connect(address, &authority, "h2").await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Sends a request with these headers and this body, and waits for all of the answer.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
        self.send(path, headers, vec![body]).await
    }

    /// As [`Self::post`], with the body in several frames of its own. What the other end does not take is left out.
    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], frames: Vec<Vec<u8>>) -> Result<Answer> {
        let mut request = Request::post(format!("https://localhost{path}")).header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(())?;
        let exchange = async {
            let mut sender = self.sender.clone().ready().await?;
            let (answering, mut sending) = sender.send_request(request, false)?;
            let count = frames.len();
            let sent = async {
                for (at, frame) in frames.into_iter().enumerate() {
                    // Flow control holds up what is larger than a window; the answer may come before the end.
                    sending.send_data(frame.into(), at + 1 == count)?;
                }
                Ok::<_, h2::Error>(())
            };
            let _ = sent.await;
            Ok::<_, h2::Error>(answering.await)
        };
        let exchanged = tokio::time::timeout(PATIENCE, exchange).await.context("no answer")?;
        let mut answer = Answer::default();
        let response = match exchanged.and_then(|response| response) {
            Ok(response) => response,
            Err(error) => {
                answer.broken = Some(error.to_string());
                return Ok(answer);
            }
        };
        answer.http = response.status().as_u16();
        let (head, mut body) = response.into_parts();
        answer.headers = head.headers;
        let reading = async {
            while let Some(data) = body.data().await {
                match data {
                    Ok(data) => {
                        let _ = body.flow_control().release_capacity(data.len());
                        answer.body.extend_from_slice(&data);
                    }
                    Err(error) => {
                        answer.broken = Some(error.to_string());
                        return;
                    }
                }
            }
            if let Ok(Some(trailers)) = body.trailers().await {
                answer.headers.extend(trailers);
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .context("the answer has no end")?;
        Ok(answer)
    }
}

/// A message of gRPC: not compressed, its length, its bytes.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The same of a message that can be encoded.
pub(crate) fn encoded(message: &impl Message) -> Vec<u8> {
    framed(&message.encode_to_vec())
}

/// Field so-and-so with these bytes.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

/// The headers of a call with a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// What every call has.
pub(crate) const GRPC: (&str, &str) = ("content-type", "application/grpc");
const PATIENCE: Duration = Duration::from_secs(60);
