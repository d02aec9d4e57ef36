//! The well-known containers of a namespace, and those that belong to a mount. Numbers and labels are only ever added.

use aumbry_crypto::sha256;
use aumbry_types::ObjectId;

/// The root namespace.
pub const NAMESPACE_ROOT: ObjectId = ObjectId::well_known(1);
/// Mounts by path.
pub const MOUNTS: ObjectId = ObjectId::well_known(2);
/// Policies by name.
pub const POLICIES: ObjectId = ObjectId::well_known(3);
/// Tokens by accessor.
pub const ACCESSORS: ObjectId = ObjectId::well_known(4);
/// Tokens without a parent, by accessor.
pub const ORPHANS: ObjectId = ObjectId::well_known(5);
/// Join tokens by keyed digest.
pub const JOIN_TOKENS: ObjectId = ObjectId::well_known(6);
/// Auth methods by path.
pub const AUTH_MOUNTS: ObjectId = ObjectId::well_known(16);
/// Roles of tokens by name.
pub const TOKEN_ROLES: ObjectId = ObjectId::well_known(20);

/// Entities by name.
pub const ENTITIES: ObjectId = ObjectId::well_known(24);
/// Groups by name.
pub const GROUPS: ObjectId = ObjectId::well_known(25);
/// Aliases by id.
pub const ALIASES: ObjectId = ObjectId::well_known(26);

/// Rate limits by name.
pub const QUOTAS: ObjectId = ObjectId::well_known(27);

/// Stands for the mount of tokens, which nobody mounts, where aliases speak of it.
pub const TOKEN_MOUNT: ObjectId = ObjectId::well_known(28);

/// Methods of a second factor, by id.
pub const MFA_METHODS: ObjectId = ObjectId::well_known(29);
/// Who needs a second factor, by name.
pub const MFA_ENFORCEMENTS: ObjectId = ObjectId::well_known(30);

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
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Logins,
        Self::RoleIds,
        Self::Aliases,
        Self::MfaSecrets,
        Self::Settings,
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
        }
    }
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
                "e27b3cc545a16afe364c0d1256574e09"
            ]
        );
    }
}
