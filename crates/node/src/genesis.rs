//! The first entry of a cluster: keys, seal, root token, default policy, the mount `secret/`.
//!
//! It can be repeated until somebody has opened the seal with the shares: a lost answer must not brick the cluster.

use aumbry_audit::{blob, commitment};
use aumbry_auth::token::make_root;
use aumbry_barrier::{Barrier, DamagedRow, Kind, ListCache, ObjectOptions, Txn, record as stored};
use aumbry_crypto::keyring::Keyring;
use aumbry_crypto::recipient::{Recipient, Recipients};
use aumbry_crypto::seal::{make_seal, wrap_keyring};
use aumbry_state::{
    Consensus, Counters, Entry, EntryHeader, Outcome, Overlay, ProposeError, Put, Row, View, Write, key,
};
use aumbry_types::{
    Clock, ClusterId, Entropy, LogTime, MountPath, Name, ObjectId, RequestId, SecretBytes, SecretKey, StorageId, hex,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Failure, MountOptions, MountTable, RestoredFrom, ops, record, seal};

/// What to initialise with.
pub struct InitOptions {
    /// How many key shares.
    pub shares: u8,
    /// How many of them open the seal.
    pub threshold: u8,
    /// A root token of the operator's choice, for development clusters.
    pub root_token: Option<SecretBytes>,
    /// Whom the shares are encrypted to.
    pub recipients: Option<Recipients>,
    /// Whom the root token is encrypted to.
    pub root_token_recipient: Option<Recipient>,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The certificate of the cluster's authority, PEM.
    pub authority: String,
    /// The private key of the cluster's authority, PEM.
    pub authority_key: SecretBytes,
}

/// What only the operator gets to see, once.
pub struct Initialised {
    /// The key shares; with recipients, each in ASCII armor.
    pub shares: Vec<SecretBytes>,
    /// The root token.
    pub root_token: SecretBytes,
    /// The fingerprint of the key that signs the audit log: to be kept beside the shares.
    pub checkpoint_fingerprint: String,
}

/// What everyone may know of the cluster; stored in clear.
#[derive(Clone, Serialize, Deserialize)]
pub struct GenesisFacts {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The stored data.
    pub storage_id: StorageId,
    /// The certificate of the cluster's authority, PEM.
    pub authority: String,
    /// The fingerprint of the key that signs the audit log.
    pub checkpoint_fingerprint: [u8; 32],
    /// Whether tokens of an operator's choice are accepted.
    pub custom_tokens: bool,
    /// Where the store comes from, if it was restored from a backup or recovered from a survivor.
    pub restored: Option<RestoredFrom>,
}

/// Why the cluster was not initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It was, and the shares are in use.
    #[error("the cluster is initialised already")]
    Already,
    /// The numbers do not fit.
    #[error("{0}")]
    Shares(String),
    /// No leadership.
    #[error("the node does not lead; try again")]
    NotLeader,
    /// The entry was not applied, or it is not known whether it was: try again.
    #[error("{0}; try again: it can be repeated")]
    NotCommitted(String),
    /// A bug or damage.
    #[error("the first entry could not be planned: {0}")]
    Plan(#[from] Failure),
}

/// Initialises, or initialises anew while nobody has used the shares.
///
/// # Errors
/// [`InitError`]
pub async fn initialise(
    consensus: &dyn Consensus,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    options: InitOptions,
) -> Result<Initialised, InitError> {
    let (leader, entry, initialised) = prepare(consensus, clock, entropy, options)?;
    let committed = consensus
        .propose(leader, entry.encode())
        .await
        .map_err(|error| match error {
            ProposeError::NotApplied(text) | ProposeError::Unknown(text) => InitError::NotCommitted(text.to_owned()),
        })?;
    match committed.outcomes[..] {
        [Outcome::Ok] => Ok(initialised),
        _ => Err(InitError::NotCommitted("another initialisation came first".to_owned())),
    }
}

fn prepare(
    consensus: &dyn Consensus,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    options: InitOptions,
) -> Result<(aumbry_types::LeaderId, Entry, Initialised), InitError> {
    let leader = consensus.leadership().ok_or(InitError::NotLeader)?;
    let view = consensus.view();
    let before = seal::read_config(&*view);
    if before.is_some_and(|config| config.confirmed) {
        return Err(InitError::Already);
    }
    let storage_id = StorageId::make(entropy);
    let root = SecretKey::make(entropy);
    let sealed = make_seal(storage_id, 1, options.shares, options.threshold, &root, entropy);
    let (config, shares) = sealed.map_err(|error| InitError::Shares(error.to_string()))?;
    let keyring = Keyring::make(entropy);
    let wrapped = wrap_keyring(&root, storage_id, &keyring, 1, entropy);
    let fingerprint = keyring.checkpoint().verifying_key().fingerprint();
    let facts = GenesisFacts {
        cluster_id: options.cluster_id,
        storage_id,
        authority: options.authority,
        checkpoint_fingerprint: fingerprint,
        custom_tokens: options.root_token.is_some(),
        restored: None,
    };
    let barrier = Barrier::new(storage_id, keyring);
    let now = LogTime(clock.wall().0.max(consensus.status().log_time));
    let overlay = Overlay::new(view);
    let lists = ListCache::default();
    let mut txn = Txn::new(&overlay, &barrier, &lists, entropy, now);
    txn.read_row(&key::seal_config()).map_err(Failure::from)?;
    clear_state(&mut txn);
    txn.write(clear_row(key::seal_config(), config.encode().into(), [0, 0]));
    txn.write(clear_row(key::keyring(), wrapped.into(), [0, 0]));
    txn.write(clear_row(key::node_ids(), Bytes::new(), [1, 0]));
    txn.write(clear_row(
        key::auth_generation(aumbry_auth::NAMESPACE_ROOT),
        Bytes::new(),
        [1, 0],
    ));
    txn.write(clear_row(
        key::genesis(),
        Bytes::copy_from_slice(stored::encode(FACTS_VERSION, &facts).expose()),
        [0, 0],
    ));
    let (recipients, root_token_recipient) = (options.recipients, options.root_token_recipient);
    let authority_key = options.authority_key;
    txn.put_object(
        AUTHORITY,
        Kind::ClusterAuthority,
        authority_key.expose(),
        ObjectOptions::default(),
    );
    let token = make_root(&mut txn, options.root_token).map_err(Failure::from)?;
    ops::enter_policy(&mut txn, &parse_name("default")?, DEFAULT_POLICY)?;
    let mount = MountPath::parse("secret").map_err(|error| Failure::internal(error.to_string()))?;
    let options = MountOptions {
        version: 2,
        ..MountOptions::default()
    };
    ops::enter_mount(
        &mut txn,
        MountTable::Secrets,
        &mount,
        ("kv", "key/value secrets"),
        options,
    )?;

    let record = record::internal("sys.init", leader.node.0, "", RequestId::make(entropy));
    let header = EntryHeader {
        log_time: now.0,
        wall_time: clock.wall().0,
    };
    let entry = only_entry(&barrier, txn, &record, header, entropy)?;
    let shares: Vec<_> = shares.iter().map(aumbry_crypto::share::Share::expose_text).collect();
    let encrypt = |recipient: Recipient| SecretBytes::from(recipient.encrypt(&token.token, entropy));
    let initialised = Initialised {
        shares: match recipients {
            Some(recipients) => recipients.encrypt(&shares, entropy),
            None => shares,
        },
        root_token: root_token_recipient.map_or_else(|| token.token.duplicate(), encrypt),
        checkpoint_fingerprint: hex::encode(&fingerprint),
    };
    Ok((leader, entry, initialised))
}

/// An entry of one plan, made without the pipeline.
pub(crate) fn only_entry(
    barrier: &Barrier,
    txn: Txn<'_>,
    record: &aumbry_audit::Record,
    header: EntryHeader,
    entropy: &dyn Entropy,
) -> Result<Entry, Failure> {
    let record = record.encode();
    let mut salt = [0; 16];
    entropy.fill(&mut salt);
    let storage_id = barrier.storage_id();
    let commitment = commitment(&storage_id, &salt, &record);
    let command = txn.finish(commitment);
    let epoch = barrier.keyring().audit_epoch();
    let audit_key = barrier
        .keyring()
        .audit(epoch)
        .ok_or_else(|| Failure::internal("no audit key"))?;
    let audit = blob::seal(audit_key, epoch, &storage_id, &[commitment], &[(record, salt)], entropy);
    Ok(Entry {
        header,
        commands: vec![command],
        audit: audit.into(),
    })
}

/// The cluster's public facts.
#[must_use]
pub fn genesis_facts(view: &dyn View) -> Option<GenesisFacts> {
    let row = Row::decode(&view.get(&key::genesis())?).ok()?;
    stored::decode(FACTS_VERSION, &row.body).ok()
}

/// The log index of the first entry; 0 before it.
pub(crate) fn entry_index(view: &dyn View) -> u64 {
    let row = view.get(&key::genesis()).and_then(|row| Row::decode(&row).ok());
    row.map_or(0, |row| row.rev.index)
}

pub(crate) fn read_facts(txn: &Txn<'_>) -> Option<GenesisFacts> {
    let row = txn.peek_row(&key::genesis()).ok()??;
    stored::decode(FACTS_VERSION, &row.body).ok()
}

pub(crate) fn allows_custom_tokens(txn: &Txn<'_>) -> bool {
    read_facts(txn).is_some_and(|facts| facts.custom_tokens)
}

/// The private key with which nodes are certified.
pub(crate) fn authority_key(txn: &Txn<'_>) -> Result<SecretBytes, Failure> {
    let object = txn.peek_object(AUTHORITY, Kind::ClusterAuthority)?.ok_or(DamagedRow)?;
    Ok(object.plain)
}

/// Marks the shares as used: from now on initialisation is refused. True if there is something to do.
pub(crate) fn confirm(txn: &mut Txn<'_>) -> Result<bool, Failure> {
    let Some(row) = txn.read_row(&key::seal_config())? else {
        return Ok(false);
    };
    let Ok(mut config) = aumbry_crypto::seal::SealConfig::decode(&row.body) else {
        return Ok(false);
    };
    if config.storage_id != txn.barrier().storage_id() {
        // Initialised again since this node was unsealed: its keys open nothing any more.
        return Err(Failure::sealed());
    }
    if config.confirmed {
        return Ok(false);
    }
    config.confirmed = true;
    txn.write(clear_row(key::seal_config(), config.encode().into(), [0, 0]));
    Ok(true)
}

/// Removes everything that an initialisation before this one left.
fn clear_state(txn: &mut Txn<'_>) {
    let mut containers = Vec::new();
    for table in key::TABLES {
        for (row, _) in txn.scan_rows(&[table], None, GENESIS_ROWS_MAX) {
            match key::parse_container(&row) {
                Some(id) => containers.push(id),
                None if key::is_writable(&row) => txn.write(Write::Delete(row)),
                None => {}
            }
        }
    }
    for id in containers {
        txn.write(Write::ForgetContainer(id));
    }
}

pub(crate) fn clear_row(row_key: Bytes, body: Bytes, counters: [u64; 2]) -> Write {
    Write::Put(Put {
        key: row_key,
        kind: Kind::Cluster as u8,
        expires_at: 0,
        counters: Counters::Set(counters),
        key_term: 0,
        container: ObjectId::well_known(0),
        body,
    })
}

fn parse_name(name: &str) -> Result<Name, Failure> {
    Name::parse(name).map_err(|error| Failure::internal(error.to_string()))
}

/// The name of the confirmation in audit records.
pub(crate) const CONFIRM: &str = "sys.init.confirm";
/// The object of the authority's key.
pub(crate) const AUTHORITY: ObjectId = ObjectId::well_known(7);
pub(crate) const FACTS_VERSION: u8 = 1;
/// The first entry writes some twenty rows; nothing else is written before the shares are used.
const GENESIS_ROWS_MAX: usize = 1_000;

/// What every token may do: look after itself.
pub(crate) const DEFAULT_POLICY: &str = r#"# What every token may do unless it was made without this policy: look after itself.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self"  { capabilities = ["update"] }

# A token's own cubbyhole, and replies that are wrapped for it.
path "cubbyhole/*"            { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/wrapping/wrap"      { capabilities = ["update"] }
path "sys/wrapping/lookup"    { capabilities = ["update"] }
path "sys/wrapping/unwrap"    { capabilities = ["update"] }
"#;
