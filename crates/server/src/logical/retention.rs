//! From where on the audit log is kept, and what is pruned of it.

use aumbry_node::{AuditPrune, Before, Failure, Moment, Operation, Reply};
use aumbry_types::parse_duration;

use super::content::Content;
use super::{Asked, Resolved, malformed, mismatched};

/// The floor.
pub(super) fn floor(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(told(Operation::AuditFloor))
}

/// Prunes.
pub(super) fn prune(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let body = &asked.body;
    let flag = |field| Ok::<_, Failure>(body.flag(field).map_err(malformed)?.unwrap_or(false));
    let before = body.count("before").map_err(malformed)?;
    let older_than = body.text("older_than").map_err(malformed)?;
    let before = match (before, older_than) {
        (Some(seq), None) => Before::Seq(seq),
        (None, Some(text)) => match parse_duration(&text) {
            Ok(ago) => Before::Time(Moment::Ago(ago.as_secs())),
            Err(_) => {
                return Err(Failure::invalid("older_than is a duration, such as 90d or 2160h"));
            }
        },
        _ => {
            return Err(Failure::invalid(
                "name one of before, the first record that is kept, and older_than, such as 2160h",
            ));
        }
    };
    Ok(told(Operation::AuditPrune(AuditPrune {
        before,
        without_archive: flag("without_archive")?,
        dry_run: flag("dry_run")?,
    })))
}

fn told(operation: Operation) -> Resolved {
    Resolved::new(operation, |_, reply| match reply {
        Reply::Json { data, .. } => Ok(Content {
            data: Some(data),
            ..Content::default()
        }),
        _ => Err(mismatched()),
    })
}
