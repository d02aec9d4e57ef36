//! What a snapshot says of itself, compared with what is in it.

use aumbry_audit::{Body, Frontier, Grown};
use aumbry_crypto::lthash::LtHash;
use aumbry_state::{Machine, floor_in, key};

use super::SnapshotReader;
use crate::StorageError;

/// What the rows and bodies of a snapshot add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotContent {
    /// The state digest.
    pub digest: [u8; 32],
    /// The root of the audit tree.
    pub audit_root: [u8; 32],
    /// The number of audit records.
    pub audit_size: u64,
    /// The log time of the last entry, in milliseconds.
    pub log_time: u64,
}

impl SnapshotReader {
    /// Adds up all rows and audit bodies, and compares with what the state machine's own row says: a snapshot whose hashes are right can still
    /// be of a state that no log gave. Reads everything: call it on a blocking thread.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if they differ.
    pub fn check_content(&self) -> Result<SnapshotContent, StorageError> {
        let damaged = |what: &str| StorageError::damaged(self.path(), what);
        let mut digest = LtHash::default();
        let mut own_row = None;
        let mut below = Frontier::new();
        for (key, row) in self.rows() {
            if key == key::machine() {
                own_row = Some(row);
            } else if key::is_digested(&key) {
                if key == key::audit_floor() {
                    let floor = floor_in(&row).ok_or_else(|| damaged("the floor of its audit is not signed"))?;
                    below = floor.tree().clone();
                }
                digest.add(&key, &row);
            }
        }
        let machine = Machine::from_row(own_row).map_err(|_| damaged("the state machine's row cannot be read"))?;
        if machine.digest() != digest.digest() {
            return Err(damaged("its rows are not those of its state digest"));
        }
        let mut grown = Grown::after(below);
        for (_, _, bytes) in self.bodies() {
            let body = Body::decode(&bytes).ok_or_else(|| damaged("an audit body cannot be read"))?;
            grown.add(&body).map_err(damaged)?;
        }
        let tree = grown.tree();
        if (machine.audit_size(), machine.audit_root()) != (tree.size(), tree.root()) {
            return Err(damaged("its audit records are not those of its audit root"));
        }
        Ok(SnapshotContent {
            digest: machine.digest(),
            audit_root: machine.audit_root(),
            audit_size: machine.audit_size(),
            log_time: machine.log_time(),
        })
    }
}
