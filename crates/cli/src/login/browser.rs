//! `aumbry login --method oidc`: the user logs in at the issuer with a browser, which comes back to this program.
//!
//! What it guarantees: it listens on this machine alone, for one answer, and no longer than five minutes; an answer that is not of this login, or comes back
//! to another mount's path, is none; the page that the browser shows says nothing of what was sent; the issuer's address is no argument of any program.

mod listener;
mod owner;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1::{self, Verb};
use aumbry_types::{Entropy as _, SystemEntropy, hex, percent};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;

use self::listener::{Expected, come_back, parameters};

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

/// What the node was asked, and said.
struct Begun {
    /// Where the browser comes back to: its path.
    path: String,
    /// The whole of that.
    redirect_uri: String,
    /// The issuer's address.
    url: String,
}

impl Browser<'_> {
    /// Asks for an address, waits for the browser, and shows what it came back with.
    pub(super) async fn log_in(&self, context: &Context) -> Result<v1::LogicalReply> {
        let (listener, origin) = self.bind().await?;
        let nonce = random();
        let client = context.anonymous()?;
        let begun = self.begin(&client, &origin, &context.namespace()?, &nonce).await?;
        let state = begun
            .url
            .split_once('?')
            .and_then(|(_, query)| parameters(query)?.remove("state"));
        // It stands in a head of our own.
        let is_one = begun.url.starts_with("https://") && begun.url.chars().all(|c| c.is_ascii_graphic());
        let state = state.filter(|_| is_one);
        let state = state.context("the node gave no address that a browser should open: it is not of a login")?;
        note("Open this address in a browser to log in:");
        note(&format!("    {}", begun.url));
        let start = format!("/start/{}", random());
        if self.opens {
            open(&format!("{origin}{start}"));
        }
        note(&format!(
            "Waiting for the browser at {}, for 5 minutes at most ...",
            begun.redirect_uri
        ));
        let expected = Expected {
            path: &begun.path,
            state: &state,
            start: self.opens.then_some((start.as_str(), begun.url.as_str())),
        };
        let deadline = Instant::now() + PATIENCE;
        let waiting = tokio::time::timeout_at(deadline, come_back(&listener, expected));
        let Ok(answer) = waiting.await else {
            bail!("the browser did not come back within 5 minutes; begin the login again");
        };
        let mut body = answer?;
        body.insert("client_nonce".to_owned(), nonce.into());
        // Said in so many words if the issuer did not: then it may be another than the one that was asked, and the node knows whether this one would have.
        body.entry("iss").or_insert_with(|| json!(""));
        Ok(self.ask(&client, "callback", &Value::Object(body), self.ttl_s).await?)
    }

    /// Asks for the issuer's address. The browser comes back to a path of this mount alone, if the role allows that: an issuer that sends it on to another one
    /// cannot pass off that one's answer as its own. Else it comes back to the path that all mounts share.
    async fn begin(&self, client: &Caller, origin: &str, namespace: &str, nonce: &str) -> Result<Begun> {
        let paths = [own_path(namespace, self.mount), PATH.to_owned()];
        let mut asked = Vec::new();
        for path in paths {
            let redirect_uri = format!("{origin}{path}");
            let body = json!({ "role": self.role, "redirect_uri": redirect_uri, "client_nonce": nonce });
            let begun = self.ask(client, "auth_url", &body, 0).await?;
            let url = Answer::of(begun)?.data["auth_url"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if !url.is_empty() {
                return Ok(Begun {
                    path,
                    redirect_uri,
                    url,
                });
            }
            asked.push(redirect_uri);
        }
        bail!(
            "there is no login by a browser for this role with {}: ask whether the role is there, is of type oidc, and has one of these addresses in \
             allowed_redirect_uris; the audit record says which it is",
            asked.join(" or ")
        )
    }

    async fn ask(&self, client: &Caller, what: &str, body: &Value, ttl_s: u64) -> Result<v1::LogicalReply, Failed> {
        let path = format!("auth/{}/oidc/{what}", self.mount);
        let asked = ByPath::new(Verb::Write, path).with(body).wrapped(ttl_s);
        client.by_path(asked).await.map_err(super::no_method)
    }

    /// Listens; gives what the addresses of that begin with.
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
        Ok((listener, format!("http://{host}:{port}")))
    }
}

/// The path that a browser comes back to from the issuer of one mount, and of no other: where that mount stands.
fn own_path(namespace: &str, mount: &str) -> String {
    let mut path = Vec::new();
    for segment in namespace.split('/').filter(|segment| !segment.is_empty()) {
        path.push(b'/');
        percent::encode(&mut path, segment.as_bytes());
    }
    path.extend_from_slice(b"/auth");
    for segment in mount.split('/') {
        path.push(b'/');
        percent::encode(&mut path, segment.to_ascii_lowercase().as_bytes());
    }
    path.extend_from_slice(PATH.as_bytes());
    // It is of ASCII alone.
    String::from_utf8_lossy(&path).into_owned()
}

fn random() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    hex::encode(&bytes)
}

/// Opens an address of this program's own in the user's browser, if that can be done; the user was told of the issuer's anyway. What stands here can be seen
/// by whoever lists processes.
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

/// Where the browser comes back to, as Vault's program has it; with the mount's own path before it, as Vault's interface has it.
const PATH: &str = "/oidc/callback";
/// As long as the state is good.
const PATIENCE: Duration = Duration::from_secs(300);
#[cfg(test)]
mod tests {
    use super::*;

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
        let (listener, origin) = browser("127.0.0.1:0").bind().await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(origin, format!("http://127.0.0.1:{port}"));
        let (_, origin) = browser("localhost:0").bind().await.unwrap();
        assert!(origin.starts_with("http://localhost:"), "{origin}");
    }

    #[test]
    fn each_mount_has_a_path_of_its_own() {
        for (namespace, mount, expected) in [
            ("", "oidc", "/auth/oidc/oidc/callback"),
            ("", "Corp", "/auth/corp/oidc/callback"),
            ("team/app", "oidc", "/team/app/auth/oidc/oidc/callback"),
            ("", "a/b c", "/auth/a/b%20c/oidc/callback"),
            ("", "\u{e4}?#", "/auth/%C3%A4%3F%23/oidc/callback"),
        ] {
            assert_eq!(own_path(namespace, mount), expected);
        }
    }
}
