//! What is stored of a token, and what is told of it.

use std::collections::BTreeMap;

use aumbry_barrier::{DamagedRow, Kind, Object, Txn, record};
use aumbry_types::ObjectId;
use serde::{Deserialize, Serialize};

use crate::cidr::Cidr;
use crate::{NAMESPACE_ROOT, Shelf};

/// Kinds of tokens. Variants are only ever added at the end: stored records know them by their place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenType {
    /// Stands in the store, can be renewed and revoked.
    #[default]
    Service,
    /// Opens one wrapped reply, and does nothing else.
    Wrapping,
    /// Is not stored, and can be neither renewed nor revoked.
    Batch,
}

impl TokenType {
    /// Its name in requests and replies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            // Clients know no other kind of token that is stored.
            Self::Service | Self::Wrapping => "service",
            Self::Batch => "batch",
        }
    }
}

/// As whom somebody logged in: a name that a mount knows, and what it told of this login. Nothing of it changes while a token lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Alias {
    /// The mount.
    pub mount: ObjectId,
    /// The name.
    pub name: String,
    /// What the method told of the login.
    pub metadata: BTreeMap<String, String>,
    /// The groups that the method said it is in.
    pub groups: Vec<String>,
}

/// A stored token. Its row's expiry and first counter (uses left) stand in the clear header.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) accessor: ObjectId,
    pub(super) policies: Vec<String>,
    pub(super) display_name: String,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) issued: u64,
    pub(super) ttl_s: u64,
    pub(super) explicit_max_ttl_s: u64,
    pub(super) renewable: bool,
    pub(super) parent: Option<ObjectId>,
    pub(super) depth: u8,
    pub(super) num_uses: u64,
    pub(super) path: String,
    /// For how many seconds each renewal is; 0 for a token that is not periodic.
    pub(super) period_s: u64,
    /// The most seconds it can live by renewals, if it is not periodic; 0 is the system's limit.
    pub(super) max_ttl_s: u64,
    /// Where it can be used from; nothing is everywhere.
    pub(super) bound_cidrs: Vec<Cidr>,
    pub(super) entity: Option<ObjectId>,
    /// The login that it comes from, by itself or by an ancestor.
    pub(super) alias: Option<Alias>,
    pub(super) token_type: TokenType,
    /// The name of the role that it was created with; empty for none.
    pub(super) role: String,
    /// The container where it stands, if it has no parent and was given to a login. Revoked with the login's mount.
    pub(super) home: Option<ObjectId>,
    /// The role or user that it comes from, without which it is not renewed.
    pub(super) source: Option<ObjectId>,
    /// Where its policies and its accessor are.
    pub(super) namespace: ObjectId,
    /// The containers of limits that count it, by its accessor. They stand behind the rest, if there are any.
    #[serde(skip)]
    pub(super) counted: Vec<ObjectId>,
}

/// The first layout.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct First {
    accessor: ObjectId,
    policies: Vec<String>,
    display_name: String,
    metadata: BTreeMap<String, String>,
    issued: u64,
    ttl_s: u64,
    explicit_max_ttl_s: u64,
    renewable: bool,
    parent: Option<ObjectId>,
    depth: u8,
    num_uses: u64,
    path: String,
}

impl From<First> for Record {
    fn from(first: First) -> Self {
        Self {
            accessor: first.accessor,
            policies: first.policies,
            display_name: first.display_name,
            metadata: first.metadata,
            issued: first.issued,
            ttl_s: first.ttl_s,
            explicit_max_ttl_s: first.explicit_max_ttl_s,
            renewable: first.renewable,
            parent: first.parent,
            depth: first.depth,
            num_uses: first.num_uses,
            path: first.path,
            ..Self::default()
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self {
            accessor: ObjectId::well_known(0),
            policies: Vec::new(),
            display_name: String::new(),
            metadata: BTreeMap::new(),
            issued: 0,
            ttl_s: 0,
            explicit_max_ttl_s: 0,
            renewable: false,
            parent: None,
            depth: 0,
            num_uses: 0,
            path: String::new(),
            period_s: 0,
            max_ttl_s: 0,
            bound_cidrs: Vec::new(),
            entity: None,
            alias: None,
            token_type: TokenType::Service,
            role: String::new(),
            home: None,
            source: None,
            namespace: NAMESPACE_ROOT,
            counted: Vec::new(),
        }
    }
}

impl Record {
    /// Reads and records a token's row.
    pub(super) fn read(txn: &mut Txn<'_>, id: ObjectId) -> Result<Option<(Self, Object)>, DamagedRow> {
        txn.read_object(id, Kind::Token)?.map(Self::open).transpose()
    }

    /// Reads a token's row without recording it.
    pub(super) fn peek(txn: &Txn<'_>, id: ObjectId) -> Result<Option<(Self, Object)>, DamagedRow> {
        txn.peek_object(id, Kind::Token)?.map(Self::open).transpose()
    }

    fn open(object: Object) -> Result<(Self, Object), DamagedRow> {
        let record = Self::decode(object.plain.expose()).ok_or(DamagedRow)?;
        Ok((record, object))
    }

    pub(super) fn decode(plain: &[u8]) -> Option<Self> {
        match *plain.first()? {
            VERSION_FIRST => record::decode(VERSION_FIRST, plain)
                .ok()
                .map(|first: First| first.into()),
            VERSION_COUNTED => {
                let (record, counted): (Self, _) = record::decode(VERSION_COUNTED, plain).ok()?;
                Some(Self { counted, ..record })
            }
            _ => record::decode(VERSION, plain).ok(),
        }
    }

    pub(super) fn encode(&self) -> aumbry_types::SecretBytes {
        self.encode_counted(&self.counted)
    }

    /// The same, of one that these containers count.
    pub(super) fn encode_counted(&self, counted: &[ObjectId]) -> aumbry_types::SecretBytes {
        match counted {
            [] => record::encode(VERSION, self),
            counted => record::encode(VERSION_COUNTED, &(self, counted)),
        }
    }

    /// The container where it stands by its accessor.
    pub(super) fn container(&self) -> ObjectId {
        self.parent
            .or(self.home)
            .unwrap_or_else(|| Shelf::Orphans.of(self.namespace))
    }

    pub(super) fn info(&self, object: &Object, now_ms: u64) -> Info {
        Info {
            accessor: self.accessor.to_string(),
            policies: self.policies.clone(),
            display_name: self.display_name.clone(),
            metadata: self.metadata.clone(),
            issued: self.issued,
            expires_at: object.expires_at,
            ttl_s: object.expires_at.saturating_sub(now_ms).div_ceil(1_000),
            creation_ttl_s: self.ttl_s,
            explicit_max_ttl_s: self.explicit_max_ttl_s,
            renewable: self.renewable,
            orphan: self.parent.is_none(),
            num_uses: if self.num_uses == 0 { 0 } else { object.counters[0] },
            path: self.path.clone(),
            period_s: self.period_s,
            bound_cidrs: self.bound_cidrs.clone(),
            entity: self.entity,
            identity_policies: Vec::new(),
            token_type: self.token_type,
            role: self.role.clone(),
            namespace: None,
        }
    }
}

/// What is told of a token; never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Its accessor: names it, authenticates nothing.
    pub accessor: String,
    /// Its policies, sorted.
    pub policies: Vec<String>,
    /// Its name for people.
    pub display_name: String,
    /// The creator's own pairs.
    pub metadata: BTreeMap<String, String>,
    /// When it was issued, in log time (ms).
    pub issued: u64,
    /// When it expires, in log time (ms); 0 is never.
    pub expires_at: u64,
    /// How many seconds are left; 0 for a token that never expires.
    pub ttl_s: u64,
    /// How many seconds it was issued for.
    pub creation_ttl_s: u64,
    /// The most seconds it can live from its issue; 0 is no limit of its own.
    pub explicit_max_ttl_s: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Whether it has no parent.
    pub orphan: bool,
    /// How many uses are left; 0 for a token without a limit.
    pub num_uses: u64,
    /// The path of the request that created it.
    pub path: String,
    /// For how many seconds each renewal is; 0 for a token that is not periodic.
    pub period_s: u64,
    /// Where it can be used from; nothing is everywhere.
    pub bound_cidrs: Vec<Cidr>,
    /// Whose it is.
    pub entity: Option<ObjectId>,
    /// The policies of its entity and its groups, if the caller found them out.
    pub identity_policies: Vec<String>,
    /// Of which kind it is.
    pub token_type: TokenType,
    /// The role that it was created with; empty for none.
    pub role: String,
    /// The path of its namespace, if the caller found it out and it is not the root.
    pub namespace: Option<String>,
}

/// [`Info`] as replies that were stored by builds before this one have it.
#[derive(Serialize, Deserialize)]
pub struct FirstInfo {
    accessor: String,
    policies: Vec<String>,
    display_name: String,
    metadata: BTreeMap<String, String>,
    issued: u64,
    expires_at: u64,
    ttl_s: u64,
    creation_ttl_s: u64,
    explicit_max_ttl_s: u64,
    renewable: bool,
    orphan: bool,
    num_uses: u64,
    path: String,
}

impl From<FirstInfo> for Info {
    fn from(first: FirstInfo) -> Self {
        Self {
            accessor: first.accessor,
            policies: first.policies,
            display_name: first.display_name,
            metadata: first.metadata,
            issued: first.issued,
            expires_at: first.expires_at,
            ttl_s: first.ttl_s,
            creation_ttl_s: first.creation_ttl_s,
            explicit_max_ttl_s: first.explicit_max_ttl_s,
            renewable: first.renewable,
            orphan: first.orphan,
            num_uses: first.num_uses,
            path: first.path,
            ..Self::default()
        }
    }
}

const VERSION_FIRST: u8 = 1;
const VERSION: u8 = 2;
/// As that, with the containers of limits behind it.
const VERSION_COUNTED: u8 = 3;

#[cfg(test)]
mod tests {
    use aumbry_types::hex;

    use super::*;

    fn first() -> First {
        First {
            accessor: ObjectId::well_known(1),
            policies: vec!["a".to_owned(), "default".to_owned()],
            display_name: "ci".to_owned(),
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            issued: 1_700_000_000_000,
            ttl_s: 3_600,
            explicit_max_ttl_s: 7_200,
            renewable: true,
            parent: Some(ObjectId::well_known(2)),
            depth: 3,
            num_uses: 5,
            path: "auth/token/create".to_owned(),
        }
    }

    #[test]
    fn frozen_bytes() {
        let check = |plain: &[u8], expect: &str| {
            assert_eq!(hex::encode(plain), expect);
            let read = Record::decode(plain).expect("is readable");
            assert_eq!(read.path, "auth/token/create");
            read
        };
        let old = check(
            record::encode(VERSION_FIRST, &first()).expose(),
            "01000000000000000000000000000000010201610764656661756c7402636901016b017680d095ffbc31901ca038010100000000000000000000000000000002030511617574682f746f6b656e2f637265617465",
        );
        assert_eq!(old.period_s, 0);
        assert!(old.bound_cidrs.is_empty());
        assert_eq!(old.namespace, NAMESPACE_ROOT);
        assert_eq!(old.container(), ObjectId::well_known(2));
        let now = Record {
            period_s: 60,
            max_ttl_s: 120,
            bound_cidrs: vec!["10.0.0.0/8".parse().expect("is a range")],
            entity: Some(ObjectId::well_known(3)),
            alias: Some(Alias {
                mount: ObjectId::well_known(6),
                name: "app".to_owned(),
                metadata: [("role_name".to_owned(), "app".to_owned())].into(),
                groups: vec!["ops".to_owned()],
            }),
            role: "ci".to_owned(),
            home: Some(ObjectId::well_known(4)),
            source: Some(ObjectId::well_known(5)),
            namespace: ObjectId::well_known(7),
            ..Record::from(first())
        };
        let read = check(
            now.encode().expose(),
            "02000000000000000000000000000000010201610764656661756c7402636901016b017680d095ffbc31901ca038010100000000000000000000000000000002030511617574682f746f6b656e2f6372656174653c78010a31302e302e302e302f3801000000000000000000000000000000030100000000000000000000000000000006036170700109726f6c655f6e616d650361707001036f7073000263690100000000000000000000000000000004010000000000000000000000000000000500000000000000000000000000000007",
        );
        assert_eq!((read.period_s, read.max_ttl_s), (60, 120));
        assert_eq!(read.bound_cidrs, now.bound_cidrs);
        assert_eq!(read.alias, now.alias);
        assert_eq!(
            (read.entity, read.home, read.source, read.namespace),
            (now.entity, now.home, now.source, now.namespace)
        );
        let before = now.encode();
        let counted = Record {
            counted: vec![ObjectId::well_known(8)],
            ..now
        };
        let plain = counted.encode();
        let read = Record::decode(plain.expose()).expect("is readable");
        assert_eq!((&read.counted, read.namespace), (&counted.counted, counted.namespace));
        let behind = format!(
            "{}0100000000000000000000000000000008",
            &hex::encode(before.expose())[2..]
        );
        assert_eq!(
            hex::encode(plain.expose()),
            format!("03{behind}"),
            "as before, with the containers behind"
        );
        assert!(Record::decode(&[3]).is_none() && Record::decode(&[]).is_none());
    }
}
