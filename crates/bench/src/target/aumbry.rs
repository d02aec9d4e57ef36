//! Aumbry by gRPC.

use aumbry_client::v1;
use bytes::Bytes;

use super::{LIST_LIMIT, TOKEN_TTL_S};
use crate::rpc::framed;
use crate::sequence::Operation;
use crate::template::{ID_MARK, KEY_MARK, document};
use crate::{Channel, Idempotency, Plan};

pub(super) const fn method(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "/aumbry.v1.KvService/Get",
        Operation::Write => "/aumbry.v1.KvService/Put",
        Operation::List => "/aumbry.v1.KvService/List",
        Operation::Token => "/aumbry.v1.TokenService/Create",
        Operation::Login => "/aumbry.v1.AuthService/AppRoleLogin",
    }
}

/// The request as the plan's channel sends it. The SDK's adds the prefix itself.
pub(super) fn encoded(plan: &Plan, operation: Operation) -> Vec<u8> {
    let header = |idempotency_key: &str| {
        Some(v1::RequestHeader {
            request_id: ID_MARK.to_owned(),
            idempotency_key: idempotency_key.to_owned(),
            ..v1::RequestHeader::default()
        })
    };
    let key = match plan.idempotency {
        Idempotency::Keyed => ID_MARK,
        Idempotency::Plain => "",
    };
    let path = format!("{}/{KEY_MARK}", plan.path);
    match operation {
        Operation::Read => wired(
            plan,
            &v1::KvGetRequest {
                header: header(""),
                path,
                ..v1::KvGetRequest::default()
            },
        ),
        Operation::Write => wired(
            plan,
            &v1::KvPutRequest {
                header: header(key),
                path,
                data: document(plan.value_size).into(),
                ..v1::KvPutRequest::default()
            },
        ),
        Operation::List => wired(
            plan,
            &v1::KvListRequest {
                header: header(""),
                path: plan.path.clone(),
                limit: LIST_LIMIT,
                ..v1::KvListRequest::default()
            },
        ),
        Operation::Token => wired(
            plan,
            &v1::TokenCreateRequest {
                header: header(key),
                policies: vec!["default".to_owned()],
                ttl_s: TOKEN_TTL_S,
                ..v1::TokenCreateRequest::default()
            },
        ),
        Operation::Login => {
            let role = plan.role.as_ref().expect("the plan's role was checked");
            wired(
                plan,
                &v1::AppRoleLoginRequest {
                    header: header(""),
                    mount: role.mount.clone(),
                    role_id: role.role_id.clone(),
                    secret_id: Bytes::copy_from_slice(role.secret_id.expose()),
                },
            )
        }
    }
}

fn wired(plan: &Plan, message: &impl prost::Message) -> Vec<u8> {
    match plan.channel {
        Channel::Sdk => message.encode_to_vec(),
        Channel::Http2 => framed(message),
    }
}
