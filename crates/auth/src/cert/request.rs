//! What can be asked of the method, by path below its mount.

use aumbry_barrier::{Kind, Txn};
use aumbry_logical::{Body, Verb};
use aumbry_types::{Name, ObjectId};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::entry::Entry;
use crate::Place;
use crate::answer::{Answer, Error, object, parse_name};
use crate::kept;

/// A request of somebody who has a token. A login is a [`super::LoginRequest`].
pub enum Request {
    /// About entries.
    Entries(kept::Request),
    /// Writes a list of revoked certificates, in PEM.
    WriteCrl(Name, String),
    /// Reads one.
    ReadCrl(Name),
    /// Removes one.
    DeleteCrl(Name),
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        if let Some(name) = path.strip_prefix("crls/") {
            let name = parse_name(name)?;
            if name.as_str() == kept::CONFIG {
                return Err(Error::Invalid(
                    "a list of revoked certificates cannot have the name config",
                ));
            }
            return match verb {
                Verb::Write => Ok(Self::WriteCrl(name, crl(&body)?)),
                Verb::Read => Ok(Self::ReadCrl(name)),
                Verb::Delete => Ok(Self::DeleteCrl(name)),
                _ => Err(Error::Unsupported),
            };
        }
        kept::Request::parse("certs", verb, path, body).map(Self::Entries)
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Entries(request) => request.is_write(),
            Self::WriteCrl(..) | Self::DeleteCrl(_) => true,
            Self::ReadCrl(_) => false,
        }
    }

    /// Whether what it is about is there: a write where nothing is needs `create` instead of `update`.
    ///
    /// # Errors
    /// [`Error::Damaged`]
    pub fn exists(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<bool, Error> {
        match self {
            Self::Entries(request) => request.exists(txn, mount),
            Self::WriteCrl(name, _) => Ok(txn.lookup(Place::Settings.of(mount), name.as_str())?.is_some()),
            _ => Ok(true),
        }
    }
}

/// A list of revoked certificates.
#[derive(Serialize, Deserialize)]
pub(super) struct Crl {
    pem: String,
}

impl kept::Stored for Crl {}

impl Crl {
    /// As webpki takes it.
    pub(super) fn der(&self) -> Option<Vec<u8>> {
        let der = CertificateRevocationListDer::from_pem_slice(self.pem.as_bytes());
        der.ok().map(|der| der.to_vec())
    }
}

/// Plans a request on the mount with this object.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<Answer, Error> {
    let crls = Place::Settings.of(mount);
    match request {
        Request::Entries(request) => request.plan::<Config, Entry>(txn, mount),
        Request::WriteCrl(name, pem) => {
            let is_new = txn.lookup(crls, name.as_str())?.is_none();
            let others = txn
                .list(crls)?
                .iter()
                .filter(|child| child.name != kept::CONFIG)
                .count();
            if is_new && others >= CRLS_MAX {
                return Err(Error::Invalid("at most 16 lists of revoked certificates"));
            }
            kept::put(txn, crls, name.as_str(), Kind::MethodRole, &Crl { pem: pem.clone() })?;
            Ok(Answer::done())
        }
        Request::ReadCrl(name) => {
            let found = kept::find::<Crl>(txn, crls, name.as_str(), Kind::MethodRole)?.ok_or(Error::NotFound)?;
            Ok(Answer::of(object([("crl", found.value.pem.into())])))
        }
        Request::DeleteCrl(name) => {
            if let Some(child) = txn.lookup(crls, name.as_str())? {
                txn.remove(crls, name.as_str())?;
                txn.read_object(child.id, Kind::MethodRole)?;
                txn.delete_object(child.id);
            }
            Ok(Answer::done())
        }
    }
}

fn crl(body: &Body) -> Result<String, Error> {
    let pem = body.required_text("crl")?;
    let der = CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).ok();
    let is_crl = der.is_some_and(|der| webpki::OwnedCertRevocationList::from_der(&der).is_ok());
    if pem.len() > CRL_BYTES_MAX || !is_crl {
        return Err(Error::Invalid(
            "crl is one list of revoked certificates in PEM, of at most 256 KiB",
        ));
    }
    Ok(pem)
}

/// Each is read at every login.
pub(super) const CRLS_MAX: usize = 16;
/// Some thousands of certificates.
const CRL_BYTES_MAX: usize = 256 << 10;
