//! Requests by path about what no engine holds: what the node knows by itself, and tokens as leases. They are decided upon and recorded as all others.

use aumbry_types::{Capability, SecretBytes};

use crate::AuditQuery;
use crate::method::Said;

/// What is to be told.
pub enum What {
    /// The devices that keep the audit log.
    AuditDevices,
    /// Records of the audit log.
    AuditQuery(Box<AuditQuery>),
    /// The digest by which the audit log knows a value.
    AuditHash(SecretBytes),
    /// Which nodes there are, and which of them leads.
    HaStatus,
    /// The node and the machine that it runs on.
    HostInfo,
    /// The numbers that a node counts.
    Metrics,
    /// Which versions ran.
    VersionHistory,
    /// Random bytes.
    Random,
    /// The hash of what is shown.
    Hash,
    /// Which pages may ask.
    Cors,
    /// How much is logged.
    Loggers,
    /// How many tokens there are.
    TokenCount,
    /// How many requests there were, of which nobody keeps count.
    RequestCount,
    /// What is left to remove of mounts and tokens that are gone.
    SweepCount,
    /// How many leases there are.
    LeaseCount,
    /// All paths, for programs.
    OpenApi,
    /// What a path is for.
    Help,
    /// The rules of the caller.
    ResultantAcl,
    /// How the cluster keeps itself in order.
    Autopilot,
    /// Which engines and methods are built in.
    Plugins,
    /// Whether a mount has moved.
    MoveStatus(String),
}

impl What {
    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::AuditDevices => "sys.audit.list",
            Self::AuditQuery(_) => "audit.query",
            Self::AuditHash(_) => "sys.audit.hash",
            Self::HaStatus => "sys.ha-status",
            Self::HostInfo => "sys.host-info",
            Self::Metrics => "sys.metrics",
            Self::VersionHistory => "sys.version-history",
            Self::Random => "sys.tools.random",
            Self::Hash => "sys.tools.hash",
            Self::Cors => "sys.cors",
            Self::Loggers => "sys.loggers",
            Self::TokenCount => "sys.count.tokens",
            Self::RequestCount => "sys.count.requests",
            Self::SweepCount => "sys.count.sweeps",
            Self::LeaseCount => "lease.count",
            Self::OpenApi => "sys.openapi",
            Self::Help => "sys.help",
            Self::ResultantAcl => "sys.resultant-acl",
            Self::Autopilot => "cluster.autopilot",
            Self::Plugins => "sys.plugins",
            Self::MoveStatus(_) => "mount.move-status",
        }
    }
}

/// What must be allowed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing but a token: it tells what is written in the manual, or what the caller may do anyway.
    Token,
    /// The capability on the path.
    Plain,
    /// That, and `sudo`.
    Sudo,
}

/// A request for it.
pub struct Look {
    /// What is to be told.
    pub what: What,
    /// The whole path, in its canonical form.
    pub path: String,
    /// What it takes.
    pub capability: Capability,
    /// What must be allowed.
    pub guard: Guard,
    /// What was said, for the record.
    pub said: Vec<Said>,
}

/// What is to be done with leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseVerb {
    /// One is told of.
    Lookup,
    /// The names below a prefix are listed.
    List,
    /// One is to live longer.
    Renew,
    /// One is to end.
    Revoke,
    /// All below a prefix are to end.
    RevokePrefix,
}

/// A request about tokens as leases.
pub struct LeaseAsk {
    /// What is to be done.
    pub what: LeaseVerb,
    /// The lease, or the prefix of leases.
    pub lease: String,
    /// The whole path, in its canonical form.
    pub path: String,
}

impl LeaseAsk {
    /// Whether it changes anything.
    pub(crate) const fn is_write(&self) -> bool {
        matches!(
            self.what,
            LeaseVerb::Renew | LeaseVerb::Revoke | LeaseVerb::RevokePrefix
        )
    }

    /// Its name in audit records.
    pub(crate) const fn name(&self) -> &'static str {
        match self.what {
            LeaseVerb::Lookup => "lease.lookup",
            LeaseVerb::List => "lease.list",
            LeaseVerb::Renew => "lease.renew",
            LeaseVerb::Revoke => "lease.revoke",
            LeaseVerb::RevokePrefix => "lease.revoke-prefix",
        }
    }

    /// The capability that it needs, and what must be allowed beside it: whoever names a prefix ends what others were given.
    pub(crate) const fn needs(&self) -> (Capability, Guard) {
        match self.what {
            LeaseVerb::Lookup | LeaseVerb::Renew | LeaseVerb::Revoke => (Capability::Update, Guard::Plain),
            LeaseVerb::List => (Capability::List, Guard::Sudo),
            LeaseVerb::RevokePrefix => (Capability::Update, Guard::Sudo),
        }
    }
}
