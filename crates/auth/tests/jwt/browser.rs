//! Logins by a browser: what their state is good for.

use aumbry_auth::jwt::browser::{self, Begin, BeginError, Begun, Callback, Tokens};
use aumbry_auth::jwt::{Challenge, KeySet, KeySource, Provider, Reason, Token, Verified};
use aumbry_auth::{Error, LoginError};
use aumbry_barrier::Txn;
use aumbry_logical::Verb;
use aumbry_state::Outcome;
use aumbry_types::ObjectId;
use serde_json::{Value, json};

use crate::bed::{HERE, MOUNT, Method, body};
use crate::signer::Signer;

const BACK: &str = "http://127.0.0.1:8250/oidc/callback";

/// A mount with the role `staff`, whose issuer signs by this.
struct Bed {
    method: Method,
    signer: Signer,
}

fn config() -> Value {
    json!({ "oidc_discovery_url": "https://issuer.example", "oidc_client_id": "us", "oidc_client_secret": "s3cret" })
}

fn role() -> Value {
    json!({ "role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": BACK, "token_policies": "p" })
}

impl Bed {
    fn new() -> Self {
        let mut method = Method::new();
        method.write("config", &config());
        method.write("role/staff", &role());
        Self {
            method,
            signer: Signer::make("k", "ES256"),
        }
    }

    fn begin_by(&self, request: &Value, authorization: &str) -> Result<Begun, BeginError> {
        let request = Begin::parse(&body(request)).expect("is one");
        let known = self.plan(|txn| browser::prepare_begin(txn, MOUNT)).expect("opens");
        let known = known.map(|known| {
            known.with(Provider {
                authorization: authorization.to_owned(),
                token: "https://issuer.example/token".to_owned(),
                names_itself: false,
            })
        });
        self.plan(|txn| {
            let begun = browser::begin(txn, MOUNT, &request, known.as_ref());
            assert!(txn.is_read_only(), "a beginning stores nothing");
            begun
        })
    }

    fn begin(&self) -> (String, String) {
        let begun = self.begin_by(
            &json!({ "role": "staff", "redirect_uri": BACK }),
            "https://issuer.example/a",
        );
        let url = begun.expect("begins").url;
        let of = |name: &str| {
            let (_, behind) = url.split_once(&format!("&{name}=")).expect("is there");
            behind.split('&').next().expect("has a value").to_owned()
        };
        (of("state"), of("nonce"))
    }

    fn plan<T>(&self, plan: impl FnOnce(&mut Txn<'_>) -> T) -> T {
        self.method.bed.plan(plan).0
    }

    /// What the issuer gives for the code, as it is verified; or why nothing is exchanged.
    fn verify(&self, mount: ObjectId, callback: &Callback, claims: &Value) -> Result<Verified, String> {
        let prepared = self.plan(|txn| browser::prepare(txn, mount, callback)).expect("opens");
        let exchange = match prepared {
            Ok(exchange) => exchange,
            Err(verified) => return Ok(verified),
        };
        let answer = json!({ "id_token": self.signer.sign(claims), "access_token": "a" }).to_string();
        let tokens = Tokens::parse(200, answer.as_bytes()).map_err(|error| error.to_string())?;
        let challenge: Challenge = exchange.into_challenge(&tokens);
        assert!(matches!(challenge.source(), KeySource::Remote(remote) if remote.is_issuer));
        let keys = KeySet::parse(json!({ "keys": [self.signer.jwk()] }).to_string().as_bytes()).expect("is a set");
        let token = Token::parse(tokens.id_token().expose()).expect("is a token");
        let verified = challenge.verify(&token, &keys).map(|()| token);
        Ok(challenge.conclude(verified))
    }

    fn claims(&self, nonce: &str) -> Value {
        self.method
            .claims(json!({ "iss": "https://issuer.example", "aud": "us", "nonce": nonce }))
    }

    /// Why it does not get in at this mount; nothing if it would.
    fn refusal_at(&self, mount: ObjectId, state: &str, claims: &Value) -> &'static str {
        let callback = callback(state);
        let verified = self.verify(mount, &callback, claims).expect("is an answer");
        match self.plan(|txn| browser::login(txn, mount, &callback, &verified, HERE)) {
            Ok(_) => "",
            Err(LoginError::Because(why)) => why,
            Err(error) => panic!("{error}"),
        }
    }

    fn refusal(&self, state: &str, nonce: &str) -> &'static str {
        self.refusal_at(MOUNT, state, &self.claims(nonce))
    }
}

fn callback(state: &str) -> Callback {
    Callback::parse(&body(&json!({ "state": state, "code": "c" }))).expect("is one")
}

#[test]
fn a_state_lasts_five_minutes_of_the_log() {
    let mut bed = Bed::new();
    let (state, nonce) = bed.begin();
    bed.method.bed.now += 299_999;
    assert_eq!(bed.refusal(&state, &nonce), "");
    bed.method.bed.now += 1;
    assert_eq!(bed.refusal(&state, &nonce), "expired state");
}

#[test]
fn a_state_is_of_its_mount_and_namespace() {
    let bed = Bed::new();
    let (state, nonce) = bed.begin();
    assert_eq!(bed.refusal(&state, &nonce), "", "the positive control");
    let other = ObjectId::from_bytes([0x79; 16]);
    assert_eq!(bed.refusal_at(other, &state, &bed.claims(&nonce)), "state");
    let callback = callback(&state);
    let prepared = bed.plan(|txn| {
        txn.enter_namespace(ObjectId::from_bytes([7; 16]));
        browser::prepare(txn, MOUNT, &callback).expect("opens").is_ok()
    });
    assert!(!prepared, "another namespace");
    let mut elsewhere = Bed::new();
    elsewhere.method.bed = crate::common::Bed::new(42);
    elsewhere.method.write("config", &config());
    elsewhere.method.write("role/staff", &role());
    assert_eq!(elsewhere.refusal(&state, &nonce), "state", "another cluster");
    for torn in ["A", "not base 64!", &"A".repeat(3_000), &state[..state.len() - 4]] {
        assert_eq!(bed.refusal(torn, &nonce), "state");
    }
}

#[test]
fn a_state_rests_on_the_configuration_and_the_role() {
    let mut bed = Bed::new();
    let changed = "configuration or role changed";
    let (state, nonce) = bed.begin();
    bed.method.write("role/staff", &json!({ "token_policies": "q" }));
    assert_eq!(bed.refusal(&state, &nonce), changed);
    bed.method.write("role/staff", &json!({ "token_policies": "p" }));
    assert_eq!(bed.refusal(&state, &nonce), "", "it is what it was");
    let mut other = config();
    other["oidc_client_secret"] = json!("another");
    bed.method.write("config", &other);
    assert_eq!(bed.refusal(&state, &nonce), changed);
    bed.method.write("config", &config());
    assert_eq!(bed.refusal(&state, &nonce), "");
    assert_eq!(bed.method.ask(Verb::Delete, "role/staff", &json!({})), Ok(None));
    assert_eq!(bed.refusal(&state, &nonce), changed);
    // One of the same name is another one.
    bed.method.write("role/staff", &role());
    assert_eq!(bed.refusal(&state, &nonce), changed);
}

/// Two plans on one state: the one that is applied second is refused, and finds why when it is made again. What is used is forgotten once it is no use.
#[test]
fn of_two_logins_with_one_state_one_wins() {
    let mut bed = Bed::new();
    let (state, nonce) = bed.begin();
    let claims = bed.claims(&nonce);
    let plan = |bed: &Bed| {
        let callback = callback(&state);
        let verified = bed.verify(MOUNT, &callback, &claims).expect("is an answer");
        bed.method.bed.plan(|txn| {
            let login = browser::login(txn, MOUNT, &callback, &verified, HERE);
            assert!(!txn.is_read_only(), "the use is written");
            login.expect("gets in").alias
        })
    };
    let ((one, first), (other, second)) = (plan(&bed), plan(&bed));
    assert_eq!((one.as_str(), other.as_str()), ("me", "me"));
    assert_eq!(bed.method.bed.apply(&first), Outcome::Ok);
    assert_eq!(bed.method.bed.apply(&second), Outcome::Conflict);
    assert_eq!(bed.refusal(&state, &nonce), "used state");
    bed.method.bed.now += 299_999;
    assert_eq!(bed.refusal(&state, &nonce), "used state");
}

/// What was verified by another configuration begins again.
#[test]
fn what_was_verified_is_what_stands() {
    let mut bed = Bed::new();
    let (state, nonce) = bed.begin();
    let callback = callback(&state);
    let early = bed
        .verify(MOUNT, &self::callback("AAAA"), &json!({}))
        .expect("is refused");
    let planned = bed.plan(|txn| browser::login(txn, MOUNT, &callback, &early, HERE).err());
    assert_eq!(planned, Some(LoginError::Stale));
    // What the issuer gave is kept, as it gives it once.
    let given = || Err(Reason("code"));
    assert!(callback.exchanged().is_none());
    assert_eq!(callback.keep(given()).as_ref().err(), Some(&Reason("code")));
    let answer = Tokens::parse(200, br#"{"id_token":"a.b.c"}"#).expect("is an answer");
    assert_eq!(callback.keep(Ok(answer)).as_ref().err(), Some(&Reason("code")));
    // A beginning that asked the issuer of before.
    let request = Begin::parse(&body(&json!({ "role": "staff", "redirect_uri": BACK }))).expect("is one");
    let known = bed
        .plan(|txn| browser::prepare_begin(txn, MOUNT))
        .expect("opens")
        .expect("is set up");
    let known = known.with(Provider {
        authorization: "https://issuer.example/a".to_owned(),
        token: "https://issuer.example/t".to_owned(),
        names_itself: false,
    });
    bed.method.write(
        "config",
        &json!({ "oidc_discovery_url": "https://other.example", "oidc_client_id": "us" }),
    );
    let begun = bed.plan(|txn| browser::begin(txn, MOUNT, &request, Some(&known)).err());
    assert_eq!(begun, Some(BeginError::Stale));
    assert_eq!(bed.refusal(&state, &nonce), "configuration or role changed");
}

#[test]
fn an_address_stays_short() {
    let mut bed = Bed::new();
    let request = json!({ "role": "staff", "redirect_uri": BACK });
    let url = bed
        .begin_by(&request, "https://issuer.example/a?x=1")
        .expect("begins")
        .url;
    assert!(
        url.starts_with("https://issuer.example/a?x=1&response_type=code&client_id=us&"),
        "{url}"
    );
    assert!(url.len() < 900, "{}", url.len());
    // The longest of all that a role can have is refused, and nothing is cut.
    let name = "r".repeat(128);
    let long = format!("https://a.example/{}", "c".repeat(480));
    let mut role = role();
    role["allowed_redirect_uris"] = json!([long]);
    bed.method.write(&format!("role/{name}"), &role);
    let request = json!({ "role": name, "redirect_uri": long });
    let url = bed.begin_by(&request, "https://issuer.example/a").expect("begins").url;
    assert!((1_500..2_000).contains(&url.len()), "{}", url.len());
    let scopes: Vec<String> = (0..16).map(|n| format!("{n}{}", "s".repeat(100))).collect();
    bed.method
        .write(&format!("role/{name}"), &json!({ "oidc_scopes": scopes }));
    let begun = bed.begin_by(&request, "https://issuer.example/a").err();
    assert_eq!(begun, Some(BeginError::TooLong));
}

#[test]
fn a_role_of_no_type_is_for_browsers_if_they_can_come_back() {
    let mut bed = Bed::new();
    let mut role = role();
    role.as_object_mut().expect("is one").remove("role_type");
    bed.method.write("role/new", &role);
    assert_eq!(bed.method.read("role/new")["role_type"], "oidc");
    bed.method
        .write("role/other", &json!({ "user_claim": "sub", "bound_audiences": "a" }));
    assert_eq!(bed.method.read("role/other")["role_type"], "jwt");
    bed.method
        .write("role/other", &json!({ "allowed_redirect_uris": BACK }));
    assert_eq!(bed.method.read("role/other")["role_type"], "jwt", "it stays what it is");
    let mut plain = Method::new();
    assert!(matches!(
        plain.ask(Verb::Write, "role/r", &role),
        Err(Error::Invalid(_))
    ));
    plain.write("config", &json!({ "oidc_discovery_url": "https://issuer.example" }));
    assert!(matches!(
        plain.ask(Verb::Write, "role/r", &role),
        Err(Error::Invalid(_))
    ));
}
