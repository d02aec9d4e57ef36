//! A record in the forms that collectors of events know: one record is one line, whatever names are in it.
//!
//! What it guarantees: a name that somebody chose stays one value of one field, so that it cannot begin a line, end a field or read as a digest
//! (abuse case 88). All forms are made of what [`shown`](crate::shown) shows, so they hold no secret either. `seq` and `index` are in
//! each, and tell whether two lines are one record.
//!
//! What it does not do: hide what a form has no place for. That is left out, and the JSON form has it.

mod cef;
mod ocsf;
mod vault;

use core::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::Value;

use crate::text;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Our own, with everything.
    #[default]
    Json,
    /// The Open Cybersecurity Schema Framework: API Activity (6003), and Authentication (3002) for logins.
    Ocsf,
    /// The Common Event Format.
    Cef,
    /// What a file audit device of Vault writes.
    Vault,
}

impl Format {
    /// Whether its lines are JSON.
    #[must_use]
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::Cef)
    }

    /// The line of a record, without its end. `line` is the record as it is shown, with `tree` and `written_by` of the writer.
    ///
    /// # Errors
    /// As [`text::json`].
    pub fn render(self, line: &Value) -> Result<String, serde_json::Error> {
        match self {
            Self::Json => text::json(line),
            Self::Ocsf => text::json(&ocsf::event(&Line(line))),
            Self::Cef => Ok(cef::line(&Line(line))),
            Self::Vault => text::json(&vault::entry(&Line(line))),
        }
    }
}

/// What became of a request, for who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gravity {
    /// It was allowed and done.
    Done,
    /// It failed, and nobody was refused.
    Failed,
    /// Somebody was refused.
    Refused,
}

impl Gravity {
    /// That of a record as it is shown.
    #[must_use]
    pub fn of(line: &Value) -> Self {
        let line = Line(line);
        match (line.text("decision"), line.text("outcome")) {
            ("denied" | "unauthenticated", _) => Self::Refused,
            // What consensus does by itself has no decision.
            ("allowed" | "", "ok" | "clear") => Self::Done,
            _ => Self::Failed,
        }
    }
}

/// A record as it is shown, read field by field.
struct Line<'a>(&'a Value);

impl<'a> Line<'a> {
    fn text(&self, key: &str) -> &'a str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn number(&self, key: &str) -> u64 {
        self.0[key].as_u64().unwrap_or_default()
    }

    /// The time of the log, in milliseconds since 1970.
    fn log_time(&self) -> u64 {
        self.0["tree"]["log_time"].as_u64().unwrap_or_default()
    }

    fn principal(&self, key: &str) -> &'a str {
        self.0["principal"][key].as_str().unwrap_or_default()
    }

    fn names(&self, of: &'a Value) -> Vec<&'a str> {
        of.as_array()
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    fn policies(&self) -> Vec<&'a str> {
        self.names(&self.0["principal"]["policies"])
    }

    fn deciding_policies(&self) -> Vec<&'a str> {
        self.names(&self.0["deciding_policies"])
    }

    /// Empty for the root.
    fn namespace(&self) -> &'a str {
        self.0["fields"]["namespace"].as_str().unwrap_or_default()
    }

    fn writer(&self, key: &str) -> &'a str {
        self.0["written_by"][key].as_str().unwrap_or_default()
    }

    fn is_login(&self) -> bool {
        self.text("operation").ends_with(".login")
    }

    /// The client's address and port; what is no address is nobody's.
    fn client(&self) -> (Option<IpAddr>, Option<u16>) {
        let client = self.text("client");
        match client.parse::<SocketAddr>() {
            Ok(address) => (Some(address.ip()), Some(address.port())),
            Err(_) => (crate::host(client).parse().ok(), None),
        }
    }

    fn action(&self) -> Action {
        let operation = self.text("operation");
        let verb = operation.rsplit('.').next().unwrap_or_default();
        // Operations of methods are told by their verb.
        match self.0["fields"]["verb"].as_str().unwrap_or(verb) {
            "list" | "scan" => Action::List,
            "patch" => Action::Patch,
            "create" | "enable" | "add" | "join-token" => Action::Create,
            "delete" | "destroy" | "remove" | "disable" | "revoke" | "revoke-orphan" | "revoke-prefix" => {
                Action::Delete
            }
            "get" | "batch-get" | "read" | "lookup" | "status" | "subkeys" | "members" | "help" | "capabilities"
            | "explain" | "metrics" | "host-info" | "ha-status" | "openapi" | "count" | "resultant-acl" => Action::Read,
            _ => Action::Update,
        }
    }
}

/// What a request does to what its path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Read,
    Update,
    Delete,
    List,
    Patch,
}

const PRODUCT: &str = "Aumbry";
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests;
