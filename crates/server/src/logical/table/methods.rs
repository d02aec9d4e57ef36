//! The paths of mounts: engines and auth methods, each below its own.

use aumbry_logical::Verb::{Delete, List, Patch, Read, Write};

use super::Served::ByMount;
use super::{Route, row};

/// KV, version 2.
pub(super) const VERSIONED: &[Route] = &[
    row(
        "config",
        &[(Read, ByMount), (Write, ByMount)],
        "The settings of the engine: versions to keep, check-and-set, deletion.",
    ),
    row(
        "data/{path...}",
        &[(Read, ByMount), (Write, ByMount), (Patch, ByMount), (Delete, ByMount)],
        "A secret: its current version, or the one that `version` names.",
    ),
    row("metadata", &[(List, ByMount)], "The names at the top of the mount."),
    row(
        "metadata/{path...}",
        &[
            (Read, ByMount),
            (Write, ByMount),
            (Patch, ByMount),
            (Delete, ByMount),
            (List, ByMount),
        ],
        "What is known of a secret beside its data; its names, if it is a directory.",
    ),
    row(
        "subkeys/{path...}",
        &[(Read, ByMount)],
        "The keys of a secret without their values.",
    ),
    row(
        "delete/{path...}",
        &[(Write, ByMount)],
        "Deletes versions, so that they can be had back.",
    ),
    row("undelete/{path...}", &[(Write, ByMount)], "Has deleted versions back."),
    row("destroy/{path...}", &[(Write, ByMount)], "Removes versions for good."),
];

/// KV, version 1.
pub(super) const PLAIN: &[Route] = &[row(
    "{path...}",
    &[(Read, ByMount), (Write, ByMount), (Delete, ByMount), (List, ByMount)],
    "A secret, or the names below a directory.",
)];

/// AppRole.
pub(super) const APPROLE: &[Route] = &[
    row(
        "login",
        &[(Write, ByMount)],
        "Gives a token for a role id and a secret id.",
    ),
    row("role", &[(List, ByMount)], "The names of the roles."),
    row(
        "role/{role_name}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "A role.",
    ),
    row(
        "role/{role_name}/role-id",
        &[(Read, ByMount), (Write, ByMount)],
        "The id of a role.",
    ),
    row(
        "role/{role_name}/secret-id",
        &[(Write, ByMount), (List, ByMount)],
        "Makes a secret id, or lists the accessors of all.",
    ),
    row(
        "role/{role_name}/custom-secret-id",
        &[(Write, ByMount)],
        "Makes a secret id of a text of your choice.",
    ),
    row(
        "role/{role_name}/secret-id/lookup",
        &[(Write, ByMount)],
        "Tells of a secret id.",
    ),
    row(
        "role/{role_name}/secret-id/destroy",
        &[(Write, ByMount), (Delete, ByMount)],
        "Removes a secret id.",
    ),
    row(
        "role/{role_name}/secret-id-accessor/lookup",
        &[(Write, ByMount)],
        "Tells of the secret id with an accessor.",
    ),
    row(
        "role/{role_name}/secret-id-accessor/destroy",
        &[(Write, ByMount), (Delete, ByMount)],
        "Removes the secret id with an accessor.",
    ),
    row(
        "role/{role_name}/{setting}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "One setting of a role.",
    ),
    row(
        "tidy/secret-id",
        &[(Write, ByMount)],
        "Nothing: what has expired is removed by itself.",
    ),
];

/// Userpass.
pub(super) const USERPASS: &[Route] = &[
    row("login/{username}", &[(Write, ByMount)], "Gives a token for a password."),
    row("users", &[(List, ByMount)], "The names of the users."),
    row(
        "users/{username}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "A user.",
    ),
    row(
        "users/{username}/password",
        &[(Write, ByMount)],
        "Gives a user another password.",
    ),
    row(
        "users/{username}/policies",
        &[(Write, ByMount)],
        "Gives a user other policies.",
    ),
];

/// How a method is set up for which somebody else vouches.
const CONFIG: Route = row(
    "config",
    &[(Read, ByMount), (Write, ByMount)],
    "How the method is set up, without its secrets.",
);

/// The roles of such a method.
const ROLES: Route = row("role", &[(List, ByMount)], "The names of the roles.");

/// One of them.
const ROLE: Route = row(
    "role/{role_name}",
    &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
    "A role: whose tokens it takes, and what it gives.",
);

/// The login by a token of somebody else's.
const LOGIN: Route = row(
    "login",
    &[(Write, ByMount)],
    "Gives a token for one that somebody else vouches for: `role`, `jwt`.",
);

/// JWT and OIDC.
pub(super) const JWT: &[Route] = &[
    CONFIG,
    ROLES,
    ROLE,
    LOGIN,
    row(
        "oidc/auth_url",
        &[(Write, ByMount)],
        "Begins a login by a browser: gives the address to open, for `role`, `redirect_uri`, `client_nonce`.",
    ),
    row(
        "oidc/callback",
        &[(Read, ByMount), (Write, ByMount)],
        "Gives a token for what the browser came back with: `state`, `code`, `client_nonce`.",
    ),
];

/// Kubernetes.
pub(super) const KEPT: &[Route] = &[CONFIG, ROLES, ROLE, LOGIN];

/// Directories.
pub(super) const LDAP: &[Route] = &[
    CONFIG,
    row(
        "groups",
        &[(List, ByMount)],
        "The names of the groups that have policies.",
    ),
    row(
        "groups/{group_name}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "The policies of a group of the directory.",
    ),
    row(
        "users",
        &[(List, ByMount)],
        "The names of the users that have policies or groups.",
    ),
    row(
        "users/{username}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "Policies and groups of a user, beside those of the directory.",
    ),
    row(
        "login/{username}",
        &[(Write, ByMount)],
        "Gives a token for the password that the directory knows: `password`.",
    ),
];

/// TLS certificates.
pub(super) const CERT: &[Route] = &[
    row(
        "config",
        &[(Read, ByMount), (Write, ByMount)],
        "Whether tokens are renewed without their certificate, and whether lists of revoked ones must be there.",
    ),
    row("certs", &[(List, ByMount)], "The names of the entries."),
    row(
        "certs/{name}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "An entry: which certificates it takes, and what it gives.",
    ),
    row(
        "crls/{name}",
        &[(Read, ByMount), (Write, ByMount), (Delete, ByMount)],
        "A list of revoked certificates.",
    ),
    row(
        "login",
        &[(Write, ByMount)],
        "Gives a token for the certificate of the connection.",
    ),
];
