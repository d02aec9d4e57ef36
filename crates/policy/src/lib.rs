//! Parse policies and decide: pure. Beside that, explain a decision ([`PolicySet::explain`]), look for mistakes ([`lint`]) and check expectations
//! ([`expect`]). Policies of passwords ([`PasswordPolicy`]) share the language, and nothing else.
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
//! 8. **Restrictions** of the deciding pattern must be kept, or the access is refused. What several policies ask for one pattern is united: of
//!    parameters the lists grow, and a name without values swallows those with; of times and limits the lowest holds. One policy's restriction holds
//!    for what another gives. For `LIST` and `SCAN` those of both spellings must be kept.
//! 9. A rule whose `expiration` is past is not there, its denies and restrictions included.
//!
//! # Restrictions
//! A fact of a request that the caller does not give is not there, and a rule that asks for it refuses.
//!
//! | key | means |
//! | --- | --- |
//! | `allowed_parameters` | a write has no other parameters than these; with values, only those; `"*" = []` allows all others |
//! | `denied_parameters` | a write has none of these; with values, not those. Overrides what is allowed. `"*" = []` denies all |
//! | `required_parameters` | a write has these, and not as null; `limit` is asked of lists too |
//! | `min_wrapping_ttl`, `max_wrapping_ttl` | the response must be wrapped, for no shorter or longer |
//! | `pagination_limit` | a list has at most so many names: more is refused, and a request that does not say gets so many |
//! | `expiration` | the rule holds up to this moment: RFC 3339, or seconds since 1970 |
//!
//! A write is `create`, `update` or `patch`. Of a read, `allowed_parameters` and `denied_parameters` hold for the parameters that it has. Parameters are the
//! top-level keys of a request's body: of a versioned key-value engine's `data/`, they are `data` and `options`. Names are
//! compared in lower case; those required must be spelt so. A value that begins or ends with `*` stands for all that ends or begins so. Each element
//! of a list counts by itself. To be allowed, a value must be of the type that the rule names; to be denied it is enough that an engine could take it for
//! a denied one (`"true"` for `true`, `"8"` for 8, `"a,b"` for a list), and what cannot be compared, as an object, is refused where values are named.
//!
//! # Templates
//! A pattern may speak of whoever asks: `{{identity.entity.id}}`, `.name`, `.metadata.KEY`;
//! `{{identity.entity.aliases.ACCESSOR.id}}`, `.name`, `.metadata.KEY`, `.custom_metadata.KEY`; `{{identity.groups.ids.ID.name}}`,
//! `.metadata.KEY`; `{{identity.groups.names.NAME.id}}`, `.metadata.KEY`. A value that is missing or empty, or has `*`, `+`, `/`, `,`, `{`, `}` or a control
//! character, or does not make a pattern, is no value. A rule without a value gives nothing. **A deny without a value denies all that it could mean**, each
//! segment with such a template being any segment, or the whole tree from there if the value has a slash, and no more specific rule lifts it.
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
//! - [`PolicySet::decide`] is a function of the policies, the identity and the access alone, the time among its facts: no clock, no random source, no
//!   map's order.
//! - It looks at each node of the tree of patterns once at most, however the path is made.
//! - [`Policy::parse`] never panics, takes bounded memory and stack, and refuses whatever it does not understand:
//!   a restriction that is ignored would be a leak.
//!
//! # What it does not do
//! - It does not check the path of an access: the caller has parsed it, and it is compared byte by byte.
//! - It cuts no list and wraps no response: [`Decision`] says what is left to enforce.
//! - `control_group`, `mfa_methods`, `list_scan_response_keys_filter_path`, `subscribe_event_types`, `conditions` and `mcp` are refused, not ignored.
//! - A pattern is at most 32 segments and 1,024 bytes, and a name that contains `+` or `*` is reached by a prefix only.

mod access;
mod body;
mod document;
mod entry;
mod error;
pub mod expect;
mod explain;
mod grant;
mod hcl;
pub mod identity;
mod index;
mod json;
mod judgement;
pub mod lint;
mod moment;
mod number;
mod parameters;
mod password;
mod pattern;
mod policy;
mod prune;
mod restrictions;
mod said;
mod scan;
mod secret;
mod set;
mod template;
#[cfg(test)]
mod tests;

pub use crate::access::{Access, Decision, Limit, Parameter, ParameterValue};
pub use crate::body::with_parameters_of;
pub use crate::error::{ParseError, Reason};
pub use crate::explain::{Explanation, Match, UnresolvedRule};
pub use crate::identity::Identity;
pub use crate::password::{PasswordPolicy, PasswordPolicyError};
pub use crate::pattern::{Pattern, PatternError};
pub use crate::policy::{Policy, Rule};
pub use crate::prune::{Pruned, prune};
pub use crate::set::PolicySet;
