//! What is looked at all the time, on every node: what must be the same is compared, and what must never be is noticed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use aumbry_checker::invariants::{Answer, AuditHead, Commit, Leader, Observed, Sealed, StateAt};
use aumbry_sim_world::{HostId, disk, now_ms};
use aumbry_state::{Consensus as _, Status};
use aumbry_types::hex;

use crate::operator;
use crate::process::door;

/// What nodes have shown so far. It is judged at once, and again at the end by the checker.
#[derive(Default)]
pub(crate) struct Observer {
    /// Of each log index: the state digest, the audit root, the number of audit records.
    states: BTreeMap<u64, (HostId, Shown)>,
    /// Who has led in each term.
    leaders: BTreeMap<u64, u64>,
    /// The last index of each node that was looked at.
    last: BTreeMap<HostId, u64>,
    /// What each node called committed, and who the voters were then.
    committed: BTreeMap<HostId, (u64, Vec<u64>)>,
    commits: BTreeSet<u64>,
    pub(crate) highest: u64,
    pub(crate) observed: Observed,
}

type Shown = ([u8; 32], [u8; 32], u64);

thread_local! {
    /// Since when nodes are sealed that are.
    static SEALED: RefCell<BTreeMap<HostId, u64>> = const { RefCell::new(BTreeMap::new()) };
    static SPANS: RefCell<Vec<Sealed>> = const { RefCell::new(Vec::new()) };
    static ANSWERS: RefCell<Vec<Answer>> = const { RefCell::new(Vec::new()) };
}

/// Forgets what an earlier run left.
pub(crate) fn reset() {
    SEALED.with_borrow_mut(BTreeMap::clear);
    SPANS.with_borrow_mut(Vec::clear);
    ANSWERS.with_borrow_mut(Vec::clear);
}

/// Notes that a node was sealed now, or may be opened from now on.
pub(crate) fn note_sealed(host: HostId, is_sealed: bool) {
    let was_sealed = SEALED.with_borrow(|sealed| sealed.contains_key(&host));
    match is_sealed {
        true if !was_sealed => {
            SEALED.with_borrow_mut(|sealed| sealed.insert(host, now_ms()));
            let span = Sealed {
                node: host,
                from: now_ms(),
                until: None,
            };
            SPANS.with_borrow_mut(|spans| spans.push(span));
        }
        false if was_sealed => {
            SEALED.with_borrow_mut(|sealed| sealed.remove(&host));
            let end = |spans: &mut Vec<Sealed>| {
                if let Some(span) = spans.iter_mut().rfind(|span| span.node == host) {
                    span.until = Some(now_ms());
                }
            };
            SPANS.with_borrow_mut(end);
        }
        _ => {}
    }
}

/// Notes that a node has answered, and when it began to work on that.
pub(crate) fn note_answer(host: HostId, asked: u64) {
    let answer = Answer {
        node: host,
        asked,
        answered: now_ms(),
    };
    ANSWERS.with_borrow_mut(|answers| answers.push(answer));
}

/// When nodes were sealed, and when they answered.
pub(crate) fn sealed_and_answers() -> (Vec<Sealed>, Vec<Answer>) {
    (SPANS.with_borrow_mut(std::mem::take), ANSWERS.with_borrow_mut(std::mem::take))
}

/// Whether a node has been sealed all the time since then.
pub(crate) fn is_sealed_since(host: HostId, since: u64) -> bool {
    SEALED.with_borrow(|sealed| sealed.get(&host).is_some_and(|at| *at <= since))
}

impl Observer {
    /// Looks at these nodes.
    pub(crate) fn look(&mut self, hosts: &[HostId], violations: &mut Vec<String>) {
        for host in hosts {
            let Some(member) = door(*host).and_then(|door| door.member()) else {
                continue;
            };
            let status = member.raft.status();
            if let Some(leadership) = member.raft.leadership() {
                let (term, node) = (leadership.term.0, leadership.node.0);
                let leader = *self.leaders.entry(term).or_insert(node);
                if leader != node {
                    violations.push(format!("one_leader_per_term: {leader} and {node} lead in term {term}"));
                }
                let leader = Leader { term, node };
                if self.observed.leaders.last() != Some(&leader) {
                    self.observed.leaders.push(leader);
                }
            }
            if member.raft.leadership().is_some() {
                self.look_at_commit(*host, &status, hosts);
            }
            let index = status.applied.0;
            self.highest = self.highest.max(index);
            if index == 0 || self.last.insert(*host, index) == Some(index) {
                continue;
            }
            let shown = (status.digest, status.audit_root, status.audit_size);
            let (first, known) = *self.states.entry(index).or_insert((*host, shown));
            if known != shown {
                let what = match known.0 == shown.0 {
                    true => "audit_equal_at_equal_index",
                    false => "state_equal_at_equal_index",
                };
                violations.push(format!("{what}: nodes {first} and {host} differ at index {index}"));
            }
            self.observed.states.push(StateAt {
                node: *host,
                index,
                digest: hex::encode(&status.digest[..8]),
            });
            self.observed.heads.push(AuditHead {
                node: *host,
                index,
                leaves: status.audit_size,
                root: hex::encode(&status.audit_root[..8]),
            });
        }
    }
}

impl Observer {
    /// Whether what a node calls committed is where it must be. While members change nobody but consensus knows who counts.
    fn look_at_commit(&mut self, host: HostId, status: &Status, hosts: &[HostId]) {
        let index = status.committed.0;
        let voters: Vec<u64> = status.members.iter().filter(|member| member.voter).map(|member| member.id.0).collect();
        // Learners become voters by themselves: who counted is known if nobody has come or gone since the last look.
        let last = self.committed.insert(host, (index, voters.clone()));
        let is_same = last.is_some_and(|(last, before)| last < index && before == voters);
        if !operator::is_ready() || operator::is_changing() || !is_same {
            return;
        }
        // What stands in its own log at that place, with its term.
        let Some(beginning) = disk::beginning(host, index, ID_BYTES) else { return };
        let is_holder = |host: &&HostId| disk::holds(**host, index, &beginning);
        let holders = hosts.iter().filter(is_holder).filter_map(|host| Some(operator::id_of(*host)?.0));
        let holders: Vec<u64> = holders.collect();
        if self.commits.insert(index) {
            self.observed.commits.push(Commit {
                index,
                term: status.term.0,
                voters: vec![voters],
                holders,
            });
        }
    }
}

/// The host whose node leads, if one does.
pub(crate) fn leader(hosts: &[HostId]) -> Option<HostId> {
    let leads = |host: &HostId| {
        let member = door(*host)?.member()?;
        member.raft.leadership().map(|leadership| (leadership.term.0, *host))
    };
    hosts.iter().filter_map(leads).max().map(|(_, host)| host)
}

/// An entry in the log begins with its format and its id: term, node, index.
const ID_BYTES: usize = 25;
