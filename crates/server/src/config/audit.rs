//! Where audit records are written besides the log.

mod remote;

use std::path::{Path, PathBuf};

use aumbry_audit::format::Format;
pub use remote::{AuditHttp, AuditSyslog, Facility, HttpKind};
use serde::Deserialize;

use super::is_name;

/// Where audit records are written besides the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// From how many seconds of lag on the node's log tells of a sink as an alarm.
    pub alarm_lag_s: u64,
    /// Files of one record a line.
    pub file: Vec<AuditFile>,
    /// Receivers of syslog.
    pub syslog: Vec<AuditSyslog>,
    /// Collectors that are told by HTTP.
    pub http: Vec<AuditHttp>,
    /// Where exports of the log are kept; nowhere by default.
    pub archive: Option<AuditArchive>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            alarm_lag_s: 300,
            file: Vec::new(),
            syslog: Vec::new(),
            http: Vec::new(),
            archive: None,
        }
    }
}

/// A file that every audit record is written to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditFile {
    /// Its name, in metrics and in the node's log.
    pub name: String,
    /// Where it is. What has another name later is not written to any more.
    pub path: PathBuf,
    /// Who may read it.
    #[serde(default)]
    pub mode: FileMode,
    /// Where it begins when it is new.
    #[serde(default)]
    pub from: SinkStart,
    /// The form of its lines.
    #[serde(default)]
    pub format: Format,
}

/// Where exports of the log are kept, in files of a fixed number of records.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditArchive {
    /// A directory that exists. Nodes may share it.
    pub directory: PathBuf,
}

/// The mode of a file: its owner may read and write it, a group may too, nobody else may, and nobody runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// Its bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self(OWNER)
    }
}

impl TryFrom<String> for FileMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode & !(OWNER | GROUP) == 0 && mode & OWNER == OWNER => Ok(Self(mode)),
            _ => Err("a mode is \"0600\", \"0640\" or \"0660\": records name who reads which secret"),
        }
    }
}

/// Where a sink begins when it is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkStart {
    /// With the first record of the log.
    #[default]
    Start,
    /// With what comes from now on.
    Now,
}

impl Audit {
    pub(super) fn check(&self, data_dir: &Path) -> Result<(), &'static str> {
        let names = self.file.iter().map(|sink| &sink.name);
        let names = names.chain(self.syslog.iter().map(|sink| &sink.name));
        let names: Vec<&String> = names.chain(self.http.iter().map(|sink| &sink.name)).collect();
        if names.len() > SINKS_MAX {
            return Err("audit: at most 4 sinks, of all kinds together");
        }
        for (at, name) in names.iter().enumerate() {
            if name.is_empty() || !is_name(name) {
                return Err("audit: the name of a sink has 1 to 64 characters of A-Z, a-z, 0-9, `-`, `_`, `.`");
            }
            if names[..at].contains(name) {
                return Err("audit: two sinks have the same name");
            }
        }
        if !(1..=ALARM_LAG_S_MAX).contains(&self.alarm_lag_s) {
            return Err("audit.alarm_lag_s is 1 to 86400");
        }
        for (at, file) in self.file.iter().enumerate() {
            if !file.path.is_absolute() || file.path.file_name().is_none() {
                return Err("audit.file: path is an absolute path of a file");
            }
            if file.path.starts_with(data_dir) {
                return Err("audit.file: path must not lie in data_dir, whose room the node itself needs");
            }
            if self.file[..at].iter().any(|other| other.path == file.path) {
                return Err("audit.file: two files have the same path");
            }
        }
        if let Some(archive) = &self.archive {
            if !archive.directory.is_absolute() {
                return Err("audit.archive: directory is an absolute path");
            }
            if archive.directory.starts_with(data_dir) {
                return Err("audit.archive: directory must not lie in data_dir, which goes with the node");
            }
        }
        self.syslog.iter().try_for_each(AuditSyslog::check)?;
        self.http.iter().try_for_each(AuditHttp::check)
    }
}

/// One for people, one for a collector, and as many in reserve; each decrypts the whole log.
const SINKS_MAX: usize = 4;
/// Who wants to be told after more than a day has no need of an alarm.
const ALARM_LAG_S_MAX: u64 = 86_400;
const OWNER: u32 = 0o600;
const GROUP: u32 = 0o060;

#[cfg(test)]
mod tests {
    use super::*;

    /// Abuse cases: 90.
    #[test]
    fn what_could_not_work_is_refused() {
        let file = |name: &str, path: &str, rest: &str| format!("[[file]]\nname = {name:?}\npath = {path:?}\n{rest}\n");
        let (log, other) = (
            file("a", "/var/log/a", ""),
            file("b", "/var/log/b", "mode = \"0640\"\nfrom = \"now\""),
        );
        let whole: Audit = toml::from_str(&format!("{log}{other}")).unwrap();
        assert_eq!(whole.check(Path::new("/data")), Ok(()));
        assert_eq!((whole.file[0].mode.bits(), whole.file[1].mode.bits()), (0o600, 0o640));
        assert_eq!(
            (whole.file[0].from, whole.file[1].from),
            (SinkStart::Start, SinkStart::Now)
        );
        let names = ["a", "b", "c", "d", "e"].map(|name| file(name, &format!("/{name}"), ""));
        for wrong in [
            file("", "/a", ""),
            file("a b", "/a", ""),
            file("a", "a", ""),
            file("a", "/", ""),
            file("a", "/data/a", ""),
            file("a", "/a", "mode = \"0644\""),
            file("a", "/a", "mode = \"0400\""),
            file("a", "/a", "mode = \"600x\""),
            file("a", "/a", "from = \"end\""),
            file("a", "/a", "format = \"xml\""),
            "alarm_lag_s = 0".to_owned(),
            "[archive]\ndirectory = \"archive\"".to_owned(),
            "[archive]\ndirectory = \"/data/archive\"".to_owned(),
            "[archive]\n".to_owned(),
            format!("{log}[[syslog]]\nname = \"a\"\naddress = \"127.0.0.1:6514\"\n"),
            format!("{log}{}", file("a", "/other", "")),
            format!("{log}{}", file("other", "/var/log/a", "")),
            names.concat(),
        ] {
            let audit = toml::from_str::<Audit>(&wrong);
            assert!(
                audit.is_err() || audit.unwrap().check(Path::new("/data")).is_err(),
                "{wrong}"
            );
        }
    }
}
