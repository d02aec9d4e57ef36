//! The services whose every method passes through the pipeline.

use aumbry_api::v1;
use aumbry_api::v1::audit_service_server::AuditService;
use aumbry_api::v1::auth_service_server::AuthService;
use aumbry_api::v1::kv_service_server::KvService;
use aumbry_api::v1::logical_service_server::LogicalService;
use aumbry_api::v1::mount_service_server::MountService;
use aumbry_api::v1::policy_service_server::PolicyService;
use aumbry_api::v1::token_service_server::TokenService;
use tonic::{Request, Response, Status};

use super::Services;

macro_rules! service {
    ($service:ident { $($method:ident($request:ident) -> $reply:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Services {
            $(async fn $method(&self, request: Request<v1::$request>) -> Result<Response<v1::$reply>, Status> {
                self.call(request).await
            })*
        }
    };
}

service!(KvService {
    put(KvPutRequest) -> KvPutReply;
    get(KvGetRequest) -> KvGetReply;
    batch_get(KvBatchGetRequest) -> KvBatchGetReply;
    patch(KvPatchRequest) -> KvPutReply;
    list(KvListRequest) -> KvListReply;
    delete(KvDeleteRequest) -> KvDoneReply;
    undelete(KvUndeleteRequest) -> KvDoneReply;
    destroy(KvDestroyRequest) -> KvDoneReply;
    get_metadata(KvGetMetadataRequest) -> KvGetMetadataReply;
    put_metadata(KvPutMetadataRequest) -> KvDoneReply;
    delete_metadata(KvDeleteMetadataRequest) -> KvDoneReply;
});

service!(TokenService {
    create(TokenCreateRequest) -> TokenCreateReply;
    lookup(TokenLookupRequest) -> TokenLookupReply;
    renew(TokenRenewRequest) -> TokenRenewReply;
    revoke(TokenRevokeRequest) -> TokenRevokeReply;
});

service!(AuthService {
    app_role_login(AppRoleLoginRequest) -> LoginReply;
    userpass_login(UserpassLoginRequest) -> LoginReply;
    validate_second_factor(SecondFactorRequest) -> LoginReply;
});

service!(PolicyService {
    put(PolicyPutRequest) -> PolicyPutReply;
    get(PolicyGetRequest) -> PolicyGetReply;
    list(PolicyListRequest) -> PolicyListReply;
    delete(PolicyDeleteRequest) -> PolicyDeleteReply;
});

service!(MountService {
    enable(MountEnableRequest) -> MountEnableReply;
    disable(MountDisableRequest) -> MountDisableReply;
    list(MountListRequest) -> MountListReply;
});

service!(AuditService {
    read(AuditReadRequest) -> AuditReadReply;
    checkpoint(AuditCheckpointRequest) -> AuditCheckpointReply;
    prove(AuditProofRequest) -> AuditProofReply;
    prove_consistency(AuditConsistencyRequest) -> AuditConsistencyReply;
});

service!(LogicalService {
    call(LogicalRequest) -> LogicalReply;
});
