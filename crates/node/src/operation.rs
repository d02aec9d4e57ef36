//! Everything that can be asked.

use aumbry_auth::token::Create;
use aumbry_crypto::seal::{KeyId, StaticKey};
use aumbry_engines::kv;
use aumbry_types::{MountPath, Name, NodeId, SecretBytes};

use crate::JoinRequest;

/// How a token is named in a request.
pub enum TokenName {
    /// The caller's own.
    Own,
    /// By its text.
    Text(SecretBytes),
    /// By its accessor.
    Accessor(String),
}

/// One operation with its parameters.
pub enum Operation {
    /// On a secret. Paths begin with the mount.
    Kv(kv::Request),
    /// Creates a token.
    TokenCreate(Create),
    /// Tells of a token.
    TokenLookup(TokenName),
    /// Renews a token for so many seconds, 0 for as long as it was issued for.
    TokenRenew(TokenName, u64),
    /// Revokes a token with all below it.
    TokenRevoke(TokenName),
    /// Writes a policy.
    PolicyWrite(Name, String),
    /// Reads a policy.
    PolicyRead(Name),
    /// Lists the policies.
    PolicyList,
    /// Deletes a policy.
    PolicyDelete(Name),
    /// Mounts an engine.
    MountEnable {
        /// Where.
        path: MountPath,
        /// Which engine: `kv`.
        kind: String,
        /// For people.
        description: String,
    },
    /// Removes a mount.
    MountDisable(MountPath),
    /// Lists the mounts.
    MountList,
    /// Tells the state of cluster and node. Answered by the node that was called once the leader has admitted it.
    Status,
    /// Seals the node that was called.
    Seal,
    /// Adds a seal that a key opens.
    SealAdd {
        /// The key.
        key: StaticKey,
        /// Shares that open the root key which it is to wrap.
        shares: Vec<SecretBytes>,
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
            Self::TokenCreate(_) => "token.create",
            Self::TokenLookup(_) => "token.lookup",
            Self::TokenRenew(..) => "token.renew",
            Self::TokenRevoke(_) => "token.revoke",
            Self::PolicyWrite(..) => "policy.write",
            Self::PolicyRead(_) => "policy.read",
            Self::PolicyList => "policy.list",
            Self::PolicyDelete(_) => "policy.delete",
            Self::MountEnable { .. } => "mount.enable",
            Self::MountDisable(_) => "mount.disable",
            Self::MountList => "mount.list",
            Self::Status => "sys.status",
            Self::Seal => "sys.seal",
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
            Self::SnapshotSave => "cluster.snapshot-save",
            Self::SnapshotRelease => "cluster.snapshot-release",
        }
    }

    /// Whether it changes anything in the store, so that its outcome matters when it is not known.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Kv(request) => request.is_write(),
            Self::TokenCreate(_)
            | Self::TokenRenew(..)
            | Self::TokenRevoke(_)
            | Self::PolicyWrite(..)
            | Self::PolicyDelete(_)
            | Self::MountEnable { .. }
            | Self::MountDisable(_)
            | Self::JoinTokenCreate(_)
            | Self::Join(_)
            | Self::Promote(_)
            | Self::Remove(_)
            | Self::Transfer(_)
            | Self::Seal
            | Self::SealAdd { .. }
            | Self::SealRemove(_)
            | Self::SnapshotRelease
            | Self::StepDown => true,
            Self::TokenLookup(_)
            | Self::PolicyRead(_)
            | Self::PolicyList
            | Self::MountList
            | Self::Status
            | Self::SealList
            | Self::Members
            | Self::AuditRead { .. }
            | Self::AuditCheckpoint
            | Self::SnapshotSave => false,
        }
    }

    /// Whether operators need it when disks are full: to see the cluster, and to change who leads and who belongs to it.
    pub(crate) const fn is_for_emergencies(&self) -> bool {
        matches!(
            self,
            Self::Status | Self::Members | Self::Seal | Self::StepDown | Self::Transfer(_) | Self::Remove(_)
        )
    }
}
