//! Plans a request: reads the state, checks, and writes what follows.

use std::collections::BTreeSet;

use aumbry_barrier::Txn;
use aumbry_types::{ObjectId, SecretBytes, SecretPath};

use super::config::Config;
use super::data;
use super::metadata::Metadata;
use super::request::{BATCH_BYTES_MAX, BATCH_MAX, ChangeForm, Error, Item, LIST_MAX, Reply, Request};
use super::tree;
use super::versions::{self, Fate};

/// Plans a request on the mount whose root container this is, and which has these settings.
///
/// # Errors
/// [`Error`]; what was written to the transaction until then must be abandoned.
pub fn plan(txn: &mut Txn<'_>, root: ObjectId, config: &Config, request: &Request) -> Result<Reply, Error> {
    match request {
        Request::Put { path, data, cas } => put(txn, root, config, path, data, *cas),
        Request::Patch { path, data, cas } => patch(txn, root, config, path, data, *cas),
        Request::Get { path, version } => get(txn, root, path, *version)?.map(Reply::Item).ok_or(Error::NotFound),
        Request::Subkeys { path, version, depth } => {
            let mut item = get(txn, root, path, *version)?.ok_or(Error::NotFound)?;
            let keys = item.data.take().map(|data| data::subkeys(&data, *depth)).transpose()?;
            Ok(Reply::Item(Item { data: keys, ..item }))
        }
        Request::BatchGet { paths } => batch_get(txn, root, paths),
        Request::List { path, after, limit } => list(txn, root, path.as_ref(), after, *limit),
        Request::Delete { path, versions } => {
            let id = existing(txn, root, path)?;
            versions::change(txn, id, versions, Fate::Delete)
        }
        Request::Undelete { path, versions } => {
            let id = existing(txn, root, path)?;
            versions::change(txn, id, versions, Fate::Undelete)
        }
        Request::Destroy { path, versions } => {
            let id = existing(txn, root, path)?;
            versions::change(txn, id, versions, Fate::Destroy)
        }
        Request::ReadMetadata { path } => {
            let id = existing(txn, root, path)?;
            Metadata::read(txn, id).map(Reply::Metadata)
        }
        Request::WriteMetadata { path, change } => {
            let now = txn.now();
            let (id, mut metadata) = match tree::find(txn, root, path)? {
                Some((_, id)) => (id, Metadata::read(txn, id)?),
                None if change.form == ChangeForm::Patched => return Err(Error::NotFound),
                None => (tree::enter(txn, root, path)?, Metadata::new(now)),
            };
            metadata.change(change, now)?;
            for version in metadata.trim(config) {
                txn.delete_version(id, version);
            }
            metadata.write(txn, id);
            Ok(Reply::Done)
        }
        Request::DeleteMetadata { path } => {
            let (place, id) = tree::find(txn, root, path)?.ok_or(Error::NotFound)?;
            let metadata = Metadata::read(txn, id)?;
            for (version, _) in metadata.versions.iter().filter(|(_, state)| !state.destroyed) {
                txn.delete_version(id, *version);
            }
            txn.delete_object(id);
            tree::leave(txn, &place)?;
            Ok(Reply::Done)
        }
    }
}

fn put(
    txn: &mut Txn<'_>,
    root: ObjectId,
    config: &Config,
    path: &SecretPath,
    data: &SecretBytes,
    cas: Option<u64>,
) -> Result<Reply, Error> {
    data::check(data)?;
    let found = tree::find(txn, root, path)?;
    let existing = match &found {
        Some((_, id)) => Some((*id, Metadata::read(txn, *id)?)),
        None => None,
    };
    check_cas(config, existing.as_ref().map(|(_, metadata)| metadata), cas)?;
    let (id, metadata) = match existing {
        Some(existing) => existing,
        None => (tree::enter(txn, root, path)?, Metadata::new(txn.now())),
    };
    Ok(write_version(txn, id, config, metadata, data))
}

fn patch(
    txn: &mut Txn<'_>,
    root: ObjectId,
    config: &Config,
    path: &SecretPath,
    patch: &SecretBytes,
    cas: Option<u64>,
) -> Result<Reply, Error> {
    let id = existing(txn, root, path)?;
    let metadata = Metadata::read(txn, id)?;
    check_cas(config, Some(&metadata), cas)?;
    let item = read_item(txn, id, &metadata, metadata.current)?;
    let before = item.and_then(|item| item.data).ok_or(Error::NotFound)?;
    let after = data::merge(&before, patch)?;
    Ok(write_version(txn, id, config, metadata, &after))
}

pub(super) fn write_version(
    txn: &mut Txn<'_>,
    id: ObjectId,
    config: &Config,
    mut metadata: Metadata,
    data: &SecretBytes,
) -> Reply {
    let (version, dropped) = metadata.add_version(config, txn.now());
    for old in dropped {
        txn.delete_version(id, old);
    }
    txn.put_version(id, version, data.expose());
    metadata.write(txn, id);
    Reply::Written {
        info: metadata.info(version),
        custom: metadata.custom,
    }
}

fn check_cas(config: &Config, metadata: Option<&Metadata>, cas: Option<u64>) -> Result<(), Error> {
    let current = metadata.map_or(0, |metadata| metadata.current);
    match cas {
        Some(expected) if expected != current => Err(Error::CasMismatch { current }),
        None if config.cas_required || metadata.is_some_and(|metadata| metadata.cas_required) => {
            Err(Error::CasRequired)
        }
        _ => Ok(()),
    }
}

pub(super) fn get(
    txn: &mut Txn<'_>,
    root: ObjectId,
    path: &SecretPath,
    version: Option<u64>,
) -> Result<Option<Item>, Error> {
    let Some((_, id)) = tree::find(txn, root, path)? else {
        return Ok(None);
    };
    let metadata = Metadata::read(txn, id)?;
    let version = match version {
        None | Some(0) => metadata.current,
        Some(version) => version,
    };
    read_item(txn, id, &metadata, version)
}

fn batch_get(txn: &mut Txn<'_>, root: ObjectId, paths: &[SecretPath]) -> Result<Reply, Error> {
    if paths.is_empty() || paths.len() > BATCH_MAX {
        return Err(Error::Invalid("name 1 to 100 secrets"));
    }
    let distinct: BTreeSet<&str> = paths.iter().map(SecretPath::as_str).collect();
    if distinct.len() < paths.len() {
        return Err(Error::Invalid("a secret is named twice; name each once"));
    }
    let mut bytes = 0;
    let mut items = Vec::with_capacity(paths.len());
    for path in paths {
        let item = get(txn, root, path, None)?;
        let data = item.as_ref().and_then(|item| item.data.as_ref());
        bytes += data.map_or(0, SecretBytes::len);
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::Invalid(
                "the secrets are larger than 4 MiB together; ask for fewer at a time",
            ));
        }
        items.push(item);
    }
    Ok(Reply::Items(items))
}

fn read_item(txn: &mut Txn<'_>, id: ObjectId, metadata: &Metadata, version: u64) -> Result<Option<Item>, Error> {
    let Some(state) = metadata.versions.get(&version) else {
        return Ok(None);
    };
    let data = match state.is_readable(txn.now()) {
        true => Some(txn.read_version(id, version)?.ok_or(aumbry_barrier::DamagedRow)?),
        false => None,
    };
    Ok(Some(Item {
        data,
        info: metadata.info(version),
        custom: metadata.custom.clone(),
    }))
}

pub(super) fn list(
    txn: &mut Txn<'_>,
    root: ObjectId,
    path: Option<&SecretPath>,
    after: &str,
    limit: usize,
) -> Result<Reply, Error> {
    if limit == 0 || limit > LIST_MAX {
        return Err(Error::Invalid("limit is 1 to 10,000"));
    }
    let container = match path {
        None => root,
        Some(path) => tree::find_directory(txn, root, path)?.ok_or(Error::NotFound)?,
    };
    let children = txn.list(container)?;
    let start = children.partition_point(|child| child.name.as_str() <= after);
    let names: Vec<String> = children[start..]
        .iter()
        .take(limit)
        .map(|child| child.name.clone())
        .collect();
    let more = start + names.len() < children.len();
    Ok(Reply::Names { names, more })
}

fn existing(txn: &mut Txn<'_>, root: ObjectId, path: &SecretPath) -> Result<ObjectId, Error> {
    tree::find(txn, root, path)?.map(|(_, id)| id).ok_or(Error::NotFound)
}
