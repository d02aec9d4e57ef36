//! The one table of paths: what the router knows, what `?help=1` tells and what the OpenAPI document lists.

mod audit;
mod keys;
mod methods;
mod people;
mod quotas;
mod system;

use aumbry_logical::Verb;
use aumbry_node::{Failure, only_in_root};

use super::{Asked, Resolved, no_route, unsupported};

/// Finds the operation; gets what stood in the place of the path's parameters.
pub(super) type Serve = fn(&Asked<'_>, &[String]) -> Result<Resolved, Failure>;

/// What becomes of a request.
#[derive(Clone, Copy)]
pub(super) enum Served {
    /// It comes to an operation.
    By(Serve),
    /// The mount that holds the path takes it apart.
    ByMount,
    /// The node that was called answers it, without a token.
    ByNode(NodePath),
    /// By HTTP alone, as a stream.
    ByHttp,
    /// It is known to clients and not offered here, for this reason.
    Not(&'static str),
}

/// What a node answers to anybody who asks by HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NodePath {
    /// Its health.
    Health,
    /// Its seal.
    SealStatus,
    /// Who leads.
    Leader,
    /// Whether there is a cluster, and making one.
    Init,
    /// Opening the seal.
    Unseal,
    /// Replication between clusters, of which there is none.
    Replication,
}

/// One path with what can be done there.
pub(crate) struct Route {
    /// Segments; `{name}` stands for one, `{name...}` for one or more.
    pub(crate) path: &'static str,
    /// What it is for.
    pub(crate) about: &'static str,
    /// Where the path is there.
    reach: Reach,
    verbs: &'static [(Verb, Served)],
}

/// Where a path is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// In every namespace: it is about what the namespace holds.
    Everywhere,
    /// In the root namespace alone: it is about the cluster.
    Root,
}

impl Route {
    /// What can be done there.
    pub(crate) fn verbs(&self) -> impl Iterator<Item = Verb> {
        self.verbs.iter().map(|(verb, _)| *verb)
    }

    /// Whether it is not offered at all.
    pub(crate) fn is_refused(&self) -> bool {
        self.verbs.iter().all(|(_, served)| matches!(served, Served::Not(_)))
    }

    /// Whether it takes no token.
    pub(crate) fn is_open(&self) -> bool {
        self.verbs.iter().any(|(_, served)| matches!(served, Served::ByNode(_)))
    }

    fn served(&self, verb: Verb) -> Option<Served> {
        let found = self.verbs.iter().find(|(known, _)| *known == verb);
        found.map(|(_, served)| *served)
    }
}

/// A row of what every namespace has.
const fn row(path: &'static str, verbs: &'static [(Verb, Served)], about: &'static str) -> Route {
    let reach = Reach::Everywhere;
    Route {
        path,
        about,
        reach,
        verbs,
    }
}

/// A row of what is the cluster's.
const fn root_row(path: &'static str, verbs: &'static [(Verb, Served)], about: &'static str) -> Route {
    let reach = Reach::Root;
    Route {
        path,
        about,
        reach,
        verbs,
    }
}

/// The paths of one kind of mount, or those that are there by themselves.
pub(crate) struct Section {
    /// What it is called in documents.
    pub(crate) kind: &'static str,
    /// What stands before its paths: nothing, or the place of the mount's own path.
    pub(crate) place: &'static str,
    /// Its paths.
    pub(crate) routes: &'static [Route],
}

/// Everything.
pub(crate) const SECTIONS: [Section; 15] = [
    section("system", "", system::SYSTEM),
    section("quotas", "", quotas::QUOTAS),
    section("keys", "", keys::KEYS),
    section("audit", "", audit::AUDIT),
    section("token", "", people::TOKENS),
    section("identity", "", people::PEOPLE),
    section("kv-v2", "{secret_mount_path}/", methods::VERSIONED),
    section("kv-v1", "{kv_mount_path}/", methods::PLAIN),
    section("approle", "auth/{approle_mount_path}/", methods::APPROLE),
    section("userpass", "auth/{userpass_mount_path}/", methods::USERPASS),
    section("jwt", "auth/{jwt_mount_path}/", methods::JWT),
    section("oidc", "auth/{oidc_mount_path}/", methods::JWT),
    section("kubernetes", "auth/{kubernetes_mount_path}/", methods::KEPT),
    section("ldap", "auth/{ldap_mount_path}/", methods::LDAP),
    section("cert", "auth/{cert_mount_path}/", methods::CERT),
];

const fn section(kind: &'static str, place: &'static str, routes: &'static [Route]) -> Section {
    Section { kind, place, routes }
}

/// What serves a path that is there by itself.
pub(super) fn resolve(asked: &Asked<'_>) -> Result<Resolved, Failure> {
    let own = SECTIONS.iter().filter(|section| section.place.is_empty());
    let found = own
        .flat_map(|section| section.routes)
        .find_map(|route| Some((route, matched(route.path, &asked.segments)?)));
    let (route, parameters) = found.ok_or_else(no_route)?;
    if route.reach == Reach::Root && !asked.namespace.is_root() {
        return Err(only_in_root());
    }
    match route.served(asked.verb).ok_or_else(unsupported)? {
        Served::By(serve) => serve(asked, &parameters),
        Served::Not(why) => Err(Failure::invalid(why)),
        Served::ByHttp => Err(Failure::invalid("this is a stream, which is given by HTTP")),
        Served::ByMount | Served::ByNode(_) => Err(no_route()),
    }
}

/// Whether a kind of mount has a path, as the table says. A kind that it says nothing of decides by itself.
pub(super) fn check(kind: &str, below: &str, verb: Verb) -> Result<(), Failure> {
    let Some(section) = SECTIONS.iter().find(|section| section.kind == kind) else {
        return Ok(());
    };
    let segments: Vec<&str> = below.trim_end_matches('/').split('/').collect();
    let route = section
        .routes
        .iter()
        .find(|route| matched(route.path, &segments).is_some());
    let route = route.ok_or_else(no_route)?;
    match route.served(verb).ok_or_else(unsupported)? {
        Served::Not(why) => Err(Failure::invalid(why)),
        Served::By(_) | Served::ByMount | Served::ByNode(_) | Served::ByHttp => Ok(()),
    }
}

/// The path that the node answers by itself, and whether it does so to this verb.
pub(crate) fn open(path: &str, verb: Verb) -> Option<Result<NodePath, Failure>> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let route = system::SYSTEM
        .iter()
        .find(|route| matched(route.path, &segments).is_some())?;
    if !route.is_open() {
        return None;
    }
    Some(match route.served(verb) {
        Some(Served::ByNode(path)) => Ok(path),
        Some(Served::Not(why)) => Err(Failure::invalid(why)),
        _ => Err(unsupported()),
    })
}

/// The path of the table that a path is, for those who look for help. That of a mount is found by how it ends.
pub(super) fn described(path: &str) -> Vec<(&'static Section, &'static Route)> {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    let own = SECTIONS.iter().filter(|section| section.place.is_empty());
    let exact = own
        .flat_map(|section| section.routes.iter().map(move |route| (section, route)))
        .find(|(_, route)| matched(route.path, &segments).is_some());
    if let Some(exact) = exact {
        return vec![exact];
    }
    let (skipped, is_auth) = match segments.first() {
        Some(&"auth") => (2, true),
        // Nothing is mounted there.
        Some(&("sys" | "identity" | "cubbyhole")) => return Vec::new(),
        _ => (1, false),
    };
    let Some(below) = segments.get(skipped..).filter(|below| !below.is_empty()) else {
        return Vec::new();
    };
    let of_mounts = SECTIONS
        .iter()
        .filter(|section| !section.place.is_empty() && section.place.starts_with("auth/") == is_auth);
    let mut found: Vec<_> = of_mounts
        .filter_map(|section| {
            let route = section
                .routes
                .iter()
                .find(|route| matched(route.path, below).is_some())?;
            Some((section, route))
        })
        .collect();
    // Any path is one of version 1, so it counts where nothing else does.
    if found.len() > 1 {
        found.retain(|(section, _)| section.kind != "kv-v1");
    }
    found
}

/// The paths below one that is none itself: those of the system, of tokens and of identities, and of all that can be mounted where a mount may be. What is
/// mounted is not told.
pub(super) fn below(path: &str) -> Vec<(&'static Section, &'static Route)> {
    let path = path.trim_end_matches('/');
    let is_of = |section: &Section, route: &Route| match path.split('/').collect::<Vec<_>>()[..] {
        ["sys" | "identity"] | ["auth", "token"] => {
            section.place.is_empty() && route.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        }
        ["auth", _] => section.place.starts_with("auth/"),
        ["auth" | "cubbyhole"] => false,
        [_] => !section.place.is_empty() && !section.place.starts_with("auth/"),
        _ => false,
    };
    let all = SECTIONS
        .iter()
        .flat_map(|section| section.routes.iter().map(move |route| (section, route)));
    all.filter(|(section, route)| is_of(section, route) && !route.is_refused())
        .collect()
}

/// What stands in the place of the parameters, if the path is of this form.
fn matched(form: &str, segments: &[&str]) -> Option<Vec<String>> {
    let form: Vec<&str> = form.split('/').collect();
    let many = form.iter().position(|part| part.ends_with("...}"));
    let (head, tail) = match many {
        None if form.len() != segments.len() => return None,
        None => (&form[..], &form[form.len()..]),
        Some(_) if segments.len() < form.len() => return None,
        Some(at) => (&form[..at], &form[at + 1..]),
    };
    let (front, rest) = segments.split_at(head.len());
    let (middle, back) = rest.split_at(rest.len() - tail.len());
    let mut parameters = Vec::new();
    let mut take = |form: &[&str], segments: &[&str]| {
        form.iter().zip(segments).all(|(part, segment)| {
            let is_parameter = part.starts_with('{');
            if is_parameter {
                parameters.push((*segment).to_owned());
            }
            is_parameter || part == segment
        })
    };
    if !take(head, front) {
        return None;
    }
    if many.is_some() {
        let whole = middle.join("/");
        take(&["{}"], &[&whole]);
    }
    take(tail, back).then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_paths() {
        let parameters = |form: &str, path: &str| matched(form, &path.split('/').collect::<Vec<_>>());
        let found = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(parameters("sys/mounts", "sys/mounts"), found(&[]));
        assert_eq!(parameters("sys/mounts", "sys/mounts/a"), None);
        assert_eq!(parameters("sys/mounts/{path...}", "sys/mounts"), None);
        assert_eq!(parameters("sys/mounts/{path...}", "sys/mounts/a/b"), found(&["a/b"]));
        assert_eq!(
            parameters("sys/mounts/{path...}/tune", "sys/mounts/a/b/tune"),
            found(&["a/b"])
        );
        assert_eq!(parameters("sys/mounts/{path...}/tune", "sys/mounts/tune"), None);
        assert_eq!(parameters("role/{role}/secret-id", "role/r/secret-id"), found(&["r"]));
        assert_eq!(parameters("role/{role}/{field}", "role/r/x"), found(&["r", "x"]));
        assert_eq!(parameters("{path...}", "a"), found(&["a"]));
    }

    /// Rows that no request reaches would be told of and not be there.
    #[test]
    fn every_row_is_reached() {
        for section in &SECTIONS {
            for (position, route) in section.routes.iter().enumerate() {
                let example: Vec<&str> = route
                    .path
                    .split('/')
                    .map(|part| if part.starts_with('{') { "x" } else { part })
                    .collect();
                let first = section
                    .routes
                    .iter()
                    .position(|other| matched(other.path, &example).is_some());
                assert_eq!(first, Some(position), "{}: {}", section.kind, route.path);
                assert!(!route.about.is_empty() && !route.verbs.is_empty(), "{}", route.path);
            }
        }
    }
}
