//! Parse policies and decide: pure.
//!
//! # Semantics
//! A policy is a list of rules; a rule gives capabilities on a [`Pattern`] of paths:
//!
//! | pattern | matches |
//! | --- | --- |
//! | `a/b` | that path alone |
//! | `a/b*` | every path that begins with `a/b`; `*` stands at the end only |
//! | `a/+/c` | exactly one whole, non-empty segment for each `+` |
//!
//! 1. **The most specific matching pattern decides alone**, from whichever policy it comes. A pattern is less specific
//!    if its first wildcard comes earlier; then if it ends in `*` and the other does not; then if it has more `+`; then if
//!    it is shorter; then if it is lexicographically smaller. This is the order that Vault documents.
//! 2. The same pattern in several policies gives the **union** of their capabilities, and a `deny` among them refuses.
//! 3. **A deny refuses all that it matches**, unless a strictly more specific pattern allows what is asked. So a more
//!    specific rule for another capability does not lift it.
//! 4. What no rule allows is refused.
//! 5. `LIST` and `SCAN` look at `a/private` and `a/private/` alike, whichever was asked: refused if rule 3 refuses
//!    either form, allowed if either is allowed and neither denied. Otherwise one slash would walk around a deny.
//! 6. `SCAN` of `a` shows the whole tree, so a deny that could match anything that begins with `a/` refuses it too, unless
//!    the rule that allows the scan ends in `*` and is more specific than that deny.
//! 7. A root-protected path needs `sudo` and the plain capability, both of the deciding pattern. Nothing implies `sudo`: a rule on
//!    `*` with all other capabilities does not give it.
//!
//! # Syntax
//! HCL with literals only, as Vault reads it (version 1 of the language), or JSON (the first character is `{`):
//!
//! ```text
//! path "secret/data/app/*" { capabilities = ["read", "list"] }
//! secret "secret/app/*"    { capabilities = ["read"] }   # about the secret, see below
//! {"path": {"secret/data/app/*": {"capabilities": ["read", "list"]}}}
//! ```
//!
//! A `secret` block speaks of secrets of a versioned key-value engine rather than of its routes. The mount is the first
//! segment, or the attribute `mount`, which repeats the beginning of the pattern for a mount of several segments:
//!
//! | capability | becomes |
//! | --- | --- |
//! | `read`, `create`, `update`, `patch` | the same on `MOUNT/data/` |
//! | `list`, `scan` | the same on `MOUNT/metadata/` |
//! | `delete` | `delete` on `data/` and `metadata/`; `update` on `delete/`, `undelete/` and `destroy/` |
//! | `deny` | `deny` on all of these, and on `subkeys/` |
//!
//! Reading or changing metadata takes a `path` block: whoever lowers the number of kept versions destroys values, and
//! `update` of a secret is not meant to. If a `path` block of the same policy has a pattern that an expansion yields, the
//! two are united as if they were of two policies. The old `policy = "read"`, `"write"`, `"sudo"`, `"deny"` is accepted in a `path` block.
//!
//! # Guarantees
//! - [`PolicySet::decide`] is a function of the policies and the access alone: no clock, no random source, no map's order.
//! - [`Policy::parse`] never panics, takes bounded memory and stack, and refuses whatever it does not understand:
//!   a restriction that is ignored would be a leak.
//!
//! # What it does not do
//! - It does not check the path of an access: the caller has parsed it, and it is compared byte by byte.
//! - Rules on parameters, templates in patterns (`{{..}}`) and wrapping times are refused, not ignored.
//! - A pattern is at most 32 segments and 1,024 bytes, and a name that contains `+` or `*` is reached by a prefix only.

mod access;
mod document;
mod error;
mod hcl;
mod index;
mod json;
mod pattern;
mod policy;
mod scan;
mod secret;
mod set;
#[cfg(test)]
mod tests;

pub use crate::access::{Access, Decision};
pub use crate::error::{ParseError, Reason};
pub use crate::pattern::{Pattern, PatternError};
pub use crate::policy::{Policy, Rule};
pub use crate::set::PolicySet;
