//! A proof as a text file: one JSON object, its hashes in hex, the same for whoever made it.

use serde::{Deserialize, Serialize};

use super::{Consistency, Inclusion};
use crate::{hex, text};

/// A proof of one of the two kinds, with the log that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// That a record is in the log.
    Inclusion {
        /// The name of the log.
        origin: String,
        /// The proof.
        proof: Inclusion,
    },
    /// That the log only grew.
    Consistency {
        /// The name of the log.
        origin: String,
        /// The proof.
        proof: Consistency,
    },
}

impl Proof {
    /// The text of the proof, in one line with its newline.
    #[must_use]
    pub fn encode(&self) -> String {
        let lines = |path: &[[u8; 32]]| path.iter().map(|hash| hex::encode(hash)).collect();
        let form = match self {
            Self::Inclusion { origin, proof } => Form::Inclusion {
                origin: origin.clone(),
                seq: proof.seq,
                size: proof.size,
                path: lines(&proof.path),
            },
            Self::Consistency { origin, proof } => Form::Consistency {
                origin: origin.clone(),
                old_size: proof.old_size,
                new_size: proof.new_size,
                path: lines(&proof.path),
            },
        };
        let mut text = text::json(&form).expect("a proof has text keys and no failing part");
        text.push('\n');
        text
    }

    /// Reads a proof. White space and the order of keys do not count; a key too many does.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > FORM_BYTES_MAX {
            return None;
        }
        let hashes = |path: Vec<String>| path.iter().map(|hash| hex::decode(hash)).collect::<Option<Vec<_>>>();
        Some(match serde_json::from_slice(bytes).ok()? {
            Form::Inclusion {
                origin,
                seq,
                size,
                path,
            } => Self::Inclusion {
                origin,
                proof: Inclusion {
                    seq,
                    size,
                    path: hashes(path)?,
                },
            },
            Form::Consistency {
                origin,
                old_size,
                new_size,
                path,
            } => Self::Consistency {
                origin,
                proof: Consistency {
                    old_size,
                    new_size,
                    path: hashes(path)?,
                },
            },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "format", deny_unknown_fields)]
enum Form {
    #[serde(rename = "aumbry-audit-inclusion/1")]
    Inclusion {
        origin: String,
        seq: u64,
        size: u64,
        path: Vec<String>,
    },
    #[serde(rename = "aumbry-audit-consistency/1")]
    Consistency {
        origin: String,
        old_size: u64,
        new_size: u64,
        path: Vec<String>,
    },
}

/// A path has at most two hashes for each of 64 levels, of 67 characters each; the rest is for the origin and spaces.
pub const FORM_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_proofs() {
        let (origin, path) = ("aumbry/audit/x".to_owned(), vec![[0xab; 32]]);
        let inclusion = Proof::Inclusion {
            origin: origin.clone(),
            proof: Inclusion {
                seq: 1,
                size: 2,
                path: path.clone(),
            },
        };
        let consistency = Proof::Consistency {
            origin,
            proof: Consistency {
                old_size: 1,
                new_size: 2,
                path,
            },
        };
        let hash = "ab".repeat(32);
        let texts = [
            (
                inclusion,
                format!(
                    "{{\"format\":\"aumbry-audit-inclusion/1\",\"origin\":\"aumbry/audit/x\",\"seq\":1,\"size\":2,\"path\":[\"{hash}\"]}}\n"
                ),
            ),
            (
                consistency,
                format!(
                    "{{\"format\":\"aumbry-audit-consistency/1\",\"origin\":\"aumbry/audit/x\",\"old_size\":1,\"new_size\":2,\"path\":[\"{hash}\"]}}\n"
                ),
            ),
        ];
        for (proof, text) in texts {
            assert_eq!(proof.encode(), text);
            assert_eq!(Proof::decode(text.as_bytes()), Some(proof));
            for bad in [
                text.replace("/1", "/2"),
                text.replace("abab", "ABab"),
                text.replace("\"path\"", "\"more\":1,\"path\""),
                text.replace("\"origin\"", "\"name\""),
                format!("{text}{}", " ".repeat(FORM_BYTES_MAX)),
                text[..text.len() - 3].to_owned(),
            ] {
                assert_eq!(Proof::decode(bad.as_bytes()), None, "{bad}");
            }
        }
    }
}
