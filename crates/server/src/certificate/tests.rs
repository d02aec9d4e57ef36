use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aumbry_types::SimulatedClock;
use rcgen::{CertificateParams, KeyPair};

use super::*;

struct Site {
    directory: tempfile::TempDir,
    certificate: Arc<Certificate>,
    clock: SimulatedClock,
    metrics: Arc<Metrics>,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files {
            listener: "client",
            certificate: directory.path().join("cert"),
            key: directory.path().join("key"),
            authorities: Some(directory.path().join("ca")),
            protocol: b"h2",
        };
        write_pair(directory.path());
        write_authority(directory.path());
        let (clock, metrics) = (SimulatedClock::default(), Metrics::new());
        let certificate = Certificate::load(files, &clock, &metrics).unwrap();
        Self {
            directory,
            certificate,
            clock,
            metrics,
        }
    }

    fn look(&self, patience: Patience) {
        self.certificate.look(patience, &self.clock, &self.metrics);
    }

    /// How often a pair was taken, and refused.
    fn counts(&self) -> (u64, u64) {
        let labels = self.certificate.labels();
        let reloads = self.metrics.certificate_reloads.get_or_create(&labels).get();
        let failures = self.metrics.certificate_reload_failures.get_or_create(&labels).get();
        (reloads, failures)
    }
}

fn write_pair(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join("cert"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(directory.join("key"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(directory.join("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_authority(directory: &Path) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["authority".to_owned()]).unwrap();
    std::fs::write(directory.join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
}

#[test]
fn a_change_is_taken_when_it_has_settled_or_at_once_when_asked_for() {
    use Patience::{Now, Settled};
    let site = Site::new();
    site.look(Settled);
    assert_eq!(site.counts(), (0, 0));
    write_pair(site.directory.path());
    site.look(Settled);
    assert_eq!(site.counts(), (0, 0), "it may be written still");
    site.look(Settled);
    assert_eq!(site.counts(), (1, 0));
    write_pair(site.directory.path());
    site.look(Now);
    assert_eq!(site.counts(), (2, 0));
    write_authority(site.directory.path());
    site.look(Settled);
    site.look(Settled);
    assert_eq!(site.counts(), (3, 0), "the authorities of clients belong to it");
}

#[test]
fn what_is_refused_is_told_once_and_forgotten_when_it_is_as_before() {
    let site = Site::new();
    let authority = site.directory.path().join("ca");
    let good = std::fs::read(&authority).unwrap();
    std::fs::write(&authority, "nothing").unwrap();
    for _ in 0..5 {
        site.look(Patience::Settled);
    }
    assert_eq!(site.counts(), (0, 1));
    std::fs::remove_file(&authority).unwrap();
    for _ in 0..5 {
        site.look(Patience::Settled);
    }
    assert_eq!(site.counts(), (0, 2));
    std::fs::write(&authority, good).unwrap();
    site.look(Patience::Settled);
    site.look(Patience::Now);
    assert_eq!(site.counts(), (0, 2), "what is in use is there again");
}

#[test]
fn no_secret_is_in_an_error() {
    let site = Site::new();
    let key = site.directory.path().join("key");
    let pem = std::fs::read_to_string(&key).unwrap();
    let secret = pem.lines().nth(1).unwrap();
    for wrong in [
        pem.replace("-----END", "----END"),
        pem.replace('A', "*"),
        pem.replace("-----BEGIN", "--BEGIN"),
    ] {
        std::fs::write(&key, wrong).unwrap();
        let error = site.certificate.files.load().err().unwrap().to_string();
        assert!(!error.contains(&secret[..10]), "{error}");
        assert!(error.contains(&key.display().to_string()), "{error}");
    }
}
