//! What a row holds. The number stands in the row's clear header and in the associated data of its ciphertext.

/// The kinds of rows. Numbers are only ever added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A clear row of the cluster's own.
    Cluster = 1,
    /// The entry of a directory in its parent.
    Directory = 2,
    /// A secret of a KV engine: its metadata; or its entry in a directory.
    Secret = 3,
    /// One version of a secret's data.
    SecretVersion = 4,
    /// A token.
    Token = 5,
    /// A policy.
    Policy = 6,
    /// A mount.
    Mount = 7,
    /// A stored reply.
    StoredReply = 8,
    /// A join token.
    JoinToken = 9,
    /// A sweep that waits.
    Work = 10,
    /// The private key of the cluster's certificate authority.
    ClusterAuthority = 11,
    /// A seal that a key opens; clear.
    KeySeal = 12,
    /// A role of tokens.
    TokenRole = 20,
    /// A role of AppRole.
    AppRole = 21,
    /// The name of such a role by its role id.
    RoleId = 22,
    /// A secret id.
    SecretId = 23,
    /// A user of userpass, with the hash of its password.
    User = 24,
    /// What a token keeps for itself.
    Cubbyhole = 25,
    /// A person or a program, as identity knows it.
    Entity = 40,
    /// As whom an auth method knows an entity.
    Alias = 41,
    /// A group of entities.
    Group = 42,
    /// A token that is not stored.
    BatchToken = 43,
    /// A rate limit, or a limit on a number.
    Quota = 44,
    /// A method of a second factor.
    MfaMethod = 45,
    /// An entity's secret of such a method.
    MfaSecret = 46,
    /// Who needs a second factor.
    MfaEnforcement = 47,
    /// A login that waits for its second factor.
    PendingLogin = 48,
    /// A namespace.
    Namespace = 49,
    /// The state of a login by a browser: sealed and handed out while the login is under way, and a row of its id once it was used.
    BrowserLogin = 52,
    /// Failed logins of names that have no row of their own.
    FailedLogins = 57,
    /// A policy of passwords.
    PasswordPolicy = 58,
    /// How an auth method is set up.
    MethodConfig = 60,
    /// A role of an auth method that has a row for each.
    MethodRole = 61,
    /// When keys are made anew, and how far what older ones seal is sealed anew.
    KeyCare = 62,
    /// A rekey under way, with the shares that were shown.
    Rekey = 63,
    /// A root token that is being made, with the shares that were shown.
    RootAttempt = 74,
    /// The name of a token where an operator's limit counts it.
    Counted = 70,
    /// The seal of the whole cluster; clear.
    ClusterSeal = 77,
    /// Where the audit records begin that are still kept; clear.
    AuditFloor = 78,
    /// The order to erase what was replaced from the disks; clear.
    Erasure = 82,
}

impl Kind {
    /// The kind with this number.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Cluster,
            2 => Self::Directory,
            3 => Self::Secret,
            4 => Self::SecretVersion,
            5 => Self::Token,
            6 => Self::Policy,
            7 => Self::Mount,
            8 => Self::StoredReply,
            9 => Self::JoinToken,
            10 => Self::Work,
            11 => Self::ClusterAuthority,
            12 => Self::KeySeal,
            20 => Self::TokenRole,
            21 => Self::AppRole,
            22 => Self::RoleId,
            23 => Self::SecretId,
            24 => Self::User,
            25 => Self::Cubbyhole,
            40 => Self::Entity,
            41 => Self::Alias,
            42 => Self::Group,
            43 => Self::BatchToken,
            44 => Self::Quota,
            45 => Self::MfaMethod,
            46 => Self::MfaSecret,
            47 => Self::MfaEnforcement,
            48 => Self::PendingLogin,
            49 => Self::Namespace,
            52 => Self::BrowserLogin,
            57 => Self::FailedLogins,
            58 => Self::PasswordPolicy,
            60 => Self::MethodConfig,
            61 => Self::MethodRole,
            62 => Self::KeyCare,
            63 => Self::Rekey,
            74 => Self::RootAttempt,
            70 => Self::Counted,
            77 => Self::ClusterSeal,
            78 => Self::AuditFloor,
            82 => Self::Erasure,
            _ => return None,
        })
    }
    /// Whether the plaintext of such a row may stay in memory while the barrier is open: what every request needs, and nothing that opens anything by
    /// itself. Each kind is named, so that a new one is decided upon here.
    pub(crate) const fn stays_opened(self) -> bool {
        match self {
            // Names, policies, roles, a secret's metadata without its values, and what is known of a token or secret id but not it.
            Self::Directory | Self::Secret | Self::Token | Self::Policy | Self::Mount => true,
            Self::TokenRole | Self::AppRole | Self::RoleId | Self::SecretId => true,
            Self::Entity | Self::Alias | Self::Group | Self::Quota | Self::Namespace => true,
            Self::MfaMethod | Self::MfaEnforcement | Self::MethodRole | Self::PasswordPolicy => true,
            // Values, keys and hashes of passwords, and replies, which can hold a token.
            Self::SecretVersion | Self::StoredReply | Self::JoinToken | Self::ClusterAuthority => false,
            Self::User | Self::Cubbyhole | Self::MfaSecret | Self::PendingLogin | Self::MethodConfig => false,
            // Each is read once.
            Self::BrowserLogin => false,
            // Shares together are the root key.
            Self::Rekey | Self::RootAttempt => false,
            // Read when it is asked for, and by the leader's round.
            Self::KeyCare => true,
            // What somebody typed in the place of a name can be a password.
            Self::FailedLogins => false,
            // Clear, or read by nobody.
            Self::Cluster | Self::Work | Self::KeySeal | Self::ClusterSeal => false,
            Self::AuditFloor | Self::Erasure | Self::Counted => false,
            // It is no row.
            Self::BatchToken => false,
        }
    }
}
