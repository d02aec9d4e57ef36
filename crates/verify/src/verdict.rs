//! How a command ends: what it prints, and the exit code.

use std::io::Write as _;
use std::process::ExitCode;

use aumbry_audit::export::{Reason, VerifyError};
use aumbry_audit::text;
use serde_json::{Value, json};

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something was judged, and is not what it should be.
    Wrong(Value),
    /// Nothing could be judged.
    Usage(String),
}

impl Failure {
    /// Something is wrong that is no export's.
    pub(crate) fn wrong(fault: &str, reason: impl Into<String>) -> Self {
        Self::Wrong(json!({ "fault": fault, "reason": reason.into() }))
    }

    /// The same, with the file and the line at which it is wrong.
    pub(crate) fn at(mut self, file: &str, line: Option<u64>) -> Self {
        if let Self::Wrong(value) = &mut self {
            value["file"] = json!(file);
            if let Some(line) = line {
                value["line"] = json!(line);
            }
        }
        self
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        Self::Wrong(error.to_json())
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        let mut failure = Self::wrong(reason.fault().name(), reason.to_string());
        if let (Self::Wrong(value), Reason::Forked { first, second, .. }) = (&mut failure, reason) {
            value["evidence"] = json!([first, second]);
        }
        failure
    }
}

/// Prints the verdict and says how the program ends. What cannot be printed was not told, and is not a success.
pub(crate) fn tell(is_json: bool, result: Result<Value, Failure>) -> ExitCode {
    let (mut value, verified) = match result {
        Ok(value) => (value, true),
        Err(Failure::Wrong(value)) => (value, false),
        Err(Failure::Usage(message)) => {
            let _ = writeln!(std::io::stderr(), "error: {}", text::escape(&message));
            return misused();
        }
    };
    // What was made, and not verified with a key that the auditor trusts, is not called verified.
    if value.get("written").is_none() {
        value["verified"] = json!(verified);
    }
    let shown = if is_json {
        text::json(&value).unwrap_or_default() + "\n"
    } else {
        readable(&value)
    };
    let mut out = std::io::stdout().lock();
    let told = out.write_all(shown.as_bytes()).and_then(|()| out.flush());
    if verified && told.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The verdict, then a line for each thing that it says.
fn readable(value: &Value) -> String {
    let mut shown = match (value["verified"].as_bool(), value["fault"].as_str()) {
        (Some(true), _) => "VERIFIED\n".to_owned(),
        (None, _) => "WRITTEN\n".to_owned(),
        (_, fault) => format!("NOT VERIFIED: {}\n", fault.unwrap_or("unknown")),
    };
    let Some(parts) = value.as_object() else {
        return shown;
    };
    for (name, part) in parts {
        if ["verified", "intact", "fault"].contains(&name.as_str()) || part.is_null() {
            continue;
        }
        let name = name.replace('_', " ");
        if name == "evidence" {
            for note in part.as_array().into_iter().flatten().filter_map(Value::as_str) {
                shown += "  evidence:\n";
                note.lines()
                    .for_each(|line| shown += &format!("    {}\n", text::escape(line)));
            }
            continue;
        }
        let part = part
            .as_str()
            .map_or_else(|| text::json(part).unwrap_or_default(), text::escape);
        shown += &format!("  {name}: {part}\n");
    }
    shown
}

/// How a command ends that could not begin.
pub(crate) fn misused() -> ExitCode {
    ExitCode::from(2)
}
