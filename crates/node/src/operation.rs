//! Everything that can be asked.

use aumbry_auth::lockout;
use aumbry_auth::token::Create;
use aumbry_crypto::seal::{KeyId, OuterBinding, OuterKey, StaticKey};
use aumbry_engines::kv;
use aumbry_logical::{Object, Verb};
use aumbry_types::{Capability, MountPath, Name, NodeId, SecretBytes};

use crate::look::{LeaseAsk, Look};
use crate::method::{LoginAsk, MethodAsk, WrappedAsk};
use crate::mounts::{MountOptions, MountTable};
use crate::{AuditPrune, Failure, JoinRequest, ProofAsk, Sent};

/// How a token is named in a request.
pub enum TokenName {
    /// The caller's own.
    Own,
    /// By its text.
    Text(SecretBytes),
    /// By its accessor.
    Accessor(String),
}

/// What becomes of what a secrets engine holds that is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// There must be nothing.
    None,
    /// It goes too. To take thousands of secrets along is asked for in so many words.
    Gone,
}

/// What to change in the settings of a mount; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct MountChange {
    /// For people.
    pub description: Option<String>,
    /// From version 1 of a KV engine to version 2.
    pub version: Option<u8>,
    /// See [`MountOptions::default_lease_ttl_s`].
    pub default_lease_ttl_s: Option<u64>,
    /// See [`MountOptions::max_lease_ttl_s`].
    pub max_lease_ttl_s: Option<u64>,
    /// See [`MountOptions::listing_visibility`].
    pub listing_visibility: Option<String>,
    /// How many versions a KV engine of version 2 keeps.
    pub kv_max_versions: Option<u32>,
    /// Whether it wants check-and-set with every write.
    pub kv_cas_required: Option<bool>,
    /// After how many seconds its versions count as deleted.
    pub kv_delete_version_after_s: Option<u64>,
    /// See [`MountOptions::lockout`].
    pub lockout: Option<lockout::Change>,
}

/// A path that leads nowhere. Who may use it is told so, and nobody else.
pub struct NoRoute {
    /// The path as it was asked, checked.
    pub path: String,
    /// What was to be done.
    pub verb: Verb,
    /// What those who may are told.
    pub failure: Failure,
}

/// What is asked by path, and not resolved yet.
pub struct LogicalAsk {
    /// What is to be done.
    pub verb: Verb,
    /// The whole path, without a slash at its beginning.
    pub path: String,
    /// What came with it, of which rules may speak too.
    pub sent: Sent,
}

/// Whose policies are explained.
pub enum Whose {
    /// Those of a token.
    Token(TokenName),
    /// These, as if somebody without an identity had them.
    Policies(Vec<Name>),
}

/// Asks why something would be allowed, or not.
pub struct ExplainAsk {
    /// To whom.
    pub whose: Whose,
    /// The path of the access, as policies name it.
    pub path: String,
    /// What would be done there.
    pub capability: Capability,
    /// Whether `sudo` is needed beside it.
    pub is_protected: bool,
    /// The parameters of the request; nothing if they are not known.
    pub parameters: Option<Object>,
    /// For how many seconds the answer would be wrapped.
    pub wrap_ttl_s: Option<u64>,
}

/// One operation with its parameters.
pub enum Operation {
    /// On a secret. Paths begin with the mount.
    Kv(kv::Request),
    /// On a value of a KV engine of version 1. Paths begin with the mount.
    PlainKv(kv::PlainRequest),
    /// By path. The leader resolves it to one of the others before it is planned; it is none by itself.
    Logical(LogicalAsk),
    /// By path, of an auth method, the roles of tokens, or the caller's cubbyhole.
    Method(MethodAsk),
    /// Logs in. Authenticated by what it shows.
    Login(LoginAsk),
    /// Opens a wrapped reply, or tells of it. Authenticated by the wrapping token, or by the caller's.
    Wrapped(WrappedAsk),
    /// Nothing by itself: its data is to be wrapped.
    WrapData,
    /// On a path that leads nowhere.
    NoRoute(NoRoute),
    /// Tells which mount holds a path, to those who may do something there.
    MountOf(String),
    /// Tells of the mounts on which the caller may do something.
    MountsSeen,
    /// Tells which capabilities a token has on paths.
    Capabilities {
        /// Which token.
        token: TokenName,
        /// Which paths.
        paths: Vec<String>,
    },
    /// Lists the accessors of all tokens, a page at a time.
    TokenList {
        /// Only accessors greater than this.
        after: String,
        /// At most so many, 1 to 10,000.
        limit: usize,
    },
    /// Creates a token.
    TokenCreate(Create),
    /// Tells of a token.
    TokenLookup(TokenName),
    /// Renews a token for so many seconds, 0 for as long as it was issued for.
    TokenRenew(TokenName, u64),
    /// Revokes a token with all below it.
    TokenRevoke(TokenName),
    /// Revokes a token alone: its children have no parent from then on.
    TokenOrphan(TokenName),
    /// Looks for what revoked tokens left behind. Leaders do that by themselves, so there is nothing more to do.
    TokenTidy,
    /// About tokens, as leases.
    Lease(LeaseAsk),
    /// Tells what no plan finds.
    Look(Look),
    /// Writes a policy.
    PolicyWrite(Name, String),
    /// Reads a policy.
    PolicyRead(Name),
    /// Lists the policies.
    PolicyList,
    /// Deletes a policy.
    PolicyDelete(Name),
    /// Says which rule decides, and what would allow it.
    PolicyExplain(ExplainAsk),
    /// Mounts an engine or an auth method.
    MountEnable {
        /// In which table.
        table: MountTable,
        /// Where.
        path: MountPath,
        /// Which engine, such as `kv`, or which method.
        kind: String,
        /// For people.
        description: String,
        /// Its settings.
        options: MountOptions,
    },
    /// Removes a mount. That of an auth method goes with all that it let in.
    MountDisable(MountTable, MountPath, Contents),
    /// Moves a mount with all that it holds.
    MountMove {
        /// In which table.
        table: MountTable,
        /// Where it is.
        from: MountPath,
        /// Where it is to be.
        to: MountPath,
    },
    /// Changes the settings of a mount.
    MountTune(MountTable, MountPath, MountChange),
    /// Reads the settings of a mount.
    MountRead(MountTable, MountPath),
    /// Reads the settings of all mounts of a table.
    MountRows(MountTable),
    /// Lists the mounts of secrets engines.
    MountList,
    /// Reads the settings of a KV engine of version 2.
    KvConfigRead(MountPath),
    /// Changes the settings of a KV engine of version 2.
    KvConfigWrite(MountPath, MountChange),
    /// Tells the state of cluster and node. Answered by the node that was called once the leader has admitted it.
    Status,
    /// Seals the node that was called.
    Seal,
    /// Seals all nodes.
    SealCluster,
    /// Lets seals of keys open nodes again after the whole cluster was sealed.
    SealRelease,
    /// Adds a seal that a key opens.
    SealAdd {
        /// The key.
        key: StaticKey,
        /// Shares that open the root key which it is to wrap.
        shares: Vec<SecretBytes>,
        /// How something outside has wrapped the key, and for which store; nothing for a key that lies in a file.
        outer: Option<(OuterKey, OuterBinding)>,
    },
    /// Lists the seals.
    SealList,
    /// Removes a seal that a key opens.
    SealRemove(KeyId),
    /// Makes the leader hand over.
    StepDown,
    /// Makes a token with which one node can join, valid for so many seconds.
    JoinTokenCreate(u64),
    /// Joins. Authenticated by the join token in it.
    Join(JoinRequest),
    /// Lists the members.
    Members,
    /// Makes a learner a voter.
    Promote(NodeId),
    /// Removes a member.
    Remove(NodeId),
    /// Hands leadership to a member.
    Transfer(Option<NodeId>),
    /// Reads audit records from this sequence number on.
    AuditRead {
        /// The first sequence number wanted.
        from: u64,
        /// At most so many.
        limit: usize,
        /// Waits until there are more records than this, at most until the deadline less a second; 0 does not wait.
        wait_size: u64,
    },
    /// Signs the audit tree as it is.
    AuditCheckpoint,
    /// Proves a record, or that the log only grew.
    AuditProof(ProofAsk),
    /// Tells from where on audit records are kept, and what was signed of those before.
    AuditFloor,
    /// Drops audit records from the beginning of the log on.
    AuditPrune(AuditPrune),
    /// Reads everything, for a backup.
    SnapshotSave,
    /// Ends the quarantine of a restored cluster.
    SnapshotRelease,
}

impl Operation {
    /// Its name in audit records and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Kv(request) => request.name(),
            Self::PlainKv(request) => request.name(),
            Self::Logical(ask) => match ask.verb {
                Verb::Read => "logical.read",
                Verb::Write => "logical.write",
                Verb::Patch => "logical.patch",
                Verb::Delete => "logical.delete",
                Verb::List => "logical.list",
                Verb::Scan => "logical.scan",
            },
            Self::Method(ask) => ask.name(),
            Self::Login(ask) => ask.name(),
            Self::Wrapped(ask) => ask.name(),
            Self::WrapData => "wrapping.wrap",
            Self::NoRoute(_) => "no-route",
            Self::MountOf(_) => "mount.of",
            Self::MountsSeen => "mount.seen",
            Self::Capabilities { .. } => "sys.capabilities",
            Self::TokenList { .. } => "token.list",
            Self::TokenCreate(_) => "token.create",
            Self::TokenLookup(_) => "token.lookup",
            Self::TokenRenew(..) => "token.renew",
            Self::TokenRevoke(_) => "token.revoke",
            Self::TokenOrphan(_) => "token.revoke-orphan",
            Self::TokenTidy => "token.tidy",
            Self::Lease(ask) => ask.name(),
            Self::Look(look) => look.what.name(),
            Self::PolicyWrite(..) => "policy.write",
            Self::PolicyRead(_) => "policy.read",
            Self::PolicyList => "policy.list",
            Self::PolicyDelete(_) => "policy.delete",
            Self::PolicyExplain(_) => "policy.explain",
            Self::MountEnable { table, .. } => match table {
                MountTable::Secrets => "mount.enable",
                MountTable::Auth => "auth.enable",
            },
            Self::MountDisable(MountTable::Secrets, ..) => "mount.disable",
            Self::MountDisable(MountTable::Auth, ..) => "auth.disable",
            Self::MountMove { table, .. } => match table {
                MountTable::Secrets => "mount.move",
                MountTable::Auth => "auth.move",
            },
            Self::MountTune(MountTable::Secrets, ..) => "mount.tune",
            Self::MountTune(MountTable::Auth, ..) => "auth.tune",
            Self::MountRead(MountTable::Secrets, _) => "mount.read",
            Self::MountRead(MountTable::Auth, _) => "auth.read",
            Self::MountList | Self::MountRows(MountTable::Secrets) => "mount.list",
            Self::MountRows(MountTable::Auth) => "auth.list",
            Self::KvConfigRead(_) => "kv.config.read",
            Self::KvConfigWrite(..) => "kv.config.write",
            Self::Status => "sys.status",
            Self::Seal => "sys.seal",
            Self::SealCluster => "sys.seal.cluster",
            Self::SealRelease => "sys.seal.release",
            Self::SealAdd { .. } => "sys.seal.add",
            Self::SealList => "sys.seal.list",
            Self::SealRemove(_) => "sys.seal.remove",
            Self::StepDown => "sys.step-down",
            Self::JoinTokenCreate(_) => "cluster.join-token",
            Self::Join(_) => "cluster.join",
            Self::Members => "cluster.members",
            Self::Promote(_) => "cluster.promote",
            Self::Remove(_) => "cluster.remove",
            Self::Transfer(_) => "cluster.transfer",
            Self::AuditRead { .. } => "audit.read",
            Self::AuditCheckpoint => "audit.checkpoint",
            Self::AuditProof(ProofAsk::Inclusion { .. }) => "audit.proof",
            Self::AuditProof(ProofAsk::Consistency { .. }) => "audit.consistency",
            Self::AuditFloor => "audit.floor",
            Self::AuditPrune(_) => "audit.prune",
            Self::SnapshotSave => "cluster.snapshot-save",
            Self::SnapshotRelease => "cluster.snapshot-release",
        }
    }

    /// Whether it changes anything in the store, so that its outcome matters when it is not known.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Kv(request) => request.is_write(),
            Self::PlainKv(request) => request.is_write(),
            Self::Logical(ask) => ask.verb.is_write(),
            Self::Method(ask) => ask.is_write(),
            Self::Wrapped(ask) => !matches!(ask.what, crate::method::Unwrapping::Lookup),
            Self::Login(ask) => ask.is_write(),
            Self::Lease(ask) => ask.is_write(),
            Self::WrapData | Self::Look(_) => false,
            Self::TokenCreate(_)
            | Self::TokenOrphan(_)
            | Self::TokenTidy
            | Self::TokenRenew(..)
            | Self::TokenRevoke(_)
            | Self::PolicyWrite(..)
            | Self::PolicyDelete(_)
            | Self::MountEnable { .. }
            | Self::MountDisable(..)
            | Self::MountMove { .. }
            | Self::MountTune(..)
            | Self::KvConfigWrite(..)
            | Self::JoinTokenCreate(_)
            | Self::Join(_)
            | Self::Promote(_)
            | Self::Remove(_)
            | Self::Transfer(_)
            | Self::Seal
            | Self::SealCluster
            | Self::SealRelease
            | Self::SealAdd { .. }
            | Self::SealRemove(_)
            | Self::AuditPrune(AuditPrune { dry_run: false, .. })
            | Self::SnapshotRelease
            | Self::StepDown => true,
            Self::TokenLookup(_)
            | Self::PolicyRead(_)
            | Self::PolicyList
            | Self::PolicyExplain(_)
            | Self::MountList
            | Self::MountRead(..)
            | Self::MountRows(_)
            | Self::KvConfigRead(_)
            | Self::NoRoute(_)
            | Self::MountOf(_)
            | Self::MountsSeen
            | Self::Capabilities { .. }
            | Self::TokenList { .. }
            | Self::Status
            | Self::SealList
            | Self::Members
            | Self::AuditRead { .. }
            | Self::AuditCheckpoint
            | Self::AuditProof(_)
            | Self::AuditFloor
            | Self::AuditPrune(_)
            | Self::SnapshotSave => false,
        }
    }

    /// Whether operators need it when disks are full: to see the cluster, and to change who leads and who belongs to it.
    pub(crate) const fn is_for_emergencies(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Members
                | Self::Seal
                | Self::SealCluster
                | Self::StepDown
                | Self::Transfer(_)
                | Self::Remove(_)
        )
    }
}
