//! What the tests of the state machine share.

#![allow(dead_code, reason = "each test binary compiles this module and uses a part of it")]

use std::collections::BTreeMap;

use aumbry_state::{
    ApplyError, Command, Counters, Entry, EntryHeader, EntryResult, Input, Machine, MemoryView, Payload, Precondition,
    Put, Write, key,
};
use aumbry_types::{CommandId, LeaderId, LogId, LogIndex, NodeId, ObjectId, Term};
use bytes::Bytes;

/// A state machine with its rows.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) view: MemoryView,
    pub(crate) index: u64,
    pub(crate) results: Vec<EntryResult>,
    pub(crate) bodies: Vec<(LogIndex, Vec<u8>)>,
}

impl Store {
    /// Applies these payloads in one call, with a machine that was loaded from the rows.
    pub(crate) fn apply(&mut self, payloads: &[Payload<'_>]) -> Result<(), ApplyError> {
        let mut machine = self.machine();
        let inputs: Vec<Input<'_>> = (self.index + 1..)
            .zip(payloads)
            .map(|(index, payload)| Input {
                log_id: log_id(index),
                payload: *payload,
            })
            .collect();
        let applied = machine.apply(&self.view, &inputs)?;
        self.index += payloads.len() as u64;
        self.view.write(applied.rows);
        self.results.extend(applied.results);
        self.bodies.extend(applied.bodies);
        Ok(())
    }

    /// Applies one entry with these commands at this log time; gives their outcomes.
    pub(crate) fn commit(&mut self, log_time: u64, commands: Vec<Command>) -> Vec<aumbry_state::Outcome> {
        let entry = entry(log_time, commands);
        self.apply(&[Payload::Command(&entry)]).expect("this build wrote it");
        self.results.last().expect("was applied").outcomes.clone()
    }

    pub(crate) fn machine(&self) -> Machine {
        Machine::load(&self.view).expect("loads what it stored")
    }

    pub(crate) fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.view.rows()
    }
}

pub(crate) fn log_id(index: u64) -> LogId {
    LogId {
        leader: LeaderId {
            term: Term(3),
            node: NodeId(2),
        },
        index: LogIndex(index),
    }
}

pub(crate) fn entry(log_time: u64, commands: Vec<Command>) -> Bytes {
    let header = EntryHeader {
        log_time,
        wall_time: log_time + 7,
    };
    let audit = Bytes::from_static(b"audit");
    Entry {
        header,
        commands,
        audit,
    }
    .encode()
}

pub(crate) fn command(n: u64, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Command {
    Command {
        id: command_id(n),
        preconditions,
        writes,
        commitment: [n as u8; 32],
    }
}

pub(crate) fn command_id(n: u64) -> CommandId {
    let mut id = [0xc0; 16];
    id[8..].copy_from_slice(&n.to_be_bytes());
    CommandId::from_bytes(id)
}

pub(crate) fn object(n: u8) -> ObjectId {
    ObjectId::from_bytes([n; 16])
}

/// The entry of child `n` in container `c`.
pub(crate) fn child(c: u8, n: u8) -> Bytes {
    key::directory(object(c), [n; 16])
}

pub(crate) fn put(key: Bytes) -> Write {
    put_with(key, 0, Counters::Keep)
}

pub(crate) fn put_with(key: Bytes, expires_at: u64, counters: Counters) -> Write {
    Write::Put(Put {
        key,
        kind: 3,
        expires_at,
        counters,
        key_term: 1,
        container: object(0),
        body: Bytes::from_static(b"body"),
    })
}
