//! What is shown at the methods that take a token of somebody else: a role, and the token.

use aumbry_logical::{Body, FieldError};
use aumbry_types::{Name, SecretBytes};

use crate::answer::LoginError;

/// A role and a token that speaks for whoever logs in.
pub struct Voucher {
    /// As it was sent, in lower case; empty if it was not.
    role: String,
    jwt: SecretBytes,
}

impl Voucher {
    /// Reads a request to `login`. The role may be left out, for the configured one. Names of roles are taken in any case, and then in lower case.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(body: &Body) -> Result<Self, LoginError> {
        let jwt = body.secret("jwt")?.filter(|jwt| !jwt.is_empty());
        Ok(Self {
            role: body.text("role")?.unwrap_or_default().to_ascii_lowercase(),
            jwt: jwt.ok_or(FieldError::Missing("jwt"))?,
        })
    }

    /// As that, where no role is configured to stand for one that is left out.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse_with_role(body: &Body) -> Result<Self, LoginError> {
        body.required_text("role")?;
        Self::parse(body)
    }

    /// Which role is asked for, if it can be one.
    #[must_use]
    pub fn role(&self) -> Option<Name> {
        Name::parse(&self.role).ok()
    }

    /// As it was asked for, if it was.
    #[must_use]
    pub fn role_text(&self) -> Option<&str> {
        Some(self.role.as_str()).filter(|role| !role.is_empty())
    }

    /// The token.
    #[must_use]
    pub const fn jwt(&self) -> &SecretBytes {
        &self.jwt
    }
}
