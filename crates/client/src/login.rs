//! How a program logs in: the method, and where its evidence comes from.

use std::io;
use std::path::{Path, PathBuf};

use aumbry_api::v1::{LogicalRequest, Verb};
use aumbry_types::SecretBytes;
use serde_json::{Map, Value};

use crate::Error;

/// Where a secret of a login comes from. It is asked anew for each login, so that what replaced it meanwhile is used.
pub struct Evidence(Kind);

enum Kind {
    Fixed(SecretBytes),
    File(PathBuf),
    Asked(Box<dyn Fn() -> io::Result<SecretBytes> + Send + Sync>),
}

/// A login, which can be made again and again.
pub struct Login {
    path: String,
    fields: Vec<(String, String)>,
    secrets: Vec<(String, Evidence)>,
}

impl Evidence {
    /// Always this.
    #[must_use]
    pub const fn fixed(secret: SecretBytes) -> Self {
        Self(Kind::Fixed(secret))
    }

    /// What the file holds, without the line feed at its end. An agent or an orchestrator may replace it at any time.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// What this gives. It is called on the runtime's thread: it must not take long.
    #[must_use]
    pub fn asked(ask: impl Fn() -> io::Result<SecretBytes> + Send + Sync + 'static) -> Self {
        Self(Kind::Asked(Box::new(ask)))
    }

    fn give(&self) -> io::Result<SecretBytes> {
        match &self.0 {
            Kind::Fixed(secret) => Ok(secret.duplicate()),
            Kind::File(path) => read(path),
            Kind::Asked(ask) => ask(),
        }
    }
}

impl Login {
    /// AppRole, mounted here.
    #[must_use]
    pub fn approle(mount: &str, role_id: &str, secret_id: Evidence) -> Self {
        let login = Self::by_path(format!("auth/{mount}/login"));
        login.with("role_id", role_id).with_secret("secret_id", secret_id)
    }

    /// A user's password, at userpass mounted here.
    #[must_use]
    pub fn userpass(mount: &str, user: &str, password: Evidence) -> Self {
        Self::by_path(format!("auth/{mount}/login/{user}")).with_secret("password", password)
    }

    /// Any other method, by the path that takes its logins, such as `auth/jwt/login`.
    #[must_use]
    pub fn by_path(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            fields: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// With this value, which is no secret.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this secret.
    #[must_use]
    pub fn with_secret(mut self, name: &str, evidence: Evidence) -> Self {
        self.secrets.push((name.to_owned(), evidence));
        self
    }

    /// The request, with the evidence of this moment.
    pub(crate) fn request(&self) -> Result<LogicalRequest, Error> {
        let wrong = |name: &str, why: &dyn core::fmt::Display| {
            Error::Configuration(format!("the evidence {name} of the login: {why}"))
        };
        let text = |text: &str| Value::String(text.to_owned());
        let mut body: Map<String, Value> = self
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        for (name, evidence) in &self.secrets {
            let secret = evidence.give().map_err(|error| wrong(name, &error))?;
            let secret = secret.expose_str().ok_or_else(|| wrong(name, &"it is not UTF-8"))?;
            body.insert(name.clone(), text(secret));
        }
        Ok(LogicalRequest {
            verb: Verb::Write as i32,
            path: self.path.clone(),
            body: Value::Object(body).to_string().into_bytes().into(),
            ..Default::default()
        })
    }
}

fn read(path: &Path) -> io::Result<SecretBytes> {
    let mut bytes = std::fs::read(path)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(SecretBytes::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn evidence_is_asked_for_each_login() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let evidence = Evidence::asked(|| {
            let n = ASKED.fetch_add(1, Ordering::Relaxed);
            Ok(SecretBytes::from(format!("s{n}")))
        });
        let login = Login::approle("apps", "r", evidence);
        for n in 0..2 {
            let request = login.request().unwrap();
            assert_eq!(request.path, "auth/apps/login");
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(
                body,
                serde_json::json!({ "role_id": "r", "secret_id": format!("s{n}") })
            );
        }
    }

    #[test]
    fn evidence_that_is_not_there_is_named_and_not_told() {
        let login = Login::userpass("userpass", "ann", Evidence::file("/no/such/file"));
        let error = login.request().err().unwrap();
        assert!(error.to_string().contains("password"), "{error}");
        let login = Login::by_path("auth/x/login").with_secret("jwt", Evidence::fixed(SecretBytes::new(vec![0xff])));
        assert!(login.request().is_err());
    }
}
