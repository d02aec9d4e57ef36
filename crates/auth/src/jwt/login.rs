//! The login, in three steps: what is to be verified is found, it is verified outside of any plan, and the plan rests on it.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_crypto::jws::Algorithm;
use aumbry_types::{Name, ObjectId, SecretBytes};
use serde_json::Value;

use super::browser::access;
use super::claims::Audience;
use super::config::{Config, KeySource};
use super::keys::KeySet;
use super::role::{Role, RoleType};
use super::{Reason, Token, claims};
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::kept::{self, Found};
use crate::token::Login;
use crate::voucher::Voucher;

/// What is to be verified, and by what.
pub struct Challenge {
    source: KeySource,
    algorithms: Vec<Algorithm>,
    config: [u8; 32],
    /// What the issuer gave along with the token, which the token may say a hash of.
    beside: Option<SecretBytes>,
}

/// What was verified, by the configuration of then.
pub struct Verified {
    config: Option<[u8; 32]>,
    claims: Result<Value, Reason>,
}

impl Verified {
    /// There was nothing to verify by: no configuration.
    #[must_use]
    pub const fn unconfigured() -> Self {
        Self {
            config: None,
            claims: Err(Reason("no configuration")),
        }
    }

    /// There was nothing to verify, for this reason.
    pub(super) const fn refused(reason: Reason) -> Self {
        Self {
            config: None,
            claims: Err(reason),
        }
    }
}

impl Challenge {
    /// Where the keys are.
    #[must_use]
    pub const fn source(&self) -> &KeySource {
        &self.source
    }

    /// Verifies the signature.
    ///
    /// # Errors
    /// [`Reason`]; [`Reason::may_be_new`] says whether newer keys could change that.
    pub fn verify(&self, token: &Token, keys: &KeySet) -> Result<(), Reason> {
        keys.verify(token, &self.algorithms)
    }

    /// The same, for a token that was given along with an access token.
    pub(super) fn beside(mut self, access_token: SecretBytes) -> Self {
        self.beside = Some(access_token);
        self
    }

    /// What became of it.
    #[must_use]
    pub fn conclude(self, verified: Result<Token, Reason>) -> Verified {
        let fits = |token: Token| match &self.beside {
            Some(access_token) => access::check(&token, access_token).map(|()| token),
            None => Ok(token),
        };
        Verified {
            config: Some(self.config),
            claims: verified.and_then(fits).map(Token::into_claims),
        }
    }
}

/// The first step: finds what is to be verified by. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(txn: &mut Txn<'_>, mount: ObjectId) -> Result<Option<Challenge>, DamagedRow> {
    let config = kept::config::<Config>(txn, mount)?;
    config.as_ref().map(challenge).transpose()
}

/// What is to be verified by this configuration.
pub(super) fn challenge(config: &Found<Config>) -> Result<Challenge, DamagedRow> {
    Ok(Challenge {
        source: config.value.source().ok_or(DamagedRow)?,
        algorithms: config.value.algorithms(),
        config: config.digest,
        beside: None,
    })
}

/// The last step: the plan.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the login begins again with [`prepare`].
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &Voucher,
    verified: &Verified,
    client_address: &str,
) -> Result<Login, LoginError> {
    let config = kept::config::<Config>(txn, mount)?;
    let claims = verified.claims_by(config.as_ref())?;
    let config = config.ok_or(LoginError::Because("no configuration"))?.value;
    let name = match request.role_text().unwrap_or_default() {
        "" => &config.default_role,
        role => role,
    };
    let name = Name::parse(name).map_err(|_| LoginError::Because("role"))?;
    let role = kept::role::<Role>(txn, mount, &name)?.ok_or(LoginError::Because("role"))?;
    if role.value.role_type != RoleType::Jwt {
        return Err(LoginError::Because("role type"));
    }
    let shown = Claimed {
        path: "login",
        claims,
        audience: Audience::Bound,
    };
    shown.login(txn, mount, role, client_address)
}

impl Verified {
    /// What is claimed, if it was verified by the configuration that stands, and is of its issuer.
    pub(super) fn claims_by(&self, config: Option<&Found<Config>>) -> Result<&Value, LoginError> {
        // What was verified by is what stands: the plan depends on this very row from here on.
        if config.map(|found| found.digest) != self.config {
            return Err(LoginError::Stale);
        }
        let claims = self.claims.as_ref().map_err(|Reason(why)| LoginError::Because(why))?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        match config {
            Some(config) if !config.value.is_issuer(issuer) => Err(LoginError::Because("issuer")),
            _ => Ok(claims),
        }
    }
}

/// What a verified token claims, and where and for whom it came.
pub(super) struct Claimed<'a> {
    /// The path of the request below the mount's.
    pub(super) path: &'static str,
    pub(super) claims: &'a Value,
    pub(super) audience: Audience<'a>,
}

impl Claimed<'_> {
    /// Who gets in, if it has all that the role demands.
    pub(super) fn login(
        &self,
        txn: &Txn<'_>,
        mount: ObjectId,
        role: Found<Role>,
        client_address: &str,
    ) -> Result<Login, LoginError> {
        let refused = |Reason(why)| LoginError::Because(why);
        let (source, role) = (role.id, role.value);
        claims::check(self.claims, &role, self.audience, txn.now().0).map_err(refused)?;
        let user = claims::user(self.claims, &role).map_err(refused)?;
        let groups = claims::groups(self.claims, &role).map_err(refused)?;
        let metadata = claims::metadata(self.claims, &role).map_err(refused)?;
        if !is_allowed(&role.params.bound_cidrs, client_address) {
            return Err(LoginError::Because("address"));
        }
        Ok(Login {
            mount,
            path: self.path.to_owned(),
            display_name: user.clone(),
            alias: user,
            metadata,
            params: role.params,
            source: Some(source),
            entity: None,
            groups,
        })
    }
}
