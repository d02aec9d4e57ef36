//! The well-known containers of a namespace. Numbers are only ever added.

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
