//! A collector that is told by HTTP: one request a batch, which counts when the collector has answered that it has all of it.
//!
//! What it guarantees: an answer that may change by itself (408, 429, 5xx, none at all) is waited out, `Retry-After` included; any other stops
//! the sink until somebody looks, so that nothing is left out because a collector would not have it. The token is read from its file for each
//! request; it stands in no log, and nothing that a collector answers does, as it could repeat the token.

mod answer;
mod body;

use std::time::Duration;

use aumbry_types::SecretBytes;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;

use super::SinkError;
use super::lines::Rendered;
use super::output::Place;
use super::road::{Cover, Road, TlsFiles, Wire, unreachable};
use super::writer::{Batch, Transport};
use crate::certificate::{Readers, read};
use crate::config::{AuditHttp, HttpKind};

/// The collector.
pub(super) struct Http {
    road: Road,
    config: AuditHttp,
    uri: Uri,
    /// The node's name.
    host: String,
}

impl Http {
    /// # Errors
    /// If the system gives no means to wait for sockets.
    pub(super) fn new(config: &AuditHttp, node: &str) -> std::io::Result<Self> {
        // It was checked with the configuration.
        let uri = config.uri().unwrap_or_default();
        let is_tls = uri.scheme_str() == Some("https");
        let cover = match (is_tls, config.allow_plaintext) {
            (true, _) => Cover::Tls(TlsFiles {
                authorities: config.ca_file.clone(),
                certificate: config.cert_file.clone(),
                key: config.key_file.clone(),
                protocol: b"http/1.1",
            }),
            (false, false) => Cover::Local,
            (false, true) => Cover::Nothing,
        };
        let port = uri.port_u16().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Self {
            road: Road::new(uri.host().unwrap_or_default(), port, cover, timeout)?,
            config: config.clone(),
            uri,
            host: node.to_owned(),
        })
    }

    fn request(&self, batch: &Batch) -> Result<Request<Full<Bytes>>, SinkError> {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, "aumbry")
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, self.content_type());
        if self.config.kind == HttpKind::Generic {
            let last = batch.next.saturating_sub(1);
            let key = format!("{}/{}-{last}", batch.cluster, batch.first);
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some((name, value)) = self.token()? {
            request = request.header(name, value);
        }
        // The transport does not wipe what it sends.
        let body = Bytes::from(body::whole(self.config.kind, &self.host, &batch.lines));
        request
            .body(Full::new(body))
            .map_err(|error| SinkError::Tls(error.to_string()))
    }

    fn content_type(&self) -> &'static str {
        match self.config.kind {
            HttpKind::Splunk | HttpKind::Otlp => "application/json",
            HttpKind::Generic if self.config.format.is_json() => "application/x-ndjson",
            HttpKind::Generic => "text/plain; charset=utf-8",
        }
    }

    fn token(&self) -> Result<Option<(HeaderName, HeaderValue)>, SinkError> {
        let Some(path) = &self.config.token_file else {
            return Ok(None);
        };
        let bytes = SecretBytes::new(read(path, Readers::Owner)?);
        let unfit = || SinkError::Token { path: path.clone() };
        let token = bytes.expose().trim_ascii();
        if token.is_empty() {
            return Err(unfit());
        }
        let (name, scheme) = match (&self.config.token_header, self.config.kind) {
            (Some(name), _) => (name.parse().map_err(|_| unfit())?, &b""[..]),
            (None, HttpKind::Splunk) => (header::AUTHORIZATION, &b"Splunk "[..]),
            (None, _) => (header::AUTHORIZATION, &b"Bearer "[..]),
        };
        let value = SecretBytes::new([scheme, token].concat());
        let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_| unfit())?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl Transport for Http {
    fn frame(&self, record: &Rendered<'_>, into: &mut Vec<u8>) {
        body::frame(self.config.kind, &self.host, record, into);
    }

    fn deliver(
        &mut self,
        _place: Option<Place>,
        batch: &Batch,
        _keep: &mut dyn FnMut(Place) -> Result<(), SinkError>,
    ) -> Result<Option<Place>, SinkError> {
        let request = self.request(batch)?;
        let target = self.road.target();
        let kind = self.config.kind;
        self.road.travel(async |wire: Box<dyn Wire>| {
            let failed = |error: &dyn std::fmt::Display| unreachable(&target, error);
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .handshake(TokioIo::new(wire))
                .await
                .map_err(|error| failed(&error))?;
            // It ends with this request, whatever comes of it.
            let mut driven = tokio::task::JoinSet::new();
            driven.spawn(connection);
            let reply = sender.send_request(request).await.map_err(|error| failed(&error))?;
            let (status, after) = (reply.status(), answer::retry_after(reply.headers()));
            let body = Limited::new(reply.into_body(), BODY_BYTES_MAX).collect().await;
            // Of a refusal the code is enough; of a success only the whole answer is one.
            let body = match body {
                Ok(body) => body.to_bytes(),
                Err(_) if !status.is_success() => Bytes::new(),
                Err(error) => return Err(failed(&error)),
            };
            answer::judge(kind, &target, status, after, &body)
        })?;
        Ok(None)
    }

    fn reload(&mut self) {
        self.road.forget();
    }
}

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const HTTPS_PORT: u16 = 443;
const HTTP_PORT: u16 = 80;
/// An answer is a code and some words.
const BODY_BYTES_MAX: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
