//! A load generator for Aumbry, and for what it is compared with.
//!
//! What it guarantees:
//! - Latency counts from the moment at which a request was to be sent. In an open loop that is the schedule, whatever the server did to
//!   earlier requests; so a stall shows in every request that it delayed.
//! - What a request costs the servers is told by the kernel for the same window in which the replies are counted.
//! - What the generator itself costs is told beside it. Requests are encoded once; only the digits of the key and of the request id
//!   are written anew.
//!
//! What it does not do: try anything again, look into replies beyond their status, or clean up what it wrote.

mod error;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod link;
mod load;
mod metrics;
mod pacer;
mod plan;
mod process;
mod report;
mod rpc;
mod run;
mod sdk;
mod sequence;
mod stream;
mod tally;
mod target;
mod template;

pub use error::Error;
pub use plan::{Channel, Idempotency, Loop, Mix, Plan, Role, Target};
pub use report::Report;
pub use run::{Progress, run};
