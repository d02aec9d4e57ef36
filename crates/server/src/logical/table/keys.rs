//! The paths of keys and of the shares that open them.

use aumbry_logical::Verb::{Delete, Read, Write};

use super::Served::{By, Not};
use super::{Route, root_row};
use crate::logical::sys;

/// `sys/key-status`, `sys/rotate`, `sys/rekey` and `sys/generate-root`.
pub(super) const KEYS: &[Route] = &[
    root_row(
        "sys/key-status",
        &[(Read, By(sys::keys))],
        "The key that seals what is written, and how often it was used.",
    ),
    root_row(
        "sys/rotate",
        &[(Write, By(sys::keys))],
        "Makes a new key for what is written.",
    ),
    root_row(
        "sys/rotate/keyring",
        &[(Write, By(sys::keys))],
        "Makes a new key for what is written.",
    ),
    root_row(
        "sys/rotate/config",
        &[(Read, By(sys::keys)), (Write, By(sys::keys))],
        "When a new key is made by itself: `enabled`, `max_operations`, `interval`.",
    ),
    root_row(
        "sys/rotate/keyring/config",
        &[(Read, By(sys::keys)), (Write, By(sys::keys))],
        "When a new key is made by itself: `enabled`, `max_operations`, `interval`.",
    ),
    root_row(
        "sys/rotate/progress",
        &[(Read, By(sys::keys))],
        "How far what older keys seal is sealed by the new one.",
    ),
    root_row(
        "sys/rotate/retire",
        &[(Write, By(sys::keys))],
        "Takes out older keys that nothing uses; `force` ends batch tokens of theirs.",
    ),
    root_row(
        "sys/erasure",
        &[(Read, By(sys::erasure)), (Write, By(sys::erasure))],
        "What was replaced or destroyed goes from the disks of all nodes: begins, tells how far each node is.",
    ),
    // As OpenBao's clients ask for the same.
    root_row(
        "sys/rotate/root/init",
        &[
            (Read, By(sys::rekey)),
            (Write, By(sys::rekey)),
            (Delete, By(sys::rekey)),
        ],
        "New key shares: begins with `secret_shares` and `secret_threshold`, tells how far it is, ends it.",
    ),
    root_row(
        "sys/rotate/root/update",
        &[(Write, By(sys::rekey))],
        "Shows an old key share; the last one makes the new ones, which are told once.",
    ),
    root_row(
        "sys/rotate/root/verify",
        &[
            (Read, By(sys::rekey)),
            (Write, By(sys::rekey)),
            (Delete, By(sys::rekey)),
        ],
        "Tries a new key share; the last one makes them count, and the old ones not.",
    ),
    root_row(
        "sys/rekey/init",
        &[
            (Read, By(sys::rekey)),
            (Write, By(sys::rekey)),
            (Delete, By(sys::rekey)),
        ],
        "New key shares: begins with `secret_shares` and `secret_threshold`, tells how far it is, ends it.",
    ),
    root_row(
        "sys/rekey/update",
        &[(Write, By(sys::rekey))],
        "Shows an old key share; the last one makes the new ones, which are told once.",
    ),
    root_row(
        "sys/rekey/verify",
        &[
            (Read, By(sys::rekey)),
            (Write, By(sys::rekey)),
            (Delete, By(sys::rekey)),
        ],
        "Tries a new key share; the last one makes them count, and the old ones not.",
    ),
    root_row(
        "sys/generate-root/attempt",
        &[
            (Read, By(sys::generate_root)),
            (Write, By(sys::generate_root)),
            (Delete, By(sys::generate_root)),
        ],
        "A root token made with key shares: begins, tells how far it is, ends it; with a token, or a share in `key`.",
    ),
    root_row(
        "sys/generate-root/update",
        &[(Write, By(sys::generate_root))],
        "Shows a key share; the last one makes the root token, hidden by the one-time pad of the attempt.",
    ),
    // As OpenBao's clients ask for the same.
    root_row(
        "sys/generate-root-token/attempt",
        &[
            (Read, By(sys::generate_root)),
            (Write, By(sys::generate_root)),
            (Delete, By(sys::generate_root)),
        ],
        "A root token made with key shares: begins, tells how far it is, ends it; with a token, or a share in `key`.",
    ),
    root_row(
        "sys/generate-root-token/update",
        &[(Write, By(sys::generate_root))],
        "Shows a key share; the last one makes the root token, hidden by the one-time pad of the attempt.",
    ),
    root_row(
        "sys/rekey/backup",
        &[(Read, Not(BACKUP)), (Delete, Not(BACKUP))],
        "New shares, encrypted.",
    ),
];

const BACKUP: &str = "new shares are told once, and kept nowhere";
