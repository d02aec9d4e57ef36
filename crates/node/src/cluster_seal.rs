//! The seal of the whole cluster: one row, which every node obeys by itself and without keys.
//!
//! What it guarantees:
//! - A node remembers which mark stood in the row when it was opened. Once it has applied another one it wipes its keys, whoever it has lost contact with
//!   meanwhile: the mark stays after the cluster was opened again. A node that becomes leader has applied all that was committed, and looks before its
//!   first plan; nobody else answers anything of the store.
//! - On the leader the keys go when the entry is applied, before anybody who waits for it, or for what stands behind it, is answered.
//! - Until an operator releases them, seals of keys open no node: neither one that was running, nor one that is started again. Shares open each node.
//!
//! What it does not do: reach a node that hears no leader before it comes back. Such a node answers nobody, and its keys stay in its memory.

use aumbry_barrier::{Kind, Txn, record};
use aumbry_state::{Counters, Put, Row, View, Write, key};
use serde::{Deserialize, Serialize};

use crate::{Class, Failure, Reply};

/// What stands in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterSeal {
    /// Another one each time that the cluster is sealed.
    pub(crate) mark: [u8; 16],
    /// Whether seals of keys open nodes again.
    pub(crate) is_released: bool,
}

impl ClusterSeal {
    /// A cluster that was never sealed.
    const NEVER: Self = Self {
        mark: [0; 16],
        is_released: true,
    };
    /// A row that cannot be read may say anything, and so says the worst.
    const UNREADABLE: Self = Self {
        mark: [0xff; 16],
        is_released: false,
    };

    pub(crate) fn read(view: &dyn View) -> Self {
        view.get(&key::cluster_seal()).map_or(Self::NEVER, |row| {
            Row::decode(&row).map_or(Self::UNREADABLE, |row| Self::of(&row))
        })
    }

    fn of(row: &Row) -> Self {
        record::decode(VERSION, &row.body).unwrap_or(Self::UNREADABLE)
    }

    fn write(self, txn: &mut Txn<'_>) {
        txn.write(Write::Put(Put {
            key: key::cluster_seal(),
            kind: Kind::ClusterSeal as u8,
            expires_at: 0,
            counters: Counters::Set([0, 0]),
            key_term: 0,
            container: key::CLUSTER_SEALS,
            body: record::encode(VERSION, &self).expose().to_vec().into(),
        }));
    }
}

/// Seals the cluster.
pub(crate) fn seal(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    // Recorded: of two at once each has its own mark.
    txn.read_row(&key::cluster_seal())?;
    let mut mark = [0; 16];
    txn.entropy().fill(&mut mark);
    let is_released = false;
    ClusterSeal { mark, is_released }.write(txn);
    Ok(Reply::Done)
}

/// Lets seals of keys open nodes again.
pub(crate) fn release(txn: &mut Txn<'_>) -> Result<Reply, Failure> {
    let row = txn.read_row(&key::cluster_seal())?;
    let sealed = row.as_ref().map_or(ClusterSeal::NEVER, ClusterSeal::of);
    if sealed.is_released {
        let text = "no seal of the whole cluster holds back the seals of keys; there is nothing to release";
        return Err(Failure::new(Class::FailedPrecondition, "NOT_HELD_BACK", text));
    }
    let is_released = true;
    ClusterSeal { is_released, ..sealed }.write(txn);
    Ok(Reply::Done)
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use aumbry_state::MemoryView;

    use super::*;

    #[test]
    fn what_cannot_be_read_holds_keys_back() {
        let view = MemoryView::default();
        assert_eq!(ClusterSeal::read(&view), ClusterSeal::NEVER);
        view.write([(key::cluster_seal(), Some(vec![1, 2, 3].into()))]);
        assert_eq!(ClusterSeal::read(&view), ClusterSeal::UNREADABLE);
    }

    /// Nodes of different versions read the same row: its layout is frozen.
    #[test]
    fn the_layout_is_frozen() {
        let seal = ClusterSeal {
            mark: [7; 16],
            is_released: true,
        };
        let bytes = record::encode(VERSION, &seal);
        let expected: Vec<u8> = [&[VERSION][..], &[7; 16], &[1]].concat();
        assert_eq!(bytes.expose(), expected);
        assert_eq!(record::decode::<ClusterSeal>(VERSION, &expected).ok(), Some(seal));
    }
}
