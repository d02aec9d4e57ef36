//! A receiver of syslog: messages of RFC 5424 in frames with their length, over TLS (RFC 5425) or TCP (RFC 6587).
//!
//! Syslog has no answers, so a batch has a connection of its own: its end is told, and the batch counts as delivered when the receiver, too, has
//! ended the connection behind it, without an error and with all bytes acknowledged. A receiver that was killed in the middle has not: with TLS
//! its leave is missing, and without TLS a reset says that bytes were not read. It is sent the batch again.
//!
//! What it does not do: notice a receiver that takes its leave in good order and throws away what it has, or loses what it has read. Nobody can who
//! speaks syslog.

use std::fmt::Write as _;
use std::time::Duration;

use aumbry_audit::format::Gravity;
use aumbry_audit::text;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::SinkError;
use super::lines::Rendered;
use super::output::Place;
use super::road::{Cover, Road, TlsFiles, Wire, unreachable};
use super::writer::{Batch, Transport};
use crate::config::AuditSyslog;

/// The receiver.
pub(super) struct Syslog {
    road: Road,
    facility: u8,
    app_name: String,
    /// The node's name.
    host: String,
}

impl Syslog {
    /// # Errors
    /// If the system gives no means to wait for sockets.
    pub(super) fn new(config: &AuditSyslog, node: &str) -> std::io::Result<Self> {
        let cover = match (config.plain, config.allow_plaintext) {
            (false, _) => Cover::Tls(TlsFiles {
                authorities: config.ca_file.clone(),
                certificate: config.cert_file.clone(),
                key: config.key_file.clone(),
                protocol: b"",
            }),
            (true, false) => Cover::Local,
            (true, true) => Cover::Nothing,
        };
        // It was checked with the configuration.
        let (host, port) = config.address.rsplit_once(':').unwrap_or((&config.address, ""));
        let port = port.parse().unwrap_or(SYSLOG_TLS_PORT);
        Ok(Self {
            road: Road::new(host, port, cover, Duration::from_millis(config.timeout_ms))?,
            facility: config.facility.number(),
            app_name: config.app_name.clone(),
            host: node.to_owned(),
        })
    }
}

impl Transport for Syslog {
    fn frame(&self, record: &Rendered<'_>, into: &mut Vec<u8>) {
        let message = message(self, record);
        into.extend_from_slice(message.len().to_string().as_bytes());
        into.push(b' ');
        into.extend_from_slice(message.as_bytes());
    }

    fn deliver(
        &mut self,
        _place: Option<Place>,
        batch: &Batch,
        _keep: &mut dyn FnMut(Place) -> Result<(), SinkError>,
    ) -> Result<Option<Place>, SinkError> {
        let target = self.road.target();
        let failed = |error: std::io::Error| unreachable(&target, &error);
        self.road.travel(async |mut wire: Box<dyn Wire>| {
            wire.write_all(&batch.lines).await.map_err(failed)?;
            wire.flush().await.map_err(failed)?;
            // With TLS, `close_notify` goes before; and comes back, or reading fails.
            wire.shutdown().await.map_err(failed)?;
            let mut ignored = [0; 512];
            while wire.read(&mut ignored).await.map_err(failed)? > 0 {}
            // It may have ended the connection before it had all. Then what came later is answered by a reset, which is an error of the socket; a
            // socket whose last byte was acknowledged has no peer any more.
            while wire.tcp().peer_addr().is_ok() {
                tokio::time::sleep(ACKNOWLEDGED_POLL).await;
            }
            match wire.tcp().take_error().map_err(failed)? {
                None => Ok(None),
                Some(error) => Err(failed(error)),
            }
        })
    }

    fn reload(&mut self) {
        self.road.forget();
    }
}

/// `<PRI>1 TIME HOST APP - MSGID [SD] TEXT`.
fn message(of: &Syslog, record: &Rendered<'_>) -> String {
    let severity = match record.gravity {
        Gravity::Done => INFORMATIONAL,
        Gravity::Failed => NOTICE,
        Gravity::Refused => WARNING,
    };
    let priority = u32::from(of.facility) * 8 + severity;
    let time = match text::time(record.log_time) {
        time if time.is_empty() => NIL.to_owned(),
        time => time,
    };
    let shown = |key: &str| record.shown[key].as_str().unwrap_or_default();
    let operation = shown("operation");
    let is_word = !operation.is_empty() && operation.bytes().all(|byte| byte.is_ascii_graphic());
    let id = match is_word && operation.len() <= MSGID_BYTES_MAX {
        true => operation,
        false => NIL,
    };
    let mut message = format!(
        "<{priority}>1 {time} {} {} {NIL} {id} [{SD_ID} seq=\"{}\" index=\"{}\"",
        of.host, of.app_name, record.seq, record.index
    );
    for key in ["operation", "path", "decision", "outcome"] {
        // Writing to a string cannot fail.
        let _ = write!(message, " {key}=\"");
        escape(&mut message, shown(key));
        message.push('"');
    }
    message.push_str("] ");
    message.push_str(record.text);
    message
}

/// A value of structured data: `"`, `\` and `]` are escaped; what acts on a display, a line's end among it, is shown as its code point.
fn escape(out: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => out.extend(['\\', character]),
            _ if text::is_dangerous(character) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}

const NIL: &str = "-";
/// We have no number of our own; this is the one for examples (RFC 5612).
const SD_ID: &str = "aumbry@32473";
const WARNING: u32 = 4;
const NOTICE: u32 = 5;
const INFORMATIONAL: u32 = 6;
/// RFC 5424, section 6.
const MSGID_BYTES_MAX: usize = 32;
const SYSLOG_TLS_PORT: u16 = 6_514;
/// The acknowledgement comes a round trip after the end.
const ACKNOWLEDGED_POLL: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn framed(operation: &str, path: &str) -> String {
        let config: AuditSyslog =
            toml::from_str("name = \"s\"\naddress = \"127.0.0.1:1\"\nfacility = \"local3\"").unwrap();
        let syslog = Syslog::new(&config, "n1").unwrap();
        let shown = json!({ "operation": operation, "path": path, "decision": "denied", "outcome": "ok" });
        let record = Rendered {
            text: "{\"a\":1}",
            is_json: true,
            seq: 7,
            index: 9,
            log_time: 1_795_160_000_350,
            gravity: Gravity::of(&shown),
            shown: &shown,
        };
        let mut bytes = Vec::new();
        syslog.frame(&record, &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn frozen_message() {
        let frozen = "176 <156>1 2026-11-20T07:33:20.350Z n1 aumbry - kv.put [aumbry@32473 seq=\"7\" index=\"9\" operation=\"kv.put\" path=\"secret/a\" decision=\"denied\" outcome=\"ok\"] {\"a\":1}";
        let made = framed("kv.put", "secret/a");
        let (length, message) = frozen.split_once(' ').unwrap();
        assert_eq!(made.split_once(' ').unwrap().1, message);
        assert_eq!(
            (length.len(), made.split_once(' ').unwrap().0),
            (3, message.len().to_string().as_str())
        );
    }

    /// Abuse cases: 88.
    #[test]
    fn no_name_ends_a_value() {
        for (path, escaped) in [
            ("a\"] forged", "a\\\"\\] forged"),
            ("a\\", "a\\\\"),
            ("a\n<1>1 forged", "a\\\\u{a}<1>1 forged"),
            ("\u{1b}[2J", "\\\\u{1b}[2J"),
        ] {
            let message = framed("kv.put", path);
            assert!(message.contains(&format!(" path=\"{escaped}\" decision=")), "{message}");
            assert!(!message.contains(text::is_dangerous));
        }
        for operation in ["two words", "", "a\nb", &"x".repeat(33)] {
            assert!(framed(operation, "p").contains(" aumbry - - ["), "{operation}");
        }
    }
}
