//! The keys of issuers: fetched by a task of its own, for all logins that wait for them, and kept for a while.

use std::sync::Arc;
use std::time::Duration;

use aumbry_auth::jwt::{self, AnswerError, KeySet, Provider, Remote};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{PAUSE_MS, Service, unavailable};
use crate::outside::{AskWeb, WebError, WebRequest};
use crate::{Failure, Node};

/// What is known of a service.
#[derive(Default)]
pub(super) struct Held {
    keys: Option<Arc<KeySet>>,
    /// Where it lets in people, as it told along with its keys.
    pub(super) provider: Option<Provider>,
    /// When the keys were fetched, by the time since boot.
    fetched_ms: u64,
    /// When it was asked last, whatever came of it.
    asked_ms: Option<u64>,
    /// When a failure of it was logged last.
    pub(super) told_ms: Option<u64>,
    /// The fetch that is under way, until its other end is gone.
    fetch: Option<watch::Receiver<()>>,
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

impl Held {
    /// The keys, if they are not older than this.
    fn keys(&self, age_max_ms: u64, now_ms: u64) -> Option<Arc<KeySet>> {
        let is_young = now_ms.saturating_sub(self.fetched_ms) <= age_max_ms;
        self.keys.clone().filter(|_| is_young)
    }

    /// Keys that are young enough, and others than were seen.
    fn fresh(&self, seen: Option<&Arc<KeySet>>, now_ms: u64) -> Option<Arc<KeySet>> {
        let is_seen = |keys: &Arc<KeySet>| seen.is_some_and(|seen| Arc::ptr_eq(seen, keys));
        self.keys(FRESH_MS, now_ms).filter(|keys| !is_seen(keys))
    }
}

/// What there is to wait for.
enum Waits {
    /// Nothing: there are keys.
    Not(Arc<KeySet>),
    /// Nothing: the service was asked just before.
    InVain,
    /// A fetch that is under way.
    For(watch::Receiver<()>),
}

impl Service {
    /// Sees to it that the keys are fetched, if they may be. It is nobody's request that fetches: one whose connection breaks takes nothing from those who
    /// wait beside it.
    fn fetch(self: &Arc<Self>, node: &Node, remote: &Remote, seen: Option<&Arc<KeySet>>) -> Waits {
        let now_ms = node.clock.boottime_ms();
        let mut held = self.held();
        // Somebody else may have asked meanwhile.
        if let Some(keys) = held.fresh(seen, now_ms) {
            return Waits::Not(keys);
        }
        if let Some(fetch) = held.fetch.as_ref().filter(|fetch| fetch.has_changed().is_ok()) {
            return Waits::For(fetch.clone());
        }
        if held
            .asked_ms
            .is_some_and(|asked_ms| now_ms.saturating_sub(asked_ms) < PAUSE_MS)
        {
            return Waits::InVain;
        }
        held.asked_ms = Some(now_ms);
        let (ending, fetch) = watch::channel(());
        held.fetch = Some(fetch.clone());
        drop(held);
        let (service, remote, ask_web) = (Arc::clone(self), remote.clone(), Arc::clone(&node.outside.ask_web));
        // There is one for each service, and it ends by its timeout.
        let _detached = tokio::spawn(async move {
            let _ending = ending;
            let fetched = tokio::time::timeout(FETCH_TIMEOUT, fetch_from(&ask_web, &remote)).await;
            match fetched.unwrap_or(Err(FetchError::Web(WebError::Late))) {
                Ok((keys, provider)) => service.keep(keys, provider, now_ms),
                Err(error) => {
                    tracing::warn!(service = remote.url, "the keys of an issuer cannot be fetched: {error}");
                }
            }
        });
        Waits::For(fetch)
    }

    fn keep(&self, keys: KeySet, provider: Option<Provider>, now_ms: u64) {
        let mut held = self.held();
        held.provider = provider;
        held.fetched_ms = now_ms;
        // The same keys again are no news: what was not verified by them is not verified by them now.
        if !held.keys.as_ref().is_some_and(|known| **known == keys) {
            held.keys = Some(Arc::new(keys));
        }
    }
}

impl Node {
    /// The keys of a service: those that are known, or newer ones than were seen, if the service may be asked for them.
    pub(super) async fn keys_of(
        &self,
        remote: &Remote,
        seen: Option<&Arc<KeySet>>,
        deadline: Instant,
    ) -> Result<Arc<KeySet>, Failure> {
        let service = self.service_of(remote);
        let fresh = || service.held().fresh(seen, self.clock.boottime_ms());
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
        match service.fetch(self, remote, seen) {
            Waits::Not(keys) => Ok(keys),
            Waits::InVain => old(),
            Waits::For(mut fetch) => {
                // It says nothing but that it has ended.
                let _ = tokio::time::timeout_at(deadline, fetch.changed()).await;
                fresh().map_or_else(old, Ok)
            }
        }
    }
}

async fn fetch_from(ask_web: &AskWeb, remote: &Remote) -> Result<(KeySet, Option<Provider>), FetchError> {
    if !remote.is_issuer {
        return Ok((KeySet::parse(&get(ask_web, remote, remote.url.clone()).await?)?, None));
    }
    let issuer = remote.url.trim_end_matches('/');
    let document = get(ask_web, remote, format!("{issuer}{DISCOVERY}")).await?;
    let told = jwt::parse_discovery(&document, issuer)?;
    let keys = KeySet::parse(&get(ask_web, remote, told.keys).await?)?;
    Ok((keys, told.provider))
}

async fn get(ask_web: &AskWeb, remote: &Remote, url: String) -> Result<Vec<u8>, FetchError> {
    let answer = ask_web(WebRequest::get(url, remote.authority_pem.clone())).await?;
    match answer.code {
        200 => Ok(answer.body),
        code => Err(FetchError::Code(code)),
    }
}

/// Where issuers describe themselves (OpenID Connect Discovery 1.0).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// A key that its issuer withdrew is taken for this long.
const FRESH_MS: u64 = 5 * 60 * 1_000;
/// As that, if the issuer is away.
const USABLE_MS: u64 = 60 * 60 * 1_000;
/// As long as two questions may take: where the keys are, and which they are.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use aumbry_state::{Local, Room};
    use aumbry_types::{SimulatedClock, SimulatedEntropy, WallTime};
    use futures::FutureExt as _;

    use super::super::WAITING_MAX;
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
                Arc::new(move |_| {
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

    fn node(clock: &Arc<SimulatedClock>, ask_web: AskWeb) -> Arc<Node> {
        let outside = Outside {
            sign_node: Box::new(|_, _, _, _, _| Ok(String::new())),
            ask_peer: Box::new(|_| Box::pin(async { None })),
            room: Box::new(|| Room::Ample),
            ask_web,
            ask_directory: crate::no_directory(),
            audit_hashes: Box::<crate::MemoryHashes>::default(),
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
        let node = node(&clock, Arc::new(|_| std::future::pending().boxed()));
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

    /// A request whose connection breaks takes nothing from the others: what it asked for is fetched all the same.
    #[tokio::test]
    async fn who_goes_away_cuts_off_nobodys_keys() {
        let (gate, gated) = watch::channel(false);
        let (bed, asked) = (Bed::new(), Arc::new(AtomicU64::new(0)));
        let counts = Arc::clone(&asked);
        let node = node(
            &bed.clock,
            Arc::new(move |request| {
                counts.fetch_add(1, Ordering::Relaxed);
                let (mut gated, answer) = (gated.clone(), (bed.node.outside.ask_web)(request));
                async move {
                    let _ = gated.wait_for(|is_open| *is_open).await;
                    answer.await
                }
                .boxed()
            }),
        );
        let remote = remote();
        let mut first = Box::pin(node.keys_of(&remote, None, soon()));
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
        drop(first);
        let mut second = Box::pin(node.keys_of(&remote, None, soon()));
        assert!(futures::poll!(&mut second).is_pending());
        gate.send_replace(true);
        assert!(second.await.is_ok(), "the keys are there as soon as the issuer answers");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    /// The public key of RFC 8037, appendix A.
    const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
}
