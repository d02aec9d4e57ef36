//! New key shares: from the old ones to the entry that changes the seal, over changes of leader at every step.

use aumbry_crypto::seal::StaticKey;
use aumbry_logical::{Body, Verb};
use aumbry_node::ceremony::rekey;
use aumbry_node::method::{Asked, MethodAsk};
use aumbry_types::hex;
use serde_json::{Value, json};

use crate::bed::*;
use crate::keys::until;
use crate::seals::restarted;

fn ask(verb: Verb, below: &str, body: &Value) -> Operation {
    let path = format!("rekey/{below}");
    let body = Body::parse(body.to_string().as_bytes()).expect("is JSON");
    let request = rekey::Request::parse(verb, &path, &body).unwrap_or_else(|error| panic!("{path}: {error}"));
    Operation::Method(MethodAsk {
        path: format!("sys/{path}"),
        verb,
        asked: Asked::Rekey(request),
        said: Vec::new(),
    })
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
    async fn rekey(&self, verb: Verb, below: &str, body: Value) -> Result<Value, Failure> {
        match self.call(ask(verb, below, &body)).await? {
            Reply::Json { data, .. } if data.is_empty() => Ok(Value::Null),
            Reply::Json { data, .. } => Ok(serde_json::from_slice(data.expose()).expect("is JSON")),
            _ => panic!("another reply"),
        }
    }

    async fn ok(&self, verb: Verb, below: &str, body: Value) -> Value {
        let answer = self.rekey(verb, below, body).await;
        answer.unwrap_or_else(|failure| panic!("{below}: {failure}"))
    }

    /// Begins, and gives the nonce.
    async fn begin(&self, shares: u8, threshold: u8) -> String {
        let body = json!({ "secret_shares": shares, "secret_threshold": threshold });
        text(&self.ok(Verb::Write, "init", body).await["nonce"])
    }

    async fn show(&self, below: &str, nonce: &str, share: &SecretBytes) -> Result<Value, Failure> {
        let body = json!({ "nonce": nonce, "key": share.expose_str() });
        self.rekey(Verb::Write, below, body).await
    }

    /// Shows all of them, and gives the last answer.
    async fn show_all(&self, below: &str, nonce: &str, shares: &[SecretBytes]) -> Value {
        let mut last = Value::Null;
        for share in shares {
            let answer = self.show(below, nonce, share).await;
            last = answer.unwrap_or_else(|failure| panic!("{failure}"));
        }
        last
    }

    /// Of two sets of shares, exactly one opens another node of this store.
    fn assert_opens(&self, right: &[SecretBytes], wrong: &[SecretBytes], step: &str) {
        assert!(opens(self, right), "{step}");
        assert!(!opens(self, wrong), "{step}");
    }
}

/// Whether these shares open another node of the same store, which was just started.
fn opens(bed: &Bed, shares: &[SecretBytes]) -> bool {
    let node = restarted(bed);
    for share in shares {
        // What is wrong with one is what the caller looks for.
        let _ = node.unseal(share.expose());
    }
    !node.seal_status().sealed
}

fn text(value: &Value) -> String {
    value.as_str().expect("is text").to_owned()
}

/// The new shares in the answer to the last old one.
fn keys(answer: &Value) -> Vec<SecretBytes> {
    let keys = answer["keys"].as_array().expect("has keys").iter();
    keys.map(|key| SecretBytes::new(hex::decode_all(key.as_str().expect("is text")).expect("is hex")))
        .collect()
}

/// A leader that ends between any two steps leaves the session to the next one, and at each step exactly one set of shares opens the store.
#[tokio::test]
async fn abuse_055_every_step_leaves_exactly_one_set_of_shares() {
    let (bed, old) = open().await;
    let depose = || bed.consensus.local.depose();
    let none: &[SecretBytes] = &[];
    let nonce = bed.begin(4, 2).await;
    depose();
    for share in &old[..2] {
        bed.show("update", &nonce, share).await.expect("is right");
        bed.assert_opens(&old, none, "old shares are shown");
        depose();
    }
    let status = bed.ok(Verb::Read, "init", json!({})).await;
    assert_eq!((&status["progress"], &status["required"]), (&json!(2), &json!(3)));
    let made = bed.show("update", &nonce, &old[2]).await.expect("is the last one");
    let new = keys(&made);
    assert_eq!((new.len(), &made["verification_required"]), (4, &json!(true)));
    bed.assert_opens(&old, &new, "new shares are made");
    depose();
    let trial = text(&made["verification_nonce"]);
    bed.show("verify", &trial, &new[3]).await.expect("is right");
    bed.assert_opens(&old, &new, "new shares are tried");
    depose();
    let status = bed.ok(Verb::Read, "verify", json!({})).await;
    assert_eq!((&status["progress"], &status["t"]), (&json!(1), &json!(2)));
    let done = bed.show("verify", &trial, &new[1]).await.expect("is the last one");
    assert_eq!(done["complete"], true);
    bed.assert_opens(&new[..2], &old, "the new ones count");
    depose();
    bed.assert_opens(&new[2..], &old, "and go on to");
    let status = bed.node.seal_status();
    assert_eq!((status.epoch, status.threshold, status.shares), (2, 2, 4));
    assert_eq!(bed.ok(Verb::Read, "init", json!({})).await["started"], false);
    // The node that was open stays so, and reads and writes.
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 1);
    // The new shares make the next ones.
    let nonce = bed.begin(1, 1).await;
    assert_eq!(reason(bed.show("update", &nonce, &old[0]).await), "INVALID_SHARE");
    let next = keys(&bed.show_all("update", &nonce, &new[..2]).await);
    let trial = text(&bed.ok(Verb::Read, "init", json!({})).await["verification_nonce"]);
    assert_eq!(bed.show_all("verify", &trial, &next).await["complete"], true);
    bed.assert_opens(&next, &new, "the third set");
}

/// A node that slept has the old configuration, and the old shares that it was shown before count for nothing once it has caught up.
#[tokio::test]
async fn abuse_056_old_shares_open_no_node_that_slept() {
    let (bed, old) = open().await;
    let slept = restarted(&bed);
    for share in &old[..2] {
        slept.unseal(share.expose()).expect("is a good share");
    }
    assert_eq!(slept.seal_status().progress, 2);
    let nonce = bed.begin(3, 2).await;
    let made = bed.show_all("update", &nonce, &old[..3]).await;
    let (new, trial) = (keys(&made), text(&made["verification_nonce"]));
    bed.show_all("verify", &trial, &new[..2]).await;
    for share in &old {
        let refused = slept.unseal(share.expose()).expect_err("is of an epoch that ended");
        assert!(refused.to_string().contains("epoch 1"), "{refused}");
    }
    assert!(slept.seal_status().sealed);
    for share in &new[..2] {
        slept.unseal(share.expose()).expect("is a good share");
    }
    assert!(!slept.seal_status().sealed);
}

#[tokio::test]
async fn abuse_050_a_share_counts_in_its_session_alone() {
    let (bed, old) = open().await;
    let first = bed.begin(3, 2).await;
    bed.show("update", &first, &old[0]).await.expect("is right");
    let again = json!({ "secret_shares": 5, "secret_threshold": 5 });
    let second = bed.rekey(Verb::Write, "init", again).await;
    assert_eq!(reason(second), "REKEY_IN_PROGRESS");
    for wrong in ["", "x", &first[1..], &first.to_uppercase()] {
        let shown = bed.show("update", wrong, &old[1]).await;
        assert_eq!(reason(shown), "WRONG_NONCE", "{wrong}");
    }
    // Another session has another nonce, and begins with nothing.
    let cancel = bed.rekey(Verb::Delete, "init", json!({ "nonce": "x" })).await;
    assert_eq!(reason(cancel), "WRONG_NONCE");
    bed.ok(Verb::Delete, "init", json!({ "nonce": first })).await;
    let second = bed.begin(3, 2).await;
    assert_eq!(reason(bed.show("update", &first, &old[1]).await), "WRONG_NONCE");
    assert_eq!(bed.ok(Verb::Read, "init", json!({})).await["progress"], 0);
    let abandoned = keys(&bed.show_all("update", &second, &old[..3]).await);

    // New shares of a session that was ended are of no use in the next one, though it makes shares of the same epoch.
    bed.ok(Verb::Delete, "init", json!({})).await;
    let third = bed.begin(3, 2).await;
    let made = bed.show_all("update", &third, &old[..3]).await;
    let trial = text(&made["verification_nonce"]);
    assert_eq!(reason(bed.show("verify", &third, &abandoned[0]).await), "WRONG_NONCE");
    for share in abandoned.iter().chain(&old[..1]) {
        assert_eq!(reason(bed.show("verify", &trial, share).await), "INVALID_SHARE");
    }
    // What was tried is forgotten with its nonce.
    let new = keys(&made);
    bed.show("verify", &trial, &new[0]).await.expect("is right");
    let reset = bed.ok(Verb::Delete, "verify", json!({})).await;
    assert_eq!(reset["progress"], 0);
    assert_eq!(reason(bed.show("verify", &trial, &new[1]).await), "WRONG_NONCE");
    let done = bed.show_all("verify", &text(&reset["nonce"]), &new[1..]).await;
    assert_eq!(done["complete"], true);
    bed.assert_opens(&new, &old, "the third session's");
}

#[tokio::test]
async fn abuse_051_each_wrong_share_is_refused_by_itself() {
    let (bed, old) = open().await;
    let foreign = {
        let other = Bed::sealed();
        other.initialise().await.expect("initialises");
        other.initialise().await.expect("can be repeated").shares
    };
    let nonce = bed.begin(3, 2).await;
    bed.show("update", &nonce, &old[0]).await.expect("is right");
    let mut typed = old[1].expose().to_vec();
    typed[40] = if typed[40] == b'7' { b'8' } else { b'7' };
    let wrong = [
        old[0].duplicate(),
        foreign[1].duplicate(),
        SecretBytes::new(typed),
        SecretBytes::new(old[1].expose()[..40].to_vec()),
        SecretBytes::new(vec![b'a'; 900_000]),
        SecretBytes::from("0000000000000000".to_owned()),
    ];
    for share in &wrong {
        assert_eq!(reason(bed.show("update", &nonce, share).await), "INVALID_SHARE");
        assert_eq!(bed.ok(Verb::Read, "init", json!({})).await["progress"], 1);
    }
    // The same share in another form is the same share.
    let same = SecretBytes::from(hex::encode(old[0].expose()));
    assert_eq!(reason(bed.show("update", &nonce, &same).await), "INVALID_SHARE");
    let coded = SecretBytes::from(hex::encode(old[1].expose()));
    bed.show("update", &nonce, &coded).await.expect("is right");
    let made = bed.show("update", &nonce, &old[4]).await.expect("is the last one");
    assert_eq!(made["complete"], true);
    assert_eq!(reason(bed.show("update", &nonce, &old[3]).await), "REKEY_SHARES_MADE");
}

#[tokio::test]
async fn abuse_049_only_who_may_starts_watches_and_ends_it() {
    let (bed, old) = open().await;
    let name = Name::parse("almost").expect("is a name");
    let policy = "path \"sys/*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\"] }";
    let write = Operation::PolicyWrite(name, policy.to_owned());
    assert_eq!(reason(bed.call(write).await), "OK");
    let almost = bed.token(Create {
        policies: vec!["almost".to_owned()],
        ..Create::default()
    });
    let almost = almost.await;
    let begin = json!({ "secret_shares": 3, "secret_threshold": 2 });
    let nonce = bed.begin(3, 2).await;
    let share = json!({ "nonce": nonce, "key": old[0].expose_str() });
    let everything = [
        (Verb::Read, "init", &json!({})),
        (Verb::Write, "init", &begin),
        (Verb::Delete, "init", &json!({})),
        (Verb::Write, "update", &share),
        (Verb::Read, "verify", &json!({})),
        (Verb::Write, "verify", &share),
        (Verb::Delete, "verify", &json!({})),
    ];
    for (verb, below, body) in everything {
        let answer = bed.call_as(&almost, ask(verb, below, body)).await;
        assert_eq!(reason(answer), "PERMISSION_DENIED", "{verb:?} {below}");
        let answer = bed.call_as(&SecretBytes::default(), ask(verb, below, body)).await;
        assert_ne!(reason(answer), "OK", "{verb:?} {below}");
    }
    let status = bed.ok(Verb::Read, "init", json!({})).await;
    assert_eq!((&status["nonce"], &status["progress"]), (&json!(nonce), &json!(0)));
}

#[tokio::test]
async fn a_session_ends_after_an_hour() {
    let (bed, old) = open().await;
    let nonce = bed.begin(3, 2).await;
    bed.clock.advance_ms(3_000_000);
    let made = bed.show_all("update", &nonce, &old[..3]).await;
    let (new, trial) = (keys(&made), text(&made["verification_nonce"]));
    bed.show("verify", &trial, &new[0]).await.expect("is right");
    bed.clock.advance_ms(600_000);
    assert_eq!(reason(bed.show("verify", &trial, &new[1]).await), "NO_REKEY");
    assert_eq!(bed.ok(Verb::Read, "init", json!({})).await["started"], false);
    bed.assert_opens(&old, &new, "nothing was changed");
    // And the next one begins.
    bed.begin(3, 2).await;
}

/// The reply with the shares is given to no retry, and without a trial they count at once if that is asked for.
#[tokio::test]
async fn shares_are_told_once() {
    let (bed, old) = open().await;
    let body = json!({ "secret_shares": 3, "secret_threshold": 2, "require_verification": false });
    let nonce = text(&bed.ok(Verb::Write, "init", body).await["nonce"]);
    bed.show_all("update", &nonce, &old[..2]).await;
    let last = json!({ "nonce": nonce, "key": old[2].expose_str() });
    let shown = || bed.call_with(&bed.root, ask(Verb::Write, "update", &last), "key");
    let new = match shown().await.map(|answer| answer.reply) {
        Ok(Reply::Json { data, .. }) => keys(&serde_json::from_slice(data.expose()).expect("is JSON")),
        _ => panic!("another reply"),
    };
    assert_eq!(reason(shown().await), "NO_REKEY");
    bed.assert_opens(&new, &old, "they count at once");
    for (field, wrong) in [("pgp_keys", json!(["x"])), ("backup", json!(true))] {
        let mut body = json!({ "secret_shares": 3, "secret_threshold": 2 });
        body[field] = wrong;
        let body = Body::parse(body.to_string().as_bytes()).expect("is JSON");
        assert!(
            rekey::Request::parse(Verb::Write, "rekey/init", &body).is_err(),
            "{field}"
        );
    }
    for (shares, threshold) in [(0, 0), (3, 1), (2, 3), (256, 2), (300, 300)] {
        let body = json!({ "secret_shares": shares, "secret_threshold": threshold });
        let body = Body::parse(body.to_string().as_bytes()).expect("is JSON");
        assert!(rekey::Request::parse(Verb::Write, "rekey/init", &body).is_err());
    }
}

/// A new root key in the same entry as the new shares: nodes that are open stay so, and what the old one opens is of no use any more.
#[tokio::test]
async fn abuse_055_a_new_root_key_leaves_exactly_one_that_opens() {
    let (bed, old) = open().await;
    let other = restarted(&bed);
    for share in &old[..3] {
        other.unseal(share.expose()).expect("is a good share");
    }
    let static_key = StaticKey::make(&SimulatedEntropy::new(9));
    let add = Operation::SealAdd {
        key: StaticKey::make(&SimulatedEntropy::new(9)),
        outer: None,
        shares: old[..3].iter().map(SecretBytes::duplicate).collect(),
    };
    assert_eq!(reason(bed.call(add).await), "OK");
    assert!(restarted(&bed).unseal_with_key(&static_key).is_ok());
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 1);

    let begin = json!({ "secret_shares": 3, "secret_threshold": 2, "rotate_root": true });
    let nonce = text(&bed.ok(Verb::Write, "init", begin).await["nonce"]);
    bed.consensus.local.depose();
    let made = bed.show_all("update", &nonce, &old[..3]).await;
    let (new, trial) = (keys(&made), text(&made["verification_nonce"]));
    bed.consensus.local.depose();
    bed.show("verify", &trial, &new[0]).await.expect("is right");
    bed.assert_opens(&old, &new[..2], "new shares are tried");
    assert!(restarted(&bed).unseal_with_key(&static_key).is_ok());
    bed.consensus.local.depose();
    let done = bed.show("verify", &trial, &new[2]).await.expect("is the last one");
    assert_eq!(done["complete"], true);
    bed.assert_opens(&new[..2], &old, "the new ones count");
    // The seal of the old root key is told apart, and opens nothing.
    let replaced = restarted(&bed).unseal_with_key(&static_key);
    assert!(replaced.is_err_and(|error| error.to_string().contains("was replaced")));

    // This node goes on, and so does another one that was open; the leader changes.
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 2);
    bed.consensus.local.depose();
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 3);
    assert_eq!(
        bed.ask_another(&other, get("secret/x")).await,
        "{}",
        "it was handed the key"
    );

    // What hands it over goes after an hour. Who slept for longer, or through two of them, is opened with the shares.
    let handover = || bed.consensus.local.view().get(&aumbry_state::key::keyring_handover());
    assert!(handover().is_some());
    bed.clock.advance_ms(3_600_000);
    until(async || handover().is_none()).await;
    let begin =
        json!({ "secret_shares": 1, "secret_threshold": 1, "rotate_root": true, "require_verification": false });
    let nonce = text(&bed.ok(Verb::Write, "init", begin).await["nonce"]);
    let last = keys(&bed.show_all("update", &nonce, &new[..2]).await);
    bed.assert_opens(&last, &new, "at once, as that was asked for");
    let begin =
        json!({ "secret_shares": 1, "secret_threshold": 1, "rotate_root": true, "require_verification": false });
    let nonce = text(&bed.ok(Verb::Write, "init", begin).await["nonce"]);
    bed.show_all("update", &nonce, &last).await;
    let stop = watch::Sender::new(false);
    let duties = tokio::spawn(run_duties(Arc::clone(&other), stop.subscribe()));
    until(async || other.seal_status().sealed).await;
    stop.send_replace(true);
    duties.await.expect("they end");
    assert_eq!(version(bed.call(put("secret/x", "{}", None)).await), 4);
}
