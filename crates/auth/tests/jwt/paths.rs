//! How the method is set up.

use aumbry_auth::{Error, jwt};
use aumbry_logical::Verb;
use serde_json::{Value, json};

use crate::bed::{Method, body};
use crate::signer::Signer;

#[test]
fn a_configuration_has_one_source_of_keys() {
    let pem = Signer::make("k", "ES256").pem();
    let mut method = Method::new();
    let mut check = |value: Value, is_taken: bool| {
        let written = method.ask(Verb::Write, "config", &value);
        assert_eq!(written.is_ok(), is_taken, "{value}: {written:?}");
    };
    check(json!({}), false);
    check(json!({ "jwks_url": "https://a.example/keys" }), true);
    check(json!({ "jwt_validation_pubkeys": pem }), true);
    check(json!({ "jwt_validation_pubkeys": [pem, pem] }), true);
    check(json!({ "oidc_discovery_url": "https://a.example" }), true);
    check(
        json!({ "jwks_url": "https://a.example/keys", "jwt_validation_pubkeys": pem }),
        false,
    );
    check(
        json!({ "jwks_url": "https://a.example/keys", "oidc_discovery_url": "https://a.example" }),
        false,
    );
    for url in [
        "http://a.example",
        "https://u:p@a.example",
        "https://",
        "//a.example",
        "file:///x",
        "https://a\r\nb",
    ] {
        check(json!({ "jwks_url": url }), false);
        check(json!({ "oidc_discovery_url": url }), false);
    }
    for bad in [
        json!("nonsense"),
        json!([pem, "x"]),
        json!("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
    ] {
        check(json!({ "jwt_validation_pubkeys": bad }), false);
    }
    check(
        json!({ "jwks_url": "https://a.example", "jwks_ca_pem": "nonsense" }),
        false,
    );
    for algorithm in ["none", "HS256", "RS128", "rs256"] {
        check(
            json!({ "jwks_url": "https://a.example", "jwt_supported_algs": algorithm }),
            false,
        );
    }
    let client = |further: Value| {
        let mut config = json!({ "oidc_discovery_url": "https://a.example", "oidc_client_id": "x" });
        for (name, value) in further.as_object().expect("is an object") {
            config[name] = value.clone();
        }
        config
    };
    check(client(json!({ "oidc_client_secret": "y" })), true);
    check(
        client(json!({ "oidc_response_mode": "query", "oidc_response_types": "code" })),
        true,
    );
    check(client(json!({ "oidc_response_mode": "form_post" })), false);
    check(client(json!({ "oidc_response_types": "code,id_token" })), false);
    check(client(json!({ "oidc_client_secret": "a\nb" })), false);
    check(client(json!({ "oidc_client_id": "x".repeat(300) })), false);
    check(
        json!({ "jwks_url": "https://a.example/keys", "oidc_client_id": "x" }),
        false,
    );
    check(
        json!({ "oidc_discovery_url": "https://a.example", "oidc_client_secret": "y" }),
        false,
    );
    assert_eq!(
        Method::new().ask(Verb::Read, "config", &json!({})),
        Err(Error::NotFound)
    );
}

#[test]
fn what_is_written_is_read() {
    let mut method = Method::new();
    method.write(
        "config",
        &json!({ "oidc_discovery_url": "https://a.example", "bound_issuer": "x", "default_role": "CI" }),
    );
    let read = method.read("config");
    assert_eq!(
        (&read["oidc_discovery_url"], &read["default_role"]),
        (&json!("https://a.example"), &json!("ci"))
    );
    // It is written as a whole.
    method.write("config", &json!({ "jwks_url": "https://a.example/keys" }));
    assert_eq!(method.read("config")["bound_issuer"], "");
    method.write(
        "role/ci",
        &json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a,b", "bound_claims": { "x": ["1", "2"], "y": true },
            "bound_claims_type": "glob", "claim_mappings": { "z": "zed" }, "clock_skew_leeway": "30s", "policies": "p", "ttl": "1h",
        }),
    );
    // Of a role, what is named is changed.
    method.write("role/CI", &json!({ "bound_audiences": "c" }));
    let read = method.read("role/ci");
    for (name, expected) in [
        ("bound_audiences", json!(["c"])),
        ("bound_claims", json!({ "x": ["1", "2"], "y": true })),
        ("bound_claims_type", json!("glob")),
        ("claim_mappings", json!({ "z": "zed" })),
        ("clock_skew_leeway", json!(30)),
        ("role_type", json!("jwt")),
        ("token_policies", json!(["p"])),
        ("token_ttl", json!(3_600)),
        ("user_claim", json!("sub")),
    ] {
        assert_eq!(read[name], expected, "{name}");
    }
    assert_eq!(
        method.ask(Verb::List, "role", &json!({})),
        Ok(Some(json!({ "keys": ["ci"] })))
    );
    assert_eq!(method.ask(Verb::Delete, "role/ci", &json!({})), Ok(None));
    assert_eq!(method.ask(Verb::Delete, "role/ci", &json!({})), Ok(None));
    assert_eq!(method.ask(Verb::Read, "role/ci", &json!({})), Err(Error::NotFound));
    assert_eq!(method.ask(Verb::List, "role", &json!({})), Err(Error::NotFound));
}

#[test]
fn a_role_demands_something() {
    let mut method = Method::new();
    let mut check = |value: Value, is_taken: bool| {
        let written = method.ask(Verb::Write, "role/r", &value);
        assert_eq!(written.is_ok(), is_taken, "{value}: {written:?}");
        let _ = method.ask(Verb::Delete, "role/r", &json!({}));
    };
    check(json!({ "user_claim": "sub" }), false);
    check(json!({ "bound_subject": "me" }), false);
    check(json!({ "user_claim": "sub", "bound_subject": "me" }), true);
    check(json!({ "user_claim": "sub", "bound_audiences": "a" }), true);
    check(json!({ "user_claim": "sub", "bound_claims": { "a": "b" } }), true);
    check(json!({ "user_claim": "sub", "token_bound_cidrs": "10.0.0.0/8" }), true);
    check(json!({ "user_claim": "sub", "bound_claims": {} }), false);
    for claims in [
        json!({ "a": [] }),
        json!({ "a": {} }),
        json!({ "a": null }),
        json!({ "": "x" }),
        json!("a=b"),
    ] {
        check(json!({ "user_claim": "sub", "bound_claims": claims }), false);
    }
    let fine = |further: Value| {
        let mut role = json!({ "user_claim": "sub", "bound_subject": "me" });
        for (name, value) in further.as_object().expect("is an object") {
            role[name] = value.clone();
        }
        role
    };
    check(fine(json!({ "role_type": "oidc" })), false);
    check(fine(json!({ "bound_claims_type": "regex" })), false);
    check(fine(json!({ "claim_mappings": { "a": "role" } })), false);
    check(fine(json!({ "token_policies": "root" })), false);
    check(fine(json!({ "token_type": "perpetual" })), false);
}

#[test]
fn paths_that_are_none() {
    let parse = |verb, path: &str| jwt::parse(verb, path, body(&json!({}))).err();
    assert_eq!(parse(Verb::Read, "role"), Some(Error::Unsupported));
    assert_eq!(parse(Verb::Delete, "config"), Some(Error::Unsupported));
    assert_eq!(parse(Verb::Read, "roles"), Some(Error::NotFound));
    assert_eq!(parse(Verb::Write, "oidc/auth_url"), Some(Error::NotFound));
    assert_eq!(parse(Verb::Read, ""), Some(Error::NotFound));
    assert!(parse(Verb::Read, "role/a b").is_some());
}
