//! Creating tokens.

use std::collections::BTreeMap;

use aumbry_barrier::{DIRECTORY_FULL, DamagedRow, InsertError, Kind, ObjectOptions, Txn};
use aumbry_crypto::token;
use aumbry_state::Counters;
use aumbry_types::{Name, ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::Caller;
use super::record::{Info, Record, TTL_S_DEFAULT, TTL_S_MAX};
use crate::ORPHANS;

/// What kind of token is wanted.
#[derive(Default)]
pub struct Create {
    /// Its policies; none means those of the caller.
    pub policies: Vec<String>,
    /// For how many seconds; 0 is the default.
    pub ttl_s: u64,
    /// The most seconds it can live, however often renewed; 0 is the system's limit.
    pub explicit_max_ttl_s: u64,
    /// How often it can be used; 0 is without limit. With a limit it cannot create tokens.
    pub num_uses: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Its name for people.
    pub display_name: String,
    /// The creator's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// Whether it has no parent, and so outlives the caller's token.
    pub orphan: bool,
    /// Leaves out the policy `default`.
    pub no_default_policy: bool,
}

/// A new token.
#[derive(Serialize, Deserialize)]
pub struct NewToken {
    /// The token. This answer is the only place where it ever appears.
    #[serde(with = "exposed")]
    pub token: SecretBytes,
    /// What is told of it.
    pub info: Info,
}

/// Why no token was created.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The caller does not have a policy that it wants to give.
    #[error("a token can only pass on policies that it has itself")]
    PolicyNotHeld,
    /// A field is out of bounds.
    #[error("{0}")]
    Invalid(&'static str),
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

impl From<InsertError> for CreateError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::Invalid(DIRECTORY_FULL),
            InsertError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

/// Creates a token below the caller's. `privileged` callers (root, or `sudo` on the path) may give any policy but `root`.
///
/// # Errors
/// [`CreateError`]
pub fn create(txn: &mut Txn<'_>, caller: &Caller, privileged: bool, wanted: Create) -> Result<NewToken, CreateError> {
    check(&wanted)?;
    // As in Vault, orphans included: what it creates could be used without limit.
    if caller.is_counted {
        return Err(CreateError::Invalid(
            "a token with a limited number of uses cannot create tokens; use one without a limit",
        ));
    }
    let policies = choose_policies(caller, privileged, &wanted)?;
    let is_root = policies.iter().any(|policy| policy == "root");
    let limit = match wanted.explicit_max_ttl_s {
        0 => TTL_S_MAX,
        seconds => seconds.min(TTL_S_MAX),
    };
    let ttl_s = match wanted.ttl_s {
        0 if is_root && wanted.explicit_max_ttl_s == 0 => 0,
        0 => TTL_S_DEFAULT.min(limit),
        seconds => seconds.min(limit),
    };
    if !wanted.orphan && caller.depth >= DEPTH_MAX {
        return Err(CreateError::Invalid(
            "the token tree is 32 deep; create an orphan token instead",
        ));
    }
    let record = Record {
        accessor: ObjectId::make(txn.entropy()),
        policies,
        display_name: wanted.display_name,
        metadata: wanted.metadata,
        issued: txn.now().0,
        ttl_s,
        explicit_max_ttl_s: wanted.explicit_max_ttl_s,
        renewable: wanted.renewable && ttl_s > 0,
        parent: (!wanted.orphan).then_some(caller.id),
        depth: if wanted.orphan { 0 } else { caller.depth + 1 },
        num_uses: wanted.num_uses,
        path: "auth/token/create".to_owned(),
    };
    let text = token::make(token::TokenKind::Service, txn.barrier().keyring().term(), txn.entropy());
    Ok(enter(txn, text, &record)?)
}

/// Creates the first token, which may do everything and never expires.
///
/// # Errors
/// [`InsertError`]
pub fn make_root(txn: &mut Txn<'_>, chosen: Option<SecretBytes>) -> Result<NewToken, InsertError> {
    let record = Record {
        accessor: ObjectId::make(txn.entropy()),
        policies: vec!["root".to_owned()],
        display_name: "root".to_owned(),
        metadata: BTreeMap::new(),
        issued: txn.now().0,
        ttl_s: 0,
        explicit_max_ttl_s: 0,
        renewable: false,
        parent: None,
        depth: 0,
        num_uses: 0,
        path: "sys/init".to_owned(),
    };
    let term = txn.barrier().keyring().term();
    let text = chosen.unwrap_or_else(|| token::make(token::TokenKind::Service, term, txn.entropy()));
    enter(txn, text, &record)
}

fn enter(txn: &mut Txn<'_>, text: SecretBytes, record: &Record) -> Result<NewToken, InsertError> {
    let id = ObjectId::from_bytes(token::digest(txn.barrier().keyring().tokens(), text.expose()));
    let accessor = record.accessor.to_string();
    let container = record.parent.unwrap_or(ORPHANS);
    txn.read_row(&aumbry_state::key::object(id))?;
    txn.insert(container, &accessor, Kind::Token, id)?;
    txn.insert(crate::ACCESSORS, &accessor, Kind::Token, id)?;
    let now = txn.now();
    let expires_at = if record.ttl_s == 0 {
        0
    } else {
        now.plus_ms(record.ttl_s * 1_000).0
    };
    let counters = [record.num_uses, 0];
    let options = ObjectOptions {
        expires_at,
        counters: Counters::Set(counters),
        container,
    };
    let plain = record.encode();
    txn.put_object(id, Kind::Token, plain.expose(), options);
    let object = aumbry_barrier::Object {
        plain,
        created: now,
        expires_at,
        counters,
        container,
    };
    Ok(NewToken {
        token: text,
        info: record.info(&object, now.0),
    })
}

fn choose_policies(caller: &Caller, privileged: bool, wanted: &Create) -> Result<Vec<String>, CreateError> {
    let mut policies = if wanted.policies.is_empty() {
        caller.policies.clone()
    } else {
        wanted.policies.clone()
    };
    if !wanted.no_default_policy && !policies.iter().any(|policy| policy == "root") {
        policies.push("default".to_owned());
    }
    policies.sort_unstable();
    policies.dedup();
    for policy in &policies {
        let held = caller.is_root() || caller.policies.contains(policy);
        let given = privileged && policy != "root";
        if !held && !given && policy != "default" {
            return Err(CreateError::PolicyNotHeld);
        }
    }
    Ok(policies)
}

fn check(wanted: &Create) -> Result<(), CreateError> {
    if wanted.policies.len() > POLICIES_MAX || wanted.policies.iter().any(|policy| Name::parse(policy).is_err()) {
        return Err(CreateError::Invalid(
            "at most 63 policies, each a name of a-z, 0-9, `-`, `_`, `.`",
        ));
    }
    if wanted.display_name.len() > 128 || wanted.display_name.chars().any(char::is_control) {
        return Err(CreateError::Invalid(
            "display_name has at most 128 bytes and no control characters",
        ));
    }
    let is_long = |(key, value): (&String, &String)| key.is_empty() || key.len() > 128 || value.len() > 512;
    if wanted.metadata.len() > METADATA_MAX || wanted.metadata.iter().any(is_long) {
        return Err(CreateError::Invalid(
            "metadata has at most 32 pairs, keys of 1 to 128 bytes, values of at most 512",
        ));
    }
    if wanted.ttl_s > SECONDS_MAX || wanted.explicit_max_ttl_s > SECONDS_MAX {
        return Err(CreateError::Invalid("a TTL is at most 100 years"));
    }
    if wanted.num_uses > u64::from(u32::MAX) {
        return Err(CreateError::Invalid("num_uses is at most 4,294,967,295"));
    }
    Ok(())
}

/// Each level costs a row to read on every request.
const DEPTH_MAX: u8 = 32;
/// With `default` a token has 64, all of which an audit record names.
const POLICIES_MAX: usize = 63;
/// An audit record has room for 64 values: these beside the longest names of all policies.
const METADATA_MAX: usize = 32;
const SECONDS_MAX: u64 = 100 * 366 * 86_400;
