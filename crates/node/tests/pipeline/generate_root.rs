//! A root token made with shares: with a token, and when there is none any more; over changes of leader, and by whom not.

use aumbry_logical::{Body, Verb};
use aumbry_node::ceremony::generate_root::Asking;
use aumbry_node::method::{Asked, LoginAsk, MethodAsk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::bed::*;

fn ask(verb: Verb, below: &str, body: &Value) -> Operation {
    let path = format!("sys/generate-root/{below}");
    let body = Body::parse(body.to_string().as_bytes()).expect("is JSON");
    match Asking::parse(verb, below, &body).unwrap_or_else(|error| panic!("{path}: {error}")) {
        Asking::Token(request) => Operation::Method(MethodAsk {
            path,
            verb,
            asked: Asked::GenerateRoot(request),
            said: Vec::new(),
        }),
        Asking::Share(shown) => Operation::Login(LoginAsk::custodian(path, shown).expect("has a name")),
    }
}

/// A node whose shares are known.
async fn open() -> (Bed, Vec<SecretBytes>) {
    let mut bed = Bed::sealed();
    let initialised = bed.initialise().await.expect("initialises");
    bed.unseal(&initialised);
    bed.run_duties();
    (bed, initialised.shares)
}

impl Bed {
    async fn root_as(&self, token: &SecretBytes, verb: Verb, below: &str, body: Value) -> Result<Value, Failure> {
        match self.call_as(token, ask(verb, below, &body)).await?.reply {
            Reply::Json { data, .. } | Reply::RootAttempt { data, .. } if data.is_empty() => Ok(Value::Null),
            Reply::Json { data, .. } | Reply::RootAttempt { data, .. } => {
                Ok(serde_json::from_slice(data.expose()).expect("is JSON"))
            }
            _ => panic!("another reply"),
        }
    }

    /// Without a token.
    async fn custodian(&self, verb: Verb, below: &str, nonce: &Value, share: &SecretBytes) -> Result<Value, Failure> {
        let body = json!({ "nonce": nonce, "key": share.expose_str() });
        self.root_as(&SecretBytes::default(), verb, below, body).await
    }

    /// With the root token.
    async fn attempt(&self, verb: Verb, body: Value) -> Result<Value, Failure> {
        self.root_as(&self.root, verb, "attempt", body).await
    }
}

fn opened(told: &Value, pad: &Value) -> SecretBytes {
    let hidden = STANDARD_NO_PAD.decode(told["encoded_token"].as_str().expect("is text"));
    let pad = pad.as_str().expect("is text").as_bytes();
    let hidden = hidden.expect("is base64");
    assert_eq!(hidden.len(), pad.len());
    SecretBytes::new(hidden.iter().zip(pad).map(|(a, b)| a ^ b).collect())
}

/// The last root token is gone, and three holders of shares make another, though the leader changes between any two steps.
#[tokio::test]
async fn abuse_055_holders_of_shares_alone_make_a_root_token() {
    let (bed, shares) = open().await;
    let revoke = Operation::TokenRevoke(TokenName::Own);
    assert_eq!(reason(bed.call(revoke).await), "OK");
    assert_eq!(reason(bed.attempt(Verb::Read, json!({})).await), "TOKEN_INVALID");
    let depose = || bed.consensus.local.depose();

    let begun = bed.custodian(Verb::Write, "attempt", &json!(""), &shares[4]).await;
    let begun = begun.expect("is right");
    assert_eq!((&begun["progress"], &begun["required"]), (&json!(1), &json!(3)));
    assert_eq!(
        begun["otp_length"],
        begun["otp"].as_str().map(str::len).expect("is text")
    );
    depose();
    let told = bed.custodian(Verb::Write, "update", &begun["nonce"], &shares[0]).await;
    let told = told.expect("is right");
    assert_eq!(
        (&told["progress"], &told["otp"]),
        (&json!(2), &json!("")),
        "the pad is told once"
    );
    depose();
    let done = bed.custodian(Verb::Write, "update", &begun["nonce"], &shares[2]).await;
    let done = done.expect("is the last one");
    assert_eq!((&done["complete"], &done["progress"]), (&json!(true), &json!(3)));
    let token = opened(&done, &begun["otp"]);
    let status = bed.root_as(&token, Verb::Read, "attempt", json!({})).await;
    assert_eq!(status.expect("it is a root token")["started"], false);
    let late = bed.custodian(Verb::Write, "update", &begun["nonce"], &shares[3]).await;
    assert_eq!(reason(late), "NO_ROOT_ATTEMPT");
}

/// As clients of other servers do it: a token begins, and may choose the pad.
#[tokio::test]
async fn a_token_begins_and_shares_go_on() {
    let (bed, shares) = open().await;
    let status = bed.attempt(Verb::Read, json!({})).await.expect("may be read");
    assert_eq!(status["started"], false);
    let length = status["otp_length"].as_u64().expect("is a number");
    let length = usize::try_from(length).expect("is small");
    for wrong in ["x".to_owned(), "x".repeat(length + 1), "é".repeat(length / 2)] {
        assert_eq!(
            reason(bed.attempt(Verb::Write, json!({ "otp": wrong })).await),
            "INVALID_OTP"
        );
    }
    let pad = json!("0".repeat(length));
    let begun = bed.attempt(Verb::Write, json!({ "otp": pad })).await.expect("begins");
    assert_eq!((&begun["otp"], &begun["progress"]), (&pad, &json!(0)));
    let mut last = Value::Null;
    for share in &shares[..3] {
        let shown = bed.custodian(Verb::Write, "update", &begun["nonce"], share).await;
        last = shown.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let token = opened(&last, &pad);
    assert!(bed.root_as(&token, Verb::Read, "attempt", json!({})).await.is_ok());
    // What hides a token is told to no retry.
    let start = || bed.call_with(&bed.root, ask(Verb::Write, "attempt", &json!({})), "key");
    assert!(start().await.is_ok());
    assert_eq!(reason(start().await), "ROOT_ATTEMPT_IN_PROGRESS");
}

#[tokio::test]
async fn abuse_049_who_shows_neither_share_nor_right_token_learns_and_changes_nothing() {
    let (bed, shares) = open().await;
    let name = Name::parse("almost").expect("is a name");
    let policy = "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }";
    let write = Operation::PolicyWrite(name, policy.to_owned());
    assert_eq!(reason(bed.call(write).await), "OK");
    let almost = bed.token(Create {
        policies: vec!["almost".to_owned()],
        ..Create::default()
    });
    let almost = almost.await;
    let begun = bed.attempt(Verb::Write, json!({})).await.expect("begins");
    for verb in [Verb::Read, Verb::Write, Verb::Delete] {
        for token in [&almost, &SecretBytes::default()] {
            let told = bed.root_as(token, verb, "attempt", json!({})).await;
            assert!(
                matches!(reason(told), "PERMISSION_DENIED" | "TOKEN_INVALID"),
                "{verb:?}"
            );
        }
    }
    // A share that is none is refused before anything is said of the attempt, for each step alike.
    let foreign = {
        let other = Bed::sealed();
        other.initialise().await.expect("initialises");
        other.initialise().await.expect("can be repeated").shares
    };
    let mut typed = shares[1].expose().to_vec();
    typed[40] = if typed[40] == b'7' { b'8' } else { b'7' };
    let wrong = [
        foreign[1].duplicate(),
        SecretBytes::new(typed),
        SecretBytes::new(vec![b'a'; 900_000]),
        SecretBytes::from("x".to_owned()),
    ];
    for share in &wrong {
        for (verb, below) in [
            (Verb::Write, "attempt"),
            (Verb::Write, "update"),
            (Verb::Delete, "attempt"),
        ] {
            assert_eq!(
                reason(bed.custodian(verb, below, &begun["nonce"], share).await),
                "INVALID_SHARE"
            );
        }
    }
    let status = bed.attempt(Verb::Read, json!({})).await.expect("may be read");
    assert_eq!((&status["nonce"], &status["progress"]), (&begun["nonce"], &json!(0)));
}

#[tokio::test]
async fn abuse_050_a_share_counts_in_its_attempt_alone() {
    let (bed, shares) = open().await;
    let any = json!("");
    let begin = || bed.custodian(Verb::Write, "attempt", &any, &shares[0]);
    let first = begin().await.expect("begins");
    assert_eq!(reason(begin().await), "ROOT_ATTEMPT_IN_PROGRESS");
    let nonce = first["nonce"].as_str().expect("is text");
    for wrong in ["", "x", &nonce[1..], &nonce.to_uppercase()] {
        let shown = bed.custodian(Verb::Write, "update", &json!(wrong), &shares[1]).await;
        assert_eq!(reason(shown), "WRONG_NONCE", "{wrong}");
    }
    let again = bed.custodian(Verb::Write, "update", &first["nonce"], &shares[0]).await;
    assert_eq!(reason(again), "INVALID_SHARE", "it counts already");
    let ended = bed.custodian(Verb::Delete, "attempt", &json!("x"), &shares[3]).await;
    assert_eq!(reason(ended), "WRONG_NONCE");
    bed.custodian(Verb::Delete, "attempt", &first["nonce"], &shares[3])
        .await
        .expect("ends it");
    let second = begin().await.expect("begins");
    let stale = bed.custodian(Verb::Write, "update", &first["nonce"], &shares[1]).await;
    assert_eq!(reason(stale), "WRONG_NONCE");
    bed.custodian(Verb::Write, "update", &second["nonce"], &shares[1])
        .await
        .expect("counts");
    // After an hour it is over, and nothing that was shown counts.
    bed.clock.advance_ms(3_600_000);
    let late = bed.custodian(Verb::Write, "update", &second["nonce"], &shares[2]).await;
    assert_eq!(reason(late), "NO_ROOT_ATTEMPT");
    assert_eq!(begin().await.expect("begins")["progress"], 1);
}
