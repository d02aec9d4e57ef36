//! A store of one node for the tests of plans. The crates above include this file too.

#![allow(dead_code, reason = "each test binary compiles this module and uses a part of it")]

use std::sync::Arc;

use aumbry_barrier::{Barrier, ListCache, Txn};
use aumbry_crypto::keyring::Keyring;
use aumbry_state::{
    At, Command, Entry, EntryHeader, Input, Machine, MemoryView, Outcome, Overlay, Payload, View, execute,
};
use aumbry_types::{LogId, LogIndex, LogTime, SimulatedEntropy, StorageId};

/// Plans on applied rows with changes in flight on top, and applies what was planned.
pub(crate) struct Bed {
    pub(crate) view: Arc<MemoryView>,
    pub(crate) overlay: Overlay<Arc<dyn View>>,
    pub(crate) barrier: Barrier,
    pub(crate) lists: ListCache,
    pub(crate) entropy: SimulatedEntropy,
    /// The log time, in milliseconds.
    pub(crate) now: u64,
    index: u64,
}

impl Bed {
    pub(crate) fn new(seed: u64) -> Self {
        let entropy = SimulatedEntropy::new(seed);
        let view = Arc::new(MemoryView::default());
        let base: Arc<dyn View> = Arc::<MemoryView>::clone(&view);
        let barrier = Barrier::new(StorageId::make(&entropy), Keyring::make(&entropy));
        Self {
            view,
            overlay: Overlay::new(base),
            barrier,
            lists: ListCache::default(),
            entropy,
            now: 1_700_000_000_000,
            index: 0,
        }
    }

    /// Plans without applying.
    pub(crate) fn plan<T>(&self, plan: impl FnOnce(&mut Txn<'_>) -> T) -> (T, Command) {
        let mut txn = Txn::new(
            &self.overlay,
            &self.barrier,
            &self.lists,
            &self.entropy,
            LogTime(self.now),
        );
        let planned = plan(&mut txn);
        (planned, txn.finish([0; 32]))
    }

    /// Plans, and applies at once.
    pub(crate) fn run<T>(&mut self, plan: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        let (planned, command) = self.plan(plan);
        assert_eq!(self.apply(&command), Outcome::Ok, "nothing came between plan and apply");
        planned
    }

    /// Executes a command on the state in flight, as the leader does before it is proposed.
    pub(crate) fn fly(&mut self, command: &Command) -> Outcome {
        let at = At {
            log_time: self.now,
            ..At::default()
        };
        execute(&mut self.overlay, command, at)
    }

    /// Loses all that is in flight.
    pub(crate) fn lose_flight(&mut self) {
        self.overlay.clear();
        self.lists.clear();
    }

    /// Applies a command in an entry of its own.
    pub(crate) fn apply(&mut self, command: &Command) -> Outcome {
        self.index += 1;
        let header = EntryHeader {
            log_time: self.now,
            wall_time: self.now,
        };
        let entry = Entry {
            header,
            commands: vec![command.clone()],
            audit: Default::default(),
        };
        let bytes = entry.encode();
        let log_id = LogId {
            index: LogIndex(self.index),
            ..LogId::default()
        };
        let input = Input {
            log_id,
            payload: Payload::Command(&bytes),
        };
        let mut machine = Machine::load(&*self.view).expect("loads what it stored");
        let applied = machine.apply(&*self.view, &[input]).expect("this build wrote it");
        self.view.write(applied.rows);
        applied.results[0].outcomes[0]
    }
}
