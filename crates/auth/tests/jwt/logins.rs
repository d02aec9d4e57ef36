//! Who gets in, and who does not.

use aumbry_auth::LoginError;
use aumbry_auth::jwt::{KeySet, Token, parse_discovery};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::bed::{Method, request};
use crate::signer::{Signer, sign_hmac, unsigned};

fn role(further: Value) -> Value {
    let mut role =
        json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "aumbry", "token_policies": "p" });
    for (name, value) in further.as_object().expect("is an object") {
        role[name] = value.clone();
    }
    role
}

#[test]
fn every_algorithm_verifies_by_a_key_of_its_own() {
    for algorithm in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
    ] {
        let signer = Signer::make("k", algorithm);
        let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
        let token = signer.sign(&method.claims(json!({})));
        assert_eq!(method.refusal("ci", &token), "", "{algorithm}");
        // The same key by way of a set.
        let set = json!({ "keys": [signer.jwk()] }).to_string();
        let keys = KeySet::parse(set.as_bytes()).expect("is a set");
        let parsed = Token::parse(token.as_bytes()).expect("is a token");
        assert_eq!(keys.verify(&parsed, &[]), Ok(()), "{algorithm}");
        let mut forged = token.clone().into_bytes();
        let at = forged.len() - 20;
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("is text");
        assert_eq!(method.refusal("ci", &forged), "signature", "{algorithm}");
    }
}

/// Abuse cases: 29.
#[test]
fn a_token_chooses_neither_key_nor_algorithm() {
    let signer = Signer::make("k", "RS256");
    let other = Signer::make("k", "RS256");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    let claims = method.claims(json!({}));
    assert_eq!(method.refusal("ci", &signer.sign(&claims)), "", "the positive control");
    assert_eq!(method.refusal("ci", &unsigned(&claims)), "algorithm");
    assert_eq!(
        method.refusal("ci", &sign_hmac(signer.pem().as_bytes(), &claims)),
        "algorithm"
    );
    assert_eq!(method.refusal("ci", &other.sign(&claims)), "signature");
    let head = |further: Value| {
        let mut head = json!({ "alg": "RS256", "kid": "k" });
        for (name, value) in further.as_object().expect("is an object") {
            head[name] = value.clone();
        }
        head
    };
    for (further, why) in [
        (json!({ "alg": "none" }), "algorithm"),
        (json!({ "alg": "nOnE" }), "algorithm"),
        (json!({ "alg": "HS256" }), "algorithm"),
        (json!({ "alg": ["RS256"] }), "algorithm"),
        (json!({ "alg": null }), "algorithm"),
        // Another algorithm than it was signed by, and one that the key does not have.
        (json!({ "alg": "PS256" }), "signature"),
        (json!({ "alg": "ES256" }), "no key"),
        (json!({ "alg": "EdDSA" }), "no key"),
        (json!({ "crit": ["exp"] }), "critical header"),
        (json!({ "crit": [] }), "critical header"),
        (json!({ "jku": "https://evil.example/keys" }), "critical header"),
        (json!({ "x5u": "https://evil.example/cert" }), "critical header"),
        (json!({ "jwk": other.jwk() }), "critical header"),
        (json!({ "kid": "x".repeat(257) }), "malformed"),
        (json!({ "kid": ["k"] }), "malformed"),
        (json!({ "kid": "x".repeat(5_000) }), "malformed"),
    ] {
        let token = signer.sign_as(&head(further.clone()), &claims);
        assert_eq!(method.refusal("ci", &token), why, "{further}");
    }
}

/// Abuse cases: 29.
#[test]
fn what_is_no_token_is_refused_before_anything_of_it_is_used() {
    let signer = Signer::make("k", "ES256");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    let good = signer.sign(&method.claims(json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let cases = [
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        parts[0].to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{good}.{}", parts[2]),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{}.{}.{}", encode("[]"), parts[1], parts[2]),
        format!("{}.{}.{}", parts[0], encode("[1]"), parts[2]),
        format!("{}.{}.{}", parts[0], encode(&deep), parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], "x".repeat(40_000), parts[2]),
        "\u{1f511}.a.b".to_owned(),
    ];
    for case in cases {
        let why = method.refusal("ci", &case);
        assert!(
            ["malformed", "signature", "too long", "algorithm"].contains(&why),
            "{why}: {case:.60}"
        );
    }
    assert_eq!(method.refusal("ci", &good), "");
}

#[test]
fn times_are_those_of_the_log() {
    let signer = Signer::make("k", "EdDSA");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    let now = method.now_s();
    let mut check = |claims: Value, role_further: Value, why: &str| {
        method.write(
            "role/ci",
            &role(json!({ "clock_skew_leeway": 0, "expiration_leeway": 0, "not_before_leeway": 0 })),
        );
        method.write("role/ci", &role(role_further.clone()));
        let mut all = json!({ "sub": "me", "aud": "aumbry" });
        for (name, value) in claims.as_object().expect("is an object") {
            all[name] = value.clone();
        }
        assert_eq!(method.refusal("ci", &signer.sign(&all)), why, "{claims} {role_further}");
    };
    let none = json!({});
    check(json!({}), none.clone(), "no time");
    check(json!({ "exp": now }), none.clone(), "");
    check(json!({ "exp": now - 60 }), none.clone(), "");
    check(json!({ "exp": now - 61 }), none.clone(), "expired");
    check(json!({ "exp": now - 1 }), json!({ "clock_skew_leeway": -1 }), "expired");
    check(json!({ "exp": now }), json!({ "clock_skew_leeway": -1 }), "");
    check(json!({ "exp": now + 9, "nbf": now + 60 }), none.clone(), "");
    check(
        json!({ "exp": now + 99, "nbf": now + 61 }),
        none.clone(),
        "not yet valid",
    );
    check(
        json!({ "exp": now + 99, "iat": now + 61 }),
        none.clone(),
        "not yet valid",
    );
    check(
        json!({ "exp": now + 99, "iat": now + 61 }),
        json!({ "clock_skew_leeway": "2m" }),
        "",
    );
    // Without an end, it ends some time after it was issued.
    check(json!({ "iat": now - 150 }), none.clone(), "");
    check(json!({ "iat": now - 150 - 61 }), none.clone(), "expired");
    check(json!({ "iat": now - 600 }), json!({ "expiration_leeway": 3_600 }), "");
    check(
        json!({ "iat": now - 61 }),
        json!({ "expiration_leeway": "-1" }),
        "expired",
    );
    // Without a beginning, an end that is far away has not begun.
    check(json!({ "exp": now + 3_600 }), none.clone(), "not yet valid");
    check(json!({ "exp": now + 3_600, "iat": now }), none.clone(), "");
    check(json!({ "exp": now as f64 + 0.5, "iat": now }), none.clone(), "");
    for bad in [
        json!("soon"),
        json!(-1),
        json!([now]),
        json!(1e300),
        json!({}),
        json!(true),
    ] {
        check(json!({ "exp": bad, "iat": now }), none.clone(), "malformed");
    }
    let max_age = json!({ "max_age": 100 });
    check(json!({ "exp": now, "auth_time": now - 100 }), max_age.clone(), "");
    check(json!({ "exp": now, "auth_time": now - 161 }), max_age.clone(), "age");
    check(json!({ "exp": now }), max_age, "age");
}

/// Abuse cases: 29.
#[test]
fn a_token_for_somebody_else_is_none() {
    let signer = Signer::make("k", "EdDSA");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    method.write("role/open", &json!({ "user_claim": "sub", "bound_subject": "me" }));
    let mut check = |role: &str, audience: Value, why: &str| {
        let claims = method.claims(json!({ "aud": audience }));
        assert_eq!(method.refusal(role, &signer.sign(&claims)), why, "{role} {audience}");
    };
    check("ci", json!("aumbry"), "");
    check("ci", json!(["other", "aumbry"]), "");
    for audience in [
        json!(null),
        json!(""),
        json!("other"),
        json!("AUMBRY"),
        json!("aumbry "),
        json!([]),
        json!(["other"]),
        json!(["aumbry", 1]),
        json!({ "aumbry": 1 }),
        json!(1),
    ] {
        check("ci", audience, "audience");
    }
    // A role that binds no audience takes tokens that have none.
    check("open", json!(null), "");
    check("open", json!([]), "");
    check("open", json!("aumbry"), "audience");
}

#[test]
fn claims_are_bound() {
    let signer = Signer::make("k", "EdDSA");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    let mut check = |role_further: Value, claims: Value, why: &str| {
        method.write(
            "role/ci",
            &role(json!({ "bound_claims": {}, "bound_claims_type": "string", "bound_subject": "" })),
        );
        method.write("role/ci", &role(role_further.clone()));
        let token = signer.sign(&method.claims(claims.clone()));
        assert_eq!(method.refusal("ci", &token), why, "{role_further} {claims}");
    };
    let repository = |pattern: Value| json!({ "bound_claims": { "repository": pattern } });
    check(repository(json!("a/b")), json!({ "repository": "a/b" }), "");
    check(repository(json!("a/b")), json!({ "repository": "a/c" }), "claim");
    check(repository(json!("a/b")), json!({}), "claim");
    check(repository(json!("a/b")), json!({ "repository": null }), "claim");
    check(repository(json!(["x", "a/b"])), json!({ "repository": "a/b" }), "");
    check(repository(json!("a/b")), json!({ "repository": ["z", "a/b"] }), "");
    check(repository(json!("a/b")), json!({ "repository": [] }), "claim");
    check(repository(json!("a/*")), json!({ "repository": "a/b" }), "claim");
    let glob = |pattern: &str| json!({ "bound_claims": { "repository": pattern }, "bound_claims_type": "glob" });
    check(glob("a/*"), json!({ "repository": "a/b" }), "");
    check(glob("a/*"), json!({ "repository": "b/a/b" }), "claim");
    check(repository(json!(true)), json!({ "repository": true }), "");
    check(repository(json!(true)), json!({ "repository": "true" }), "claim");
    check(repository(json!(5)), json!({ "repository": 5 }), "");
    check(repository(json!(5)), json!({ "repository": 6 }), "claim");
    let pointer = json!({ "bound_claims": { "/k8s/ns": "prod" } });
    check(pointer.clone(), json!({ "k8s": { "ns": "prod" } }), "");
    check(pointer.clone(), json!({ "k8s": { "ns": "test" } }), "claim");
    check(pointer, json!({ "/k8s/ns": "prod" }), "claim");
    check(json!({ "bound_subject": "me" }), json!({}), "");
    check(json!({ "bound_subject": "you" }), json!({}), "subject");
    check(json!({ "bound_subject": "me" }), json!({ "sub": ["me"] }), "subject");
}

#[test]
fn what_a_token_tells_becomes_what_is_given() {
    let signer = Signer::make("k", "EdDSA");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    method.write(
        "role/ci",
        &role(json!({
            "user_claim": "/user/name",
            "user_claim_json_pointer": true,
            "groups_claim": "/user/groups",
            "claim_mappings": { "ref": "branch", "run": "run", "/user/team": "team", "absent": "absent" },
            "token_ttl": "5m",
        })),
    );
    let claims = method.claims(json!({
        "ref": "main",
        "run": 7,
        "user": { "name": "alice", "groups": ["dev", "ops"], "team": "blue" },
    }));
    let (alias, groups, made) = method.login("CI", &signer.sign(&claims));
    assert_eq!(
        (alias.as_str(), groups),
        ("alice", vec!["dev".to_owned(), "ops".to_owned()])
    );
    let info = made.info;
    assert_eq!(info.display_name, "jwt-alice");
    assert_eq!(info.policies, ["default", "p"]);
    let expected = [("branch", "main"), ("role", "ci"), ("run", "7"), ("team", "blue")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(info.metadata, expected.into());
    let mut check = |user: Value, why: &str| {
        let claims = method.claims(json!({ "user": user }));
        assert_eq!(method.refusal("ci", &signer.sign(&claims)), why, "{user}");
    };
    check(json!({ "name": "alice", "groups": "dev" }), "");
    check(json!({ "name": "", "groups": [] }), "user claim");
    check(json!({ "name": 5, "groups": [] }), "user claim");
    check(json!({ "name": "a\nb", "groups": [] }), "user claim");
    check(json!({ "name": "x".repeat(513), "groups": [] }), "user claim");
    check(json!({ "name": "alice" }), "groups claim");
    check(json!({ "name": "alice", "groups": [1] }), "groups claim");
    check(
        json!({ "name": "alice", "groups": [], "team": { "a": 1 } }),
        "mapped claim",
    );
}

#[test]
fn an_issuer_is_bound() {
    let signer = Signer::make("k", "EdDSA");
    let mut method = Method::with_keys(&[signer.pem()], &role(json!({})));
    let keys = json!({ "keys": [signer.jwk()] }).to_string();
    method.keys = Some(KeySet::parse(keys.as_bytes()).expect("is a set"));
    let mut check = |config: &Value, issuer: Value, why: &str| {
        method.write("config", config);
        let token = signer.sign(&method.claims(json!({ "iss": issuer })));
        assert_eq!(method.refusal("ci", &token), why, "{config} {issuer}");
    };
    let bound = json!({ "jwks_url": "https://a.example/keys", "bound_issuer": "https://a.example" });
    check(&bound, json!("https://a.example"), "");
    for issuer in [
        json!(null),
        json!("https://b.example"),
        json!(["https://a.example"]),
        json!("https://a.example/x"),
    ] {
        check(&bound, issuer, "issuer");
    }
    let discovered = json!({ "oidc_discovery_url": "https://a.example/" });
    check(&discovered, json!("https://a.example"), "");
    check(&discovered, json!("https://b.example"), "issuer");
    check(&discovered, json!(null), "issuer");
    let algorithms = json!({ "jwks_url": "https://a.example/keys", "jwt_supported_algs": "RS256,ES256" });
    check(&algorithms, json!(null), "algorithm");
    check(
        &json!({ "jwks_url": "https://a.example/keys", "jwt_supported_algs": ["EdDSA"] }),
        json!(null),
        "",
    );
    let document = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys }).to_string();
    let parse = |issuer: &str, keys: &str| {
        let told = parse_discovery(document(issuer, keys).as_bytes(), "https://a.example");
        told.ok().map(|told| told.keys)
    };
    let there = "https://keys.example/k";
    assert_eq!(parse("https://a.example", there).as_deref(), Some(there));
    assert_eq!(parse("https://a.example/", there).as_deref(), Some(there));
    assert_eq!(parse("https://b.example", there), None);
    assert_eq!(parse("https://a.example", "http://keys.example/k"), None);
    assert_eq!(parse("https://a.example", "file:///etc/passwd"), None);
}

#[test]
fn a_key_is_found_by_its_name_or_by_what_fits() {
    let (old, new, other) = (
        Signer::make("old", "ES256"),
        Signer::make("new", "ES256"),
        Signer::make("x", "EdDSA"),
    );
    let mut encrypting = Signer::make("enc", "RS256").jwk();
    encrypting["use"] = json!("enc");
    let mut nameless = new.jwk();
    nameless.as_object_mut().expect("is an object").remove("kid");
    let set = |keys: Value| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let claims = Method::new().claims(json!({}));
    let parse = |token: String| Token::parse(token.as_bytes()).expect("is a token");
    let keys = set(json!([encrypting, { "kty": "oct", "k": "AAAA" }, old.jwk(), other.jwk(), 5])).expect("is a set");
    assert_eq!(keys.verify(&parse(old.sign(&claims)), &[]), Ok(()));
    let unknown = keys.verify(&parse(new.sign(&claims)), &[]).expect_err("is not known");
    assert!(unknown.may_be_new());
    // Under the name of another key.
    let named = new.sign_as(&json!({ "alg": "ES256", "kid": "old" }), &claims);
    assert!(keys.verify(&parse(named), &[]).is_err());
    // Without a name, each that fits is tried.
    let unnamed = old.sign_as(&json!({ "alg": "ES256" }), &claims);
    assert_eq!(keys.verify(&parse(unnamed), &[]), Ok(()));
    let keys = set(json!([nameless])).expect("is a set");
    assert_eq!(keys.verify(&parse(new.sign(&claims)), &[]), Ok(()));
    // A key is good for the algorithm that its issuer says.
    let mut bound = Signer::make("r", "RS256");
    let mut jwk = bound.jwk();
    jwk["alg"] = json!("RS512");
    let keys = set(json!([jwk])).expect("is a set");
    assert!(keys.verify(&parse(bound.sign(&claims)), &[]).is_err());
    jwk["alg"] = json!("RSA-OAEP");
    assert!(set(json!([jwk])).is_err(), "it is for something else");
    bound = Signer::make("r", "RS256");
    let many: Vec<Value> = (0..101).map(|_| bound.jwk()).collect();
    for bad in [json!([]), json!({}), json!(5), json!(null), json!(many)] {
        assert!(set(bad).is_err());
    }
    assert!(KeySet::parse(b"<html>").is_err());
}

#[test]
fn what_was_verified_by_another_configuration_counts_for_nothing() {
    let (old, new) = (Signer::make("k", "EdDSA"), Signer::make("k", "EdDSA"));
    let mut method = Method::with_keys(&[old.pem()], &role(json!({})));
    let request = request("ci", &old.sign(&method.claims(json!({}))));
    let verified = method.verify(&request);
    assert!(method.plan_login(&request, &verified).is_ok());
    method.write("config", &json!({ "jwt_validation_pubkeys": [new.pem()] }));
    assert!(matches!(method.plan_login(&request, &verified), Err(LoginError::Stale)));
    let verified = method.verify(&request);
    assert!(matches!(
        method.plan_login(&request, &verified),
        Err(LoginError::Because("signature"))
    ));
    // What was verified says nothing of the role: it is read by the plan.
    let request = crate::bed::request("ci", &new.sign(&method.claims(json!({}))));
    let verified = method.verify(&request);
    method.write("role/ci", &role(json!({ "bound_subject": "you" })));
    assert!(matches!(
        method.plan_login(&request, &verified),
        Err(LoginError::Because("subject"))
    ));
}
