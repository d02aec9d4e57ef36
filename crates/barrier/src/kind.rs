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
            _ => return None,
        })
    }
    /// Whether the plaintext of such a row may stay in memory while the barrier is open: what every request needs, and nothing that opens anything by
    /// itself. Each kind is named, so that a new one is decided upon here.
    pub(crate) const fn stays_opened(self) -> bool {
        match self {
            // Names, policies, a secret's metadata without its values, and what is known of a token but not the token.
            Self::Directory | Self::Secret | Self::Token | Self::Policy | Self::Mount => true,
            // Values and keys, and replies, which can hold a token.
            Self::SecretVersion | Self::StoredReply | Self::JoinToken | Self::ClusterAuthority => false,
            // Clear, or read by nobody.
            Self::Cluster | Self::Work | Self::KeySeal => false,
        }
    }
}
