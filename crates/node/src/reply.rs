//! What the pipeline answers.

use aumbry_auth::identity::mfa::LoginWaits;
use aumbry_auth::token::{Info, NewToken, Wrapped, WrappedInfo};
use aumbry_engines::kv;
use aumbry_types::{SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use crate::{AuditProof, AuditRow, MountInfo, MountRow, Position, SealInfo};

/// The content of an answer.
#[derive(Serialize, Deserialize)]
pub enum Reply {
    /// Of a KV engine.
    Kv(kv::Reply),
    /// A new token.
    NewToken(NewToken),
    /// What is told of a token.
    Token(Info),
    /// The text of a policy.
    Policy(String),
    /// Names, in order.
    Names(Vec<String>),
    /// The mounts, in order of paths.
    Mounts(Vec<MountInfo>),
    /// A join token.
    JoinToken(#[serde(with = "exposed")] SecretBytes),
    /// A node was admitted.
    Joined(Joined),
    /// Audit records in order.
    Audit(Vec<AuditRow>),
    /// A signed checkpoint of the audit tree, as C2SP signed note, and how many records it covers.
    Checkpoint {
        /// The note.
        note: String,
        /// The number of records.
        size: u64,
        /// The identity of the stored data, as hexadecimal digits.
        storage_id: String,
        /// The key that verifies it.
        verifying_key: [u8; 32],
    },
    /// Nothing but that it was done.
    Done,
    /// Seals.
    Seals(Vec<SealInfo>),
    /// Mounts with their settings.
    MountRows(Vec<MountRow>),
    /// For each path that was asked, the capabilities on it.
    Capabilities(Vec<Vec<String>>),
    /// One JSON object, or nothing if it is empty, with what the caller should know.
    Json {
        /// The object.
        #[serde(with = "exposed")]
        data: SecretBytes,
        /// For people.
        warnings: Vec<String>,
    },
    /// The reply that was wrapped, as it was given to [`crate::Node::wrap`].
    Unwrapped(#[serde(with = "exposed")] SecretBytes),
    /// What stands for a wrapped reply.
    Wrapped(Wrapped),
    /// What is known of a wrapped reply.
    WrappedInfo(WrappedInfo),
    /// A login waits for its second factor. Stored replies know their kind by its place: what is new stands below.
    LoginWaits(LoginWaits),
    /// How far a root token is that is made with shares. It is never stored.
    RootAttempt {
        /// One JSON object, or nothing.
        #[serde(with = "exposed")]
        data: SecretBytes,
        /// The accessor of the token, if it was made.
        accessor: Option<String>,
    },
    /// A proof about the audit tree.
    AuditProof(AuditProof),
}

/// What a new node needs to take part.
#[derive(Clone, Serialize, Deserialize)]
pub struct Joined {
    /// Its id.
    pub node_id: u64,
    /// The cluster's id, as 32 hexadecimal digits.
    pub cluster_id: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The cluster's certificate authority, PEM.
    pub authority: String,
}

/// An answer with its place in the log.
pub struct Answer {
    /// The content.
    pub reply: Reply,
    /// Where its audit record stands.
    pub position: Position,
}
