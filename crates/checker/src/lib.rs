//! Judges what a test run recorded: whether the clients' operations can be put into one order that explains every answer, and
//! whether what must always hold held on every node.
//!
//! What it guarantees: a violation is never the checker's opinion. It names operations that no order explains, or two facts that
//! exclude each other. What could not be decided within the budget is `Unknown`, never a pass.
//! What it does not do: run anything, read a clock, or know how the records were made. Simulated and real runs give it the same data.
//!
//! [`check`] searches for the order, secret by secret, token by token; it is exact, and for up to some 10^5 operations. [`oracle`]
//! looks for known shapes of wrong in linear time. [`invariants`] is what a whole run is asked.

mod check;
mod history;
pub mod invariants;
pub mod model;
pub mod oracle;
mod partition;
mod search;
mod verdict;

pub use check::check;
pub use history::{Content, End, Event, Fate, History, Operation, Reply, Unreadable};
pub use verdict::{Budget, Stuck, Verdict, Violation};
