//! The HTTP interface, as clients of Vault use it, against real processes.

mod abuse;
mod batch;
mod bed;
mod cert;
mod identity;
mod jwt;
mod keys;
mod known;
mod kubernetes;
mod ldap;
mod logins;
mod manual;
mod mfa;
mod mounts;
mod namespaces;
mod numbers;
mod oidc;
mod parity;
mod passwords;
mod provider;
mod quotas;
mod rekey;
mod rules;
#[path = "../../../crates/auth/tests/jwt/signer.rs"]
mod signer;
mod surface;
mod system;
mod tokens;
mod transparency;
