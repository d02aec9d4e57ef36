//! Identifiers. Random ones are 16 bytes and print as lower-case hex; ordered ones are `u64`.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Entropy;

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an id is 32 hexadecimal digits")]
pub struct IdError;

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Makes a new random id.
            #[must_use]
            pub fn make(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(IdError);
                }
                let mut bytes = [0; 16];
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| IdError)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

random_id! {
    /// An object of the store: a directory, secret, token, policy or mount. Names map to it in directory rows only.
    ObjectId
}
random_id! {
    /// One replicated command. A row remembers the command that wrote it last.
    CommandId
}
random_id! {
    /// One request of a client, the same over forwarding and re-planning.
    RequestId
}
random_id! {
    /// The cryptographic identity of the stored data, inherited by a restore.
    StorageId
}
random_id! {
    /// The identity of a Raft cluster and of its TLS trust, always new.
    ClusterId
}

impl ObjectId {
    /// The id of a well-known object of the store: 15 zero bytes and `n`.
    #[must_use]
    pub const fn well_known(n: u8) -> Self {
        let mut bytes = [0; 16];
        bytes[15] = n;
        Self(bytes)
    }
}

macro_rules! ordered_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

ordered_id! {
    /// A node of the cluster. Comes from the log and is never used again after a removal.
    NodeId
}
ordered_id! {
    /// A position in the Raft log.
    LogIndex
}
ordered_id! {
    /// A Raft term.
    Term
}

/// One leadership: a node that was elected in a term. At most one exists per term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaderId {
    /// The term of the election.
    pub term: Term,
    /// The node elected.
    pub node: NodeId,
}

/// The identity of a log entry: the leadership that proposed it, and its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId {
    /// The leadership that proposed the entry.
    pub leader: LeaderId,
    /// The position.
    pub index: LogIndex,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulatedEntropy;

    #[test]
    fn ids_print_and_parse() {
        let id = ObjectId::make(&SimulatedEntropy::new(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "00",
            "zz000000000000000000000000000000",
            "0000000000000000000000000000000\u{e9}",
        ] {
            assert_eq!(bad.parse::<ObjectId>(), Err(IdError), "{bad}");
        }
        assert_eq!(ObjectId::well_known(3).as_bytes()[15], 3);
    }
}
