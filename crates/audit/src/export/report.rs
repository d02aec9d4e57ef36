//! The verdict on an export as JSON: one form for every program that verifies.

use serde_json::{Value, json};

use super::{Reason, Verified, VerifyError};
use crate::hex;

impl Verified {
    /// What was verified.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "intact": true,
            "records": self.records,
            "first_seq": self.first_seq,
            "last_seq": (self.records > 0).then(|| self.size - 1),
            "withheld": self.withheld,
            "checkpoints": self.checkpoints,
            "size": self.size,
            "root": hex::encode(&self.root),
            "checkpoint_fingerprint": hex::encode(&self.key_fingerprint),
            "storage_id": self.storage_id.to_string(),
        })
    }
}

impl VerifyError {
    /// The first thing wrong; of a fork also the two notes that prove it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut verdict = json!({
            "intact": false,
            "fault": self.fault().name(),
            "line": self.line,
            "record": self.seq,
            "reason": self.reason.to_string(),
        });
        if let Reason::Forked { first, second, .. } = &self.reason {
            verdict["evidence"] = json!([first, second]);
        }
        verdict
    }
}
