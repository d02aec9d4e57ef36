//! Plans a request: reads the state, checks, and writes what follows.

use aumbry_barrier::{Kind, Txn};
use aumbry_logical::{Body, FieldError, Object};
use aumbry_types::{Name, ObjectId, SecretBytes};

use super::request::{NewSecretId, Request, check_id};
use super::role::{Role, Setting};
use super::secret_id::{Found, SecretId, make_uuid};
use crate::answer::{Answer, Error, object};
use crate::cidr::is_within;
use crate::listing;

/// Plans a request on the mount with this object.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::WriteRole(name, body) => write_role(txn, mount, name, body),
        Request::ReadRole(name) => Ok(Answer::of(existing(txn, mount, name)?.1.render())),
        Request::DeleteRole(name) => {
            if let Some((id, role)) = Role::find(txn, mount, name)? {
                role.delete(txn, mount, id)?;
            }
            Ok(Answer::done())
        }
        Request::ListRoles { after, limit } => Answer::names(listing::names(txn, mount, after, *limit)?),
        Request::WriteSetting(name, setting, body) => {
            let (id, mut role) = existing(txn, mount, name)?;
            let only = only(setting, body.object());
            if only.object().is_empty() {
                return Err(FieldError::Missing(setting.1).into());
            }
            role.merge(&only)?;
            role.write(txn, id);
            Ok(Answer::done())
        }
        Request::ReadSetting(name, setting) => {
            let (_, role) = existing(txn, mount, name)?;
            let value = role.render().remove(setting.1).unwrap_or_default();
            let mut data = object([(setting.1, value.clone())]);
            if let Some(old) = setting.2 {
                data.insert(old.to_owned(), value);
            }
            Ok(Answer::of(data))
        }
        Request::ResetSetting(name, setting) => {
            let (id, mut role) = existing(txn, mount, name)?;
            let mut default = Role::new(String::new(), String::new()).render();
            // No addresses are told as nothing, and written as an empty list.
            if default.get(setting.1).is_some_and(serde_json::Value::is_null) {
                default.insert(setting.1.to_owned(), serde_json::Value::Array(Vec::new()));
            }
            role.merge(&only(setting, &default))?;
            role.write(txn, id);
            Ok(Answer::done())
        }
        Request::ReadRoleId(name) => {
            let (_, role) = existing(txn, mount, name)?;
            Ok(Answer::of(object([("role_id", role.role_id.into())])))
        }
        Request::WriteRoleId(name, role_id) => {
            let (id, mut role) = existing(txn, mount, name)?;
            role.change_role_id(txn, mount, id, role_id.clone())?;
            role.write(txn, id);
            Ok(Answer::done())
        }
        Request::MakeSecretId(name, wanted) => make_secret_id(txn, mount, name, wanted),
        Request::ListSecretIds { role, after, limit } => {
            let (id, _) = existing(txn, mount, role)?;
            Answer::names(listing::names(txn, id, after, *limit)?)
        }
        Request::LookupSecretId(name, text) => {
            let (id, _) = existing(txn, mount, name)?;
            let found = SecretId::find(txn, id, text.expose())?.filter(|found| found.stands(txn.now().0));
            Ok(found.map_or_else(Answer::done, |found| Answer::of(found.render())))
        }
        Request::LookupAccessor(name, accessor) => {
            let found = by_accessor(txn, mount, name, accessor)?;
            Ok(Answer::of(found.render()))
        }
        Request::DestroySecretId(name, text) => {
            let (id, _) = existing(txn, mount, name)?;
            if let Some(found) = SecretId::find(txn, id, text.expose())? {
                found.remove(txn)?;
            }
            Ok(Answer::done())
        }
        Request::DestroyAccessor(name, accessor) => {
            by_accessor(txn, mount, name, accessor)?.remove(txn)?;
            Ok(Answer::done())
        }
        Request::Tidy => Ok(Answer {
            data: None,
            warnings: vec!["nothing is left to tidy: what has expired is removed without being asked for"],
        }),
    }
}

/// Whether what a request is about is there: a write where nothing is needs `create` instead of `update`.
///
/// # Errors
/// [`Error::Damaged`]
pub fn exists(txn: &mut Txn<'_>, mount: ObjectId, request: &Request) -> Result<bool, Error> {
    match request {
        Request::WriteRole(name, _) => Ok(txn.lookup(mount, name.as_str())?.is_some()),
        _ => Ok(true),
    }
}

fn existing(txn: &mut Txn<'_>, mount: ObjectId, name: &Name) -> Result<(ObjectId, Role), Error> {
    Role::find(txn, mount, name)?.ok_or(Error::NotFound)
}

fn by_accessor(txn: &mut Txn<'_>, mount: ObjectId, name: &Name, accessor: &str) -> Result<Found, Error> {
    let (id, _) = existing(txn, mount, name)?;
    let found = SecretId::find_by_accessor(txn, id, accessor)?;
    found.filter(|found| found.stands(txn.now().0)).ok_or(Error::NotFound)
}

fn write_role(txn: &mut Txn<'_>, mount: ObjectId, name: &Name, body: &Body) -> Result<Answer, Error> {
    let wanted_id = body.text("role_id")?.filter(|text| !text.is_empty());
    let wanted_id = wanted_id.map(check_id).transpose()?;
    match Role::find(txn, mount, name)? {
        Some((id, mut role)) => {
            role.merge(body)?;
            if let Some(role_id) = wanted_id {
                role.change_role_id(txn, mount, id, role_id)?;
            }
            role.write(txn, id);
        }
        None => {
            let role_id = wanted_id.unwrap_or_else(|| make_uuid(txn.entropy()));
            let mut role = Role::new(name.as_str().to_owned(), role_id);
            role.merge(body)?;
            role.enter(txn, mount)?;
        }
    }
    Ok(Answer::done())
}

fn make_secret_id(txn: &mut Txn<'_>, mount: ObjectId, name: &Name, wanted: &NewSecretId) -> Result<Answer, Error> {
    let (id, role) = existing(txn, mount, name)?;
    if !role.bind_secret_id {
        return Err(Error::Invalid("bind_secret_id is not set on the role"));
    }
    let num_uses = within(wanted.num_uses, role.secret_id_num_uses).ok_or(Error::Invalid(
        "num_uses cannot be higher than the role's secret_id_num_uses",
    ))?;
    let ttl_s = within(wanted.ttl_s, role.secret_id_ttl_s)
        .ok_or(Error::Invalid("ttl cannot be longer than the role's secret_id_ttl"))?;
    let is_narrower = |cidrs: &Vec<_>, of_role: &Vec<_>| cidrs.is_empty() || is_within(cidrs, of_role);
    if !is_narrower(&wanted.cidrs, &role.secret_id_bound_cidrs)
        || !is_narrower(&wanted.token_cidrs, &role.params.bound_cidrs)
    {
        return Err(Error::Invalid(
            "a secret id is bound to no other addresses than its role",
        ));
    }
    let text = match &wanted.text {
        Some(text) => text.duplicate(),
        None => SecretBytes::from(make_uuid(txn.entropy())),
    };
    let secret_id = SecretId {
        accessor: make_uuid(txn.entropy()),
        metadata: wanted.metadata.clone(),
        cidrs: wanted.cidrs.clone(),
        token_cidrs: wanted.token_cidrs.clone(),
        ttl_s,
        num_uses,
        created: txn.now().0,
    };
    // Each role has as many of its own.
    if let Some(max) = txn.limits().and_then(|limits| limits.of_each(mount)) {
        txn.take_place(id, max, Kind::SecretId)?;
    }
    secret_id.enter(txn, id, text.expose())?;
    Ok(Answer::of(object([
        ("secret_id", text.expose_str().unwrap_or_default().into()),
        ("secret_id_accessor", secret_id.accessor.into()),
        ("secret_id_num_uses", num_uses.into()),
        ("secret_id_ttl", ttl_s.into()),
    ])))
}

/// What is asked for within a limit, of which 0 is none; what is not asked for is the limit itself.
const fn within(wanted: Option<u64>, limit: u64) -> Option<u64> {
    match wanted {
        None => Some(limit),
        Some(wanted) if limit == 0 || (wanted != 0 && wanted <= limit) => Some(wanted),
        Some(_) => None,
    }
}

/// The values of one setting.
fn only(setting: &Setting, values: &Object) -> Body {
    let names = [Some(setting.1), setting.2];
    let is_named = |name: &String| names.contains(&Some(name.as_str()));
    let values = values.iter().filter(|(name, _)| is_named(name));
    Body::new(values.map(|(name, value)| (name.clone(), value.clone())).collect())
}
