//! Small requests by HTTP/1.1, as load balancers make them.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Answered {
    /// The code.
    pub code: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answered {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Asks on a connection of its own, in plain text.
pub async fn ask(address: &str, method: &str, target: &str) -> Result<Answered> {
    ask_on(TcpStream::connect(address).await?, method, target).await
}

/// Asks on this connection, which is closed afterwards.
pub async fn ask_on(stream: impl AsyncRead + AsyncWrite + Unpin, method: &str, target: &str) -> Result<Answered> {
    send_on(stream, method, target, &[], "").await
}

/// Sends headers and a body on this connection, which is closed afterwards.
pub async fn send_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answered> {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).await?;
    // A task that has many of these at once is told to wait in between: what TLS keeps back then is sent by this alone.
    stream.flush().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    ensure!(head.starts_with("HTTP/1.1 "), "{head}");
    let code = head.split(' ').nth(1).context("the answer has no code")?.parse()?;
    Ok(Answered {
        code,
        head: head.to_lowercase(),
        body: body.to_owned(),
    })
}
