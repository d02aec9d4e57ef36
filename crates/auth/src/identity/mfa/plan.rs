//! Plans a request. Every change bumps the namespace's generation, which is the caller's to do.

use aumbry_barrier::{Kind, Txn};
use aumbry_logical::{Body, Object};
use aumbry_types::{Name, ObjectId, SecretBytes};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use super::enforcement::{Enforcement, Enforcements};
use super::method::{Found, Hash, Method, Secret};
use super::request::Request;
use crate::answer::{Answer, Error, texts};
use crate::identity::entity::Entity;
use crate::identity::request::{ids, parse_id};
use crate::token::Caller;
use crate::{Place, Shelf};

/// Plans a request of the caller.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, caller: &Caller, request: &Request) -> Result<Answer, Error> {
    let answer = answer(txn, caller, request)?;
    Ok(answer.of_namespace(txn.namespace()))
}

fn answer(txn: &mut Txn<'_>, caller: &Caller, request: &Request) -> Result<Answer, Error> {
    match request {
        Request::WriteMethod(id, body) => write_method(txn, *id, body),
        Request::ReadMethod(id) => {
            let method = Method::read(txn, *id)?.ok_or(Error::NotFound)?;
            Ok(Answer::of(show_method(*id, &method)))
        }
        Request::DeleteMethod(id) => delete_method(txn, *id),
        Request::ListMethods => {
            let ids = Method::all(txn)?.iter().map(ToString::to_string).collect();
            Answer::names((ids, false))
        }
        Request::Generate(body) => {
            let entity = caller.entity.ok_or(Error::Invalid(
                "the token is no entity's: log in by an auth method, or let an operator use admin-generate",
            ))?;
            generate(txn, body, entity)
        }
        Request::AdminGenerate(body) => {
            let entity = parse_id(&body.required_text("entity_id")?)?;
            generate(txn, body, entity)
        }
        Request::AdminDestroy(body) => {
            let entity = parse_id(&body.required_text("entity_id")?)?;
            let method = parse_id(&body.required_text("method_id")?)?;
            // What is another namespace's is not there.
            if Method::read(txn, method)?.is_some()
                && let Some(found) = Found::find(txn, method, entity)?
            {
                txn.remove(Place::MfaSecrets.of(method), &entity.to_string())?;
                txn.delete_object(found.id);
            }
            Ok(Answer::done())
        }
        Request::WriteEnforcement(name, body) => write_enforcement(txn, name, body),
        Request::ReadEnforcement(name) => {
            let all = Enforcements::read(txn)?;
            let found = all.0.iter().find(|(known, _)| known == name.as_str());
            let (name, enforcement) = found.ok_or(Error::NotFound)?;
            Ok(Answer::of(show_enforcement(name, enforcement)))
        }
        Request::DeleteEnforcement(name) => {
            if let Some(child) = txn.lookup(Shelf::MfaEnforcements.here(txn), name.as_str())? {
                txn.remove(Shelf::MfaEnforcements.here(txn), name.as_str())?;
                txn.delete_object(child.id);
            }
            Ok(Answer::done())
        }
        Request::ListEnforcements => {
            let names = Enforcements::read(txn)?.0.into_iter().map(|(name, _)| name).collect();
            Answer::names((names, false))
        }
    }
}

fn write_method(txn: &mut Txn<'_>, id: Option<ObjectId>, body: &Body) -> Result<Answer, Error> {
    let (id, mut method, is_new) = match id {
        Some(id) => (id, Method::read(txn, id)?.ok_or(Error::NotFound)?, false),
        None => {
            let method = Method {
                name: String::new(),
                issuer: String::new(),
                algorithm: Hash::Sha1,
                digits: 6,
                period_s: 30,
                skew: 1,
                key_bytes: 20,
                failures_max: 5,
            };
            (ObjectId::make(txn.entropy()), method, true)
        }
    };
    if let Some(name) = body.text("method_name")? {
        method.name = short(name)?;
    }
    if let Some(issuer) = body.text("issuer")? {
        method.issuer = short(issuer)?;
    }
    if method.issuer.is_empty() {
        return Err(Error::Invalid(
            "issuer is required: the name that authenticator programs show",
        ));
    }
    let had = method.clone();
    if let Some(algorithm) = body.text("algorithm")? {
        method.algorithm = match algorithm.as_str() {
            "SHA1" => Hash::Sha1,
            "SHA256" => Hash::Sha256,
            "SHA512" => Hash::Sha512,
            _ => return Err(Error::Invalid("algorithm is SHA1, SHA256 or SHA512")),
        };
    }
    if let Some(digits) = body.count("digits")? {
        method.digits = match digits {
            6 => 6,
            8 => 8,
            _ => return Err(Error::Invalid("digits is 6 or 8")),
        };
    }
    method.period_s = body.seconds("period")?.unwrap_or(method.period_s);
    method.skew = body.count("skew")?.unwrap_or(method.skew);
    if let Some(size) = body.count("key_size")? {
        method.key_bytes = usize::try_from(size).unwrap_or(0);
    }
    method.failures_max = body.count("max_validation_attempts")?.unwrap_or(method.failures_max);
    if !(10..=300).contains(&method.period_s) || method.skew > 1 {
        return Err(Error::Invalid("period is 10 to 300 seconds, and skew 0 or 1"));
    }
    if !(16..=64).contains(&method.key_bytes) || !(1..=100).contains(&method.failures_max) {
        return Err(Error::Invalid(
            "key_size is 16 to 64 bytes, max_validation_attempts 1 to 100",
        ));
    }
    // Authenticator programs were told of it.
    let is_other = (had.algorithm, had.digits, had.period_s) != (method.algorithm, method.digits, method.period_s);
    if !is_new && is_other && txn.container(Place::MfaSecrets.of(id))?.children > 0 {
        return Err(Error::Invalid(
            "algorithm, digits and period stay as they are while somebody has a secret; make another method",
        ));
    }
    if is_new {
        if txn.container(Shelf::MfaMethods.here(txn))?.children >= METHODS_MAX {
            return Err(Error::Invalid("there are 100 methods, which is the most"));
        }
        txn.insert(Shelf::MfaMethods.here(txn), &id.to_string(), Kind::MfaMethod, id)?;
    }
    method.write(txn, id);
    Ok(Answer::of(object(json!({ "method_id": id.to_string() }))))
}

fn short(text: String) -> Result<String, Error> {
    if text.len() > 128 || text.chars().any(|c| c.is_control() || c == ':') {
        return Err(Error::Invalid(
            "names have at most 128 bytes, no control characters and no colon",
        ));
    }
    Ok(text)
}

/// Removes a method that no enforcement names: it would let nobody in any more.
fn delete_method(txn: &mut Txn<'_>, id: ObjectId) -> Result<Answer, Error> {
    let is_named = |(_, enforcement): &(String, Enforcement)| enforcement.methods.contains(&id);
    if Enforcements::read(txn)?.0.iter().any(is_named) {
        return Err(Error::Invalid("an enforcement names the method; change that first"));
    }
    if Method::read(txn, id)?.is_some() {
        txn.remove(Shelf::MfaMethods.here(txn), &id.to_string())?;
        txn.delete_object(id);
        crate::sweep::revoke_container(txn, Place::MfaSecrets.of(id))?;
    }
    Ok(Answer::done())
}

/// Makes a secret. It is told this once.
fn generate(txn: &mut Txn<'_>, body: &Body, entity: ObjectId) -> Result<Answer, Error> {
    let id = parse_id(&body.required_text("method_id")?)?;
    let method = Method::read(txn, id)?.ok_or(Error::Invalid("method_id is no method"))?;
    let (entity, standing) = Entity::find(txn, entity)?.ok_or(Error::Invalid("entity_id is no entity"))?;
    if Found::find(txn, id, entity)?.is_some() {
        let mut answer = Answer::done();
        answer
            .warnings
            .push("the entity has a secret for this method already; an operator can remove it by admin-destroy");
        return Ok(answer);
    }
    let mut bytes = vec![0; method.key_bytes];
    txn.entropy().fill(&mut bytes);
    let secret = Secret {
        key: SecretBytes::new(bytes),
    };
    let digits = BASE32_NOPAD.encode(secret.key.expose());
    let algorithm = match method.algorithm {
        Hash::Sha1 => "SHA1",
        Hash::Sha256 => "SHA256",
        Hash::Sha512 => "SHA512",
    };
    let (issuer, account) = (escaped(&method.issuer), escaped(&standing.name));
    let url = format!(
        "otpauth://totp/{issuer}:{account}?algorithm={algorithm}&digits={}&issuer={issuer}&period={}&secret={digits}",
        method.digits, method.period_s
    );
    secret.enter(txn, id, entity)?;
    // The picture of the address is for who shows it to make.
    Ok(Answer::of(object(json!({ "url": url, "barcode": "" }))))
}

/// Percent-encodes what is no letter, digit, `-`, `_`, `.` or `~`.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn write_enforcement(txn: &mut Txn<'_>, name: &Name, body: &Body) -> Result<Answer, Error> {
    let all = Enforcements::read(txn)?;
    let known = all.0.iter().find(|(known, _)| known == name.as_str());
    let mut enforcement = known.map(|(_, enforcement)| enforcement.clone()).unwrap_or_default();
    if known.is_none() && all.0.len() >= ENFORCEMENTS_MAX {
        return Err(Error::Invalid("there are 100 enforcements, which is the most"));
    }
    let is_said = |field: &str| body.get(field).is_some();
    if is_said("mfa_method_ids") {
        enforcement.methods = ids(body, "mfa_method_ids")?;
    }
    if is_said("identity_group_ids") {
        enforcement.groups = ids(body, "identity_group_ids")?;
    }
    if is_said("identity_entity_ids") {
        enforcement.entities = ids(body, "identity_entity_ids")?;
    }
    if let Some(accessors) = body.texts("auth_method_accessors")? {
        enforcement.accessors = accessors;
    }
    if let Some(kinds) = body.texts("auth_method_types")? {
        enforcement.kinds = kinds;
    }
    for method in &enforcement.methods {
        if Method::read(txn, *method)?.is_none() {
            return Err(Error::Invalid("one of mfa_method_ids is no method"));
        }
    }
    let holds = [
        enforcement.accessors.len(),
        enforcement.kinds.len(),
        enforcement.groups.len(),
        enforcement.entities.len(),
    ];
    if enforcement.methods.is_empty() || holds.iter().sum::<usize>() == 0 {
        return Err(Error::Invalid(
            "mfa_method_ids is required, and one of auth_method_accessors, auth_method_types, identity_group_ids and identity_entity_ids",
        ));
    }
    if enforcement.methods.len() > METHODS_EACH_MAX || holds.iter().any(|count| *count > HOLDS_MAX) {
        return Err(Error::Invalid(
            "an enforcement has at most 10 methods, and 1,000 of each kind that it holds for",
        ));
    }
    enforcement.write(txn, name)?;
    Ok(Answer::done())
}

fn show_method(id: ObjectId, method: &Method) -> Object {
    object(json!({
        "id": id.to_string(),
        "type": "totp",
        "name": method.name,
        "issuer": method.issuer,
        "algorithm": match method.algorithm { Hash::Sha1 => "SHA1", Hash::Sha256 => "SHA256", Hash::Sha512 => "SHA512" },
        "digits": method.digits,
        "period": method.period_s,
        "skew": method.skew,
        "key_size": method.key_bytes,
        "qr_size": 0,
        "max_validation_attempts": method.failures_max,
        "namespace_id": "root",
    }))
}

fn show_enforcement(name: &str, enforcement: &Enforcement) -> Object {
    let ids = |ids: &[ObjectId]| texts(ids);
    object(json!({
        "id": name,
        "name": name,
        "mfa_method_ids": ids(&enforcement.methods),
        "auth_method_accessors": enforcement.accessors,
        "auth_method_types": enforcement.kinds,
        "identity_group_ids": ids(&enforcement.groups),
        "identity_entity_ids": ids(&enforcement.entities),
        "namespace_id": "root",
    }))
}

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => Object::new(),
    }
}

const METHODS_MAX: u64 = 100;
/// All are looked at for each login.
const ENFORCEMENTS_MAX: usize = 100;
const METHODS_EACH_MAX: usize = 10;
const HOLDS_MAX: usize = 1_000;
