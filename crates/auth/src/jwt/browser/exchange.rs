//! The exchange of a code for an ID token (RFC 6749, section 4.1.3).

use aumbry_logical::Body;
use aumbry_types::{ObjectId, SecretBytes, percent};
use serde_json::Value;

use super::text;
use crate::jwt::{Challenge, Provider, Reason, Remote, Verified};

/// A code, and what it is exchanged with.
pub struct Exchange {
    pub(super) state: ObjectId,
    /// Whether the client says that nobody said who sent the browser.
    pub(super) is_nameless: bool,
    pub(super) remote: Remote,
    pub(super) client_id: String,
    pub(super) client_secret: SecretBytes,
    pub(super) code: SecretBytes,
    pub(super) redirect_uri: String,
    pub(super) verifier: SecretBytes,
    pub(super) challenge: Challenge,
}

/// What is posted.
pub struct Form {
    /// The form.
    pub body: SecretBytes,
    /// Name and password of the client (RFC 6749, section 2.3.1), for one that has a secret.
    pub basic: Option<SecretBytes>,
}

/// What the issuer gave.
pub struct Tokens {
    id_token: SecretBytes,
    /// Looked at for the hash that the ID token may have of it, and for nothing else; empty if there is none.
    access_token: SecretBytes,
}

/// Why there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokensError {
    /// The issuer gives none for this code.
    #[error("the issuer takes no such code")]
    Refused(Reason),
    /// The issuer does not take this client: the configuration is wrong.
    #[error("the issuer does not take the client: see oidc_client_id and oidc_client_secret")]
    Client,
    /// It is no answer.
    #[error("the issuer answers with code {0}, or with no JSON object")]
    Unfit(u16),
}

impl Exchange {
    /// The issuer.
    #[must_use]
    pub const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What tells the state of this login from all others.
    #[must_use]
    pub const fn state(&self) -> ObjectId {
        self.state
    }

    /// Whether the browser may come from this issuer: one that names itself always does. Of a client that does not hand the name on, such as Vault's, nothing
    /// is known.
    ///
    /// # Errors
    /// [`Reason`]
    pub const fn check_sender(&self, provider: &Provider) -> Result<(), Reason> {
        match provider.names_itself && self.is_nameless {
            true => Err(Reason("issuer of the answer")),
            false => Ok(()),
        }
    }

    /// What is posted to it.
    #[must_use]
    pub fn form(&self) -> Form {
        let mut pairs: Vec<(&str, &[u8])> = vec![
            ("grant_type", b"authorization_code"),
            ("code", self.code.expose()),
            ("redirect_uri", self.redirect_uri.as_bytes()),
            ("code_verifier", self.verifier.expose()),
        ];
        let has_secret = !self.client_secret.is_empty();
        if !has_secret {
            pairs.push(("client_id", self.client_id.as_bytes()));
        }
        Form {
            body: text::pairs(&pairs),
            basic: has_secret.then(|| self.basic()),
        }
    }

    fn basic(&self) -> SecretBytes {
        let mut text = Vec::with_capacity((self.client_id.len() + self.client_secret.len()) * 3 + 1);
        percent::encode(&mut text, self.client_id.as_bytes());
        text.push(b':');
        percent::encode(&mut text, self.client_secret.expose());
        SecretBytes::new(text)
    }

    /// What the ID token of these is verified by.
    #[must_use]
    pub fn into_challenge(self, tokens: &Tokens) -> Challenge {
        self.challenge.beside(tokens.access_token.duplicate())
    }

    /// What became of it without an ID token.
    #[must_use]
    pub fn refused(self, reason: Reason) -> Verified {
        self.challenge.conclude(Err(reason))
    }
}

impl Tokens {
    /// Reads an answer.
    ///
    /// # Errors
    /// [`TokensError`]
    pub fn parse(code: u16, body: &[u8]) -> Result<Self, TokensError> {
        let body = Body::parse(body).map_err(|_| TokensError::Unfit(code))?;
        match (code, body.get("error").and_then(Value::as_str)) {
            (200, _) => {}
            (400 | 401 | 403, Some("invalid_client" | "unauthorized_client")) | (401, _) => {
                return Err(TokensError::Client);
            }
            (400 | 403, Some(_)) => return Err(TokensError::Refused(Reason("code"))),
            _ => return Err(TokensError::Unfit(code)),
        }
        let text = |name| body.secret(name).ok().flatten().unwrap_or_default();
        let id_token = text("id_token");
        if id_token.is_empty() {
            return Err(TokensError::Refused(Reason("no ID token")));
        }
        Ok(Self {
            id_token,
            access_token: text("access_token"),
        })
    }

    /// The ID token.
    #[must_use]
    pub const fn id_token(&self) -> &SecretBytes {
        &self.id_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_tokens_or_says_whose_fault_it_is() {
        let check = |code, body: &str, expected: Result<&str, TokensError>| {
            let parsed = Tokens::parse(code, body.as_bytes());
            let told = parsed
                .as_ref()
                .map(|tokens| tokens.id_token().expose_str().unwrap_or_default());
            assert_eq!(told.map_err(|error| *error), expected, "{code} {body}");
        };
        check(200, r#"{"id_token":"a.b.c","access_token":"x"}"#, Ok("a.b.c"));
        check(200, r#"{"id_token":"a.b.c"}"#, Ok("a.b.c"));
        check(
            200,
            r#"{"access_token":"x"}"#,
            Err(TokensError::Refused(Reason("no ID token"))),
        );
        check(
            200,
            r#"{"id_token":["a"]}"#,
            Err(TokensError::Refused(Reason("no ID token"))),
        );
        check(200, "nonsense", Err(TokensError::Unfit(200)));
        check(302, "{}", Err(TokensError::Unfit(302)));
        check(
            400,
            r#"{"error":"invalid_grant"}"#,
            Err(TokensError::Refused(Reason("code"))),
        );
        check(400, r#"{"error":"invalid_client"}"#, Err(TokensError::Client));
        check(401, "{}", Err(TokensError::Client));
        check(400, "{}", Err(TokensError::Unfit(400)));
        check(429, r#"{"error":"slow_down"}"#, Err(TokensError::Unfit(429)));
        check(500, r#"{"error":"server_error"}"#, Err(TokensError::Unfit(500)));
    }
}
