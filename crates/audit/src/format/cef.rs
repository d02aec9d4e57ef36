//! The Common Event Format, version 0: a head of fields with bars between them, and pairs of keys and values.

use core::fmt::Write as _;
use core::net::IpAddr;

use super::{Gravity, Line, PRODUCT, VERSION};
use crate::text;

pub(super) fn line(line: &Line<'_>) -> String {
    let gravity = Gravity::of(line.0);
    let operation = line.text("operation");
    let severity = match gravity {
        Gravity::Done => 3,
        Gravity::Failed => 5,
        Gravity::Refused => 7,
    };
    let told = match gravity {
        Gravity::Done => "done",
        Gravity::Failed => "failed",
        Gravity::Refused => "refused",
    };
    let mut out = format!("CEF:0|{PRODUCT}|{PRODUCT}|{VERSION}|");
    for part in [operation, &format!("{operation} {told}")] {
        escape(&mut out, part, '|');
        out.push('|');
    }
    // Writing to a string cannot fail.
    let _ = write!(out, "{severity}|rt={}", line.log_time());
    let mut pair = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = write!(out, " {key}=");
            escape(&mut out, value, '=');
        }
    };
    pair("externalId", &line.number("seq").to_string());
    pair("cn1Label", "index");
    pair("cn1", &line.number("index").to_string());
    pair("act", operation);
    pair("outcome", if gravity == Gravity::Done { "success" } else { "failure" });
    pair("reason", line.text("reason"));
    pair("request", line.text("path"));
    pair("suser", line.principal("display_name"));
    pair("suid", line.principal("entity"));
    let (address, port) = line.client();
    match address {
        Some(address @ IpAddr::V4(_)) => pair("src", &address.to_string()),
        Some(address @ IpAddr::V6(_)) => {
            pair("c6a2Label", "Source IPv6 Address");
            pair("c6a2", &address.to_string());
        }
        None => {}
    }
    pair("spt", &port.map(|port| port.to_string()).unwrap_or_default());
    pair("dvchost", line.writer("name"));
    let count = line.number("count");
    pair("cnt", &if count > 1 { count.to_string() } else { String::new() });
    for (key, label, value) in [
        ("cs1", "decision", line.text("decision").to_owned()),
        ("cs2", "decidingPolicies", line.deciding_policies().join(",")),
        ("cs3", "rule", line.text("rule").to_owned()),
        ("cs4", "namespace", line.namespace().to_owned()),
        ("cs5", "requestId", line.text("request_id").to_owned()),
        ("cs6", "accessor", line.principal("accessor").to_owned()),
    ] {
        if !value.is_empty() {
            pair(&format!("{key}Label"), label);
            pair(key, &value);
        }
    }
    out
}

/// In the head a bar is escaped, in a value an equals sign, a backslash in both. A line break is `\n` in a value; the head has none, and
/// neither place has other characters that act: they are shown as their code points.
fn escape(out: &mut String, text: &str, special: char) {
    let is_value = special == '=';
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' if is_value => out.push_str("\\n"),
            '\r' if is_value => out.push_str("\\r"),
            _ if character == special => out.extend(['\\', special]),
            _ if text::is_dangerous(character) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
}
