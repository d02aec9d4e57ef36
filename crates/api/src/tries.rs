//! What is known of a request that was tried more than once.

use crate::v1::{Failure, OutcomeClass};

/// The tries of one request so far.
///
/// A try whose outcome was lost may have been applied, and so may the request, whatever later tries are told by nodes that know nothing of the first:
/// that they are sealed, or do not lead. An answer that the leader has put on record is another matter: under the same idempotency key it knows of
/// earlier tries.
#[derive(Debug, Default)]
pub struct Tries {
    may_be_applied: bool,
}

impl Tries {
    /// Takes note of a try that failed. Its failure tells afterwards what is known of all tries.
    pub fn note(&mut self, is_write: bool, failure: &mut Failure) {
        let is_lost = failure.outcome() == OutcomeClass::Unknown;
        let is_on_record = failure.audit_seq != 0;
        self.may_be_applied = is_write && (is_lost || self.may_be_applied && !is_on_record);
        if self.may_be_applied {
            failure.set_outcome(OutcomeClass::Unknown);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the last of these tries tells that the request may be applied: of each whether its outcome was lost, and its place on record.
    fn may_be_applied(is_write: bool, tries: &[(bool, u64)]) -> bool {
        let mut known = Tries::default();
        let mut is_unknown = false;
        for (is_lost, audit_seq) in tries {
            let mut failure = Failure {
                audit_seq: *audit_seq,
                ..Failure::default()
            };
            failure.set_outcome(match is_lost {
                true => OutcomeClass::Unknown,
                false => OutcomeClass::NotApplied,
            });
            known.note(is_write, &mut failure);
            is_unknown = failure.outcome() == OutcomeClass::Unknown;
        }
        is_unknown
    }

    #[test]
    fn a_lost_outcome_stays_lost_until_the_leader_answers() {
        let cases: [(&[(bool, u64)], bool); 7] = [
            (&[(false, 0)], false),
            (&[(true, 0)], true),
            // The next node is sealed, and the one after it, too.
            (&[(true, 0), (false, 0), (false, 0)], true),
            // The node was sealed when its entry was applied: on record, and unknown all the same.
            (&[(true, 7)], true),
            (&[(true, 7), (false, 0)], true),
            // Refused on record: the leader knows that no earlier try was applied.
            (&[(true, 0), (false, 7)], false),
            (&[(true, 0), (false, 7), (false, 0)], false),
        ];
        for (tries, expected) in cases {
            assert_eq!(may_be_applied(true, tries), expected, "{tries:?}");
        }
        assert!(!may_be_applied(false, &[(false, 0)]));
    }
}
