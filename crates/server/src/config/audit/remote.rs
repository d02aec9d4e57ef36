//! Sinks beyond this machine: receivers of syslog, and collectors that are told by HTTP.

use std::net::IpAddr;
use std::path::PathBuf;

use aumbry_audit::format::Format;
use http::{HeaderName, Uri};
use serde::Deserialize;

use super::SinkStart;
use crate::config::is_name;

/// A receiver of syslog (RFC 5424) over TLS (RFC 5425) or TCP (RFC 6587, octet counting).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditSyslog {
    /// Its name, in metrics and in the node's log. The place in the log that it has come to goes with it.
    pub name: String,
    /// Where it is, `host:port`.
    pub address: String,
    /// Speaks TCP without TLS, to a loopback address only.
    #[serde(default)]
    pub plain: bool,
    /// Lets `plain` speak to another machine, too, where everybody on the way reads and changes what is sent.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// The authorities of its certificate, PEM; those that the machine trusts by default.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this node shows, PEM; none by default.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM; readable by its owner alone.
    pub key_file: Option<PathBuf>,
    /// The facility of its messages.
    #[serde(default)]
    pub facility: Facility,
    /// The application's name in its messages.
    #[serde(default = "app_name")]
    pub app_name: String,
    /// The form of its messages.
    #[serde(default)]
    pub format: Format,
    /// Where it begins when it is new.
    #[serde(default)]
    pub from: SinkStart,
    /// How long one attempt may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How many records one attempt has at most.
    #[serde(default = "batch_records")]
    pub batch_records: usize,
    /// How many bytes one attempt has at most; a record that is longer goes alone.
    #[serde(default = "batch_bytes")]
    pub batch_bytes: usize,
}

/// A collector that is told by HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHttp {
    /// Its name, in metrics and in the node's log. The place in the log that it has come to goes with it.
    pub name: String,
    /// What it understands.
    #[serde(default)]
    pub kind: HttpKind,
    /// Where it is; without a path, the one that is usual for its kind.
    pub url: String,
    /// Lets an `http` URL name another machine than this, where everybody on the way reads and changes what is sent.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// The authorities of its certificate, PEM; those that the machine trusts by default.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this node shows, PEM; none by default.
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM; readable by its owner alone.
    pub key_file: Option<PathBuf>,
    /// The file with the token that this node shows; readable by its owner alone. None by default.
    pub token_file: Option<PathBuf>,
    /// The header that holds nothing but the token; by default `Authorization`, with `Splunk` or `Bearer` before it.
    pub token_header: Option<String>,
    /// The form of its events.
    #[serde(default)]
    pub format: Format,
    /// Where it begins when it is new.
    #[serde(default)]
    pub from: SinkStart,
    /// How long one attempt may take, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// How many records one request has at most.
    #[serde(default = "batch_records")]
    pub batch_records: usize,
    /// How many bytes one request has at most; a record that is longer goes alone.
    #[serde(default = "batch_bytes")]
    pub batch_bytes: usize,
}

/// What a collector understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpKind {
    /// Lines in the body of a POST, with the range of records in a header.
    #[default]
    Generic,
    /// The HTTP Event Collector of Splunk.
    Splunk,
    /// Logs of OpenTelemetry: OTLP over HTTP, as JSON.
    Otlp,
}

/// A facility of syslog, by its usual name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Facility(u8);

impl Facility {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Default for Facility {
    fn default() -> Self {
        Self(AUTHPRIV)
    }
}

impl TryFrom<String> for Facility {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let at = FACILITIES.iter().position(|name| *name == text);
        let number = at.and_then(|at| u8::try_from(at).ok());
        number
            .map(Self)
            .ok_or("a facility is one of auth, authpriv, daemon, user, audit, local0 to local7 and the like")
    }
}

impl AuditSyslog {
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let host = self.address.rsplit_once(':');
        let host = host.filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let Some((host, _)) = host else {
            return Err("audit.syslog: address is host:port, such as logs.example.com:6514");
        };
        if self.plain && !self.allow_plaintext && !is_local(host) {
            return Err(
                "audit.syslog: plain takes a loopback address; use TLS, or say allow_plaintext = true if nobody can listen on the way",
            );
        }
        if self.plain && (self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()) {
            return Err("audit.syslog: plain has no certificates; remove plain, or the files");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("audit.syslog: cert_file and key_file go together; name both, or none");
        }
        if self.app_name.is_empty() || !is_name(&self.app_name) || self.app_name.len() > APP_NAME_BYTES_MAX {
            return Err("audit.syslog: app_name has 1 to 48 characters of A-Z, a-z, 0-9, `-`, `_`, `.`");
        }
        check_bounds(self.timeout_ms, self.batch_records, self.batch_bytes)
    }
}

impl AuditHttp {
    /// Its URL, with the path that is usual for its kind if it has none.
    pub(crate) fn uri(&self) -> Option<Uri> {
        let uri: Uri = self.url.parse().ok()?;
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || !matches!(uri.scheme_str(), Some("https" | "http")) {
            return None;
        }
        let usual = match self.kind {
            HttpKind::Generic => "/",
            HttpKind::Splunk => "/services/collector/event",
            HttpKind::Otlp => "/v1/logs",
        };
        match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("/" | "") => {
                let mut parts = uri.into_parts();
                parts.path_and_query = usual.parse().ok();
                Uri::from_parts(parts).ok()
            }
            Some(_) => Some(uri),
        }
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let Some(uri) = self.uri() else {
            return Err("audit.http: url is an https URL without a user, such as https://logs.example.com:8088");
        };
        let is_plain = uri.scheme_str() == Some("http");
        if is_plain && !self.allow_plaintext && !uri.host().is_some_and(is_local) {
            return Err(
                "audit.http: a url of http takes a loopback address; use https, or say allow_plaintext = true if nobody can listen on the way",
            );
        }
        if is_plain && (self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some()) {
            return Err("audit.http: a url of http has no certificates; use https, or remove the files");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("audit.http: cert_file and key_file go together; name both, or none");
        }
        if let Some(header) = &self.token_header
            && (self.token_file.is_none() || header.parse::<HeaderName>().is_err())
        {
            return Err("audit.http: token_header is the name of a header, and goes with token_file");
        }
        check_bounds(self.timeout_ms, self.batch_records, self.batch_bytes)
    }
}

fn check_bounds(timeout_ms: u64, records: usize, bytes: usize) -> Result<(), &'static str> {
    if (100..=120_000).contains(&timeout_ms)
        && (1..=BATCH_RECORDS_MAX).contains(&records)
        && (BATCH_BYTES_MIN..=BATCH_BYTES_MAX).contains(&bytes)
    {
        return Ok(());
    }
    Err("audit: timeout_ms of a sink is 100 to 120000, batch_records 1 to 1000, batch_bytes 65536 to 4194304")
}

/// Whether this names this machine. What `localhost` leads to is looked at once more when it is called.
fn is_local(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn app_name() -> String {
    "aumbry".to_owned()
}

const fn timeout_ms() -> u64 {
    10_000
}

const fn batch_records() -> usize {
    500
}

const fn batch_bytes() -> usize {
    1 << 20
}

/// What one look at the log gives at most.
const BATCH_RECORDS_MAX: usize = 1_000;
/// Most records have less than a kilobyte.
const BATCH_BYTES_MIN: usize = 64 << 10;
/// Each sink holds its batch in memory, and what is made of it.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// RFC 5424, section 6.
const APP_NAME_BYTES_MAX: usize = 48;
const AUTHPRIV: u8 = 10;
/// By their numbers (RFC 5424, section 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Audit;
    use super::*;

    fn check(text: &str) -> bool {
        let audit = toml::from_str::<Audit>(text);
        audit.is_ok_and(|audit| audit.check(Path::new("/data")).is_ok())
    }

    /// Abuse cases: 90.
    #[test]
    fn nothing_leaves_in_clear_by_mistake() {
        let syslog = |rest: &str| format!("[[syslog]]\nname = \"s\"\n{rest}\n");
        let http = |rest: &str| format!("[[http]]\nname = \"h\"\n{rest}\n");
        let key = "cert_file = \"/c\"\nkey_file = \"/k\"";
        for right in [
            syslog("address = \"logs.example.com:6514\"\nfacility = \"local3\"\nca_file = \"/ca\""),
            syslog(&format!("address = \"[2001:db8::1]:6514\"\n{key}")),
            syslog("address = \"127.0.0.1:601\"\nplain = true"),
            syslog("address = \"logs:601\"\nplain = true\nallow_plaintext = true"),
            http("url = \"https://logs.example.com/x?y=z\"\nformat = \"cef\"\nfrom = \"now\""),
            http("url = \"http://localhost:4318\"\nkind = \"otlp\""),
            http("url = \"http://[::1]:8088\"\nkind = \"splunk\"\ntoken_file = \"/t\""),
            http("url = \"http://logs\"\nallow_plaintext = true"),
            http("url = \"https://l\"\ntoken_file = \"/t\"\ntoken_header = \"X-Api-Key\""),
        ] {
            assert!(check(&right), "{right}");
        }
        for wrong in [
            syslog("address = \"logs.example.com\""),
            syslog("address = \"logs.example.com:601\"\nplain = true"),
            syslog("address = \"127.0.0.1:601\"\nplain = true\nca_file = \"/ca\""),
            syslog("address = \"l:1\"\ncert_file = \"/c\""),
            syslog("address = \"l:1\"\nfacility = \"loud\""),
            syslog("address = \"l:1\"\napp_name = \"a b\""),
            http("url = \"logs.example.com\""),
            http("url = \"ftp://logs.example.com\""),
            http("url = \"https://user:password@logs\""),
            http("url = \"http://logs.example.com\""),
            http("url = \"http://127.0.0.1.example.com\""),
            http("url = \"http://127.0.0.1\"\nca_file = \"/ca\""),
            http("url = \"https://l\"\nkey_file = \"/k\""),
            http("url = \"https://l\"\ntoken_header = \"X-Api-Key\""),
            http("url = \"https://l\"\ntoken_file = \"/t\"\ntoken_header = \"a b\""),
            http("url = \"https://l\"\ntoken = \"secret\""),
            http("url = \"https://l\"\nkind = \"kafka\""),
            http("url = \"https://l\"\ntimeout_ms = 0"),
            http("url = \"https://l\"\nbatch_records = 0"),
            http("url = \"https://l\"\nbatch_bytes = 1"),
        ] {
            assert!(!check(&wrong), "{wrong}");
        }
    }

    #[test]
    fn a_kind_has_its_usual_path() {
        let uri = |kind: &str, url: &str| {
            let sink: AuditHttp = toml::from_str(&format!("name = \"h\"\nkind = {kind:?}\nurl = {url:?}")).unwrap();
            sink.uri().unwrap().to_string()
        };
        assert_eq!(
            uri("splunk", "https://l:8088"),
            "https://l:8088/services/collector/event"
        );
        assert_eq!(uri("otlp", "https://l/"), "https://l/v1/logs");
        assert_eq!(uri("otlp", "https://l/other?a=b"), "https://l/other?a=b");
        assert_eq!(uri("generic", "https://l"), "https://l/");
    }
}
