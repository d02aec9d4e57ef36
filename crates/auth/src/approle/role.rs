//! Roles.

use aumbry_barrier::{DamagedRow, Kind, ObjectOptions, Txn, record};
use aumbry_logical::{Body, Object};
use aumbry_state::{ContainerState, Write, key};
use aumbry_types::{Name, ObjectId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Place;
use crate::answer::{Error, object, texts};
use crate::cidr::{Cidr, parse_cidrs};
use crate::params::{OldNames, TokenParams, check_uses};

/// A role.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) role_id: String,
    /// Whether a login needs a secret id.
    pub(super) bind_secret_id: bool,
    /// From where it can log in; nothing is everywhere.
    pub(super) secret_id_bound_cidrs: Vec<Cidr>,
    /// How often a secret id can be used; 0 is without limit.
    pub(super) secret_id_num_uses: u64,
    /// For how many seconds a secret id lives; 0 is for ever.
    pub(super) secret_id_ttl_s: u64,
    /// Told again, and without a meaning: there is one cluster.
    pub(super) local_secret_ids: bool,
    pub(super) params: TokenParams,
}

/// A setting that has a path of its own below the role's: the path, the field, and its old name.
pub(super) type Setting = (&'static str, &'static str, Option<&'static str>);

impl Role {
    pub(super) const fn new(name: String, role_id: String) -> Self {
        Self {
            name,
            role_id,
            bind_secret_id: true,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl_s: 0,
            local_secret_ids: false,
            params: TokenParams::new(),
        }
    }

    /// The role with this name, and its object.
    pub(super) fn find(
        txn: &mut Txn<'_>,
        mount: ObjectId,
        name: &Name,
    ) -> Result<Option<(ObjectId, Self)>, DamagedRow> {
        match txn.lookup(mount, name.as_str())? {
            Some(child) => Self::read(txn, child.id).map(|role| role.map(|role| (child.id, role))),
            None => Ok(None),
        }
    }

    /// The role of this object.
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<Self>, DamagedRow> {
        let object = txn.read_object(id, Kind::AppRole)?;
        object
            .map(|object| record::decode(VERSION, object.plain.expose()).map_err(|_| DamagedRow))
            .transpose()
    }

    /// Enters a new role; gives its object.
    pub(super) fn enter(&self, txn: &mut Txn<'_>, mount: ObjectId) -> Result<ObjectId, Error> {
        let id = ObjectId::make(txn.entropy());
        txn.insert(mount, &self.name, Kind::AppRole, id)?;
        self.enter_role_id(txn, mount, id)?;
        self.write(txn, id);
        Ok(id)
    }

    /// Writes the role, whose names are entered.
    pub(super) fn write(&self, txn: &mut Txn<'_>, id: ObjectId) {
        let plain = record::encode(VERSION, self);
        txn.put_object(id, Kind::AppRole, plain.expose(), ObjectOptions::default());
    }

    /// Gives the role another role id.
    pub(super) fn change_role_id(
        &mut self,
        txn: &mut Txn<'_>,
        mount: ObjectId,
        id: ObjectId,
        role_id: String,
    ) -> Result<(), Error> {
        if role_id == self.role_id {
            return Ok(());
        }
        txn.remove(Place::RoleIds.of(mount), &self.role_id)?;
        self.role_id = role_id;
        self.enter_role_id(txn, mount, id)
    }

    fn enter_role_id(&self, txn: &mut Txn<'_>, mount: ObjectId, id: ObjectId) -> Result<(), Error> {
        let role_ids = Place::RoleIds.of(mount);
        if txn.lookup(role_ids, &self.role_id)?.is_some() {
            return Err(Error::Invalid("the role_id is in use by another role"));
        }
        Ok(txn.insert(role_ids, &self.role_id, Kind::RoleId, id)?)
    }

    /// Removes the role. Its secret ids give no login from then on; a sweep removes them.
    pub(super) fn delete(&self, txn: &mut Txn<'_>, mount: ObjectId, id: ObjectId) -> Result<(), DamagedRow> {
        txn.remove(mount, &self.name)?;
        txn.remove(Place::RoleIds.of(mount), &self.role_id)?;
        remove_rows(txn, id)
    }

    /// Takes over the values that the body names, but for the role id.
    pub(super) fn merge(&mut self, body: &Body) -> Result<(), Error> {
        self.bind_secret_id = body.flag("bind_secret_id")?.unwrap_or(self.bind_secret_id);
        let cidrs = match body.texts("secret_id_bound_cidrs")? {
            Some(cidrs) => Some(cidrs),
            None => body.texts("bound_cidr_list")?,
        };
        if let Some(cidrs) = cidrs {
            self.secret_id_bound_cidrs = parse_cidrs(&cidrs)?;
        }
        if let Some(num_uses) = body.count("secret_id_num_uses")? {
            self.secret_id_num_uses = check_uses(num_uses)?;
        }
        self.secret_id_ttl_s = body.seconds("secret_id_ttl")?.unwrap_or(self.secret_id_ttl_s);
        self.local_secret_ids = body.flag("local_secret_ids")?.unwrap_or(self.local_secret_ids);
        self.params.merge(body, OldNames(&["policies", "period"]))?;
        let is_bound =
            self.bind_secret_id || !self.secret_id_bound_cidrs.is_empty() || !self.params.bound_cidrs.is_empty();
        if !is_bound {
            return Err(Error::Invalid(
                "at least one of bind_secret_id, secret_id_bound_cidrs and token_bound_cidrs must be set",
            ));
        }
        Ok(())
    }

    /// What is told of the role. The role id has a path of its own.
    pub(super) fn render(&self) -> Object {
        let cidrs = match &self.secret_id_bound_cidrs[..] {
            [] => Value::Null,
            cidrs => texts(cidrs),
        };
        let mut data = object([
            ("bind_secret_id", self.bind_secret_id.into()),
            ("local_secret_ids", self.local_secret_ids.into()),
            ("secret_id_bound_cidrs", cidrs),
            ("secret_id_num_uses", self.secret_id_num_uses.into()),
            ("secret_id_ttl", self.secret_id_ttl_s.into()),
        ]);
        self.params.render(&mut data);
        data
    }
}

/// Removes the object of a role, and leaves its secret ids to the sweep.
pub(super) fn remove_rows(txn: &mut Txn<'_>, id: ObjectId) -> Result<(), DamagedRow> {
    txn.fence_scan(id)?;
    let below = txn.container(id)?;
    txn.delete_object(id);
    if below.children > 0 {
        txn.write(Write::DeleteContainer(id));
        txn.put_row(key::work(id), Kind::Work, b"secret ids", ObjectOptions::default());
    } else if below != ContainerState::default() {
        txn.write(Write::ForgetContainer(id));
    }
    Ok(())
}

/// The settings that have paths of their own.
pub(super) const SETTINGS: [Setting; 12] = [
    ("policies", "token_policies", Some("policies")),
    ("period", "token_period", Some("period")),
    ("bind-secret-id", "bind_secret_id", None),
    ("local-secret-ids", "local_secret_ids", None),
    ("secret-id-bound-cidrs", "secret_id_bound_cidrs", None),
    ("bound-cidr-list", "secret_id_bound_cidrs", Some("bound_cidr_list")),
    ("secret-id-num-uses", "secret_id_num_uses", None),
    ("secret-id-ttl", "secret_id_ttl", None),
    ("token-num-uses", "token_num_uses", None),
    ("token-ttl", "token_ttl", None),
    ("token-max-ttl", "token_max_ttl", None),
    ("token-bound-cidrs", "token_bound_cidrs", None),
];

const VERSION: u8 = 1;
