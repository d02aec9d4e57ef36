//! The question and the answer.

use core::fmt;

use aumbry_types::Capability;

/// What somebody wants to do.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The whole path, mount first, as the caller checked it; compared byte by byte.
    pub path: &'a str,
    /// What is wanted there.
    pub capability: Capability,
    /// Whether the path is root-protected, so that `sudo` is needed beside the capability.
    pub sudo: bool,
}

/// Whether it may be done, and who decided that.
#[derive(Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the access is allowed.
    pub allowed: bool,
    /// The names of the policies whose rules decided, sorted, each once; empty if no rule matched.
    pub policies: Vec<String>,
    /// The deciding pattern; `None` if no rule matched, and for root.
    pub rule: Option<String>,
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decision")
            .field("allowed", &self.allowed)
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}
