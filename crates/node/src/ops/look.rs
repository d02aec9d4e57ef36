//! What is told by path of no engine: as far as the state has it. The rest is the server's to tell, once the request is on record.

use aumbry_audit::{Field, redact};
use aumbry_auth::{Caller, Shelf};
use aumbry_barrier::Txn;
use aumbry_policy::Policy;
use aumbry_state::key;
use aumbry_types::{Capability, SecretBytes, hex};
use serde_json::{Map, Value, json};

use crate::look::{Look, What};
use crate::mounts::{AuthCache, Mount, MountTable, read_policy};
use crate::{Class, Failure, Reply};

pub(super) fn plan(txn: &mut Txn<'_>, auth: &mut AuthCache, caller: &Caller, look: &Look) -> Result<Reply, Failure> {
    match &look.what {
        What::AuditHash(input) => {
            let digest = match redact(txn.barrier().keyring().fields(), input.expose()) {
                Field::Hmac(digest) => format!("hmac:{}", hex::encode(&digest)),
                Field::Clear(text) => text,
            };
            told(&json!({ "hash": digest }))
        }
        What::TokenCount | What::LeaseCount => {
            told(&json!({ "tokens": txn.container(Shelf::Accessors.here(txn))?.children }))
        }
        What::SweepCount => sweeps(txn),
        What::ResultantAcl => resultant_acl(txn, auth, caller),
        What::MoveStatus(id) => {
            for table in [MountTable::Secrets, MountTable::Auth] {
                let mounts = auth.table(txn, table)?;
                if let Some(mount) = mounts.iter().find(|mount| mount.root.to_string() == *id) {
                    return Ok(Reply::MountRows(vec![Mount::row(mount)]));
                }
            }
            Err(Failure::new(Class::NotFound, "NOT_FOUND", "no such mount"))
        }
        _ => Ok(Reply::Done),
    }
}

fn told(value: &Value) -> Result<Reply, Failure> {
    Ok(Reply::Json {
        data: SecretBytes::from(value.to_string()),
        warnings: Vec::new(),
    })
}

/// What is left to remove: of so many containers, and the rows in them as far as they are known.
fn sweeps(txn: &Txn<'_>) -> Result<Reply, Failure> {
    let work = txn.scan_rows(&key::work_prefix(), None, WORK_MAX);
    let mut rows = 0;
    for (row_key, _) in &work {
        if let Some(id) = key::parse_id(row_key) {
            rows += txn.container(id)?.children;
        }
    }
    told(&json!({ "containers": work.len(), "rows": rows, "more": work.len() == WORK_MAX }))
}

/// The rules of the caller, in the form in which user interfaces read them: by exact path, and by what a path begins with.
/// Those of a token of another namespace are as that one sees paths.
fn resultant_acl(txn: &mut Txn<'_>, auth: &mut AuthCache, caller: &Caller) -> Result<Reply, Failure> {
    auth.within(txn, caller.namespace, |auth, txn| rules(txn, auth, caller))?
}

fn rules(txn: &mut Txn<'_>, auth: &mut AuthCache, caller: &Caller) -> Result<Reply, Failure> {
    let (mut exact, mut begun) = (Map::new(), Map::new());
    let mut names = caller.policies.clone();
    if let Some(entity) = caller.entity {
        names.extend(auth.identity_policies(txn, &(entity, caller.alias.clone()))?);
    }
    for name in &names {
        let Some(text) = read_policy(txn, name)? else { continue };
        let policy = Policy::parse(&text).map_err(|_| Failure::from(aumbry_barrier::DamagedRow))?;
        for rule in policy.rules() {
            if rule.expires().is_some_and(|expires| expires < txn.now()) {
                continue;
            }
            let (map, path) = match rule.pattern().strip_suffix('*') {
                Some(path) => (&mut begun, path),
                None => (&mut exact, rule.pattern()),
            };
            let entry = map.entry(path).or_insert_with(|| json!({ "capabilities": [] }));
            let Some(list) = entry["capabilities"].as_array_mut() else {
                continue;
            };
            for capability in Capability::ALL {
                let name = Value::from(capability.as_str());
                if rule.capabilities().contains(capability) && !list.contains(&name) {
                    list.push(name);
                }
            }
        }
    }
    told(&json!({ "root": caller.is_root(), "exact_paths": exact, "glob_paths": begun }))
}

/// Each is one row to read.
const WORK_MAX: usize = 1_000;
