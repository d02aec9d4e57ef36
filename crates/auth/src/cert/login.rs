//! The login, in three steps: what can let somebody in is found, the certificate is verified by it outside of any plan, and the plan rests on that.

use aumbry_barrier::{DamagedRow, Kind, Txn};
use aumbry_logical::Body;
use aumbry_types::{Name, ObjectId};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::binding::fingerprint;
use super::config::Config;
use super::entry::Entry;
use super::facts::Facts;
use super::request::{CRLS_MAX, Crl};
use crate::Place;
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::fields::is_plain;
use crate::jwt::Reason;
use crate::kept::{self, Found};
use crate::token::Login;

/// What is asked for at a login. What is shown is the certificate of the connection.
pub struct LoginRequest {
    name: String,
    /// A digest of the certificate that the connection showed; of nothing, without one.
    certificate: [u8; 32],
}

impl LoginRequest {
    /// Reads a request to `login`, on a connection that showed these certificates.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(body: &Body, chain: &[Vec<u8>]) -> Result<Self, LoginError> {
        let leaf = chain.first().map_or(&[][..], Vec::as_slice);
        Ok(Self {
            certificate: aumbry_crypto::sha256(&[leaf]),
            name: body.text("name")?.unwrap_or_default().to_ascii_lowercase(),
        })
    }

    /// As it was asked for, by the entry that let it in.
    pub(super) fn again(name: &str, leaf: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            certificate: aumbry_crypto::sha256(&[leaf]),
        }
    }

    /// Which entry is asked for, if it can be one.
    #[must_use]
    pub fn name(&self) -> Option<Name> {
        Name::parse(&self.name).ok()
    }

    /// As it was asked for, if it was.
    #[must_use]
    pub fn name_text(&self) -> Option<&str> {
        Some(self.name.as_str()).filter(|name| !name.is_empty())
    }

    /// SHA-256 of the certificate that is shown: with another one it is another request.
    #[must_use]
    pub const fn certificate(&self) -> &[u8; 32] {
        &self.certificate
    }
}

/// What a certificate is verified by.
pub struct Challenge {
    entries: Vec<Found<Entry>>,
    crls: Vec<Vec<u8>>,
    is_strict: bool,
    /// How the method was set up.
    config: Option<[u8; 32]>,
    now_s: u64,
}

/// What a certificate was found to be, by what stood then.
pub struct Verified {
    found: Result<Match, Reason>,
    config: Option<[u8; 32]>,
}

struct Match {
    /// The entry that lets it in.
    entry: [u8; 32],
    name: String,
    facts: Facts,
    fingerprint: String,
}

impl Verified {
    /// There was nothing to verify by.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            found: Err(Reason("no entry")),
            config: None,
        }
    }
}

impl Challenge {
    /// Verifies a chain of certificates, of which the first is the holder's. Some hundred microseconds for each entry that is tried.
    #[must_use]
    pub fn verify(&self, chain: &[Vec<u8>]) -> Verified {
        Verified {
            found: self.find(chain),
            config: self.config,
        }
    }

    fn find(&self, chain: &[Vec<u8>]) -> Result<Match, Reason> {
        let (leaf, above) = chain.split_first().ok_or(Reason("no certificate"))?;
        if above.len() > CHAIN_MAX {
            return Err(Reason("too long"));
        }
        let facts = Facts::read(leaf)?;
        let mut why = Reason("no entry");
        for entry in &self.entries {
            let verified = self.verify_by(&entry.value, leaf, above, &facts);
            match verified.and_then(|()| entry.value.check(&facts)) {
                Ok(()) => {
                    return Ok(Match {
                        entry: entry.digest,
                        name: entry.value.name.clone(),
                        facts,
                        fingerprint: fingerprint(leaf),
                    });
                }
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    fn verify_by(&self, entry: &Entry, leaf: &[u8], above: &[Vec<u8>], facts: &Facts) -> Result<(), Reason> {
        let known = entry.certificates();
        if known.iter().any(|known| known.as_ref() == leaf) {
            return check_time(facts, self.now_s);
        }
        let authorities: Vec<_> = known.iter().filter(|known| is_authority(known)).collect();
        let anchors: Vec<_> = authorities
            .iter()
            .filter_map(|known| webpki::anchor_from_trusted_cert(known).ok())
            .collect();
        if anchors.is_empty() {
            return Err(Reason("unknown certificate"));
        }
        let leaf = CertificateDer::from(leaf);
        let above: Vec<CertificateDer<'_>> = above.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let crls: Vec<CertRevocationList<'_>> = self
            .crls
            .iter()
            .filter_map(|der| BorrowedCertRevocationList::from_der(der).ok())
            .map(CertRevocationList::from)
            .collect();
        let crls: Vec<&CertRevocationList<'_>> = crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok();
        let revocation = match self.is_strict {
            true => {
                let options = revocation.ok_or(Reason("no list"))?;
                let options = options.with_status_policy(UnknownStatusPolicy::Deny);
                Some(options.with_expiration_policy(ExpirationPolicy::Enforce).build())
            }
            // Of an authority without a list nobody says that anything is revoked.
            false => revocation.map(|options| options.with_status_policy(UnknownStatusPolicy::Allow).build()),
        };
        let holder = EndEntityCert::try_from(&leaf).map_err(|_| Reason("malformed"))?;
        let verified = holder.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &above,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.now_s)),
            KeyUsage::client_auth(),
            revocation,
            None,
        );
        verified.map(|_| ()).map_err(|error| match error {
            webpki::Error::CertExpired { .. } => Reason("expired"),
            webpki::Error::CertNotValidYet { .. } => Reason("not yet valid"),
            webpki::Error::CertRevoked => Reason("revoked"),
            webpki::Error::UnknownRevocationStatus => Reason("no list"),
            webpki::Error::CrlExpired { .. } => Reason("old list"),
            webpki::Error::UnknownIssuer => Reason("unknown certificate"),
            _ => Reason("chain"),
        })
    }
}

/// The first step: finds what can let somebody in. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(txn: &mut Txn<'_>, mount: ObjectId, request: &LoginRequest) -> Result<Challenge, DamagedRow> {
    let names: Vec<String> = match request.name.as_str() {
        "" => {
            let children = txn.list(mount)?;
            children
                .iter()
                .take(TRIED_MAX)
                .map(|child| child.name.clone())
                .collect()
        }
        name => vec![name.to_owned()],
    };
    let mut entries = Vec::new();
    for name in names.iter().filter_map(|name| Name::parse(name).ok()) {
        entries.extend(kept::role::<Entry>(txn, mount, &name)?);
    }
    let lists = txn.list(Place::Settings.of(mount))?;
    let lists = lists
        .iter()
        .map(|child| &child.name)
        .filter(|name| *name != kept::CONFIG);
    let lists: Vec<String> = lists.take(CRLS_MAX).cloned().collect();
    let mut crls = Vec::new();
    for name in lists {
        let found = kept::find::<Crl>(txn, Place::Settings.of(mount), &name, Kind::MethodRole)?;
        crls.extend(found.and_then(|found| found.value.der()));
    }
    let config = kept::config::<Config>(txn, mount)?;
    Ok(Challenge {
        entries,
        crls,
        is_strict: config.as_ref().is_some_and(|config| config.value.require_crl),
        config: config.map(|config| config.digest),
        now_s: txn.now().0 / 1_000,
    })
}

/// The last step: the plan.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the login begins again with [`prepare`].
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    verified: &Verified,
    client_address: &str,
) -> Result<Login, LoginError> {
    let refused = |Reason(why)| LoginError::Because(why);
    // What was verified by is what stands: the plan depends on these very rows from here on.
    if kept::config::<Config>(txn, mount)?.map(|config| config.digest) != verified.config {
        return Err(LoginError::Stale);
    }
    let matched = verified.found.as_ref().map_err(|reason| refused(*reason))?;
    let name = Name::parse(&matched.name).map_err(|_| DamagedRow)?;
    let found = kept::role::<Entry>(txn, mount, &name)?.filter(|found| found.digest == matched.entry);
    let Found { id, value: entry, .. } = found.ok_or(LoginError::Stale)?;
    let facts = &matched.facts;
    check_time(facts, txn.now().0 / 1_000).map_err(refused)?;
    if facts.common_name.is_empty() || !is_plain(&facts.common_name) {
        return Err(refused(Reason("no common name")));
    }
    if !is_allowed(&entry.params.bound_cidrs, client_address) {
        return Err(refused(Reason("address")));
    }
    let metadata = [
        ("authority_key_id", &facts.authority_key_id),
        (NAME, &entry.name),
        (FINGERPRINT, &matched.fingerprint),
        ("common_name", &facts.common_name),
        ("serial_number", &facts.serial),
        ("subject_key_id", &facts.subject_key_id),
    ];
    if !metadata.iter().all(|(_, value)| is_plain(value)) {
        return Err(refused(Reason("malformed")));
    }
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value.clone()));
    Ok(Login {
        mount,
        path: "login".to_owned(),
        alias: facts.common_name.clone(),
        display_name: entry.display_name.clone(),
        metadata: metadata.collect(),
        params: entry.params,
        source: Some(id),
        entity: None,
        groups: Vec::new(),
    })
}

fn check_time(facts: &Facts, now_s: u64) -> Result<(), Reason> {
    let now = i64::try_from(now_s).unwrap_or(i64::MAX);
    match now {
        now if now < facts.not_before => Err(Reason("not yet valid")),
        now if now > facts.not_after => Err(Reason("expired")),
        _ => Ok(()),
    }
}

/// Whether a certificate is one of an authority, that signs others.
fn is_authority(der: &CertificateDer<'_>) -> bool {
    x509_parser::parse_x509_certificate(der).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// Under which of a login's metadata the entry's name stands.
pub(super) const NAME: &str = "cert_name";
/// Under which of them the certificate's digest stands.
pub(super) const FINGERPRINT: &str = "certificate_sha256";
/// Without a name, entries are tried one after the other.
const TRIED_MAX: usize = 64;
/// Intermediate authorities that are shown. Each one more multiplies what a forged chain costs: a builder of paths tries them in every order.
const CHAIN_MAX: usize = 3;
