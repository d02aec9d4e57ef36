//! The login, in three steps: what is to be asked is found, it is asked outside of any plan, and the plan rests on the answer.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::ObjectId;
use serde_json::Value;

use super::config::Config;
use super::review::{self, Answered, Review};
use super::role::Role;
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::jwt::{KeySet, Reason, Token};
use crate::kept;
use crate::token::Login;
use crate::voucher::Voucher;

/// What is to be asked and verified.
pub struct Challenge {
    keys: KeySet,
    review: Option<Review>,
    basis: [u8; 32],
}

/// What was found out, by the configuration and the role of then.
pub struct Verified {
    basis: Option<[u8; 32]>,
    found: Result<Known, Reason>,
}

/// What is known of a token.
struct Known {
    /// What it claims, if its signature was verified here.
    claims: Option<Value>,
    /// What the API server says of it, if it was asked.
    answered: Option<Answered>,
}

impl Challenge {
    /// Verifies what can be verified here; gives what is to be asked, if it goes on.
    ///
    /// # Errors
    /// What became of it already.
    pub fn begin(self, request: &Voucher) -> Result<Pending, Verified> {
        let refused = |reason| Verified {
            basis: Some(self.basis),
            found: Err(reason),
        };
        if request.jwt().len() > JWT_BYTES_MAX || request.jwt().expose_str().is_none() {
            return Err(refused(Reason("malformed")));
        }
        let mut claims = None;
        if !self.keys.is_empty() {
            let token = Token::parse(request.jwt().expose()).map_err(&refused)?;
            self.keys.verify(&token, &[]).map_err(&refused)?;
            claims = Some(token.into_claims());
        }
        Ok(Pending {
            basis: self.basis,
            claims,
            review: self.review,
        })
    }
}

/// A login whose token was verified here, if it is, and is to be reviewed, if it is.
pub struct Pending {
    basis: [u8; 32],
    claims: Option<Value>,
    /// What is to be asked.
    pub review: Option<Review>,
}

impl Pending {
    /// What became of it.
    #[must_use]
    pub fn conclude(self, answered: Option<Answered>) -> Verified {
        Verified {
            basis: Some(self.basis),
            found: Ok(Known {
                claims: self.claims,
                answered,
            }),
        }
    }
}

impl Verified {
    /// There was nothing to ask: no configuration, or no such role.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            basis: None,
            found: Err(Reason("role")),
        }
    }
}

/// The first step: finds what is to be asked and verified. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(txn: &mut Txn<'_>, mount: ObjectId, request: &Voucher) -> Result<Option<Challenge>, DamagedRow> {
    let Some((config, role)) = find(txn, mount, request)? else {
        return Ok(None);
    };
    let basis = basis(&config, &role);
    let config = config.value;
    let review = (!config.host.is_empty()).then(|| Review {
        url: format!("{}{REVIEWS}", config.host.trim_end_matches('/')),
        authority_pem: config.ca_cert.clone(),
        bearer: match config.reviewer.is_empty() {
            true => request.jwt().duplicate(),
            false => config.reviewer.duplicate(),
        },
        body: review::question(request.jwt(), &role.value.audience),
    });
    Ok(Some(Challenge {
        keys: KeySet::of_pem(&config.pem_keys).ok_or(DamagedRow)?,
        review,
        basis,
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
    let found = find(txn, mount, request)?;
    // What was asked by is what stands: the plan depends on these very rows from here on.
    if found.as_ref().map(|(config, role)| basis(config, role)) != verified.basis {
        return Err(LoginError::Stale);
    }
    let known = verified.found.as_ref().map_err(|reason| refused(*reason))?;
    let (config, role) = found.ok_or_else(|| refused(Reason("role")))?;
    let (config, source, role) = (config.value, role.id, role.value);
    let claimed = known
        .claims
        .as_ref()
        .map(|claims| review::account_of_claims(claims, &role.audience, &config.issuer, txn.now().0).map_err(refused));
    let reviewed = known
        .answered
        .as_ref()
        .map(|answered| review::account(answered, &role.audience).map_err(refused));
    let account = match (claimed.transpose()?, reviewed.transpose()?) {
        (Some(claimed), Some(reviewed)) if claimed.name != reviewed.name || claimed.namespace != reviewed.namespace => {
            return Err(refused(Reason("another account")));
        }
        (_, Some(account)) | (Some(account), None) => account,
        (None, None) => return Err(refused(Reason("nobody vouches"))),
    };
    if !role.is_bound(&account) {
        return Err(refused(Reason("service account")));
    }
    let alias = role.alias(&account).ok_or_else(|| refused(Reason("no uid")))?;
    if !is_allowed(&role.params.bound_cidrs, client_address) {
        return Err(refused(Reason("address")));
    }
    let metadata = [
        ("role", role.name.clone()),
        ("service_account_name", account.name.clone()),
        ("service_account_namespace", account.namespace.clone()),
        ("service_account_secret_name", String::new()),
        ("service_account_uid", account.uid),
    ];
    Ok(Login {
        mount,
        path: "login".to_owned(),
        alias,
        display_name: format!("{}-{}", account.namespace, account.name),
        metadata: metadata
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        params: role.params,
        source: Some(source),
        entity: None,
        groups: Vec::new(),
    })
}

type Basis = (kept::Found<Config>, kept::Found<Role>);

fn find(txn: &mut Txn<'_>, mount: ObjectId, request: &Voucher) -> Result<Option<Basis>, DamagedRow> {
    let Some(config) = kept::config::<Config>(txn, mount)? else {
        return Ok(None);
    };
    let Some(name) = request.role() else { return Ok(None) };
    Ok(kept::role::<Role>(txn, mount, &name)?.map(|role| (config, role)))
}

fn basis(config: &kept::Found<Config>, role: &kept::Found<Role>) -> [u8; 32] {
    aumbry_crypto::sha256(&[&config.digest, &role.digest])
}

/// Below the address of the API server.
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// As long as any token.
const JWT_BYTES_MAX: usize = 32 << 10;
