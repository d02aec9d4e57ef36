//! The paths of the system.

use aumbry_logical::Verb::{Delete, List, Patch, Read, Write};

use super::NodePath::{Health, Init, Leader, Replication, SealStatus, Unseal};
use super::Served::{By, ByHttp, ByNode, Not};
use super::{Route, root_row, row};
use crate::logical::{audit, leases, manual, mounts, policy, sys, tell};

/// `sys/`.
pub(super) const SYSTEM: &[Route] = &[
    root_row(
        "sys/health",
        &[(Read, ByNode(Health))],
        "The health of the node, for load balancers.",
    ),
    root_row(
        "sys/seal-status",
        &[(Read, ByNode(SealStatus))],
        "The seal of the node.",
    ),
    root_row("sys/leader", &[(Read, ByNode(Leader))], "Which node leads."),
    root_row(
        "sys/init",
        &[(Read, ByNode(Init)), (Write, ByNode(Init))],
        "Whether there is a cluster; makes one of a fresh node.",
    ),
    root_row(
        "sys/unseal",
        &[(Write, ByNode(Unseal))],
        "Takes a share that opens the seal of the node.",
    ),
    root_row(
        "sys/replication/status",
        &[(Read, ByNode(Replication))],
        "Replication between clusters, which there is not.",
    ),
    root_row(
        "sys/replication/{mode}/status",
        &[(Read, ByNode(Replication))],
        "Replication between clusters, which there is not.",
    ),
    row(
        "sys/mounts",
        &[(Read, By(mounts::secrets)), (List, By(mounts::secrets))],
        "The secrets engines that are mounted.",
    ),
    // Clients tune an auth method here.
    row(
        "sys/mounts/auth/{path...}/tune",
        &[(Read, By(mounts::method_tuned)), (Write, By(mounts::tune_method))],
        "The settings of an auth method; so is sys/auth/PATH/tune, by which policies know it.",
    ),
    row(
        "sys/mounts/auth/{path...}",
        &[(Read, By(mounts::method))],
        "An auth method; so is sys/auth/PATH, by which policies know it.",
    ),
    row(
        "sys/mounts/{path...}/tune",
        &[(Read, By(mounts::secrets_tuned)), (Write, By(mounts::tune_secrets))],
        "The settings of a secrets engine.",
    ),
    row(
        "sys/mounts/{path...}",
        &[
            (Read, By(mounts::secret)),
            (Write, By(mounts::enable_secrets)),
            (Delete, By(mounts::disable_secrets)),
        ],
        "Mounts a secrets engine, tells of it, or removes it with all that it holds.",
    ),
    row(
        "sys/auth",
        &[(Read, By(mounts::methods)), (List, By(mounts::methods))],
        "The auth methods that are mounted.",
    ),
    row(
        "sys/auth/{path...}/tune",
        &[(Read, By(mounts::method_tuned)), (Write, By(mounts::tune_method))],
        "The settings of an auth method.",
    ),
    row(
        "sys/auth/{path...}",
        &[
            (Read, By(mounts::method)),
            (Write, By(mounts::enable_method)),
            (Delete, By(mounts::disable_method)),
        ],
        "Mounts an auth method, tells of it, or removes it with all tokens that it gave.",
    ),
    row(
        "sys/locked-users",
        &[(Read, By(sys::locked_users))],
        "Who is locked for having shown wrong passwords: `mount_accessor`.",
    ),
    row(
        "sys/locked-users/{mount_accessor}/unlock/{alias_identifier}",
        &[(Write, By(sys::locked_users))],
        "Forgets the wrong passwords of a user.",
    ),
    row(
        "sys/remount",
        &[(Write, By(mounts::relocate))],
        "Moves a mount with all that it holds: `from` and `to`.",
    ),
    row(
        "sys/remount/status/{migration_id}",
        &[(Read, By(mounts::relocated))],
        "Whether a mount has moved.",
    ),
    row(
        "sys/policy",
        &[(Read, By(policy::list)), (List, By(policy::list))],
        "The names of the policies.",
    ),
    row(
        "sys/policy/{name}",
        &[
            (Read, By(policy::old)),
            (Write, By(policy::old)),
            (Delete, By(policy::old)),
        ],
        "A policy, in `rules`.",
    ),
    row(
        "sys/policies/acl",
        &[(Read, By(policy::list)), (List, By(policy::list))],
        "The names of the policies.",
    ),
    row(
        "sys/policies/acl/{name}",
        &[
            (Read, By(policy::new)),
            (Write, By(policy::new)),
            (Delete, By(policy::new)),
        ],
        "A policy, in `policy`.",
    ),
    row(
        "sys/policies/password",
        &[(List, By(policy::password_policies))],
        "The names of the policies of passwords.",
    ),
    row(
        "sys/policies/password/{name}",
        &[
            (Read, By(policy::password_policy)),
            (Write, By(policy::password_policy)),
            (Delete, By(policy::password_policy)),
        ],
        "What generated passwords are like, in `policy`.",
    ),
    row(
        "sys/policies/password/{name}/generate",
        &[(Read, By(policy::password))],
        "Makes a password.",
    ),
    row(
        "sys/capabilities-self",
        &[(Write, By(sys::own_capabilities))],
        "What the caller may do on paths.",
    ),
    row(
        "sys/capabilities",
        &[(Write, By(sys::capabilities_of_token))],
        "What the holder of a token may do on paths.",
    ),
    row(
        "sys/capabilities-accessor",
        &[(Write, By(sys::capabilities_by_accessor))],
        "What the holder of the token with an accessor may do on paths.",
    ),
    row("sys/wrapping/wrap", &[(Write, By(sys::wrap))], "Wraps what is sent."),
    row(
        "sys/wrapping/unwrap",
        &[(Write, By(sys::unwrap))],
        "Opens what was wrapped, once.",
    ),
    row(
        "sys/wrapping/rewrap",
        &[(Write, By(sys::rewrap))],
        "Wraps anew what was wrapped.",
    ),
    row(
        "sys/wrapping/lookup",
        &[(Read, By(sys::lookup_wrapped)), (Write, By(sys::lookup_wrapped))],
        "Tells of what was wrapped.",
    ),
    root_row(
        "sys/seal",
        &[(Write, By(sys::seal))],
        "Seals the node; with `cluster`, every node.",
    ),
    root_row(
        "sys/seal/cluster",
        &[(Write, By(sys::seal_cluster)), (Delete, By(sys::release_seals))],
        "Seals every node, also one that comes back later; deleted, seals of keys open nodes again.",
    ),
    root_row(
        "sys/step-down",
        &[(Write, By(sys::step_down))],
        "Makes the leader hand over.",
    ),
    root_row(
        "sys/storage/raft/configuration",
        &[(Read, By(sys::members))],
        "The members of the cluster.",
    ),
    root_row(
        "sys/storage/raft/remove-peer",
        &[(Write, By(sys::remove))],
        "Removes a member from the cluster: `server_id`.",
    ),
    root_row(
        "sys/storage/raft/autopilot/configuration",
        &[(Read, By(tell::autopilot_configuration)), (Write, Not(AUTOPILOT))],
        "How the cluster keeps itself in order, which is built in.",
    ),
    root_row(
        "sys/storage/raft/autopilot/state",
        &[(Read, By(tell::autopilot_state))],
        "Whether the members are well.",
    ),
    root_row(
        "sys/storage/raft/snapshot",
        &[(Read, ByHttp), (Write, Not(RESTORE))],
        "A backup of everything, sealed as it is stored, as a stream.",
    ),
    root_row(
        "sys/storage/raft/snapshot-force",
        &[(Write, Not(RESTORE))],
        "Restores a backup.",
    ),
    root_row("sys/storage/raft/join", &[(Write, Not(JOIN))], "Joins a cluster."),
    root_row(
        "sys/storage/raft/bootstrap/challenge",
        &[(Write, Not(JOIN))],
        "Joins a cluster.",
    ),
    root_row(
        "sys/storage/raft/bootstrap/answer",
        &[(Write, Not(JOIN))],
        "Joins a cluster.",
    ),
    row(
        "sys/leases/lookup",
        &[(Write, By(leases::lookup)), (List, By(leases::list))],
        "Tells of a lease; lists leases.",
    ),
    row(
        "sys/leases/lookup/{prefix...}",
        &[(List, By(leases::list))],
        "The leases below a prefix, such as auth/userpass/login.",
    ),
    row("sys/leases/renew", &[(Write, By(leases::renew))], "Renews a lease."),
    row(
        "sys/leases/renew/{lease_id...}",
        &[(Write, By(leases::renew))],
        "Renews a lease.",
    ),
    row("sys/leases/revoke", &[(Write, By(leases::revoke))], "Ends a lease."),
    row(
        "sys/leases/revoke/{lease_id...}",
        &[(Write, By(leases::revoke))],
        "Ends a lease.",
    ),
    row(
        "sys/leases/revoke-prefix/{prefix...}",
        &[(Write, By(leases::revoke_prefix))],
        "Ends all leases below a prefix, such as auth/userpass/login.",
    ),
    row(
        "sys/leases/revoke-force/{prefix...}",
        &[(Write, By(leases::revoke_prefix))],
        "Ends all leases below a prefix.",
    ),
    row(
        "sys/leases/tidy",
        &[(Write, By(leases::tidy))],
        "Nothing: what has expired is removed by itself.",
    ),
    row(
        "sys/leases/count",
        &[(Read, By(leases::count))],
        "How many leases there are.",
    ),
    row("sys/renew", &[(Write, By(leases::renew))], "Renews a lease."),
    row(
        "sys/renew/{lease_id...}",
        &[(Write, By(leases::renew))],
        "Renews a lease.",
    ),
    row("sys/revoke", &[(Write, By(leases::revoke))], "Ends a lease."),
    row(
        "sys/revoke/{lease_id...}",
        &[(Write, By(leases::revoke))],
        "Ends a lease.",
    ),
    row(
        "sys/revoke-prefix/{prefix...}",
        &[(Write, By(leases::revoke_prefix))],
        "Ends all leases below a prefix.",
    ),
    row(
        "sys/revoke-force/{prefix...}",
        &[(Write, By(leases::revoke_prefix))],
        "Ends all leases below a prefix.",
    ),
    row(
        "sys/audit-log/query",
        &[(Read, By(audit::query)), (Write, By(audit::query))],
        "Records of the audit log of this namespace, a page at a time: `identity`, `accessor`, `path` or `path_prefix`, `operation`, `outcome`, `address`, `request_id`, `since`, `until`.",
    ),
    root_row(
        "sys/audit",
        &[(Read, By(tell::audit_devices)), (List, By(tell::audit_devices))],
        "What keeps the audit log: one device, which is built in.",
    ),
    root_row(
        "sys/audit/{path...}",
        &[(Write, Not(AUDIT)), (Delete, Not(AUDIT))],
        "Enables or disables an audit device.",
    ),
    root_row(
        "sys/audit-hash/{path...}",
        &[(Write, By(tell::audit_hash))],
        "The digest by which the audit log knows a value: `input`.",
    ),
    root_row(
        "sys/config/auditing/request-headers",
        &[(Read, Not(AUDIT_HEADERS))],
        "Headers that the audit log shows.",
    ),
    root_row(
        "sys/config/auditing/request-headers/{header}",
        &[
            (Read, Not(AUDIT_HEADERS)),
            (Write, Not(AUDIT_HEADERS)),
            (Delete, Not(AUDIT_HEADERS)),
        ],
        "Headers that the audit log shows.",
    ),
    root_row(
        "sys/ha-status",
        &[(Read, By(tell::ha_status))],
        "The nodes of the cluster.",
    ),
    root_row(
        "sys/host-info",
        &[(Read, By(tell::host_info))],
        "The node that was called, and its machine.",
    ),
    root_row(
        "sys/metrics",
        &[(Read, By(tell::metrics))],
        "What the node that was called has counted, for Prometheus: `format=prometheus`.",
    ),
    root_row(
        "sys/version-history",
        &[(List, By(tell::version_history)), (Read, By(tell::version_history))],
        "The version that runs.",
    ),
    root_row(
        "sys/tools/random",
        &[(Write, By(tell::random))],
        "Random bytes: `bytes`, `format`.",
    ),
    root_row(
        "sys/tools/random/{bytes}",
        &[(Write, By(tell::random))],
        "Random bytes.",
    ),
    root_row(
        "sys/tools/random/{source}/{bytes}",
        &[(Write, By(tell::random))],
        "Random bytes.",
    ),
    root_row(
        "sys/tools/hash",
        &[(Write, By(tell::hash))],
        "The hash of `input`, which is in base64: `algorithm`, `format`.",
    ),
    root_row(
        "sys/tools/hash/{algorithm}",
        &[(Write, By(tell::hash))],
        "The hash of `input`, which is in base64.",
    ),
    root_row(
        "sys/config/cors",
        &[(Read, By(tell::cors)), (Write, Not(CORS)), (Delete, By(tell::cors_off))],
        "Which web pages may ask: none.",
    ),
    root_row(
        "sys/loggers",
        &[(Read, By(tell::loggers)), (Write, Not(LOGGERS)), (Delete, Not(LOGGERS))],
        "How much the leader logs.",
    ),
    root_row(
        "sys/loggers/{name}",
        &[(Read, By(tell::loggers)), (Write, Not(LOGGERS)), (Delete, Not(LOGGERS))],
        "How much the leader logs.",
    ),
    root_row(
        "sys/monitor",
        &[(Read, Not(LOGGERS))],
        "The log of the node, as a stream.",
    ),
    root_row(
        "sys/plugins/catalog",
        &[(Read, By(tell::plugins)), (List, By(tell::plugins))],
        "The engines and methods, which are all built in.",
    ),
    root_row(
        "sys/plugins/catalog/{type}",
        &[(Read, By(tell::plugins_of)), (List, By(tell::plugins_of))],
        "The engines or methods of a type.",
    ),
    root_row(
        "sys/plugins/catalog/{type}/{name}",
        &[(Read, By(tell::plugin)), (Write, Not(PLUGINS)), (Delete, Not(PLUGINS))],
        "An engine or method.",
    ),
    row(
        "sys/namespaces",
        &[(List, By(sys::namespaces))],
        "The names of the namespaces right below this one.",
    ),
    row(
        "sys/namespaces/{path...}",
        &[
            (Read, By(sys::namespaces)),
            (Write, By(sys::namespaces)),
            (Patch, By(sys::namespaces)),
            (Delete, By(sys::namespaces)),
        ],
        "A namespace right below this one, with all that is in it: `custom_metadata`.",
    ),
    row(
        "sys/internal/ui/mounts",
        &[(Read, By(mounts::seen))],
        "The mounts on which the caller may do something.",
    ),
    row(
        "sys/internal/ui/mounts/{path...}",
        &[(Read, By(mounts::of_path))],
        "The mount that holds a path, for who may do something on it.",
    ),
    row(
        "sys/internal/ui/resultant-acl",
        &[(Read, By(tell::resultant_acl))],
        "The rules of the caller.",
    ),
    root_row(
        "sys/internal/counters/tokens",
        &[(Read, By(tell::token_count))],
        "How many tokens there are.",
    ),
    root_row(
        "sys/internal/counters/requests",
        &[(Read, By(tell::request_count))],
        "Nothing: nobody counts requests by month.",
    ),
    root_row(
        "sys/internal/counters/sweeps",
        &[(Read, By(tell::sweep_count))],
        "What is left to remove of mounts and tokens that are gone.",
    ),
    row(
        "sys/internal/specs/openapi",
        &[(Read, By(manual::openapi))],
        "All paths, as an OpenAPI document.",
    ),
    row(
        "sys/internal/help/{path...}",
        &[(Read, By(manual::help))],
        "What a path is for; so is `help=1` on it.",
    ),
    row(
        "sys/policies/explain",
        &[(Write, By(policy::explain))],
        "Why a token may do something, or not.",
    ),
];

const AUTOPILOT: &str =
    "this cannot be set: learners become voters once they have caught up, and members are removed by people alone";
const RESTORE: &str =
    "a backup is restored into a fresh node, which makes another cluster: `aumbry operator snapshot restore`";
const JOIN: &str = "a node joins with a join token: `aumbry operator join-token` and `aumbry operator join`";
const AUDIT: &str = "audit devices are not enabled or disabled: every request is on record in the replicated log, before it is answered; copies to files are set in each node's configuration ([[audit.file]])";
const AUDIT_HEADERS: &str = "the audit log shows no headers";
const CORS: &str = "requests of web pages are refused; no origin can be allowed";
const LOGGERS: &str = "how much a node logs is set in its configuration ([log]), and read there";
const PLUGINS: &str = "engines and methods are built in; none can be added";
