//! Keys that turn while faults are at work: new terms, and new shares in the place of old ones.
//!
//! Whatever was cut off, one set of shares opens every node: nodes that are sealed are shown the set that counts, or both while nobody can know which one does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aumbry_logical::{Body, Verb};
use aumbry_node::{Answer, Failure, Reply};
use aumbry_sim_world::rng::Rng;
use aumbry_sim_world::{seed, strikes};
use aumbry_types::hex;
use tokio::time::sleep;

use crate::ask::Ask;
use crate::client::Work;
use crate::faults::{KEYS_ROTATED, SHARES_REPLACED};
use crate::operator::insist;
use crate::process::{SHARES, THRESHOLD, change_secrets, secrets};

type Shares = Vec<Vec<u8>>;

/// Turns keys until the clients stop.
pub(crate) async fn turn_keys(work: Arc<Work>) {
    let mut rng = Rng::new(seed());
    while !work.stops.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(rng.between(PAUSE_MS_MIN, PAUSE_MS_MAX))).await;
        if rng.between(0, 2) == 0 {
            if matches!(insist(Ask::RotateKeys, PATIENCE).await, Some(Ok(_))) {
                strikes::count(KEYS_ROTATED);
            }
        } else if let Some(made) = make(rng.between(0, 1) == 0).await {
            replace(made, &work).await;
        }
    }
}

/// Shows the old shares. Gives the new ones, and what they are tried by.
async fn make(rotates_root: bool) -> Option<(Shares, String)> {
    let old = secrets(|secrets| secrets.sets.last().cloned())??;
    told(insist(rekey(Verb::Delete, "init", ""), PATIENCE).await)?;
    let begun = told(insist(begin(rotates_root), PATIENCE).await)?;
    let nonce = begun.text("nonce").ok()??;
    let mut made = None;
    for share in old.iter().take(usize::from(THRESHOLD)) {
        made = Some(told(insist(show("update", &nonce, share), PATIENCE).await)?);
    }
    let made = made?;
    let keys = made.texts("keys").ok()??;
    let keys = keys.iter().map(|key| hex::decode_all(key)).collect::<Option<Shares>>()?;
    Some((keys, made.text("verification_nonce").ok()??))
}

/// Tries the new shares until they count, or not.
async fn replace((new, nonce): (Shares, String), work: &Work) {
    let (last, before) = new[..usize::from(THRESHOLD)].split_last().expect("is not zero");
    for share in before {
        if told(insist(show("verify", &nonce, share), PATIENCE).await).is_none() {
            return;
        }
    }
    // From here on it may be that they count.
    change_secrets(|secrets| secrets.sets.push(new.clone()));
    let done = told(insist(show("verify", &nonce, last), PATIENCE).await);
    let mut counts = done.and_then(|done| done.flag("complete").ok().flatten());
    while counts.is_none() && !work.stops.load(Ordering::Relaxed) {
        counts = try_share(&new[0]).await;
    }
    match counts {
        Some(true) => {
            strikes::count(SHARES_REPLACED);
            change_secrets(|secrets| drop(secrets.sets.drain(..secrets.sets.len() - 1)));
        }
        Some(false) => change_secrets(|secrets| drop(secrets.sets.pop())),
        None => {}
    }
}

/// Whether a share is one of those that count, by showing it to a rekey of its own.
async fn try_share(share: &[u8]) -> Option<bool> {
    told(insist(rekey(Verb::Delete, "init", ""), PATIENCE).await)?;
    let begun = told(insist(begin(false), PATIENCE).await)?;
    let nonce = begun.text("nonce").ok()??;
    match insist(show("update", &nonce, share), PATIENCE).await? {
        Ok(_) => Some(true),
        // A try whose answer was lost may have counted it: that is told by another reason's text only, so it is asked what was counted.
        Err(failure) if failure.reason == "INVALID_SHARE" => {
            let status = told(insist(rekey(Verb::Read, "init", ""), PATIENCE).await)?;
            let is_same = status.text("nonce").ok().flatten()? == nonce;
            is_same.then_some(status.count("progress").ok().flatten()? == 1)
        }
        Err(_) => None,
    }
}

fn begin(rotates_root: bool) -> Ask {
    let body = format!("{{\"secret_shares\": {SHARES}, \"secret_threshold\": {THRESHOLD}, \"rotate_root\": {rotates_root}}}");
    rekey(Verb::Write, "init", &body)
}

fn rekey(verb: Verb, below: &'static str, body: &str) -> Ask {
    Ask::Rekey(verb, below, body.to_owned())
}

fn show(below: &'static str, nonce: &str, share: &[u8]) -> Ask {
    let share = core::str::from_utf8(share).expect("a share is text");
    rekey(Verb::Write, below, &format!("{{\"nonce\": \"{nonce}\", \"key\": \"{share}\"}}"))
}

/// What was answered; `None` if it is not known, or was refused.
fn told(answer: Option<Result<Answer, Failure>>) -> Option<Body> {
    match answer?.ok()?.reply {
        Reply::Json { data, .. } => Body::parse(data.expose()).ok(),
        _ => None,
    }
}

const PAUSE_MS_MIN: u64 = 500;
const PAUSE_MS_MAX: u64 = 4_000;
const PATIENCE: Duration = Duration::from_secs(5);
