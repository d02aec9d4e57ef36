//! The paths of proofs about the audit log, and of what is kept of it. The log itself is read by gRPC alone.

use aumbry_logical::Verb::{Read, Write};

use super::Served::By;
use super::{Route, root_row};
use crate::logical::{retention, transparency};

/// `sys/audit-log/`.
pub(super) const AUDIT: &[Route] = &[
    root_row(
        "sys/audit-log/checkpoint",
        &[(Read, By(transparency::checkpoint))],
        "A signed checkpoint of the audit log.",
    ),
    root_row(
        "sys/audit-log/proof",
        &[(Read, By(transparency::proof))],
        "Proves that a record is in the audit log: `seq`, and the `size` of the tree.",
    ),
    root_row(
        "sys/audit-log/consistency",
        &[(Read, By(transparency::consistency))],
        "Proves that the audit log only grew: `from` one size, `to` another.",
    ),
    root_row(
        "sys/audit-log/floor",
        &[(Read, By(retention::floor))],
        "From which record on the audit log is kept, and the signed checkpoint of what was before.",
    ),
    root_row(
        "sys/audit-log/prune",
        &[(Write, By(retention::prune))],
        "Drops the records of the audit log `before` a number or `older_than` a duration, once `without_archive` says that they were exported; with `dry_run`, tells which.",
    ),
];
