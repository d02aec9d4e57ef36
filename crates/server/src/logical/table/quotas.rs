//! The paths of rate limits, and of limits on numbers.

use aumbry_logical::Verb::{Delete, List, Read, Write};

use super::Served::By;
use super::{Route, root_row};
use crate::logical::sys;

/// `sys/quotas/`.
pub(super) const QUOTAS: &[Route] = &[
    root_row(
        "sys/quotas/config",
        &[(Read, By(sys::quotas)), (Write, By(sys::quotas))],
        "What is exempt from rate limits.",
    ),
    root_row(
        "sys/quotas/rate-limit",
        &[(List, By(sys::quotas))],
        "The names of the rate limits.",
    ),
    root_row(
        "sys/quotas/rate-limit/{name}",
        &[
            (Read, By(sys::quotas)),
            (Write, By(sys::quotas)),
            (Delete, By(sys::quotas)),
        ],
        "A rate limit.",
    ),
    root_row(
        "sys/quotas/lease-count",
        &[(List, By(sys::quotas))],
        "The names of the limits on numbers of tokens.",
    ),
    root_row(
        "sys/quotas/lease-count/{name}",
        &[
            (Read, By(sys::quotas)),
            (Write, By(sys::quotas)),
            (Delete, By(sys::quotas)),
        ],
        "How many tokens there can be that are made by way of a path, and how many there are.",
    ),
    root_row(
        "sys/quotas/object-count",
        &[(List, By(sys::quotas))],
        "The names of the limits on numbers of other things.",
    ),
    root_row(
        "sys/quotas/object-count/{name}",
        &[
            (Read, By(sys::quotas)),
            (Write, By(sys::quotas)),
            (Delete, By(sys::quotas)),
        ],
        "How many entities, policies, mounts or the like a namespace can have, and how many it has.",
    ),
];
