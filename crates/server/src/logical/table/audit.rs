//! The paths of proofs about the audit log. The log itself is read by gRPC alone.

use aumbry_logical::Verb::Read;

use super::Served::By;
use super::{Route, root_row};
use crate::logical::transparency;

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
];
