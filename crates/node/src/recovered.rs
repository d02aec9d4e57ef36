//! A store whose cluster lost its quorum for good, taken over by a new cluster from one survivor.
//!
//! This is done offline, with the shares in hand: so the new cluster's first entry holds its identity, and the audit record of the
//! discontinuity. No later entry can be without it. A restored backup is different: it arrives where the keys are not.

use std::sync::Arc;

use aumbry_audit::Field;
use aumbry_barrier::{Kind, ListCache, ObjectOptions, Txn};
use aumbry_state::{EntryHeader, Member, Overlay, Row, Status, View, key};
use aumbry_types::{Clock, ClusterId, Entropy, LeaderId, LogId, LogTime, RequestId, hex};
use bytes::Bytes;

use crate::genesis::{AUTHORITY, GenesisFacts, clear_row, only_entry};
use crate::restored::{self, NewIdentity, RestoredFrom};
use crate::seal::{Seal, SealStatus, UnsealError};
use crate::{Failure, record};

/// What ends, and what begins.
pub struct Discontinuity {
    /// The cluster that lost its quorum.
    pub from: ClusterId,
    /// The one that begins.
    pub cluster: ClusterId,
    /// What the survivor knows.
    pub status: Status,
    /// Its last entry.
    pub last: LogId,
    /// How many entries it has acknowledged and lost, as far as it can tell.
    pub forgotten: Option<u64>,
    /// Whom the new cluster serves at first.
    pub quarantine: Quarantine,
}

/// Whom a recovered cluster serves at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quarantine {
    /// Everybody.
    No,
    /// Root alone, until an operator releases it: for a survivor that is so old that tokens and policies were revoked since.
    UntilReleased,
}

/// The seal of a store that no node has in use. The configuration is the one in its rows: there is no leader to ask.
#[derive(Default)]
pub struct OfflineSeal {
    seal: Seal,
}

impl OfflineSeal {
    /// What everyone may know of it.
    #[must_use]
    pub fn status(&self, view: &dyn View) -> SealStatus {
        self.seal.status(view)
    }

    /// Takes one share. True once the seal is open.
    ///
    /// # Errors
    /// [`UnsealError`]; shares shown before still count.
    pub fn submit(&self, view: &dyn View, share: &[u8]) -> Result<bool, UnsealError> {
        self.seal.submit(view, share)
    }

    /// The first entry of the new cluster, planned on the survivor's rows, to be applied to exactly them under this leadership.
    ///
    /// # Errors
    /// [`Failure`] if the seal is not open, or a row is damaged.
    pub fn make_entry(
        &self,
        view: Arc<dyn View>,
        leader: LeaderId,
        what: &Discontinuity,
        identity: NewIdentity,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Bytes, Failure> {
        let barrier = self.seal.barrier().ok_or_else(Failure::sealed)?;
        let issued = view.get(&key::node_ids()).and_then(|row| Row::decode(&row).ok());
        let overlay = Overlay::new(view);
        let lists = ListCache::default();
        // Log time stands still meanwhile: the next leader moves it by the usual rule.
        let now = LogTime(what.status.log_time);
        let mut txn = Txn::new(&overlay, &barrier, &lists, entropy, now);
        let facts = restored::read(&mut txn)?;
        let is_released = facts.restored.as_ref().is_none_or(|before| before.released);
        let from = RestoredFrom {
            cluster_id: what.from,
            index: what.last.index.0,
            audit_size: what.status.audit_size,
            audit_root: what.status.audit_root,
            released: is_released && what.quarantine == Quarantine::No,
        };
        let facts = GenesisFacts {
            cluster_id: what.cluster,
            authority: identity.authority,
            restored: Some(from),
            ..facts
        };
        restored::write(&mut txn, &facts);
        txn.put_object(
            AUTHORITY,
            Kind::ClusterAuthority,
            identity.authority_key.expose(),
            ObjectOptions::default(),
        );
        let members = what.status.members.iter().map(|member| member.id.0);
        let highest = members.chain(issued.map(|row| row.counters[0])).max().unwrap_or(0);
        txn.write(clear_row(key::node_ids(), Bytes::new(), [highest + IDS_SKIPPED, 0]));
        let mut record = record::internal("sys.recover", leader.node.0, "", RequestId::make(entropy));
        record.fields = fields(what);
        let header = EntryHeader {
            log_time: now.0,
            wall_time: clock.wall().0,
        };
        Ok(only_entry(&barrier, txn, &record, header, entropy)?.encode())
    }
}

fn fields(what: &Discontinuity) -> Vec<(String, Field)> {
    let status = &what.status;
    let given_up = status.members.iter().filter(|member| member.id != status.node);
    let one = [
        ("from_cluster", what.from.to_string()),
        ("from_index", what.last.index.to_string()),
        ("from_term", what.last.leader.term.to_string()),
        ("from_log_time_ms", status.log_time.to_string()),
        ("from_audit_size", status.audit_size.to_string()),
        ("from_audit_root", hex::encode(&status.audit_root)),
        ("known_committed", status.committed.to_string()),
        ("survivor", status.node.to_string()),
        ("cluster", what.cluster.to_string()),
        (
            "quarantined",
            (what.quarantine == Quarantine::UntilReleased).to_string(),
        ),
    ];
    let forgotten = what
        .forgotten
        .map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let one = one.into_iter().chain([("forgotten_entries", forgotten)]);
    let each = given_up.take(GIVEN_UP_MAX).map(|member| ("given_up", name(member)));
    one.chain(each)
        .map(|(name, value)| (name.to_owned(), Field::Clear(value)))
        .collect()
}

fn name(member: &Member) -> String {
    format!("{} {}", member.id, member.name)
}

/// Ids that the lost members may have given to nodes of which the survivor never heard. An id names one machine for ever, in the audit log too.
const IDS_SKIPPED: u64 = 100;
/// A record holds 64 fields; no cluster has so many members.
const GIVEN_UP_MAX: usize = 50;
