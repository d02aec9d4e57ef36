//! From a reply to an answer. Which message it becomes depends on the operation that was asked.

use aumbry_api::Reply as _;
use aumbry_api::v1;
use aumbry_auth::identity::mfa::LoginWaits;
use aumbry_auth::token::Info;
use aumbry_engines::kv;
use aumbry_node::{AuditProof, AuditRow, Joined, MountInfo, Operation, Reply, SealInfo, TokenName};
use aumbry_types::SecretBytes;
use bytes::Bytes;

/// The answer, without its header. `None` for a reply that does not go with the operation, and for operations that the gateway
/// answers itself.
pub(crate) fn answer(operation: &Operation, reply: Reply) -> Option<v1::Answer> {
    Some(match reply {
        Reply::Kv(reply) => return kv_answer(operation, reply),
        Reply::NewToken(new) if matches!(operation, Operation::Login(_)) => v1::LoginReply {
            header: None,
            token: bytes(new.token),
            info: Some(token(new.info)),
            second_factors: None,
        }
        .into_answer(),
        Reply::LoginWaits(waits) => v1::LoginReply {
            second_factors: Some(second_factors(waits)),
            ..v1::LoginReply::default()
        }
        .into_answer(),
        Reply::NewToken(new) => v1::TokenCreateReply {
            header: None,
            token: bytes(new.token),
            info: Some(token(new.info)),
        }
        .into_answer(),
        Reply::Token(info) => match operation {
            Operation::TokenRenew(..) => v1::TokenRenewReply {
                header: None,
                info: Some(token(info)),
            }
            .into_answer(),
            _ => v1::TokenLookupReply {
                header: None,
                info: Some(token(info)),
            }
            .into_answer(),
        },
        Reply::Policy(policy) => v1::PolicyGetReply { header: None, policy }.into_answer(),
        Reply::Names(names) => v1::PolicyListReply { header: None, names }.into_answer(),
        Reply::Mounts(mounts) => v1::MountListReply {
            header: None,
            mounts: mounts.into_iter().map(mount).collect(),
        }
        .into_answer(),
        Reply::JoinToken(token) => v1::JoinTokenCreateReply {
            header: None,
            join_token: bytes(token),
        }
        .into_answer(),
        Reply::Joined(Joined {
            node_id,
            cluster_id,
            certificate,
            authority,
        }) => v1::JoinReply {
            header: None,
            node_id,
            cluster_id,
            certificate,
            authority,
        }
        .into_answer(),
        Reply::Audit(rows) => v1::AuditReadReply {
            header: None,
            rows: rows.into_iter().map(row).collect(),
        }
        .into_answer(),
        Reply::Checkpoint {
            note,
            size,
            storage_id,
            verifying_key,
        } => v1::AuditCheckpointReply {
            header: None,
            note,
            size,
            storage_id,
            verifying_key: Bytes::copy_from_slice(&verifying_key),
        }
        .into_answer(),
        Reply::AuditProof(proof) => audit_proof(proof),
        Reply::Seals(seals) => return seals_reply(operation, seals),
        Reply::Done => return done(operation),
        // Asked by path alone.
        Reply::MountRows(_)
        | Reply::Capabilities(_)
        | Reply::Json { .. }
        | Reply::Unwrapped(_)
        | Reply::Wrapped(_)
        | Reply::WrappedInfo(_)
        | Reply::RootAttempt { .. } => return None,
    })
}

fn audit_proof(found: AuditProof) -> v1::Answer {
    let verifying_key = Bytes::copy_from_slice(&found.verifying_key);
    match found.leaf_hash {
        Some(leaf) => v1::AuditProofReply {
            header: None,
            proof: found.proof,
            note: found.note,
            size: found.size,
            storage_id: found.storage_id,
            verifying_key,
            leaf_hash: Bytes::copy_from_slice(&leaf),
        }
        .into_answer(),
        None => v1::AuditConsistencyReply {
            header: None,
            proof: found.proof,
            old_note: found.old_note,
            new_note: found.note,
            size: found.size,
            storage_id: found.storage_id,
            verifying_key,
        }
        .into_answer(),
    }
}

fn second_factors(waits: LoginWaits) -> v1::SecondFactors {
    let wanted = waits.wanted.into_iter().map(|wanted| v1::SecondFactor {
        name: wanted.name,
        method_ids: wanted.methods.iter().map(ToString::to_string).collect(),
    });
    v1::SecondFactors {
        request_id: waits.id,
        wanted: wanted.collect(),
    }
}

fn done(operation: &Operation) -> Option<v1::Answer> {
    Some(match operation {
        Operation::TokenRevoke(TokenName::Own | TokenName::Text(_) | TokenName::Accessor(_)) => {
            v1::TokenRevokeReply::default().into_answer()
        }
        Operation::PolicyWrite(..) => v1::PolicyPutReply::default().into_answer(),
        Operation::PolicyDelete(_) => v1::PolicyDeleteReply::default().into_answer(),
        Operation::MountEnable { .. } => v1::MountEnableReply::default().into_answer(),
        Operation::MountDisable(..) => v1::MountDisableReply::default().into_answer(),
        Operation::Seal => v1::SealReply::default().into_answer(),
        Operation::Status => v1::StatusReply::default().into_answer(),
        Operation::SealRemove(_) => v1::SealRemoveReply::default().into_answer(),
        Operation::StepDown => v1::StepDownReply::default().into_answer(),
        Operation::Members => v1::MembersReply::default().into_answer(),
        Operation::Promote(_) => v1::PromoteReply::default().into_answer(),
        Operation::Remove(_) => v1::RemoveReply::default().into_answer(),
        Operation::Transfer(_) => v1::TransferReply::default().into_answer(),
        Operation::SnapshotSave => v1::SnapshotSaveReply::default().into_answer(),
        Operation::SnapshotRelease => v1::SnapshotReleaseReply::default().into_answer(),
        _ => return None,
    })
}

fn seals_reply(operation: &Operation, seals: Vec<SealInfo>) -> Option<v1::Answer> {
    let mut seals = seals.into_iter().map(|seal| v1::Seal {
        kind: seal.kind,
        key_id: seal.key_id,
        epoch: seal.epoch,
        added_ms: seal.added,
        threshold: seal.shares.0.into(),
        shares: seal.shares.1.into(),
        current: seal.current,
        name: seal.name,
    });
    Some(match operation {
        Operation::SealAdd { .. } => v1::SealAddReply {
            header: None,
            seal: Some(seals.next()?),
        }
        .into_answer(),
        _ => v1::SealListReply {
            header: None,
            seals: seals.collect(),
        }
        .into_answer(),
    })
}

fn kv_answer(operation: &Operation, reply: kv::Reply) -> Option<v1::Answer> {
    let Operation::Kv(request) = operation else { return None };
    let paths = request.paths();
    let first = || paths.first().map_or_else(String::new, |path| (*path).to_owned());
    Some(match reply {
        kv::Reply::Written { info, custom } => v1::KvPutReply {
            header: None,
            version: Some(version(&info)),
            custom_metadata: custom.into_iter().collect(),
        }
        .into_answer(),
        kv::Reply::Item(found) => v1::KvGetReply {
            header: None,
            item: Some(item(first(), Some(found))),
        }
        .into_answer(),
        kv::Reply::Items(items) => {
            let items = paths
                .iter()
                .zip(items)
                .map(|(path, found)| item((*path).to_owned(), found));
            v1::KvBatchGetReply {
                header: None,
                items: items.collect(),
            }
            .into_answer()
        }
        kv::Reply::Names { names, more } => v1::KvListReply {
            header: None,
            names,
            more,
        }
        .into_answer(),
        kv::Reply::Metadata(metadata) => metadata_reply(metadata).into_answer(),
        kv::Reply::Done => v1::KvDoneReply::default().into_answer(),
    })
}

fn item(path: String, found: Option<kv::Item>) -> v1::KvItem {
    let Some(found) = found else {
        return v1::KvItem {
            path,
            ..v1::KvItem::default()
        };
    };
    v1::KvItem {
        path,
        found: true,
        has_data: found.data.is_some(),
        data: found.data.map(bytes).unwrap_or_default(),
        version: Some(version(&found.info)),
        custom_metadata: found.custom.into_iter().collect(),
    }
}

fn metadata_reply(metadata: kv::Metadata) -> v1::KvGetMetadataReply {
    let versions = metadata.versions.iter().map(|(number, state)| v1::VersionInfo {
        version: *number,
        created_ms: state.created,
        deleted_at_ms: state.deleted_at,
        destroyed: state.destroyed,
    });
    v1::KvGetMetadataReply {
        header: None,
        current_version: metadata.current,
        oldest_version: metadata.oldest,
        created_ms: metadata.created,
        updated_ms: metadata.updated,
        max_versions: metadata.max_versions,
        cas_required: metadata.cas_required,
        delete_version_after_s: metadata.delete_version_after_s,
        versions: versions.collect(),
        custom_metadata: metadata.custom.into_iter().collect(),
    }
}

const fn version(info: &kv::VersionInfo) -> v1::VersionInfo {
    v1::VersionInfo {
        version: info.version,
        created_ms: info.created,
        deleted_at_ms: info.deleted_at,
        destroyed: info.destroyed,
    }
}

fn token(info: Info) -> v1::TokenInfo {
    v1::TokenInfo {
        accessor: info.accessor,
        policies: info.policies,
        display_name: info.display_name,
        metadata: info.metadata.into_iter().collect(),
        issued_ms: info.issued,
        expires_at_ms: info.expires_at,
        ttl_s: info.ttl_s,
        creation_ttl_s: info.creation_ttl_s,
        explicit_max_ttl_s: info.explicit_max_ttl_s,
        renewable: info.renewable,
        orphan: info.orphan,
        num_uses: info.num_uses,
        path: info.path,
    }
}

fn mount(info: MountInfo) -> v1::Mount {
    v1::Mount {
        path: info.path,
        r#type: info.kind,
        description: info.description,
        accessor: info.accessor,
    }
}

fn row(row: AuditRow) -> v1::AuditRow {
    v1::AuditRow {
        seq: row.seq,
        index: row.index,
        k: row.k,
        term: row.term,
        log_time_ms: row.log_time,
        wall_time_ms: row.wall_time,
        outcome: u32::from(row.outcome),
        commitment: Bytes::copy_from_slice(&row.commitment),
        salt: Bytes::copy_from_slice(&row.salt),
        record: row.record.into(),
        clear: row.clear.into(),
        event: row.event,
        withheld: row.withheld,
    }
}

/// Hands a secret to the transport, which is the last to hold it and does not wipe it.
fn bytes(secret: SecretBytes) -> Bytes {
    Bytes::copy_from_slice(secret.expose())
}
