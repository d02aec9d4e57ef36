//! The login.

use std::collections::BTreeMap;

use aumbry_barrier::Txn;
use aumbry_logical::Body;
use aumbry_state::key;
use aumbry_types::{ObjectId, SecretBytes};

use super::request::ID_BYTES_MAX;
use super::role::Role;
use super::secret_id::{SecretId, object_id};
use crate::Place;
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::token::Login;

/// What is shown at a login.
pub struct LoginRequest {
    /// The id of the role.
    pub role_id: String,
    /// The secret id; nothing, if none is shown.
    pub secret_id: SecretBytes,
}

impl LoginRequest {
    /// Reads a request to `login`.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(body: &Body) -> Result<Self, LoginError> {
        Ok(Self {
            role_id: body.required_text("role_id")?,
            secret_id: body.secret("secret_id")?.unwrap_or_default(),
        })
    }
}

/// Logs in. The secret id loses one use if the plan is applied, and keeps it if the login is refused.
///
/// # Errors
/// [`LoginError`]
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &LoginRequest,
    client_address: &str,
) -> Result<Login, LoginError> {
    let refused = || LoginError::Refused(REFUSED);
    if request.role_id.len() > ID_BYTES_MAX || request.secret_id.len() > ID_BYTES_MAX {
        return Err(refused());
    }
    let Some(child) = txn.lookup(Place::RoleIds.of(mount), &request.role_id)? else {
        // The same work as for a role that exists.
        let nothing = object_id(txn, mount, request.secret_id.expose());
        txn.peek_row(&key::object(nothing))?;
        return Err(refused());
    };
    let role = Role::read(txn, child.id)?.ok_or_else(refused)?;
    let mut params = role.params;
    let mut shown = None;
    if role.bind_secret_id {
        let found = SecretId::find(txn, child.id, request.secret_id.expose())?.ok_or_else(refused)?;
        if !found.stands(txn.now().0) || !is_allowed(&found.secret_id.cidrs, client_address) {
            return Err(refused());
        }
        if !found.secret_id.token_cidrs.is_empty() {
            params.bound_cidrs.clone_from(&found.secret_id.token_cidrs);
        }
        shown = Some(found);
    }
    // A token that could not be used from where it was asked for would be of use to nobody.
    if !is_allowed(&role.secret_id_bound_cidrs, client_address) || !is_allowed(&params.bound_cidrs, client_address) {
        return Err(refused());
    }
    let mut metadata = BTreeMap::new();
    if let Some(found) = shown {
        found.take_use(txn)?;
        metadata = found.secret_id.metadata;
    }
    metadata.insert("role_name".to_owned(), role.name);
    Ok(Login {
        mount,
        path: "login".to_owned(),
        alias: role.role_id,
        display_name: String::new(),
        metadata,
        params,
        source: Some(child.id),
        entity: None,
        groups: Vec::new(),
    })
}

/// As Vault says it, whatever was wrong.
const REFUSED: &str = "invalid role or secret ID";
