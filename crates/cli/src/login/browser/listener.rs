//! What the browser is answered on this machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use aumbry_types::percent;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::owner;

/// What is waited for.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    /// Where the browser comes back to.
    pub(super) path: &'a str,
    /// With what.
    pub(super) state: &'a str,
    /// A path from which it is sent to an address, once, if it is the user's own.
    pub(super) start: Option<(&'a str, &'a str)>,
}

/// What a browser is answered.
enum Told<'a> {
    /// It is sent to the issuer.
    Sent(&'a str),
    /// A page.
    Page(&'static str, &'static str),
}

/// Waits for the browser. Whatever else connects is answered, and is nothing.
pub(super) async fn come_back(listener: &TcpListener, mut expected: Expected<'_>) -> Result<Map<String, Value>> {
    loop {
        let (stream, _) = listener.accept().await?;
        // Browsers open connections that they do not use.
        let served = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, &mut expected)).await;
        if let Ok(Ok(Some(answer))) = served {
            return Ok(answer);
        }
    }
}

/// Serves one request; gives what the browser came back with, if it is that.
async fn serve(mut stream: TcpStream, expected: &mut Expected<'_>) -> std::io::Result<Option<Map<String, Value>>> {
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
    let is_back = path == expected.path;
    let answer = is_back.then(|| parameters(query)).flatten();
    let answer = answer.filter(|answer| answer.get("state").is_some_and(|told| told == expected.state));
    let told = match expected.start {
        _ if answer.is_some() => Told::Page("200 OK", COME_BACK),
        _ if is_back => Told::Page("400 Bad Request", NOT_THIS),
        // All who list processes can see the path. Nobody else is sent on, so nobody takes the one time from the user's own browser.
        Some((start, _)) if target == start && !owner::is_own(&stream) => Told::Page("403 Forbidden", NOT_YOURS),
        Some((start, address)) if target == start => {
            expected.start = None;
            Told::Sent(address)
        }
        _ => Told::Page("404 Not Found", NOTHING),
    };
    let (code, location, page) = match told {
        Told::Sent(address) => ("302 Found", format!("Location: {address}\r\n"), ""),
        Told::Page(code, page) => (code, String::new(), page),
    };
    let reply = format!(
        "HTTP/1.1 {code}\r\n{location}Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
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
pub(super) fn parameters(query: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (name, value) in percent::decode_query(query)? {
        if found.insert(name, value).is_some() {
            return None;
        }
    }
    Some(found)
}

/// What is handed on.
const TAKEN: [&str; 4] = ["code", "error", "iss", "state"];
/// A browser on this machine has sent its request long before.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Codes of some issuers have several kilobytes, and so have cookies of other programs on this machine.
const HEAD_BYTES_MAX: usize = 64 << 10;
const COME_BACK: &str = "<!doctype html><title>Aumbry</title><p>The issuer has answered. You can close this page and go back to the terminal.</p>\n";
const NOT_THIS: &str =
    "<!doctype html><title>Aumbry</title><p>This is not the login that waits here. Begin again in the terminal.</p>\n";
const NOT_YOURS: &str = "<!doctype html><title>Aumbry</title><p>This browser is not known to be yours. Open the address that the terminal shows.</p>\n";
const NOTHING: &str = "<!doctype html><title>Aumbry</title><p>There is nothing here.</p>\n";

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'_> = Expected {
        path: "/auth/oidc/oidc/callback",
        state: "s1",
        start: Some(("/start/x1", "https://issuer.example/?state=s1")),
    };

    /// What a browser is answered, and whether that was the answer to the login.
    async fn ask(expected: &mut Expected<'_>, request: &str) -> (String, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut browser = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        browser.write_all(request.as_bytes()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let served = serve(stream, expected).await.unwrap();
        let mut told = String::new();
        browser.read_to_string(&mut told).await.unwrap();
        (told, served.is_some())
    }

    fn request(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    }

    #[tokio::test]
    async fn only_the_answer_to_this_login_is_taken_and_none_is_repeated() {
        for (target, code, is_answer) in [
            ("/auth/oidc/oidc/callback?code=c%2Fd&state=s1", "200", true),
            ("/auth/oidc/oidc/callback?error=access_denied&state=s1", "200", true),
            ("/auth/oidc/oidc/callback?code=canary&state=s2", "400", false),
            ("/auth/oidc/oidc/callback?code=canary", "400", false),
            ("/auth/oidc/oidc/callback?code=canary&state=s1&state=s1", "400", false),
            ("/auth/oidc/oidc/callback?code=%zz&state=s1", "400", false),
            // It was meant for another mount, whose issuer was handed this state by a hostile one.
            ("/auth/other/oidc/callback?code=canary&state=s1", "404", false),
            ("/oidc/callback?code=canary&state=s1", "404", false),
            ("/favicon.ico?canary", "404", false),
            ("/?state=s1&code=canary", "404", false),
        ] {
            let (told, is_taken) = ask(&mut EXPECTED.clone(), &request(target)).await;
            assert!(told.starts_with(&format!("HTTP/1.1 {code} ")), "{target}: {told}");
            assert!(!told.contains("canary") && !told.contains("s1"), "{target}: {told}");
            assert_eq!(is_taken, is_answer, "{target}");
        }
        let post = "POST /auth/oidc/oidc/callback?code=c&state=s1 HTTP/1.1\r\n\r\n";
        assert!(!ask(&mut EXPECTED.clone(), post).await.1);
    }

    #[tokio::test]
    async fn the_users_browser_is_sent_to_the_issuer_once() {
        let mut expected = EXPECTED;
        for target in ["/start/x2", "/start/x1?x", "/start/", "/start/x1/"] {
            let (told, _) = ask(&mut expected, &request(target)).await;
            assert!(told.starts_with("HTTP/1.1 404 ") && !told.contains("issuer"), "{told}");
        }
        let (told, is_answer) = ask(&mut expected, &request("/start/x1")).await;
        assert!(told.starts_with("HTTP/1.1 302 ") && !is_answer, "{told}");
        assert!(
            told.contains("\r\nLocation: https://issuer.example/?state=s1\r\n"),
            "{told}"
        );
        let (told, _) = ask(&mut expected, &request("/start/x1")).await;
        assert!(told.starts_with("HTTP/1.1 404 ") && !told.contains("issuer"), "{told}");
    }
}
