//! What a token claims, once it is verified, against what a role demands: judged a second time, from the documentation alone.

use serde_json::{Value, json};

use super::jwt::{bed, login, sign};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "jwt_claims",
    seeds,
    run,
    words: &[
        b"\"sub\":",
        b"\"aud\":",
        b"\"exp\":",
        b"\"nbf\":",
        b"\"iat\":",
        b"\"team\":",
        b"[\"aumbry\"]",
        b"null",
        b"-1",
        b"1e300",
        b"1700000000.5",
        b"18446744073709551615",
        b"\"\\u0000\"",
        b"ops-",
    ],
    input_bytes_max: 1_024,
    smoke: 6_000,
    ..Target::USUAL
};

thread_local! {
    static BED: Bed = bed(&json!({
        "user_claim": "sub",
        "bound_audiences": "aumbry",
        "bound_claims_type": "glob",
        "bound_claims": { "team": "ops-*" },
        "claim_mappings": { "desk": "desk" },
    }));
}

fn seeds() -> Vec<Vec<u8>> {
    [
        json!({ "sub": "me", "aud": "aumbry", "iat": NOW, "exp": NOW + 300, "team": "ops-eu", "desk": 7 }),
        json!({ "sub": "me", "aud": "aumbry", "exp": NOW + 200, "team": "ops-eu" }),
        json!({ "sub": "me", "aud": ["x", "aumbry"], "iat": NOW, "nbf": NOW, "team": ["dev", "ops-"] }),
        json!({ "sub": "me", "aud": "aumbry", "exp": NOW - 30, "team": "ops-eu" }),
        json!({ "sub": "me", "aud": "other", "exp": NOW + 300, "team": "ops-eu" }),
        json!({ "sub": "me", "aud": "aumbry", "team": "ops-eu" }),
    ]
    .map(|claims| claims.to_string().into_bytes())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Ok((name, metadata)) = BED.with(|bed| login(bed, &sign(input))) else {
        return Verdict::Refused;
    };
    let claims: Value = serde_json::from_slice(input).expect("what lets somebody in is JSON");
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let any = |claim: &str, fits: fn(&str) -> bool| match claims.get(claim) {
        Some(Value::String(text)) => fits(text),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).any(fits),
        _ => false,
    };
    assert_eq!(text("sub"), Some(name.as_str()), "who it is is who it claims to be");
    assert!(
        !name.is_empty() && !name.chars().any(char::is_control),
        "a name can be read"
    );
    assert!(any("aud", |audience| audience == "aumbry"), "it is for us");
    assert!(any("team", |team| team.starts_with("ops-")), "it has what is demanded");
    // Seconds may have parts, of which none is more than a second.
    let time = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    let (issued, begins, expires) = (time("iat"), time("nbf"), time("exp"));
    assert!(issued.or(begins).or(expires).is_some(), "it has a time");
    let now = NOW as f64;
    assert!(expires.is_none_or(|at| at + SKEW_S >= now - 1.0), "it is not over");
    // One that says when it ends alone began a while before.
    let began = begins.or(issued).or_else(|| expires.map(|at| at - LEEWAY_S));
    assert!(began.is_none_or(|at| at <= now + SKEW_S + 1.0), "it has begun");
    assert!(issued.is_none_or(|at| at <= now + SKEW_S + 1.0), "it was issued");
    let latest = issued.unwrap_or(0.0).max(begins.unwrap_or(0.0));
    assert!(
        expires.is_some() || latest + LEEWAY_S + SKEW_S >= now - 1.0,
        "it does not last for ever"
    );
    for (key, value) in metadata {
        assert!(
            !value.chars().any(char::is_control),
            "what is noted of {key} can be read"
        );
        assert!(
            ["role", "desk"].contains(&key.as_str()),
            "nothing is noted that was not asked for: {key}"
        );
    }
    Verdict::Accepted
}

/// The time of the store.
const NOW: i64 = 1_700_000_000;
const SKEW_S: f64 = 60.0;
/// How long a token is good that does not say it, and how long before its end it began.
const LEEWAY_S: f64 = 150.0;
