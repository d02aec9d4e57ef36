//! The state of a login by a browser, as it comes back: good as it was given, at the mount that gave it, and in no other form.

use aumbry_auth::jwt::Provider;
use aumbry_auth::jwt::browser::{self, Begin, Callback};
use aumbry_types::ObjectId;
use serde_json::json;

use super::{HERE, MOUNT, jwt_write, object, sendable};
use crate::check::{Memory, bounded};
use crate::store::Bed;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "browser_state",
    seeds: || GIVEN.with(|given| given.states.clone()),
    run,
    words: &[b"_", b"-", b"=", b"AAAA"],
    input_bytes_max: 4_096,
    smoke: 3_000,
    ..Target::USUAL
};

/// A mount with two logins under way.
struct Given {
    bed: Bed,
    states: Vec<Vec<u8>>,
}

thread_local! {
    static GIVEN: Given = Given::make();
}

impl Given {
    fn make() -> Self {
        let mut bed = Bed::new(5);
        let config = json!({ "oidc_discovery_url": "https://issuer.example", "oidc_client_id": "us" });
        jwt_write(&mut bed, "config", &config);
        let role = json!({ "role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": BACK });
        jwt_write(&mut bed, "role/staff", &role);
        let states = (0..2).map(|_| begun(&bed)).collect();
        Self { bed, states }
    }
}

fn begun(bed: &Bed) -> Vec<u8> {
    let request = Begin::parse(&object(&json!({ "role": "staff", "redirect_uri": BACK }))).expect("is one");
    let known = bed.plan(|txn| browser::prepare_begin(txn, MOUNT)).0.expect("opens");
    let known = known.map(|known| {
        known.with(Provider {
            authorization: "https://issuer.example/a".to_owned(),
            token: "https://issuer.example/token".to_owned(),
            names_itself: false,
        })
    });
    let begun = bed.plan(|txn| browser::begin(txn, MOUNT, &request, known.as_ref())).0;
    let url = begun.expect("begins").url;
    let (_, behind) = url.split_once("&state=").expect("is there");
    behind.split('&').next().unwrap_or_default().as_bytes().to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Ok(text) = core::str::from_utf8(input) else {
        return Verdict::Refused;
    };
    let body = sendable(&json!({ "state": text, "code": "c" }));
    let Some(Ok(callback)) = body.map(|body| Callback::parse(&body)) else {
        return Verdict::Refused;
    };
    GIVEN.with(|given| {
        let is_good = |mount: ObjectId| {
            let opened = given
                .bed
                .plan(|txn| bounded(input, MEMORY, || browser::prepare(txn, mount, &callback)));
            match opened.0.expect("no row is damaged") {
                Ok(_) => true,
                Err(verified) => {
                    let (login, command) = given.bed.plan(|txn| {
                        let login = browser::login(txn, mount, &callback, &verified, HERE);
                        assert!(txn.is_read_only(), "what is refused writes nothing");
                        login.is_ok()
                    });
                    drop(command);
                    assert!(!login, "what is refused lets nobody in");
                    false
                }
            }
        };
        assert!(!is_good(ObjectId::from_bytes([0x79; 16])), "a state is of one mount");
        let is_given = given.states.iter().any(|state| state == input);
        assert_eq!(
            is_good(MOUNT),
            is_given,
            "a state is good as it was given, and in no other form"
        );
        Verdict::of(is_given)
    })
}

const BACK: &str = "http://127.0.0.1:8250/oidc/callback";
/// With the configuration and the role, which are read again.
const MEMORY: Memory = Memory {
    per_byte: 32,
    at_least: 64 << 10,
};
