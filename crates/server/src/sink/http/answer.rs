//! What a collector's answer means: that it has everything, that it will take it later, or that it will not.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use crate::config::HttpKind;
use crate::sink::SinkError;

/// Judges an answer. Nothing of its body is told but numbers.
pub(super) fn judge(
    kind: HttpKind,
    target: &str,
    status: StatusCode,
    after: Option<Duration>,
    body: &[u8],
) -> Result<(), SinkError> {
    let code = status.as_u16();
    let refused = |why: String| SinkError::Refused {
        target: target.to_owned(),
        why,
    };
    if code == 408 || code == 429 || status.is_server_error() {
        return Err(SinkError::Later {
            target: target.to_owned(),
            code,
            after,
        });
    }
    if !status.is_success() {
        let next = match code {
            300..=399 => "name in url where it leads; it is not followed",
            401 | 403 => "look at the token",
            404 | 405 => "look at the path in url, and at kind",
            413 => "make batch_records or batch_bytes smaller",
            _ => "its own log says why",
        };
        return Err(refused(format!("it answered {code}: {next}")));
    }
    match kind {
        HttpKind::Generic => Ok(()),
        HttpKind::Splunk => match serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|body| body["code"].as_u64())
        {
            Some(0) => Ok(()),
            Some(code) => Err(refused(format!("it answered with the code {code} of its own"))),
            None => Err(refused(
                "it answered as no event collector does; look at url".to_owned(),
            )),
        },
        HttpKind::Otlp if body.trim_ascii().is_empty() => Ok(()),
        HttpKind::Otlp => {
            let answer = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
            let answer =
                answer.ok_or_else(|| refused("it answered as no OTLP receiver does; look at url".to_owned()))?;
            let rejected = &answer["partialSuccess"]["rejectedLogRecords"];
            let rejected = rejected
                .as_u64()
                .or_else(|| rejected.as_str()?.parse().ok())
                .unwrap_or_default();
            match rejected {
                0 => Ok(()),
                some => Err(refused(format!("it rejected {some} records of a request"))),
            }
        }
    }
}

/// How long it asks us to wait, in seconds; a date is taken as no answer, as our clock may be another.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is judged, in one letter: taken, later, refused.
    fn judged(kind: HttpKind, code: u16, body: &str) -> char {
        match judge(kind, "t", StatusCode::from_u16(code).unwrap(), None, body.as_bytes()) {
            Ok(()) => 't',
            Err(SinkError::Later { .. }) => 'l',
            Err(error) => {
                assert!(matches!(error, SinkError::Refused { .. }));
                assert!(!error.to_string().contains("SECRET"), "{error}");
                'r'
            }
        }
    }

    #[test]
    fn an_answer_is_taken_at_its_word_and_not_further() {
        use HttpKind::{Generic, Otlp, Splunk};
        for kind in [Generic, Splunk, Otlp] {
            for (code, expected) in [
                (408, 'l'),
                (429, 'l'),
                (500, 'l'),
                (502, 'l'),
                (503, 'l'),
                (301, 'r'),
                (307, 'r'),
                (400, 'r'),
                (401, 'r'),
                (403, 'r'),
                (404, 'r'),
                (413, 'r'),
                (422, 'r'),
            ] {
                assert_eq!(judged(kind, code, "SECRET"), expected, "{kind:?} {code}");
            }
        }
        for (kind, body, expected) in [
            (Generic, "anything", 't'),
            (Splunk, "{\"text\":\"Success\",\"code\":0}", 't'),
            (Splunk, "{\"text\":\"SECRET\",\"code\":9}", 'r'),
            (Splunk, "<html>sign in</html>", 'r'),
            (Otlp, "", 't'),
            (Otlp, "{}", 't'),
            (
                Otlp,
                "{\"partialSuccess\":{\"rejectedLogRecords\":\"0\",\"errorMessage\":\"a warning\"}}",
                't',
            ),
            (
                Otlp,
                "{\"partialSuccess\":{\"rejectedLogRecords\":\"3\",\"errorMessage\":\"SECRET\"}}",
                'r',
            ),
            (Otlp, "{\"partialSuccess\":{\"rejectedLogRecords\":3}}", 'r'),
            (Otlp, "<html>sign in</html>", 'r'),
        ] {
            assert_eq!(judged(kind, 200, body), expected, "{kind:?} {body}");
        }
    }
}
