//! How auth methods are set up, and their roles, as they are written: what is told of one can be written again and means the same, what is refused
//! leaves nothing, and no secret is told, in an answer or in an error.

use aumbry_auth::{Answer, Error, cert, jwt, kubernetes, ldap};
use aumbry_barrier::Txn;
use aumbry_logical::{Body, Verb};
use serde_json::{Map, Value, json};

use super::MOUNT;
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "method_config",
    seeds,
    run,
    words: &[
        b"\"",
        b"\":",
        b"[]",
        b"{}",
        b"null",
        b"-1",
        b"1e999",
        b"\"1h\"",
        b"\"10.0.0.0/8\"",
        b"\\n",
        b"\\u0000",
        b"https://",
        b"ldaps://",
        b"{{.Username}}",
        b"*",
        b"\"token_policies\":",
        b"\"token_ttl\":",
        b"\"bound_claims\":",
        b"\"role_type\":\"oidc\"",
    ],
    input_bytes_max: 1_024,
    smoke: 4_000,
    ..Target::USUAL
};

/// A method, with the path that is written and the field that is its secret.
type Place = (Method, &'static str, Option<&'static str>);

#[derive(Clone, Copy)]
enum Method {
    Jwt,
    Kubernetes,
    Ldap,
    Cert,
}

const PLACES: [Place; 7] = [
    (Method::Jwt, "config", Some("oidc_client_secret")),
    (Method::Jwt, "role/r", None),
    (Method::Kubernetes, "config", Some("token_reviewer_jwt")),
    (Method::Kubernetes, "role/r", None),
    (Method::Ldap, "config", Some("bindpass")),
    (Method::Ldap, "groups/g", None),
    (Method::Cert, "config", None),
];

/// Which place, the first time around with a secret, and the body.
fn seeds() -> Vec<Vec<u8>> {
    let bodies = [
        (
            0,
            json!({ "oidc_discovery_url": "https://i.example", "oidc_client_id": "us", "bound_issuer": "i" }),
        ),
        (
            7,
            json!({ "jwks_url": "https://i.example/keys", "jwt_supported_algs": ["ES256"], "default_role": "r" }),
        ),
        (
            1,
            json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a,b", "bound_claims": { "t": ["x", 1, true] },
                "claim_mappings": { "/a/b": "c" }, "token_policies": "p", "token_ttl": "1h", "token_bound_cidrs": "10.0.0.0/8" }),
        ),
        (2, json!({ "kubernetes_host": "https://k.example", "issuer": "i" })),
        (
            3,
            json!({ "bound_service_account_names": "a", "bound_service_account_namespaces": "*", "audience": "x",
                "alias_name_source": "serviceaccount_name" }),
        ),
        (
            4,
            json!({ "url": "ldaps://d.example", "userdn": "ou=people", "binddn": "cn=x", "groupdn": "ou=groups",
                "userfilter": "({{.UserAttr}}={{.Username}})", "request_timeout": "5s", "token_num_uses": 3 }),
        ),
        (5, json!({ "policies": "a,b" })),
        (6, json!({ "disable_binding": true, "require_crl": "false" })),
    ];
    bodies
        .map(|(place, body)| super::chosen(place, body.to_string().as_bytes()))
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some((choice, body)) = input.split_first() else {
        return Verdict::Refused;
    };
    let (method, path, secret) = PLACES[usize::from(*choice) % PLACES.len()];
    let Ok(Value::Object(mut object)) = serde_json::from_slice(body) else {
        return Verdict::Refused;
    };
    // Some have none: what stands beside it decides whether there may be one.
    if let Some(field) = secret.filter(|_| usize::from(*choice) < PLACES.len()) {
        object.insert(field.to_owned(), json!(MARK));
    }
    let mut bed = Bed::new(11);
    let before = ask(&mut bed, method, Verb::Read, path, &Map::new()).ok();
    assert!(before.is_none(), "nothing is there yet");
    let written = bounded(input, MEMORY, || {
        ask(&mut bed, method, Verb::Write, path, &object).map(drop)
    });
    let told = ask(&mut bed, method, Verb::Read, path, &Map::new());
    if let Err(error) = written {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(MARK), "the error repeats the secret");
        assert!(!text.contains('\n'), "an error is one line");
        assert!(told.is_err(), "what is refused leaves nothing");
        return Verdict::Refused;
    }
    let told = told.expect("what was written is there");
    assert!(
        !Value::Object(told.clone()).to_string().contains(MARK),
        "the secret is told"
    );
    let again = ask(&mut bed, method, Verb::Write, path, &told).map(drop);
    assert_eq!(again, Ok(()), "what is told can be written: {told:?}");
    let told_again = ask(&mut bed, method, Verb::Read, path, &Map::new());
    assert_eq!(told_again, Ok(told), "and means the same");
    Verdict::Accepted
}

fn ask(
    bed: &mut Bed,
    method: Method,
    verb: Verb,
    path: &str,
    object: &Map<String, Value>,
) -> Result<Map<String, Value>, Error> {
    let body = Body::new(object.clone());
    let answer = match method {
        Method::Jwt => jwt::parse(verb, path, body).and_then(|asked| planned(bed, |txn| jwt::plan(txn, MOUNT, &asked))),
        Method::Kubernetes => kubernetes::parse(verb, path, body)
            .and_then(|asked| planned(bed, |txn| kubernetes::plan(txn, MOUNT, &asked))),
        Method::Ldap => {
            ldap::Request::parse(verb, path, body).and_then(|asked| planned(bed, |txn| ldap::plan(txn, MOUNT, &asked)))
        }
        Method::Cert => {
            cert::Request::parse(verb, path, body).and_then(|asked| planned(bed, |txn| cert::plan(txn, MOUNT, &asked)))
        }
    };
    Ok(answer?.data.unwrap_or_default())
}

/// Plans and applies; what is refused is abandoned, as the pipeline does it.
fn planned(bed: &mut Bed, plan: impl FnOnce(&mut Txn<'_>) -> Result<Answer, Error>) -> Result<Answer, Error> {
    bed.run(|txn| {
        let answer = plan(txn);
        if answer.is_err() {
            txn.abandon();
        }
        answer
    })
}

/// In what is secret.
const MARK: &str = "s3cr3t-m4rk-0123456789";
/// As JSON, as fields, and sealed.
const MEMORY: Memory = Memory {
    per_byte: 256,
    at_least: 256 << 10,
};
