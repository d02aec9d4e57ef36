//! A token that is kept: got by a login, renewed in the background, and got anew when renewing ends or the token is no longer taken.
//!
//! What it guarantees: one login at a time, and after one that failed a pause, however many requests wait for it; the background task ends with the session.
//! What it does not do: revoke the token when it is dropped, which could not be waited for; [`Session::end`] does.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aumbry_api::v1::{self, Failure};
use aumbry_types::SecretBytes;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::client::jittered;
use crate::{Client, Error, Login};

/// A token that is kept. Dropping it ends the renewals.
pub struct Session {
    client: Client,
    keeper: Arc<Keeper>,
    renewals: JoinHandle<()>,
}

/// Logs in for a client, and for all its clones.
pub(crate) struct Keeper {
    login: Login,
    /// Shows no token: whoever logs in has none.
    anonymous: Client,
    /// Shows the session's token, and does not log in by itself.
    bare: Client,
    /// One login at a time.
    turn: tokio::sync::Mutex<()>,
    /// Counts the logins that succeeded.
    generation: AtomicU64,
    lease: Mutex<Lease>,
    /// The last login, if it failed: who waited for the same is told the same.
    failed: Mutex<Option<(Instant, Failure)>>,
}

/// How long the token lives.
#[derive(Clone, Copy, Default)]
struct Lease {
    /// From the moment it was given; zero is without end.
    whole: Duration,
    is_renewable: bool,
}

/// What is told of a new token.
#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    renewable: bool,
}

/// What is next for the token.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Renew,
    LogIn,
}

impl Session {
    /// Logs in. The client is of the nodes; whatever token it shows itself is not used.
    ///
    /// # Errors
    /// [`Error`] if the login is refused or nobody answers.
    pub async fn start(client: &Client, login: Login) -> Result<Self, Error> {
        let none = SecretBytes::default();
        let bare = client.with_token(&none)?;
        let keeper = Arc::new(Keeper {
            login,
            anonymous: client.with_token(&none)?,
            bare: bare.clone(),
            turn: tokio::sync::Mutex::default(),
            generation: AtomicU64::new(0),
            lease: Mutex::default(),
            failed: Mutex::default(),
        });
        keeper.log_in_again(0).await?;
        Ok(Self {
            client: bare.kept_by(Arc::clone(&keeper)),
            renewals: tokio::spawn(keep(Arc::clone(&keeper))),
            keeper,
        })
    }

    /// A client with the token, whichever it is. Clones go on with it after renewals and new logins.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// How often it has logged in.
    #[must_use]
    pub fn logins(&self) -> u64 {
        self.keeper.generation()
    }

    /// Ends the session: revokes its token.
    ///
    /// # Errors
    /// [`Error`] if nobody answers. Then the token lives until it expires.
    pub async fn end(self) -> Result<(), Error> {
        self.renewals.abort();
        match self.keeper.bare.call(v1::TokenRevokeRequest::default()).await {
            Err(error) if error.reason() != TOKEN_INVALID => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

impl Keeper {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Gets a new token, unless somebody did since this generation. The future has a type of its own because a request can lead to a login, which is a request.
    pub(crate) fn log_in_again(&self, since: u64) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + '_>> {
        Box::pin(async move {
            let _turn = self.turn.lock().await;
            if self.generation() != since {
                return Ok(());
            }
            if let Some((at, failure)) = &*locked(&self.failed)
                && at.elapsed() < LOGIN_PAUSE
            {
                return Err(Error::Failure(Box::new(failure.clone())));
            }
            let answer = self.log_in().await;
            *locked(&self.failed) = match &answer {
                Err(Error::Failure(failure)) => Some((Instant::now(), (**failure).clone())),
                _ => None,
            };
            answer
        })
    }

    async fn log_in(&self) -> Result<(), Error> {
        let reply = self.anonymous.call(self.login.request()?).await?;
        // What the parser says could quote the token.
        let auth: Auth = serde_json::from_slice(&reply.auth)
            .map_err(|_| Error::Configuration("the path of the login gives no token".to_owned()))?;
        self.bare.replace_token(&SecretBytes::from(auth.client_token))?;
        *locked(&self.lease) = Lease {
            whole: Duration::from_secs(auth.lease_duration),
            is_renewable: auth.renewable,
        };
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Renews the token; tells for how long, which is nothing if it has to be got anew.
    async fn renew(&self) -> Result<Duration, Error> {
        let reply = self.bare.call(v1::TokenRenewRequest::default()).await?;
        Ok(Duration::from_secs(reply.info.unwrap_or_default().ttl_s))
    }
}

/// Keeps the token alive until it is aborted.
async fn keep(keeper: Arc<Keeper>) {
    let mut left = locked(&keeper.lease).whole;
    let mut pause = PAUSE_MIN;
    loop {
        let lease = *locked(&keeper.lease);
        let generation = keeper.generation();
        if lease.whole.is_zero() {
            // It never ends; but it may be revoked, and the next token may be of another kind.
            sleep(LOOK).await;
            left = locked(&keeper.lease).whole;
            continue;
        }
        sleep(wait(left)).await;
        if keeper.generation() != generation {
            // Somebody else got a new one meanwhile.
            left = locked(&keeper.lease).whole;
            continue;
        }
        let renewed = match next(lease, Duration::MAX) {
            Next::Renew => keeper.renew().await,
            _ => Ok(Duration::ZERO),
        };
        let answer = match renewed {
            Ok(renewed) if next(lease, renewed) != Next::LogIn => Ok(renewed),
            Err(error) if error.reason() != TOKEN_INVALID => Err(error),
            _ => keeper
                .log_in_again(generation)
                .await
                .map(|()| locked(&keeper.lease).whole),
        };
        match answer {
            Ok(fresh) => {
                left = fresh;
                pause = PAUSE_MIN;
            }
            Err(_) => {
                // Requests log in by themselves if the token ends before this succeeds.
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
                left = Duration::ZERO;
            }
        }
    }
}

/// What to do with a token whose renewal gave so much.
fn next(lease: Lease, renewed: Duration) -> Next {
    match lease {
        Lease { whole, .. } if whole.is_zero() => Next::Nothing,
        // Renewals that give less and less come to the longest that it can live.
        Lease {
            whole,
            is_renewable: true,
        } if renewed >= whole / 2 => Next::Renew,
        _ => Next::LogIn,
    }
}

/// Until when nothing is done for a token that lives so long: between a third and two thirds of it, so that there is time to try again, and programs that were
/// started together do not all come at once.
fn wait(left: Duration) -> Duration {
    jittered(left * 2 / 3).max(WAIT_MIN.min(left))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const TOKEN_INVALID: &str = "TOKEN_INVALID";
/// A login that was refused a moment ago is refused now: a thousand requests that wait for it are no reason to ask a thousand times.
const LOGIN_PAUSE: Duration = Duration::from_secs(1);
/// A token of a second or two is not renewed without end.
const WAIT_MIN: Duration = Duration::from_millis(200);
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether a token without end has become one with an end.
const LOOK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_token_is_renewed_until_that_gives_less() {
        let lease = |whole, is_renewable| Lease { whole, is_renewable };
        for (lease, renewed, expected) in [
            (lease(MINUTE, true), MINUTE, Next::Renew),
            (lease(MINUTE, true), MINUTE / 2, Next::Renew),
            (lease(MINUTE, true), MINUTE / 3, Next::LogIn),
            (lease(MINUTE, false), MINUTE, Next::LogIn),
            (lease(Duration::ZERO, true), MINUTE, Next::Nothing),
        ] {
            assert_eq!(next(lease, renewed), expected);
        }
    }

    #[test]
    fn renewals_come_in_time_and_not_together() {
        let waits: Vec<Duration> = (0..100).map(|_| wait(MINUTE)).collect();
        assert!(waits.iter().all(|wait| (MINUTE / 3..=MINUTE * 2 / 3).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert_eq!(wait(Duration::ZERO), Duration::ZERO);
    }
}
