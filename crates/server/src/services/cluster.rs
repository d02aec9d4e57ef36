//! The cluster service: membership and backups.

use aumbry_api::v1;
use aumbry_api::v1::cluster_service_server::ClusterService;
use aumbry_types::{LogIndex, SecretBytes};
use tonic::{Request, Response, Status, Streaming};

use super::Services;
use super::snapshot::Messages;
use super::sys::member_status;

#[tonic::async_trait]
impl ClusterService for Services {
    async fn create_join_token(
        &self,
        request: Request<v1::JoinTokenCreateRequest>,
    ) -> Result<Response<v1::JoinTokenCreateReply>, Status> {
        self.call(request).await
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinReply>, Status> {
        self.call(request).await
    }

    async fn join_cluster(
        &self,
        request: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterReply>, Status> {
        let join = request.into_inner();
        let token = SecretBytes::new(join.join_token.into());
        let joined = self
            .lifecycle
            .join(token.expose(), &join.ca)
            .await
            .map_err(|error| member_status(&error))?;
        let (node, cluster) = joined;
        tracing::info!(%cluster, %node, "the node has joined; unseal it with the cluster's shares");
        Ok(Response::new(v1::JoinClusterReply {
            node_id: node.0,
            cluster_id: cluster.to_string(),
        }))
    }

    async fn members(&self, request: Request<v1::MembersRequest>) -> Result<Response<v1::MembersReply>, Status> {
        self.call(request).await
    }

    async fn promote(&self, request: Request<v1::PromoteRequest>) -> Result<Response<v1::PromoteReply>, Status> {
        self.call(request).await
    }

    async fn remove(&self, request: Request<v1::RemoveRequest>) -> Result<Response<v1::RemoveReply>, Status> {
        self.call(request).await
    }

    type SnapshotSaveStream = Messages<v1::SnapshotPart>;

    async fn snapshot_save(
        &self,
        request: Request<v1::SnapshotSaveRequest>,
    ) -> Result<Response<Self::SnapshotSaveStream>, Status> {
        let admitted = self.call(request).await?.into_inner();
        let index = LogIndex(admitted.header.unwrap_or_default().index);
        self.send_backup(index).await.map(Response::new)
    }

    type SnapshotRestoreStream = Messages<v1::SnapshotProgress>;

    async fn snapshot_restore(
        &self,
        request: Request<Streaming<v1::SnapshotPart>>,
    ) -> Result<Response<Self::SnapshotRestoreStream>, Status> {
        self.receive_backup(request.into_inner()).map(Response::new)
    }

    async fn snapshot_release(
        &self,
        request: Request<v1::SnapshotReleaseRequest>,
    ) -> Result<Response<v1::SnapshotReleaseReply>, Status> {
        self.call(request).await
    }

    async fn transfer(&self, request: Request<v1::TransferRequest>) -> Result<Response<v1::TransferReply>, Status> {
        self.call(request).await
    }
}
