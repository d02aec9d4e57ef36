//! Who is behind a token: entities, the aliases under which auth methods know them, and groups of them.
//!
//! What it guarantees: an alias belongs to one entity at a time, and never goes to another unasked; what policies speak of an alias is what this very
//! login told, whatever other aliases the entity has on its mount. What it does not do: decide who may change an entity; it says which entities a
//! request would change, so that the caller can.

mod alias;
mod aliases;
mod entity;
mod group;
mod groups;
mod login;
mod merge;
pub mod mfa;
mod plan;
mod request;
mod show;
mod who;

pub(crate) use entity::remove;
pub use login::{LoggedIn, log_in};
pub use plan::{exists, plan, touched};
pub use request::{By, Request};
pub use who::{Groups, Mounts, NamedMount, Who, WhoError, who};
