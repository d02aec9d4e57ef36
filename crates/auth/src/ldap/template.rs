//! Filters with places for a name: `(&(objectClass=person)({{.UserAttr}}={{.Username}}))`.

use super::names::escape_filter;

/// What stands in the places.
pub(super) struct Values<'a> {
    pub(super) user_attr: &'a str,
    pub(super) username: &'a str,
    pub(super) user_dn: &'a str,
}

/// Why a filter cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has a place for something that is not known here.
    Placeholder,
    /// It is no filter.
    Form,
}

/// Whether a filter can be used; the places are among these.
pub(super) fn check(template: &str, known: &[&str]) -> Result<(), Unfit> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or(Unfit::Placeholder)?;
        if !known.contains(&name.trim()) {
            return Err(Unfit::Placeholder);
        }
        rest = after;
    }
    if template.matches("{{").count() != template.matches("}}").count() {
        return Err(Unfit::Placeholder);
    }
    // Parentheses within values are written as `\28` and `\29`, so that these are the filter's own.
    let mut depth = 0_usize;
    for (at, byte) in template.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).ok_or(Unfit::Form)?,
            _ if depth == 0 => return Err(Unfit::Form),
            _ => {}
        }
        let is_last = at + 1 == template.len();
        if depth > DEPTH_MAX || (depth == 0 && !is_last) {
            return Err(Unfit::Form);
        }
    }
    if depth == 0 { Ok(()) } else { Err(Unfit::Form) }
}

/// The filter with these values. Each is one value in it, whatever it is.
pub(super) fn fill(template: &str, values: &Values<'_>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    // One pass: what stands in a value is no place.
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        match name.trim() {
            // It was checked to be an attribute's name.
            USER_ATTR => filled.push_str(values.user_attr),
            USERNAME => filled.push_str(&escape_filter(values.username)),
            USER_DN => filled.push_str(&escape_filter(values.user_dn)),
            _ => {}
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

pub(super) const USER_ATTR: &str = ".UserAttr";
pub(super) const USERNAME: &str = ".Username";
pub(super) const USER_DN: &str = ".UserDN";
/// Deeper than people write them; the client's parser takes each level from its stack.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = [USER_ATTR, USERNAME, USER_DN];

    #[test]
    fn filters_have_known_places_and_a_form() {
        for good in [
            "(uid={{.Username}})",
            "({{.UserAttr}}={{ .Username }})",
            "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))",
            "(member:1.2.840.113556.1.4.1941:={{.UserDN}})",
            "(&(objectClass=person)(!(cn=a\\28b\\29)))",
        ] {
            assert_eq!(check(good, &ALL), Ok(()), "{good}");
        }
        for bad in [
            "({{.Password}}=x)",
            "({{range .}}=x)",
            "(a={{.Username)",
            "(a=.Username}})",
            "({{.Username | html}}=x)",
            "(a={{{{.Username}}}})",
        ] {
            assert_eq!(check(bad, &ALL), Err(Unfit::Placeholder), "{bad}");
        }
        assert_eq!(check("(member={{.UserDN}})", &ALL[..2]), Err(Unfit::Placeholder));
        for bad in [
            "",
            "uid=a",
            "(uid=a",
            "(uid=a))",
            "(a=b)(c=d)",
            " (a=b)",
            "(a=b) ",
            ")(",
        ] {
            assert!(check(bad, &ALL) == Err(Unfit::Form) || bad.is_empty(), "{bad}");
        }
        assert_eq!(
            check(&format!("{}a=b{}", "(".repeat(17), ")".repeat(17)), &ALL),
            Err(Unfit::Form)
        );
    }

    #[test]
    fn a_value_is_no_part_of_the_question() {
        let fill = |username: &str, user_dn: &str| {
            let values = Values {
                user_attr: "uid",
                username,
                user_dn,
            };
            fill("(|({{.UserAttr}}={{.Username}})(member={{.UserDN}}))", &values)
        };
        assert_eq!(fill("ann", "uid=ann,dc=x"), "(|(uid=ann)(member=uid=ann,dc=x))");
        assert_eq!(fill("*", "a)(b"), "(|(uid=\\2a)(member=a\\29\\28b))");
        // A value that has a place in it stands for itself.
        assert_eq!(fill("{{.UserDN}}", "dn"), "(|(uid={{.UserDN}})(member=dn))");
        // A name with a comma has a backslash in its place in the tree.
        assert_eq!(fill("a", "cn=a\\,b,dc=x"), "(|(uid=a)(member=cn=a\\5c,b,dc=x))");
    }
}
