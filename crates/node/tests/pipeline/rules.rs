//! What rules ask of a request beside its path, of typed requests and of those by path.

use std::sync::Arc;

use aumbry_auth::token::Create;
use aumbry_engines::kv;
use aumbry_node::{Operation, Reply, Sent};
use aumbry_types::{Name, SecretBytes};

use crate::bed::{Bed, list, names, path, put, reason};

async fn caller(bed: &Bed, policy: &str) -> SecretBytes {
    let name = Name::parse("rules").expect("is a name");
    let written = bed.call(Operation::PolicyWrite(name, policy.to_owned())).await;
    assert_eq!(reason(written), "OK", "{policy}");
    bed.token(Create {
        policies: vec!["rules".to_owned()],
        ..Create::default()
    })
    .await
}

/// As if the body had come by path, and the answer was to be wrapped for so long.
async fn by_path(bed: &Bed, token: &SecretBytes, operation: Operation, body: &str, wrap_ttl_s: u64) -> &'static str {
    let mut request = bed.request(token, operation, "");
    request.sent = Some(Sent {
        body: Arc::new(SecretBytes::from(body.to_owned())),
        wrap_ttl_s,
        ..Sent::default()
    });
    reason(bed.node.serve(&request).await)
}

fn get(version: Option<u64>) -> Operation {
    Operation::Kv(kv::Request::Get {
        path: path("secret/x"),
        version,
    })
}

const REFUSED: &str = "PERMISSION_DENIED";

#[tokio::test]
async fn parameters_are_those_of_the_request() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let rule = |restriction: &str| {
        format!(r#"path "secret/data/*" {{ capabilities = ["create", "update", "read"] {restriction} }}"#)
    };
    // A rule, what is sent by path, whether the same typed put without and with a condition is allowed.
    let cases = [
        (rule(""), r#"{"data":{}}"#, "OK", "OK", "OK"),
        (
            rule("allowed_parameters = { data = [] }"),
            r#"{"data":{}}"#,
            "OK",
            "OK",
            REFUSED,
        ),
        (
            rule("allowed_parameters = { data = [] }"),
            r#"{"data":{},"x":1}"#,
            REFUSED,
            "OK",
            REFUSED,
        ),
        (
            rule("denied_parameters = { options = [] }"),
            r#"{"data":{},"options":{}}"#,
            REFUSED,
            "OK",
            REFUSED,
        ),
        (
            rule("denied_parameters = { \"*\" = [] }"),
            r"{}",
            "OK",
            REFUSED,
            REFUSED,
        ),
        (
            rule("required_parameters = [\"options\"]"),
            r#"{"data":{}}"#,
            REFUSED,
            REFUSED,
            "OK",
        ),
        (
            rule("required_parameters = [\"options\"]"),
            r#"{"options":{"cas":1}}"#,
            "OK",
            REFUSED,
            "OK",
        ),
    ];
    for (policy, body, sent, plain, with_cas) in cases {
        let token = caller(&bed, &policy).await;
        let put_now = || put("secret/y", "{}", None);
        assert_eq!(by_path(&bed, &token, put_now(), body, 0).await, sent, "{policy} {body}");
        assert_eq!(reason(bed.call_as(&token, put_now()).await), plain, "{policy}");
        let current = bed
            .call(Operation::Kv(kv::Request::ReadMetadata { path: path("secret/y") }))
            .await;
        let Ok(Reply::Kv(kv::Reply::Metadata(metadata))) = current else {
            panic!("no metadata");
        };
        let operation = put("secret/y", "{}", Some(metadata.current));
        assert_eq!(reason(bed.call_as(&token, operation).await), with_cas, "{policy}");
    }
    let token = caller(&bed, &rule("denied_parameters = { version = [] }")).await;
    assert_eq!(reason(bed.call_as(&token, get(None)).await), "OK");
    assert_eq!(reason(bed.call_as(&token, get(Some(1))).await), REFUSED);
}

#[tokio::test]
async fn values_of_a_typed_request_are_compared() {
    let bed = Bed::open().await;
    let policy = r#"
        path "auth/token/create" { capabilities = ["update"] allowed_parameters = { policies = ["rules"] ttl = ["60"] } }
        path "sys/policies/acl/*" { capabilities = ["update"] denied_parameters = { policy = ["*sudo*"] } }"#;
    // A policy must hold what it passes on.
    let token = caller(&bed, policy).await;
    let create = |policies: &[&str], ttl_s| {
        Operation::TokenCreate(Create {
            policies: policies.iter().map(|name| (*name).to_owned()).collect(),
            ttl_s,
            renewable: true,
            ..Create::default()
        })
    };
    assert_eq!(reason(bed.call_as(&token, create(&["rules"], 0)).await), "OK");
    assert_eq!(reason(bed.call_as(&token, create(&["default"], 0)).await), REFUSED);
    assert_eq!(reason(bed.call_as(&token, create(&["rules"], 61)).await), REFUSED);
}

#[tokio::test]
async fn a_reply_is_wrapped_for_as_long_as_the_rule_says() {
    let bed = Bed::open().await;
    assert_eq!(reason(bed.call(put("secret/x", "{}", None)).await), "OK");
    let policy = r#"path "secret/data/*" { capabilities = ["read"] min_wrapping_ttl = "10s" max_wrapping_ttl = "1m" }"#;
    let token = caller(&bed, policy).await;
    for (ttl_s, expect) in [(0, REFUSED), (9, REFUSED), (10, "OK"), (60, "OK"), (61, REFUSED)] {
        assert_eq!(by_path(&bed, &token, get(None), "", ttl_s).await, expect, "{ttl_s}");
    }
    assert_eq!(reason(bed.call_as(&token, get(None)).await), REFUSED);
}

#[tokio::test]
async fn a_list_is_cut_to_what_the_rule_allows() {
    let bed = Bed::open().await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(
            reason(bed.call(put(&format!("secret/d/{name}"), "{}", None)).await),
            "OK"
        );
    }
    let token = caller(
        &bed,
        r#"path "secret/metadata/*" { capabilities = ["list"] pagination_limit = 3 }"#,
    )
    .await;
    let typed = async |after: &str, limit| {
        let answer = bed.call_as(&token, list("secret/d", after, limit)).await;
        answer.map(|answer| answer.reply)
    };
    assert_eq!(names(typed("", 1_000).await), ["a", "b", "c"]);
    assert_eq!(names(typed("c", 1_000).await), ["d"]);
    assert_eq!(names(typed("", 2).await), ["a", "b"]);
    assert_eq!(reason(typed("", 4).await), REFUSED);
    let whole = || list("secret/d", "", 10_000);
    for (body, expect) in [
        ("", "OK"),
        (r#"{"limit":3}"#, "OK"),
        (r#"{"limit":"4"}"#, REFUSED),
        (r#"{"limit":"max"}"#, "OK"),
    ] {
        assert_eq!(by_path(&bed, &token, whole(), body, 0).await, expect, "{body}");
    }
}
