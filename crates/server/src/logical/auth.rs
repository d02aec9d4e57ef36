//! `auth/`: tokens, which are there by themselves, and the auth methods that are mounted; and `cubbyhole/`, which belongs to a token.

use std::sync::Arc;

use aumbry_auth::identity::mfa;
use aumbry_auth::jwt::browser::{Begin, Callback};
use aumbry_auth::token::logical::RoleRequest;
use aumbry_auth::{
    Error, KeptRequest, LoginError, Voucher, approle, canonical, cert, cubbyhole, jwt, kubernetes, ldap, userpass,
};
use aumbry_logical::{Body, Verb};
use aumbry_node::method::{Asked as Method, LoginAsk, MethodAsk, Said, Shown, failure};
use aumbry_node::{Failure, Operation, Reply};
use aumbry_types::{Capability, MountPath, SecretBytes, SecretPath};
use serde_json::Value;

use super::content::Content;
use super::{Asked, Resolved, mismatched, no_route, table, token, unsupported};
use crate::member::Member;

/// Finds out what is asked below `auth/`.
pub(super) async fn resolve(member: &Member, asked: &Asked<'_>) -> Result<Resolved, Failure> {
    if asked.segments.get(1) == Some(&"token") {
        return table::resolve(asked);
    }
    let path = SecretPath::parse(&asked.segments[1..].join("/")).map_err(|_| no_route())?;
    let row = member
        .node
        .find_auth_mount(asked.namespace, &path)?
        .ok_or_else(no_route)?;
    let mount = MountPath::parse(&row.info.path).map_err(|error| Failure::internal(error.to_string()))?;
    let below = path.below(&mount).flatten();
    // Names of roles and users have no upper case: what is decided upon, recorded and parsed is one text.
    let typed = below.as_ref().map_or("", SecretPath::as_str);
    let below = canonical(typed);
    let full = format!("auth/{}/{below}", mount.as_str());
    table::check(&row.info.kind, &below, asked.verb)?;
    match row.info.kind.as_str() {
        "approle" => approle(asked, mount, &below, full),
        "userpass" => userpass(member, asked, mount, &below, full).await,
        "cert" => cert(asked, mount, &below, full),
        "jwt" | "oidc" => jwt_or_browser(asked, mount, &below, full),
        "ldap" => directory(asked, mount, (typed, &below), full),
        "kubernetes" => kept(asked, mount, &below, full, &KUBERNETES),
        _ => Err(no_route()),
    }
}

fn approle(asked: &Asked<'_>, mount: MountPath, below: &str, full: String) -> Result<Resolved, Failure> {
    if below == "login" {
        return login(asked, mount, full, |body| {
            approle::LoginRequest::parse(body).map(Shown::AppRole)
        });
    }
    let request = approle::Request::parse(asked.verb, below, asked.body.duplicate()).map_err(failure)?;
    Ok(method(asked, full, Method::AppRole(mount, request)))
}

/// A method of roles and a configuration.
struct Kept {
    parse_login: fn(&Body) -> Result<Shown, LoginError>,
    parse: fn(Verb, &str, Body) -> Result<KeptRequest, Error>,
    method: fn(MountPath, KeptRequest) -> Method,
}

const JWT: Kept = Kept {
    parse_login: |body| Voucher::parse(body).map(Shown::Jwt),
    parse: jwt::parse,
    method: Method::Jwt,
};
const KUBERNETES: Kept = Kept {
    parse_login: |body| Voucher::parse_with_role(body).map(Shown::Kubernetes),
    parse: kubernetes::parse,
    method: Method::Kubernetes,
};

fn jwt_or_browser(asked: &Asked<'_>, mount: MountPath, below: &str, full: String) -> Result<Resolved, Failure> {
    match (below, asked.verb) {
        ("oidc/auth_url", Verb::Write) => {
            let shown = Begin::parse(&asked.body).map(Shown::Begin);
            let shown = shown.unwrap_or_else(|error| Shown::Malformed(error.to_string()));
            let operation = Operation::Login(LoginAsk::new(mount, full, shown));
            Ok(Resolved::new(operation, told))
        }
        // A browser's answer is handed on as it came: as a query.
        ("oidc/callback", Verb::Read | Verb::Write) => {
            let shown = Callback::parse(&asked.body).map(Shown::Callback);
            Ok(logged_in(asked, mount, full, shown))
        }
        _ => kept(asked, mount, below, full, &JWT),
    }
}

fn kept(asked: &Asked<'_>, mount: MountPath, below: &str, full: String, kept: &Kept) -> Result<Resolved, Failure> {
    if below == "login" {
        return login(asked, mount, full, kept.parse_login);
    }
    let request = (kept.parse)(asked.verb, below, asked.body.duplicate()).map_err(failure)?;
    Ok(method(asked, full, (kept.method)(mount, request)))
}

fn cert(asked: &Asked<'_>, mount: MountPath, below: &str, full: String) -> Result<Resolved, Failure> {
    if below == "login" {
        let chain = &asked.request.evidence.certificates;
        return login(asked, mount, full, |body| {
            cert::LoginRequest::parse(body, chain).map(Shown::Cert)
        });
    }
    let request = cert::Request::parse(asked.verb, below, asked.body.duplicate()).map_err(failure)?;
    Ok(method(asked, full, Method::Cert(mount, request)))
}

/// A directory may tell upper from lower case: the name of a login is taken as it was typed, and decided upon as all are.
fn directory(
    asked: &Asked<'_>,
    mount: MountPath,
    (typed, below): (&str, &str),
    full: String,
) -> Result<Resolved, Failure> {
    if below.starts_with("login/") {
        return login(asked, mount, full, |body| {
            ldap::LoginRequest::parse(typed, body).map(Shown::Ldap)
        });
    }
    let request = ldap::Request::parse(asked.verb, below, asked.body.duplicate()).map_err(failure)?;
    Ok(method(asked, full, Method::Ldap(mount, request)))
}

async fn userpass(
    member: &Member,
    asked: &Asked<'_>,
    mount: MountPath,
    below: &str,
    full: String,
) -> Result<Resolved, Failure> {
    if below.starts_with("login/") {
        return login(asked, mount, full, |body| {
            userpass::LoginRequest::parse(below, body).map(|shown| Shown::Userpass(Arc::new(shown)))
        });
    }
    let request = userpass::Request::parse(asked.verb, below, asked.body.duplicate()).map_err(failure)?;
    // Hashing is dear: it is done for those alone who may ask for it. The plan decides again.
    let writing = [Capability::Create, Capability::Update];
    if request.has_password() && !member.node.may(asked.request, asked.namespace, &full, &writing) {
        return Err(Failure::denied());
    }
    let request = member.node.hash_password(request, asked.request.deadline).await?;
    Ok(method(asked, full, Method::Userpass(mount, request)))
}

fn login(
    asked: &Asked<'_>,
    mount: MountPath,
    path: String,
    parse: impl FnOnce(&Body) -> Result<Shown, LoginError>,
) -> Result<Resolved, Failure> {
    if asked.verb != Verb::Write {
        return Err(unsupported());
    }
    Ok(logged_in(asked, mount, path, parse(&asked.body)))
}

fn logged_in(asked: &Asked<'_>, mount: MountPath, path: String, shown: Result<Shown, LoginError>) -> Resolved {
    let given = asked.codes.iter();
    let codes = mfa::Codes::new(given.map(|(method, code)| (method.clone(), code.duplicate())));
    // Who may log in holds no token, and is told what is wrong all the same.
    let ask = match (shown, codes) {
        (Ok(shown), Ok(codes)) => LoginAsk {
            codes,
            ..LoginAsk::new(mount, path, shown)
        },
        (Err(error), _) => LoginAsk::new(mount, path, Shown::Malformed(error.to_string())),
        (_, Err(error)) => LoginAsk::new(mount, path, Shown::Malformed(error.to_string())),
    };
    let operation = Operation::Login(ask);
    Resolved::new(operation, |_, reply| match reply {
        Reply::NewToken(new) => token::made(&new),
        Reply::LoginWaits(waits) => token::waits(&waits),
        _ => Err(mismatched()),
    })
}

/// The codes of a login that waits for them.
pub(super) fn second_factor(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let shown = match mfa::Validation::parse(&asked.body) {
        Ok(codes) => Shown::SecondFactor(codes),
        Err(error) => Shown::Malformed(error.to_string()),
    };
    let operation = Operation::Login(LoginAsk::second_factor(shown)?);
    Ok(Resolved::new(operation, |_, reply| match reply {
        Reply::NewToken(new) => token::made(&new),
        _ => Err(mismatched()),
    }))
}

/// The roles of tokens.
pub(super) fn token_roles(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = canonical(&asked.segments[2..].join("/"));
    let request = RoleRequest::parse(asked.verb, &below, asked.body.duplicate()).map_err(failure)?;
    Ok(method(asked, format!("auth/token/{below}"), Method::TokenRole(request)))
}

/// What a token keeps for itself.
pub(super) fn cubbyhole(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = asked.segments[1..].join("/");
    let request = cubbyhole::Request::parse(asked.verb, &below, &asked.body).map_err(failure)?;
    Ok(method(asked, format!("cubbyhole/{below}"), Method::Cubbyhole(request)))
}

pub(super) fn method(asked: &Asked<'_>, path: String, what: Method) -> Resolved {
    let operation = Operation::Method(MethodAsk {
        path,
        verb: asked.verb,
        asked: what,
        said: said(&asked.body),
    });
    Resolved::new(operation, told)
}

/// What is told of a method that speaks JSON by itself.
fn told(_: &Member, reply: Reply) -> Result<Content, Failure> {
    let Reply::Json { data, warnings } = reply else {
        return Err(mismatched());
    };
    Ok(Content {
        data: (!data.is_empty()).then_some(data),
        warnings,
        ..Content::default()
    })
}

/// What the body says, for the record: settings as they are, all else by its keyed digest. A name that is no setting could itself be a secret.
fn said(body: &Body) -> Vec<Said> {
    let of = |(name, value): (&String, &Value)| {
        let is_clear = CLEAR.contains(&name.as_str());
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Said {
            name: if is_clear || HIDDEN.contains(&name.as_str()) {
                name.clone()
            } else {
                "other".to_owned()
            },
            value: SecretBytes::from(text),
            is_clear: is_clear && value.to_string().len() <= CLEAR_BYTES_MAX,
        }
    };
    body.object().iter().map(of).collect()
}

/// Settings that hold no secret: names of policies, times, counts, addresses, flags.
const CLEAR: &[&str] = &[
    "after",
    "allowed_policies",
    "allowed_policies_glob",
    "bind_secret_id",
    "bound_cidr_list",
    "bound_cidrs",
    "cidr_list",
    "disallowed_policies",
    "disallowed_policies_glob",
    "explicit_max_ttl",
    "limit",
    "local_secret_ids",
    "max_ttl",
    "num_uses",
    "orphan",
    "path_suffix",
    "period",
    "policies",
    "renewable",
    "secret_id_accessor",
    "secret_id_bound_cidrs",
    "secret_id_num_uses",
    "secret_id_ttl",
    "token_bound_cidrs",
    "token_explicit_max_ttl",
    "token_max_ttl",
    "token_no_default_policy",
    "token_num_uses",
    "token_period",
    "token_policies",
    "token_ttl",
    "token_type",
    "ttl",
    "version",
    "allowed_entity_aliases",
    "token_strictly_bind_ip",
    "no_default_policy",
    "type",
    "lease",
    "no_parent",
    "canonical_id",
    "disabled",
    "entity_id",
    "entity_ids",
    "force",
    "from_entity_ids",
    "member_entity_ids",
    "member_group_ids",
    "mount_accessor",
    "to_entity_id",
    "alias_name_source",
    "allowed_redirect_uris",
    "allowed_common_names",
    "allowed_dns_sans",
    "allowed_email_sans",
    "allowed_names",
    "allowed_organizational_units",
    "allowed_uri_sans",
    "require_crl",
    "enabled",
    "interval",
    "max_operations",
    "required_extensions",
    "audience",
    "bound_audiences",
    "bound_claims_type",
    "bound_issuer",
    "bound_service_account_names",
    "bound_service_account_namespaces",
    "bound_subject",
    "default_role",
    "disable_binding",
    "groups_claim",
    "jwks_url",
    "max_age",
    "oidc_client_id",
    "oidc_response_mode",
    "oidc_response_types",
    "oidc_scopes",
    "jwt_supported_algs",
    "kubernetes_host",
    "oidc_discovery_url",
    "role_type",
    "user_claim",
    "user_claim_json_pointer",
    "binddn",
    "case_sensitive_names",
    "deny_null_bind",
    "discoverdn",
    "groupattr",
    "groupdn",
    "groupfilter",
    "groups",
    "request_timeout",
    "starttls",
    "upndomain",
    "userattr",
    "userdn",
    "userfilter",
    "username_as_alias",
    "inheritable",
    "kind",
    "max_leases",
    "max_objects",
    "require_verification",
    "secret_shares",
    "secret_threshold",
    "rotate_root",
];
/// Those that do.
// A recipient is no secret, and the identity beside it, which somebody may paste in its place, is.
const HIDDEN: [&str; 20] = [
    "age_recipients",
    "policy",
    "metadata",
    "meta",
    "password",
    "password_hash",
    "role_id",
    "secret_id",
    "bindpass",
    "bound_claims",
    "certificate",
    "claim_mappings",
    "crl",
    "display_name",
    "jwt",
    "jwt_validation_pubkeys",
    "oidc_client_secret",
    "pem_keys",
    "token_reviewer_jwt",
    "url",
];
/// Longer ones are told by their digest, not by a part.
const CLEAR_BYTES_MAX: usize = 400;
