//! All messages of both protocols: what is decoded and encoded is decoded as the same, and memory is bounded.

use aumbry_api::peer::v1 as peer;
use aumbry_api::v1;
use prost::Message;

use super::chosen;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "messages",
    seeds,
    run,
    words: &[
        b"\x0a",
        b"\x12",
        b"\x1a",
        b"\x08\x01",
        b"\x10\x01",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\0",
        b"\x1a\0",
    ],
    bombs,
    smoke: 40_000,
    ..Target::USUAL
};

/// Decodes a message of one type, and encodes and decodes it again.
fn check<M: Message + Default + PartialEq>(bytes: &[u8]) -> Verdict {
    let Ok(message) = bounded(bytes, MEMORY, || M::decode(bytes)) else {
        return Verdict::Refused;
    };
    let encoded = message.encode_to_vec();
    assert_eq!(encoded.len(), message.encoded_len());
    let again = M::decode(&*encoded).unwrap_or_else(|error| panic!("what was encoded does not decode: {error}"));
    assert!(again == message, "it is decoded as another message");
    Verdict::Accepted
}

macro_rules! checks {
    ($($module:ident: $($message:ident,)*;)*) => {
        /// One for each type.
        const CHECKS: &[fn(&[u8]) -> Verdict] = &[$($(check::<$module::$message>,)*)*];
    };
}

checks! {
    v1:
        AuditReadRequest, AuditRow, AuditReadReply, AuditCheckpointRequest, AuditCheckpointReply,
        AuditProofRequest, AuditProofReply, AuditConsistencyRequest, AuditConsistencyReply, Call, Answer, Evidence, Forwarded, UnsealReport, WrongShares, Unsealed, Failure, ForwardAnswer, JoinTokenCreateRequest, JoinTokenCreateReply, JoinRequest,
        JoinReply, JoinClusterRequest, JoinClusterReply, MembersRequest, MembersReply, PromoteRequest, PromoteReply,
        RemoveRequest, RemoveReply, TransferRequest, TransferReply, SnapshotSaveRequest, SnapshotSaveReply,
        SnapshotPart, SnapshotProgress, SnapshotRestored, SnapshotReleaseRequest, SnapshotReleaseReply,
        RequestHeader, ReplyHeader, VersionInfo, KvPutRequest, KvPutReply, KvGetRequest, KvGetReply, KvItem,
        KvBatchGetRequest, KvBatchGetReply, KvPatchRequest, KvListRequest, KvListReply, KvDeleteRequest,
        KvUndeleteRequest, KvDestroyRequest, KvDoneReply, KvGetMetadataRequest, KvGetMetadataReply,
        KvPutMetadataRequest, KvDeleteMetadataRequest, Mount, MountEnableRequest, MountEnableReply,
        MountDisableRequest, MountDisableReply, MountListRequest, MountListReply, PolicyPutRequest, PolicyPutReply,
        PolicyGetRequest, PolicyGetReply, PolicyListRequest, PolicyListReply, PolicyDeleteRequest, PolicyDeleteReply,
        InitRequest, InitReply, UnsealRequest, ResetUnsealRequest, SealStatusRequest, SealStatusReply, HealthRequest,
        HealthReply, SealRequest, SealReply, StatusRequest, Member, StatusReply, StepDownRequest, StepDownReply,
        SealAddRequest, OuterSealKey, SealAddReply, Seal, SealTest, SealListRequest, SealListReply, SealRemoveRequest, SealRemoveReply,
        TokenName, TokenInfo, TokenCreateRequest, TokenCreateReply, TokenLookupRequest, TokenLookupReply,
        TokenRenewRequest, TokenRenewReply, TokenRevokeRequest, TokenRevokeReply,
    ;
    peer:
        Empty, LogId, Vote, Entry, AppendRequest, AppendReply, VoteRequest, VoteReply, TransferRequest,
        TransferReply, SnapshotHead, SnapshotHeldRequest, SnapshotHeldReply, SnapshotChunk, SnapshotReply,
        FetchSnapshotRequest, ReadIndexRequest, ReadIndexReply, Acknowledged, PeerStatusRequest, PeerStatusReply,
        ForwardRequest, ForwardReply,
    ;
    v1:
        LogicalRequest, LogicalReply, AppRoleLoginRequest, UserpassLoginRequest, SecondFactorRequest,
        LoginReply,
    ;
}

fn seeds() -> Vec<Vec<u8>> {
    // A field of each wire type with each of the first numbers, for each type of message. What has another type is refused, what is not
    // known is passed over.
    let fields = |wire: u8, value: &[u8]| -> Vec<u8> {
        (1..8)
            .flat_map(|number: u8| [&[number << 3 | wire], value].concat())
            .collect()
    };
    let samples = [
        Vec::new(),
        fields(0, &[1]),
        fields(2, &[1, b'a']),
        fields(2, &[0]),
        fields(2, &[2, 8, 1]),
    ];
    let each = |sample: &Vec<u8>| {
        (0..CHECKS.len())
            .map(|kind| chosen(kind as u8, sample))
            .collect::<Vec<_>>()
    };
    samples
        .iter()
        .flat_map(each)
        .filter(|seed| run(seed) == Verdict::Accepted)
        .collect()
}

/// The usual ones, and for each repeated field of each type as many empty values as have room.
fn bombs() -> Vec<Vec<u8>> {
    let mut bombs = Vec::new();
    for kind in 0..CHECKS.len() as u8 {
        for number in 1..13_u8 {
            bombs.push(chosen(kind, &[number << 3 | 2, 0].repeat(REPEATED)));
        }
        bombs.push(chosen(kind, &b"\x0a\x80".repeat(REPEATED)));
        bombs.push(chosen(kind, &b"\x0b".repeat(REPEATED)));
        bombs.push(chosen(kind, &[0x0a, 0xff, 0xff, 0xff, 0x0f]));
    }
    for kind in [0, 5, 6, 7, 9] {
        bombs.extend(super::message_bombs().iter().map(|bomb| chosen(kind, bomb)));
    }
    bombs
}

fn run(input: &[u8]) -> Verdict {
    let Some((kind, bytes)) = input.split_first() else {
        return Verdict::Refused;
    };
    CHECKS[usize::from(*kind) % CHECKS.len()](bytes)
}

const REPEATED: usize = 20_000;

/// An empty message inside a list takes two bytes, and the memory of its fields; a list that grows is there twice for a moment.
const MEMORY: Memory = Memory {
    per_byte: 512,
    at_least: 64 << 10,
};
