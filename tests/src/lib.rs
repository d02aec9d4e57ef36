//! What the black-box tests share: a cluster of real processes, and ways to look for what must not be found.
//!
//! Everything waits on conditions with a deadline; nothing sleeps to let something happen.

mod canary;
mod certificates;
mod cluster;
mod collector;
mod damage;
mod development;
mod disk;
mod fleet;
mod gate;
mod http;
mod lab;
mod load;
mod memory;
mod native;
mod own;
mod ports;
mod proxy;
mod rack;
mod records;
mod runbook;
mod scrape;
mod server;
mod share;
mod slapd;
mod softhsm;
mod states;
mod stubs;
mod tls;
pub mod torture;
mod trio;
mod volume;
mod web;

pub use canary::{Canaries, Form, Found, plant_everywhere, search};
pub use certificates::{Authority, Pair};
pub use cluster::{Cluster, NodeEnv, binary, eventually, run_cli};
pub use collector::{Collector, Manner, Taken};
pub use damage::{
    Dice, copy_directory, files_below, flip, flip_middle, flip_middle_of_log, is_clear, log_end, newest, operator,
    tell, used_bytes,
};
pub use development::Development;
pub use disk::Disk;
pub use fleet::Fleet;
pub use gate::Gate;
pub use http::{Answered, ask, ask_on, send_on};
pub use lab::{Lab, in_mount_namespace, in_namespace};
pub use load::{Ledger, Load};
pub use memory::{Searched, can_read_memory, search_memory};
pub use own::Own;
pub use ports::{free_address, free_base, free_ports};
pub use proxy::Proxy;
pub use rack::{Disks, Rack, Setup};
pub use records::{Recorded, records, records_from};
pub use runbook::Page;
pub use scrape::{metric, scrape};
pub use server::{Certificates, Refusal, Server, Unusual};
pub use share::{combine_shares, decode_share};
pub use slapd::Slapd;
pub use softhsm::SoftHsm;
pub use states::equal_states;
pub use stubs::{Asked, EtcdStub, Stall, VaultStub};
pub use tls::{Watch, call_grpc, connect, der, shown};
pub use trio::{Trio, get, put};
pub use volume::{Volume, can_mount};
pub use web::{WebAsked, WebReply, WebStub};
