//! Logins that wait for a second factor.

use std::collections::BTreeMap;

use aumbry_barrier::{Kind, ObjectOptions, Txn, record};
use aumbry_logical::Body;
use aumbry_state::{Precondition, key};
use aumbry_types::{ObjectId, SecretBytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::enforcement::Wanted;
use super::method::{Found, Method, Tried};
use crate::answer::{Error, LoginError};
use crate::token::Login;

/// What is stored of a login that waits, for five minutes.
#[derive(Serialize, Deserialize)]
struct Pending {
    login: Login,
    mount_path: String,
    wanted: Vec<Wanted>,
}

/// What whoever logged in is told: the login waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginWaits {
    /// Under which it waits.
    pub id: String,
    /// Whose it is.
    pub entity: Option<ObjectId>,
    /// What it waits for.
    pub wanted: Vec<Wanted>,
}

impl LoginWaits {
    /// As clients read it.
    #[must_use]
    pub fn requirement(&self) -> Value {
        let constraints = self.wanted.iter().map(|wanted| {
            let any: Vec<Value> = wanted
                .methods
                .iter()
                .map(|id| json!({ "type": "totp", "id": id.to_string(), "uses_passcode": true, "name": "" }))
                .collect();
            (wanted.name.clone(), json!({ "any": any }))
        });
        json!({
            "mfa_request_id": self.id,
            "mfa_constraints": constraints.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// Codes for a login that waits.
pub struct Validation {
    /// Of the login.
    id: Option<ObjectId>,
    /// By the ids of their methods.
    codes: BTreeMap<String, SecretBytes>,
}

impl Validation {
    /// Reads a request to `sys/mfa/validate`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(body: &Body) -> Result<Self, Error> {
        let id = body.required_text("mfa_request_id")?;
        let Some(Value::Object(payload)) = body.get("mfa_payload") else {
            return Err(Error::Invalid(
                "mfa_payload is required: passcodes by the ids of methods",
            ));
        };
        let mut given = Vec::new();
        for (method, passcode) in payload {
            let code = match passcode {
                Value::Array(codes) if codes.len() <= 1 => codes.first().and_then(Value::as_str).unwrap_or_default(),
                Value::String(code) => code,
                _ => return Err(Error::Invalid("mfa_payload has one passcode for each method")),
            };
            // Some programs write it as an option.
            let code = code.strip_prefix("passcode=").unwrap_or(code);
            given.push((method.clone(), SecretBytes::from(code.to_owned())));
        }
        Self::new(&id, given)
    }

    /// Passcodes by the ids of their methods, for the login that waits under this id.
    ///
    /// # Errors
    /// [`Error`]
    pub fn new(id: &str, given: impl IntoIterator<Item = (String, SecretBytes)>) -> Result<Self, Error> {
        let parse = |id: &str| id.replace('-', "").to_ascii_lowercase().parse::<ObjectId>();
        let mut codes = BTreeMap::new();
        for (method, passcode) in given {
            let method = parse(&method).map_err(|_| METHOD)?;
            let is_second = codes.insert(method.to_string(), passcode).is_some();
            if is_second || codes.len() > CODES_MAX {
                return Err(Error::Invalid("there is one passcode for each method, and at most 16"));
            }
        }
        Ok(Self {
            id: parse(id).ok(),
            codes,
        })
    }
}

impl Validation {
    /// The login that waits, as its client was told.
    #[must_use]
    pub fn request_id(&self) -> Option<String> {
        self.id.map(|id| id.to_string())
    }

    /// The codes by the ids of their methods, for the audit record's keyed digests of them.
    pub fn codes(&self) -> impl Iterator<Item = (&str, &SecretBytes)> {
        self.codes.iter().map(|(method, code)| (method.as_str(), code))
    }
}

/// Lets a login wait for its second factor.
pub fn hold(txn: &mut Txn<'_>, mount_path: &str, login: Login, wanted: Vec<Wanted>) -> LoginWaits {
    let id = ObjectId::make(txn.entropy());
    let waits = LoginWaits {
        id: id.to_string(),
        entity: login.entity,
        wanted: wanted.clone(),
    };
    let pending = Pending {
        login,
        mount_path: mount_path.to_owned(),
        wanted,
    };
    let options = ObjectOptions {
        expires_at: txn.now().plus_ms(WAITS_MS).0,
        ..ObjectOptions::default()
    };
    txn.put_object(
        id,
        Kind::PendingLogin,
        record::encode(VERSION, &pending).expose(),
        options,
    );
    waits
}

/// Looks at the codes. Gives the login that waited, which waits no more, and the path of its mount.
///
/// # Errors
/// [`LoginError`]; after [`LoginError::Counted`] the plan must be applied.
pub fn validate(txn: &mut Txn<'_>, validation: &Validation) -> Result<(Login, String), LoginError> {
    let id = validation.id.ok_or(LoginError::Refused(REFUSED))?;
    let row_key = key::object(id);
    let row = txn.peek_row(&row_key)?.ok_or(LoginError::Refused(REFUSED))?;
    if row.kind != Kind::PendingLogin as u8 || row.is_expired(txn.now().0) {
        return Err(LoginError::Refused(REFUSED));
    }
    txn.fence(Precondition::RowIs(row_key.clone(), row.writer));
    txn.fence(Precondition::NotExpired(row_key));
    let object = txn
        .read_object(id, Kind::PendingLogin)?
        .ok_or(LoginError::Refused(REFUSED))?;
    let pending: Pending = record::decode(VERSION, object.plain.expose()).map_err(|_| aumbry_barrier::DamagedRow)?;
    let entity = pending.login.entity.ok_or(LoginError::Refused(REFUSED))?;
    meet(txn, entity, &pending.wanted, |method, _| {
        validation.codes.get(&method.to_string())
    })?;
    txn.delete_object(id);
    Ok((pending.login, pending.mount_path))
}

/// Looks at codes for all that is wanted. They are found by the ids and names of their methods.
pub(super) fn meet<'a>(
    txn: &mut Txn<'_>,
    entity: ObjectId,
    wanted: &[Wanted],
    code_of: impl Fn(ObjectId, &str) -> Option<&'a SecretBytes>,
) -> Result<(), LoginError> {
    // A method that several enforcements name is shown once.
    let mut right: Vec<ObjectId> = Vec::new();
    for wanted in wanted {
        let mut is_met = wanted.methods.iter().any(|method| right.contains(method));
        for method_id in &wanted.methods {
            if is_met {
                break;
            }
            let Some(method) = Method::read(txn, *method_id)? else {
                continue;
            };
            let Some(code) = code_of(*method_id, &method.name) else {
                continue;
            };
            let Some(secret) = Found::find(txn, *method_id, entity)? else {
                continue;
            };
            match secret.try_code(txn, &method, code.expose()) {
                Tried::Right => {
                    right.push(*method_id);
                    is_met = true;
                }
                Tried::Wrong => return Err(LoginError::Counted(REFUSED)),
                Tried::Closed => return Err(LoginError::Refused(REFUSED)),
            }
        }
        if !is_met {
            return Err(LoginError::Refused(REFUSED));
        }
    }
    Ok(())
}

/// The same whatever was wrong.
const REFUSED: &str = "login MFA validation failed";
const METHOD: Error = Error::Invalid("mfa_payload names its methods by their ids");
/// More than enforcements ask of one login.
pub(super) const CODES_MAX: usize = 16;
/// As long as it takes to find a telephone.
const WAITS_MS: u64 = 300_000;
const VERSION: u8 = 1;
