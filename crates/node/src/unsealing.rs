//! What was tried on the seal of this node: counted while nobody can record it, and how many wrong shares an address may have looked at.
//!
//! What it guarantees:
//! - Constant memory, however many addresses there are: behind a bound they are counted together.
//! - A share that is right by what this node has applied is always taken. Only wrong ones cost their address something, so that no flood locks the
//!   holders of shares out, not even one from their own address.
//! - Shares that count are thrown away by nobody but those who showed one: whoever has none cannot hold a cluster shut by throwing away what others show.
//! - A report is kept until the leader has its records. One whose answer was lost is sent again, and its records then bear the same request id.
//!
//! What it does not do: outlive the process. What was tried on a node that is killed before it hears a leader is on record nowhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use aumbry_audit::{Decision, Field};
use aumbry_barrier::Txn;
use aumbry_types::{Entropy, LeaderId, NodeId, RequestId, WallTime};

use crate::pipeline::source_of;
use crate::seal::Seal;
use crate::{Class, Failure, Node, duties, record};

/// What was tried on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsealReport {
    /// The request id of its records.
    pub id: RequestId,
    /// How many wrong shares each address has shown.
    pub wrong: Vec<(String, u64)>,
    /// How many right shares were shown.
    pub shares: u64,
    /// How often those shown before were thrown away.
    pub resets: u64,
    /// That the node was opened.
    pub opened: Option<Opened>,
}

/// How a node was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The kind of the seal: `shares`, or that of a key.
    pub by: String,
    /// The address that showed the last share; nothing for a key.
    pub client: String,
    /// When, by the node's clock.
    pub at: WallTime,
}

/// Counts of a node.
#[derive(Default)]
pub(crate) struct Unsealing {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    wrong: BTreeMap<String, u64>,
    shares: u64,
    resets: u64,
    /// Where the shares came from that count now: right ones, so no more than there are shares.
    shown_from: BTreeSet<String>,
    opened: Option<Opened>,
    /// What is on its way to a leader.
    pending: Option<UnsealReport>,
    /// When the last report was made, by the time since boot.
    reported_ms: Option<u64>,
    looks: BTreeMap<String, Looks>,
    all_looks: Option<Looks>,
}

/// How many wrong shares may still be looked at.
#[derive(Clone, Copy)]
struct Looks {
    left: u64,
    /// Up to when they were refilled.
    since_ms: u64,
}

impl Looks {
    const fn full(max: u64, now_ms: u64) -> Self {
        Self {
            left: max,
            since_ms: now_ms,
        }
    }

    fn refill(&mut self, max: u64, every_ms: u64, now_ms: u64) {
        let more = now_ms.saturating_sub(self.since_ms) / every_ms;
        self.left = self.left.saturating_add(more).min(max);
        self.since_ms += more * every_ms;
    }

    const fn take(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            return false;
        };
        self.left = left;
        true
    }
}

impl Unsealing {
    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a share that this node takes for wrong may be looked at once more, against what the cluster has committed.
    pub(crate) fn may_look(&self, address: &str, now_ms: u64) -> bool {
        self.with(|counts| {
            let source = source_of(address);
            if counts.looks.len() >= SOURCES_MAX && !counts.looks.contains_key(source) {
                counts.looks.retain(|_, looks| {
                    looks.refill(LOOKS, LOOK_MS, now_ms);
                    looks.left < LOOKS
                });
            }
            let is_full = counts.looks.len() >= SOURCES_MAX && !counts.looks.contains_key(source);
            let source = if is_full { OTHERS } else { source };
            let looks = counts.looks.entry(source.to_owned());
            let looks = looks.or_insert_with(|| Looks::full(LOOKS, now_ms));
            looks.refill(LOOKS, LOOK_MS, now_ms);
            let all = counts.all_looks.get_or_insert_with(|| Looks::full(ALL_LOOKS, now_ms));
            all.refill(ALL_LOOKS, ALL_LOOK_MS, now_ms);
            looks.take() && all.take()
        })
    }

    /// A wrong share was shown.
    pub(crate) fn wrong(&self, address: &str) {
        self.with(|counts| {
            let source = source_of(address);
            let is_full = counts.wrong.len() >= SOURCES_MAX && !counts.wrong.contains_key(source);
            let source = if is_full { OTHERS } else { source };
            let count = counts.wrong.entry(source.to_owned()).or_default();
            *count = count.saturating_add(1);
        });
    }

    /// A right share was shown.
    pub(crate) fn right(&self, address: &str) {
        self.with(|counts| {
            counts.shares = counts.shares.saturating_add(1);
            counts.shown_from.insert(source_of(address).to_owned());
        });
    }

    /// Whether one of the shares that count came from there.
    pub(crate) fn has_shown(&self, address: &str) -> bool {
        self.with(|counts| counts.shown_from.contains(source_of(address)))
    }

    /// What was shown is thrown away.
    pub(crate) fn reset(&self) {
        self.with(|counts| {
            counts.resets = counts.resets.saturating_add(1);
            counts.shown_from.clear();
        });
    }

    /// The node is open.
    pub(crate) fn opened(&self, by: &str, address: &str, at: WallTime) {
        let opened = Opened {
            by: by.to_owned(),
            client: address.to_owned(),
            at,
        };
        self.with(|counts| {
            counts.opened = Some(opened);
            counts.shown_from.clear();
        });
    }

    /// What a leader is to record now, if there is something: an opening at once, the rest once a minute.
    fn due(&self, entropy: &dyn Entropy, now_ms: u64) -> Option<UnsealReport> {
        self.with(|counts| {
            if counts.pending.is_none() {
                let is_time = counts
                    .reported_ms
                    .is_none_or(|at| now_ms.saturating_sub(at) >= REPORT_MS);
                let is_any = !counts.wrong.is_empty() || counts.shares > 0 || counts.resets > 0;
                if counts.opened.is_none() && !(is_any && is_time) {
                    return None;
                }
                counts.reported_ms = Some(now_ms);
                counts.pending = Some(UnsealReport {
                    id: RequestId::make(entropy),
                    wrong: std::mem::take(&mut counts.wrong).into_iter().collect(),
                    shares: std::mem::take(&mut counts.shares),
                    resets: std::mem::take(&mut counts.resets),
                    opened: counts.opened.take(),
                });
            }
            counts.pending.clone()
        })
    }

    fn kept(&self, id: RequestId) {
        self.with(|counts| {
            counts.pending.take_if(|pending| pending.id == id);
        });
    }
}

impl Node {
    /// Whether this share, shown from this address, is to be tried: a right one always is.
    ///
    /// # Errors
    /// [`Failure`] if it is wrong by what this node has applied, and too many wrong ones came from there, or from everywhere.
    pub fn admit_share(&self, share: &[u8], address: &str) -> Result<(), Failure> {
        let is_right = Seal::knows(&*self.consensus.view(), share);
        if is_right || self.unsealing.may_look(address, self.clock.boottime_ms()) {
            return Ok(());
        }
        self.unsealing.wrong(address);
        Err(Failure::new(
            Class::ResourceExhausted,
            "TOO_MANY_WRONG_SHARES",
            "the share is wrong, as were many before it; a right one is taken at any time, and what is wrong with this one is told in some seconds",
        ))
    }

    /// What was tried on the seal of this node, if a leader is to record it now. It stays until [`Self::unseal_report_is_kept`].
    #[must_use]
    pub fn due_unseal_report(&self) -> Option<UnsealReport> {
        self.unsealing.due(&*self.entropy, self.clock.boottime_ms())
    }

    /// The report is on record.
    pub fn unseal_report_is_kept(&self, id: RequestId) {
        self.unsealing.kept(id);
    }

    /// Records what was tried on the seal of a member, which has said so itself. On the leader.
    ///
    /// # Errors
    /// [`Failure`]; the member tells it again.
    pub async fn record_unsealing(&self, member: NodeId, report: UnsealReport) -> Result<(), Failure> {
        if report.wrong.len() > SOURCES_MAX + 1 {
            return Err(Failure::invalid("a report of unsealing names too many addresses"));
        }
        // Nothing is recorded with keys of an initialisation that was repeated, or before a restored store is taken over.
        if !self.holds_the_clusters_keys() {
            return Err(Failure::sealed());
        }
        let adopted = |txn: &mut Txn<'_>| self.check_adopted(txn).map(|()| true);
        let region = &self.outside.region;
        let make = |leader: LeaderId, client: String, count: u64| {
            let mut made = record::aggregate(UNSEAL, clip(client), count, leader.node.0, region, report.id);
            made.node = member.0;
            made
        };
        for (source, count) in &report.wrong {
            let waiter = self.plan_recorded(
                |leader, _| {
                    let mut made = make(leader, source.clone(), *count);
                    "INVALID_SHARE".clone_into(&mut made.reason);
                    made
                },
                adopted,
            )?;
            duties::settled(waiter).await?;
        }
        let UnsealReport { shares, resets, .. } = report;
        if shares == 0 && resets == 0 && report.opened.is_none() {
            return Ok(());
        }
        let waiter = self.plan_recorded(
            |leader, _| {
                let client = report.opened.as_ref().map(|opened| opened.client.clone());
                let mut made = make(leader, client.unwrap_or_default(), 1);
                made.decision = Decision::Allowed;
                made.reason = String::new();
                let mut clear = |name: &str, value: String| made.fields.push((name.to_owned(), Field::Clear(value)));
                clear("shares", shares.to_string());
                clear("resets", resets.to_string());
                if let Some(opened) = &report.opened {
                    clear("opened_by", clip(opened.by.clone()));
                    clear("opened_ms", opened.at.0.to_string());
                }
                made
            },
            adopted,
        )?;
        duties::settled(waiter).await
    }
}

/// Addresses and kinds are short; what a member of another version says may be anything.
fn clip(mut text: String) -> String {
    let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= TEXT_BYTES_MAX);
    if let Some(end) = end {
        text.truncate(end);
    }
    text
}

/// The name in audit records.
const UNSEAL: &str = "sys.unseal";
/// Wrong shares of one address that are looked at in a row: more than a cluster usually has, typed wrong twice each.
const LOOKS: u64 = 20;
/// And then one in so long.
const LOOK_MS: u64 = 2_000;
/// Wrong shares of all addresses: each look asks a quorum how far the log is.
const ALL_LOOKS: u64 = 100;
/// And then one in so long.
const ALL_LOOK_MS: u64 = 50;
/// Addresses that are counted apart: each has a record of its own in a report.
const SOURCES_MAX: usize = 64;
const OTHERS: &str = "others";
/// As refusals: a flood has a record a minute for each address.
const REPORT_MS: u64 = 60_000;
/// Longer than any address.
const TEXT_BYTES_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use aumbry_types::SimulatedEntropy;

    use super::*;

    fn due(unsealing: &Unsealing, now_ms: u64) -> Option<UnsealReport> {
        unsealing.due(&SimulatedEntropy::new(now_ms), now_ms)
    }

    /// Abuse cases: 52.
    #[test]
    fn an_address_is_limited_and_others_are_not() {
        let unsealing = Unsealing::default();
        let looks = |address: &str, now| (0..1_000).filter(|_| unsealing.may_look(address, now)).count();
        assert_eq!(looks("10.0.0.1:1", 0), 20);
        assert_eq!(looks("10.0.0.1:2", 0), 0, "another port is no other address");
        assert_eq!(looks("10.0.0.2:1", 0), 20);
        assert_eq!(looks("10.0.0.1:1", 4_000), 2);
        assert_eq!(looks("10.0.0.1:1", 600_000), 20);
    }

    /// Abuse cases: 52.
    #[test]
    fn a_flood_from_everywhere_takes_no_memory_and_is_limited_too() {
        let unsealing = Unsealing::default();
        let mut looked = 0;
        for n in 0..100_000_u64 {
            let address = format!("10.{}.{}.{}:1", n >> 16, n >> 8 & 255, n & 255);
            unsealing.wrong(&address);
            // A thousand a second.
            looked += u64::from(unsealing.may_look(&address, n));
        }
        assert!(looked <= 100 + 100_000 / 50, "{looked}");
        let held = unsealing.with(|counts| counts.looks.len().max(counts.wrong.len()));
        assert!(held <= SOURCES_MAX + 1, "{held}");
        let report = due(&unsealing, 0).expect("there is something");
        assert_eq!(report.wrong.len(), SOURCES_MAX + 1);
        assert_eq!(report.wrong.iter().map(|(_, count)| count).sum::<u64>(), 100_000);
    }

    #[test]
    fn a_report_stays_until_it_is_kept() {
        let unsealing = Unsealing::default();
        assert_eq!(due(&unsealing, 0), None);
        unsealing.wrong("10.0.0.1:1");
        unsealing.right("10.0.0.1:1");
        let first = due(&unsealing, 1).expect("there is something");
        assert_eq!(
            (first.wrong.as_slice(), first.shares),
            (&[("10.0.0.1".to_owned(), 1)][..], 1)
        );
        unsealing.wrong("10.0.0.1:1");
        unsealing.reset();
        assert_eq!(due(&unsealing, 2).as_ref(), Some(&first), "the same, with its id");
        unsealing.kept(first.id);
        assert_eq!(due(&unsealing, 60_000), None, "once a minute");
        unsealing.opened("static", "", WallTime(5));
        let second = due(&unsealing, 60_000).expect("an opening is told at once");
        assert_ne!(second.id, first.id);
        assert_eq!((second.wrong.len(), second.shares, second.resets), (1, 0, 1));
        assert_eq!(second.opened.map(|opened| opened.by), Some("static".to_owned()));
        unsealing.kept(first.id);
        assert!(due(&unsealing, 60_001).is_some(), "another one's word does not count");
    }

    #[test]
    fn who_showed_no_share_throws_none_away() {
        let unsealing = Unsealing::default();
        unsealing.wrong("10.0.0.9:1");
        unsealing.right("10.0.0.1:1");
        unsealing.right("[2001:db8::7]:1");
        let can = |address| unsealing.has_shown(address);
        assert!(can("10.0.0.1:9") && can("[2001:db8::7]:9") && !can("10.0.0.9:1") && !can(""));
        unsealing.reset();
        assert!(!can("10.0.0.1:9"), "it counts no more");
    }

    #[test]
    fn what_a_member_says_is_cut() {
        assert_eq!(clip("é".repeat(100)).len(), 80);
        assert_eq!(clip("10.0.0.1".to_owned()), "10.0.0.1");
    }
}
