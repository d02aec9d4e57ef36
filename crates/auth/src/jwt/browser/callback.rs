//! The end: what the issuer sent the browser back with.

use std::sync::OnceLock;

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::{Body, FieldError};
use aumbry_types::{Name, ObjectId, SecretBytes};
use serde_json::Value;

use super::begin::basis;
use super::exchange::{Exchange, Tokens};
use super::state::State;
use crate::answer::LoginError;
use crate::jwt::claims::Audience;
use crate::jwt::config::Config;
use crate::jwt::login::{Claimed, challenge};
use crate::jwt::role::{Role, RoleType};
use crate::jwt::{Reason, Verified};
use crate::kept::{self, Found};
use crate::token::Login;

/// What the browser came back with, and what whoever asked for it shows.
pub struct Callback {
    state: SecretBytes,
    code: SecretBytes,
    client_nonce: SecretBytes,
    /// Who says that it sent the browser (RFC 9207); empty if nobody does. `None` of a client that does not hand on who does.
    issuer: Option<String>,
    error: Option<&'static str>,
    exchanged: OnceLock<Result<Tokens, Reason>>,
}

impl Callback {
    /// Reads a request to `oidc/callback`.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(body: &Body) -> Result<Self, LoginError> {
        let secret = |field| {
            body.secret(field)
                .map(|secret| secret.filter(|secret| !secret.is_empty()))
        };
        let error = body.text("error")?.filter(|error| !error.is_empty());
        let code = secret("code")?;
        if code.is_none() && error.is_none() {
            return Err(FieldError::Missing("code").into());
        }
        Ok(Self {
            state: secret("state")?.ok_or(FieldError::Missing("state"))?,
            code: code.unwrap_or_default(),
            client_nonce: secret("client_nonce")?.unwrap_or_default(),
            issuer: body.text("iss")?,
            error: error.as_deref().map(known_error),
            exchanged: OnceLock::new(),
        })
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &SecretBytes {
        &self.state
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &SecretBytes {
        &self.code
    }

    /// What was shown when it began.
    #[must_use]
    pub const fn client_nonce(&self) -> &SecretBytes {
        &self.client_nonce
    }

    /// What the issuer says went wrong, if it does: one of the words that it can be.
    #[must_use]
    pub const fn error(&self) -> Option<&'static str> {
        self.error
    }

    /// What the issuer gave for the code, if it was asked already: it gives something once.
    #[must_use]
    pub fn exchanged(&self) -> Option<&Result<Tokens, Reason>> {
        self.exchanged.get()
    }

    /// Keeps what the issuer gave for the code, for as long as the request takes. What was kept before stays.
    pub fn keep(&self, given: Result<Tokens, Reason>) -> &Result<Tokens, Reason> {
        self.exchanged.get_or_init(|| given)
    }
}

/// The errors of RFC 6749, section 4.1.2.1, and OpenID Connect Core, section 3.1.2.6. What is none is not repeated.
fn known_error(text: &str) -> &'static str {
    let known = ERRORS.into_iter().find(|known| *known == text);
    known.unwrap_or("an error that has no name")
}

const ERRORS: [&str; 16] = [
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_request_object",
    "invalid_request_uri",
    "invalid_scope",
    "login_required",
    "registration_not_supported",
    "request_not_supported",
    "request_uri_not_supported",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
];

/// A state that is good, and what it rests on.
struct Opened {
    state: State,
    config: Found<Config>,
    role: Found<Role>,
}

fn open(txn: &mut Txn<'_>, mount: ObjectId, request: &Callback) -> Result<Opened, LoginError> {
    let because = LoginError::Because;
    let state = State::open(txn, mount, &request.state).ok_or_else(|| because("state"))?;
    if state.is_expired(txn.now()) {
        return Err(because("expired state"));
    }
    if !state.is_of(&request.client_nonce) {
        return Err(because("client nonce"));
    }
    let changed = because("configuration or role changed");
    let Some(config) = kept::config::<Config>(txn, mount)? else {
        return Err(changed);
    };
    let role = match Name::parse(&state.role) {
        Ok(name) => kept::role::<Role>(txn, mount, &name)?,
        Err(_) => None,
    };
    let Some(role) = role.filter(|role| basis(&config, role) == state.basis) else {
        return Err(changed);
    };
    let asked = config.value.provider().ok_or(changed)?;
    // Two issuers that serve one client must not be taken for one another.
    let told = request.issuer.as_deref().filter(|told| !told.is_empty());
    if told.is_some_and(|told| told.trim_end_matches('/') != asked.url.trim_end_matches('/')) {
        return Err(because("issuer of the answer"));
    }
    if state.is_used(txn)? {
        return Err(because("used state"));
    }
    Ok(Opened { state, config, role })
}

/// The first step: finds what is to be exchanged, and where; or what is wrong already. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &Callback,
) -> Result<Result<Exchange, Verified>, DamagedRow> {
    let opened = match open(txn, mount, request) {
        Ok(opened) => opened,
        Err(LoginError::Because(why)) => return Ok(Err(Verified::refused(Reason(why)))),
        Err(_) => return Err(DamagedRow),
    };
    let config = &opened.config.value;
    Ok(Ok(Exchange {
        state: opened.state.id(),
        is_nameless: request.issuer.as_deref() == Some(""),
        remote: config.provider().ok_or(DamagedRow)?,
        client_id: config.client_id.clone(),
        client_secret: config.client_secret.duplicate(),
        code: request.code.duplicate(),
        redirect_uri: opened.state.redirect_uri.clone(),
        verifier: opened.state.verifier(),
        challenge: challenge(&opened.config)?,
    }))
}

/// The last step: the plan.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the login begins again with [`prepare`], and nothing is exchanged anew.
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &Callback,
    verified: &Verified,
    client_address: &str,
) -> Result<Login, LoginError> {
    if request.error.is_some() {
        return Err(LoginError::Because("issuer's error"));
    }
    let Opened { state, config, role } = open(txn, mount, request)?;
    if role.value.role_type != RoleType::Oidc {
        return Err(LoginError::Because("role type"));
    }
    let claims = verified.claims_by(Some(&config))?;
    check_id_token(claims, &config.value.client_id, &state.nonce()).map_err(|Reason(why)| LoginError::Because(why))?;
    let shown = Claimed {
        path: "oidc/callback",
        claims,
        audience: Audience::Client(&config.value.client_id),
    };
    let login = shown.login(txn, mount, role, client_address)?;
    state.use_up(txn);
    Ok(login)
}

/// What an ID token must have beside what any token must (OpenID Connect Core, section 3.1.3.7).
fn check_id_token(claims: &Value, client_id: &str, nonce: &str) -> Result<(), Reason> {
    let text = |name: &str| claims.get(name).filter(|value| !value.is_null());
    let told = text("nonce").and_then(Value::as_str).unwrap_or_default();
    if !aumbry_crypto::equal(told.as_bytes(), nonce.as_bytes()) {
        return Err(Reason("nonce"));
    }
    if text("exp").is_none() || text("iat").is_none() {
        return Err(Reason("no time"));
    }
    let is_for_many = claims
        .get("aud")
        .and_then(Value::as_array)
        .is_some_and(|audiences| audiences.len() > 1);
    match text("azp") {
        None if is_for_many => Err(Reason("authorized party")),
        Some(party) if party.as_str() != Some(client_id) => Err(Reason("authorized party")),
        _ => Ok(()),
    }
}
