//! openraft's own conformance tests, on the real stores.

use std::sync::Arc;

use aumbry_storage::{DataDir, LogDb};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::TypeConfig;

struct Builder;

/// What must live as long as the stores: the directory and its lock.
type Guard = (tempfile::TempDir, DataDir);

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, StateMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = DataDir::open(&directory.path().join("data")).expect("a data directory");
        let log = LogDb::open(&data.log()).expect("a log");
        let machine = StateMachine::open(data.state(), data.audit(), data.snapshots()).expect("a state machine");
        Ok(((directory, data), LogStore::new(Arc::new(log)), machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_conform() {
    Suite::test_all(Builder).await.expect("conforms");
}
