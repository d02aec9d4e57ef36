//! Bodies of requests: lines, events of Splunk's collector, or logs of OpenTelemetry.

use aumbry_audit::format::Gravity;
use aumbry_audit::text;
use serde_json::json;

use crate::config::HttpKind;
use crate::sink::lines::Rendered;

/// Adds one record to those of a batch. `host` is the node's name, which needs no escapes.
pub(super) fn frame(kind: HttpKind, host: &str, record: &Rendered<'_>, into: &mut Vec<u8>) {
    let framed = match kind {
        HttpKind::Generic => format!("{}\n", record.text),
        HttpKind::Splunk => splunk(host, record),
        HttpKind::Otlp => otlp(record),
    };
    into.extend_from_slice(framed.as_bytes());
}

/// The body of a batch.
pub(super) fn whole(kind: HttpKind, host: &str, framed: &[u8]) -> Vec<u8> {
    if kind != HttpKind::Otlp {
        return framed.to_vec();
    }
    let resource = format!(
        r#"{{"attributes":[{{"key":"service.name","value":{{"stringValue":"aumbry"}}}},{{"key":"service.instance.id","value":{{"stringValue":"{host}"}}}}]}}"#
    );
    let head = format!(
        r#"{{"resourceLogs":[{{"resource":{resource},"scopeLogs":[{{"scope":{{"name":"aumbry.audit"}},"logRecords":["#
    );
    // Each record ends in a comma.
    let records = framed.strip_suffix(b",").unwrap_or(framed);
    [head.as_bytes(), records, b"]}]}]}"].concat()
}

fn splunk(host: &str, record: &Rendered<'_>) -> String {
    let (seconds, ms) = (record.log_time / 1_000, record.log_time % 1_000);
    let event = match record.is_json {
        true => record.text.to_owned(),
        false => json!(record.text).to_string(),
    };
    let (seq, index) = (record.seq, record.index);
    format!(
        r#"{{"time":{seconds}.{ms:03},"host":"{host}","source":"aumbry","sourcetype":"aumbry:audit","fields":{{"seq":"{seq}","index":"{index}"}},"event":{event}}}"#
    ) + "\n"
}

/// A `LogRecord` as JSON: 64-bit numbers are texts there.
fn otlp(record: &Rendered<'_>) -> String {
    let (number, word) = match record.gravity {
        Gravity::Done => (9, "INFO"),
        Gravity::Failed => (13, "WARN"),
        Gravity::Refused => (14, "WARN2"),
    };
    let nanos = record.log_time.saturating_mul(1_000_000).to_string();
    let operation = record.shown["operation"].as_str().unwrap_or_default();
    let record = json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": word,
        "body": { "stringValue": record.text },
        "attributes": [
            { "key": "aumbry.audit.seq", "value": { "intValue": record.seq.to_string() } },
            { "key": "aumbry.audit.index", "value": { "intValue": record.index.to_string() } },
            { "key": "aumbry.audit.operation", "value": { "stringValue": operation } },
        ],
    });
    // Keys are text, so that this cannot fail.
    let mut text = text::json(&record).unwrap_or_default();
    text.push(',');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn framed(kind: HttpKind, text: &str, is_json: bool) -> String {
        let shown = json!({ "operation": "kv.put", "decision": "allowed", "outcome": "ok" });
        let mut bytes = Vec::new();
        for seq in 7..9 {
            let record = Rendered {
                text,
                is_json,
                seq,
                index: 9,
                log_time: 1_795_160_000_050,
                gravity: Gravity::of(&shown),
                shown: &shown,
            };
            frame(kind, "n1", &record, &mut bytes);
        }
        String::from_utf8(whole(kind, "n1", &bytes)).unwrap()
    }

    #[test]
    fn frozen_bodies() {
        let splunk = r#"{"time":1795160000.050,"host":"n1","source":"aumbry","sourcetype":"aumbry:audit","fields":{"seq":"7","index":"9"},"event":{"a":1}}"#;
        assert_eq!(framed(HttpKind::Splunk, "{\"a\":1}", true).lines().next(), Some(splunk));
        let cef: Value =
            serde_json::from_str(framed(HttpKind::Splunk, "CEF:0|\"", false).lines().next().unwrap()).unwrap();
        assert_eq!(cef["event"], "CEF:0|\"");
        assert_eq!(framed(HttpKind::Generic, "x", false), "x\nx\n");
        let record = |seq: u64| {
            format!(
                r#"{{"attributes":[{{"key":"aumbry.audit.seq","value":{{"intValue":"{seq}"}}}},{{"key":"aumbry.audit.index","value":{{"intValue":"9"}}}},{{"key":"aumbry.audit.operation","value":{{"stringValue":"kv.put"}}}}],"body":{{"stringValue":"{{\"a\":1}}"}},"observedTimeUnixNano":"1795160000050000000","severityNumber":9,"severityText":"INFO","timeUnixNano":"1795160000050000000"}}"#
            )
        };
        let otlp = format!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"aumbry"}}}},{{"key":"service.instance.id","value":{{"stringValue":"n1"}}}}]}},"scopeLogs":[{{"scope":{{"name":"aumbry.audit"}},"logRecords":[{},{}]}}]}}]}}"#,
            record(7),
            record(8)
        );
        assert_eq!(framed(HttpKind::Otlp, "{\"a\":1}", true), otlp);
    }
}
