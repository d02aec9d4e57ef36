//! Those who vouch for logins: issuers, whose keys are fetched, and API servers and directories, which are asked. All of it outside of any plan.
//!
//! What it guarantees: one question at a time to each issuer, and a pause between two, however many logins wait for it or show keys that it does not have;
//! a service that hangs holds up the logins of its own mounts alone, and of those a bounded number.
//! What it does not do: decide anything. Keys are public; what they verify is compared by the plan.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aumbry_auth::jwt::{self, AnswerError, KeySet, KeySource, Provider, Remote, Token};
use aumbry_auth::{Voucher, kubernetes, ldap};
use aumbry_types::SecretBytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::outside::{DirectoryError, WebAnswer, WebBody, WebCredential, WebError, WebRequest};
use crate::{Class, Failure, Node};

/// What is known of each service that was asked.
#[derive(Default)]
pub(crate) struct Vouchers {
    services: Mutex<BTreeMap<Remote, Arc<Service>>>,
}

/// One service.
struct Service {
    /// Whoever holds it asks.
    asking: tokio::sync::Mutex<()>,
    waiting: Semaphore,
    held: Mutex<Held>,
    used_ms: AtomicU64,
}

#[derive(Default)]
struct Held {
    keys: Option<Arc<KeySet>>,
    /// Where it lets in people, as it told along with its keys.
    provider: Option<Provider>,
    /// When the keys were fetched, by the time since boot.
    fetched_ms: u64,
    /// When it was asked last, whatever came of it.
    asked_ms: Option<u64>,
    /// When a failure of it was logged last.
    told_ms: Option<u64>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Web(#[from] WebError),
    #[error("the service answers with code {0}")]
    Code(u16),
    #[error(transparent)]
    Answer(#[from] AnswerError),
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
                    asking: tokio::sync::Mutex::new(()),
                    waiting: Semaphore::new(WAITING_MAX),
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

impl Held {
    /// The keys, if they are not older than this.
    fn keys(&self, age_max_ms: u64, now_ms: u64) -> Option<Arc<KeySet>> {
        let is_young = now_ms.saturating_sub(self.fetched_ms) <= age_max_ms;
        self.keys.clone().filter(|_| is_young)
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
        deadline: Instant,
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
        let Ok(_waiting) = service.waiting.try_acquire() else {
            return Err(Failure::overloaded());
        };
        let request = WebRequest {
            url: remote.url.clone(),
            authority_pem: remote.authority_pem.clone(),
            credential: Some(WebCredential::Bearer(review.bearer)),
            body: Some(WebBody::Json(review.body)),
        };
        let answer = tokio::time::timeout_at(deadline, (self.outside.ask_web)(request)).await;
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
        deadline: Instant,
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
        let Ok(_waiting) = service.waiting.try_acquire() else {
            return Err(Failure::overloaded());
        };
        let deadline = deadline.min(Instant::now() + question.timeout);
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
        deadline: Instant,
    ) -> Result<WebAnswer, Failure> {
        let service = self.service_of(remote);
        let Ok(_waiting) = service.waiting.try_acquire() else {
            return Err(Failure::overloaded());
        };
        let request = WebRequest {
            url,
            authority_pem: remote.authority_pem.clone(),
            credential: form.basic.map(WebCredential::Basic),
            body: Some(WebBody::Form(form.body)),
        };
        let answer = tokio::time::timeout_at(deadline, (self.outside.ask_web)(request)).await;
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

    /// The keys of a service: those that are known, or newer ones than were seen, if the service may be asked for them.
    async fn keys_of(
        &self,
        remote: &Remote,
        seen: Option<&Arc<KeySet>>,
        deadline: Instant,
    ) -> Result<Arc<KeySet>, Failure> {
        let service = self.vouchers.service(remote, self.clock.boottime_ms());
        let is_seen = |keys: &Arc<KeySet>| seen.is_some_and(|seen| Arc::ptr_eq(seen, keys));
        let fresh = || {
            let keys = service.held().keys(FRESH_MS, self.clock.boottime_ms());
            keys.filter(|keys| !is_seen(keys))
        };
        // Rather somewhat old keys than nobody who gets in while the issuer is away.
        let old = || {
            let keys = service.held().keys(USABLE_MS, self.clock.boottime_ms());
            keys.ok_or_else(unavailable)
        };
        if let Some(keys) = fresh() {
            return Ok(keys);
        }
        let Ok(_waiting) = service.waiting.try_acquire() else {
            return old().map_err(|_| Failure::overloaded());
        };
        let Ok(_asking) = tokio::time::timeout_at(deadline, service.asking.lock()).await else {
            return old();
        };
        // Somebody else may have asked meanwhile.
        if let Some(keys) = fresh() {
            return Ok(keys);
        }
        let now_ms = self.clock.boottime_ms();
        let asked_ms = service.held().asked_ms;
        if asked_ms.is_some_and(|asked_ms| now_ms.saturating_sub(asked_ms) < PAUSE_MS) {
            return old();
        }
        service.held().asked_ms = Some(now_ms);
        // Those who wait behind this one must not pay for its haste: it is fetched for all of them.
        let until = deadline.max(Instant::now() + FETCH_TIMEOUT);
        let fetched = tokio::time::timeout_at(until, self.fetch(remote)).await;
        match fetched.unwrap_or(Err(FetchError::Web(WebError::Late))) {
            Ok((keys, provider)) => {
                let mut held = service.held();
                held.provider = provider;
                held.fetched_ms = now_ms;
                // The same keys again are no news: what was not verified by them is not verified by them now.
                match &held.keys {
                    Some(known) if **known == keys => Ok(Arc::clone(known)),
                    _ => {
                        let keys = Arc::new(keys);
                        held.keys = Some(Arc::clone(&keys));
                        Ok(keys)
                    }
                }
            }
            Err(error) => {
                tracing::warn!(service = remote.url, "the keys of an issuer cannot be fetched: {error}");
                old()
            }
        }
    }

    async fn fetch(&self, remote: &Remote) -> Result<(KeySet, Option<Provider>), FetchError> {
        if !remote.is_issuer {
            return Ok((KeySet::parse(&self.get(remote, remote.url.clone()).await?)?, None));
        }
        let issuer = remote.url.trim_end_matches('/');
        let document = self.get(remote, format!("{issuer}{DISCOVERY}")).await?;
        let told = jwt::parse_discovery(&document, issuer)?;
        let keys = KeySet::parse(&self.get(remote, told.keys).await?)?;
        Ok((keys, told.provider))
    }

    async fn get(&self, remote: &Remote, url: String) -> Result<Vec<u8>, FetchError> {
        let answer = (self.outside.ask_web)(WebRequest::get(url, remote.authority_pem.clone()));
        let answer = answer.await?;
        match answer.code {
            200 => Ok(answer.body),
            code => Err(FetchError::Code(code)),
        }
    }
}

/// Nobody was refused: it is not known whether the token is good.
pub(crate) fn unavailable() -> Failure {
    let text = "the service that vouches for these logins does not answer as it should; try again later";
    Failure::new(Class::Unavailable, "VOUCHER_UNAVAILABLE", text)
}

/// Where issuers describe themselves (OpenID Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// More than a cluster has mounts that ask somebody; each holds some kilobytes.
const SERVICES_MAX: usize = 256;
/// One that answers does so within milliseconds; one that hangs leaves most places of the leader to others.
const WAITING_MAX: usize = 64;
/// A key that its issuer withdrew is taken for this long.
const FRESH_MS: u64 = 5 * 60 * 1_000;
/// As that, if the issuer is away.
const USABLE_MS: u64 = 60 * 60 * 1_000;
/// As long as one question may take.
const FETCH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Who shows unknown keys makes no issuer be asked more often; a new key is known after this.
const PAUSE_MS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use aumbry_state::{Local, Room};
    use aumbry_types::{SimulatedClock, SimulatedEntropy, WallTime};
    use futures::FutureExt as _;

    use super::*;
    use crate::Outside;
    use crate::outside::WebAnswer;

    /// A node with an issuer that tells other keys each time, or nothing.
    struct Bed {
        node: Arc<Node>,
        clock: Arc<SimulatedClock>,
        asked: Arc<AtomicU64>,
        is_away: Arc<AtomicBool>,
    }

    impl Bed {
        fn new() -> Self {
            let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
            let (asked, is_away) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let (counts, away) = (Arc::clone(&asked), Arc::clone(&is_away));
            let node = node(
                &clock,
                Box::new(move |_| {
                    let n = counts.fetch_add(1, Ordering::Relaxed);
                    let is_away = away.load(Ordering::Relaxed);
                    async move {
                        if is_away {
                            return Err(WebError::Late);
                        }
                        let body = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{n}","x":"{KEY}"}}]}}"#);
                        Ok(WebAnswer {
                            code: 200,
                            body: body.into_bytes(),
                        })
                    }
                    .boxed()
                }),
            );
            Self {
                node,
                clock,
                asked,
                is_away,
            }
        }

        async fn keys(&self, seen: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, &'static str> {
            let keys = self.node.keys_of(&remote(), seen, soon()).await;
            keys.map_err(|failure| failure.reason)
        }

        fn asked(&self) -> u64 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn node(clock: &Arc<SimulatedClock>, ask_web: crate::AskWeb) -> Arc<Node> {
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok(String::new())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            room: Box::new(|| Room::Ample),
            ask_web,
            ask_directory: crate::no_directory(),
            cluster: aumbry_types::ClusterId::from_bytes([7; 16]),
            region: String::new(),
        };
        let clock = Arc::<SimulatedClock>::clone(clock);
        Node::new(
            Arc::new(Local::new()),
            clock,
            Arc::new(SimulatedEntropy::new(1)),
            outside,
        )
    }

    fn remote() -> Remote {
        Remote {
            url: "https://issuer.example/keys".to_owned(),
            authority_pem: String::new(),
            is_issuer: false,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn newer_keys_are_asked_for_now_and_then() {
        let bed = Bed::new();
        let first = bed.keys(None).await.expect("are told");
        for _ in 0..100 {
            assert!(Arc::ptr_eq(&bed.keys(None).await.expect("are known"), &first));
            assert!(Arc::ptr_eq(&bed.keys(Some(&first)).await.expect("are known"), &first));
        }
        assert_eq!(bed.asked(), 1);
        bed.clock.advance_ms(PAUSE_MS);
        let second = bed.keys(Some(&first)).await.expect("are told");
        assert!(!Arc::ptr_eq(&first, &second));
        // Who has seen the old ones gets the new ones without anybody being asked.
        assert!(Arc::ptr_eq(&bed.keys(Some(&first)).await.expect("are known"), &second));
        assert_eq!(bed.asked(), 2);
        bed.clock.advance_ms(FRESH_MS + 1);
        assert!(bed.keys(None).await.is_ok());
        assert_eq!(bed.asked(), 3, "old keys are fetched again");
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_is_asked_now_and_then_and_its_keys_are_used_for_a_while() {
        let bed = Bed::new();
        bed.is_away.store(true, Ordering::Relaxed);
        for _ in 0..10 {
            assert_eq!(bed.keys(None).await.err(), Some("VOUCHER_UNAVAILABLE"));
        }
        assert_eq!(bed.asked(), 1);
        bed.is_away.store(false, Ordering::Relaxed);
        bed.clock.advance_ms(PAUSE_MS);
        let keys = bed.keys(None).await.expect("are told");
        bed.is_away.store(true, Ordering::Relaxed);
        bed.clock.advance_ms(USABLE_MS);
        assert!(Arc::ptr_eq(&bed.keys(None).await.expect("are usable"), &keys));
        bed.clock.advance_ms(PAUSE_MS);
        assert_eq!(bed.keys(None).await.err(), Some("VOUCHER_UNAVAILABLE"));
    }

    #[tokio::test]
    async fn no_more_wait_for_an_issuer_than_have_room() {
        let clock = Arc::new(SimulatedClock::new(WallTime(1_700_000_000_000)));
        let node = node(&clock, Box::new(|_| std::future::pending().boxed()));
        let remote = remote();
        let mut waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| Box::pin(node.keys_of(&remote, None, soon())))
            .collect();
        for waiting in &mut waiting {
            assert!(futures::poll!(waiting).is_pending());
        }
        let refused = node.keys_of(&remote, None, soon()).await;
        assert_eq!(refused.err().map(|failure| failure.reason), Some("OVERLOADED"));
        // Another issuer is another matter.
        let other = Remote {
            url: "https://other.example/keys".to_owned(),
            ..remote.clone()
        };
        assert!(node.keys_of(&other, None, soon()).now_or_never().is_none());
        drop(waiting);
        clock.advance_ms(PAUSE_MS);
        let late = node.keys_of(&remote, None, Instant::now()).await;
        assert_eq!(late.err().map(|failure| failure.reason), Some("VOUCHER_UNAVAILABLE"));
    }

    #[test]
    fn services_are_forgotten_before_they_fill_the_memory() {
        let vouchers = Vouchers::default();
        for n in 0..SERVICES_MAX as u64 * 2 {
            let remote = Remote {
                url: format!("https://{n}.example"),
                ..remote()
            };
            vouchers.service(&remote, n);
        }
        let services = vouchers.services.lock().expect("no test panics with it");
        assert_eq!(services.len(), SERVICES_MAX);
        assert!(services.keys().all(|remote| remote.url != "https://0.example"));
    }

    /// The public key of RFC 8037, appendix A.
    const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
}
