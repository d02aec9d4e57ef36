//! A store with one mount of the method.

use aumbry_auth::approle::{LoginRequest, Request, login, plan};
use aumbry_auth::token::{NewToken, authenticate, issue};
use aumbry_auth::{Error, LoginError, canonical, expire, sweep};
use aumbry_logical::{Body, Verb};
use aumbry_state::{Command, Outcome, Row, View as _, key};
use aumbry_types::{ObjectId, SecretBytes};
use serde_json::{Value, json};

use crate::common::Bed;

/// A mount of the method.
pub(crate) struct Method {
    pub(crate) bed: Bed,
}

impl Method {
    pub(crate) fn new() -> Self {
        Self { bed: Bed::new(21) }
    }

    pub(crate) fn ask(&mut self, verb: Verb, path: &str, value: &Value) -> Result<Option<Value>, Error> {
        let body = Body::parse(value.to_string().as_bytes()).expect("is an object");
        let request = Request::parse(verb, &canonical(path), body)?;
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

    pub(crate) fn write(&mut self, path: &str, value: Value) -> Value {
        self.ask(Verb::Write, path, &value)
            .expect("is written")
            .unwrap_or_default()
    }

    pub(crate) fn read(&mut self, path: &str) -> Value {
        self.ask(Verb::Read, path, &json!({}))
            .expect("is there")
            .expect("tells")
    }

    /// A role with its id.
    pub(crate) fn role(&mut self, name: &str, said: Value) -> String {
        self.write(&format!("role/{name}"), said);
        text(&self.read(&format!("role/{name}/role-id")), "role_id")
    }

    pub(crate) fn secret(&mut self, name: &str, said: Value) -> String {
        text(&self.write(&format!("role/{name}/secret-id"), said), "secret_id")
    }

    pub(crate) fn plan_login(
        &self,
        role_id: &str,
        secret_id: &str,
        address: &str,
    ) -> (Result<NewToken, LoginError>, Command) {
        let request = LoginRequest {
            role_id: role_id.to_owned(),
            secret_id: SecretBytes::from(secret_id.to_owned()),
        };
        self.bed.plan(|txn| match login(txn, MOUNT, &request, address) {
            Ok(login) => Ok(issue(txn, "auth/approle", login).expect("may")),
            Err(error) => {
                txn.abandon();
                Err(error)
            }
        })
    }

    pub(crate) fn login(&mut self, role_id: &str, secret_id: &str) -> Result<NewToken, LoginError> {
        let (made, command) = self.plan_login(role_id, secret_id, HERE);
        assert_eq!(self.bed.apply(&command), Outcome::Ok);
        made
    }

    pub(crate) fn is_valid(&self, token: &SecretBytes) -> bool {
        self.bed
            .plan(|txn| authenticate(txn, token.expose(), false, HERE).is_ok())
            .0
    }

    /// Removes all that expired, and sweeps until nothing waits.
    pub(crate) fn clean(&mut self, limit: usize) {
        let now = self.bed.now;
        loop {
            let index = self.bed.view.scan(&key::expiry_prefix(), None, 1);
            let due = index.first().and_then(|(entry, _)| key::parse_expiry(entry));
            let Some((_, row_key)) = due.filter(|(when, _)| *when <= now) else {
                break;
            };
            let row = Row::decode(&self.bed.view.get(&row_key).expect("is there")).expect("is a row");
            assert!(self.bed.run(|txn| expire(txn, row_key, row.kind)));
        }
        for _ in 0..1_000 {
            let waiting = self.bed.view.scan(&key::work_prefix(), None, 1);
            let Some(id) = waiting.first().and_then(|(row, _)| key::parse_id(row)) else {
                return;
            };
            assert_eq!(self.bed.run(|txn| sweep(txn, id, limit)), Some(0));
        }
        panic!("the sweep does not end");
    }

    pub(crate) fn rows(&self) -> usize {
        let rows = self.bed.view.rows();
        let is_own = |row: &&bytes::Bytes| **row != key::machine() && key::parse_container(row).is_none();
        rows.keys().filter(is_own).count()
    }
}

pub(crate) fn text(data: &Value, field: &str) -> String {
    data[field].as_str().expect("is a text").to_owned()
}

pub(crate) fn refused() -> LoginError {
    LoginError::Refused("invalid role or secret ID")
}

pub(crate) const HERE: &str = "10.0.0.1:1";
pub(crate) const MOUNT: ObjectId = ObjectId::from_bytes([0x66; 16]);
