//! Why there is no report.

/// What keeps a run from being made. Requests that fail are no error: the report counts them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong, alone or with another one.
    #[error("{0}")]
    Setting(String),
    /// No connection could be made before the run.
    #[error("cannot connect to {address}: {why}; is a server running there, and is --ca-cert its authority?")]
    Connect {
        /// Where.
        address: String,
        /// What the system, or TLS, says.
        why: String,
    },
    /// The metrics of a node could not be read.
    #[error("cannot read the metrics at {address}: {why}; name the metrics listeners with --metrics, or leave it out")]
    Metrics {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// A process is not there.
    #[error("there is no process {0} on this machine; --pids takes the servers' process ids")]
    Process(u32),
    /// A key could not be written before the run.
    #[error("key {key} could not be written: {kind}; check the token and the path, or that the servers serve")]
    Prepare {
        /// Its number.
        key: u64,
        /// The kind of failure.
        kind: String,
    },
    /// The system refused what the generator itself needs.
    #[error("the generator cannot run: {0}")]
    System(#[from] std::io::Error),
}
