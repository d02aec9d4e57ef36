//! `aumbry login --method oidc`, with the test as the browser.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aumbry_tests::{Answered, binary, send_on};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::provider::Provider;
use crate::{Bed, done};

/// The program, while it waits for the browser.
struct Waiting {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    url: String,
}

impl Waiting {
    fn start(bed: &Bed, further: &[&str]) -> Result<Self> {
        let mut child = Command::new(binary())
            .args(["login", "--method", "oidc", "--no-browser", "--listen", "127.0.0.1:0"])
            .args(further)
            .env("HOME", bed.home.path())
            .env("AUMBRY_ADDR", bed.cluster.endpoints().join(","))
            .env("AUMBRY_CACERT", bed.cluster.ca_file())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(child.stderr.take().context("it has one")?);
        let (mut url, mut line) = (String::new(), String::new());
        while !line.starts_with("Waiting for the browser at http://127.0.0.1:") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "it ended: {:?}", child.wait()?);
            if line.trim().starts_with("https://") {
                line.trim().clone_into(&mut url);
            }
        }
        Ok(Self { child, said, url })
    }

    /// How it ended: its code, what it printed, and what it said.
    fn end(mut self) -> Result<(Option<i32>, String, String)> {
        let (mut printed, mut said) = (String::new(), String::new());
        self.child
            .stdout
            .take()
            .context("it has one")?
            .read_to_string(&mut printed)?;
        self.said.read_to_string(&mut said)?;
        Ok((self.child.wait()?.code(), printed, said))
    }
}

/// Opens an address on this machine.
async fn open(url: &str) -> Result<Answered> {
    let rest = url.strip_prefix("http://").context("it is of this machine")?;
    let (place, path) = rest.split_once('/').context("it has a path")?;
    send_on(TcpStream::connect(place).await?, "GET", &format!("/{path}"), &[], "").await
}

/// The browser is sent to the issuer and comes back; what is not of this login is nothing to it, and the page repeats nothing. The token is kept as that of
/// any other way.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in() -> Result<()> {
    let (bed, provider) = (Bed::start()?, Provider::start().await?);
    bed.root(&["auth", "enable", "oidc"], "")?;
    bed.root(&["write", "auth/oidc/config", "-"], &provider.config().to_string())?;
    let role = json!({
        "role_type": "oidc", "user_claim": "email", "allowed_redirect_uris": "http://127.0.0.1/oidc/callback", "token_policies": "default",
    });
    bed.root(&["write", "auth/oidc/role/staff", "-"], &role.to_string())?;
    let waiting = Waiting::start(&bed, &["role=staff", "--output", "json"])?;
    let back = provider.visit(&waiting.url).await?;
    let (place, query) = back.split_once('?').context("a query")?;
    // Other pages, another login, and a connection that says nothing.
    let idle = TcpStream::connect(
        place
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default(),
    )
    .await?;
    for (other, code) in [
        (place.replace("/oidc/callback", "/favicon.ico"), 404),
        (format!("{place}?state=another&code=canary"), 400),
        (format!("{place}?code=canary"), 400),
    ] {
        let told = open(&other).await?;
        ensure!(told.code == code && !told.body.contains("canary"), "{other}: {told:?}");
    }
    drop(idle);
    let told = open(&format!("{place}?{query}")).await?;
    ensure!(
        told.code == 200 && told.body.contains("go back to the terminal"),
        "{told:?}"
    );
    ensure!(
        provider.secrets().iter().all(|secret| !told.body.contains(secret)) && !told.body.contains("state"),
        "{told:?}"
    );
    let (code, printed, said) = waiting.end()?;
    ensure!(code == Some(0), "{code:?} {printed} {said}");
    let printed: Value = serde_json::from_str(&printed)?;
    ensure!(
        printed["kept_in"].is_string() && printed["token"].is_null() && printed["metadata"]["role"] == "staff",
        "{printed}"
    );
    let lookup = ["token", "lookup", "--output", "json"];
    let own: Value = serde_json::from_str(&done(bed.run(&lookup, "")?, &lookup)?)?;
    ensure!(own["display_name"] == "oidc-ann@example.com", "{own}");
    // The issuer says no.
    let waiting = Waiting::start(&bed, &["role=staff"])?;
    let back = provider.visit(&waiting.url).await?;
    let (place, query) = back.split_once('?').context("a query")?;
    let state = query
        .split('&')
        .find(|pair| pair.starts_with("state="))
        .context("a state")?;
    open(&format!("{place}?error=access_denied&{state}")).await?;
    let (code, _, said) = waiting.end()?;
    ensure!(code != Some(0) && said.contains("access_denied"), "{code:?} {said}");
    // There is no such role: that is not told, and what to ask is.
    let none = [
        "login",
        "--method",
        "oidc",
        "--no-browser",
        "--listen",
        "127.0.0.1:0",
        "role=none",
    ];
    let refused = bed.run(&none, "")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("allowed_redirect_uris"),
        "{said}"
    );
    Ok(())
}
