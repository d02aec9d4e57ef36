//! Logins by a browser: where it is sent, and what it came back with. The issuer is asked here, outside of any plan.

mod beginnings;
mod tried;

use aumbry_auth::jwt::Reason;
use aumbry_auth::jwt::browser::{self, Begin, BeginError, Callback, Tokens, TokensError};
use aumbry_barrier::Txn;
use aumbry_types::SecretBytes;
use serde_json::json;

use crate::logins::{LoggedIn, Verified, find};
use crate::method::LoginAsk;
use crate::mounts::AuthCache;
use crate::pipeline::{Made, STALE, source_of};
use crate::vouchers::{Asker, unavailable};
use crate::{Class, Failure, Node, Reply, Request, restored};

pub(crate) use beginnings::Beginnings;
pub(crate) use tried::TriedStates;

impl Node {
    /// Finds out where the issuer of a mount lets in people.
    pub(crate) async fn find_provider(&self, request: &Request, ask: &LoginAsk) -> Result<Verified, Failure> {
        let known = self.prepare(&request.namespace, ask, browser::prepare_begin)?.flatten();
        let Some(known) = known else {
            return Ok(Verified::Provider(None));
        };
        let provider = self.provider_of(&known.provider, request.deadline).await?;
        Ok(Verified::Provider(Some(known.with(provider))))
    }

    /// Exchanges a code for an ID token, once for each request, and verifies its signature.
    pub(crate) async fn exchange(
        &self,
        request: &Request,
        ask: &LoginAsk,
        callback: &Callback,
    ) -> Result<Verified, Failure> {
        if callback.error().is_some() {
            return Ok(Verified::Nothing);
        }
        let prepared = self.prepare(&request.namespace, ask, |txn, mount| {
            browser::prepare(txn, mount, callback)
        })?;
        let exchange = match prepared {
            Some(Ok(exchange)) => exchange,
            Some(Err(verified)) => return Ok(Verified::Jwt(verified)),
            None => return Ok(Verified::Nothing),
        };
        let given = match callback.exchanged() {
            Some(given) => given,
            None if self.tried.has(exchange.state()) => {
                return Ok(Verified::Jwt(exchange.refused(Reason("tried state"))));
            }
            None => {
                let remote = exchange.remote();
                let provider = self.provider_of(remote, request.deadline).await?;
                if let Err(reason) = exchange.check_sender(&provider) {
                    return Ok(Verified::Jwt(exchange.refused(reason)));
                }
                let answer = self
                    .post(remote, provider.token, exchange.form(), Asker::of(request))
                    .await?;
                let given = match Tokens::parse(answer.code, &answer.body) {
                    Ok(tokens) => Ok(tokens),
                    Err(TokensError::Refused(reason)) => Err(reason),
                    Err(error) => {
                        self.tell_of(remote, format_args!("no code can be exchanged: {error}"));
                        return Err(unavailable());
                    }
                };
                self.tried.add(exchange.state(), self.clock.boottime_ms());
                callback.keep(given)
            }
        };
        Ok(Verified::Jwt(match given {
            Ok(tokens) => {
                let challenge = exchange.into_challenge(tokens);
                self.verify_jwt(challenge, tokens.id_token(), request.deadline).await?
            }
            Err(reason) => exchange.refused(*reason),
        }))
    }

    /// Plans the beginning. It stores nothing. Each address that is given is on record by itself, and so there is a bound on them; of refusals from one source
    /// in a minute there is only the number on record beyond the first: whoever has no token must not fill the log.
    pub(crate) fn begin(
        &self,
        txn: &mut Txn<'_>,
        auth: &mut AuthCache,
        request: &Request,
        (ask, begin): (&LoginAsk, &Begin),
        verified: &Verified,
        is_known: bool,
    ) -> Result<Made, Failure> {
        let mount = match is_known {
            true => find(txn, auth, ask.mount.as_str(), ask.kind())?,
            false => None,
        };
        let known = match verified {
            Verified::Provider(known) => known.as_ref(),
            _ => None,
        };
        let begun = match mount {
            _ if auth.is_quarantined(txn) => Err(restored::quarantined()),
            Some(mount) => browser::begin(txn, mount.root, begin, known).map_err(failure),
            None => Err(failure(BeginError::NotSetUp)),
        };
        let begun = begun.and_then(|begun| match begun.url.is_empty() {
            true => Ok(begun),
            false => self.count_beginning(request).map(|()| begun),
        });
        match begun {
            Ok(begun) => Ok(Made {
                is_only_counted: begun.url.is_empty() && self.count_refusal(request).is_err(),
                result: Ok(Reply::Json {
                    data: SecretBytes::from(json!({ "auth_url": begun.url }).to_string()),
                    warnings: Vec::new(),
                }),
                rule: begun.why.to_owned(),
                ..Made::default()
            }),
            Err(failure) if failure.reason == STALE => Err(failure),
            Err(failure) => Ok(Made {
                is_only_counted: self.count_refusal(request).is_err(),
                result: Err(failure),
                ..Made::default()
            }),
        }
    }

    /// Refuses an address to a source that was given many in this minute.
    fn count_beginning(&self, request: &Request) -> Result<(), Failure> {
        let source = source_of(&request.evidence.client_address);
        let taken = self.beginnings.take(source, self.clock.boottime_ms());
        taken.map_err(|wait_ms| {
            let text = "too many logins were begun from this address within a minute; try again later";
            let mut failure = Failure::new(Class::ResourceExhausted, "TOO_MANY_LOGINS", text);
            failure.retry_after_ms = wait_ms;
            failure
        })
    }
}

/// What whoever was sent away by the issuer is told: it is the issuer's word, and there is nothing to find out by it.
pub(crate) fn refused_by_issuer(callback: &Callback) -> Option<LoggedIn> {
    let error = callback.error()?;
    let text =
        format!("the issuer did not let the user in ({error}); begin the login again, or ask who runs the issuer");
    Some(LoggedIn::Refused {
        failure: Failure::new(Class::InvalidArgument, "ISSUER_REFUSED", text),
        is_counted: false,
        why: "issuer's error",
    })
}

fn failure(error: BeginError) -> Failure {
    match error {
        BeginError::Damaged(damaged) => damaged.into(),
        BeginError::Stale => Failure::new(Class::Aborted, STALE, error.to_string()),
        BeginError::NotSetUp | BeginError::NoRole | BeginError::TooLong => Failure::invalid(error.to_string()),
    }
}
