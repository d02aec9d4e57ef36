//! How the method is set up: which directory, how it is searched, and what tokens are like.

use std::time::Duration;

use aumbry_logical::{Body, Object};
use aumbry_types::{SecretBytes, exposed};
use serde::{Deserialize, Serialize};

use super::place::Place;
use super::template::{self, USER_ATTR, USER_DN, USERNAME, Unfit};
use crate::answer::{Error, object};
use crate::params::{OldNames, TokenParams};
use crate::{fields, kept};

/// How the method is set up.
#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    /// As it was written: one or more, with commas.
    pub(super) url: String,
    pub(super) starttls: bool,
    pub(super) certificate: String,
    pub(super) bind_dn: String,
    #[serde(with = "exposed")]
    pub(super) bind_password: SecretBytes,
    pub(super) user_dn: String,
    pub(super) user_attr: String,
    pub(super) user_filter: String,
    pub(super) upn_domain: String,
    pub(super) discover_dn: bool,
    pub(super) group_dn: String,
    pub(super) group_filter: String,
    pub(super) group_attr: String,
    /// Not offered any more. Where it stands still, nobody gets in until it is written as false: people whom it told apart would become one.
    pub(super) case_sensitive_names: bool,
    pub(super) username_as_alias: bool,
    timeout_s: u64,
    pub(super) params: TokenParams,
}

impl Config {
    fn new() -> Self {
        Self {
            url: String::new(),
            starttls: false,
            certificate: String::new(),
            bind_dn: String::new(),
            bind_password: SecretBytes::default(),
            user_dn: String::new(),
            user_attr: ATTRIBUTE.to_owned(),
            user_filter: USER_FILTER.to_owned(),
            upn_domain: String::new(),
            discover_dn: false,
            group_dn: String::new(),
            group_filter: GROUP_FILTER.to_owned(),
            group_attr: ATTRIBUTE.to_owned(),
            case_sensitive_names: false,
            username_as_alias: false,
            timeout_s: TIMEOUT_S,
            params: TokenParams::new(),
        }
    }

    fn duplicate(&self) -> Self {
        Self {
            url: self.url.clone(),
            certificate: self.certificate.clone(),
            bind_dn: self.bind_dn.clone(),
            bind_password: self.bind_password.duplicate(),
            user_dn: self.user_dn.clone(),
            user_attr: self.user_attr.clone(),
            user_filter: self.user_filter.clone(),
            upn_domain: self.upn_domain.clone(),
            group_dn: self.group_dn.clone(),
            group_filter: self.group_filter.clone(),
            group_attr: self.group_attr.clone(),
            params: self.params.clone(),
            ..*self
        }
    }

    /// The servers; nothing if the address cannot be read.
    pub(super) fn places(&self) -> Vec<Place> {
        let places: Option<Vec<Place>> = self.url.split(',').map(Place::parse).collect();
        places.filter(|places| places.len() <= PLACES_MAX).unwrap_or_default()
    }

    pub(super) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Whether users are searched before their passwords are tried.
    pub(super) fn is_search(&self) -> bool {
        self.discover_dn || self.has_service()
    }

    pub(super) fn has_service(&self) -> bool {
        !self.bind_dn.is_empty() && !self.bind_password.is_empty()
    }

    /// Whether a password may be sent as it is. What listens on a port of this machine may be no directory, and take lines for commands.
    pub(super) fn may_carry(&self, password: &SecretBytes) -> bool {
        let is_tls = self.starttls || self.places().iter().all(|place| place.is_tls);
        is_tls || !password.expose().iter().any(u8::is_ascii_control)
    }

    fn check(&self) -> Result<(), Error> {
        let places = self.places();
        if places.is_empty() {
            return Err(Error::Invalid(
                "url is `ldaps://HOST[:PORT]` or `ldap://HOST[:PORT]`, or up to 8 of them with commas between, without anything after the port",
            ));
        }
        if places
            .iter()
            .any(|place| !place.is_tls && !self.starttls && !place.is_here())
        {
            return Err(Error::Invalid(
                "over ldap:// passwords would cross the network in clear: set starttls, or use ldaps://; without either, only this machine is asked",
            ));
        }
        if self.user_dn.is_empty() {
            return Err(Error::Invalid("userdn must be set: below it, users are looked for"));
        }
        if !is_attribute(&self.user_attr) || !is_attribute(&self.group_attr) {
            return Err(Error::Invalid(
                "userattr and groupattr are names of attributes: a letter, then letters, digits and `-`",
            ));
        }
        if !self.bind_dn.is_empty() && self.bind_password.is_empty() {
            return Err(Error::Invalid(
                "binddn needs bindpass: without one, directories take it for nobody. It is forgotten when url changes; send it again",
            ));
        }
        if !self.may_carry(&self.bind_password) {
            return Err(Error::Invalid("without TLS, bindpass has no control characters"));
        }
        if self.bind_dn.is_empty() && !self.bind_password.is_empty() {
            return Err(Error::Invalid("bindpass needs binddn, whose it is"));
        }
        check_filter(&self.user_filter, &[USER_ATTR, USERNAME])?;
        if !self.group_filter.is_empty() {
            check_filter(&self.group_filter, &[USER_ATTR, USERNAME, USER_DN])?;
        }
        let is_domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        if !self.upn_domain.chars().all(is_domain) {
            return Err(Error::Invalid("upndomain is a domain, such as example.com"));
        }
        if self.case_sensitive_names {
            return Err(Error::Invalid(
                "case_sensitive_names is not offered: directories compare names without regard to case, and the paths of users and groups here, which policies \
                 and records name, are in lower case; leave it out, or write false",
            ));
        }
        if !(1..=TIMEOUT_S_MAX).contains(&self.timeout_s) {
            return Err(Error::Invalid("request_timeout is 1 to 30 seconds"));
        }
        Ok(())
    }
}

impl kept::Stored for Config {}

impl kept::Config for Config {
    /// What the body does not name stays as it is, as Vault has it.
    fn parse(body: &Body, before: Option<&Self>) -> Result<Self, Error> {
        refuse(body)?;
        let mut config = before.map_or_else(Self::new, Self::duplicate);
        let text = |field: &'static str, value: &mut String| -> Result<(), Error> {
            if let Some(text) = fields::text(body, field)? {
                text.trim().clone_into(value);
            }
            Ok(())
        };
        let flag = |field: &'static str, value: &mut bool| -> Result<(), Error> {
            *value = body.flag(field)?.unwrap_or(*value);
            Ok(())
        };
        text("url", &mut config.url)?;
        text("binddn", &mut config.bind_dn)?;
        text("userdn", &mut config.user_dn)?;
        text("userattr", &mut config.user_attr)?;
        text("userfilter", &mut config.user_filter)?;
        text("upndomain", &mut config.upn_domain)?;
        text("groupdn", &mut config.group_dn)?;
        text("groupfilter", &mut config.group_filter)?;
        text("groupattr", &mut config.group_attr)?;
        flag("starttls", &mut config.starttls)?;
        flag("discoverdn", &mut config.discover_dn)?;
        flag("case_sensitive_names", &mut config.case_sensitive_names)?;
        flag("username_as_alias", &mut config.username_as_alias)?;
        for (value, usual) in [
            (&mut config.user_attr, ATTRIBUTE),
            (&mut config.group_attr, ATTRIBUTE),
            (&mut config.user_filter, USER_FILTER),
        ] {
            if value.is_empty() {
                usual.clone_into(value);
            }
        }
        if body.get("certificate").is_some() {
            config.certificate = fields::certificates_pem(body, "certificate")?;
        }
        // Another server, or another account, never gets the password of the one before.
        let is_moved = before.is_some_and(|before| before.url != config.url || before.bind_dn != config.bind_dn);
        match body.secret("bindpass")? {
            Some(given) => config.bind_password = given,
            None if is_moved => config.bind_password = SecretBytes::default(),
            None => {}
        }
        if config.bind_password.len() > PASSWORD_BYTES_MAX || config.bind_password.expose_str().is_none() {
            return Err(Error::Invalid("bindpass is a text of at most 1,024 bytes"));
        }
        config.timeout_s = body.seconds("request_timeout")?.unwrap_or(config.timeout_s);
        config.params.merge(body, OldNames(&[]))?;
        config.check()?;
        Ok(config)
    }

    fn render(&self) -> Object {
        let mut data = object([
            ("binddn", self.bind_dn.clone().into()),
            ("bindpass_set", (!self.bind_password.is_empty()).into()),
            ("case_sensitive_names", self.case_sensitive_names.into()),
            ("certificate", self.certificate.clone().into()),
            ("deny_null_bind", true.into()),
            ("discoverdn", self.discover_dn.into()),
            ("groupattr", self.group_attr.clone().into()),
            ("groupdn", self.group_dn.clone().into()),
            ("groupfilter", self.group_filter.clone().into()),
            ("insecure_tls", false.into()),
            ("request_timeout", self.timeout_s.into()),
            ("starttls", self.starttls.into()),
            ("upndomain", self.upn_domain.clone().into()),
            ("url", self.url.clone().into()),
            ("userattr", self.user_attr.clone().into()),
            ("userdn", self.user_dn.clone().into()),
            ("userfilter", self.user_filter.clone().into()),
            ("username_as_alias", self.username_as_alias.into()),
        ]);
        self.params.render(&mut data);
        data
    }
}

/// What Vault knows and is not offered here. It is not passed over: it would change who gets in.
fn refuse(body: &Body) -> Result<(), Error> {
    if body.flag("insecure_tls")? == Some(true) {
        return Err(Error::Invalid(
            "insecure_tls is not offered: anybody could answer for the directory; set certificate to the authority of its certificate",
        ));
    }
    if body.flag("deny_null_bind")? == Some(false) {
        return Err(Error::Invalid(
            "deny_null_bind cannot be false: an empty password is always refused, as directories take it for nobody's",
        ));
    }
    if body.flag("use_token_groups")? == Some(true) {
        return Err(Error::Invalid(
            "use_token_groups is not offered: a groupfilter with member:1.2.840.113556.1.4.1941:={{.UserDN}} finds nested groups",
        ));
    }
    if body.flag("anonymous_group_search")? == Some(true) {
        return Err(Error::Invalid(
            "anonymous_group_search is not offered: groups are searched by binddn, or by the user who logs in",
        ));
    }
    let is_given = |field| body.text(field).map(|text| text.is_some_and(|text| !text.is_empty()));
    if is_given("client_tls_cert")? || is_given("client_tls_key")? {
        return Err(Error::Invalid(
            "client_tls_cert is not offered: binddn and bindpass say who searches",
        ));
    }
    Ok(())
}

fn check_filter(filter: &str, known: &[&str]) -> Result<(), Error> {
    template::check(filter, known).map_err(|unfit| {
        Error::Invalid(match unfit {
            Unfit::Placeholder => {
                "a filter has no other places than {{.UserAttr}}, {{.Username}} and, in groupfilter, {{.UserDN}}"
            }
            Unfit::Form => {
                "a filter is one pair of parentheses with all in it, up to 16 deep; parentheses in values are \\28 and \\29"
            }
        })
    })
}

fn is_attribute(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.len() <= ATTRIBUTE_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_fine)
}

/// As Vault has them.
const ATTRIBUTE: &str = "cn";
const USER_FILTER: &str = "({{.UserAttr}}={{.Username}})";
const GROUP_FILTER: &str = "(|(memberUid={{.Username}})(member={{.UserDN}})(uniqueMember={{.UserDN}}))";
/// More servers than anybody has of one tree; they share the time of a login.
const PLACES_MAX: usize = 8;
const ATTRIBUTE_BYTES_MAX: usize = 64;
/// As long as any other password.
pub(super) const PASSWORD_BYTES_MAX: usize = 1_024;
/// As for any other service that vouches: one on the other side of the world answers within a second.
const TIMEOUT_S: u64 = 5;
/// Each login that waits has a place among the requests of all.
const TIMEOUT_S_MAX: u64 = 30;
