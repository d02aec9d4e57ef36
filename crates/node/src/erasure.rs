//! What was replaced, deleted or destroyed goes from the disks of all nodes: one row orders it, each node obeys by itself, and the leader tells how far
//! each has come.
//!
//! What it guarantees:
//! - A node counts as done once it has said itself that nothing from before the order is left in its files. An order is told by its mark, which no other
//!   one has, so that what an earlier order or another cluster left behind says nothing.
//! - A node that was away obeys when it has applied the order, and one that joins later as well.
//! - It takes no keys: sealed nodes obey too.
//!
//! What it does not do: reach backups and copies of disks. What makes those useless is told beside it: whether the keys of then are gone, and the root key
//! that opens them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aumbry_auth::{Answer, Error, timestamp};
use aumbry_barrier::{DamagedRow, Kind, Txn, record};
use aumbry_crypto::envelope;
use aumbry_crypto::keyring::Series;
use aumbry_logical::{Object, Verb};
use aumbry_state::{Counters, Erased, Obstacle, Put, Row, Status, View, Write, key};
use aumbry_types::{NodeId, hex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Failure, Node, Reply};

/// A request about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Tells how far it is.
    Status,
    /// Orders it, of all that was replaced until then.
    Begin,
}

impl Request {
    /// Reads a request; the path is `sys/erasure`.
    ///
    /// # Errors
    /// [`Error`]
    pub const fn parse(verb: Verb) -> Result<Self, Error> {
        match verb {
            Verb::Read => Ok(Self::Status),
            Verb::Write => Ok(Self::Begin),
            _ => Err(Error::Unsupported),
        }
    }

    /// Whether it changes anything. It takes `sudo` then, as each node writes all that it holds once more.
    #[must_use]
    pub const fn is_write(self) -> bool {
        matches!(self, Self::Begin)
    }
}

/// What stands in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    /// Another one each time.
    mark: [u8; 16],
    /// The term that sealed what was written then: this and those before sealed what is to go.
    term: u32,
    /// The epoch of the root key of then.
    root_epoch: u32,
}

impl Order {
    fn of(row: &Row) -> Result<Self, DamagedRow> {
        record::decode(VERSION, &row.body).map_err(|_| DamagedRow)
    }
}

/// The mark of the order that the members are to carry out, as this state says; none if there was never one.
///
/// A row that cannot be read is no order: the leader says so to whoever asks.
#[must_use]
pub fn ordered(view: &dyn View) -> Option<[u8; 16]> {
    let row = Row::decode(&view.get(&key::erasure())?).ok()?;
    Order::of(&row).ok().map(|order| order.mark)
}

/// Plans a request.
///
/// # Errors
/// [`Error`]
pub(crate) fn plan(txn: &mut Txn<'_>, request: &Request) -> Result<Answer, Error> {
    let keyring = txn.read_row(&key::keyring())?.ok_or(DamagedRow)?;
    let root_epoch = envelope::term(&keyring.body).map_err(|_| DamagedRow)?;
    let row = txn.read_row(&key::erasure())?;
    match request {
        Request::Begin => {
            let mut mark = [0; 16];
            txn.entropy().fill(&mut mark);
            let term = txn.barrier().keyring().term();
            let order = Order { mark, term, root_epoch };
            txn.write(Write::Put(Put {
                key: key::erasure(),
                kind: Kind::Erasure as u8,
                expires_at: 0,
                counters: Counters::Set([txn.now().0, 0]),
                key_term: 0,
                container: key::ERASURES,
                body: record::encode(VERSION, &order).expose().to_vec().into(),
            }));
            Ok(Answer::of(object(json!({ "order": hex::encode(&mark) }))))
        }
        Request::Status => {
            let Some(row) = row else {
                return Ok(Answer::of(object(json!({ "order": Value::Null }))));
            };
            let order = Order::of(&row)?;
            let terms = txn.barrier().keyring().generations(Series::Data);
            let oldest = terms.map(|(number, _)| number).min();
            Ok(Answer::of(object(json!({
                "order": hex::encode(&order.mark),
                "index": row.rev.index,
                "begun": timestamp(row.counters[0]),
                "keys_gone": oldest.is_some_and(|oldest| oldest > order.term),
                "root_key_replaced": root_epoch > order.root_epoch,
            }))))
        }
    }
}

/// Adds to what is told how far each member is.
pub(crate) fn complete(node: &Node, reply: Reply) -> Result<Reply, Failure> {
    let Reply::Json { data, warnings } = reply else {
        return Ok(reply);
    };
    let unreadable = |_| Failure::internal("what is told of the erasure cannot be read");
    let mut told: Object = serde_json::from_slice(data.expose()).map_err(unreadable)?;
    let mark = told.get("order").and_then(Value::as_str).and_then(hex::decode_all);
    if let Some(mark) = mark {
        let (nodes, is_whole) = node.erasures.told(&mark, &node.consensus.status());
        told.insert("nodes".to_owned(), nodes);
        told.insert("erased".to_owned(), is_whole.into());
    }
    let data = crate::ops::encode_object(Some(told))?;
    Ok(Reply::Json { data, warnings })
}

/// How far this node is, and what the others have told.
#[derive(Default)]
pub(crate) struct Erasures {
    known: Mutex<BTreeMap<NodeId, Erased>>,
    own: Mutex<Erased>,
}

impl Erasures {
    /// Takes note of what a peer has told.
    pub(crate) fn hear(&self, peer: NodeId, erased: Erased) {
        lock(&self.known).insert(peer, erased);
    }

    /// What each member has said of an order, and whether all have carried it out.
    fn told(&self, mark: &[u8], status: &Status) -> (Value, bool) {
        let own = *lock(&self.own);
        let mut known = lock(&self.known);
        known.retain(|id, _| status.members.iter().any(|member| member.id == *id));
        let mut is_whole = true;
        let nodes = status.members.iter().map(|member| {
            let erased = if member.id == status.node {
                Some(own)
            } else {
                known.get(&member.id).copied()
            };
            let is_done = erased.is_some_and(|erased| erased.mark == mark);
            is_whole &= is_done;
            let (state, waits_for) = match erased {
                _ if is_done => ("done", None),
                Some(Erased {
                    obstacle: Some(obstacle),
                    ..
                }) => ("waiting", Some(name(obstacle))),
                Some(_) => ("running", None),
                None => ("unknown", None),
            };
            json!({
                "node_id": member.id.0,
                "name": member.name,
                "state": state,
                "index": erased.filter(|_| is_done).map(|erased| erased.index.0),
                "waits_for": waits_for,
            })
        });
        (nodes.collect(), is_whole)
    }
}

impl Node {
    /// How far this node is with erasing what was replaced.
    #[must_use]
    pub fn erased(&self) -> Erased {
        *lock(&self.erasures.own)
    }

    /// Takes note of how far this node is.
    pub fn note_erased(&self, erased: Erased) {
        *lock(&self.erasures.own) = erased;
    }
}

/// What a node waits for, in words.
const fn name(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Reader => "a backup that is being written from what was there before",
        Obstacle::Room => "room on the disk, to write all rows once more",
        Obstacle::Log => "the log, which is kept while a member that is there needs it",
        Obstacle::Transfer => "a snapshot that is on its way, or broke off in the last ten minutes",
        Obstacle::SetAside => "what was set aside in its data directory (damaged-N, replaced-N): remove it",
    }
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use aumbry_state::Member;
    use aumbry_types::LogIndex;

    use super::*;

    /// Nodes of different versions read the same row: its layout is frozen.
    #[test]
    fn the_layout_is_frozen() {
        let order = Order {
            mark: [7; 16],
            term: 3,
            root_epoch: 300,
        };
        let bytes = record::encode(VERSION, &order);
        let expected: Vec<u8> = [&[VERSION][..], &[7; 16], &[3, 0xac, 0x02]].concat();
        assert_eq!(bytes.expose(), expected);
        assert_eq!(record::decode::<Order>(VERSION, &expected).ok(), Some(order));
    }

    #[test]
    fn each_member_must_have_said_so_itself() {
        let member = |id| Member {
            id: NodeId(id),
            name: format!("n{id}"),
            peer_addr: String::new(),
            client_addr: String::new(),
            spki_pin: [0; 32],
            region: String::new(),
            zone: String::new(),
            voter: id != 3,
            matched: None,
        };
        let status = Status {
            node: NodeId(1),
            members: (1..=3).map(member).collect(),
            ..Status::default()
        };
        let erasures = Erasures::default();
        let done = Erased {
            mark: [5; 16],
            index: LogIndex(9),
            obstacle: None,
        };
        let states = |erasures: &Erasures| {
            let (nodes, is_whole) = erasures.told(&[5; 16], &status);
            let states = nodes.as_array().unwrap().iter();
            (
                states
                    .map(|node| node["state"].as_str().unwrap().to_owned())
                    .collect::<Vec<_>>(),
                is_whole,
            )
        };
        *lock(&erasures.own) = done;
        erasures.hear(NodeId(2), Erased { mark: [4; 16], ..done });
        assert_eq!(
            states(&erasures),
            (vec!["done".into(), "running".into(), "unknown".into()], false)
        );
        let obstacle = Some(Obstacle::Room);
        erasures.hear(
            NodeId(2),
            Erased {
                mark: [4; 16],
                obstacle,
                ..done
            },
        );
        erasures.hear(NodeId(3), done);
        assert_eq!(
            states(&erasures),
            (vec!["done".into(), "waiting".into(), "done".into()], false)
        );
        erasures.hear(NodeId(2), done);
        // Of one that is no member nothing is told.
        erasures.hear(NodeId(4), Erased::default());
        assert_eq!(states(&erasures), (vec!["done".into(); 3], true));
    }
}
