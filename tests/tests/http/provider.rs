//! An OpenID provider: it lets in whoever comes, and gives an ID token for a code, once, to the client that asked for it. The tests of the command line
//! include this file too.

#![allow(dead_code, reason = "not all who include this file use all of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aumbry_crypto::sha256;
use aumbry_tests::{Authority, WebAsked, WebReply, WebStub, connect};
use aumbry_types::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::signer::Signer;

/// The client that it knows, with what needs to be encoded in it.
pub(crate) const CLIENT: &str = "aumbry client";
pub(crate) const SECRET: &str = "canary:of-the-client:s3cret/+%";

/// The provider.
pub(crate) struct Provider {
    pub(crate) authority: Authority,
    stub: WebStub,
    knows: Arc<Mutex<Knows>>,
}

struct Knows {
    address: String,
    signer: Signer,
    /// By code.
    granted: BTreeMap<String, BTreeMap<String, String>>,
    count: u64,
    /// Claims instead of or beside the usual ones.
    further: Value,
    /// Whether a code is good more than once, as with providers that forget.
    is_lax: bool,
    /// Whether the client has a secret.
    has_secret: bool,
    /// What the token endpoint does instead of its work.
    instead: Option<fn() -> WebReply>,
    exchanged: u64,
    /// How often codes were shown to it.
    asked: u64,
    /// What nobody else may ever see.
    secrets: Vec<String>,
}

impl Provider {
    pub(crate) async fn start() -> Result<Self> {
        let authority = Authority::make()?;
        let knows = Arc::new(Mutex::new(Knows {
            address: String::new(),
            signer: Signer::make("k1", "ES256"),
            granted: BTreeMap::new(),
            count: 0,
            further: json!({}),
            is_lax: false,
            has_secret: true,
            instead: None,
            exchanged: 0,
            asked: 0,
            secrets: vec![SECRET.to_owned()],
        }));
        let own = Arc::clone(&knows);
        let stub = WebStub::start(&authority, move |asked| {
            own.lock().unwrap_or_else(PoisonError::into_inner).answer(asked)
        })
        .await?;
        let provider = Self { authority, stub, knows };
        provider.knows().address.clone_from(&provider.stub.address);
        Ok(provider)
    }

    fn knows(&self) -> std::sync::MutexGuard<'_, Knows> {
        self.knows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer.
    pub(crate) fn address(&self) -> String {
        self.stub.address.clone()
    }

    /// The configuration of a mount that lets in by it.
    pub(crate) fn config(&self) -> Value {
        json!({
            "oidc_discovery_url": self.stub.address,
            "oidc_discovery_ca_pem": self.authority.pem(),
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
        })
    }

    /// From now on an ID token claims this.
    pub(crate) fn claims(&self, further: Value) {
        self.knows().further = further;
    }

    /// From now on it signs with another key than it tells.
    pub(crate) fn forge(&self) -> Signer {
        std::mem::replace(&mut self.knows().signer, Signer::make("k1", "ES256"))
    }

    /// From now on it signs with this one.
    pub(crate) fn sign_with(&self, signer: Signer) {
        self.knows().signer = signer;
    }

    /// From now on a code is good more than once.
    pub(crate) fn is_lax(&self) {
        self.knows().is_lax = true;
    }

    /// From now on its client has no secret.
    pub(crate) fn has_public_client(&self) {
        self.knows().has_secret = false;
    }

    /// From now on the token endpoint does this, or its work again.
    pub(crate) fn instead(&self, instead: Option<fn() -> WebReply>) {
        self.knows().instead = instead;
    }

    /// How many codes were exchanged.
    pub(crate) fn exchanged(&self) -> u64 {
        self.knows().exchanged
    }

    /// How often codes were shown to it, good or bad.
    pub(crate) fn asked(&self) -> u64 {
        self.knows().asked
    }

    /// What must be found nowhere.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.knows().secrets.clone()
    }

    /// Opens an address as a browser does; gives the address that the browser is sent to.
    pub(crate) async fn visit(&self, url: &str) -> Result<String> {
        let rest = url.strip_prefix("https://").context("it is of HTTPS")?;
        let (place, path) = rest.split_once('/').context("it has a path")?;
        ensure!(
            format!("https://{place}") == self.stub.address,
            "it leads elsewhere: {url}"
        );
        let mut stream = connect(place, self.authority.pem(), "http/1.1").await?;
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        Ok(location.with_context(|| format!("no way back: {answer}"))?.to_owned())
    }
}

impl Knows {
    fn answer(&mut self, asked: &WebAsked) -> WebReply {
        let (line, query) = asked.line.split_once('?').unwrap_or((&asked.line, ""));
        let wrong = |error: &str| WebReply::Json(400, json!({ "error": error }));
        match line {
            "GET /.well-known/openid-configuration" => WebReply::Json(
                200,
                json!({
                    "issuer": self.address,
                    "jwks_uri": format!("{}/keys", self.address),
                    "authorization_endpoint": format!("{}/authorize?tenant=1", self.address),
                    "token_endpoint": format!("{}/token", self.address),
                    "authorization_response_iss_parameter_supported": true,
                }),
            ),
            "GET /keys" => WebReply::Json(200, json!({ "keys": [self.signer.jwk()] })),
            "GET /authorize" => self.authorize(query).unwrap_or_else(|| wrong("invalid_request")),
            "POST /token" => {
                self.asked += 1;
                match self.instead {
                    Some(instead) => instead(),
                    None => self.exchange(asked).unwrap_or_else(wrong),
                }
            }
            _ => WebReply::Json(404, json!({})),
        }
    }

    /// Sends the browser back with a code, if all is as it must be.
    fn authorize(&mut self, query: &str) -> Option<WebReply> {
        let asked = parameters(query)?;
        let is = |name: &str, value: &str| asked.get(name).is_some_and(|told| told == value);
        let long = |name: &str| asked.get(name).is_some_and(|told| told.len() >= 43);
        let is_fine = is("tenant", "1")
            && is("response_type", "code")
            && is("client_id", CLIENT)
            && is("code_challenge_method", "S256")
            && asked.get("scope")?.split(' ').any(|scope| scope == "openid")
            && long("code_challenge")
            && long("nonce")
            && long("state");
        if !is_fine {
            return None;
        }
        self.count += 1;
        let code = format!("canary/of+the/code/{:024}", self.count);
        let (back, state) = (asked.get("redirect_uri")?.clone(), asked.get("state")?.clone());
        self.granted.insert(code.clone(), asked);
        self.secrets.push(code.clone());
        let issuer = self.address.replace(':', "%3A").replace('/', "%2F");
        let code = code.replace('/', "%2F").replace('+', "%2B");
        Some(WebReply::Redirect(format!(
            "{back}?code={code}&state={state}&iss={issuer}"
        )))
    }

    /// Gives tokens for a code to who asked for it.
    fn exchange(&mut self, asked: &WebAsked) -> Result<WebReply, &'static str> {
        let form = parameters(&asked.text).ok_or("invalid_request")?;
        let field = |name: &str| form.get(name).map(String::as_str).ok_or("invalid_request");
        let is_client = match self.has_secret {
            true => basic(&asked.credential).is_some_and(|(id, secret)| id == CLIENT && secret == SECRET),
            false => asked.credential.is_empty() && field("client_id")? == CLIENT,
        };
        if !is_client {
            return Err("invalid_client");
        }
        let code = field("code")?;
        let granted = self.granted.get(code).ok_or("invalid_grant")?.clone();
        let verifier = field("code_verifier")?;
        let challenge = URL_SAFE_NO_PAD.encode(sha256(&[verifier.as_bytes()]));
        let is_asked = field("grant_type")? == "authorization_code"
            && granted.get("redirect_uri").map(String::as_str) == Some(field("redirect_uri")?)
            && granted.get("code_challenge") == Some(&challenge);
        if !is_asked {
            return Err("invalid_grant");
        }
        if !self.is_lax {
            self.granted.remove(code);
        }
        self.exchanged += 1;
        let access_token = format!("canary-of-the-access-token-{:024}", self.exchanged);
        let hash = sha256(&[access_token.as_bytes()]);
        let now = SystemClock.wall().0 / 1_000;
        let mut claims = json!({
            "iss": self.address, "aud": CLIENT, "sub": "248289761001", "email": "ann@example.com", "groups": ["ops"],
            "iat": now, "exp": now + 300, "auth_time": now, "nonce": granted["nonce"],
            "at_hash": URL_SAFE_NO_PAD.encode(&hash[..16]),
        });
        for (name, value) in self.further.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        let id_token = self.signer.sign(&claims);
        self.secrets
            .extend([verifier.to_owned(), access_token.clone(), id_token.clone()]);
        Ok(WebReply::Json(
            200,
            json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token }),
        ))
    }
}

/// The name and the password of a client, each encoded before they were put together.
fn basic(credential: &str) -> Option<(String, String)> {
    let pair = STANDARD.decode(credential.strip_prefix("Basic ")?).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decode(id)?, decode(secret)?))
}

/// What stands in an address or a form.
pub(crate) fn parameters(query: &str) -> Option<BTreeMap<String, String>> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}
