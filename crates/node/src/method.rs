//! What is asked of auth methods: requests about their roles and users, and logins.

use std::sync::Arc;

use aumbry_auth::identity::mfa;
use aumbry_auth::token::logical::RoleRequest;
use aumbry_auth::{
    Error, KeptRequest, Voucher, approle, cert, cubbyhole, identity, jwt, kubernetes, ldap, lockout, namespace,
    userpass,
};
use aumbry_types::{MountPath, SecretBytes};

use crate::ceremony::{generate_root, rekey};
use crate::{Class, Failure, erasure, keys, passwords, quotas};

/// One named value of a request, for its record.
pub struct Said {
    /// The name of the field.
    pub name: String,
    /// The value, as text or JSON.
    pub value: SecretBytes,
    /// Whether the record may show it.
    pub is_clear: bool,
}

/// What is asked by path of something that speaks JSON by itself.
pub enum Asked {
    /// Of an AppRole mount.
    AppRole(MountPath, approle::Request),
    /// Of a userpass mount.
    Userpass(MountPath, userpass::Request),
    /// Of a jwt mount, or one of its other name, oidc.
    Jwt(MountPath, KeptRequest),
    /// Of a kubernetes mount.
    Kubernetes(MountPath, KeptRequest),
    /// Of an ldap mount.
    Ldap(MountPath, ldap::Request),
    /// Of a cert mount.
    Cert(MountPath, cert::Request),
    /// Of the roles of tokens.
    TokenRole(RoleRequest),
    /// Of the caller's cubbyhole.
    Cubbyhole(cubbyhole::Request),
    /// Of entities and groups.
    Identity(identity::Request),
    /// Of second factors.
    Mfa(mfa::Request),
    /// Of rate limits.
    Quota(quotas::Request),
    /// Of namespaces.
    Namespace(namespace::Request),
    /// Of the keys that seal what is stored.
    Keys(keys::Request),
    /// Of what is to go from the disks.
    Erasure(erasure::Request),
    /// Of new key shares.
    Rekey(rekey::Request),
    /// Of a root token that is made with shares.
    GenerateRoot(generate_root::Request),
    /// Of policies of passwords.
    Password(passwords::Request),
    /// Of locked users.
    Lockout(lockout::Request),
}

/// A request by path, in the form in which it is decided, recorded and planned.
pub struct MethodAsk {
    /// The whole path, in its canonical form.
    pub path: String,
    /// The capability, unless a write finds nothing there: then it is `create`.
    pub verb: aumbry_logical::Verb,
    /// What is asked.
    pub asked: Asked,
    /// What was said, for the record.
    pub said: Vec<Said>,
}

impl MethodAsk {
    /// Whether it changes anything.
    pub(crate) const fn is_write(&self) -> bool {
        match &self.asked {
            Asked::AppRole(_, request) => request.is_write(),
            Asked::Userpass(_, request) => request.is_write(),
            Asked::Jwt(_, request) | Asked::Kubernetes(_, request) => request.is_write(),
            Asked::Ldap(_, request) => request.is_write(),
            Asked::Cert(_, request) => request.is_write(),
            Asked::TokenRole(request) => request.is_write(),
            Asked::Cubbyhole(request) => request.is_write(),
            Asked::Identity(request) => request.is_write(),
            Asked::Mfa(request) => request.is_write(),
            Asked::Quota(request) => request.is_write(),
            Asked::Namespace(request) => request.is_write(),
            Asked::Keys(request) => request.is_write(),
            Asked::Erasure(request) => request.is_write(),
            Asked::Rekey(request) => request.is_write(),
            Asked::GenerateRoot(request) => request.is_write(),
            Asked::Password(request) => request.is_write(),
            Asked::Lockout(request) => request.is_write(),
        }
    }

    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match (&self.asked, self.is_write()) {
            (Asked::AppRole(..), true) => "approle.write",
            (Asked::AppRole(..), false) => "approle.read",
            (Asked::Userpass(..), true) => "userpass.write",
            (Asked::Userpass(..), false) => "userpass.read",
            (Asked::Jwt(..), true) => "jwt.write",
            (Asked::Jwt(..), false) => "jwt.read",
            (Asked::Kubernetes(..), true) => "kubernetes.write",
            (Asked::Kubernetes(..), false) => "kubernetes.read",
            (Asked::Ldap(..), true) => "ldap.write",
            (Asked::Ldap(..), false) => "ldap.read",
            (Asked::Cert(..), true) => "cert.write",
            (Asked::Cert(..), false) => "cert.read",
            (Asked::TokenRole(_), true) => "token.role.write",
            (Asked::TokenRole(_), false) => "token.role.read",
            (Asked::Cubbyhole(_), true) => "cubbyhole.write",
            (Asked::Cubbyhole(_), false) => "cubbyhole.read",
            (Asked::Identity(_), true) => "identity.write",
            (Asked::Identity(_), false) => "identity.read",
            (Asked::Mfa(_), true) => "mfa.write",
            (Asked::Mfa(_), false) => "mfa.read",
            (Asked::Quota(_), true) => "quota.write",
            (Asked::Quota(_), false) => "quota.read",
            (Asked::Namespace(_), true) => "namespace.write",
            (Asked::Namespace(_), false) => "namespace.read",
            (Asked::Keys(keys::Request::Rotate), _) => "keys.rotate",
            (Asked::Keys(keys::Request::Retire(_)), _) => "keys.retire",
            (Asked::Keys(_), true) => "keys.write",
            (Asked::Keys(_), false) => "keys.read",
            (Asked::Erasure(_), true) => "erasure.begin",
            (Asked::Erasure(_), false) => "erasure.read",
            (Asked::Rekey(request), _) => request.name(),
            (Asked::GenerateRoot(request), _) => request.name(),
            (Asked::Password(passwords::Request::Generate(_)), _) => "password.generate",
            (Asked::Password(_), true) => "password-policy.write",
            (Asked::Password(_), false) => "password-policy.read",
            (Asked::Lockout(_), true) => "lockout.unlock",
            (Asked::Lockout(_), false) => "lockout.list",
        }
    }
}

/// What is shown at a login.
pub enum Shown {
    /// A role id and a secret id.
    AppRole(approle::LoginRequest),
    /// A name and a password. It goes to another thread to be verified.
    Userpass(Arc<userpass::LoginRequest>),
    /// Codes for a login that waits for them, at any mount.
    SecondFactor(mfa::Validation),
    /// A token of an issuer.
    Jwt(Voucher),
    /// Nothing yet: where is a browser to be sent?
    Begin(jwt::browser::Begin),
    /// What an issuer sent a browser back with.
    Callback(jwt::browser::Callback),
    /// A token of a service account.
    Kubernetes(Voucher),
    /// A name and a password that a directory knows.
    Ldap(ldap::LoginRequest),
    /// The certificate of the connection.
    Cert(cert::LoginRequest),
    /// A key share, by which a root token is made.
    Custodian(generate_root::Custodian),
    /// What the method cannot read, and why. There is nothing to decide; it is counted as a refusal.
    Malformed(String),
}

/// A login. It takes no token.
pub struct LoginAsk {
    /// Where the method is mounted, without `auth/`.
    pub mount: MountPath,
    /// The whole path, in its canonical form.
    pub path: String,
    /// What is shown.
    pub shown: Shown,
    /// Codes of second factors that are shown with it. Without any, a login that needs one waits for it.
    pub codes: mfa::Codes,
}

impl LoginAsk {
    /// A login at a mount, without a second factor.
    #[must_use]
    pub fn new(mount: MountPath, path: String, shown: Shown) -> Self {
        let codes = mfa::Codes::default();
        Self {
            mount,
            path,
            shown,
            codes,
        }
    }

    /// The codes of a login that waits for them, at whatever mount.
    ///
    /// # Errors
    /// [`Failure`] never: its names are fixed.
    pub fn second_factor(shown: Shown) -> Result<Self, Failure> {
        let mount = MountPath::parse("mfa").map_err(|error| Failure::internal(error.to_string()))?;
        let path = SECOND_FACTOR.to_owned();
        Ok(Self::new(mount, path, shown))
    }

    /// A key share that is shown for a root token.
    ///
    /// # Errors
    /// [`Failure`] never: its names are fixed.
    pub fn custodian(path: String, shown: generate_root::Custodian) -> Result<Self, Failure> {
        let mount = MountPath::parse("shares").map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Self::new(mount, path, Shown::Custodian(shown)))
    }

    /// Whether nothing is stored for it whatever comes of it.
    #[must_use]
    pub const fn stores_nothing(&self) -> bool {
        matches!(self.shown, Shown::Begin(_))
    }

    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match &self.shown {
            Shown::Custodian(shown) => shown.name(),
            Shown::AppRole(_) => "approle.login",
            Shown::Userpass(_) => "userpass.login",
            Shown::SecondFactor(_) => "mfa.validate",
            Shown::Jwt(_) => "jwt.login",
            Shown::Begin(_) => "oidc.auth-url",
            Shown::Callback(_) => "oidc.login",
            Shown::Kubernetes(_) => "kubernetes.login",
            Shown::Ldap(_) => "ldap.login",
            Shown::Cert(_) => "cert.login",
            Shown::Malformed(_) => "login.malformed",
        }
    }

    /// Whether what is shown is verified outside of any plan: that costs a hash, a signature or a request to somebody else.
    pub(crate) const fn is_dear(&self) -> bool {
        match self.shown {
            Shown::AppRole(_) | Shown::SecondFactor(_) | Shown::Custodian(_) | Shown::Malformed(_) => false,
            Shown::Userpass(_) | Shown::Jwt(_) | Shown::Kubernetes(_) | Shown::Ldap(_) | Shown::Cert(_) => true,
            Shown::Begin(_) | Shown::Callback(_) => true,
        }
    }

    /// Whether it changes anything.
    pub(crate) const fn is_write(&self) -> bool {
        !matches!(self.shown, Shown::Begin(_))
    }

    /// The role that it names, for limits on it.
    pub(crate) fn role(&self) -> Option<&str> {
        match &self.shown {
            // A role id is no name.
            Shown::AppRole(_) | Shown::Userpass(_) | Shown::Ldap(_) | Shown::SecondFactor(_) => None,
            Shown::Custodian(_) | Shown::Malformed(_) => None,
            Shown::Jwt(shown) => shown.role_text(),
            Shown::Begin(shown) => shown.role_text(),
            // It is sealed into the state.
            Shown::Callback(_) => None,
            Shown::Kubernetes(shown) => shown.role_text(),
            Shown::Cert(shown) => shown.name_text(),
        }
    }

    /// What a client is told of any refusal.
    pub(crate) const fn refusal(&self) -> &'static str {
        match self.shown {
            Shown::AppRole(_) => "invalid role or secret ID",
            Shown::Userpass(_) => "invalid username or password",
            Shown::SecondFactor(_) => "login MFA validation failed",
            Shown::Jwt(_) | Shown::Begin(_) | Shown::Callback(_) => jwt::REFUSED,
            Shown::Kubernetes(_) => kubernetes::REFUSED,
            Shown::Ldap(_) => ldap::REFUSED,
            Shown::Cert(_) => cert::REFUSED,
            Shown::Custodian(_) => "the key share does not count",
            Shown::Malformed(_) => "the login could not be read",
        }
    }

    /// The type of its mount.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.shown {
            Shown::AppRole(_) => "approle",
            Shown::Userpass(_) => "userpass",
            Shown::SecondFactor(_) | Shown::Custodian(_) | Shown::Malformed(_) => "",
            Shown::Jwt(_) | Shown::Begin(_) | Shown::Callback(_) => "jwt",
            Shown::Kubernetes(_) => "kubernetes",
            Shown::Ldap(_) => "ldap",
            Shown::Cert(_) => "cert",
        }
    }
}

/// Where codes are sent.
const SECOND_FACTOR: &str = "sys/mfa/validate";

/// What is done with a wrapped reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwrapping {
    /// It is opened.
    Open,
    /// It is told of.
    Lookup,
    /// It is wrapped anew.
    Rewrap,
}

/// A request about a wrapped reply. The wrapping token itself is enough for it.
pub struct WrappedAsk {
    /// What is to be done.
    pub what: Unwrapping,
    /// The wrapping token.
    pub token: SecretBytes,
}

impl WrappedAsk {
    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self.what {
            Unwrapping::Open => "wrapping.unwrap",
            Unwrapping::Lookup => "wrapping.lookup",
            Unwrapping::Rewrap => "wrapping.rewrap",
        }
    }
}

/// What a method's error is to a client.
#[must_use]
pub fn failure(error: Error) -> Failure {
    match error {
        Error::NotFound => Failure::new(Class::NotFound, "NOT_FOUND", error.to_string()),
        Error::Unsupported => Failure::new(
            Class::InvalidArgument,
            "UNSUPPORTED_OPERATION",
            "unsupported operation on this path",
        ),
        Error::Field(_) | Error::Namespace(_) | Error::Invalid(_) => Failure::invalid(error.to_string()),
        Error::Limited(text) => Failure::limited(text),
        Error::Damaged(damaged) => damaged.into(),
    }
}
