//! `sys/audit-log/`: records of the audit log, by what they are about.

use std::net::IpAddr;

use aumbry_audit::{Filter, PathFilter};
use aumbry_node::look::{Guard, Look, What};
use aumbry_node::method::Said;
use aumbry_node::{AuditQuery, Failure, Moment, Operation, Reply};
use aumbry_types::{Capability, SecretBytes, parse_duration};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::content::Content;
use super::{Asked, Resolved, malformed, mismatched};

/// Looks for records. Asked with a body too, so that names need not stand in addresses, which proxies keep; it reads in any case.
pub(super) fn query(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let look = Look {
        what: What::AuditQuery(Box::new(parse(asked)?)),
        path: asked.path.as_str().to_owned(),
        capability: Capability::Read,
        guard: Guard::Sudo,
        said: said(asked),
    };
    Ok(Resolved::new(Operation::Look(look), |_, reply| match reply {
        Reply::Json { data, .. } => Ok(Content {
            data: Some(data),
            ..Content::default()
        }),
        _ => Err(mismatched()),
    }))
}

fn parse(asked: &Asked<'_>) -> Result<AuditQuery, Failure> {
    let body = &asked.body;
    let texts = |field| -> Result<Vec<String>, Failure> {
        let texts = body.texts(field).map_err(malformed)?.unwrap_or_default();
        if texts.len() > ALTERNATIVES_MAX {
            return Err(Failure::invalid(format!(
                "{field} has at most 32 alternatives; ask more than once"
            )));
        }
        Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
    };
    let count = |field| body.count(field).map_err(malformed);
    let text = |field| -> Result<Option<String>, Failure> {
        Ok(body.text(field).map_err(malformed)?.filter(|text| !text.is_empty()))
    };
    let path = text("path")?.map(|path| path.trim_matches('/').to_owned());
    // Below the root is everything.
    let prefix = text("path_prefix")?
        .map(|path| path.trim_matches('/').to_owned())
        .filter(|path| !path.is_empty());
    let outcomes = texts("outcome")?;
    if let Some(unknown) = outcomes.iter().find(|word| !OUTCOMES.contains(&word.as_str())) {
        // It is a word of the manual or a slip, and no secret; and yet it is not repeated if it is long.
        let shown = if unknown.len() <= 32 { unknown.as_str() } else { "this" };
        let known = OUTCOMES.join(", ");
        return Err(Failure::invalid(format!("{shown} is no outcome; they are {known}")));
    }
    let filter = Filter {
        is_with_below: body.flag("below").map_err(malformed)?.unwrap_or(false),
        identities: texts("identity")?,
        accessors: texts("accessor")?,
        path: match (path, prefix) {
            (None, None) => PathFilter::Any,
            (Some(path), None) => PathFilter::Exact(path),
            (None, Some(prefix)) => PathFilter::Below(prefix),
            (Some(_), Some(_)) => return Err(Failure::invalid("name one of path and path_prefix")),
        },
        operations: texts("operation")?,
        outcomes,
        addresses: texts("address")?.iter().map(|text| address(text)).collect(),
        request_id: text("request_id")?,
        from_index: count("from_index")?.unwrap_or_default(),
        to_index: count("to_index")?,
        ..Filter::default()
    };
    let limit = count("limit")?.unwrap_or(LIMIT);
    Ok(AuditQuery {
        filter,
        since: moment("since", text("since")?)?,
        until: moment("until", text("until")?)?,
        from_seq: count("from")?.unwrap_or_default(),
        to_seq: count("to")?,
        is_oldest_first: body.flag("oldest_first").map_err(malformed)?.unwrap_or(false),
        limit: usize::try_from(limit).map_err(|_| Failure::invalid("limit is 1 to 1,000"))?,
        page: count("page")?,
    })
}

/// A time as RFC 3339 has it, or a duration before now.
fn moment(field: &str, text: Option<String>) -> Result<Moment, Failure> {
    let Some(text) = text else { return Ok(Moment::Unsaid) };
    if let Ok(time) = OffsetDateTime::parse(&text, &Rfc3339) {
        // Nothing is on record from before 1970.
        let ms = u64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
        return Ok(Moment::At(ms));
    }
    let duration = parse_duration(&text);
    duration.map(|ago| Moment::Ago(ago.as_secs())).map_err(|_| {
        Failure::invalid(format!(
            "{field} is a time such as 2026-11-22T17:00:00Z, or how long ago, such as 90m or 24h"
        ))
    })
}

/// What is on record of it: everything, so that it is known who looked for what. What may be a token in the wrong place is told by its digest.
fn said(asked: &Asked<'_>) -> Vec<Said> {
    let said = FIELDS.iter().filter_map(|(name, is_clear)| {
        let value = asked.body.get(name)?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(Said {
            name: (*name).to_owned(),
            is_clear: *is_clear && value.len() <= CLEAR_BYTES_MAX,
            value: SecretBytes::from(value),
        })
    });
    said.collect()
}

/// An address in the form that records have.
fn address(text: &str) -> String {
    let host = aumbry_audit::host(text);
    host.parse::<IpAddr>()
        .map_or_else(|_| host.to_owned(), |address| address.to_string())
}

/// What a query is made of, and whether a record may show it.
const FIELDS: [(&str, bool); 18] = [
    ("accessor", false),
    ("address", true),
    ("below", true),
    ("from", true),
    ("from_index", true),
    ("identity", false),
    ("limit", true),
    ("oldest_first", true),
    ("operation", true),
    ("outcome", true),
    ("page", true),
    ("path", true),
    ("path_prefix", true),
    ("request_id", true),
    ("since", true),
    ("to", true),
    ("to_index", true),
    ("until", true),
];
/// The words for what was decided, and for what became of it.
const OUTCOMES: [&str; 10] = [
    "allowed",
    "denied",
    "unauthenticated",
    "failed",
    "ok",
    "conflict",
    "exhausted",
    "expired",
    "rejected",
    "clear",
];
/// Each is compared with every record that is read.
const ALTERNATIVES_MAX: usize = 32;
/// As many as people look at.
const LIMIT: u64 = 100;
/// Longer ones are told by their digest, not by a part.
const CLEAR_BYTES_MAX: usize = 400;
