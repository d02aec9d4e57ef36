//! Requests that prove by themselves who may make them: logins, and the opening of wrapped replies.

use std::sync::Arc;

use aumbry_audit::Floor;
use aumbry_auth::identity::mfa;
use aumbry_auth::token::{self, UnwrapError};
use aumbry_auth::{LoginError, approle, cert, identity, jwt, kubernetes, ldap, userpass};
use aumbry_barrier::{DamagedRow, Txn};
use aumbry_types::{NamespacePath, ObjectId};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ceremony::generate_root;
use crate::method::{LoginAsk, Shown, Unwrapping, WrappedAsk};
use crate::mounts::{AuthCache, Mount};
use crate::pipeline::{Made, STALE, unrecorded};
use crate::vouchers::Asker;
use crate::{Class, Failure, Node, Operation, Reply, Request, browser, dedup, ops, quotas, restored};

/// Hashes of passwords that are computed at once, each of which takes a processor and 19 MiB; and those that wait for it.
pub(crate) struct Hashing {
    computing: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Default for Hashing {
    fn default() -> Self {
        Self {
            computing: Arc::new(Semaphore::new(HASHES_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }
}

impl Hashing {
    /// Runs a computation on a thread of its own, as soon as there is room for it.
    async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        // Anybody can ask for this: who waits has a place among the requests of all.
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(Failure::overloaded());
        };
        let place = tokio::time::timeout_at(deadline, Arc::clone(&self.computing).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Failure::overloaded());
        };
        let computed = tokio::task::spawn_blocking(move || {
            let computed = compute();
            drop(place);
            computed
        });
        computed
            .await
            .map_err(|_| Failure::internal("a password could not be hashed"))
    }
}

impl Node {
    /// Hashes the password in a request, if there is one, outside of any plan.
    ///
    /// # Errors
    /// [`Failure`] if too many are hashed already.
    pub async fn hash_password(
        &self,
        request: userpass::Request<aumbry_types::SecretBytes>,
        deadline: Instant,
    ) -> Result<userpass::Request, Failure> {
        if !request.has_password() {
            return Ok(request.hashed(&*self.entropy));
        }
        let entropy = Arc::clone(&self.entropy);
        self.hashing.run(deadline, move || request.hashed(&*entropy)).await
    }

    /// Verifies what is shown at a login, or at the renewal of what it gave, as far as that is done outside of any plan.
    pub(crate) async fn verify(&self, request: &Request) -> Result<Verified, Failure> {
        let ask = match &request.operation {
            Operation::Login(ask) => ask,
            Operation::TokenRenew(name, _) => return self.verify_renewal(request, name),
            // The disk is looked at for who may prune, and nobody else.
            Operation::AuditPrune(prune) if self.is_allowed(request) => {
                return Ok(Verified::Floor(Box::new(self.prepare_prune(prune))));
            }
            _ => return Ok(Verified::Nothing),
        };
        if ask.is_dear() {
            let address = &request.evidence.client_address;
            let path = request.namespace.full(&ask.path);
            let limited = self.look(&request.namespace, |txn, auth| {
                Ok(quotas::check(self, txn, auth, &path, ask.role(), None, address))
            })?;
            if let Some(Err(failure)) = limited {
                return Ok(Verified::Limited(failure));
            }
        }
        match &ask.shown {
            Shown::AppRole(_) | Shown::SecondFactor(_) | Shown::Custodian(_) | Shown::Malformed(_) => {
                Ok(Verified::Nothing)
            }
            Shown::Userpass(shown) => {
                let challenge = self.prepare(&request.namespace, ask, |txn, mount| {
                    userpass::prepare(txn, mount, shown)
                })?;
                let Some(challenge) = challenge else {
                    return Ok(Verified::Nothing);
                };
                let shown = Arc::clone(shown);
                let verified = self.hashing.run(request.deadline, move || challenge.verify(&shown));
                verified.await.map(Verified::Password)
            }
            Shown::Jwt(shown) => {
                let challenge = self.prepare(&request.namespace, ask, jwt::prepare)?;
                Ok(Verified::Jwt(match challenge.flatten() {
                    Some(challenge) => self.verify_jwt(challenge, shown.jwt(), request.deadline).await?,
                    None => jwt::Verified::unconfigured(),
                }))
            }
            Shown::Kubernetes(shown) => {
                let challenge = self.prepare(&request.namespace, ask, |txn, mount| {
                    kubernetes::prepare(txn, mount, shown)
                })?;
                Ok(Verified::Kubernetes(match challenge.flatten() {
                    Some(challenge) => self.review(challenge, shown, Asker::of(request)).await?,
                    None => kubernetes::Verified::unknown(),
                }))
            }
            Shown::Ldap(shown) => {
                let challenge = self.prepare_at(&request.namespace, ask, |txn, mount| {
                    ldap::prepare(txn, mount.root, shown, &mount.options.lockout)
                })?;
                Ok(Verified::Ldap(match challenge.flatten() {
                    Some(challenge) => self.ask_directory(challenge, Asker::of(request)).await?,
                    None => ldap::Verified::unconfigured(),
                }))
            }
            Shown::Begin(_) => self.find_provider(request, ask).await,
            Shown::Callback(shown) => self.exchange(request, ask, shown).await,
            Shown::Cert(shown) => {
                let challenge = self.prepare(&request.namespace, ask, |txn, mount| cert::prepare(txn, mount, shown))?;
                let chain = &request.evidence.certificates;
                Ok(Verified::Cert(Box::new(
                    challenge.map_or_else(cert::Verified::unknown, |challenge| challenge.verify(chain)),
                )))
            }
        }
    }

    /// Looks for what is to be verified. `None` without a mount of the method.
    pub(crate) fn prepare<T>(
        &self,
        namespace: &NamespacePath,
        ask: &LoginAsk,
        prepare: impl FnOnce(&mut Txn<'_>, ObjectId) -> Result<T, DamagedRow>,
    ) -> Result<Option<T>, Failure> {
        self.prepare_at(namespace, ask, |txn, mount| prepare(txn, mount.root))
    }

    /// As [`Self::prepare`], for what depends on the settings of the mount.
    fn prepare_at<T>(
        &self,
        namespace: &NamespacePath,
        ask: &LoginAsk,
        prepare: impl FnOnce(&mut Txn<'_>, &Mount) -> Result<T, DamagedRow>,
    ) -> Result<Option<T>, Failure> {
        let prepared = self.look(namespace, |txn, auth| {
            let mount = find(txn, auth, ask.mount.as_str(), ask.kind())?;
            let prepared = mount.map(|mount| prepare(txn, &mount)).transpose();
            Ok(prepared?)
        });
        // Without such a namespace there is no such mount either.
        Ok(prepared?.flatten())
    }

    /// Plans a login. What was shown decides, and no policy.
    pub(crate) fn decide_login(
        &self,
        txn: &mut Txn<'_>,
        auth: &mut AuthCache,
        request: &Request,
        ask: &LoginAsk,
        verified: &Verified,
        is_known: bool,
    ) -> Result<Made, Failure> {
        let address = &request.evidence.client_address;
        let path = request.namespace.full(&ask.path);
        let limited = match verified {
            Verified::Limited(failure) => Err(failure.clone()),
            // Counted before it was verified.
            _ if ask.is_dear() => Ok(()),
            _ => quotas::check(self, txn, auth, &path, ask.role(), None, address),
        };
        let limited = limited.and_then(|()| quotas::numbers::check_wrapping(txn, request));
        if let Err(failure) = limited {
            if !self.is_single(quotas::EXCEEDED, request) {
                return Err(failure);
            }
            return Ok(Made {
                result: Err(failure),
                ..Made::default()
            });
        }
        if let Shown::Begin(begin) = &ask.shown {
            return self.begin(txn, auth, request, (ask, begin), verified, is_known);
        }
        if let Some(made) = self.repeated(txn, request)? {
            return Ok(made);
        }
        let mut why = "";
        let logged_in = match is_known {
            true => login(txn, auth, ask, verified, &request.evidence.client_address),
            false => Ok(refused(ask, "no such namespace")),
        };
        let result = match logged_in {
            Ok(LoggedIn::Done(reply)) => {
                dedup::keep(txn, request, txn.namespace(), &reply);
                Ok(*reply)
            }
            Ok(LoggedIn::Stale) => {
                return Err(Failure::new(Class::Aborted, STALE, "the credentials changed meanwhile"));
            }
            Ok(LoggedIn::Refused {
                failure,
                is_counted,
                why: told,
            }) => {
                why = told;
                // What was counted is on record by itself: it is not told once more with the many.
                if !is_counted && self.count_refusal(request).is_err() {
                    return Err(unrecorded());
                }
                Err(failure)
            }
            // Who showed what is right is told that there is no room.
            Err(failure) if failure.reason == quotas::EXCEEDED => {
                if !self.is_single(quotas::EXCEEDED, request) {
                    return Err(failure);
                }
                Err(failure)
            }
            Err(failure) => {
                // What is malformed is the same on any node.
                if let Err(refused) = self.count_refusal(request) {
                    return Err(if failure.class == Class::InvalidArgument {
                        failure
                    } else {
                        refused
                    });
                }
                Err(failure)
            }
        };
        Ok(Made {
            result,
            rule: why.to_owned(),
            ..Made::default()
        })
    }

    /// What a request that takes no token was answered under its key before.
    fn repeated(&self, txn: &mut Txn<'_>, request: &Request) -> Result<Option<Made>, Failure> {
        let result = dedup::find(txn, request, txn.namespace());
        if result.is_err() && self.count_refusal(request).is_err() {
            return Err(unrecorded());
        }
        let replayed = result.is_ok();
        Ok(result.transpose().map(|result| Made {
            result,
            replayed,
            ..Made::default()
        }))
    }

    /// Plans what the holder of a wrapping token wants with it.
    pub(crate) fn decide_wrapped(
        &self,
        txn: &mut Txn<'_>,
        auth: &mut AuthCache,
        request: &Request,
        ask: &WrappedAsk,
        is_known: bool,
    ) -> Result<Made, Failure> {
        if let Some(made) = self.repeated(txn, request)? {
            return Ok(made);
        }
        let result = if auth.is_quarantined(txn) {
            Err(restored::quarantined())
        } else if !is_known {
            Err(Failure::invalid(UnwrapError::NotOne.to_string()))
        } else {
            wrapped(txn, ask)
        };
        if let Ok(reply) = &result {
            dedup::keep(txn, request, txn.namespace(), reply);
        }
        if result.is_err() && self.count_refusal(request).is_err() {
            return Err(unrecorded());
        }
        Ok(Made {
            result,
            ..Made::default()
        })
    }
}

/// What was verified before the plan of a login, or of a renewal.
pub(crate) enum Verified {
    /// Nothing: the plan does it all, or there is no such mount.
    Nothing,
    /// Nothing, because there were too many before it.
    Limited(Failure),
    /// A password.
    Password(userpass::Verified),
    /// A token of an issuer.
    Jwt(jwt::Verified),
    /// Where an issuer lets in people, if that is set up.
    Provider(Option<jwt::browser::Known<jwt::Provider>>),
    /// A token of a service account.
    Kubernetes(kubernetes::Verified),
    /// A password that a directory knows.
    Ldap(ldap::Verified),
    /// A certificate.
    Cert(Box<cert::Verified>),
    /// Up to where the audit log is to be pruned, or why it is not.
    Floor(Box<Result<Floor, Failure>>),
}

/// What became of a login.
pub(crate) enum LoggedIn {
    /// A token was made.
    Done(Box<Reply>),
    /// It was refused. What was counted of it stands; it is on record by itself if `is_counted`.
    Refused {
        failure: Failure,
        is_counted: bool,
        /// What stands on record beside it; it may be nothing.
        why: &'static str,
    },
    /// What was verified is not what stands now: it begins again.
    Stale,
}

/// Plans a login.
fn login(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    ask: &LoginAsk,
    verified: &Verified,
    client_address: &str,
) -> Result<LoggedIn, Failure> {
    // Whoever holds the shares can release what was restored, if it is a root token that is missing for it.
    if let Shown::Custodian(shown) = &ask.shown {
        let proved = generate_root::prove(txn, shown)?;
        let data = ops::encode_object(proved.answer.data)?;
        let accessor = proved.accessor;
        return Ok(LoggedIn::Done(Box::new(Reply::RootAttempt { data, accessor })));
    }
    if auth.is_quarantined(txn) {
        return Err(restored::quarantined());
    }
    match &ask.shown {
        Shown::SecondFactor(codes) => return second_factor(txn, auth, ask, codes),
        Shown::Malformed(why) => return Err(Failure::invalid(why.clone())),
        Shown::Callback(shown) => {
            if let Some(refused) = browser::refused_by_issuer(shown) {
                return Ok(refused);
            }
        }
        _ => {}
    }
    let Some(mount) = find(txn, auth, ask.mount.as_str(), ask.kind())? else {
        return Ok(refused(ask, ""));
    };
    let login = match (&ask.shown, verified) {
        (Shown::AppRole(shown), _) => approle::login(txn, mount.root, shown, client_address),
        (Shown::Userpass(shown), Verified::Password(verified)) => {
            userpass::login(txn, mount.root, shown, verified, &mount.options.lockout, client_address)
        }
        (Shown::Jwt(shown), Verified::Jwt(verified)) => jwt::login(txn, mount.root, shown, verified, client_address),
        (Shown::Callback(shown), Verified::Jwt(verified)) => {
            jwt::browser::login(txn, mount.root, shown, verified, client_address)
        }
        (Shown::Kubernetes(shown), Verified::Kubernetes(verified)) => {
            kubernetes::login(txn, mount.root, shown, verified, client_address)
        }
        (Shown::Ldap(shown), Verified::Ldap(verified)) => {
            ldap::login(txn, mount.root, shown, verified, &mount.options.lockout, client_address)
        }
        (Shown::Cert(_), Verified::Cert(verified)) => cert::login(txn, mount.root, verified, client_address),
        // The mount came meanwhile.
        (_, _) => return Ok(LoggedIn::Stale),
    };
    let mut login = match login {
        Ok(login) => login,
        Err(error) => return refused_by(ask, error),
    };
    let whom = login.as_whom();
    let mut identity_policies = Vec::new();
    let mut entity_or_nobody = ObjectId::well_known(0);
    match identity::log_in(txn, login.mount, &login.alias)? {
        identity::LoggedIn::Entity { entity, is_new } => {
            login.entity = Some(entity);
            entity_or_nobody = entity;
            // A group may have the login in it, though the entity is new.
            if !is_new || !login.groups.is_empty() {
                let key = (entity, Some(whom.clone()));
                identity_policies = auth.identity_policies_now(txn, &key, is_new)?;
            }
        }
        identity::LoggedIn::Nobody => {}
        identity::LoggedIn::Limited(text) => return Err(Failure::limited(text)),
        identity::LoggedIn::Disabled => return Ok(refused(ask, "disabled entity")),
    }
    let path = format!("auth/{}", mount.path.as_str());
    let wanted = auth.second_factors(txn, mount.root, entity_or_nobody, &whom)?;
    if !wanted.is_empty() {
        // Nobody has a second factor.
        let Some(entity) = login.entity else {
            return Ok(refused(ask, "no entity for a second factor"));
        };
        if ask.codes.is_empty() {
            let waits = mfa::hold(txn, &path, login, wanted);
            return Ok(LoggedIn::Done(Box::new(Reply::LoginWaits(waits))));
        }
        if let Err(error) = ask.codes.meet(txn, entity, &wanted) {
            return refused_second_factor(error);
        }
    }
    let mut made = token::issue(txn, &path, login).map_err(ops::create_failure)?;
    made.info.identity_policies = identity_policies;
    made.info.namespace = auth.told_path(txn, txn.namespace())?;
    Ok(LoggedIn::Done(Box::new(Reply::NewToken(made))))
}

/// Plans the end of a login that waited for its second factor.
fn second_factor(
    txn: &mut Txn<'_>,
    auth: &mut AuthCache,
    ask: &LoginAsk,
    codes: &mfa::Validation,
) -> Result<LoggedIn, Failure> {
    let (login, path) = match mfa::validate(txn, codes) {
        Ok(validated) => validated,
        Err(error) => return refused_by(ask, error),
    };
    // What the login rested on must stand still.
    let mounts = auth.auth_mounts(txn)?;
    let Some(entity) = login
        .entity
        .filter(|_| mounts.iter().any(|mount| mount.root == login.mount))
    else {
        return Ok(refused(ask, "mount or entity gone"));
    };
    let Ok(identity_policies) = auth.identity_policies(txn, &(entity, Some(login.as_whom()))) else {
        return Ok(refused(ask, "mount or entity gone"));
    };
    let mut made = token::issue(txn, &path, login).map_err(ops::create_failure)?;
    made.info.identity_policies = identity_policies;
    made.info.namespace = auth.told_path(txn, txn.namespace())?;
    Ok(LoggedIn::Done(Box::new(Reply::NewToken(made))))
}

/// It was refused, and nothing is counted; the reason is for the record alone.
fn refused(ask: &LoginAsk, why: &'static str) -> LoggedIn {
    LoggedIn::Refused {
        failure: refusal(ask),
        is_counted: false,
        why,
    }
}

/// The same as for codes that come later: whoever shows none learns as well that the rest was right.
fn refused_second_factor(error: LoginError) -> Result<LoggedIn, Failure> {
    let is_counted = matches!(error, LoginError::Counted(_));
    match error {
        LoginError::Refused(text) | LoginError::Counted(text) => Ok(LoggedIn::Refused {
            failure: Failure::new(Class::Unauthenticated, "LOGIN_REFUSED", text),
            is_counted,
            why: "second factor",
        }),
        LoginError::Damaged(damaged) => Err(damaged.into()),
        other => Err(Failure::internal(other.to_string())),
    }
}

/// It was refused, and counted by the plan.
fn counted(ask: &LoginAsk, why: &'static str) -> LoggedIn {
    LoggedIn::Refused {
        failure: refusal(ask),
        is_counted: true,
        why,
    }
}

fn refused_by(ask: &LoginAsk, error: LoginError) -> Result<LoggedIn, Failure> {
    match error {
        LoginError::Refused(_) => Ok(refused(ask, "")),
        LoginError::Because(why) => Ok(refused(ask, why)),
        LoginError::Counted(_) => Ok(counted(ask, "")),
        LoginError::CountedBecause(why) => Ok(counted(ask, why)),
        LoginError::Field(error) => Err(Failure::invalid(error.to_string())),
        LoginError::Stale => Ok(LoggedIn::Stale),
        LoginError::Damaged(damaged) => Err(damaged.into()),
    }
}

/// The same for every refusal of a method.
pub(crate) fn refusal(ask: &LoginAsk) -> Failure {
    Failure::new(Class::Unauthenticated, "LOGIN_REFUSED", ask.refusal())
}

/// Plans what is done with a wrapped reply.
pub(crate) fn wrapped(txn: &mut Txn<'_>, ask: &WrappedAsk) -> Result<Reply, Failure> {
    let text = ask.token.expose();
    let done = match ask.what {
        Unwrapping::Open => token::unwrap(txn, text).map(Reply::Unwrapped),
        Unwrapping::Lookup => token::lookup_wrapped(txn, text).map(Reply::WrappedInfo),
        Unwrapping::Rewrap => token::rewrap(txn, text).map(Reply::Wrapped),
    };
    done.map_err(|error| match error {
        UnwrapError::NotOne => Failure::invalid(error.to_string()),
        // Somebody else may have opened it: this stands out in the audit log.
        UnwrapError::Gone => Failure::new(Class::InvalidArgument, "WRAPPING_TOKEN_GONE", error.to_string()),
        UnwrapError::Damaged(damaged) => damaged.into(),
    })
}

/// The mount of an auth method, if it is of this type.
pub(crate) fn find(txn: &mut Txn<'_>, auth: &mut AuthCache, path: &str, kind: &str) -> Result<Option<Mount>, Failure> {
    let mounts = auth.auth_mounts(txn)?;
    let mut found = mounts.iter().filter(|mount| mount.path.as_str() == path);
    // `oidc` is the same method as `jwt`.
    let is_served = |mount: &&Mount| mount.info.kind == kind || (kind == "jwt" && mount.info.kind == "oidc");
    Ok(found.next().filter(is_served).cloned())
}

/// As many as small machines have processors.
const HASHES_MAX: usize = 2;
/// They are done within a second, and leave most places of a leader that is slow to others.
const WAITING_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn no_more_wait_than_have_room() {
        let hashing = Hashing::default();
        let deadline = Instant::now() + Duration::from_secs(60);
        let gate = Arc::new(std::sync::Barrier::new(HASHES_MAX + 1));
        let mut held: Vec<_> = (0..HASHES_MAX)
            .map(|_| {
                let gate = Arc::clone(&gate);
                Box::pin(hashing.run(deadline, move || gate.wait()))
            })
            .collect();
        for held in &mut held {
            assert!(futures::poll!(held).is_pending());
        }
        let mut waiting: Vec<_> = (HASHES_MAX..WAITING_MAX)
            .map(|_| Box::pin(hashing.run(deadline, || ())))
            .collect();
        for waiting in &mut waiting {
            assert!(futures::poll!(waiting).is_pending());
        }
        let refused = hashing.run(deadline, || ()).await;
        assert_eq!(refused.err().map(|failure| failure.reason), Some("OVERLOADED"));
        gate.wait();
        for held in held {
            assert!(held.await.is_ok());
        }
        for waiting in waiting {
            assert!(waiting.await.is_ok());
        }
        assert!(hashing.run(deadline, || ()).await.is_ok(), "places are given back");
    }
}
