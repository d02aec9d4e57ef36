//! The login, in three steps: what the directory is to be asked, the asking, and the plan, which rests on the answer.

use std::collections::BTreeSet;

use aumbry_barrier::{DamagedRow, Txn};
use aumbry_logical::{Body, FieldError};
use aumbry_types::{ObjectId, SecretBytes};

use super::WRONG_PASSWORD;
use super::config::{Config, PASSWORD_BYTES_MAX};
use super::entry::is_name;
use super::names::{escape_dn, escape_filter};
use super::question::{Challenge, Find, Groups, Known, Question, Search, Service};
use super::request::{Table, find};
use super::template::{self, Values};
use crate::answer::LoginError;
use crate::cidr::is_allowed;
use crate::fields::is_plain;
use crate::kept;
use crate::lockout::{Lockout, Strangers};
use crate::token::Login;

/// What is shown at a login.
pub struct LoginRequest {
    /// As it was typed.
    username: String,
    password: SecretBytes,
}

/// What the directory said, by the configuration of then.
pub struct Verified {
    basis: Option<[u8; 32]>,
    found: Result<Known, &'static str>,
}

impl LoginRequest {
    /// Reads a request to `login/NAME`, with the name as it was typed.
    ///
    /// # Errors
    /// [`LoginError::Field`]
    pub fn parse(path: &str, body: &Body) -> Result<Self, LoginError> {
        // The place is found in any case, the name has its own.
        let username = path.split_once('/').map_or("", |(_, name)| name);
        // An empty one is no password: a directory would take it for nobody's, and let nobody in.
        let password = body.secret("password")?.filter(|password| !password.is_empty());
        Ok(Self {
            username: username.to_owned(),
            password: password.ok_or(FieldError::Missing("password"))?,
        })
    }

    /// The name, for the audit record.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password, for the audit record's keyed digest of it.
    #[must_use]
    pub const fn password(&self) -> &SecretBytes {
        &self.password
    }

    /// The name by which users are known here. Nothing for what is nobody's.
    fn name(&self) -> Option<String> {
        let name = self.username.to_ascii_lowercase();
        is_name(&name).then_some(name)
    }

    /// Whether a directory can be asked about the password.
    fn is_password(&self) -> bool {
        let text = self.password.expose_str().unwrap_or_default();
        !text.is_empty() && text.len() <= PASSWORD_BYTES_MAX && !text.contains('\0')
    }
}

impl Verified {
    /// There was nobody to ask: no configuration.
    #[must_use]
    pub const fn unconfigured() -> Self {
        Self {
            basis: None,
            found: Err("not configured"),
        }
    }

    pub(super) const fn of(basis: [u8; 32], found: Result<Known, &'static str>) -> Self {
        Self {
            basis: Some(basis),
            found,
        }
    }
}

/// The first step: finds what is to be asked. It plans nothing; its transaction is dropped.
///
/// # Errors
/// [`DamagedRow`]
pub fn prepare(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &LoginRequest,
    lockout: &Lockout,
) -> Result<Option<Challenge>, DamagedRow> {
    let Some(found) = kept::config::<Config>(txn, mount)? else {
        return Ok(None);
    };
    let mut question = question(&found.value, request);
    // A directory that locks people itself is spared the guesses.
    if question.is_ok() && Strangers::read(txn, mount, &request.username)?.is_locked(lockout, txn.now().0) {
        question = Err(LOCKED);
    }
    Ok(Some(Challenge {
        basis: found.digest,
        question,
    }))
}

fn question(config: &Config, request: &LoginRequest) -> Result<Question, &'static str> {
    if config.case_sensitive_names {
        return Err("case_sensitive_names");
    }
    let username = request.name().ok_or("no name")?;
    if !request.is_password() || !config.may_carry(&request.password) {
        return Err("no password");
    }
    let search = |filter: String| Search {
        base: config.user_dn.clone(),
        filter,
    };
    let find = if config.is_search() {
        let values = Values {
            user_attr: &config.user_attr,
            username: &username,
            user_dn: "",
        };
        Find::Search(search(template::fill(&config.user_filter, &values)))
    } else if config.upn_domain.is_empty() {
        let (attr, name) = (&config.user_attr, escape_dn(&username));
        Find::At(format!("{attr}={name},{}", config.user_dn))
    } else {
        let principal = format!("{username}@{}", config.upn_domain);
        let filter = format!("(userPrincipalName={})", escape_filter(&principal));
        Find::As(principal, search(filter))
    };
    let service = config.has_service().then(|| Service {
        dn: config.bind_dn.clone(),
        password: config.bind_password.duplicate(),
    });
    let is_grouped = !config.group_dn.is_empty() && !config.group_filter.is_empty();
    let groups = is_grouped.then(|| Groups {
        base: config.group_dn.clone(),
        attribute: config.group_attr.clone(),
        template: config.group_filter.clone(),
        user_attr: config.user_attr.clone(),
        username,
    });
    Ok(Question {
        places: config.places(),
        is_starttls: config.starttls,
        authority_pem: config.certificate.clone(),
        timeout: config.timeout(),
        service,
        find,
        password: request.password.duplicate(),
        alias_attribute: config.user_attr.clone(),
        groups,
    })
}

/// The last step: the plan.
///
/// # Errors
/// [`LoginError`]: after [`LoginError::Stale`] the login begins again with [`prepare`].
pub fn login(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &LoginRequest,
    verified: &Verified,
    lockout: &Lockout,
    client_address: &str,
) -> Result<Login, LoginError> {
    let because = LoginError::Because;
    let found = kept::config::<Config>(txn, mount)?;
    // What was asked by is what stands: the plan depends on this very row from here on.
    if found.as_ref().map(|found| found.digest) != verified.basis {
        return Err(LoginError::Stale);
    }
    let found = found.ok_or_else(|| because("not configured"))?;
    let (config, source) = (found.value, found.id);
    let known = known(txn, mount, request, verified, (lockout, &config), client_address)?;
    let username = request.name().ok_or_else(|| because("no name"))?;
    let alias = alias(&config, &username, known).map_err(because)?;
    if !is_allowed(&config.params.bound_cidrs, client_address) {
        return Err(because("address"));
    }
    let mut groups: BTreeSet<String> = known.groups.iter().map(|group| group.to_ascii_lowercase()).collect();
    // A group that was left out could be the one that denies something.
    if groups.len() > GROUPS_MAX || !groups.iter().all(|group| is_plain(group) && !group.is_empty()) {
        return Err(because("groups"));
    }
    let mut params = config.params;
    let mut policies: BTreeSet<String> = params.policies.drain(..).collect();
    // Not by what was typed: a filter may find somebody by what that one wrote of itself.
    if let Some(user) = find(txn, mount, Table::Users, &alias)? {
        policies.extend(user.policies);
        groups.extend(user.groups.iter().map(|group| group.to_ascii_lowercase()));
    }
    for group in &groups {
        // What is no entry's name has none.
        if is_name(group)
            && let Some(group) = find(txn, mount, Table::Groups, group)?
        {
            policies.extend(group.policies);
        }
    }
    if policies.len() > POLICIES_MAX {
        return Err(because("policies"));
    }
    params.policies = policies.into_iter().collect();
    Ok(Login {
        mount,
        path: format!("login/{username}"),
        alias: alias.clone(),
        display_name: alias.clone(),
        // As the alias: policies are written with it.
        metadata: [("username".to_owned(), alias)].into(),
        params,
        source: Some(source),
        entity: None,
        groups: groups.into_iter().collect(),
    })
}

/// Whom the directory let in, if it is not locked. A wrong password is counted though the plan is refused; for who is not where anybody can log in
/// from it is not, as such a one could lock others.
fn known<'a>(
    txn: &mut Txn<'_>,
    mount: ObjectId,
    request: &LoginRequest,
    verified: &'a Verified,
    (lockout, config): (&Lockout, &Config),
    client_address: &str,
) -> Result<&'a Known, LoginError> {
    let because = LoginError::Because;
    let failures = Strangers::read(txn, mount, &request.username)?;
    if failures.is_locked(lockout, txn.now().0) {
        return Err(because(LOCKED));
    }
    match &verified.found {
        Ok(known) => {
            failures.forget(txn, lockout);
            Ok(known)
        }
        Err(why) if *why == WRONG_PASSWORD && is_allowed(&config.params.bound_cidrs, client_address) => {
            Err(match failures.count(txn, lockout)? {
                true => LoginError::CountedBecause(why),
                false => because(why),
            })
        }
        Err(why) => Err(because(why)),
    }
}

/// What somebody is known by: what the directory says, so that all spellings of a name are one person's; or what was typed.
fn alias(config: &Config, username: &str, known: &Known) -> Result<String, &'static str> {
    if config.username_as_alias {
        return Ok(username.to_owned());
    }
    let [name] = &known.names[..] else {
        return Err("no alias");
    };
    let name = name.to_ascii_lowercase();
    if is_name(&name) { Ok(name) } else { Err("no alias") }
}

/// Why, for the record.
const LOCKED: &str = "locked";
/// As tokens of issuers name at most.
const GROUPS_MAX: usize = 1_000;
/// As many as a token has, beside `default`.
const POLICIES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kept::Config as _;

    fn config(further: &serde_json::Value) -> Config {
        let mut body =
            json!({ "url": "ldaps://a", "userdn": "ou=people,dc=x", "userattr": "uid", "groupdn": "ou=groups,dc=x" });
        for (name, value) in further.as_object().expect("is one") {
            body[name] = value.clone();
        }
        let body = Body::parse(body.to_string().as_bytes()).expect("is a body");
        Config::parse(&body, None).expect("can be kept")
    }

    fn asked(further: &serde_json::Value, name: &str, password: &str) -> Result<(String, String), &'static str> {
        let request = LoginRequest {
            username: name.to_owned(),
            password: SecretBytes::from(password.to_owned()),
        };
        let question = question(&config(further), &request)?;
        let groups = question
            .groups
            .map(|groups| groups.filter("uid=a\\,b,dc=x"))
            .unwrap_or_default();
        let find = match question.find {
            Find::Search(search) => format!("{} {}", search.base, search.filter),
            Find::At(dn) => dn,
            Find::As(name, search) => format!("{name} {} {}", search.base, search.filter),
        };
        Ok((find, groups))
    }

    #[test]
    fn a_user_is_found_as_it_is_configured() {
        let find = |further, name: &str| asked(&further, name, "p").map(|(find, _)| find).expect("is asked");
        assert_eq!(find(json!({}), "Ann"), "uid=ann,ou=people,dc=x");
        assert_eq!(find(json!({}), "a,b"), "uid=a\\,b,ou=people,dc=x");
        assert_eq!(find(json!({ "discoverdn": true }), "a*"), "ou=people,dc=x (uid=a\\2a)");
        let service = json!({ "binddn": "cn=s", "bindpass": "p", "userfilter": "(&(a=b)(mail={{.Username}}))" });
        assert_eq!(find(service, "x)(y=z"), "ou=people,dc=x (&(a=b)(mail=x\\29\\28y=z))");
        assert_eq!(
            find(json!({ "upndomain": "x.org" }), "a(b"),
            "a(b@x.org ou=people,dc=x (userPrincipalName=a\\28b@x.org)"
        );
    }

    #[test]
    fn groups_are_found_by_name_and_place() {
        let groups = |further| asked(&further, "a*", "p").map(|(_, groups)| groups).expect("is asked");
        assert_eq!(
            groups(json!({})),
            "(|(memberUid=a\\2a)(member=uid=a\\5c,b,dc=x)(uniqueMember=uid=a\\5c,b,dc=x))"
        );
        assert_eq!(groups(json!({ "groupdn": "" })), "");
        assert_eq!(groups(json!({ "groupfilter": "" })), "");
    }

    /// One that was written when names could have upper case is not read as if they could not.
    #[test]
    fn nobody_gets_in_by_a_setting_that_is_gone() {
        let body = json!({ "url": "ldaps://a", "userdn": "dc=x", "case_sensitive_names": true });
        let body = Body::parse(body.to_string().as_bytes()).expect("is a body");
        assert!(Config::parse(&body, None).is_err());
        let mut config = config(&json!({}));
        config.case_sensitive_names = true;
        let request = LoginRequest {
            username: "ann".to_owned(),
            password: SecretBytes::from("p".to_owned()),
        };
        assert_eq!(question(&config, &request).err(), Some("case_sensitive_names"));
        let any = Body::parse(br#"{"token_ttl":"1h"}"#).expect("is a body");
        assert!(
            Config::parse(&any, Some(&config)).is_err(),
            "it must be written as false"
        );
        let mended = Body::parse(br#"{"case_sensitive_names":false}"#).expect("is a body");
        assert!(Config::parse(&mended, Some(&config)).is_ok());
    }

    #[test]
    fn nobody_is_asked_about_what_is_nobodys() {
        for (name, password, why) in [
            ("", "p", "no name"),
            ("a/b", "p", "no name"),
            ("a\0", "p", "no name"),
            ("a", "", "no password"),
            ("a", "p\0", "no password"),
        ] {
            assert_eq!(asked(&json!({}), name, password), Err(why), "{name:?} {password:?}");
        }
        let plain = json!({ "url": "ldap://127.0.0.1" });
        assert_eq!(asked(&plain, "a", "p\r\nx"), Err("no password"));
        assert!(asked(&json!({}), "a", "p\r\nx").is_ok(), "behind TLS it is a password");
        let long = "p".repeat(1_025);
        assert_eq!(asked(&json!({}), "a", &long), Err("no password"));
    }
}
