//! The paths of KV engines, versions 1 and 2.

use std::collections::BTreeMap;

use aumbry_engines::kv::{self, ChangeForm, Item, Metadata, MetadataChange, PlainRequest, VersionInfo};
use aumbry_logical::Verb;
use aumbry_node::{Class, Failure, MountChange, MountRow, Operation, Reply};
use aumbry_types::{MountPath, SecretBytes, SecretPath};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::content::{Content, pairs, time};
use super::{Asked, Resolved, malformed, mismatched, no_route, table, unsupported};
use crate::member::Member;

/// Finds the engine that holds the path, and what is asked of it.
pub(super) fn resolve(member: &Member, asked: &Asked<'_>) -> Result<Resolved, Failure> {
    let row = member
        .node
        .find_mount(asked.namespace, asked.path)?
        .ok_or_else(no_route)?;
    match row.options.version {
        1 => plain(asked, &row),
        _ => versioned(asked, &row),
    }
}

fn plain(asked: &Asked<'_>, row: &MountRow) -> Result<Resolved, Failure> {
    let path = asked.path.clone();
    let is_mount = path.as_str() == row.info.path;
    let lease_s = match row.options.default_lease_ttl_s {
        0 => aumbry_auth::token::TTL_S_DEFAULT,
        seconds => seconds,
    };
    Ok(match asked.verb {
        Verb::List => Resolved::new(
            Operation::PlainKv(PlainRequest::List {
                path: Some(path),
                after: asked.body.text("after").map_err(malformed)?.unwrap_or_default(),
                limit: limit(asked)?,
            }),
            |_, reply| names(reply),
        ),
        _ if is_mount => return Err(unsupported()),
        Verb::Read => Resolved::new(Operation::PlainKv(PlainRequest::Get { path }), move |_, reply| {
            let Reply::Kv(kv::Reply::Item(item)) = reply else {
                return Err(mismatched());
            };
            Ok(Content {
                data: item.data,
                lease_duration_s: lease_s,
                mount_type: KV.to_owned(),
                ..Content::default()
            })
        }),
        Verb::Write => {
            if asked.body.object().is_empty() {
                return Err(Failure::invalid("missing data fields"));
            }
            let data = SecretBytes::new(asked.raw.to_vec());
            Resolved::silent(Operation::PlainKv(PlainRequest::Put { path, data }))
        }
        Verb::Delete => Resolved::silent(Operation::PlainKv(PlainRequest::Delete { path })),
        Verb::Patch | Verb::Scan => return Err(unsupported()),
    })
}

fn versioned(asked: &Asked<'_>, row: &MountRow) -> Result<Resolved, Failure> {
    let mount = MountPath::parse(&row.info.path).map_err(|error| Failure::internal(error.to_string()))?;
    let below = asked.path.below(&mount).flatten().ok_or_else(no_form)?;
    let (form, rest) = below.as_str().split_once('/').unwrap_or((below.as_str(), ""));
    table::check("kv-v2", below.as_str(), asked.verb).map_err(|failure| match failure.reason {
        "NO_HANDLER" => no_form(),
        _ => failure,
    })?;
    if form == "config" && rest.is_empty() {
        return config(asked, mount);
    }
    let full = |rest: &str| {
        let text = match rest {
            "" => row.info.path.clone(),
            rest => format!("{}/{rest}", row.info.path),
        };
        SecretPath::parse(&text).map_err(|error| Failure::invalid(error.to_string()))
    };
    let path = full(rest)?;
    let is_root = rest.is_empty();
    let request = match (form, asked.verb) {
        ("metadata", Verb::List) => kv::Request::List {
            path: Some(path),
            after: asked.body.text("after").map_err(malformed)?.unwrap_or_default(),
            limit: limit(asked)?,
        },
        ("data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys", _) if is_root => {
            return Err(unsupported());
        }
        ("data", Verb::Read) => kv::Request::Get {
            path,
            version: asked.body.count("version").map_err(malformed)?,
        },
        ("data", Verb::Write) => {
            let (data, cas) = document(asked)?;
            kv::Request::Put { path, data, cas }
        }
        ("data", Verb::Patch) => {
            let (data, cas) = document(asked)?;
            kv::Request::Patch { path, data, cas }
        }
        ("data", Verb::Delete) => kv::Request::Delete {
            path,
            versions: Vec::new(),
        },
        ("subkeys", Verb::Read) => kv::Request::Subkeys {
            path,
            version: asked.body.count("version").map_err(malformed)?,
            depth: usize::try_from(asked.body.count("depth").map_err(malformed)?.unwrap_or(0)).unwrap_or(usize::MAX),
        },
        ("delete", Verb::Write) => kv::Request::Delete {
            path,
            versions: versions(asked)?,
        },
        ("undelete", Verb::Write) => kv::Request::Undelete {
            path,
            versions: versions(asked)?,
        },
        ("destroy", Verb::Write) => kv::Request::Destroy {
            path,
            versions: versions(asked)?,
        },
        ("metadata", Verb::Read) => kv::Request::ReadMetadata { path },
        ("metadata", Verb::Write | Verb::Patch) => kv::Request::WriteMetadata {
            path,
            change: change(asked)?,
        },
        ("metadata", Verb::Delete) => kv::Request::DeleteMetadata { path },
        ("data" | "metadata" | "delete" | "undelete" | "destroy" | "subkeys", _) => return Err(unsupported()),
        _ => return Err(no_route()),
    };
    let is_subkeys = form == "subkeys";
    let is_removal = asked.verb == Verb::Delete || matches!(form, "delete" | "undelete" | "destroy");
    let resolved = Resolved::new(Operation::Kv(request), move |_, reply| {
        let Reply::Kv(reply) = reply else {
            return Err(mismatched());
        };
        render(reply, is_subkeys).map(|content| content.of_type(KV))
    });
    Ok(if is_removal { resolved.or_absent() } else { resolved })
}

/// The path has none of the forms of version 2: people mean a secret by it, and their client took it for one of version 1.
fn no_form() -> Failure {
    let message = "invalid path for a versioned kv engine: secrets are at MOUNT/data/PATH, names at MOUNT/metadata/PATH (`kv get`, `kv put` and \
                   `kv list` put that in)";
    Failure::new(Class::NotFound, KV_PATH, message)
}

fn render(reply: kv::Reply, is_subkeys: bool) -> Result<Content, Failure> {
    match reply {
        kv::Reply::Item(item) => render_item(&item, is_subkeys),
        kv::Reply::Written { info, custom } => Content::data(&version(&info, &custom)),
        kv::Reply::Metadata(metadata) => Content::data(&render_metadata(&metadata)),
        kv::Reply::Done => Ok(Content::default()),
        reply @ kv::Reply::Names { .. } => names(Reply::Kv(reply)),
        kv::Reply::Items(_) => Err(mismatched()),
    }
}

/// A version with its data as it was written, to the last digit.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Option<&'a RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subkeys: Option<Option<&'a RawValue>>,
    metadata: Value,
}

fn render_item(item: &Item, is_subkeys: bool) -> Result<Content, Failure> {
    let text = item.data.as_ref().map(|data| data.expose_str().unwrap_or("null"));
    let raw: Option<&RawValue> = text
        .map(serde_json::from_str)
        .transpose()
        .map_err(|_| Failure::internal("a stored value is no JSON"))?;
    let shown = Shown {
        data: (!is_subkeys).then_some(raw),
        subkeys: is_subkeys.then_some(raw),
        metadata: version(&item.info, &item.custom),
    };
    let mut content = Content::data(&shown)?;
    content.absent = raw.is_none();
    Ok(content)
}

fn version(info: &VersionInfo, custom: &BTreeMap<String, String>) -> Value {
    json!({
        "created_time": time(info.created),
        "custom_metadata": pairs(custom),
        "deletion_time": time(info.deleted_at),
        "destroyed": info.destroyed,
        "version": info.version,
    })
}

fn render_metadata(metadata: &Metadata) -> Value {
    let versions = metadata.versions.iter().map(|(number, state)| {
        let shown = json!({
            "created_time": time(state.created),
            "deletion_time": time(state.deleted_at),
            "destroyed": state.destroyed,
        });
        (number.to_string(), shown)
    });
    json!({
        "cas_required": metadata.cas_required,
        "created_time": time(metadata.created),
        "current_version": metadata.current,
        "custom_metadata": pairs(&metadata.custom),
        "delete_version_after": spelled(metadata.delete_version_after_s),
        "max_versions": metadata.max_versions,
        "oldest_version": metadata.oldest,
        "updated_time": time(metadata.updated),
        "versions": versions.collect::<serde_json::Map<_, _>>(),
    })
}

/// A time as clients parse it, of which the hour is the longest unit.
fn spelled(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

fn names(reply: Reply) -> Result<Content, Failure> {
    let Reply::Kv(kv::Reply::Names { names, more }) = reply else {
        return Err(mismatched());
    };
    let mut content = Content::keys(names)?.of_type(KV);
    if more {
        content
            .warnings
            .push("there are more names; ask again with `after` set to the last of these".to_owned());
    }
    Ok(content)
}

/// The body of a write: the data stays as it was sent.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    options: Option<Options>,
}

#[derive(Deserialize)]
struct Options {
    cas: Option<Value>,
}

fn document(asked: &Asked<'_>) -> Result<(SecretBytes, Option<u64>), Failure> {
    let invalid = || Failure::invalid("the body must be one JSON object with `data`, an object, and perhaps `options`");
    let document: Document<'_> = serde_json::from_slice(asked.raw).map_err(|_| invalid())?;
    let data = document
        .data
        .filter(|data| data.get() != "null")
        .ok_or_else(|| Failure::invalid("no data provided"))?;
    let cas = match document.options.and_then(|options| options.cas) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(
            text.parse()
                .map_err(|_| Failure::invalid("cas must be a whole number"))?,
        ),
        Some(value) => Some(
            value
                .as_u64()
                .ok_or_else(|| Failure::invalid("cas must be a whole number"))?,
        ),
    };
    Ok((SecretBytes::from(data.get().to_owned()), cas))
}

fn versions(asked: &Asked<'_>) -> Result<Vec<u64>, Failure> {
    let versions = asked.body.counts("versions").map_err(malformed)?.unwrap_or_default();
    if versions.is_empty() {
        return Err(Failure::invalid("no version number provided"));
    }
    Ok(versions)
}

fn change(asked: &Asked<'_>) -> Result<MetadataChange, Failure> {
    let body = &asked.body;
    let mut change = MetadataChange {
        form: match asked.verb {
            Verb::Patch => ChangeForm::Patched,
            _ => ChangeForm::Written,
        },
        max_versions: max_versions(asked)?,
        cas_required: body.flag("cas_required").map_err(malformed)?,
        delete_version_after_s: body.seconds("delete_version_after").map_err(malformed)?,
        ..MetadataChange::default()
    };
    match asked.verb {
        Verb::Patch => {
            for (key, value) in body.nested("custom_metadata").map_err(malformed)?.into_iter().flatten() {
                let value = match value {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone()),
                    _ => return Err(Failure::invalid("custom_metadata is an object of strings")),
                };
                change.custom_patch.insert(key.clone(), value);
            }
        }
        _ => change.custom = body.pairs("custom_metadata").map_err(malformed)?,
    }
    Ok(change)
}

fn max_versions(asked: &Asked<'_>) -> Result<Option<u32>, Failure> {
    let wanted = asked.body.count("max_versions").map_err(malformed)?;
    // What is too large for the number is too large for the engine, which says so.
    Ok(wanted.map(|wanted| u32::try_from(wanted).unwrap_or(u32::MAX)))
}

fn config(asked: &Asked<'_>, mount: MountPath) -> Result<Resolved, Failure> {
    Ok(match asked.verb {
        Verb::Read => Resolved::new(Operation::KvConfigRead(mount), |_, reply| {
            let Reply::MountRows(rows) = reply else {
                return Err(mismatched());
            };
            let config = rows.first().ok_or_else(mismatched)?.options.kv;
            Content::data(&json!({
                "cas_required": config.cas_required,
                "delete_version_after": spelled(config.delete_version_after_s),
                "max_versions": config.max_versions,
            }))
        }),
        Verb::Write => {
            let change = MountChange {
                kv_max_versions: max_versions(asked)?,
                kv_cas_required: asked.body.flag("cas_required").map_err(malformed)?,
                kv_delete_version_after_s: asked.body.seconds("delete_version_after").map_err(malformed)?,
                ..MountChange::default()
            };
            Resolved::silent(Operation::KvConfigWrite(mount, change))
        }
        _ => return Err(unsupported()),
    })
}

pub(super) fn limit(asked: &Asked<'_>) -> Result<usize, Failure> {
    let limit = asked.body.count("limit").map_err(malformed)?;
    Ok(match limit {
        None | Some(0) => LIST_MAX,
        Some(limit) => usize::try_from(limit).unwrap_or(LIST_MAX).min(LIST_MAX),
    })
}

const KV: &str = "kv";
/// Why a path of a kv engine leads nowhere.
pub(crate) const KV_PATH: &str = "NO_KV_PATH";
/// The most names of one page.
const LIST_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_as_clients_parse_them() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (600, "10m0s"),
            (3_600, "1h0m0s"),
            (172_861, "48h1m1s"),
        ] {
            assert_eq!(spelled(seconds), text);
        }
    }
}
