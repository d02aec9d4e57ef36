//! The login, in three steps.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_crypto::password::PasswordHash;
use aumbry_logical::{Body, FieldError};
use aumbry_types::{Name, ObjectId, SecretBytes};

use super::request::PASSWORD_BYTES_MAX;
use super::user::Found;
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::lockout::Lockout;
use crate::token::Login;

/// What is shown at a login.
pub struct LoginRequest {
    /// Whose it is to be: in lower case, as all names are. `None` for what is no name, and so nobody's.
    user: Option<Name>,
    password: SecretBytes,
}

/// What is to be verified.
pub struct Challenge {
    hash: PasswordHash,
    is_known: bool,
}

/// What was verified.
pub struct Verified {
    hash: PasswordHash,
    is_known: bool,
    is_right: bool,
}

impl LoginRequest {
    /// Reads a request to `login/NAME`. The name is taken in any case, and then in lower case.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(path: &str, body: &Body) -> Result<Self, LoginError> {
        let user = path.strip_prefix("login/").unwrap_or_default();
        let password = body.secret("password")?.filter(|password| !password.is_empty());
        let password = password.ok_or(FieldError::Missing("password"))?;
        Ok(Self::new(user, password))
    }

    /// What is shown, without a path. The name is taken in any case.
    #[must_use]
    pub fn new(user: &str, password: SecretBytes) -> Self {
        Self {
            user: Name::parse(&user.to_ascii_lowercase()).ok(),
            password,
        }
    }

    /// Whose the login is to be, if it can be anybody's.
    #[must_use]
    pub const fn user(&self) -> Option<&Name> {
        self.user.as_ref()
    }

    /// The password, for the audit record's keyed digest of it.
    #[must_use]
    pub const fn password(&self) -> &SecretBytes {
        &self.password
    }
}

impl Challenge {
    /// Verifies the password: some 20 ms of a processor and 19 MiB, to be had outside of any plan, in a bounded pool.
    #[must_use]
    pub fn verify(self, request: &LoginRequest) -> Verified {
        let is_bounded = request.password.len() <= PASSWORD_BYTES_MAX;
        let shown = if is_bounded { request.password.expose() } else { &[] };
        let is_right = self.hash.verify(shown);
        Verified {
            hash: self.hash,
            is_known: self.is_known,
            is_right: is_right && is_bounded && self.is_known,
        }
    }
}

/// The first step: finds what is to be verified. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(txn: &mut Txn<'_>, mount: ObjectId, request: &LoginRequest) -> Result<Challenge, DamagedRow> {
    let found = match &request.user {
        Some(user) => Found::find(txn, mount, user)?,
        None => None,
    };
    let is_known = found.is_some();
    let hash = match found {
        Some(found) => found.user.hash()?,
        None => PasswordHash::of_nobody(),
    };
    Ok(Challenge { hash, is_known })
}

/// The last step: the plan. A failed login is counted though it is refused.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the login begins again with [`prepare`]; after [`LoginError::Counted`] the plan must be
/// applied, or nobody is ever locked.
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &LoginRequest,
    verified: &Verified,
    lockout: &Lockout,
    client_address: &str,
) -> Result<Login, LoginError> {
    let found = match &request.user {
        Some(user) => Found::find(txn, mount, user)?.map(|found| (user, found)),
        None => None,
    };
    let Some((user, found)) = found else {
        return Err(if verified.is_known {
            LoginError::Stale
        } else {
            LoginError::Refused(REFUSED)
        });
    };
    // What was verified is what stands: the plan depends on this very row from here on.
    if !verified.is_known || !found.user.hash()?.is_same(&verified.hash) {
        return Err(LoginError::Stale);
    }
    let now_ms = txn.now().0;
    if lockout.is_locked(found.failures(), now_ms) {
        return Err(LoginError::Refused(REFUSED));
    }
    // Before anything is counted: who is not where the user can log in from cannot lock it.
    if !is_allowed(&found.user.params.bound_cidrs, client_address) {
        return Err(LoginError::Refused(REFUSED));
    }
    if !verified.is_right {
        if lockout.is_disabled {
            return Err(LoginError::Refused(REFUSED));
        }
        let first = lockout.begins_anew(found.failures(), now_ms);
        found.count_failure(txn, first);
        return Err(LoginError::Counted(REFUSED));
    }
    found.forget_failures(txn);
    Ok(Login {
        mount,
        path: format!("login/{}", user.as_str()),
        alias: user.as_str().to_owned(),
        display_name: user.as_str().to_owned(),
        metadata: [("username".to_owned(), user.as_str().to_owned())].into(),
        source: Some(found.id),
        params: found.user.params,
        entity: None,
        groups: Vec::new(),
    })
}

/// As Vault says it, whatever was wrong.
const REFUSED: &str = "invalid username or password";
