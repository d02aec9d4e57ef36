//! A store with one mount of the method.

use aumbry_auth::jwt::{self, KeySet, KeySource, Reason, Token, Verified};
use aumbry_auth::token::{Login, NewToken, issue};
use aumbry_auth::{Error, LoginError, Voucher, canonical};
use aumbry_logical::{Body, Verb};
use aumbry_types::ObjectId;
use serde_json::{Value, json};

use crate::common::Bed;

/// A mount of the method.
pub(crate) struct Method {
    pub(crate) bed: Bed,
    /// What an issuer would tell, for one that is asked.
    pub(crate) keys: Option<KeySet>,
}

impl Method {
    pub(crate) fn new() -> Self {
        Self {
            bed: Bed::new(41),
            keys: None,
        }
    }

    /// With these keys in PEM, and the role `ci`.
    pub(crate) fn with_keys(pem: &[String], role: &Value) -> Self {
        let mut method = Self::new();
        method.write("config", &json!({ "jwt_validation_pubkeys": pem }));
        method.write("role/ci", role);
        method
    }

    pub(crate) fn ask(&mut self, verb: Verb, path: &str, value: &Value) -> Result<Option<Value>, Error> {
        let request = jwt::parse(verb, &canonical(path), body(value))?;
        let answer = self.bed.run(|txn| {
            let answer = jwt::plan(txn, MOUNT, &request);
            assert!(request.is_write() || txn.is_read_only(), "{path}");
            if answer.is_err() {
                txn.abandon();
            }
            answer
        });
        Ok(answer?.data.map(Value::Object))
    }

    pub(crate) fn write(&mut self, path: &str, value: &Value) {
        assert_eq!(self.ask(Verb::Write, path, value), Ok(None), "{path} {value}");
    }

    pub(crate) fn read(&mut self, path: &str) -> Value {
        self.ask(Verb::Read, path, &json!({}))
            .expect("is there")
            .expect("tells")
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.bed.now / 1_000
    }

    /// Claims that are in time.
    pub(crate) fn claims(&self, further: Value) -> Value {
        let mut claims = json!({ "iat": self.now_s(), "exp": self.now_s() + 300, "sub": "me", "aud": "aumbry" });
        for (name, value) in further.as_object().expect("is an object") {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn verify(&self, request: &Voucher) -> Verified {
        let challenge = self.bed.plan(|txn| jwt::prepare(txn, MOUNT)).0.expect("opens");
        let Some(challenge) = challenge else {
            return Verified::unconfigured();
        };
        let verified = Token::parse(request.jwt().expose()).and_then(|token| {
            let keys = match challenge.source() {
                KeySource::Given(keys) => keys,
                KeySource::Remote(_) => self.keys.as_ref().ok_or(Reason("no keys are given"))?,
            };
            challenge.verify(&token, keys).map(|()| token)
        });
        challenge.conclude(verified)
    }

    pub(crate) fn plan_login(&mut self, request: &Voucher, verified: &Verified) -> Result<Login, LoginError> {
        self.bed.plan(|txn| jwt::login(txn, MOUNT, request, verified, HERE)).0
    }

    /// Why a token does not get in; nothing if it does.
    pub(crate) fn refusal(&mut self, role: &str, jwt: &str) -> &'static str {
        let request = request(role, jwt);
        let verified = self.verify(&request);
        match self.plan_login(&request, &verified) {
            Ok(_) => "",
            Err(LoginError::Because(why)) => why,
            Err(error) => panic!("{error}"),
        }
    }

    /// Who gets in.
    pub(crate) fn login(&mut self, role: &str, jwt: &str) -> (String, Vec<String>, NewToken) {
        let request = request(role, jwt);
        let verified = self.verify(&request);
        self.bed.run(|txn| {
            let login = jwt::login(txn, MOUNT, &request, &verified, HERE).expect("gets in");
            let (alias, groups) = (login.alias.clone(), login.groups.clone());
            (alias, groups, issue(txn, "auth/jwt", login).expect("may"))
        })
    }
}

pub(crate) fn request(role: &str, jwt: &str) -> Voucher {
    Voucher::parse(&body(&json!({ "role": role, "jwt": jwt }))).expect("is one")
}

pub(crate) fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is an object")
}

pub(crate) const HERE: &str = "10.0.0.1:1";
pub(crate) const MOUNT: ObjectId = ObjectId::from_bytes([0x78; 16]);
