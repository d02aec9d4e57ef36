//! The login, in three steps: what is to be verified is found, it is verified outside of any plan, and the plan rests on it.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_crypto::jws::Algorithm;
use aumbry_types::{Name, ObjectId};
use serde_json::Value;

use super::config::{Config, KeySource};
use super::keys::KeySet;
use super::role::Role;
use super::{Reason, Token, claims};
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::kept;
use crate::token::Login;
use crate::voucher::Voucher;

/// What is to be verified, and by what.
pub struct Challenge {
    source: KeySource,
    algorithms: Vec<Algorithm>,
    config: [u8; 32],
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

    /// What became of it.
    #[must_use]
    pub fn conclude(self, verified: Result<Token, Reason>) -> Verified {
        Verified {
            config: Some(self.config),
            claims: verified.map(Token::into_claims),
        }
    }
}

/// The first step: finds what is to be verified by. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(txn: &mut Txn<'_>, mount: ObjectId) -> Result<Option<Challenge>, DamagedRow> {
    let Some(found) = kept::config::<Config>(txn, mount)? else {
        return Ok(None);
    };
    Ok(Some(Challenge {
        source: found.value.source().ok_or(DamagedRow)?,
        algorithms: found.value.algorithms(),
        config: found.digest,
    }))
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
    let refused = |Reason(why)| LoginError::Because(why);
    let config = kept::config::<Config>(txn, mount)?;
    // What was verified by is what stands: the plan depends on this very row from here on.
    if config.as_ref().map(|found| found.digest) != verified.config {
        return Err(LoginError::Stale);
    }
    let claims = verified.claims.as_ref().map_err(|reason| refused(*reason))?;
    let config = config.ok_or_else(|| refused(Reason("no configuration")))?.value;
    if !config.is_issuer(claims.get("iss").and_then(Value::as_str)) {
        return Err(refused(Reason("issuer")));
    }
    let name = match request.role_text().unwrap_or_default() {
        "" => &config.default_role,
        role => role,
    };
    let name = Name::parse(name).map_err(|_| refused(Reason("role")))?;
    let found = kept::role::<Role>(txn, mount, &name)?.ok_or_else(|| refused(Reason("role")))?;
    let role = found.value;
    claims::check(claims, &role, txn.now().0).map_err(refused)?;
    let user = claims::user(claims, &role).map_err(refused)?;
    let groups = claims::groups(claims, &role).map_err(refused)?;
    let metadata = claims::metadata(claims, &role).map_err(refused)?;
    if !is_allowed(&role.params.bound_cidrs, client_address) {
        return Err(refused(Reason("address")));
    }
    Ok(Login {
        mount,
        path: "login".to_owned(),
        display_name: user.clone(),
        alias: user,
        metadata,
        params: role.params,
        source: Some(found.id),
        entity: None,
        groups,
    })
}
