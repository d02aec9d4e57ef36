//! `auth/token/`: tokens.

use aumbry_auth::canonical;
use aumbry_auth::identity::mfa::LoginWaits;
use aumbry_auth::token::logical::{render_auth, render_lookup, render_renewed};
use aumbry_auth::token::{Create, NewToken};
use aumbry_node::method::failure;
use aumbry_node::{Failure, Operation, Reply, TokenName};
use aumbry_types::{Name, SecretBytes};
use serde_json::json;

use super::content::{Content, encode};
use super::{Absence, Asked, Resolved, malformed, mismatched};
use crate::logical::kv::limit;

/// Makes a token below the caller's.
pub(super) fn create(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    made_by(Create::parse(&asked.body, None).map_err(failure)?)
}

/// Makes one without a parent.
pub(super) fn create_orphan(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let mut create = Create::parse(&asked.body, None).map_err(failure)?;
    create.orphan = true;
    made_by(create)
}

/// Makes one with a role.
pub(super) fn create_with_role(asked: &Asked<'_>, roles: &[String]) -> Result<Resolved, Failure> {
    let role = Name::parse(&canonical(&roles[0])).map_err(|error| Failure::invalid(error.to_string()))?;
    made_by(Create::parse(&asked.body, Some(role)).map_err(failure)?)
}

fn made_by(create: Create) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::TokenCreate(create), |_, reply| match reply {
        Reply::NewToken(new) => made(&new),
        _ => Err(mismatched()),
    }))
}

/// Tells of the caller's token.
pub(super) fn lookup_self(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(told(TokenName::Own, own_text(asked)))
}

/// Tells of a token; as in Vault, of the caller's own if none is named.
pub(super) fn lookup(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(match asked.body.secret("token").map_err(malformed)? {
        Some(token) => {
            let text = token.expose_str().map(str::to_owned);
            told(TokenName::Text(token), text.unwrap_or_default()).or(Absence::BadToken)
        }
        None => told(TokenName::Own, own_text(asked)),
    })
}

/// Tells of the token with an accessor.
pub(super) fn lookup_accessor(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(told(accessor(asked)?, String::new()).or_wrong(ACCESSOR))
}

/// Renews a token.
pub(super) fn renew(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let token = asked.body.required_text("token").map_err(malformed)?;
    let name = TokenName::Text(SecretBytes::from(token.clone()));
    Ok(renewed(asked, name, token)?.or_wrong("token not found"))
}

/// Renews the caller's.
pub(super) fn renew_self(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    renewed(asked, TokenName::Own, own_text(asked))
}

/// Renews that with an accessor.
pub(super) fn renew_accessor(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(renewed(asked, accessor(asked)?, String::new())?.or_wrong(ACCESSOR))
}

/// Revokes a token with all below it. One that is not there is revoked.
pub(super) fn revoke(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::TokenRevoke(named(asked)?)).or_absent())
}

/// Revokes the caller's.
pub(super) fn revoke_self(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::TokenRevoke(TokenName::Own)))
}

/// Revokes that with an accessor.
pub(super) fn revoke_accessor(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::TokenRevoke(accessor(asked)?)).or_absent())
}

/// Revokes a token alone.
pub(super) fn revoke_orphan(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::silent(Operation::TokenOrphan(named(asked)?)).or_wrong("token to revoke not found"))
}

/// Nothing has to be asked for.
pub(super) fn tidy(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::TokenTidy, |_, _| Ok(tidied())))
}

/// What is told of work that the leader does by itself.
pub(super) fn tidied() -> Content {
    Content {
        warnings: vec![
            "what has expired, and what was revoked, is removed by the leader without being asked".to_owned(),
        ],
        is_accepted: true,
        ..Content::default()
    }
}

/// The accessors of all tokens.
pub(super) fn accessors(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let operation = Operation::TokenList {
        after: asked.body.text("after").map_err(malformed)?.unwrap_or_default(),
        limit: limit(asked)?,
    };
    Ok(Resolved::new(operation, |_, reply| match reply {
        Reply::Names(names) => Content::keys(names),
        _ => Err(mismatched()),
    }))
}

fn accessor(asked: &Asked<'_>) -> Result<TokenName, Failure> {
    asked
        .body
        .required_text("accessor")
        .map(TokenName::Accessor)
        .map_err(malformed)
}

fn named(asked: &Asked<'_>) -> Result<TokenName, Failure> {
    let token = asked.body.required_text("token").map_err(malformed)?;
    Ok(TokenName::Text(SecretBytes::from(token)))
}

/// The caller's own token, which it knows anyway.
fn own_text(asked: &Asked<'_>) -> String {
    asked.request.evidence.token.expose_str().unwrap_or_default().to_owned()
}

/// What is told of a token that was made: the only time that its text is.
pub(super) fn made(new: &NewToken) -> Result<Content, Failure> {
    Ok(Content {
        auth: Some(encode(&render_auth(new))?),
        ..Content::default()
    })
}

/// What is told of a login that waits for its second factor: what it waits for, and no token.
pub(super) fn waits(waits: &LoginWaits) -> Result<Content, Failure> {
    let auth = json!({
        "client_token": "",
        "accessor": "",
        "policies": null,
        "token_policies": null,
        "identity_policies": null,
        "metadata": null,
        "lease_duration": 0,
        "renewable": false,
        "entity_id": waits.entity.map(|id| id.to_string()),
        "token_type": "default",
        "orphan": false,
        "mfa_requirement": waits.requirement(),
        "num_uses": 0,
    });
    Ok(Content {
        auth: Some(encode(&auth)?),
        warnings: vec![
            "a login request was issued that is subject to MFA validation; send the passcode to sys/mfa/validate"
                .to_owned(),
        ],
        ..Content::default()
    })
}

fn told(name: TokenName, text: String) -> Resolved {
    let text = (!text.is_empty()).then(|| SecretBytes::from(text));
    Resolved::new(Operation::TokenLookup(name), move |_, reply| match reply {
        Reply::Token(info) => Content::data(&render_lookup(&info, text.as_ref())),
        _ => Err(mismatched()),
    })
}

fn renewed(asked: &Asked<'_>, name: TokenName, text: String) -> Result<Resolved, Failure> {
    let increment_s = asked.body.seconds("increment").map_err(malformed)?.unwrap_or(0);
    let text = (!text.is_empty()).then(|| SecretBytes::from(text));
    Ok(Resolved::new(
        Operation::TokenRenew(name, increment_s),
        move |_, reply| match reply {
            Reply::Token(info) => Ok(Content {
                auth: Some(encode(&render_renewed(&info, text.as_ref()))?),
                ..Content::default()
            }),
            _ => Err(mismatched()),
        },
    ))
}

/// As clients know it.
pub(super) const ACCESSOR: &str = "invalid accessor";
