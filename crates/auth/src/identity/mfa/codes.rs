//! Codes that are shown with a login, in one request.

use std::collections::BTreeMap;

use aumbry_barrier::Txn;
use aumbry_types::{ObjectId, SecretBytes};

use super::enforcement::Wanted;
use super::pending::{CODES_MAX, meet};
use crate::answer::{Error, LoginError};

/// Codes by the methods that they are of.
#[derive(Default)]
pub struct Codes(BTreeMap<String, SecretBytes>);

impl Codes {
    /// Codes by the ids or the names of their methods.
    ///
    /// # Errors
    /// [`Error`]
    pub fn new(given: impl IntoIterator<Item = (String, SecretBytes)>) -> Result<Self, Error> {
        let mut codes = BTreeMap::new();
        for (method, code) in given {
            if method.is_empty() || code.is_empty() {
                return Err(FORM);
            }
            // Some programs write it as an option.
            let code = match code.expose().strip_prefix(b"passcode=") {
                Some(code) => SecretBytes::new(code.to_vec()),
                None => code,
            };
            let method = parse_id(&method).map_or(method, |id| id.to_string());
            let is_second = codes.insert(method, code).is_some();
            if is_second || codes.len() > CODES_MAX {
                return Err(Error::Invalid("there is one passcode for each method, and at most 16"));
            }
        }
        Ok(Self(codes))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The codes by their methods, for the audit record's keyed digests: what is no id can be anything, a code as well.
    pub fn iter(&self) -> impl Iterator<Item = (Option<ObjectId>, &str, &SecretBytes)> {
        self.0
            .iter()
            .map(|(method, code)| (parse_id(method), method.as_str(), code))
    }

    /// Looks at the codes of an entity that logs in. A right one is used up.
    ///
    /// # Errors
    /// [`LoginError`]; after [`LoginError::Counted`] the plan must be applied.
    pub fn meet(&self, txn: &mut Txn<'_>, entity: ObjectId, wanted: &[Wanted]) -> Result<(), LoginError> {
        meet(txn, entity, wanted, |id, name| {
            let by_name = || self.0.get(name).filter(|_| !name.is_empty());
            self.0.get(&id.to_string()).or_else(by_name)
        })
    }
}

fn parse_id(text: &str) -> Option<ObjectId> {
    text.replace('-', "").to_ascii_lowercase().parse().ok()
}

const FORM: Error =
    Error::Invalid("a second factor is shown as X-Vault-MFA: METHOD:CODE, with the id or the name of the method");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Vec<(String, String)>, Error> {
        let given = given
            .iter()
            .map(|(method, code)| ((*method).to_owned(), SecretBytes::from((*code).to_owned())));
        let codes = Codes::new(given)?;
        let told = codes.0.iter().map(|(method, code)| {
            let code = code.expose_str().expect("is text");
            (method.clone(), code.to_owned())
        });
        Ok(told.collect())
    }

    #[test]
    fn methods_are_ids_or_names() {
        let id = "0123456789abcdef0123456789abcdef";
        let pair = |method: &str, code: &str| (method.to_owned(), code.to_owned());
        assert_eq!(
            read(&[("01234567-89AB-cdef-0123-456789abcdef", "passcode=12"), ("phone", "3")]),
            Ok(vec![pair(id, "12"), pair("phone", "3")])
        );
        assert!(read(&[("", "1")]).is_err() && read(&[("phone", "")]).is_err());
        assert!(
            read(&[("phone", "1"), ("phone", "2")]).is_err(),
            "which of them counts?"
        );
        let many: Vec<String> = (0..17).map(|n| format!("m{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        assert!(read(&many).is_err() && read(&many[..16]).is_ok());
    }
}
