//! etcd by its gRPC API: the two messages that a key-value load needs, written by hand.

use crate::Plan;
use crate::rpc::framed;
use crate::sequence::Operation;
use crate::target::LIST_LIMIT;
use crate::template::{KEY_MARK, document};

/// `etcdserverpb.RangeRequest`. `serializable` is left out: its default is a linearizable read.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(bool, tag = "8")]
    keys_only: bool,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

pub(super) const fn method(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::Read | Operation::List => Some("/etcdserverpb.KV/Range"),
        Operation::Write => Some("/etcdserverpb.KV/Put"),
        Operation::Token | Operation::Login => None,
    }
}

pub(super) fn encoded(plan: &Plan, operation: Operation) -> Option<Vec<u8>> {
    let key = format!("{}/{KEY_MARK}", plan.path).into_bytes();
    match operation {
        Operation::Read => Some(framed(&RangeRequest {
            key,
            ..RangeRequest::default()
        })),
        Operation::Write => Some(framed(&PutRequest {
            key,
            value: document(plan.value_size).into_bytes(),
        })),
        Operation::List => Some(framed(&RangeRequest {
            key: format!("{}/", plan.path).into_bytes(),
            // The first key that does not begin so: '0' comes after '/'.
            range_end: format!("{}0", plan.path).into_bytes(),
            limit: i64::from(LIST_LIMIT),
            keys_only: true,
        })),
        Operation::Token | Operation::Login => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// The bytes were written down from the field numbers of etcd's `rpc.proto`.
    #[test]
    fn the_messages_have_the_numbers_of_the_protocol() {
        let range = RangeRequest {
            key: b"a".to_vec(),
            range_end: b"b".to_vec(),
            limit: 3,
            keys_only: true,
        };
        assert_eq!(range.encode_to_vec(), b"\x0a\x01a\x12\x01b\x18\x03\x40\x01");
        let put = PutRequest {
            key: b"a".to_vec(),
            value: b"v".to_vec(),
        };
        assert_eq!(put.encode_to_vec(), b"\x0a\x01a\x12\x01v");
    }
}
