//! A look at everything that starting a node would need: configuration, certificates, data directory, ports. Nothing is changed.
//!
//! It tells of all that it finds at once. What the node's own user may read only that user can tell: it is to be run as that user.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use aumbry_raft::Identity;
use aumbry_storage::{Inspected, StorageError, free_bytes, inspect};
use aumbry_types::{Clock as _, SecretBytes, SystemClock, WallTime};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls_pki_types::ServerName;

use crate::certificate::{CertificateError, Files, Loaded, Readers, certificates, read, seconds, utc};
use crate::config::{Config, ConfigError, Join};
use crate::seals::SealSource;
use crate::ticket::Ticket;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a file, with its line if there is one, or an address.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// What a look at a configuration found.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// What keeps the node from starting or from being reached.
    pub problems: Vec<Finding>,
    /// What works, and will surprise.
    pub warnings: Vec<Finding>,
    /// What the node is, by name; empty if the file is no configuration.
    pub summary: Vec<(&'static str, String)>,
}

/// Looks at everything that starting a node with this configuration needs.
#[must_use]
pub fn check(path: &Path) -> Check {
    let mut check = Check::default();
    match Config::look(path) {
        Err(ConfigError::Read { source, .. }) => {
            check.problem(
                path.display(),
                format!("it cannot be read: {source}; name another file, or give this user access"),
            );
        }
        Err(error) => check.problem(path.display(), error.to_string()),
        Ok((config, misread)) => {
            for misread in misread {
                let place = match misread.place {
                    Some((line, column)) => format!("{}:{line}:{column}", path.display()),
                    None => path.display().to_string(),
                };
                check.problem(
                    place,
                    format!("{}; deploy/aumbry.toml documents every key", misread.message),
                );
            }
            if let Some(config) = config {
                check.config(path, &config);
            }
        }
    }
    check
}

impl Check {
    fn problem(&mut self, place: impl ToString, message: impl Into<String>) {
        self.problems.push(Finding {
            place: place.to_string(),
            message: message.into(),
        });
    }

    fn warning(&mut self, place: impl ToString, message: impl Into<String>) {
        self.warnings.push(Finding {
            place: place.to_string(),
            message: message.into(),
        });
    }

    fn config(&mut self, path: &Path, config: &Config) {
        for message in config.problems() {
            self.problem(path.display(), message);
        }
        for (section, address, advertise) in [
            ("client", config.client.address, config.client_advertise()),
            ("peer", config.peer.address, config.peer_advertise()),
        ] {
            self.advertise(path, section, address, &advertise);
        }
        if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&config.log.level) {
            self.problem(
                path.display(),
                format!("log.level is no level: {error}; use error, warn, info, debug or trace"),
            );
        }
        self.say("name", &config.name);
        self.say("raft", config.raft.summary());
        let now = SystemClock.wall();
        if let Some(loaded) = self.certificate(&Files::of_clients(&config.client), now) {
            self.say("client_certificate_expires", utc(loaded.not_after));
            self.certificate_name(config, &loaded);
        }
        if let Some(files) = config.health.as_ref().and_then(Files::of_health)
            && let Some(loaded) = self.certificate(&files, now)
        {
            self.say("health_certificate_expires", utc(loaded.not_after));
        }
        if let Some(files) = config
            .http
            .as_ref()
            .and_then(|http| Files::of_http(http, &config.client))
            && let Some(loaded) = self.certificate(&files, now)
        {
            self.say("http_certificate_expires", utc(loaded.not_after));
        }
        for source in SealSource::all(&config.seal) {
            if let Err(error) = source.check_files() {
                let text = "the node stays sealed when it is started, until shares open it or the file can be used";
                let section = format!("[seal.{}]", source.kind().name());
                self.warning(section, format!("{error}; {text}"));
            }
        }
        self.sinks(config);
        let inspected = self.data_dir(&config.data_dir);
        self.room(config);
        let is_member = Identity::is_in(&config.data_dir);
        if let Some(join) = config.join.as_ref().filter(|_| !is_member) {
            self.join(join);
        }
        self.ports(config, inspected == Some(Inspected::InUse));
        self.say("data_dir", config.data_dir.display());
        self.say(
            "state",
            match (inspected, is_member, &config.join) {
                (Some(Inspected::InUse), ..) => "a server runs on it",
                (_, true, _) => "a member of a cluster; the server is stopped",
                (_, false, Some(_)) => "fresh: it joins a cluster when it starts",
                (_, false, None) => "fresh: it waits for `aumbry operator init` or `aumbry operator join`",
            },
        );
    }

    fn say(&mut self, name: &'static str, value: impl ToString) {
        self.summary.push((name, value.to_string()));
    }

    fn advertise(&mut self, path: &Path, section: &str, address: SocketAddr, advertise: &str) {
        let parts = advertise.rsplit_once(':');
        let port = parts.and_then(|(_, port)| port.parse::<u16>().ok());
        if parts.is_none_or(|(host, _)| host.is_empty()) || port.is_none() {
            self.problem(
                path.display(),
                format!("{section}.advertise is {advertise:?}; it must be host:port"),
            );
        } else if advertise == address.to_string() && address.ip().is_unspecified() {
            let text = "which nobody can reach; say with advertise where it is reached";
            self.warning(
                path.display(),
                format!("{section} is told to others as {advertise}, {text}"),
            );
        }
    }

    fn certificate(&mut self, files: &Files, now: WallTime) -> Option<Loaded> {
        let loaded = match files.load() {
            Ok(loaded) => loaded,
            Err(error) => {
                self.problem(format!("[{}]", files.listener), error.to_string());
                return None;
            }
        };
        let place = files.certificate.display();
        if loaded.has_expired(now) {
            let error = CertificateError::Expired {
                path: files.certificate.clone(),
                at: utc(loaded.not_after),
            };
            self.problem(format!("[{}]", files.listener), error.to_string());
        } else if loaded.not_after < seconds(now) + EXPIRY_WARNING_S {
            self.warning(
                place,
                format!("the certificate expires at {}; renew it soon", utc(loaded.not_after)),
            );
        }
        if loaded.not_before > seconds(now) {
            let text = "check this machine's clock";
            self.problem(
                files.certificate.display(),
                format!("the certificate is not valid before {}; {text}", utc(loaded.not_before)),
            );
        }
        Some(loaded)
    }

    /// Clients and joining nodes check the name by which they reach the node.
    fn certificate_name(&mut self, config: &Config, loaded: &Loaded) {
        let advertise = config.client_advertise();
        let host = advertise.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']);
        let is_told = config.client.advertise.is_some() || !config.client.address.ip().is_unspecified();
        let Ok(name) = ServerName::try_from(host) else { return };
        let parsed = ParsedCertificate::try_from(&loaded.leaf);
        let is_for = parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok());
        if is_told && !is_for {
            let text =
                "clients and joining nodes refuse it there; add the name to the certificate, or correct advertise";
            self.warning(
                config.client.cert_file.display(),
                format!("the certificate is not for {host}, where clients are told to reach the node; {text}"),
            );
        }
    }

    fn data_dir(&mut self, path: &Path) -> Option<Inspected> {
        if path.as_os_str().is_empty() {
            return None;
        }
        match inspect(path) {
            Ok(inspected) => Some(inspected),
            Err(StorageError::Io { action, path, source }) => {
                let text = "check its owner and mode, and those of the directories above it";
                self.problem(
                    path.display(),
                    format!("this user cannot {action} it: {source}; {text}"),
                );
                None
            }
            Err(error) => {
                self.problem("data_dir", error.to_string());
                None
            }
        }
    }

    /// The data directory may be one that the node makes; then the directory above it says.
    fn room(&mut self, config: &Config) {
        let path = &config.data_dir;
        let free = free_bytes(path).or_else(|| free_bytes(path.parent()?));
        let reserve = config.limits.disk_reserve_bytes;
        if let Some(free) = free.filter(|free| *free < reserve) {
            let text = "the node starts and refuses clients; make room, or lower it";
            self.warning(
                path.display(),
                format!("{free} bytes are free, less than limits.disk_reserve_bytes ({reserve}): {text}"),
            );
        }
    }

    /// A sink whose files cannot be used waits for them, and the node starts all the same.
    fn sinks(&mut self, config: &Config) {
        let syslog = config.audit.syslog.iter().map(|sink| {
            let files = [&sink.ca_file, &sink.cert_file, &sink.key_file];
            (&sink.name, files, &None)
        });
        let http = config.audit.http.iter().map(|sink| {
            let files = [&sink.ca_file, &sink.cert_file, &sink.key_file];
            (&sink.name, files, &sink.token_file)
        });
        for (name, [authority, certificate, key], token) in syslog.chain(http) {
            let of_all = [authority, certificate].map(|path| (path, Readers::Any));
            let of_owner = [key, token].map(|path| (path, Readers::Owner));
            for (path, readers) in of_all.into_iter().chain(of_owner) {
                if let Some(path) = path
                    && let Err(error) = read(path, readers).map(SecretBytes::new)
                {
                    let text = "its records wait in the log until it can be used";
                    self.warning(format!("audit sink {name}"), format!("{error}; {text}"));
                }
            }
        }
    }

    fn join(&mut self, join: &Join) {
        match std::fs::read(&join.token_file).map(SecretBytes::new) {
            Err(error) => self.unread(&join.token_file, &error),
            Ok(token) => {
                if let Err(error) = Ticket::parse(token.expose()) {
                    self.problem(join.token_file.display(), error.to_string());
                }
            }
        }
        match std::fs::read(&join.ca_file) {
            Err(error) => self.unread(&join.ca_file, &error),
            Ok(pem) => {
                if let Err(error) = certificates(&join.ca_file, &pem) {
                    self.problem("[join]", error.to_string());
                }
            }
        }
    }

    fn unread(&mut self, path: &Path, error: &std::io::Error) {
        let text = "put the file there, or remove the section [join] to join by hand";
        self.problem(path.display(), format!("it cannot be read: {error}; {text}"));
    }

    /// Binds every address for a moment. Those of this node's own server are taken, as they should be.
    fn ports(&mut self, config: &Config, is_running: bool) {
        let sections = [
            ("client", Some(config.client.address)),
            ("peer", Some(config.peer.address)),
            ("metrics", config.metrics.as_ref().map(|metrics| metrics.address)),
            ("health", config.health.as_ref().map(|health| health.address)),
            ("http", config.http.as_ref().map(|http| http.address)),
        ];
        let mut bound = Vec::new();
        for (section, address) in sections {
            let Some(address) = address else { continue };
            self.say(section, address);
            match TcpListener::bind(address) {
                Ok(listener) => bound.push(listener),
                Err(error) if error.kind() == ErrorKind::AddrInUse && is_running => {}
                Err(error) => self.problem(
                    address,
                    format!("[{section}] cannot listen there: {error}; stop what uses the address, or choose another"),
                ),
            }
        }
    }
}

/// Two weeks: a renewal that should have come by itself has failed more than once.
const EXPIRY_WARNING_S: i64 = 14 * 24 * 3_600;
