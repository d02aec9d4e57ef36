//! The certificate of a listener: read from its files, checked, and taken anew when they change.
//!
//! What it guarantees: only a whole pair is ever shown, certificate and key belonging together; one that is half-written, mismatched, expired or
//! readable by others is not taken, and the old one stays. Connections that stand are not touched.
//! What it does not do: wait for the file system to tell. It looks at the content, so that a rename, a swapped link and a write in place are alike.

mod any;
mod pair;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use aumbry_types::{Clock, WallTime};
use tokio::signal::unix::Signal;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::pair::{CertificateError, Files, Loaded, Readers, certificates, read, seconds, utc};
use crate::metrics::{ListenerLabels, Metrics};

/// The certificate that a listener shows at the moment.
pub(crate) struct Certificate {
    files: Files,
    current: RwLock<Loaded>,
    looks: Mutex<Looks>,
}

/// What the files held, by digests. An error counts as a content.
struct Looks {
    taken: [u8; 32],
    last: [u8; 32],
    refused: Option<[u8; 32]>,
}

/// When a changed content is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// When two looks have found it: whoever writes it is done by then.
    Settled,
    /// Now: a person asked for it, and is told even of what was told before.
    Now,
}

impl Certificate {
    /// Reads it for the first time. One that has expired is shown all the same: the node must come up, and clients say what is wrong.
    pub(crate) fn load(files: Files, clock: &dyn Clock, metrics: &Metrics) -> Result<Arc<Self>, CertificateError> {
        let contents = files.read()?;
        let loaded = files.load_contents(&contents)?;
        let taken = contents.digest();
        let certificate = Self {
            current: RwLock::new(loaded.clone()),
            looks: Mutex::new(Looks {
                taken,
                last: taken,
                refused: None,
            }),
            files,
        };
        let labels = certificate.labels();
        // Counters that are there before anything happens can be watched for it.
        drop(metrics.certificate_reloads.get_or_create(&labels));
        drop(metrics.certificate_reload_failures.get_or_create(&labels));
        metrics.certificate_expiry.get_or_create(&labels).set(loaded.not_after);
        if let Err(error) = certificate.check_time(&loaded, clock.wall()) {
            tracing::warn!("[{}] {error}; clients will refuse it", certificate.files.listener);
        }
        Ok(Arc::new(certificate))
    }

    /// TLS with the certificate of the moment.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&current.tls))
    }

    /// Whether clients' certificates are verified by authorities; else any is taken, and nothing but its key is known.
    pub(crate) const fn has_authorities(&self) -> bool {
        self.files.authorities.is_some()
    }

    const fn labels(&self) -> ListenerLabels {
        ListenerLabels {
            listener: self.files.listener,
        }
    }

    /// Looks at the files, and takes what has changed.
    fn look(&self, patience: Patience, clock: &dyn Clock, metrics: &Metrics) {
        let read = self.files.read();
        let digest = match &read {
            Ok(contents) => contents.digest(),
            Err(error) => aumbry_crypto::sha256(&[error.to_string().as_bytes()]),
        };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let is_settled = looks.last == digest;
        looks.last = digest;
        let listener = self.files.listener;
        if looks.taken == digest {
            looks.refused = None;
            if patience == Patience::Now {
                tracing::info!(listener, "the certificate has not changed");
            }
            return;
        }
        if patience == Patience::Settled && (!is_settled || looks.refused == Some(digest)) {
            return;
        }
        let loaded = read.and_then(|contents| self.files.load_contents(&contents));
        let loaded = loaded.and_then(|loaded| self.check_time(&loaded, clock.wall()).map(|()| loaded));
        match loaded {
            Ok(loaded) => {
                (looks.taken, looks.refused) = (digest, None);
                let expires = utc(loaded.not_after);
                metrics
                    .certificate_expiry
                    .get_or_create(&self.labels())
                    .set(loaded.not_after);
                metrics.certificate_reloads.get_or_create(&self.labels()).inc();
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                tracing::info!(listener, expires, "a new certificate is in use");
            }
            Err(error) => {
                looks.refused = Some(digest);
                metrics.certificate_reload_failures.get_or_create(&self.labels()).inc();
                tracing::warn!("[{listener}] a changed certificate is not taken, the old one stays: {error}");
            }
        }
    }

    fn check_time(&self, loaded: &Loaded, now: WallTime) -> Result<(), CertificateError> {
        match loaded.has_expired(now) {
            false => Ok(()),
            true => Err(CertificateError::Expired {
                path: self.files.certificate.clone(),
                at: utc(loaded.not_after),
            }),
        }
    }
}

/// Looks at the files of these listeners for ever: now and then, and at once at SIGHUP.
pub(crate) async fn watch(
    certificates: Vec<Arc<Certificate>>,
    mut hangup: Signal,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) {
    let certificates = Arc::new(certificates);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let patience = tokio::select! {
            biased;
            _ = hangup.recv() => Patience::Now,
            _ = tick.tick() => Patience::Settled,
        };
        let (certificates, clock, metrics) = (Arc::clone(&certificates), Arc::clone(&clock), Arc::clone(&metrics));
        // The files may lie on a network: only this waits for it.
        let looking = tokio::task::spawn_blocking(move || {
            for certificate in &*certificates {
                certificate.look(patience, &*clock, &metrics);
            }
        });
        let _ = looking.await;
    }
}

/// A new certificate is in use after two looks, so within four seconds.
const TICK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
