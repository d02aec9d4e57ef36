//! A Bloom filter over what a run of records names.

use std::hash::{DefaultHasher, Hasher as _};

use crate::filter::{NAMESPACE, PathFilter, clear, host, part, paths};
use crate::{Filter, Record};

/// The names of a run of records, as bits. 1 KiB: of the 500 names that 256 records have as a rule it lets through one in four hundred that is not there, and of
/// 1,300, when every record is about another path, one in twenty.
#[derive(Clone, PartialEq, Eq)]
pub struct Sieve(Box<[u64; WORDS]>);

/// What a filter looks for, hashed once for many sieves.
pub struct Probe(Vec<Vec<[u16; BITS_EACH]>>);

impl Default for Sieve {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Sieve {
    /// Notes what a leaf without a record is.
    pub fn note_clear(&mut self, salt: &[u8; 16], operation: &str) {
        self.set(salt, Kind::Operation, operation);
    }

    /// Notes what a record names.
    pub fn note(&mut self, salt: &[u8; 16], record: &Record) {
        let mut note = |kind, name: &str| self.set(salt, kind, name);
        note(Kind::Operation, &record.operation);
        note(Kind::Decision, record.decision.name());
        note(Kind::Address, host(&record.client));
        note(Kind::Request, &record.request_id.to_string());
        if let Some(principal) = &record.principal {
            note(Kind::Accessor, &principal.accessor);
            note(Kind::Who, &principal.display_name);
            if let Some(entity) = principal.entity {
                note(Kind::Who, &entity.to_string());
            }
        }
        for path in paths(record) {
            note(Kind::Path, path);
            for (end, _) in path.match_indices('/') {
                note(Kind::Above, &path[..end]);
            }
        }
        for namespace in clear(record, NAMESPACE) {
            note(Kind::Namespace, namespace);
        }
    }

    fn set(&mut self, salt: &[u8; 16], kind: Kind, name: &str) {
        for bit in bits(salt, kind, name) {
            self.0[usize::from(bit) / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether there can be a record that is looked for.
    #[must_use]
    pub fn may_hold(&self, probe: &Probe) -> bool {
        let has = |bit: &u16| self.0[usize::from(*bit) / 64] & (1 << (*bit % 64)) != 0;
        probe
            .0
            .iter()
            .all(|one_of| one_of.iter().any(|bits| bits.iter().all(has)))
    }
}

impl Probe {
    /// What a filter looks for in sieves with this salt.
    #[must_use]
    pub fn new(salt: &[u8; 16], filter: &Filter) -> Self {
        let mut wanted = Vec::new();
        let mut one_of = |names: &[(Kind, &str)]| {
            if !names.is_empty() {
                wanted.push(names.iter().map(|(kind, name)| bits(salt, *kind, name)).collect());
            }
        };
        let mut one_of_these = |kind, names: &[String]| {
            let names: Vec<(Kind, &str)> = names.iter().map(|name| (kind, name.as_str())).collect();
            one_of(&names);
        };
        one_of_these(Kind::Who, &filter.identities);
        one_of_these(Kind::Accessor, &filter.accessors);
        one_of_these(Kind::Address, &filter.addresses);
        // What begins somehow, and what only apply knows, is not in a sieve.
        if !filter.operations.iter().any(|operation| operation.ends_with('*')) {
            one_of_these(Kind::Operation, &filter.operations);
        }
        if filter.outcomes.iter().all(|word| DECISIONS.contains(&word.as_str())) {
            one_of_these(Kind::Decision, &filter.outcomes);
        }
        if let Some(id) = &filter.request_id {
            one_of(&[(Kind::Request, id.as_str())]);
        }
        match &filter.path {
            PathFilter::Any => {}
            PathFilter::Below(path) if path.is_empty() => {}
            PathFilter::Exact(path) => one_of(&[(Kind::Path, part(path))]),
            PathFilter::Below(path) => one_of(&[(Kind::Path, part(path)), (Kind::Above, part(path))]),
        }
        if !filter.is_with_below && !filter.namespace.is_root() {
            one_of(&[(Kind::Namespace, filter.namespace.as_str())]);
        }
        Self(wanted)
    }
}

/// What a name stands for: an address is no accessor.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Operation,
    Decision,
    Address,
    Request,
    Accessor,
    Who,
    Path,
    /// A path that something stands below.
    Above,
    Namespace,
}

fn bits(salt: &[u8; 16], kind: Kind, name: &str) -> [u16; BITS_EACH] {
    let mut hasher = DefaultHasher::new();
    hasher.write(salt);
    hasher.write_u8(kind as u8);
    hasher.write(name.as_bytes());
    let hash = hasher.finish();
    // Each is 13 bits of the hash.
    std::array::from_fn(|at| ((hash >> (at * 16)) & (BITS - 1)) as u16)
}

const WORDS: usize = 128;
const BITS: u64 = WORDS as u64 * 64;
/// How many bits a name has: near the best number for the names that are expected.
const BITS_EACH: usize = 4;
/// The words that decisions have.
const DECISIONS: [&str; 4] = ["allowed", "denied", "unauthenticated", "failed"];
