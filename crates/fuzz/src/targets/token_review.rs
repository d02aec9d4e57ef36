//! The answer of an API server about a token: it lets somebody in if it says so in the one form that means it.

use aumbry_auth::kubernetes::{self, Answered};
use aumbry_auth::{LoginError, Voucher};
use aumbry_logical::Verb;
use serde_json::{Value, json};

use super::{HERE, MOUNT, object};
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "token_review",
    seeds,
    run,
    words: &[
        b"\"authenticated\":true",
        b"\"error\":",
        b"\"audiences\":",
        b"\"status\":",
        b"\"user\":",
        b"\"username\":",
        b"system:serviceaccount:",
        b":",
        b"\"uid\":",
        b"null",
        b"[\"aumbry\"]",
        b"\\u0000",
    ],
    input_bytes_max: 1_024,
    smoke: 6_000,
    ..Target::USUAL
};

thread_local! {
    static BED: Bed = bed();
}

fn bed() -> Bed {
    let mut bed = Bed::new(10);
    let role = json!({
        "bound_service_account_names": "*",
        "bound_service_account_namespaces": "prod",
        "audience": "aumbry",
    });
    let config = json!({ "kubernetes_host": "https://k8s.example", "token_reviewer_jwt": REVIEWER });
    for (path, value) in [("config", config), ("role/ci", role)] {
        let request = kubernetes::parse(Verb::Write, path, object(&value)).expect("is a request");
        bed.run(|txn| kubernetes::plan(txn, MOUNT, &request).map(drop))
            .expect("is done");
    }
    bed
}

/// The code, by its first byte, and the body.
fn seeds() -> Vec<Vec<u8>> {
    let review = |user: &str, audiences: Value| {
        let user = json!({ "username": user, "uid": "u-1" });
        let status = json!({ "authenticated": true, "user": user, "audiences": audiences });
        json!({ "kind": "TokenReview", "status": status }).to_string()
    };
    let good = review("system:serviceaccount:prod:app", json!(["x", "aumbry"]));
    let bodies = [
        (1, good.clone()),
        (0, good.clone()),
        (2, good),
        (1, review("system:serviceaccount:dev:app", json!(["aumbry"]))),
        (1, review("system:serviceaccount:prod:app", json!(null))),
        (1, review("admin", json!(["aumbry"]))),
    ];
    bodies.map(|(code, body)| super::chosen(code, body.as_bytes())).to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some((choice, body)) = input.split_first() else {
        return Verdict::Refused;
    };
    let code = [200, 201, 403, 500, 302, 204][usize::from(*choice) % 6];
    let request = Voucher::parse(&object(&json!({ "role": "ci", "jwt": "shown" }))).expect("is one");
    let login = BED.with(|bed| {
        let challenge = bed
            .plan(|txn| kubernetes::prepare(txn, MOUNT, &request))
            .0
            .expect("opens")
            .expect("is a role");
        let pending = challenge.begin(&request).ok().expect("there is something to ask");
        let body = body.to_vec();
        let verified = pending.conclude(Some(Answered { code, body }));
        let plan = bed.plan(|txn| {
            let login = bounded(input, MEMORY, || {
                kubernetes::login(txn, MOUNT, &request, &verified, HERE)
            });
            assert!(login.is_ok() || txn.is_read_only(), "what is refused writes nothing");
            login
        });
        plan.0
    });
    let login = match login {
        Ok(login) => login,
        Err(LoginError::Because(_)) => return Verdict::Refused,
        Err(error) => panic!("an answer is refused for a reason: {error}"),
    };
    assert!(matches!(code, 200 | 201), "an answer that succeeded");
    let answer: Value = serde_json::from_slice(body).expect("it is JSON");
    let status = &answer["status"];
    assert_eq!(
        status["authenticated"],
        json!(true),
        "it says so, and not with another word"
    );
    assert!(status["error"].as_str().is_none_or(str::is_empty), "nothing is wrong");
    let audiences = status["audiences"].as_array().expect("it says for whom");
    assert!(audiences.contains(&json!("aumbry")), "it is for us");
    let user = status["user"]["username"].as_str().expect("it says who");
    let name = user
        .strip_prefix("system:serviceaccount:prod:")
        .expect("of the namespace that is demanded");
    assert!(!name.is_empty() && !name.contains([':', '/']) && !name.chars().any(char::is_control));
    assert_eq!(
        status["user"]["uid"],
        json!(login.alias),
        "who it is is its id, which is never another's"
    );
    Verdict::Accepted
}

const REVIEWER: &str = "reviewer";
/// As JSON.
const MEMORY: Memory = Memory {
    per_byte: 64,
    at_least: 64 << 10,
};
