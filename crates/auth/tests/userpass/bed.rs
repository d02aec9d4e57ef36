//! A store with one mount of the method.

use aumbry_auth::lockout::Lockout;
use aumbry_auth::token::{NewToken, issue};
use aumbry_auth::userpass::{Challenge, LoginRequest, Request, Verified, login, plan, prepare};
use aumbry_auth::{Error, LoginError, canonical};
use aumbry_barrier::{Kind, ObjectOptions};
use aumbry_logical::{Body, Verb};
use aumbry_state::{Command, Outcome};
use aumbry_types::{ObjectId, SimulatedEntropy};
use serde_json::{Value, json};

use crate::common::Bed;

/// A mount of the method.
pub(crate) struct Method {
    pub(crate) bed: Bed,
    pub(crate) lockout: Lockout,
}

impl Method {
    pub(crate) fn new() -> Self {
        Self {
            bed: Bed::new(31),
            lockout: Lockout::default(),
        }
    }

    /// With a user `alice` of a password.
    pub(crate) fn with_alice() -> Self {
        let mut method = Self::new();
        method.write("users/alice", &json!({"password": PASSWORD, "token_policies": "a"}));
        method
    }

    pub(crate) fn ask(&mut self, verb: Verb, path: &str, value: &Value) -> Result<Option<Value>, Error> {
        let request = Request::parse(verb, &canonical(path), body(value))?;
        let request = request.hashed(&SimulatedEntropy::new(7));
        let answer = self.bed.run(|txn| {
            let answer = plan(txn, MOUNT, &request);
            assert!(request.is_write() || txn.is_read_only(), "{path}");
            if answer.is_err() {
                txn.abandon();
            }
            answer
        });
        Ok(answer?.data.map(Value::Object))
    }

    pub(crate) fn write(&mut self, path: &str, value: &Value) {
        assert_eq!(self.ask(Verb::Write, path, value), Ok(None));
    }

    pub(crate) fn read(&mut self, path: &str) -> Value {
        self.ask(Verb::Read, path, &json!({}))
            .expect("is there")
            .expect("tells")
    }

    pub(crate) fn request(user: &str, password: &str) -> LoginRequest {
        LoginRequest::parse(&format!("login/{user}"), &body(&json!({"password": password}))).expect("is one")
    }

    pub(crate) fn prepare(&self, request: &LoginRequest) -> Challenge {
        self.bed.plan(|txn| prepare(txn, MOUNT, request)).0.expect("opens")
    }

    pub(crate) fn plan_login(
        &self,
        request: &LoginRequest,
        verified: &Verified,
        address: &str,
    ) -> (Result<NewToken, LoginError>, Command) {
        self.bed.plan(
            |txn| match login(txn, MOUNT, request, verified, &self.lockout, address) {
                Ok(login) => Ok(issue(txn, "auth/userpass", login).expect("may")),
                Err(error) => {
                    txn.abandon();
                    Err(error)
                }
            },
        )
    }

    pub(crate) fn login_from(&mut self, user: &str, password: &str, address: &str) -> Result<NewToken, LoginError> {
        let request = Self::request(user, password);
        let verified = self.prepare(&request).verify(&request);
        let (made, command) = self.plan_login(&request, &verified, address);
        assert_eq!(self.bed.apply(&command), Outcome::Ok);
        made
    }

    pub(crate) fn login(&mut self, user: &str, password: &str) -> Result<NewToken, LoginError> {
        self.login_from(user, password, HERE)
    }

    /// Whether the right password of `alice` gets in.
    pub(crate) fn lets_alice_in(&mut self) -> bool {
        self.login("alice", PASSWORD).is_ok()
    }

    /// Enters so many further users, of whom nothing is ever opened: a hash for each would take a minute.
    pub(crate) fn enter_strangers(&mut self, count: usize) {
        for n in 0..count {
            self.bed.run(|txn| {
                let id = ObjectId::make(txn.entropy());
                txn.insert(MOUNT, &format!("stranger-{n}"), Kind::User, id)
                    .expect("has room");
                txn.put_object(id, Kind::User, b"nothing", ObjectOptions::default());
            });
        }
    }

    /// Fails so often.
    pub(crate) fn fail(&mut self, times: usize) {
        for _ in 0..times {
            assert!(self.login("alice", "wrong").is_err());
        }
    }
}

pub(crate) fn body(value: &Value) -> Body {
    Body::parse(value.to_string().as_bytes()).expect("is an object")
}

/// What a client is told of a refused login.
pub(crate) const REFUSED: &str = "invalid username or password";
pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const HERE: &str = "10.0.0.1:1";
pub(crate) const MOUNT: ObjectId = ObjectId::from_bytes([0x77; 16]);
