//! What the black-box tests share: a cluster of real processes, and ways to look for what must not be found.
//!
//! Everything waits on conditions with a deadline; nothing sleeps to let something happen.

mod canary;
mod cluster;
mod lab;
mod proxy;
mod records;
mod server;
mod states;

pub use canary::{Canaries, search};
pub use cluster::{Cluster, NodeEnv, binary, eventually, run_cli};
pub use lab::{Lab, in_namespace};
pub use proxy::Proxy;
pub use records::{Recorded, records};
pub use server::{Certificates, Server, Unusual, free_address};
pub use states::equal_states;
