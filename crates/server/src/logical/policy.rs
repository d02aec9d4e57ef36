//! `sys/policy/` and `sys/policies/acl/`: policies, under their old path and their new one.

use aumbry_logical::Verb;
use aumbry_node::method::Asked as Method;
use aumbry_node::{ExplainAsk, Failure, Operation, Reply, TokenName, Whose, passwords};
use aumbry_types::{Capability, Name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::content::Content;
use super::{Asked, Resolved, auth, malformed, mismatched, unsupported};

/// The names of all policies.
pub(super) fn list(_: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(Resolved::new(Operation::PolicyList, |_, reply| match reply {
        // The old path has them under the other name.
        Reply::Names(names) => Content::data(&json!({ "keys": &names, "policies": &names })),
        _ => Err(mismatched()),
    }))
}

/// One, under its old path.
pub(super) fn old(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    one(asked, &names[0], asked.verb, "rules")
}

/// One, under its new path.
pub(super) fn new(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    one(asked, &names[0], asked.verb, "policy")
}

/// Why a token may do something, or not.
pub(super) fn explain(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let body = &asked.body;
    let token = body
        .secret("token")
        .map_err(malformed)?
        .filter(|token| !token.is_empty());
    let accessor = body
        .text("accessor")
        .map_err(malformed)?
        .filter(|text| !text.is_empty());
    let policies = body.texts("policies").map_err(malformed)?;
    let whose = match (token, accessor, policies) {
        (Some(token), None, None) => Whose::Token(TokenName::Text(token)),
        (None, Some(accessor), None) => Whose::Token(TokenName::Accessor(accessor)),
        (None, None, Some(names)) => {
            let names = names.iter().map(|name| Name::parse(&name.to_ascii_lowercase()));
            let names: Result<Vec<Name>, _> = names.collect();
            Whose::Policies(names.map_err(|error| Failure::invalid(error.to_string()))?)
        }
        (None, None, None) => Whose::Token(TokenName::Own),
        _ => return Err(Failure::invalid("name one of token, accessor and policies")),
    };
    let path = body.required_text("path").map_err(malformed)?;
    let capability = body.required_text("capability").map_err(malformed)?;
    let capability = Capability::ALL.into_iter().find(|known| known.as_str() == capability);
    let parameters = match body.get("parameters") {
        None | Some(Value::Null) => None,
        Some(Value::Object(parameters)) => Some(parameters.clone()),
        Some(_) => {
            return Err(Failure::invalid(
                "parameters must be an object: the body of the request",
            ));
        }
    };
    let operation = Operation::PolicyExplain(ExplainAsk {
        whose,
        path: path.strip_prefix('/').unwrap_or(&path).to_owned(),
        capability: capability.ok_or_else(|| {
            Failure::invalid("capability is create, read, update, patch, delete, list, scan or subscribe")
        })?,
        is_protected: body.flag("sudo").map_err(malformed)?.unwrap_or(false),
        parameters,
        wrap_ttl_s: body.seconds("wrap_ttl").map_err(malformed)?.filter(|ttl_s| *ttl_s > 0),
    });
    Ok(Resolved::new(operation, |_, reply| match reply {
        Reply::Json { data, warnings } => Ok(Content {
            data: Some(data),
            warnings,
            ..Content::default()
        }),
        _ => Err(mismatched()),
    }))
}

/// `field` is the name of the text in bodies.
fn one(asked: &Asked<'_>, name: &str, verb: Verb, field: &'static str) -> Result<Resolved, Failure> {
    let name = parse_name(name)?;
    Ok(match verb {
        Verb::Read => {
            let told = name.as_str().to_owned();
            Resolved::new(Operation::PolicyRead(name), move |_, reply| match reply {
                Reply::Policy(text) => Content::data(&json!({ "name": told, field: text })),
                _ => Err(mismatched()),
            })
        }
        Verb::Write => {
            let text = match asked.body.text(field).map_err(malformed)? {
                Some(text) => text,
                // The new path takes the old name as well, and the other way round.
                None => asked.body.required_text("policy").map_err(malformed)?,
            };
            Resolved::silent(Operation::PolicyWrite(name, decode(text)))
        }
        Verb::Delete => Resolved::silent(Operation::PolicyDelete(name)).or_absent(),
        Verb::Patch | Verb::List | Verb::Scan => return Err(unsupported()),
    })
}

/// The names of the policies of passwords.
pub(super) fn password_policies(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    Ok(of_passwords(asked, "", passwords::Request::List))
}

/// A policy of passwords.
pub(super) fn password_policy(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    let name = parse_name(&names[0])?;
    let below = format!("/{}", name.as_str());
    let request = match asked.verb {
        Verb::Read => passwords::Request::Read(name),
        Verb::Write => {
            let text = asked.body.required_text("policy").map_err(malformed)?;
            passwords::Request::Write(name, decode(text))
        }
        Verb::Delete => passwords::Request::Delete(name),
        Verb::Patch | Verb::List | Verb::Scan => return Err(unsupported()),
    };
    Ok(of_passwords(asked, &below, request))
}

/// Makes a password.
pub(super) fn password(asked: &Asked<'_>, names: &[String]) -> Result<Resolved, Failure> {
    let name = parse_name(&names[0])?;
    let below = format!("/{}/generate", name.as_str());
    Ok(of_passwords(asked, &below, passwords::Request::Generate(name)))
}

fn of_passwords(asked: &Asked<'_>, below: &str, request: passwords::Request) -> Resolved {
    let path = format!("sys/policies/password{below}");
    auth::method(asked, path, Method::Password(request))
}

/// As in Vault, where names of policies have no case. What else is no name is refused.
fn parse_name(text: &str) -> Result<Name, Failure> {
    Name::parse(&text.to_ascii_lowercase()).map_err(|error| Failure::invalid(error.to_string()))
}

/// Some clients send the text in base64, as the interface allows.
fn decode(text: String) -> String {
    // A policy has braces, which base64 has not.
    let decoded = STANDARD.decode(text.trim()).ok();
    decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}
