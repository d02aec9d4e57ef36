//! Deterministic simulation of whole clusters: the code of nodes as it is, from the request pipeline to openraft, on a simulated network and on simulated
//! disks, with simulated time and chance. One seed gives one run, event by event.

mod ask;
mod audit;
mod client;
mod cluster;
mod command;
mod custody;
mod faults;
mod gateway;
mod mutation;
mod nemesis;
mod observe;
mod operator;
mod process;
mod run;
mod schedule;
mod tenants;

pub use command::command;
pub use run::{Mutation, Options, Report, run};
pub use schedule::Schedule;
