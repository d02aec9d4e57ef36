//! `aumbry login --method oidc`: the user logs in at the issuer with a browser, which comes back to this program.
//!
//! What it guarantees: it listens on this machine alone, for one answer, and no longer than five minutes; an answer that is not of this login is none; the
//! page that the browser shows says nothing of what was sent.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1::{self, Verb};
use aumbry_types::{Entropy as _, SystemEntropy, hex};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::answer::Answer;
use crate::context::{ByPath, Caller, Context};
use crate::failure::{Failed, note, usage};

/// A login by a browser.
pub(super) struct Browser<'a> {
    /// Where the method is mounted, without `auth/`.
    pub(super) mount: &'a str,
    /// What the role is called; nothing for the configured one.
    pub(super) role: &'a str,
    /// Where the browser comes back to: a host of this machine, and a port.
    pub(super) listen: &'a str,
    /// Whether a browser is opened, or the user does that.
    pub(super) opens: bool,
    /// For how long the answer is wrapped; 0 is not at all.
    pub(super) ttl_s: u64,
}

impl Browser<'_> {
    /// Asks for an address, waits for the browser, and shows what it came back with.
    pub(super) async fn log_in(&self, context: &Context) -> Result<v1::LogicalReply> {
        let (listener, redirect_uri) = self.bind().await?;
        let mut nonce = [0; 16];
        SystemEntropy.fill(&mut nonce);
        let nonce = hex::encode(&nonce);
        let client = context.anonymous()?;
        let body = json!({ "role": self.role, "redirect_uri": redirect_uri, "client_nonce": nonce });
        let begun = self.ask(&client, "auth_url", &body, 0).await?;
        let url = Answer::of(begun)?.data["auth_url"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if url.is_empty() {
            bail!(
                "there is no login by a browser for this role with {redirect_uri}: ask whether the role is there, is of type oidc, and has that address in \
                 allowed_redirect_uris; the audit record says which it is"
            );
        }
        let state = url
            .split_once('?')
            .and_then(|(_, query)| parameters(query)?.remove("state"));
        let state = state.filter(|_| url.starts_with("https://"));
        let state = state.context("the node gave no address that a browser should open: it is not of a login")?;
        note("Open this address in a browser to log in:");
        note(&format!("    {url}"));
        if self.opens {
            open(&url);
        }
        note(&format!(
            "Waiting for the browser at {redirect_uri}, for 5 minutes at most ..."
        ));
        let deadline = Instant::now() + PATIENCE;
        let waiting = tokio::time::timeout_at(deadline, come_back(&listener, &state));
        let Ok(answer) = waiting.await else {
            bail!("the browser did not come back within 5 minutes; begin the login again");
        };
        let mut body = answer?;
        body.insert("client_nonce".to_owned(), nonce.into());
        Ok(self.ask(&client, "callback", &Value::Object(body), self.ttl_s).await?)
    }

    async fn ask(&self, client: &Caller, what: &str, body: &Value, ttl_s: u64) -> Result<v1::LogicalReply, Failed> {
        let path = format!("auth/{}/oidc/{what}", self.mount);
        let asked = ByPath::new(Verb::Write, path).with(body).wrapped(ttl_s);
        client.by_path(asked).await.map_err(super::no_method)
    }

    /// Listens; gives the address that the browser comes back to.
    async fn bind(&self) -> Result<(TcpListener, String)> {
        let (host, _) = self.listen.rsplit_once(':').unwrap_or_default();
        let found = tokio::net::lookup_host(self.listen).await;
        let mut found = found.map(Iterator::collect::<Vec<SocketAddr>>).unwrap_or_default();
        found.retain(|address| address.ip().is_loopback());
        // Whatever else leads to this machine, others may use it too, and no role allows it.
        if !["127.0.0.1", "localhost", "[::1]"].contains(&host) || found.is_empty() {
            return Err(usage(format!(
                "--listen {} is not a port of this machine: give 127.0.0.1:PORT, localhost:PORT or [::1]:PORT",
                self.listen
            )));
        }
        let listener = TcpListener::bind(&found[..]).await.with_context(|| {
            format!(
                "cannot listen at {}: is another login under way? give another port with --listen",
                self.listen
            )
        })?;
        let port = listener.local_addr()?.port();
        Ok((listener, format!("http://{host}:{port}{PATH}")))
    }
}

/// Opens the address in the user's browser, if that can be done; the user was told of it anyway.
fn open(url: &str) {
    let mut opener = Command::new("xdg-open");
    opener
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if opener.spawn().is_err() {
        note("No browser could be opened here.");
    }
}

/// Waits for the browser. Whatever else connects is answered, and is nothing.
async fn come_back(listener: &TcpListener, state: &str) -> Result<Map<String, Value>> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Browsers open connections that they do not use.
        let served = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, state)).await;
        if let Ok(Ok(Some(answer))) = served {
            return Ok(answer);
        }
    }
}

/// Serves one request; gives what the browser came back with, if it is that.
async fn serve(mut stream: TcpStream, state: &str) -> std::io::Result<Option<Map<String, Value>>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).await?;
        head.extend_from_slice(&part[..read]);
        if read == 0 || head.len() > HEAD_BYTES_MAX {
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let target = words.nth(1).filter(|_| head.starts_with("GET ")).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = (path == PATH).then(|| parameters(query)).flatten();
    let answer = answer.filter(|answer| answer.get("state").is_some_and(|told| told == state));
    let (code, page) = match (&answer, path == PATH) {
        (Some(_), _) => ("200 OK", COME_BACK),
        (None, true) => ("400 Bad Request", NOT_THIS),
        (None, false) => ("404 Not Found", NOTHING),
    };
    let reply = format!(
        "HTTP/1.1 {code}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    // The answer is here, whether or not the browser still listens.
    let told = async {
        stream.write_all(reply.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = told.await;
    Ok(answer.map(|answer| {
        let wanted = answer.into_iter().filter(|(name, _)| TAKEN.contains(&name.as_str()));
        wanted.map(|(name, value)| (name, value.into())).collect()
    }))
}

/// The parameters of a query; `None` if it is malformed, or one stands in it twice.
fn parameters(query: &str) -> Option<std::collections::BTreeMap<String, String>> {
    let mut found = std::collections::BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if found.insert(decode(name)?, decode(value)?).is_some() {
            return None;
        }
    }
    Some(found)
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Where the browser comes back to, as Vault's program has it.
const PATH: &str = "/oidc/callback";
/// What is handed on.
const TAKEN: [&str; 4] = ["code", "error", "iss", "state"];
/// As long as the state is good.
const PATIENCE: Duration = Duration::from_secs(300);
/// A browser on this machine has sent its request long before.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Codes of some issuers have several kilobytes, and so have cookies of other programs on this machine.
const HEAD_BYTES_MAX: usize = 64 << 10;
const COME_BACK: &str = "<!doctype html><title>Aumbry</title><p>The issuer has answered. You can close this page and go back to the terminal.</p>\n";
const NOT_THIS: &str =
    "<!doctype html><title>Aumbry</title><p>This is not the login that waits here. Begin again in the terminal.</p>\n";
const NOTHING: &str = "<!doctype html><title>Aumbry</title><p>There is nothing here.</p>\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser is answered, and whether that was the answer to the login.
    async fn ask(request: &str) -> (String, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut browser = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        browser.write_all(request.as_bytes()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let served = serve(stream, "s1").await.unwrap();
        let mut told = String::new();
        browser.read_to_string(&mut told).await.unwrap();
        (told, served.is_some())
    }

    #[tokio::test]
    async fn only_the_answer_to_this_login_is_taken_and_none_is_repeated() {
        let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        for (target, code, is_answer) in [
            ("/oidc/callback?code=c%2Fd&state=s1", "200", true),
            ("/oidc/callback?error=access_denied&state=s1", "200", true),
            ("/oidc/callback?code=canary&state=s2", "400", false),
            ("/oidc/callback?code=canary", "400", false),
            ("/oidc/callback?code=canary&state=s1&state=s1", "400", false),
            ("/oidc/callback?code=%zz&state=s1", "400", false),
            ("/favicon.ico?canary", "404", false),
            ("/?state=s1&code=canary", "404", false),
        ] {
            let (told, is_taken) = ask(&request(target)).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {code} ")), "{target}: {told}");
            assert!(!told.contains("canary") && !told.contains("s1"), "{target}: {told}");
            assert_eq!(is_taken, is_answer, "{target}");
        }
        let (_, is_taken) = ask("POST /oidc/callback?code=c&state=s1 HTTP/1.1\r\n\r\n").await;
        assert!(!is_taken);
    }

    #[tokio::test]
    async fn nobody_else_can_reach_it() {
        let browser = |listen| Browser {
            mount: "oidc",
            role: "",
            listen,
            opens: false,
            ttl_s: 0,
        };
        for listen in [
            "0.0.0.0:0",
            "[::]:0",
            "192.0.2.1:8250",
            "127.0.0.1",
            "127.0.0.2:0",
            "localhost:x",
            "",
        ] {
            let error = browser(listen).bind().await.err().unwrap();
            assert_eq!(crate::failure::exit_code(&error), 2, "{listen}: {error}");
        }
        let (listener, uri) = browser("127.0.0.1:0").bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(uri, format!("http://127.0.0.1:{port}/oidc/callback"));
        let (_, uri) = browser("localhost:0").bind().await.unwrap();
        assert!(uri.starts_with("http://localhost:"), "{uri}");
    }
}
