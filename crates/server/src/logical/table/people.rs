//! The paths that are there by themselves beside the system: tokens, what they keep for themselves, and whose they are.

use aumbry_logical::Verb::{Delete, List, Read, Write};

use super::Served::By;
use super::{Route, row};
use crate::logical::{auth, identity, token};

/// `auth/token/`.
pub(super) const TOKENS: &[Route] = &[
    row(
        "auth/token/create",
        &[(Write, By(token::create))],
        "Makes a token below the caller's.",
    ),
    row(
        "auth/token/create/{role_name}",
        &[(Write, By(token::create_with_role))],
        "Makes a token with a role.",
    ),
    row(
        "auth/token/create-orphan",
        &[(Write, By(token::create_orphan))],
        "Makes a token without a parent.",
    ),
    row(
        "auth/token/lookup",
        &[(Write, By(token::lookup))],
        "Tells of a token: `token`.",
    ),
    row(
        "auth/token/lookup-self",
        &[(Read, By(token::lookup_self)), (Write, By(token::lookup_self))],
        "Tells of the caller's token.",
    ),
    row(
        "auth/token/lookup-accessor",
        &[(Write, By(token::lookup_accessor))],
        "Tells of the token with an accessor: `accessor`.",
    ),
    row(
        "auth/token/renew",
        &[(Write, By(token::renew))],
        "Renews a token: `token`, `increment`.",
    ),
    row(
        "auth/token/renew-self",
        &[(Write, By(token::renew_self))],
        "Renews the caller's token.",
    ),
    row(
        "auth/token/renew-accessor",
        &[(Write, By(token::renew_accessor))],
        "Renews the token with an accessor.",
    ),
    row(
        "auth/token/revoke",
        &[(Write, By(token::revoke))],
        "Revokes a token with all below it: `token`.",
    ),
    row(
        "auth/token/revoke-self",
        &[(Write, By(token::revoke_self))],
        "Revokes the caller's token with all below it.",
    ),
    row(
        "auth/token/revoke-accessor",
        &[(Write, By(token::revoke_accessor))],
        "Revokes the token with an accessor, with all below it.",
    ),
    row(
        "auth/token/revoke-orphan",
        &[(Write, By(token::revoke_orphan))],
        "Revokes a token alone: what is below it stays, without a parent.",
    ),
    row(
        "auth/token/accessors",
        &[(List, By(token::accessors))],
        "The accessors of all tokens.",
    ),
    row(
        "auth/token/tidy",
        &[(Write, By(token::tidy))],
        "Nothing: what is left of tokens is removed by itself.",
    ),
    row(
        "auth/token/roles",
        &[(List, By(auth::token_roles))],
        "The names of the roles of tokens.",
    ),
    row(
        "auth/token/roles/{role_name}",
        &[
            (Read, By(auth::token_roles)),
            (Write, By(auth::token_roles)),
            (Delete, By(auth::token_roles)),
        ],
        "A role of tokens.",
    ),
];

/// `identity/`, and what a token keeps for itself.
pub(super) const PEOPLE: &[Route] = &[
    row(
        "identity/mfa/method",
        &[(List, By(identity::resolve))],
        "The ids of the methods of a second factor.",
    ),
    row(
        "identity/mfa/method/totp",
        &[(List, By(identity::resolve)), (Write, By(identity::resolve))],
        "The ids of the methods by codes; makes one.",
    ),
    row(
        "identity/mfa/method/totp/generate",
        &[(Write, By(identity::resolve))],
        "Makes the caller's secret, which is told once: `method_id`.",
    ),
    row(
        "identity/mfa/method/totp/admin-generate",
        &[(Write, By(identity::resolve))],
        "Makes the secret of an entity, which is told once: `method_id`, `entity_id`.",
    ),
    row(
        "identity/mfa/method/totp/admin-destroy",
        &[(Write, By(identity::resolve))],
        "Removes the secret of an entity: `method_id`, `entity_id`.",
    ),
    row(
        "identity/mfa/method/totp/{method_id}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "A method by codes.",
    ),
    row(
        "identity/mfa/method/{method_id}",
        &[(Read, By(identity::resolve))],
        "A method of a second factor.",
    ),
    row(
        "identity/mfa/login-enforcement",
        &[(List, By(identity::resolve))],
        "The names of the enforcements.",
    ),
    row(
        "identity/mfa/login-enforcement/{name}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "Who needs a second factor.",
    ),
    row(
        "sys/mfa/validate",
        &[(Write, By(auth::second_factor))],
        "Takes the codes of a login that waits for them: `mfa_request_id`, `mfa_payload`.",
    ),
    row(
        "identity/entity",
        &[(Write, By(identity::resolve))],
        "Makes or changes an entity.",
    ),
    row(
        "identity/entity/merge",
        &[(Write, By(identity::resolve))],
        "Merges entities into one.",
    ),
    row(
        "identity/entity/batch-delete",
        &[(Write, By(identity::resolve))],
        "Deletes entities.",
    ),
    row(
        "identity/entity/id",
        &[(List, By(identity::resolve))],
        "The ids of the entities.",
    ),
    row(
        "identity/entity/name",
        &[(List, By(identity::resolve))],
        "The names of the entities.",
    ),
    row(
        "identity/entity/{by}/{entity}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "An entity, by `id` or `name`.",
    ),
    row(
        "identity/group",
        &[(Write, By(identity::resolve))],
        "Makes or changes a group.",
    ),
    row(
        "identity/group/id",
        &[(List, By(identity::resolve))],
        "The ids of the groups.",
    ),
    row(
        "identity/group/name",
        &[(List, By(identity::resolve))],
        "The names of the groups.",
    ),
    row(
        "identity/group/{by}/{group}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "A group, by `id` or `name`.",
    ),
    row(
        "identity/lookup/entity",
        &[(Write, By(identity::resolve))],
        "Finds an entity.",
    ),
    row(
        "identity/lookup/group",
        &[(Write, By(identity::resolve))],
        "Finds a group.",
    ),
    row(
        "identity/entity-alias",
        &[(Write, By(identity::resolve))],
        "Gives an entity an alias.",
    ),
    row(
        "identity/entity-alias/id",
        &[(List, By(identity::resolve))],
        "The ids of the aliases.",
    ),
    row(
        "identity/entity-alias/id/{id}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "An alias of an entity.",
    ),
    row(
        "identity/alias",
        &[(Write, By(identity::resolve))],
        "Gives an entity an alias.",
    ),
    row(
        "identity/alias/id",
        &[(List, By(identity::resolve))],
        "The ids of the aliases.",
    ),
    row(
        "identity/alias/id/{id}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "An alias of an entity.",
    ),
    row(
        "identity/group-alias",
        &[(Write, By(identity::resolve))],
        "Gives a group an alias.",
    ),
    row(
        "identity/group-alias/id",
        &[(List, By(identity::resolve))],
        "The ids of the aliases.",
    ),
    row(
        "identity/group-alias/id/{id}",
        &[
            (Read, By(identity::resolve)),
            (Write, By(identity::resolve)),
            (Delete, By(identity::resolve)),
        ],
        "An alias of a group.",
    ),
    row(
        "cubbyhole",
        &[(List, By(auth::cubbyhole))],
        "What the caller's token keeps for itself.",
    ),
    row(
        "cubbyhole/{path...}",
        &[
            (Read, By(auth::cubbyhole)),
            (Write, By(auth::cubbyhole)),
            (Delete, By(auth::cubbyhole)),
            (List, By(auth::cubbyhole)),
        ],
        "What the caller's token keeps for itself.",
    ),
];
