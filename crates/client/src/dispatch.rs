//! Which method of which service each request goes to, and whether it writes.

use std::future::Future;

use aumbry_api::Operation;
use aumbry_api::v1;
use aumbry_api::v1::audit_service_client::AuditServiceClient;
use aumbry_api::v1::auth_service_client::AuthServiceClient;
use aumbry_api::v1::cluster_service_client::ClusterServiceClient;
use aumbry_api::v1::kv_service_client::KvServiceClient;
use aumbry_api::v1::logical_service_client::LogicalServiceClient;
use aumbry_api::v1::mount_service_client::MountServiceClient;
use aumbry_api::v1::policy_service_client::PolicyServiceClient;
use aumbry_api::v1::sys_service_client::SysServiceClient;
use aumbry_api::v1::token_service_client::TokenServiceClient;
use tonic::{Request, Response, Status};

use crate::connection::Authorized;

/// A request with its method.
pub trait Dispatch: Operation + Clone + Send {
    /// Whether it changes anything.
    const IS_WRITE: bool;

    /// Sends it.
    fn dispatch(
        channel: Authorized,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Reply>, Status>> + Send;
}

macro_rules! dispatch {
    ($($service:ident { $($request:ident, $method:ident, $is_write:literal;)* })*) => {
        $($(impl Dispatch for v1::$request {
            const IS_WRITE: bool = $is_write;

            async fn dispatch(channel: Authorized, request: Request<Self>) -> Result<Response<Self::Reply>, Status> {
                $service::new(channel)
                    .max_decoding_message_size(REPLY_BYTES_MAX)
                    .$method(request)
                    .await
            }
        })*)*
    };
}

dispatch! {
    KvServiceClient {
        KvPutRequest, put, true;
        KvGetRequest, get, false;
        KvBatchGetRequest, batch_get, false;
        KvPatchRequest, patch, true;
        KvListRequest, list, false;
        KvDeleteRequest, delete, true;
        KvUndeleteRequest, undelete, true;
        KvDestroyRequest, destroy, true;
        KvGetMetadataRequest, get_metadata, false;
        KvPutMetadataRequest, put_metadata, true;
        KvDeleteMetadataRequest, delete_metadata, true;
    }
    TokenServiceClient {
        TokenCreateRequest, create, true;
        TokenLookupRequest, lookup, false;
        TokenRenewRequest, renew, true;
        TokenRevokeRequest, revoke, true;
    }
    AuthServiceClient {
        AppRoleLoginRequest, app_role_login, true;
        UserpassLoginRequest, userpass_login, true;
        SecondFactorRequest, validate_second_factor, true;
    }
    PolicyServiceClient {
        PolicyPutRequest, put, true;
        PolicyGetRequest, get, false;
        PolicyListRequest, list, false;
        PolicyDeleteRequest, delete, true;
    }
    MountServiceClient {
        MountEnableRequest, enable, true;
        MountDisableRequest, disable, true;
        MountListRequest, list, false;
    }
    SysServiceClient {
        SealRequest, seal, true;
        StatusRequest, status, false;
        StepDownRequest, step_down, true;
        SealAddRequest, add_seal, true;
        SealListRequest, list_seals, false;
        SealRemoveRequest, remove_seal, true;
    }
    ClusterServiceClient {
        JoinTokenCreateRequest, create_join_token, true;
        MembersRequest, members, false;
        PromoteRequest, promote, true;
        RemoveRequest, remove, true;
        TransferRequest, transfer, true;
        SnapshotReleaseRequest, snapshot_release, true;
    }
    // Some of them only read; all are treated with the care that a write takes.
    LogicalServiceClient {
        LogicalRequest, call, true;
    }
    AuditServiceClient {
        AuditReadRequest, read, false;
        AuditCheckpointRequest, checkpoint, false;
        AuditProofRequest, prove, false;
        AuditConsistencyRequest, prove_consistency, false;
    }
}

/// What a server sends at most.
const REPLY_BYTES_MAX: usize = 64 << 20;
