//! Which of an operator's limits count a token, beside those that its own containers keep: it stands by its accessor in a container of each, and leaves it with its row.

use aumbry_barrier::{InsertError, Kind, Txn};
use aumbry_types::ObjectId;

/// Enters a new token where it is counted. Gives the containers, which stand in its record.
pub(super) fn enter(
    txn: &mut Txn<'_>,
    (path, role): (&str, &str),
    accessor: &str,
    id: ObjectId,
) -> Result<Vec<ObjectId>, InsertError> {
    let Some(limits) = txn.limits() else {
        return Ok(Vec::new());
    };
    let counts = limits.counted().iter().filter(|counted| {
        let for_role = counted.role.is_empty() || counted.role == role;
        for_role && is_below(&counted.path, path)
    });
    let containers: Vec<ObjectId> = counts.map(|counted| counted.container).collect();
    for container in &containers {
        txn.insert(*container, accessor, Kind::Counted, id)?;
    }
    Ok(containers)
}

/// Whether a path is one that a limit speaks of: this one, one below it, or one that begins so if it ends in `*`. Nothing stands for every path.
#[must_use]
pub fn is_below(limited: &str, path: &str) -> bool {
    if let Some(prefix) = limited.strip_suffix('*')
        && path.starts_with(prefix)
    {
        return true;
    }
    let whole = limited.trim_end_matches('*').trim_end_matches('/');
    let rest = path.strip_prefix(whole);
    limited.is_empty() || path == limited || rest.is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_speak_of_whole_names() {
        let check = |limited: &str, path: &str, expect: bool| {
            assert_eq!(is_below(limited, path), expect, "{limited:?} {path:?}");
        };
        check("", "auth/approle/login", true);
        check("auth/approle", "auth/approle/login", true);
        check("auth/approle", "auth/approle2/login", false);
        check("auth/approle*", "auth/approle2/login", true);
        check("auth/userpass/login/ann", "auth/userpass/login/ann", true);
        check("auth/userpass/login/ann", "auth/userpass/login/anna", false);
        check("auth/userpass/login/ann*", "auth/userpass/login/anna", true);
        check("auth/userpass/login/", "auth/userpass/login/ann", true);
        check("auth/token/create", "auth/token/create", true);
        check("auth/token/create", "auth/token/create/ci", true);
        check("auth/token/create/ci", "auth/token/create", false);
    }
}
