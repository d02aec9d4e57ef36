//! Which records somebody asks for, and a sieve that tells without them which records cannot be among those.
//!
//! What it guarantees: a [`Sieve`] never denies a record that the [`Filter`] takes; it may let through what the filter then refuses. What it does not do:
//! keep records, or read them. A sieve holds no name: it is a field of bits, under a salt of whoever keeps it.

mod sieve;

use std::net::SocketAddr;

use aumbry_types::NamespacePath;

use crate::{Decision, Field, Outcome, Place, Record};

pub use sieve::{Probe, Sieve};

/// What a record must be to be told. What is empty or `None` says nothing; of a list, one is enough.
#[derive(Clone, Default)]
pub struct Filter {
    /// The namespace whose records are told.
    pub namespace: NamespacePath,
    /// Whether those of the namespaces below it are told too.
    pub is_with_below: bool,
    /// Ids of entities, or display names, of who asked.
    pub identities: Vec<String>,
    /// Accessors of the tokens that were shown.
    pub accessors: Vec<String>,
    /// What the request was about.
    pub path: PathFilter,
    /// Operations; one that ends in `*` stands for all that begin so.
    pub operations: Vec<String>,
    /// Words for decisions and for outcomes.
    pub outcomes: Vec<String>,
    /// The addresses of clients, without ports.
    pub addresses: Vec<String>,
    /// The request.
    pub request_id: Option<String>,
    /// From this log time on (ms).
    pub since_ms: u64,
    /// Up to this log time and with it (ms).
    pub until_ms: Option<u64>,
    /// From this log index on.
    pub from_index: u64,
    /// Up to this log index and with it.
    pub to_index: Option<u64>,
}

/// What the request was about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathFilter {
    /// Anything.
    #[default]
    Any,
    /// This path.
    Exact(String),
    /// This path, and all below it.
    Below(String),
}

impl Filter {
    /// Whether a record is one of them.
    #[must_use]
    pub fn takes(&self, record: &Record, place: &Place) -> bool {
        self.takes_place(place)
            && self.takes_namespace(record)
            && self.takes_who(record)
            && self.path.takes(record)
            && self.takes_operation(&record.operation)
            && self.takes_outcome(Some(record.decision), place)
            && is_one_of(&self.addresses, |wanted| host(&record.client) == wanted)
            && self
                .request_id
                .as_ref()
                .is_none_or(|id| record.request_id.to_string() == *id)
    }

    /// Whether a leaf without a record is one of them: what consensus itself did, which is the cluster's and so the root namespace's.
    #[must_use]
    pub fn takes_clear(&self, operation: &str, place: &Place) -> bool {
        self.takes_place(place)
            && self.namespace.is_root()
            && self.identities.is_empty()
            && self.accessors.is_empty()
            && self.path == PathFilter::Any
            && self.takes_operation(operation)
            && self.takes_outcome(None, place)
            && self.addresses.is_empty()
            && self.request_id.is_none()
    }

    /// Whether a place is within the times and indexes.
    #[must_use]
    pub fn takes_place(&self, place: &Place) -> bool {
        place.log_time >= self.since_ms
            && self.until_ms.is_none_or(|until| place.log_time <= until)
            && place.index >= self.from_index
            && self.to_index.is_none_or(|last| place.index <= last)
    }

    fn takes_operation(&self, operation: &str) -> bool {
        is_one_of(&self.operations, |wanted| match wanted.strip_suffix('*') {
            Some(beginning) => operation.starts_with(beginning),
            None => operation == wanted,
        })
    }

    fn takes_namespace(&self, record: &Record) -> bool {
        let named = clear(record, NAMESPACE).next().unwrap_or_default();
        let Some(below) = below(named, self.namespace.as_str()) else {
            return false;
        };
        // A path that was cut is not that of the namespace itself, and certainly that of one below those that stand in it whole.
        self.is_with_below || (below.is_empty() && !named.ends_with(ELLIPSIS))
    }

    fn takes_who(&self, record: &Record) -> bool {
        let Some(principal) = &record.principal else {
            return self.identities.is_empty() && self.accessors.is_empty();
        };
        let entity = principal.entity.map(|entity| entity.to_string());
        is_one_of(&self.identities, |wanted| {
            principal.display_name == *wanted || entity.as_ref() == Some(wanted)
        }) && is_one_of(&self.accessors, |wanted| principal.accessor == *wanted)
    }

    fn takes_outcome(&self, decision: Option<Decision>, place: &Place) -> bool {
        is_one_of(&self.outcomes, |wanted| {
            decision.is_some_and(|decision| decision.name() == wanted)
                || Outcome::from_u8(place.outcome).is_some_and(|outcome| outcome.name() == wanted)
        })
    }
}

impl PathFilter {
    fn takes(&self, record: &Record) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(path) => paths(record).any(|named| named == part(path)),
            Self::Below(path) => paths(record).any(|named| below(named, part(path)).is_some()),
        }
    }
}

/// The paths that a record is about. Those of a batch stand in fields of their own, each packed with others; a path that is longer than a field has no more than its
/// beginning there, so that is all that is compared.
fn paths(record: &Record) -> impl Iterator<Item = &str> {
    let packed = clear(record, "paths").flat_map(|packed| packed.split('\n'));
    std::iter::once(record.path.as_str()).chain(packed).map(part)
}

/// As much of a path as a field holds.
fn part(path: &str) -> &str {
    &path[..path.floor_char_boundary(PART_BYTES_MAX)]
}

/// The path from one above to this one: empty if they are the same, nothing if that one is not above it.
fn below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    if above.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('/')
    }
}

/// The values in clear of a field.
fn clear<'a>(record: &'a Record, name: &str) -> impl Iterator<Item = &'a str> {
    record.fields.iter().filter_map(move |(known, field)| match field {
        Field::Clear(value) if known == name => Some(value.as_str()),
        _ => None,
    })
}

/// The address of a client without its port, and without the brackets of IPv6; what is no address as it is.
#[must_use]
pub fn host(client: &str) -> &str {
    let host = match client.parse::<SocketAddr>() {
        Ok(_) => client.rsplit_once(':').map_or(client, |(host, _)| host),
        Err(_) => client,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host)
}

fn is_one_of(wanted: &[String], is_it: impl Fn(&String) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is_it)
}

/// The field that says where a request was made.
const NAMESPACE: &str = "namespace";
/// Ends what was cut.
const ELLIPSIS: &str = "…";
/// What one value of a record holds without being cut.
const PART_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests;
