//! Entries: certificates that get in, or whose holders' do, and what is given for them.

use aumbry_logical::{Body, Object};
use aumbry_types::Name;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::facts::Facts;
use crate::answer::{Error, object, texts};
use crate::fields::{self, is_match};
use crate::jwt::Reason;
use crate::kept;
use crate::params::{OldNames, TokenParams};

/// An entry.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Of a holder, or of authorities; PEM.
    pub(super) certificate: String,
    pub(super) display_name: String,
    allowed_names: Vec<String>,
    allowed_common_names: Vec<String>,
    allowed_dns_sans: Vec<String>,
    allowed_email_sans: Vec<String>,
    allowed_uri_sans: Vec<String>,
    allowed_organizational_units: Vec<String>,
    /// Each an object identifier, a colon, and a pattern for its value.
    required_extensions: Vec<String>,
    pub(super) params: TokenParams,
}

impl Entry {
    /// Its certificates.
    pub(super) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        // They were read when it was written.
        fields::certificates(&self.certificate).unwrap_or_default()
    }

    /// Compares what a certificate says with what is demanded.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), Reason> {
        let any = |patterns: &[String], values: &[String]| {
            let is_one = |value: &String| patterns.iter().any(|pattern| is_match(pattern, value));
            patterns.is_empty() || values.iter().any(is_one)
        };
        let common_name = std::slice::from_ref(&facts.common_name);
        // A name for people counts only where there is none for machines.
        let has_names = !(facts.dns_names.is_empty() && facts.emails.is_empty() && facts.uris.is_empty());
        let people: &[String] = if has_names { &[] } else { common_name };
        let names = [people, &facts.dns_names, &facts.emails].concat();
        let is_allowed = any(&self.allowed_names, &names)
            && any(&self.allowed_common_names, common_name)
            && any(&self.allowed_dns_sans, &facts.dns_names)
            && any(&self.allowed_email_sans, &facts.emails)
            && any(&self.allowed_uri_sans, &facts.uris)
            && any(&self.allowed_organizational_units, &facts.organizational_units);
        if !is_allowed {
            return Err(Reason("name"));
        }
        let has = |required: &String| {
            let (oid, pattern) = required.split_once(':').unwrap_or((required, ""));
            let mut extensions = facts.extensions.iter();
            extensions.any(|(found, value)| found == oid && is_match(pattern, value))
        };
        match self.required_extensions.iter().all(has) {
            true => Ok(()),
            false => Err(Reason("extension")),
        }
    }
}

impl kept::Stored for Entry {}

impl kept::Role for Entry {
    fn new(name: &Name) -> Self {
        Self {
            name: name.as_str().to_owned(),
            certificate: String::new(),
            display_name: name.as_str().to_owned(),
            allowed_names: Vec::new(),
            allowed_common_names: Vec::new(),
            allowed_dns_sans: Vec::new(),
            allowed_email_sans: Vec::new(),
            allowed_uri_sans: Vec::new(),
            allowed_organizational_units: Vec::new(),
            required_extensions: Vec::new(),
            params: TokenParams::new(),
        }
    }

    fn merge(&mut self, body: &Body) -> Result<(), Error> {
        if body.get("certificate").is_some() {
            self.certificate = fields::certificates_pem(body, "certificate")?;
        }
        if let Some(display_name) = fields::text(body, "display_name")? {
            self.display_name = display_name;
        }
        let list = |field, value: &mut Vec<String>| -> Result<(), Error> {
            if let Some(texts) = fields::texts(body, field)? {
                *value = texts;
            }
            Ok(())
        };
        list("allowed_names", &mut self.allowed_names)?;
        list("allowed_common_names", &mut self.allowed_common_names)?;
        list("allowed_dns_sans", &mut self.allowed_dns_sans)?;
        list("allowed_email_sans", &mut self.allowed_email_sans)?;
        list("allowed_uri_sans", &mut self.allowed_uri_sans)?;
        list("allowed_organizational_units", &mut self.allowed_organizational_units)?;
        list("required_extensions", &mut self.required_extensions)?;
        let is_extension = |text: &String| {
            let oid = text.split_once(':').map_or("", |(oid, _)| oid);
            !oid.is_empty() && oid.chars().all(|c| c.is_ascii_digit() || c == '.')
        };
        if !self.required_extensions.iter().all(is_extension) {
            return Err(Error::Invalid(
                "a required extension is an object identifier, a colon and a pattern, such as 1.2.3.4:value*",
            ));
        }
        if body.flag("ocsp_enabled")? == Some(true) {
            return Err(Error::Invalid(
                "OCSP is not supported; write lists of revoked certificates to crls/",
            ));
        }
        self.params.merge(body, OLD_NAMES)?;
        if self.certificate.trim().is_empty() {
            return Err(Error::Invalid(
                "certificate is required: of a client, or of authorities, in PEM",
            ));
        }
        Ok(())
    }

    fn render(&self) -> Object {
        let mut data = object([
            ("allowed_common_names", texts(&self.allowed_common_names)),
            ("allowed_dns_sans", texts(&self.allowed_dns_sans)),
            ("allowed_email_sans", texts(&self.allowed_email_sans)),
            ("allowed_names", texts(&self.allowed_names)),
            (
                "allowed_organizational_units",
                texts(&self.allowed_organizational_units),
            ),
            ("allowed_uri_sans", texts(&self.allowed_uri_sans)),
            ("certificate", self.certificate.clone().into()),
            ("display_name", self.display_name.clone().into()),
            ("required_extensions", texts(&self.required_extensions)),
        ]);
        self.params.render(&mut data);
        data
    }
}

/// As older clients name them.
const OLD_NAMES: OldNames = OldNames(&["policies", "ttl", "max_ttl", "period", "bound_cidrs"]);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts() -> Facts {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Facts {
            common_name: "web-1".to_owned(),
            organizational_units: texts(&["ops", "dev"]),
            dns_names: texts(&["web-1.example"]),
            emails: texts(&["web@example.com"]),
            uris: texts(&["spiffe://example/web"]),
            extensions: vec![("1.2.3.4".to_owned(), "blue".to_owned())],
            serial: String::new(),
            subject_key_id: String::new(),
            authority_key_id: String::new(),
            not_before: 0,
            not_after: 0,
        }
    }

    fn entry(demands: Value) -> Result<Entry, Error> {
        let name = Name::parse("web").expect("is a name");
        let mut entry: Entry = kept::Role::new(&name);
        // Which certificate it is does not matter here.
        "certificate".clone_into(&mut entry.certificate);
        let Value::Object(demands) = demands else {
            panic!("is an object")
        };
        kept::Role::merge(&mut entry, &Body::new(demands)).map(|()| entry)
    }

    #[test]
    fn each_demand_must_be_met() {
        let check = |demands: Value, why: &str| {
            let checked = entry(demands.clone()).expect("is one").check(&facts());
            assert_eq!(checked.err().map_or("", |reason| reason.0), why, "{demands}");
        };
        check(json!({}), "");
        check(json!({ "allowed_names": "web-1.example" }), "");
        check(json!({ "allowed_names": "*@example.com" }), "");
        check(json!({ "allowed_names": "web-1" }), "name");
        check(json!({ "allowed_common_names": "web-*" }), "");
        check(json!({ "allowed_common_names": ["db-*", "web-?"] }), "name");
        check(json!({ "allowed_dns_sans": "*.example" }), "");
        check(json!({ "allowed_dns_sans": "web-1" }), "name");
        check(json!({ "allowed_email_sans": "web@example.com" }), "");
        check(json!({ "allowed_email_sans": "WEB@example.com" }), "name");
        check(json!({ "allowed_uri_sans": "spiffe://example/*" }), "");
        check(json!({ "allowed_uri_sans": "spiffe://other/*" }), "name");
        check(json!({ "allowed_organizational_units": "dev" }), "");
        check(json!({ "allowed_organizational_units": "sales" }), "name");
        check(
            json!({ "allowed_common_names": "web-1", "allowed_uri_sans": "spiffe://other/*" }),
            "name",
        );
        check(json!({ "required_extensions": "1.2.3.4:bl*" }), "");
        check(
            json!({ "required_extensions": ["1.2.3.4:blue", "1.2.3.5:*"] }),
            "extension",
        );
        check(json!({ "required_extensions": "1.2.3.4:green" }), "extension");
        for bad in ["blue", ":blue", "x:blue"] {
            assert!(entry(json!({ "required_extensions": bad })).is_err(), "{bad}");
        }
        assert!(entry(json!({ "ocsp_enabled": true })).is_err());
        // Without any alternative name, the common name is the only one.
        let mut plain = facts();
        (plain.dns_names, plain.emails, plain.uris) = (Vec::new(), Vec::new(), Vec::new());
        let named = entry(json!({ "allowed_names": "web-1" })).expect("is one");
        assert_eq!(named.check(&plain), Ok(()));
    }
}
