//! What rules of policies may ask of a request beside its path: its parameters, how long its answer is to be wrapped, and how long a list it wants.

use std::sync::Arc;

use aumbry_auth::token::{self, Create};
use aumbry_engines::kv;
use aumbry_logical::{Body, Object};
use aumbry_policy::Limit;
use aumbry_types::SecretBytes;
use serde_json::{Value, json};

use crate::{Failure, MountChange, MountOptions, Operation, Request, TokenName};

/// What came with a request by path, as it was sent.
#[derive(Clone, Default)]
pub struct Sent {
    /// One JSON object, or nothing.
    pub body: Arc<SecretBytes>,
    /// The answer is to be wrapped for so many seconds; 0 if it is not.
    pub wrap_ttl_s: u64,
    /// Codes of second factors by their methods, for a login.
    pub codes: Arc<Vec<(String, SecretBytes)>>,
}

impl Request {
    /// The parameters by the names that rules use: those that were sent by path, or those that a typed request comes to. `None` if nobody knows them;
    /// then a rule that restricts parameters refuses a write.
    pub(crate) fn parameters(&self) -> Result<Option<Object>, Failure> {
        match self.sent() {
            Some(sent) => {
                let body = Body::parse(sent.body.expose()).map_err(|error| Failure::invalid(error.to_string()))?;
                Ok(Some(body.object().clone()))
            }
            None => Ok(self.operation.parameters()),
        }
    }

    /// What came with it, if it came by path.
    pub(crate) const fn sent(&self) -> Option<&Sent> {
        match &self.operation {
            Operation::Logical(ask) => Some(&ask.sent),
            _ => self.sent.as_ref(),
        }
    }

    /// How many names a list is to have at most.
    pub(crate) fn limit(&self) -> Limit {
        match self.sent() {
            Some(sent) => {
                let body = Body::parse(sent.body.expose()).unwrap_or_default();
                match body.get("limit") {
                    Some(Value::String(text)) if text == "max" => Limit::Max,
                    Some(_) => body.count("limit").ok().flatten().map_or(Limit::Unsaid, Limit::Count),
                    None => Limit::Unsaid,
                }
            }
            None => match self.operation {
                Operation::Kv(kv::Request::List { limit, .. }) | Operation::TokenList { limit, .. }
                    if limit != PAGE_UNSAID && limit != PAGE_MAX =>
                {
                    Limit::Count(limit as u64)
                }
                _ => Limit::Unsaid,
            },
        }
    }
}

impl Operation {
    /// The parameters of a typed request, as the same request by path would name them. What has its default is left out, as clients do.
    fn parameters(&self) -> Option<Object> {
        let mut said = Object::new();
        let mut say = |name: &str, value: Value| {
            said.insert(name.to_owned(), value);
        };
        match self {
            Self::Kv(request) => kv_parameters(request, &mut say),
            Self::PlainKv(kv::PlainRequest::Put { data, .. }) => {
                return Body::parse(data.expose()).ok().map(|body| body.object().clone());
            }
            Self::PlainKv(kv::PlainRequest::List { after, limit, .. }) | Self::TokenList { after, limit } => {
                page(after, *limit, &mut say);
            }
            Self::TokenCreate(create) => create_parameters(create, &mut say),
            Self::TokenLookup(name) | Self::TokenRevoke(name) => token_parameter(name, &mut say),
            Self::TokenRenew(name, increment_s) => {
                token_parameter(name, &mut say);
                if *increment_s > 0 {
                    say("increment", json!(increment_s));
                }
            }
            Self::Capabilities { token, paths } => {
                token_parameter(token, &mut say);
                say("paths", json!(paths));
            }
            Self::PolicyWrite(_, text) => say("policy", json!(text)),
            Self::MountEnable {
                kind,
                description,
                options,
                ..
            } => enable_parameters(kind, description, options, &mut say),
            Self::MountTune(_, _, change) => tune_parameters(change, &mut say),
            Self::KvConfigWrite(_, change) => config_parameters(change, &mut say),
            Self::JoinTokenCreate(ttl_s) => say("ttl", json!(ttl_s)),
            Self::Promote(node) | Self::Remove(node) | Self::Transfer(Some(node)) => say("server_id", json!(node.0)),
            // They come by path alone, or have parameters that no rule can name.
            Self::Method(_)
            | Self::Login(_)
            | Self::Wrapped(_)
            | Self::WrapData
            | Self::Logical(_)
            | Self::NoRoute(_)
            | Self::SealAdd { .. }
            | Self::PolicyExplain(_)
            | Self::Join(_) => return None,
            // They have none.
            _ => {}
        }
        Some(said)
    }
}

fn kv_parameters(request: &kv::Request, say: &mut impl FnMut(&str, Value)) {
    match request {
        kv::Request::Put { cas, .. } | kv::Request::Patch { cas, .. } => {
            // Rules see that there is an object, and nothing of it.
            say("data", json!({}));
            if let Some(cas) = cas {
                say("options", json!({ "cas": cas }));
            }
        }
        kv::Request::Get { version, .. } => {
            if let Some(version) = version {
                say("version", json!(version));
            }
        }
        kv::Request::Subkeys { version, depth, .. } => {
            if let Some(version) = version {
                say("version", json!(version));
            }
            if *depth > 0 {
                say("depth", json!(depth));
            }
        }
        kv::Request::List { after, limit, .. } => page(after, *limit, say),
        kv::Request::Delete { versions, .. } if versions.is_empty() => {}
        kv::Request::Delete { versions, .. }
        | kv::Request::Undelete { versions, .. }
        | kv::Request::Destroy { versions, .. } => say("versions", json!(versions)),
        kv::Request::BatchGet { .. } | kv::Request::ReadMetadata { .. } | kv::Request::DeleteMetadata { .. } => {}
        kv::Request::WriteMetadata { change, .. } => {
            let mut some = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    say(name, value);
                }
            };
            some("max_versions", change.max_versions.map(|count| json!(count)));
            some("cas_required", change.cas_required.map(|flag| json!(flag)));
            some(
                "delete_version_after",
                change.delete_version_after_s.map(|ttl| json!(ttl)),
            );
            let is_custom = change.custom.is_some() || !change.custom_patch.is_empty();
            some("custom_metadata", is_custom.then(|| json!({})));
        }
    }
}

fn page(after: &str, limit: usize, say: &mut impl FnMut(&str, Value)) {
    if !after.is_empty() {
        say("after", json!(after));
    }
    if limit != PAGE_UNSAID && limit != PAGE_MAX {
        say("limit", json!(limit));
    }
}

fn token_parameter(name: &TokenName, say: &mut impl FnMut(&str, Value)) {
    match name {
        TokenName::Own => {}
        TokenName::Text(text) => say("token", json!(text.expose_str().unwrap_or_default())),
        TokenName::Accessor(accessor) => say("accessor", json!(accessor)),
    }
}

fn create_parameters(create: &Create, say: &mut impl FnMut(&str, Value)) {
    let mut some = |name: &str, is_said: bool, value: Value| {
        if is_said {
            say(name, value);
        }
    };
    some("policies", !create.policies.is_empty(), json!(create.policies));
    some("ttl", create.ttl_s > 0, json!(create.ttl_s));
    some(
        "explicit_max_ttl",
        create.explicit_max_ttl_s > 0,
        json!(create.explicit_max_ttl_s),
    );
    some("num_uses", create.num_uses > 0, json!(create.num_uses));
    some("renewable", !create.renewable, json!(false));
    some(
        "display_name",
        !create.display_name.is_empty(),
        json!(create.display_name),
    );
    some("meta", !create.metadata.is_empty(), json!(create.metadata));
    some("no_parent", create.orphan, json!(true));
    some("no_default_policy", create.no_default_policy, json!(true));
    let token_type = create.token_type.map(token::TokenType::name);
    some("type", token_type.is_some(), json!(token_type));
    some(
        "entity_alias",
        create.entity_alias.is_some(),
        json!(create.entity_alias),
    );
    some("period", create.period_s > 0, json!(create.period_s));
    let cidrs: Vec<String> = create.bound_cidrs.iter().map(ToString::to_string).collect();
    some("bound_cidrs", !cidrs.is_empty(), json!(cidrs));
}

fn enable_parameters(kind: &str, description: &str, options: &MountOptions, say: &mut impl FnMut(&str, Value)) {
    say("type", json!(kind));
    if !description.is_empty() {
        say("description", json!(description));
    }
    if options.version > 0 {
        say("options", json!({ "version": options.version.to_string() }));
    }
    if options.default_lease_ttl_s > 0 || options.max_lease_ttl_s > 0 {
        say("config", json!({}));
    }
}

fn tune_parameters(change: &MountChange, say: &mut impl FnMut(&str, Value)) {
    let mut some = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            say(name, value);
        }
    };
    some("description", change.description.as_ref().map(|text| json!(text)));
    some(
        "options",
        change.version.map(|version| json!({ "version": version.to_string() })),
    );
    some("default_lease_ttl", change.default_lease_ttl_s.map(|ttl| json!(ttl)));
    some("max_lease_ttl", change.max_lease_ttl_s.map(|ttl| json!(ttl)));
    some(
        "listing_visibility",
        change.listing_visibility.as_ref().map(|text| json!(text)),
    );
    some("user_lockout_config", change.lockout.map(|_| json!({})));
}

fn config_parameters(change: &MountChange, say: &mut impl FnMut(&str, Value)) {
    let mut some = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            say(name, value);
        }
    };
    some("max_versions", change.kv_max_versions.map(|count| json!(count)));
    some("cas_required", change.kv_cas_required.map(|flag| json!(flag)));
    some(
        "delete_version_after",
        change.kv_delete_version_after_s.map(|ttl| json!(ttl)),
    );
}

/// As many names as a typed list is for where its request says nothing, and as many as it can be for: whoever asks for all takes what the rules allow.
const PAGE_UNSAID: usize = 1_000;
const PAGE_MAX: usize = 10_000;
