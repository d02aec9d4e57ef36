//! What is the cluster's, and so is there in the root namespace alone. The one rule for typed requests; the table of paths says the same of paths.

use crate::look::What;
use crate::method::Asked;
use crate::operation::Operation;

impl Operation {
    /// Whether it is about the cluster, and not about what a namespace holds. Each is named, so that a new one is decided upon here.
    pub(crate) const fn is_of_cluster(&self) -> bool {
        match self {
            Self::Status
            | Self::Seal
            | Self::SealCluster
            | Self::SealRelease
            | Self::SealAdd { .. }
            | Self::SealList
            | Self::SealRemove(_)
            | Self::StepDown
            | Self::JoinTokenCreate(_)
            | Self::Join(_)
            | Self::Members
            | Self::Promote(_)
            | Self::Remove(_)
            | Self::Transfer(_)
            | Self::AuditRead { .. }
            | Self::AuditCheckpoint
            | Self::AuditProof(_)
            | Self::AuditFloor
            | Self::AuditPrune(_)
            | Self::SnapshotSave
            | Self::SnapshotRelease => true,
            Self::Look(look) => is_told_of_cluster(&look.what),
            Self::Method(ask) => match &ask.asked {
                Asked::Quota(_) | Asked::Keys(_) | Asked::Erasure(_) | Asked::Rekey(_) | Asked::GenerateRoot(_) => true,
                Asked::AppRole(..)
                | Asked::Userpass(..)
                | Asked::Jwt(..)
                | Asked::Kubernetes(..)
                | Asked::Ldap(..)
                | Asked::Cert(..)
                | Asked::TokenRole(_)
                | Asked::Cubbyhole(_)
                | Asked::Identity(_)
                | Asked::Mfa(_)
                | Asked::Lockout(_)
                | Asked::Password(_)
                | Asked::Namespace(_) => false,
            },
            Self::Kv(_)
            | Self::PlainKv(_)
            | Self::Logical(_)
            | Self::Login(_)
            | Self::Wrapped(_)
            | Self::WrapData
            | Self::NoRoute(_)
            | Self::MountOf(_)
            | Self::MountsSeen
            | Self::Capabilities { .. }
            | Self::TokenList { .. }
            | Self::TokenCreate(_)
            | Self::TokenLookup(_)
            | Self::TokenRenew(..)
            | Self::TokenRevoke(_)
            | Self::TokenOrphan(_)
            | Self::TokenTidy
            | Self::Lease(_)
            | Self::PolicyWrite(..)
            | Self::PolicyRead(_)
            | Self::PolicyList
            | Self::PolicyDelete(_)
            | Self::PolicyExplain(_)
            | Self::MountEnable { .. }
            | Self::MountDisable(..)
            | Self::MountMove { .. }
            | Self::MountTune(..)
            | Self::MountRead(..)
            | Self::MountRows(_)
            | Self::MountList
            | Self::KvConfigRead(_)
            | Self::KvConfigWrite(..) => false,
        }
    }
}

const fn is_told_of_cluster(what: &What) -> bool {
    match what {
        What::AuditDevices
        | What::AuditHash(_)
        | What::HaStatus
        | What::HostInfo
        | What::Metrics
        | What::VersionHistory
        | What::Random
        | What::Hash
        | What::Cors
        | What::Loggers
        | What::TokenCount
        | What::RequestCount
        | What::SweepCount
        | What::Autopilot
        | What::Plugins => true,
        // Each namespace is told of its own.
        What::AuditQuery(_)
        | What::LeaseCount
        | What::OpenApi
        | What::Help
        | What::ResultantAcl
        | What::MoveStatus(_) => false,
    }
}
