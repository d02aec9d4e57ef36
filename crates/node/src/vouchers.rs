//! Those who vouch for logins: issuers, whose keys are fetched, and API servers and directories, which are asked. All of it outside of any plan.
//!
//! What it guarantees: one question for keys at a time to each issuer, and a pause between two, however many logins wait for it, go away meanwhile, or show
//! keys that it does not have;
//! a service that hangs holds up the logins of its own mounts alone, and of those a bounded number; nobody takes all of their places from one address.
//! What it does not do: decide anything. Keys are public; what they verify is compared by the plan.

mod keys;
mod places;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aumbry_auth::jwt::{self, KeySource, Provider, Remote, Token};
use aumbry_auth::{Voucher, kubernetes, ldap};
use aumbry_types::SecretBytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use self::keys::Held;
use self::places::Places;
use crate::outside::{DirectoryError, WebAnswer, WebBody, WebCredential, WebError, WebRequest};
use crate::pipeline::source_of;
use crate::{Class, Failure, Node, Request};

/// What is known of each service that was asked.
#[derive(Default)]
pub(crate) struct Vouchers {
    services: Mutex<BTreeMap<Remote, Arc<Service>>>,
}

/// One service.
struct Service {
    /// Those who wait for its keys.
    waiting: Semaphore,
    /// Those for whom it is asked something else.
    places: Places,
    held: Mutex<Held>,
    used_ms: AtomicU64,
}

/// For whom a service is asked.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The address, without its port.
    source: &'a str,
    /// How long it waits.
    deadline: Instant,
}

impl<'a> Asker<'a> {
    /// Whoever makes this request.
    pub(crate) fn of(request: &'a Request) -> Self {
        Self {
            source: source_of(&request.evidence.client_address),
            deadline: request.deadline,
        }
    }
}

impl Vouchers {
    fn service(&self, remote: &Remote, now_ms: u64) -> Arc<Service> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if !services.contains_key(remote) {
            if services.len() >= SERVICES_MAX {
                let used = |service: &Service| service.used_ms.load(Ordering::Relaxed);
                let oldest = services.iter().min_by_key(|(_, service)| used(service));
                if let Some(oldest) = oldest.map(|(remote, _)| remote.clone()) {
                    services.remove(&oldest);
                }
            }
            services.insert(
                remote.clone(),
                Arc::new(Service {
                    waiting: Semaphore::new(WAITING_MAX),
                    places: Places::default(),
                    held: Mutex::default(),
                    used_ms: AtomicU64::new(now_ms),
                }),
            );
        }
        let service = &services[remote];
        service.used_ms.store(now_ms, Ordering::Relaxed);
        Arc::clone(service)
    }
}

impl Service {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a failure may be logged: whoever has no token must not fill the log.
    fn may_tell(&self, now_ms: u64) -> bool {
        let mut held = self.held();
        let is_due = held
            .told_ms
            .is_none_or(|told_ms| now_ms.saturating_sub(told_ms) >= PAUSE_MS);
        if is_due {
            held.told_ms = Some(now_ms);
        }
        is_due
    }
}

impl Node {
    /// Verifies the signature of a token that is shown at a login.
    pub(crate) async fn verify_jwt(
        &self,
        challenge: jwt::Challenge,
        shown: &SecretBytes,
        deadline: Instant,
    ) -> Result<jwt::Verified, Failure> {
        let token = match Token::parse(shown.expose()) {
            Ok(token) => token,
            Err(reason) => return Ok(challenge.conclude(Err(reason))),
        };
        let verified = match challenge.source() {
            KeySource::Given(keys) => challenge.verify(&token, keys),
            KeySource::Remote(remote) => {
                let keys = self.keys_of(remote, None, deadline).await?;
                match challenge.verify(&token, &keys) {
                    Err(reason) if reason.may_be_new() => {
                        let newer = self.keys_of(remote, Some(&keys), deadline).await?;
                        match Arc::ptr_eq(&newer, &keys) {
                            true => Err(reason),
                            false => challenge.verify(&token, &newer),
                        }
                    }
                    verified => verified,
                }
            }
        };
        Ok(challenge.conclude(verified.map(|()| token)))
    }

    /// Verifies what can be verified of a service account's token, and asks the API server about it.
    pub(crate) async fn review(
        &self,
        challenge: kubernetes::Challenge,
        shown: &Voucher,
        asker: Asker<'_>,
    ) -> Result<kubernetes::Verified, Failure> {
        let mut pending = match challenge.begin(shown) {
            Ok(pending) => pending,
            Err(verified) => return Ok(verified),
        };
        let Some(review) = pending.review.take() else {
            return Ok(pending.conclude(None));
        };
        let remote = Remote {
            url: review.url,
            authority_pem: review.authority_pem,
            is_issuer: false,
        };
        let service = self.vouchers.service(&remote, self.clock.boottime_ms());
        let _place = service.places.take(asker.source).ok_or_else(Failure::overloaded)?;
        let request = WebRequest {
            url: remote.url.clone(),
            authority_pem: remote.authority_pem.clone(),
            credential: Some(WebCredential::Bearer(review.bearer)),
            body: Some(WebBody::Json(review.body)),
        };
        let answer = tokio::time::timeout_at(asker.deadline, (self.outside.ask_web)(request)).await;
        match answer.unwrap_or(Err(WebError::Late)) {
            Ok(answer) => Ok(pending.conclude(Some(kubernetes::Answered {
                code: answer.code,
                body: answer.body,
            }))),
            Err(error) => {
                self.tell_of(&remote, format_args!("no token can be reviewed: {error}"));
                Err(unavailable())
            }
        }
    }

    /// Asks a directory about a name and a password.
    pub(crate) async fn ask_directory(
        &self,
        challenge: ldap::Challenge,
        asker: Asker<'_>,
    ) -> Result<ldap::Verified, Failure> {
        let (question, basis) = match challenge.begin() {
            Ok(question) => question,
            Err(verified) => return Ok(verified),
        };
        let remote = Remote {
            url: question.url(),
            authority_pem: question.authority_pem.clone(),
            is_issuer: false,
        };
        let service = self.vouchers.service(&remote, self.clock.boottime_ms());
        let _place = service.places.take(asker.source).ok_or_else(Failure::overloaded)?;
        let deadline = asker.deadline.min(Instant::now() + question.timeout);
        let answer = tokio::time::timeout_at(deadline, (self.outside.ask_directory)(question)).await;
        match answer.unwrap_or(Err(DirectoryError::Late)) {
            Ok(found) => Ok(ldap::Challenge::conclude(basis, found)),
            Err(error) => {
                if service.may_tell(self.clock.boottime_ms()) {
                    tracing::warn!(service = remote.url, "nobody can be asked about passwords: {error}");
                }
                Err(unavailable())
            }
        }
    }

    /// Where an issuer lets in people.
    pub(crate) async fn provider_of(&self, remote: &Remote, deadline: Instant) -> Result<Provider, Failure> {
        // It tells that along with its keys, and is asked as often.
        let _keys = self.keys_of(remote, None, deadline).await?;
        let provider = self.service_of(remote).held().provider.clone();
        provider.ok_or_else(|| {
            self.tell_of(
                remote,
                format_args!(
                    "the issuer's discovery document names no authorization_endpoint and token_endpoint behind https"
                ),
            );
            unavailable()
        })
    }

    /// Posts a form to a service of an issuer.
    pub(crate) async fn post(
        &self,
        remote: &Remote,
        url: String,
        form: jwt::browser::Form,
        asker: Asker<'_>,
    ) -> Result<WebAnswer, Failure> {
        let service = self.service_of(remote);
        let _place = service.places.take(asker.source).ok_or_else(Failure::overloaded)?;
        let request = WebRequest {
            url,
            authority_pem: remote.authority_pem.clone(),
            credential: form.basic.map(WebCredential::Basic),
            body: Some(WebBody::Form(form.body)),
        };
        let answer = tokio::time::timeout_at(asker.deadline, (self.outside.ask_web)(request)).await;
        answer.unwrap_or(Err(WebError::Late)).map_err(|error| {
            self.tell_of(remote, format_args!("no code can be exchanged: {error}"));
            unavailable()
        })
    }

    /// Says in the log what is wrong with a service: now and then, as whoever has no token must not fill it.
    pub(crate) fn tell_of(&self, remote: &Remote, what: std::fmt::Arguments<'_>) {
        if self.service_of(remote).may_tell(self.clock.boottime_ms()) {
            tracing::warn!(service = remote.url, "{what}");
        }
    }

    fn service_of(&self, remote: &Remote) -> Arc<Service> {
        self.vouchers.service(remote, self.clock.boottime_ms())
    }
}

/// Nobody was refused: it is not known whether the token is good.
pub(crate) fn unavailable() -> Failure {
    let text = "the service that vouches for these logins does not answer as it should; try again later";
    Failure::new(Class::Unavailable, "VOUCHER_UNAVAILABLE", text)
}

/// More than a cluster has mounts that ask somebody; each holds some kilobytes.
const SERVICES_MAX: usize = 256;
/// As many as are asked for, and for the same reason. Whoever waits here costs no question: whatever their number, it is one fetch.
const WAITING_MAX: usize = 64;
/// Who shows unknown keys makes no issuer be asked more often; a new key is known after this.
const PAUSE_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_forgotten_before_they_fill_the_memory() {
        let vouchers = Vouchers::default();
        for n in 0..SERVICES_MAX as u64 * 2 {
            let remote = Remote {
                url: format!("https://{n}.example"),
                authority_pem: String::new(),
                is_issuer: false,
            };
            vouchers.service(&remote, n);
        }
        let services = vouchers.services.lock().expect("no test panics with it");
        assert_eq!(services.len(), SERVICES_MAX);
        assert!(services.keys().all(|remote| remote.url != "https://0.example"));
    }
}
