//! From paths to operations, and from replies to JSON: what the HTTP interface and the generic gRPC service speak. Whatever is reached here is an
//! operation that the typed services reach as well: neither has rules of its own.

mod audit;
mod auth;
mod content;
mod identity;
mod kv;
mod leases;
mod manual;
mod mounts;
mod policy;
mod retention;
mod sys;
mod table;
mod tell;
mod token;
mod transparency;

use aumbry_logical::{Body, FieldError, Verb};
use aumbry_node::{Class, Failure, LogicalAsk, NoRoute, Operation, Position, Reply, Request};
use aumbry_types::{NamespacePath, SecretBytes, SecretPath};

pub(crate) use content::{Content, encode, time};
pub(crate) use kv::KV_PATH;
pub(crate) use sys::{Sealed, sealed_by};
pub(crate) use table::{NodePath, open};

use crate::member::Member;

/// Turns a reply into what is told of it.
type Render = Box<dyn FnOnce(&Member, Reply) -> Result<Content, Failure> + Send>;

/// What a path came to.
pub(crate) struct Resolved {
    /// The operation.
    pub(crate) operation: Operation,
    /// What is told of its reply.
    pub(crate) render: Render,
    /// What is told if there is nothing.
    pub(crate) absence: Absence,
}

/// What is told if what a request is about is not there. It is on record as what it is.
pub(crate) enum Absence {
    /// That it is not there.
    Told,
    /// Nothing: it is as good as removed, as clients of this interface expect.
    Done,
    /// That the request is wrong, in the words by which clients know it.
    Wrong(String),
    /// That the token which was named is none.
    BadToken,
}

impl Absence {
    /// What becomes of a failure.
    ///
    /// # Errors
    /// [`Failure`] as it is told.
    pub(crate) fn told_of(self, failure: Failure) -> Result<(Content, Position), Failure> {
        if failure.reason != "NOT_FOUND" {
            return Err(failure);
        }
        match self {
            Self::Told => Err(failure),
            Self::Done => Ok((Content::default(), failure.position)),
            Self::Wrong(message) => Err(Failure {
                class: Class::InvalidArgument,
                reason: "NOT_THERE",
                message,
                ..failure
            }),
            Self::BadToken => Err(Failure {
                class: Class::PermissionDenied,
                reason: "BAD_TOKEN",
                message: "bad token".to_owned(),
                ..failure
            }),
        }
    }
}

impl Resolved {
    fn new(
        operation: Operation,
        render: impl FnOnce(&Member, Reply) -> Result<Content, Failure> + Send + 'static,
    ) -> Self {
        Self {
            operation,
            render: Box::new(render),
            absence: Absence::Told,
        }
    }

    /// The same, with nothing there as good as done.
    fn or_absent(self) -> Self {
        self.or(Absence::Done)
    }

    /// The same, with nothing there as a wrong request.
    fn or_wrong(self, message: impl Into<String>) -> Self {
        self.or(Absence::Wrong(message.into()))
    }

    /// The same, with this told if nothing is there.
    fn or(mut self, absence: Absence) -> Self {
        self.absence = absence;
        self
    }

    /// An operation of which nothing is told but that it was done.
    fn silent(operation: Operation) -> Self {
        Self::new(operation, |_, _| Ok(Content::default()))
    }
}

/// One request by path, taken apart.
struct Asked<'a> {
    verb: Verb,
    /// The whole path, checked.
    path: &'a SecretPath,
    /// Without a slash at its end.
    segments: Vec<&'a str>,
    /// The bytes of the body, for what must stay as it was sent.
    raw: &'a [u8],
    body: Body,
    /// Whether the answer is to be wrapped.
    is_wrapped: bool,
    /// The namespace that the path is in.
    namespace: &'a NamespacePath,
    request: &'a Request,
    /// Codes of second factors by their methods.
    codes: &'a [(String, SecretBytes)],
}

/// The namespace that a path is in, and what of it is left behind the names. Clients ask of a whole path which mount holds it, and what it is for, so that names stand there too.
///
/// # Errors
/// [`Failure`] if this node does not lead.
pub(crate) fn place(member: &Member, base: &NamespacePath, path: &str) -> Result<(NamespacePath, String), Failure> {
    let (namespace, path) = member.node.find_namespace(base, path)?;
    let mut about = [mounts::OF_PATH, manual::OF_PATH].into_iter();
    let Some((front, asked)) = about.find_map(|front| Some((front, path.strip_prefix(front)?))) else {
        return Ok((namespace, path));
    };
    let (namespace, rest) = member.node.find_namespace(&namespace, asked)?;
    Ok((namespace, format!("{front}{rest}")))
}

/// Finds the operation that a path of a namespace stands for, as the leader's next plan would see it. What leads nowhere is an operation too: one that tells so to
/// those who may use the path.
///
/// # Errors
/// [`Failure`] if the path or the body is malformed, whoever asks.
pub(crate) async fn resolve(
    member: &Member,
    request: &Request,
    namespace: &NamespacePath,
    path: &str,
    ask: &LogicalAsk,
) -> Result<Resolved, Failure> {
    let text = path.strip_suffix('/').unwrap_or(path);
    let path = SecretPath::parse(text).map_err(|error| Failure::invalid(error.to_string()))?;
    let body = Body::parse(ask.sent.body.expose()).map_err(|error| Failure::invalid(error.to_string()))?;
    let asked = Asked {
        verb: ask.verb,
        segments: path.as_str().split('/').collect(),
        path: &path,
        raw: ask.sent.body.expose(),
        body,
        is_wrapped: ask.sent.wrap_ttl_s > 0,
        namespace,
        request,
        codes: &ask.sent.codes,
    };
    let resolved = match asked.segments[0] {
        "sys" | "cubbyhole" | "identity" => table::resolve(&asked),
        "auth" => auth::resolve(member, &asked).await,
        _ => kv::resolve(member, &asked),
    };
    match resolved {
        Ok(resolved) => Ok(resolved),
        Err(failure) if failure.class == Class::Unavailable => Err(failure),
        Err(failure) => Ok(Resolved::silent(Operation::NoRoute(NoRoute {
            path: asked.path.as_str().to_owned(),
            verb: asked.verb,
            failure,
        }))),
    }
}

/// As [`resolve`], for what the table alone decides: nothing below a mount.
///
/// # Errors
/// [`Failure`] if it comes to no operation.
pub(crate) fn fuzzing(verb: Verb, namespace: &NamespacePath, path: &str, body: &[u8]) -> Result<Operation, Failure> {
    let text = path.strip_suffix('/').unwrap_or(path);
    let path = SecretPath::parse(text).map_err(|error| Failure::invalid(error.to_string()))?;
    let request = Request {
        id: aumbry_types::RequestId::from_bytes([0; 16]),
        namespace: namespace.clone(),
        operation: Operation::Status,
        evidence: aumbry_node::Evidence::default(),
        idempotency_key: String::new(),
        consistency: aumbry_node::Consistency::Linearizable,
        min_index: 0,
        deadline: tokio::time::Instant::now(),
        sent: None,
    };
    let asked = Asked {
        verb,
        segments: path.as_str().split('/').collect(),
        path: &path,
        raw: body,
        body: Body::parse(body).map_err(|error| Failure::invalid(error.to_string()))?,
        is_wrapped: false,
        codes: &[],
        namespace,
        request: &request,
    };
    table::resolve(&asked).map(|resolved| resolved.operation)
}

/// Nothing serves the path.
fn no_route() -> Failure {
    Failure::new(
        Class::NotFound,
        "NO_HANDLER",
        "no handler for route; no engine or method serves this path",
    )
}

/// The path is there, and not for this.
fn unsupported() -> Failure {
    Failure::new(
        Class::InvalidArgument,
        "UNSUPPORTED_OPERATION",
        "unsupported operation on this path",
    )
}

fn malformed(error: FieldError) -> Failure {
    Failure::invalid(error.to_string())
}

/// A reply that does not go with its operation: a bug.
fn mismatched() -> Failure {
    Failure::internal("the reply does not go with the request")
}
