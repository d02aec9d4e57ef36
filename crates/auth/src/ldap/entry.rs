//! What the mount itself says of users and groups.

use aumbry_logical::{Body, Object};
use serde::{Deserialize, Serialize};

use crate::answer::{Error, object, policy_names, texts};
use crate::fields;
use crate::token::check_policies;

/// The name of a user or group, as a directory has it: anything of one line and without a slash. In lower case, as paths are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName(String);

impl crate::kept::Stored for Entry {}

impl EntryName {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        if !is_name(text) {
            return Err(Error::Invalid(
                "a name has 1 to 128 bytes, without a slash or control characters",
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// As it stands in rows.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether somebody or a group can have this name.
pub(super) fn is_name(text: &str) -> bool {
    let is_fine = |c: char| !c.is_control() && c != '/';
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(is_fine)
}

/// A user or a group.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) policies: Vec<String>,
    /// The groups that a user is in whatever the directory says. A group has none.
    pub(super) groups: Vec<String>,
}

impl Entry {
    /// Takes over the values that the body names.
    pub(super) fn merge(&mut self, body: &Body, is_user: bool) -> Result<(), Error> {
        if let Some(mut policies) = policy_names(body, "policies")? {
            check_policies(&policies).map_err(Error::Invalid)?;
            if policies.iter().any(|policy| policy == "root") {
                return Err(Error::Invalid("no login gives the policy `root`"));
            }
            policies.sort_unstable();
            policies.dedup();
            self.policies = policies;
        }
        if !is_user {
            return Ok(());
        }
        if let Some(groups) = fields::texts(body, "groups")? {
            if !groups.iter().all(|group| is_name(group)) {
                return Err(Error::Invalid(
                    "a group's name has 1 to 128 bytes, without a slash or control characters",
                ));
            }
            self.groups = groups;
        }
        Ok(())
    }

    /// What is told of it.
    pub(super) fn render(&self, is_user: bool) -> Object {
        let mut data = object([("policies", texts(&self.policies))]);
        if is_user {
            data.insert("groups".to_owned(), texts(&self.groups));
        }
        data
    }
}

/// Longer ones are nobody's in the directories that we know; as long as the name of a user elsewhere here.
const NAME_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_line_and_one_segment() {
        for (text, expected) in [
            ("ann", Some("ann")),
            ("Domain Admins", Some("domain admins")),
            ("a.b@c", Some("a.b@c")),
            ("*", Some("*")),
            ("\u{c4}rzte", Some("\u{c4}rzte")),
            ("", None),
            ("a/b", None),
            ("a\0", None),
            ("a\n", None),
            ("\u{85}", None),
        ] {
            let found = EntryName::parse(text).ok();
            assert_eq!(found.as_ref().map(EntryName::as_str), expected, "{text:?}");
        }
        assert!(is_name(&"a".repeat(128)) && !is_name(&"a".repeat(129)));
    }
}
