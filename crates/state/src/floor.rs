//! Where the audit records begin that are still kept, as the rows have it.

use aumbry_audit::Floor;
use bytes::Bytes;

use crate::{Row, View, key};

/// The floor in the applied rows. None if nothing was pruned; a row that does not hold what was signed is none, and nothing is removed for it.
#[must_use]
pub fn audit_floor(view: &dyn View) -> Option<Floor> {
    floor_in(&view.get(&key::audit_floor())?)
}

/// The floor in its row.
#[must_use]
pub fn floor_in(row: &Bytes) -> Option<Floor> {
    Floor::decode(&Row::decode(row).ok()?.body)
}
