//! `identity/`: entities, aliases and groups.

use aumbry_auth::identity::mfa;
use aumbry_auth::{canonical, identity};
use aumbry_node::Failure;
use aumbry_node::method::{Asked as Method, failure};

use super::{Asked, Resolved, auth};

/// Finds out what is asked of entities and groups. Names of aliases stand in bodies, as they are.
pub(super) fn resolve(asked: &Asked<'_>, _: &[String]) -> Result<Resolved, Failure> {
    let below = canonical(&asked.segments[1..].join("/"));
    if let Some(below_mfa) = below.strip_prefix("mfa/") {
        let request = mfa::Request::parse(asked.verb, below_mfa, asked.body.duplicate()).map_err(failure)?;
        return Ok(auth::method(asked, format!("identity/{below}"), Method::Mfa(request)));
    }
    let request = identity::Request::parse(asked.verb, &below, asked.body.duplicate()).map_err(failure)?;
    Ok(auth::method(
        asked,
        format!("identity/{below}"),
        Method::Identity(request),
    ))
}
