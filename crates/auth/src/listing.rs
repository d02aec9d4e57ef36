//! Pages of names.

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::{Body, FieldError};
use aumbry_types::ObjectId;

/// The names in a container after this one, in order, at most so many (0: as many as a page holds), and whether more follow.
pub(crate) fn names(
    txn: &mut Txn<'_>,
    container: ObjectId,
    after: &str,
    limit: usize,
) -> Result<(Vec<String>, bool), DamagedRow> {
    let children = txn.list(container)?;
    let first = children.partition_point(|child| child.name.as_str() <= after);
    let limit = if limit == 0 { PAGE_MAX } else { limit.min(PAGE_MAX) };
    let page = &children[first..children.len().min(first + limit)];
    let names = page.iter().map(|child| child.name.clone()).collect();
    Ok((names, first + page.len() < children.len()))
}

/// How many names are asked for; 0 is as many as a page holds. Some clients say -1 for that.
pub(crate) fn limit(body: &Body) -> Result<usize, FieldError> {
    if body.text("limit")?.is_some_and(|text| text.starts_with('-')) {
        return Ok(0);
    }
    let limit = body.count("limit")?.unwrap_or(0);
    Ok(usize::try_from(limit).unwrap_or(PAGE_MAX))
}

/// As a list of secrets.
pub(crate) const PAGE_MAX: usize = 10_000;
