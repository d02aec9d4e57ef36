//! Creating tokens below a caller's.

use std::collections::BTreeMap;
use std::sync::Arc;

use aumbry_barrier::{DIRECTORY_FULL, DamagedRow, InsertError, Kind, ObjectOptions, Txn};
use aumbry_crypto::token;
use aumbry_state::{ContainerState, Counters, key};
use aumbry_types::{Name, ObjectId, SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::Caller;
use super::batch;
use super::counted;
use super::lifetime::Lifetime;
use super::record::{Alias, Info, Record, TokenType};
use super::role::{self, Role};
use crate::cidr::{Cidr, is_within};
use crate::identity::{self, LoggedIn};
use crate::places::cubbyhole_of;
use crate::{NAMESPACE_ROOT, Shelf};

/// What kind of token is wanted.
#[derive(Clone, Default)]
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
    /// For how many seconds each renewal is, without end; 0 for a token that is not periodic. For privileged callers.
    pub period_s: u64,
    /// Where it can be used from, within what the caller's token is bound to; nothing is as that one.
    pub bound_cidrs: Vec<Cidr>,
    /// Of which kind it is; a service token if nothing is said.
    pub token_type: Option<TokenType>,
    /// The role that it is created with, which decides what can be asked for.
    pub role: Option<Name>,
    /// As whom it is, if not as its creator: an alias on the mount of tokens, which the role must allow.
    pub entity_alias: Option<String>,
    /// Its text, if the creator chooses it. Only where the store takes such texts at all, which the caller of [`create`] knows.
    pub id: Option<Arc<SecretBytes>>,
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
    /// The role does not allow a policy.
    #[error("the role does not allow one of these policies")]
    PolicyNotAllowed,
    /// There is no such role.
    #[error("no such token role")]
    NoSuchRole,
    /// A field is out of bounds.
    #[error("{0}")]
    Invalid(&'static str),
    /// An operator's limit is reached.
    #[error("{0}")]
    Limited(&'static str),
    /// A stored row is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRow),
}

impl From<InsertError> for CreateError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Full => Self::Invalid(DIRECTORY_FULL),
            InsertError::Limited(text) => Self::Limited(text),
            InsertError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }
}

/// Creates a token below the caller's. `privileged` callers (root, or `sudo` on the path) may give any policy but `root`.
///
/// # Errors
/// [`CreateError`]
pub fn create(txn: &mut Txn<'_>, caller: &Caller, privileged: bool, wanted: Create) -> Result<NewToken, CreateError> {
    let privileged = privileged || caller.is_root();
    check(&wanted)?;
    // As in Vault, orphans included: what it creates could be used without limit.
    if caller.is_counted {
        return Err(CreateError::Invalid(
            "a token with a limited number of uses cannot create tokens; use one without a limit",
        ));
    }
    if caller.token_type == TokenType::Batch {
        return Err(CreateError::Invalid("a batch token cannot create tokens"));
    }
    if wanted.period_s > 0 && !privileged {
        return Err(CreateError::Invalid("a periodic token needs `sudo` on the path"));
    }
    if let Some(text) = &wanted.id {
        check_chosen(txn, privileged, text)?;
    }
    let role = match &wanted.role {
        Some(name) => Some(Role::read(txn, name)?.ok_or(CreateError::NoSuchRole)?),
        None => None,
    };
    let whose = choose_alias(txn, caller, role.as_ref().map(|(_, role)| role), &wanted)?;
    // Names of policies mean what they mean in the token's own namespace: elsewhere the caller's are names of something else.
    let is_own = caller.namespace == txn.namespace();
    let held: &[String] = if is_own { &caller.policies } else { &[] };
    let policies = choose_policies(caller, held, privileged, role.as_ref().map(|(_, role)| role), &wanted)?;
    if txn.namespace() != NAMESPACE_ROOT && policies.iter().any(|policy| policy == "root") {
        return Err(CreateError::Invalid(
            "the policy `root` is there in the root namespace alone; write a policy for what the token is to do",
        ));
    }
    let (source, wanted, path) = match role {
        Some((source, role)) => {
            let path = role.path(wanted.role.as_ref());
            (Some(source), role.apply(wanted), path)
        }
        None => (None, wanted, "auth/token/create".to_owned()),
    };
    let token_type = wanted.token_type.unwrap_or_default();
    let is_batch = token_type == TokenType::Batch;
    if is_batch && (wanted.num_uses > 0 || wanted.period_s > 0) {
        return Err(CreateError::Invalid(
            "a batch token has no number of uses and no period: nothing of it is stored",
        ));
    }
    let bound_cidrs = choose_cidrs(caller, source.is_some(), &wanted)?;
    let is_root = policies.iter().any(|policy| policy == "root");
    if is_batch && is_root {
        return Err(CreateError::Invalid("a root token is no batch token"));
    }
    let lifetime = Lifetime {
        wanted_s: wanted.ttl_s,
        max_s: 0,
        explicit_max_s: wanted.explicit_max_ttl_s,
        period_s: wanted.period_s,
    };
    let is_endless = is_root && wanted.ttl_s == 0 && wanted.explicit_max_ttl_s == 0 && wanted.period_s == 0;
    let ttl_s = if is_endless { 0 } else { lifetime.seconds() };
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
        renewable: wanted.renewable && ttl_s > 0 && !is_batch,
        parent: (!wanted.orphan).then_some(caller.id),
        depth: if wanted.orphan { 0 } else { caller.depth + 1 },
        num_uses: wanted.num_uses,
        path,
        period_s: wanted.period_s,
        bound_cidrs,
        entity: whose.0,
        alias: whose.1,
        token_type,
        role: wanted.role.map(|name| name.as_str().to_owned()).unwrap_or_default(),
        source,
        namespace: txn.namespace(),
        ..Record::default()
    };
    match wanted.id {
        Some(_) if is_batch => Err(CreateError::Invalid("the text of a batch token is not chosen")),
        Some(text) => Ok(enter(txn, text.duplicate(), &record, &record.role)?),
        None => enter_new(txn, &record, &record.role),
    }
}

/// Creates the first token, which may do everything and never expires.
///
/// # Errors
/// [`InsertError`]
pub fn make_root(txn: &mut Txn<'_>, chosen: Option<SecretBytes>) -> Result<NewToken, InsertError> {
    let record = root(txn, "sys/init");
    match chosen {
        Some(text) => enter(txn, text, &record, ""),
        None => enter_stored(txn, &record, ""),
    }
}

/// Makes a root token for holders of key shares.
///
/// # Errors
/// [`InsertError`] as for any token.
pub fn generate_root(txn: &mut Txn<'_>) -> Result<NewToken, InsertError> {
    let record = root(txn, "sys/generate-root");
    enter_stored(txn, &record, "")
}

fn root(txn: &Txn<'_>, path: &str) -> Record {
    Record {
        accessor: ObjectId::make(txn.entropy()),
        policies: vec!["root".to_owned()],
        display_name: "root".to_owned(),
        issued: txn.now().0,
        path: path.to_owned(),
        ..Record::default()
    }
}

/// Makes a token with a text of its own, and enters it if it is one that is stored. `role` is the one that limits know it by.
pub(super) fn enter_new(txn: &mut Txn<'_>, record: &Record, role: &str) -> Result<NewToken, CreateError> {
    match record.token_type {
        TokenType::Batch => batch::make(txn, record),
        TokenType::Service | TokenType::Wrapping => Ok(enter_stored(txn, record, role)?),
    }
}

fn enter_stored(txn: &mut Txn<'_>, record: &Record, role: &str) -> Result<NewToken, InsertError> {
    let text = token::make(token::TokenKind::Service, txn.barrier().keyring().term(), txn.entropy());
    enter(txn, text, record, role)
}

/// Enters a token with this text.
pub(super) fn enter(
    txn: &mut Txn<'_>,
    text: SecretBytes,
    record: &Record,
    role: &str,
) -> Result<NewToken, InsertError> {
    let id = ObjectId::from_bytes(token::digest(txn.barrier().keyring().tokens(), text.expose()));
    let accessor = record.accessor.to_string();
    let container = record.container();
    txn.read_row(&key::object(id))?;
    txn.insert(container, &accessor, Kind::Token, id)?;
    txn.insert(Shelf::Accessors.of(record.namespace), &accessor, Kind::Token, id)?;
    let counted = counted::enter(txn, (&record.path, role), &accessor, id)?;
    let now = txn.now();
    let expires_at = if record.ttl_s == 0 {
        0
    } else {
        now.plus_ms(record.ttl_s.saturating_mul(1_000)).0
    };
    let counters = [record.num_uses, 0];
    let options = ObjectOptions {
        expires_at,
        counters: Counters::Set(counters),
        container,
    };
    let plain = record.encode_counted(&counted);
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

fn choose_policies(
    caller: &Caller,
    held: &[String],
    privileged: bool,
    role: Option<&Role>,
    wanted: &Create,
) -> Result<Vec<String>, CreateError> {
    if let Some(role) = role.filter(|role| role.decides_policies()) {
        let policies = role.choose_policies(held, &wanted.policies, wanted.no_default_policy)?;
        let is_root = policies.iter().any(|policy| policy == "root");
        return if is_root && !caller.is_root() {
            Err(CreateError::PolicyNotHeld)
        } else {
            Ok(policies)
        };
    }
    let no_default_policy = wanted.no_default_policy || role.is_some_and(|role| role.params.no_default_policy);
    let mut policies = if wanted.policies.is_empty() {
        held.to_vec()
    } else {
        wanted.policies.clone()
    };
    if !no_default_policy && !policies.iter().any(|policy| policy == "root") {
        policies.push("default".to_owned());
    }
    policies.sort_unstable();
    policies.dedup();
    for policy in &policies {
        let is_held = caller.is_root() || held.contains(policy);
        let given = privileged && policy != "root";
        if !is_held && !given && policy != "default" {
            return Err(CreateError::PolicyNotHeld);
        }
    }
    Ok(policies)
}

/// Whose the token is: its creator's entity's, or that of an alias which the role allows.
fn choose_alias(
    txn: &mut Txn<'_>,
    caller: &Caller,
    role: Option<&Role>,
    wanted: &Create,
) -> Result<(Option<ObjectId>, Option<Alias>), CreateError> {
    let Some(name) = &wanted.entity_alias else {
        // An entity has policies in its own namespace.
        if caller.namespace != txn.namespace() {
            return Ok((None, None));
        }
        return Ok((caller.entity, caller.alias.clone()));
    };
    if !role.is_some_and(|role| role.allows_alias(name)) {
        return Err(CreateError::Invalid(
            "entity_alias needs a role whose allowed_entity_aliases has it",
        ));
    }
    // One spelling, as no two people differ by case alone.
    let name = &name.to_lowercase();
    let mount = Shelf::TokenMount.here(txn);
    match identity::log_in(txn, mount, name)? {
        LoggedIn::Entity { entity, .. } => {
            let alias = Alias {
                mount,
                name: name.clone(),
                metadata: BTreeMap::new(),
                groups: Vec::new(),
            };
            Ok((Some(entity), Some(alias)))
        }
        LoggedIn::Disabled => Err(CreateError::Invalid("the entity with this alias is disabled")),
        LoggedIn::Limited(text) => Err(CreateError::Limited(text)),
        LoggedIn::Nobody => Err(CreateError::Invalid("entity_alias is no name that an alias can have")),
    }
}

/// What the operator wrote into a role of orphans stands as it is. Anything else stays within what binds the caller.
fn choose_cidrs(caller: &Caller, has_role: bool, wanted: &Create) -> Result<Vec<Cidr>, CreateError> {
    if wanted.bound_cidrs.is_empty() {
        return Ok(caller.bound_cidrs.clone());
    }
    let is_free = has_role && wanted.orphan;
    if !is_free && !is_within(&wanted.bound_cidrs, &caller.bound_cidrs) {
        return Err(CreateError::Invalid(
            "a token is bound to no other addresses than the one that creates it",
        ));
    }
    Ok(wanted.bound_cidrs.clone())
}

/// A text that somebody chose. It can be guessed as well as it was chosen badly, so it is for the privileged; and it must be new: what is left of a
/// token that had it before would be this one's.
fn check_chosen(txn: &mut Txn<'_>, privileged: bool, text: &SecretBytes) -> Result<(), CreateError> {
    if !privileged {
        return Err(CreateError::Invalid(
            "to choose a token's text needs `sudo` on the path",
        ));
    }
    let is_fine = |byte: &u8| byte.is_ascii_graphic() && *byte != b'.';
    if !CHOSEN_BYTES.contains(&text.len()) || !text.expose().iter().all(is_fine) {
        return Err(CreateError::Invalid(
            "a token's text of your choice has 4 to 128 characters of ASCII without spaces and dots",
        ));
    }
    let id = ObjectId::from_bytes(token::digest(txn.barrier().keyring().tokens(), text.expose()));
    let is_known = txn.read_row(&key::object(id))?.is_some() || txn.read_row(&key::work(id))?.is_some();
    let mut is_left = false;
    for container in [id, cubbyhole_of(id)] {
        txn.fence_scan(container)?;
        is_left |= txn.container(container)? != ContainerState::default();
    }
    if is_known || is_left {
        return Err(CreateError::Invalid(
            "a token with this text is there, or was until a moment ago; choose another",
        ));
    }
    Ok(())
}

/// What every new token keeps to, whoever asks for it.
pub(super) fn check(wanted: &Create) -> Result<(), CreateError> {
    role::check_policies(&wanted.policies).map_err(CreateError::Invalid)?;
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
    if [wanted.ttl_s, wanted.explicit_max_ttl_s, wanted.period_s]
        .iter()
        .any(|seconds| *seconds > SECONDS_MAX)
    {
        return Err(CreateError::Invalid("a TTL is at most 100 years"));
    }
    if wanted.num_uses > NUM_USES_MAX {
        return Err(CreateError::Invalid("num_uses is at most 4,294,967,295"));
    }
    Ok(())
}

/// Shorter ones could be guessed at once, and nobody types longer ones.
const CHOSEN_BYTES: std::ops::RangeInclusive<usize> = 4..=128;
/// Each level costs a row to read on every request.
const DEPTH_MAX: u8 = 32;
/// An audit record has room for 64 values: these beside the longest names of all policies.
const METADATA_MAX: usize = 32;
const SECONDS_MAX: u64 = 100 * 366 * 86_400;
const NUM_USES_MAX: u64 = u32::MAX as u64;
