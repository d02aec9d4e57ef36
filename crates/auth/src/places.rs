//! The containers of a namespace, those of the cluster, and those that belong to a mount. Numbers and labels are only ever added.

pub use aumbry_barrier::NAMESPACE_ROOT;
use aumbry_barrier::{Object, ObjectOptions, Txn};
use aumbry_crypto::sha256;
use aumbry_types::ObjectId;

/// Join tokens by keyed digest. The cluster's.
pub const JOIN_TOKENS: ObjectId = ObjectId::well_known(6);
/// Rate limits by name. The cluster's.
pub const QUOTAS: ObjectId = ObjectId::well_known(27);
/// Limits on numbers by family and name. The cluster's.
pub const LIMITS: ObjectId = ObjectId::well_known(40);
/// All namespaces but the root, by their full paths. The cluster's: a path is resolved with one directory.
pub const NAMESPACES: ObjectId = ObjectId::well_known(31);

/// A container that every namespace has. Those of the root have numbers, those of others are derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Mounts by path.
    Mounts,
    /// Policies by name.
    Policies,
    /// Tokens by accessor.
    Accessors,
    /// Tokens without a parent, by accessor.
    Orphans,
    /// Auth methods by path.
    AuthMounts,
    /// Roles of tokens by name.
    TokenRoles,
    /// Entities by name.
    Entities,
    /// Groups by name.
    Groups,
    /// Aliases by id.
    Aliases,
    /// Stands for the mount of tokens, which nobody mounts, where aliases speak of it.
    TokenMount,
    /// Methods of a second factor, by id.
    MfaMethods,
    /// Who needs a second factor, by name.
    MfaEnforcements,
    /// Policies of passwords, by name.
    PasswordPolicies,
}

impl Shelf {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Mounts,
        Self::Policies,
        Self::Accessors,
        Self::Orphans,
        Self::AuthMounts,
        Self::TokenRoles,
        Self::Entities,
        Self::Groups,
        Self::Aliases,
        Self::TokenMount,
        Self::MfaMethods,
        Self::MfaEnforcements,
        Self::PasswordPolicies,
    ];

    /// That of a namespace.
    #[must_use]
    pub fn of(self, namespace: ObjectId) -> ObjectId {
        let (number, label) = self.number_and_label();
        if namespace == NAMESPACE_ROOT {
            ObjectId::well_known(number)
        } else {
            derive(label, namespace)
        }
    }

    /// That of the namespace which a plan is in.
    #[must_use]
    pub fn here(self, txn: &Txn<'_>) -> ObjectId {
        self.of(txn.namespace())
    }

    const fn number_and_label(self) -> (u8, &'static [u8; 8]) {
        match self {
            Self::Mounts => (2, b"ns-mount"),
            Self::Policies => (3, b"ns-polic"),
            Self::Accessors => (4, b"ns-acces"),
            Self::Orphans => (5, b"ns-orpha"),
            Self::AuthMounts => (16, b"ns-authm"),
            Self::TokenRoles => (20, b"ns-trole"),
            Self::Entities => (24, b"ns-entit"),
            Self::Groups => (25, b"ns-group"),
            Self::Aliases => (26, b"ns-alias"),
            Self::TokenMount => (28, b"ns-token"),
            Self::MfaMethods => (29, b"ns-mfame"),
            Self::MfaEnforcements => (30, b"ns-mfaen"),
            Self::PasswordPolicies => (44, b"ns-pwpol"),
        }
    }
}

/// What is stored of something that is found by its id, so that it is found in its own namespace alone.
pub(crate) fn options_here(txn: &Txn<'_>) -> ObjectOptions {
    ObjectOptions {
        container: owner(txn),
        ..ObjectOptions::default()
    }
}

/// An object, if it is of the namespace that a plan is in: whoever knows the id of another namespace's finds nothing.
pub(crate) fn found_here(txn: &Txn<'_>, object: Option<Object>) -> Option<Object> {
    object.filter(|object| object.container == owner(txn))
}

/// What the rows of a namespace have for a container. Those of the root were written before there were others.
fn owner(txn: &Txn<'_>) -> ObjectId {
    match txn.namespace() {
        NAMESPACE_ROOT => ObjectId::well_known(0),
        namespace => namespace,
    }
}

/// A container that belongs to a mount, beside the one that has the mount's own id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The tokens of its logins, by accessor.
    Logins,
    /// The role ids of AppRole.
    RoleIds,
    /// The aliases of entities, by name.
    Aliases,
    /// The secrets of a method of a second factor, by entity.
    MfaSecrets,
    /// How a method is set up.
    Settings,
    /// What an LDAP mount says of groups, by name.
    LdapGroups,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Logins,
        Self::RoleIds,
        Self::Aliases,
        Self::MfaSecrets,
        Self::Settings,
        Self::LdapGroups,
    ];

    /// The container. It hides nothing, so it needs no key: the mount's id is random.
    #[must_use]
    pub fn of(self, mount: ObjectId) -> ObjectId {
        derive(self.label(), mount)
    }

    const fn label(self) -> &'static [u8; 8] {
        match self {
            Self::Logins => b"logins..",
            Self::RoleIds => b"role-ids",
            Self::Aliases => b"aliases.",
            Self::MfaSecrets => b"mfa-secr",
            Self::Settings => b"settings",
            Self::LdapGroups => b"ldap-grp",
        }
    }
}

/// A row of the failed logins of names that nobody has a row for, of 256 that a mount can have.
pub(crate) fn failures_of(mount: ObjectId, set: u8) -> ObjectId {
    let mut bytes = *derive(b"failures", mount).as_bytes();
    bytes[15] = set;
    ObjectId::from_bytes(bytes)
}

/// The container of what a token keeps for itself.
pub(crate) fn cubbyhole_of(token: ObjectId) -> ObjectId {
    derive(b"cubbyhol", token)
}

/// All labels have one length, so that no two containers are hashed from the same bytes.
fn derive(label: &[u8; 8], owner: ObjectId) -> ObjectId {
    let digest = sha256(&[b"aumbry/place/1", label, owner.as_bytes()]);
    ObjectId::from_bytes(*digest.first_chunk().expect("a hash is longer than an id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_places() {
        let mount = ObjectId::well_known(200);
        let found: Vec<String> = Place::ALL.iter().map(|place| place.of(mount).to_string()).collect();
        assert_eq!(
            found,
            [
                "4e6269a1fbc13e4b7fafb83cb991ef2a",
                "3f04edf606fe628889b6da71c56ef21e",
                "699870cb6e8a3bca0a18104415aa1b3c",
                "21d62f9f5d641977d65b7ac3f56d31ed",
                "e27b3cc545a16afe364c0d1256574e09",
                "4a2f84d64749bad71b09c4f60cd8b031"
            ]
        );
    }

    #[test]
    fn frozen_shelves() {
        let root: Vec<u8> = Shelf::ALL
            .iter()
            .map(|shelf| shelf.of(NAMESPACE_ROOT).as_bytes()[15])
            .collect();
        assert_eq!(root, [2, 3, 4, 5, 16, 20, 24, 25, 26, 28, 29, 30, 44]);
        let namespace = ObjectId::well_known(200);
        let found: Vec<String> = Shelf::ALL.iter().map(|shelf| shelf.of(namespace).to_string()).collect();
        assert_eq!(
            found,
            [
                "41913544b33f403cf25ca1fbe34c8ac8",
                "6a90913b350585504a3a0774ec615e9a",
                "faa4b1a03cb8e7abed89eccf59fc3963",
                "323fcd12d16be53d81d5be1e9eb228bf",
                "99e9eabeb1498308c86ceef7a1018ff1",
                "e95f4233e3e2c19453294d759ddeed84",
                "257d2738fabc587a85efd9193707c796",
                "95bc11c1fa40fd38384222c823f131da",
                "9328df5ec0edee9b71733975278e0dbe",
                "83e9baa69f4fae7191052005b3af5436",
                "bd3987c42e9d6f4bdab8bf85afa2f0c3",
                "208c4af05931638022150806bc8b56b7",
                "d22678df3fc7827e7e166de82db76d60"
            ]
        );
    }

    #[test]
    fn no_two_labels_are_the_same() {
        let shelves = Shelf::ALL.iter().map(|shelf| shelf.number_and_label().1);
        let places = Place::ALL.iter().map(|place| place.label());
        let mut labels: Vec<_> = shelves.chain(places).chain([b"cubbyhol", b"failures"]).collect();
        let count = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), count);
    }
}
