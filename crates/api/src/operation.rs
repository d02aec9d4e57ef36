//! Ties each request that passes through the pipeline to its place in a [`Call`], and each reply to its place in an [`Answer`].

use crate::v1::{self, Answer, Call, ReplyHeader, RequestHeader, answer, call};

/// A request that passes through the pipeline.
pub trait Operation: Sized {
    /// Its reply.
    type Reply: Reply;

    /// The request's header.
    fn header(&self) -> Option<&RequestHeader>;

    /// The request's header, to be filled in.
    fn header_mut(&mut self) -> &mut RequestHeader;

    /// The request as a call.
    fn into_call(self) -> Call;
}

/// A reply of the pipeline.
pub trait Reply: prost::Message + Sized {
    /// The reply in an answer, if it is of this kind.
    fn from_answer(answer: Answer) -> Option<Self>;

    /// The reply as an answer.
    fn into_answer(self) -> Answer;

    /// The reply's header.
    fn header(&self) -> Option<&ReplyHeader>;

    /// Sets the header.
    fn set_header(&mut self, header: ReplyHeader);
}

macro_rules! operations {
    ($($request:ident, $call:ident => $reply:ident;)*) => {
        $(impl Operation for v1::$request {
            type Reply = v1::$reply;

            fn header(&self) -> Option<&RequestHeader> {
                self.header.as_ref()
            }

            fn header_mut(&mut self) -> &mut RequestHeader {
                self.header.get_or_insert_default()
            }

            fn into_call(self) -> Call {
                Call { op: Some(call::Op::$call(self)) }
            }
        })*

        /// The header of a call, whatever it is.
        impl Call {
            /// The header of the request in it.
            #[must_use]
            pub const fn header(&self) -> Option<&RequestHeader> {
                match &self.op {
                    $(Some(call::Op::$call(request)) => request.header.as_ref(),)*
                    None => None,
                }
            }

            /// The header of the request in it, to be changed; made if there is none.
            pub fn header_mut(&mut self) -> Option<&mut RequestHeader> {
                match &mut self.op {
                    $(Some(call::Op::$call(request)) => Some(request.header.get_or_insert_default()),)*
                    None => None,
                }
            }
        }
    };
}

macro_rules! replies {
    ($($reply:ident, $answer:ident;)*) => {
        $(impl Reply for v1::$reply {
            fn from_answer(answer: Answer) -> Option<Self> {
                match answer.reply {
                    Some(answer::Reply::$answer(reply)) => Some(reply),
                    _ => None,
                }
            }

            fn into_answer(self) -> Answer {
                Answer { reply: Some(answer::Reply::$answer(self)) }
            }

            fn header(&self) -> Option<&ReplyHeader> {
                self.header.as_ref()
            }

            fn set_header(&mut self, header: ReplyHeader) {
                self.header = Some(header);
            }
        })*

        impl Answer {
            /// Sets the header of the reply in it.
            pub fn set_header(&mut self, header: ReplyHeader) {
                match &mut self.reply {
                    $(Some(answer::Reply::$answer(reply)) => reply.header = Some(header),)*
                    None => {}
                }
            }
        }
    };
}

operations! {
    KvPutRequest, KvPut => KvPutReply;
    KvGetRequest, KvGet => KvGetReply;
    KvBatchGetRequest, KvBatchGet => KvBatchGetReply;
    KvPatchRequest, KvPatch => KvPutReply;
    KvListRequest, KvList => KvListReply;
    KvDeleteRequest, KvDelete => KvDoneReply;
    KvUndeleteRequest, KvUndelete => KvDoneReply;
    KvDestroyRequest, KvDestroy => KvDoneReply;
    KvGetMetadataRequest, KvGetMetadata => KvGetMetadataReply;
    KvPutMetadataRequest, KvPutMetadata => KvDoneReply;
    KvDeleteMetadataRequest, KvDeleteMetadata => KvDoneReply;
    TokenCreateRequest, TokenCreate => TokenCreateReply;
    TokenLookupRequest, TokenLookup => TokenLookupReply;
    TokenRenewRequest, TokenRenew => TokenRenewReply;
    TokenRevokeRequest, TokenRevoke => TokenRevokeReply;
    AppRoleLoginRequest, AppRoleLogin => LoginReply;
    UserpassLoginRequest, UserpassLogin => LoginReply;
    SecondFactorRequest, SecondFactor => LoginReply;
    PolicyPutRequest, PolicyPut => PolicyPutReply;
    PolicyGetRequest, PolicyGet => PolicyGetReply;
    PolicyListRequest, PolicyList => PolicyListReply;
    PolicyDeleteRequest, PolicyDelete => PolicyDeleteReply;
    MountEnableRequest, MountEnable => MountEnableReply;
    MountDisableRequest, MountDisable => MountDisableReply;
    MountListRequest, MountList => MountListReply;
    SealRequest, Seal => SealReply;
    StatusRequest, Status => StatusReply;
    StepDownRequest, StepDown => StepDownReply;
    SealAddRequest, SealAdd => SealAddReply;
    SealListRequest, SealList => SealListReply;
    SealRemoveRequest, SealRemove => SealRemoveReply;
    JoinTokenCreateRequest, JoinTokenCreate => JoinTokenCreateReply;
    JoinRequest, Join => JoinReply;
    MembersRequest, Members => MembersReply;
    PromoteRequest, Promote => PromoteReply;
    RemoveRequest, Remove => RemoveReply;
    TransferRequest, Transfer => TransferReply;
    SnapshotSaveRequest, SnapshotSave => SnapshotSaveReply;
    SnapshotReleaseRequest, SnapshotRelease => SnapshotReleaseReply;
    AuditReadRequest, AuditRead => AuditReadReply;
    AuditCheckpointRequest, AuditCheckpoint => AuditCheckpointReply;
    AuditProofRequest, AuditProof => AuditProofReply;
    AuditConsistencyRequest, AuditConsistency => AuditConsistencyReply;
    LogicalRequest, Logical => LogicalReply;
}

replies! {
    KvPutReply, KvPut;
    KvGetReply, KvGet;
    KvBatchGetReply, KvBatchGet;
    KvListReply, KvList;
    KvDoneReply, KvDone;
    KvGetMetadataReply, KvGetMetadata;
    TokenCreateReply, TokenCreate;
    TokenLookupReply, TokenLookup;
    TokenRenewReply, TokenRenew;
    TokenRevokeReply, TokenRevoke;
    LoginReply, Login;
    PolicyPutReply, PolicyPut;
    PolicyGetReply, PolicyGet;
    PolicyListReply, PolicyList;
    PolicyDeleteReply, PolicyDelete;
    MountEnableReply, MountEnable;
    MountDisableReply, MountDisable;
    MountListReply, MountList;
    SealReply, Seal;
    StatusReply, Status;
    StepDownReply, StepDown;
    SealAddReply, SealAdd;
    SealListReply, SealList;
    SealRemoveReply, SealRemove;
    JoinTokenCreateReply, JoinTokenCreate;
    JoinReply, Join;
    MembersReply, Members;
    PromoteReply, Promote;
    RemoveReply, Remove;
    TransferReply, Transfer;
    SnapshotSaveReply, SnapshotSave;
    SnapshotReleaseReply, SnapshotRelease;
    AuditReadReply, AuditRead;
    AuditCheckpointReply, AuditCheckpoint;
    AuditProofReply, AuditProof;
    AuditConsistencyReply, AuditConsistency;
    LogicalReply, Logical;
}
