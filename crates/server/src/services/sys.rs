//! The system service: initialising, the seal, health.

use aumbry_api::v1::sys_service_server::SysService;
use aumbry_api::{status_of, v1};
use aumbry_crypto::recipient::{Recipient, Recipients};
use aumbry_node::{Class, Failure};
use aumbry_state::Consensus as _;
use aumbry_types::{RequestId, SecretBytes};
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::Services;
use crate::convert;
use crate::lifecycle::{Init, MemberError, VERSION};
use crate::member::Member;
use crate::seals::Tested;
use crate::tls::Peer;

impl Services {
    /// A restored store becomes that of its new cluster as soon as the keys are there.
    async fn adopt(&self, member: &Member) -> Result<(), Status> {
        let adopted = self.lifecycle.adopt_restored(member).await;
        adopted.map_err(|error| member_status(&error))
    }

    /// Takes a share from this address.
    pub(crate) async fn show_share(&self, share: &SecretBytes, address: &str) -> Result<v1::SealStatusReply, Status> {
        let member = self.lifecycle.member().ok_or_else(uninitialised)?;
        if member.node.is_unsealed() {
            self.adopt(&member).await?;
            return Ok(self.seal_status_reply());
        }
        let admitted = member.node.admit_share(share.expose(), address);
        admitted.map_err(|failure| refused(&failure))?;
        // The shares are checked against what the cluster has committed, not against what this disk happens to remember.
        member
            .raft
            .barrier()
            .await
            .map_err(|error| refused(&Failure::new(Class::Unavailable, "NO_LEADER", error.to_string()).retry()))?;
        match member.node.unseal_from(share.expose(), address) {
            Ok(status) if !status.sealed => {
                tracing::info!("the node is unsealed");
                self.adopt(&member).await?;
            }
            Ok(_) => {}
            Err(error) => {
                return Err(refused(&Failure::new(
                    Class::InvalidArgument,
                    "INVALID_SHARE",
                    error.to_string(),
                )));
            }
        }
        Ok(self.seal_status_reply())
    }

    /// Forgets the shares that were shown, for who showed one.
    pub(crate) fn forget_shares(&self, address: &str) -> Result<v1::SealStatusReply, Status> {
        let member = self.lifecycle.member().ok_or_else(uninitialised)?;
        member.node.reset_unseal(address).map_err(|failure| refused(&failure))?;
        Ok(self.seal_status_reply())
    }

    fn seal_status_reply(&self) -> v1::SealStatusReply {
        let Some(member) = self.lifecycle.member() else {
            return v1::SealStatusReply {
                sealed: true,
                version: VERSION.to_owned(),
                name: self.lifecycle.name().to_owned(),
                ..v1::SealStatusReply::default()
            };
        };
        let status = member.node.seal_status();
        let bound = member.node.key_seals();
        let tests = self.lifecycle.seal_tests.all().into_iter();
        v1::SealStatusReply {
            initialized: status.initialised,
            sealed: status.sealed,
            threshold: status.threshold,
            shares: status.shares,
            progress: status.progress,
            epoch: status.epoch,
            version: VERSION.to_owned(),
            cluster_id: member.cluster().to_string(),
            applied_index: member.raft.changed().borrow().applied.0,
            node_id: member.raft_id().0,
            name: self.lifecycle.name().to_owned(),
            seals: status.seals.into_iter().map(str::to_owned).collect(),
            storage_id: bound
                .as_ref()
                .map_or_else(Bytes::new, |bound| Bytes::copy_from_slice(bound.storage_id.as_bytes())),
            root_epoch: bound.map_or(0, |bound| bound.root_epoch),
            seal_tests: tests.map(seal_test).collect(),
            keys_held_back: status.keys_held_back,
        }
    }
}

fn seal_test(tested: Tested) -> v1::SealTest {
    v1::SealTest {
        kind: tested.kind.to_owned(),
        key_id: tested.key_id,
        works: tested.works,
        tested_ms: tested.at_ms,
    }
}

#[tonic::async_trait]
impl SysService for Services {
    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitReply>, Status> {
        let init = request.into_inner();
        let number =
            |n: u32| u8::try_from(n).map_err(|_| Status::invalid_argument("shares and threshold are 1 to 255"));
        let (shares, threshold) = (number(init.shares)?, number(init.threshold)?);
        if !init.root_token.is_empty() && !(4..=128).contains(&init.root_token.len()) {
            return Err(Status::invalid_argument(
                "a root token of your choice has 4 to 128 bytes",
            ));
        }
        if init.key.len() > 64 {
            return Err(Status::invalid_argument(
                "the key of an initialisation has at most 64 bytes",
            ));
        }
        let recipients = Recipients::parse(&init.recipients, shares);
        let root_token_recipient = Some(&init.root_token_recipient).filter(|text| !text.is_empty());
        let root_token_recipient = root_token_recipient.map(|text| Recipient::parse(text)).transpose();
        let (recipients, root_token_recipient) = match (recipients, root_token_recipient) {
            (Ok(recipients), Ok(recipient)) => (recipients, recipient),
            (Err(error), _) => return Err(Status::invalid_argument(error.to_string())),
            (_, Err(error)) => return Err(Status::invalid_argument(format!("of the root token: {error}"))),
        };
        let root_token = (!init.root_token.is_empty()).then(|| SecretBytes::new(init.root_token.into()));
        let asked = Init {
            shares,
            threshold,
            root_token,
            recipients,
            root_token_recipient,
        };
        let done = self
            .lifecycle
            .init(asked, &init.key)
            .await
            .map_err(|error| member_status(&error))?;
        let (initialised, cluster) = done;
        tracing::info!(%cluster, shares, threshold, "the cluster was initialised; unseal this node with the shares");
        Ok(Response::new(v1::InitReply {
            shares: initialised
                .shares
                .iter()
                .map(|share| Bytes::copy_from_slice(share.expose()))
                .collect(),
            root_token: Bytes::copy_from_slice(initialised.root_token.expose()),
            checkpoint_fingerprint: initialised.checkpoint_fingerprint,
            cluster_id: cluster.to_string(),
            node_id: 1,
        }))
    }

    async fn unseal(&self, request: Request<v1::UnsealRequest>) -> Result<Response<v1::SealStatusReply>, Status> {
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.to_string());
        let share = SecretBytes::new(request.into_inner().share.into());
        let status = self.show_share(&share, &address.unwrap_or_default()).await?;
        Ok(Response::new(status))
    }

    async fn reset_unseal(
        &self,
        request: Request<v1::ResetUnsealRequest>,
    ) -> Result<Response<v1::SealStatusReply>, Status> {
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.to_string());
        Ok(Response::new(self.forget_shares(&address.unwrap_or_default())?))
    }

    async fn seal_status(&self, _: Request<v1::SealStatusRequest>) -> Result<Response<v1::SealStatusReply>, Status> {
        Ok(Response::new(self.seal_status_reply()))
    }

    async fn health(&self, _: Request<v1::HealthRequest>) -> Result<Response<v1::HealthReply>, Status> {
        let member = self.lifecycle.member();
        let leader = member.as_ref().and_then(|member| member.leader());
        Ok(Response::new(v1::HealthReply {
            initialized: member
                .as_ref()
                .is_some_and(|member| member.node.seal_status().initialised),
            sealed: member.as_ref().is_none_or(|member| !member.node.is_unsealed()),
            leader_known: leader.is_some(),
            is_leader: member.is_some_and(|member| leader == Some(member.raft_id())),
            version: VERSION.to_owned(),
        }))
    }

    async fn seal(&self, request: Request<v1::SealRequest>) -> Result<Response<v1::SealReply>, Status> {
        self.call(request).await
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        self.call(request).await
    }

    async fn add_seal(&self, request: Request<v1::SealAddRequest>) -> Result<Response<v1::SealAddReply>, Status> {
        self.call(request).await
    }

    async fn list_seals(&self, request: Request<v1::SealListRequest>) -> Result<Response<v1::SealListReply>, Status> {
        self.call(request).await
    }

    async fn remove_seal(
        &self,
        request: Request<v1::SealRemoveRequest>,
    ) -> Result<Response<v1::SealRemoveReply>, Status> {
        self.call(request).await
    }

    async fn step_down(&self, request: Request<v1::StepDownRequest>) -> Result<Response<v1::StepDownReply>, Status> {
        self.call(request).await
    }
}

fn uninitialised() -> Status {
    refused(&Failure::new(
        Class::FailedPrecondition,
        "NO_CLUSTER",
        "the node belongs to no cluster yet; run `aumbry operator init`, or `aumbry operator join`",
    ))
}

pub(super) fn member_status(error: &MemberError) -> Status {
    use aumbry_node::InitError;
    let text = error.to_string();
    let (class, reason) = match error {
        MemberError::Already | MemberError::Init(InitError::Already) => (Class::FailedPrecondition, "ALREADY"),
        MemberError::NotRepeatable => (Class::FailedPrecondition, "NOT_REPEATABLE"),
        MemberError::Init(InitError::Shares(_)) => (Class::InvalidArgument, "INVALID_REQUEST"),
        MemberError::Join(_) => (Class::FailedPrecondition, "JOIN_REFUSED"),
        MemberError::Storage(_) => (Class::InvalidArgument, "INVALID_BACKUP"),
        MemberError::Init(InitError::NotCommitted(_)) => {
            return refused(&Failure::unknown(Class::Unavailable, &text));
        }
        MemberError::Init(_) | MemberError::Adopt(_) => (Class::Unavailable, "TRY_AGAIN"),
        MemberError::Identity(_) | MemberError::Pki(_) | MemberError::Start(_) => (Class::Internal, "INTERNAL"),
    };
    refused(&Failure::new(class, reason, text))
}

/// The status of a failure that no request of the pipeline stands behind.
fn refused(failure: &Failure) -> Status {
    let none = RequestId::from_bytes([0; 16]);
    let mut failure = convert::failure(failure, none, String::new());
    failure.request_id.clear();
    status_of(&failure)
}
