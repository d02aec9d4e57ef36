//! The beginning: an address for the browser.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::{Body, FieldError};
use aumbry_types::{Name, ObjectId, SecretBytes};

use super::state::State;
use super::{redirect, text};
use crate::answer::LoginError;
use crate::jwt::config::Config;
use crate::jwt::role::{Role, RoleType};
use crate::jwt::{Provider, Remote};
use crate::kept::{self, Found};

/// Who wants to log in, and where the browser is to come back to.
pub struct Begin {
    /// As it was sent, in lower case; empty for the configured one.
    role: String,
    redirect_uri: String,
    /// What must be shown again at the end; empty if nothing is.
    client_nonce: SecretBytes,
}

impl Begin {
    /// Reads a request to `oidc/auth_url`.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(body: &Body) -> Result<Self, LoginError> {
        Ok(Self {
            role: body.text("role")?.unwrap_or_default().to_ascii_lowercase(),
            redirect_uri: body
                .text("redirect_uri")?
                .filter(|uri| !uri.is_empty())
                .ok_or(FieldError::Missing("redirect_uri"))?,
            client_nonce: body.secret("client_nonce")?.unwrap_or_default(),
        })
    }

    /// The role, as it was asked for, if it was.
    #[must_use]
    pub fn role_text(&self) -> Option<&str> {
        Some(self.role.as_str()).filter(|role| !role.is_empty())
    }

    /// The role, if it can be one.
    #[must_use]
    pub fn role(&self) -> Option<Name> {
        Name::parse(&self.role).ok()
    }

    /// Where the browser is to come back to.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// What must be shown again at the end.
    #[must_use]
    pub const fn client_nonce(&self) -> &SecretBytes {
        &self.client_nonce
    }
}

/// What is known of the issuer of a configuration.
pub struct Known<P> {
    /// The issuer; or, once it was asked, where it lets in people.
    pub provider: P,
    config: [u8; 32],
}

impl<P> Known<P> {
    /// The same configuration, with what was found out.
    pub fn with<Q>(&self, provider: Q) -> Known<Q> {
        Known {
            provider,
            config: self.config,
        }
    }
}

/// What came of it.
pub struct Begun {
    /// The address; empty if there is none for whoever asked, who is not told why.
    pub url: String,
    /// Why there is none, for the record; else nothing.
    pub why: &'static str,
}

/// Why nothing came of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// There are no logins by a browser at this mount.
    #[error("{}", super::NOT_SET_UP)]
    NotSetUp,
    /// There is neither a role nor a configured one.
    #[error("role is required: this mount has no default_role")]
    NoRole,
    /// The issuer was asked by another configuration: it begins again.
    #[error("the configuration changed meanwhile; try again")]
    Stale,
    /// Browsers and servers in between would cut it.
    #[error(
        "the address of the issuer would have over 2,000 characters: use a shorter redirect_uri, or fewer oidc_scopes in the role"
    )]
    TooLong,
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

/// The first step: finds the issuer. `None` if logins by a browser are not set up.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare_begin(txn: &mut Txn<'_>, mount: ObjectId) -> Result<Option<Known<Remote>>, DamagedRow> {
    let config = kept::config::<Config>(txn, mount)?;
    Ok(config.and_then(|config| {
        Some(Known {
            provider: config.value.provider()?,
            config: config.digest,
        })
    }))
}

/// The last step. It stores nothing.
///
/// # Errors
/// [`BeginError`]: after [`BeginError::Stale`] it begins again with [`prepare_begin`].
pub fn begin(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &Begin,
    known: Option<&Known<Provider>>,
) -> Result<Begun, BeginError> {
    let config = kept::config::<Config>(txn, mount)?;
    let config = config.filter(|config| config.value.provider().is_some());
    if config.as_ref().map(|config| config.digest) != known.map(|known| known.config) {
        return Err(BeginError::Stale);
    }
    let (Some(config), Some(known)) = (config, known) else {
        return Err(BeginError::NotSetUp);
    };
    let nothing = |why| {
        Ok(Begun {
            url: String::new(),
            why,
        })
    };
    let name = request.role_text().unwrap_or(&config.value.default_role);
    if name.is_empty() {
        return Err(BeginError::NoRole);
    }
    let Ok(name) = Name::parse(name) else {
        return nothing("role");
    };
    let Some(role) = kept::role::<Role>(txn, mount, &name)? else {
        return nothing("role");
    };
    if role.value.role_type != RoleType::Oidc {
        return nothing("role type");
    }
    if !redirect::is_allowed(&role.value.allowed_redirect_uris, &request.redirect_uri) {
        return nothing("redirect uri");
    }
    let basis = basis(&config, &role);
    let state = State::make(txn, name.as_str(), &request.redirect_uri, &request.client_nonce, basis);
    let url = address(txn, mount, &state, &config.value, &role.value, &known.provider);
    if url.len() > URL_BYTES_MAX {
        return Err(BeginError::TooLong);
    }
    Ok(Begun { url, why: "" })
}

/// What a state rests on.
pub(super) fn basis(config: &Found<Config>, role: &Found<Role>) -> [u8; 32] {
    aumbry_crypto::sha256(&[&config.digest, &role.digest])
}

fn address(txn: &Txn<'_>, mount: ObjectId, state: &State, config: &Config, role: &Role, provider: &Provider) -> String {
    let mut scope = "openid".to_owned();
    for further in role.scopes.iter().filter(|scope| *scope != "openid") {
        scope.push(' ');
        scope.push_str(further);
    }
    let (sealed, nonce, challenge) = (state.seal(txn, mount), state.nonce(), state.challenge());
    let max_age = role.max_age_s.to_string();
    let mut pairs: Vec<(&str, &[u8])> = vec![
        ("response_type", b"code"),
        ("client_id", config.client_id.as_bytes()),
        ("redirect_uri", state.redirect_uri.as_bytes()),
        ("scope", scope.as_bytes()),
        ("state", sealed.as_bytes()),
        ("nonce", nonce.as_bytes()),
        ("code_challenge", challenge.as_bytes()),
        ("code_challenge_method", b"S256"),
    ];
    if role.max_age_s > 0 {
        pairs.push(("max_age", max_age.as_bytes()));
    }
    let query = text::pairs(&pairs);
    let endpoint = provider.authorization.as_str();
    let joint = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{joint}{}", query.expose_str().unwrap_or_default())
}

/// What every browser and every server in between takes.
const URL_BYTES_MAX: usize = 2_000;
