//! Between messages and what the pipeline knows. Whatever a client can send is checked here, and never repeated in an error.

mod call;
mod failure;
mod reply;

pub(crate) use call::operation;
pub(crate) use failure::failure;
pub(crate) use reply::answer;
