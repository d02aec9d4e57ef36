//! What a leader calls committed is on the disks of a quorum of the voters; of both sets of voters while they change.

use serde::{Deserialize, Serialize};

use super::Judged;

/// An entry that a node called committed for the first time, and where it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The voters, or both sets of them while they change, as the node knew them.
    pub voters: Vec<Vec<u64>>,
    /// The nodes on whose disks the entry of this index and term was, synced; those that are down included.
    pub holders: Vec<u64>,
}

/// Judges the property. A fact is an entry that was called committed.
pub fn committed_on_quorum(commits: &[Commit]) -> Judged {
    let mut judged = Judged::new("committed_on_quorum");
    for commit in commits {
        let lacks_quorum = |voters: &&Vec<u64>| {
            let held = voters.iter().filter(|voter| commit.holders.contains(voter)).count();
            2 * held <= voters.len()
        };
        judged.fact(commit.voters.iter().find(lacks_quorum).map(|voters| {
            let Commit {
                index, term, holders, ..
            } = commit;
            format!(
                "entry {index} of term {term} was called committed, and was on nodes {holders:?} of voters {voters:?}"
            )
        }));
    }
    judged
}
