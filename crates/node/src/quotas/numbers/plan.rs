//! Plans a request about limits on numbers.

use aumbry_auth::{Answer, Error, LIMITS, revoke_container};
use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_logical::{Body, Object};
use aumbry_types::{Name, ObjectId};
use serde_json::{Value, json};

use super::request::{Ask, Family, Request};
use super::{Number, Placed, VERSION, What, counter};
use crate::mounts::AuthCache;
use crate::quotas::plan::{PATH_BYTES_MAX, parse_path};

/// Plans a request. A change bumps the namespace's generation, which is the caller's to do.
pub(in crate::quotas) fn plan(txn: &mut Txn<'_>, auth: &mut AuthCache, request: &Request) -> Result<Answer, Error> {
    let family = request.family;
    let numbers = auth.numbers(txn)?;
    let of_family = || numbers.iter().filter(|placed| placed.number.what.family() == family);
    let find = |name: &Name| of_family().find(|placed| placed.number.name == name.as_str());
    match &request.ask {
        Ask::Write(name, body) => {
            let known = find(name);
            if known.is_none() && numbers.len() >= NUMBERS_MAX {
                return Err(Error::Invalid("there are 1,000 limits on numbers, which is the most"));
            }
            let tree = auth.tree(txn)?;
            let number = merge(family, name, known.map(|placed| placed.number.clone()), body)?;
            let placed = Placed::new(&tree, ObjectId::make(txn.entropy()), number);
            check(&placed)?;
            let others = || {
                numbers
                    .iter()
                    .filter(|other| known.is_none_or(|known| known.id != other.id))
            };
            if others().any(|other| is_same(&other.number, &placed.number)) {
                return Err(Error::Invalid("another quota holds for this path, role and kind"));
            }
            check_overlap(others().chain([&placed]))?;
            write(txn, known, &placed)?;
            Ok(Answer::done())
        }
        Ask::Read(name) => {
            let placed = find(name).ok_or(Error::NotFound)?;
            let count = counter(txn, auth, placed)?;
            Ok(Answer::of(show(placed, count)))
        }
        Ask::Delete(name) => {
            if let Some(placed) = find(name) {
                txn.remove(LIMITS, &key(placed))?;
                remove(txn, placed)?;
            }
            Ok(Answer::done())
        }
        Ask::List => {
            let names: Vec<&str> = of_family().map(|placed| placed.number.name.as_str()).collect();
            if names.is_empty() {
                return Err(Error::NotFound);
            }
            Ok(Answer::of(object(json!({ "keys": names }))))
        }
    }
}

/// Whether what a request is about is there.
pub(in crate::quotas) fn exists(txn: &mut Txn<'_>, request: &Request) -> Result<bool, Error> {
    match &request.ask {
        Ask::Write(name, _) => Ok(txn.lookup(LIMITS, &key_of(request.family, name.as_str()))?.is_some()),
        _ => Ok(true),
    }
}

fn merge(family: Family, name: &Name, known: Option<Number>, body: &Body) -> Result<Number, Error> {
    let is_new = known.is_none();
    let mut number = known.unwrap_or_else(|| Number {
        name: name.as_str().to_owned(),
        path: String::new(),
        role: String::new(),
        max: 0,
        inheritable: false,
        what: What::Leases,
    });
    let max = match family {
        Family::Leases => body.count("max_leases")?,
        Family::Objects => body.count("max_objects")?,
    };
    match max {
        Some(max) if max <= NUMBER_MAX => number.max = max,
        Some(_) => return Err(Error::Invalid("a number is limited to at most 1,000,000,000")),
        None if is_new && family == Family::Leases => return Err(Error::Invalid("max_leases is required")),
        None if is_new => return Err(Error::Invalid("max_objects is required")),
        None => {}
    }
    if family == Family::Objects {
        match body.text("kind")? {
            Some(kind) => {
                let found = What::OBJECTS.iter().find(|(name, _)| *name == kind);
                number.what = found.ok_or(Error::Invalid(KIND))?.1;
            }
            None if is_new => return Err(Error::Invalid(KIND)),
            None => {}
        }
    }
    let path = body.text("path")?;
    if let Some(path) = &path {
        number.path = parse_path(path)?;
    }
    if let Some(role) = body.text("role")? {
        number.role = role.to_ascii_lowercase();
    }
    // As in Vault, a limit of everything is one of all namespaces unless it is said not to be.
    let default = if is_new || path.is_some() {
        number.path.is_empty() && family == Family::Leases
    } else {
        number.inheritable
    };
    number.inheritable = body.flag("inheritable")?.unwrap_or(default);
    Ok(number)
}

/// Whether a limit means something.
fn check(placed: &Placed) -> Result<(), Error> {
    let Placed { number, rest, .. } = placed;
    if number.role.len() > PATH_BYTES_MAX || number.role.chars().any(char::is_control) {
        return Err(Error::Invalid("role is the name of a role"));
    }
    if number.inheritable && !rest.is_empty() {
        return Err(Error::Invalid(
            "only a limit of a namespace is inheritable: name one that is there as the path, and nothing behind it",
        ));
    }
    if number.what == What::Leases {
        return Ok(());
    }
    if !number.role.is_empty() {
        return Err(Error::Invalid("role is for tokens (sys/quotas/lease-count) alone"));
    }
    let is_method = number.what.is_of_method() && rest.starts_with("auth/") && !rest.ends_with('*');
    if !rest.is_empty() && !is_method {
        return Err(Error::Invalid(
            "path is a namespace that is there; for roles and secret-ids it can be an auth method, such as auth/approle",
        ));
    }
    Ok(())
}

/// Whether two limits count the same.
fn is_same(one: &Number, other: &Number) -> bool {
    let scope = |number: &Number| (number.what, number.inheritable);
    one.path == other.path && one.role == other.role && scope(one) == scope(other)
}

/// Each limit that counts a token by itself takes a row of it, so few may speak of one path. By texts, which is more than enough: of two that speak of one path one
/// begins with the other.
fn check_overlap<'a>(numbers: impl Iterator<Item = &'a Placed>) -> Result<(), Error> {
    let leases = numbers.filter(|placed| placed.number.what == What::Leases);
    let texts: Vec<(&str, &str)> = leases
        .map(|placed| {
            (
                placed.number.path.trim_end_matches(['*', '/']),
                placed.number.role.as_str(),
            )
        })
        .collect();
    let holds_for = |path: &str, role: &str| {
        let holds = |(above, of_role): &&(&str, &str)| {
            path.starts_with(above) && (of_role.is_empty() || role.is_empty() || *of_role == role)
        };
        texts.iter().filter(holds).count()
    };
    if texts.iter().any(|(path, role)| holds_for(path, role) > OVERLAP_MAX) {
        return Err(Error::Invalid(
            "at most 8 lease count quotas can speak of one path; delete one of those above or below it",
        ));
    }
    Ok(())
}

/// Writes a limit. One that speaks of something else than before counts anew, in a container of its own.
fn write(txn: &mut Txn<'_>, known: Option<&Placed>, placed: &Placed) -> Result<(), Error> {
    let mut id = placed.id;
    match known {
        Some(known) if is_same(&known.number, &placed.number) => {
            id = known.id;
        }
        Some(known) => {
            txn.remove(LIMITS, &key(known))?;
            remove(txn, known)?;
            txn.insert(LIMITS, &key(placed), Kind::Quota, id)?;
        }
        None => txn.insert(LIMITS, &key(placed), Kind::Quota, id)?,
    }
    let plain = record::encode(VERSION, &placed.number);
    txn.put_object(id, Kind::Quota, plain.expose(), ObjectOptions::default());
    Ok(())
}

/// Removes a limit whose name is removed. What it counted is swept; tokens go on.
fn remove(txn: &mut Txn<'_>, placed: &Placed) -> Result<(), Error> {
    txn.delete_object(placed.id);
    Ok(revoke_container(txn, placed.id)?)
}

fn show(placed: &Placed, counter: Option<u64>) -> Object {
    let Number {
        name,
        path,
        role,
        max,
        inheritable,
        what,
    } = &placed.number;
    let mut shown = json!({
        "name": name,
        "type": what.family().name(),
        "path": path,
        "inheritable": inheritable,
        "counter": counter,
    });
    match what {
        What::Leases => {
            shown["role"] = role.as_str().into();
            shown["max_leases"] = (*max).into();
        }
        _ => {
            shown["kind"] = what.name().into();
            shown["max_objects"] = (*max).into();
        }
    }
    object(shown)
}

fn key(placed: &Placed) -> String {
    key_of(placed.number.what.family(), &placed.number.name)
}

/// The two families have names of their own.
fn key_of(family: Family, name: &str) -> String {
    format!("{}/{name}", family.name())
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

const KIND: &str = "kind is required: aliases, auth-mounts, entities, groups, mfa-methods, mounts, namespaces, policies, roles, secret-ids or token-roles";
/// All are looked at for each namespace whose mounts or policies changed.
const NUMBERS_MAX: usize = 1_000;
/// With eight rows more a thousand tokens can still be revoked by one command.
const OVERLAP_MAX: usize = 8;
/// More than any cluster holds.
const NUMBER_MAX: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespaces::Tree;

    fn placed(path: &str, role: &str) -> Placed {
        let number = Number {
            name: "few".to_owned(),
            path: path.to_owned(),
            role: role.to_owned(),
            max: 1,
            inheritable: false,
            what: What::Leases,
        };
        Placed::new(&Tree::default(), ObjectId::well_known(100), number)
    }

    #[test]
    fn few_limits_speak_of_one_path() {
        let check = |all: &[Placed]| check_overlap(all.iter()).is_ok();
        let paths = [
            "",
            "auth",
            "auth/a*",
            "auth/a",
            "auth/ab",
            "auth/ab/login",
            "auth/ab/login/x",
            "auth/ab/login/xy",
        ];
        let mut all: Vec<Placed> = paths.iter().map(|path| placed(path, "")).collect();
        assert!(check(&all), "each of the eight speaks of the last");
        all.extend((0..100).map(|n| placed(&format!("auth/other/{n:03}"), "")));
        assert!(check(&all), "others do not count");
        all.push(placed("auth/ab", "ci"));
        assert!(!check(&all));
        all.pop();
        all.remove(0);
        all.extend(["ci", "other"].map(|role| placed("auth/ab/login/xy", role)));
        assert!(!check(&all), "one of a role, and those of all roles");
    }
}
