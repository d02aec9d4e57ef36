//! What a single rule says of itself.

use aumbry_types::{Capabilities, Capability};

use super::{Facts, Finding, Looked, Severity};
use crate::index::Index;
use crate::moment;
use crate::parameters::ANY;
use crate::pattern::Pattern;
use crate::restrictions::LIMIT;

pub(super) fn look(looked: &Looked<'_>, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let mut tell = |severity, kind, message: String| findings.push(looked.finding(severity, kind, message));
    expiry(looked, facts, &mut tell);
    templates(looked, &mut tell);
    if looked.rule.denies() {
        deny(looked, &mut tell);
        return;
    }
    routes(looked, facts, &mut tell);
    effects(looked, &mut tell);
    breadth(looked, &mut tell);
}

fn expiry(looked: &Looked<'_>, facts: &Facts<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    if let (Some(now), Some(expires)) = (facts.now, looked.rule.expires())
        && now > expires
    {
        let since = moment::show(expires);
        tell(
            Severity::Warning,
            "expired",
            format!("the rule is over since {since}: remove it, or set a later expiration"),
        );
    }
}

fn templates(looked: &Looked<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    let Some(template) = looked.rule.template() else {
        return;
    };
    if template.is_joined() {
        let text = "a template shares its segment with other text, so different identities can come to one path (\"ab\" and \"c\", \"a\" and \"bc\", or \"bob\" and \"bobby\" before *): put slashes around it";
        tell(Severity::Warning, "joined-template", text.to_owned());
    }
    if template.is_by_name() {
        let text = "names of entities and groups can be given to others later: use the id";
        tell(Severity::Note, "template-by-name", text.to_owned());
    }
    if looked.rule.denies() {
        let text = "whoever has no usable value for the template is denied all that it could mean, for any value";
        tell(Severity::Note, "deny-template", text.to_owned());
    }
}

fn deny(looked: &Looked<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    let rule = looked.rule;
    if rule.capabilities() != Capabilities::NONE.with(Capability::Deny) {
        let text = "deny takes back all other capabilities of the rule: leave them out, or leave deny out";
        tell(Severity::Warning, "deny-and-more", text.to_owned());
    }
    if rule.restrictions().is_some() {
        let text = "deny refuses whatever the request says: remove the restrictions, or give capabilities instead";
        tell(Severity::Warning, "no-effect", text.to_owned());
    }
}

/// Rules about a versioned key-value engine name its routes.
fn routes(looked: &Looked<'_>, facts: &Facts<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    let pattern = looked.rule.pattern();
    let mounts = facts.mounts.iter().map(|mount| mount.trim_end_matches('/'));
    let below = mounts.filter_map(|mount| Some((mount, pattern.strip_prefix(mount)?.strip_prefix('/')?)));
    let Some((mount, rest)) = below.max_by_key(|(mount, _)| mount.len()) else {
        return;
    };
    let route = rest.split('/').next().unwrap_or_default();
    if route.is_empty() || route.starts_with(['*', '+', '{']) {
        return;
    }
    let Some((_, known)) = ROUTES.iter().find(|(known, _)| *known == route) else {
        // `data*` and such begin with a route.
        let begin = route.strip_suffix('*');
        if !begin.is_some_and(|begin| ROUTES.iter().any(|(known, _)| known.starts_with(begin))) && route != "config" {
            let text = format!(
                "it matches nothing: write \"{mount}/data/{rest}\" for values and \"{mount}/metadata/{rest}\" for lists, or a block secret \"{mount}/{rest}\""
            );
            tell(Severity::Warning, "no-route", text);
        }
        return;
    };
    let useless: Vec<&str> = looked
        .rule
        .capabilities()
        .iter()
        .filter(|capability| {
            !known.contains(capability) && !matches!(capability, Capability::Sudo | Capability::Subscribe)
        })
        .map(Capability::as_str)
        .collect();
    if !useless.is_empty() {
        let of: Vec<&str> = known.iter().map(|capability| capability.as_str()).collect();
        let hint = if route == "data" {
            format!("; lists are of {mount}/metadata/")
        } else {
            String::new()
        };
        let text = format!(
            "nothing asks for {} here, only for {}{hint}",
            useless.join(", "),
            of.join(", ")
        );
        tell(Severity::Warning, "useless-capability", text);
    }
    if let ("data", Some(restrictions)) = (route, looked.rule.restrictions()) {
        let parameters = &restrictions.parameters;
        let names = parameters
            .allowed
            .keys()
            .chain(parameters.denied.keys())
            .chain(&parameters.required);
        if names
            .into_iter()
            .any(|name| !["data", "options", ANY].contains(&name.as_str()))
        {
            let text = "the parameters of this route are data and options; the keys of a secret cannot be restricted";
            tell(Severity::Warning, "kv-parameters", text.to_owned());
        }
    }
}

/// Restrictions and capabilities that change nothing.
fn effects(looked: &Looked<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    let gives = looked.rule.capabilities();
    let has = |wanted: &[Capability]| wanted.iter().any(|capability| gives.contains(*capability));
    if gives == Capabilities::NONE.with(Capability::Sudo) {
        let text = "sudo alone allows nothing: a protected path needs the plain capability of the same pattern too";
        tell(Severity::Warning, "sudo-alone", text.to_owned());
    }
    let Some(restrictions) = looked.rule.restrictions() else {
        return;
    };
    let is_list = has(&[Capability::List, Capability::Scan]);
    if restrictions.pagination_limit.is_some() && !is_list {
        let text = "pagination_limit is about list and scan, which the rule does not give";
        tell(Severity::Warning, "no-effect", text.to_owned());
    }
    let parameters = &restrictions.parameters;
    let is_only_limit = parameters.allowed.is_empty()
        && parameters.denied.is_empty()
        && parameters.required.iter().all(|name| name == LIMIT);
    let is_write = has(&[
        Capability::Create,
        Capability::Update,
        Capability::Patch,
        Capability::Read,
    ]);
    if !(parameters.is_empty() || is_write || is_only_limit && is_list) {
        let text = "parameters are restricted for create, update, patch and read, none of which the rule gives";
        tell(Severity::Warning, "no-effect", text.to_owned());
    }
}

/// More than anybody needs.
fn breadth(looked: &Looked<'_>, tell: &mut impl FnMut(Severity, &'static str, String)) {
    let (pattern, gives) = (looked.rule.pattern(), looked.rule.capabilities());
    let changing: Vec<&str> = gives
        .iter()
        .filter(|c| CHANGING.contains(c))
        .map(Capability::as_str)
        .collect();
    let changing = changing.join(", ");
    let is_wild = pattern.contains(['*', '+']);
    let (first, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
    let is_everywhere = first.contains(['*', '+']);
    if is_everywhere && !changing.is_empty() {
        let text = format!(
            "it gives {changing} on every mount that it matches, sys and auth among them perhaps: begin with a mount"
        );
        tell(Severity::Warning, "broad", text);
    } else if matches!(first, "sys" | "auth") && !rest.contains('/') && is_wild && !changing.is_empty() {
        let text = format!(
            "it gives {changing} on all of {first}, which amounts to running the store: name the paths that are needed"
        );
        tell(Severity::Warning, "broad", text);
    }
    if gives.contains(Capability::Sudo) && is_wild {
        let text = "sudo on a wildcard covers protected paths that nobody thought of: name each path that needs it";
        tell(Severity::Warning, "broad-sudo", text.to_owned());
    }
    let writes = gives.contains(Capability::Create) || gives.contains(Capability::Update);
    if writes && !is_everywhere && is_wild && matches(pattern, "sys/policies/acl/any") {
        let text = "whoever writes any policy can have every right: name the policies that may be written";
        tell(Severity::Warning, "writes-policies", text.to_owned());
    }
    if let Some(begin) = pattern
        .strip_suffix('*')
        .filter(|begin| !begin.is_empty() && !begin.ends_with(['/', '}']))
    {
        let last = begin.rsplit('/').next().unwrap_or(begin);
        let text = format!(
            "it matches every name that begins with \"{last}\", not that one alone: end with /* if a directory is meant"
        );
        tell(Severity::Note, "open-prefix", text);
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    Pattern::parse(pattern).is_ok_and(|pattern| !Index::new(core::iter::once(&pattern)).matching(path).is_empty())
}

/// Capabilities that change something.
const CHANGING: [Capability; 5] = [
    Capability::Create,
    Capability::Update,
    Capability::Patch,
    Capability::Delete,
    Capability::Sudo,
];

/// The routes of a versioned key-value engine that are about secrets, and what requests ask for there.
const ROUTES: [(&str, &[Capability]); 6] = [
    (
        "data",
        &[
            Capability::Create,
            Capability::Read,
            Capability::Update,
            Capability::Patch,
            Capability::Delete,
        ],
    ),
    (
        "metadata",
        &[
            Capability::Create,
            Capability::Read,
            Capability::Update,
            Capability::Patch,
            Capability::Delete,
            Capability::List,
            Capability::Scan,
        ],
    ),
    ("delete", &[Capability::Create, Capability::Update]),
    ("undelete", &[Capability::Create, Capability::Update]),
    ("destroy", &[Capability::Create, Capability::Update]),
    ("subkeys", &[Capability::Read]),
];
