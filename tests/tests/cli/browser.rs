//! `aumbry login --method oidc`, with the test as the browser.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
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
        let further: Vec<&str> = further.iter().copied().chain(["--no-browser"]).collect();
        Self::start_with(bed, &further, &std::env::var("PATH")?)
    }

    /// With a browser that is found on this path.
    fn start_with(bed: &Bed, further: &[&str], path: &str) -> Result<Self> {
        let mut child = Command::new(binary())
            .args(["login", "--method", "oidc", "--listen", "127.0.0.1:0"])
            .args(further)
            .env("PATH", path)
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

/// Whoever lists processes sees nothing of the login: the browser is opened at this program's own address, which sends the user's own browser on, once. The
/// browser comes back to a path of the mount's own, where the role allows that.
#[tokio::test(flavor = "multi_thread")]
async fn what_opens_the_browser_is_told_nothing_of_the_login() -> Result<()> {
    let (bed, provider) = (Bed::start()?, Provider::start().await?);
    bed.root(&["auth", "enable", "--path", "corp", "oidc"], "")?;
    bed.root(&["write", "auth/corp/config", "-"], &provider.config().to_string())?;
    let role = json!({
        "role_type": "oidc", "user_claim": "email", "token_policies": "default",
        "allowed_redirect_uris": "http://127.0.0.1/auth/corp/oidc/callback,http://127.0.0.1/oidc/callback",
    });
    bed.root(&["write", "auth/corp/role/staff", "-"], &role.to_string())?;
    // It tells what it was started with.
    let (opener, told) = (bed.home.path().join("xdg-open"), bed.home.path().join("told"));
    ensure!(Command::new("mkfifo").arg(&told).status()?.success(), "a pipe is made");
    std::fs::write(&opener, format!("#!/bin/sh\necho \"$@\" >'{}'\n", told.display()))?;
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", bed.home.path().display(), std::env::var("PATH")?);
    let waiting = Waiting::start_with(&bed, &["--path", "corp", "role=staff", "--output", "json"], &path)?;
    let started = tokio::task::spawn_blocking(move || std::fs::read_to_string(told)).await??;
    let start = started.trim();
    let (_, state) = waiting.url.split_once("&state=").context("a state")?;
    let (state, _) = state.split_once('&').unwrap_or((state, ""));
    ensure!(
        start.starts_with("http://127.0.0.1:") && start.contains("/start/") && !start.contains(state),
        "{start}"
    );
    let sent = open(start).await?;
    // Heads are in lower case here.
    let location = format!("\nlocation: {}\r\n", waiting.url.to_ascii_lowercase());
    ensure!(sent.code == 302 && sent.head.contains(&location), "{sent:?}");
    let again = open(start).await?;
    ensure!(again.code == 404 && !again.head.contains("location"), "{again:?}");
    let back = provider.visit(&waiting.url).await?;
    ensure!(back.contains("/auth/corp/oidc/callback?"), "{back}");
    // What comes back to another mount's path, or to that of all, is not for this login.
    for other in ["/auth/oidc/oidc/callback?", "/oidc/callback?"] {
        let told = open(&back.replace("/auth/corp/oidc/callback?", other)).await?;
        ensure!(told.code == 404, "{other}: {told:?}");
    }
    ensure!(open(&back).await?.code == 200, "the browser is back");
    let (code, printed, said) = waiting.end()?;
    ensure!(code == Some(0), "{code:?} {printed} {said}");
    Ok(())
}
