//! The keys that seal what is stored: new terms by command, by age and by use, what older terms seal sealed anew in the background, and terms that nothing
//! uses any more taken out of the keyring.
//!
//! What it guarantees:
//! - A change of the keyring is one entry. From then on the leader that proposed it, and every later one, seals with the new term: a plan is made with the
//!   keys that stand when it is made, under the lock that a change takes as well.
//! - The uses of a term are counted too high and never too low: a leader adds a block of them to the replicated count before it uses the first.
//! - A term is taken out only after every row was looked at behind the change that made the next one, and no batch token of it can still live.
//!
//! What it does not do: turn the root key or the shares, which is a rekey (`ceremony`); make the keys of names and of the audit log anew.

mod care;
mod plan;
mod request;
mod rewrap;
mod uses;

pub(crate) use plan::{Due, end_handover, plan, retire_now, rotate_now, write_keyring};
pub use request::Request;
pub(crate) use rewrap::{Rewrapped, rewrap};
pub(crate) use uses::Uses;

use crate::{Failure, Node};

impl Node {
    /// Takes up the keyring that is stored, if it is another than the one that this node holds. No plan is made meanwhile.
    pub(crate) fn follow_keys(&self) {
        let _planner = self.sequencer.lock();
        self.seal.follow(&*self.consensus.view());
    }

    /// What the keys need by themselves.
    pub(crate) fn look_at_keys(&self) -> Result<Option<Due>, Failure> {
        let due = self.look(&aumbry_types::NamespacePath::root(), |txn, _| Ok(plan::is_due(txn)?))?;
        Ok(due.flatten())
    }
}

/// The name of a new term in audit records.
pub(crate) const ROTATE: &str = "keys.rotate";
/// The name of what is sealed anew.
pub(crate) const REWRAP: &str = "keys.rewrap";
/// The name of the end of a handover.
pub(crate) const HANDOVER_END: &str = "keys.handover-end";
/// The name of terms that go.
pub(crate) const RETIRE: &str = "keys.retire";
