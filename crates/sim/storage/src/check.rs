//! The names of the parts of a data directory.

/// A part of what a node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The Raft log with the vote.
    Log,
    /// The applied rows.
    State,
}

impl Part {
    /// The word for it, for people and programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::State => "state",
        }
    }
}
