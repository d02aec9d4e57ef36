//! The audit record of a request: what was asked, by whom, what was decided. Values appear as keyed hashes only.

use std::collections::BTreeMap;

use aumbry_audit::{Decision, Field, Principal, Record, redact};
use aumbry_auth::Caller;
use aumbry_auth::lockout::Lockout;
use aumbry_auth::token::TokenType;
use aumbry_crypto::seal::KeyKind;
use aumbry_engines::kv;
use aumbry_types::{MountPath, Name, ObjectId, SecretKey, SecretPath, hex};

use crate::method::{LoginAsk, Said, Shown};
use crate::mounts::MountTable;
use crate::operation::{Contents, Operation, TokenName};
use crate::{Failure, ProofAsk, Reply, Request, authorize, quotas};

/// What is known when the record is made.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request,
    pub(crate) attempt: u32,
    pub(crate) caller: Option<&'a Caller>,
    pub(crate) policies: Vec<String>,
    pub(crate) rule: String,
    /// The capability and the path that were refused, for who asks why.
    pub(crate) needed: String,
    pub(crate) result: Result<&'a Reply, &'a Failure>,
    pub(crate) replayed: bool,
    pub(crate) leader: u64,
    pub(crate) region: &'a str,
}

/// Makes the record.
pub(crate) fn make(key: &SecretKey, facts: Facts<'_>) -> Record {
    let request = facts.request;
    let (decision, reason) = match facts.result {
        Ok(_) if facts.replayed => (Decision::Allowed, "REPLAYED"),
        Ok(_) => (Decision::Allowed, ""),
        Err(failure) => match failure.class {
            crate::Class::PermissionDenied => (Decision::Denied, failure.reason),
            crate::Class::Unauthenticated => (Decision::Unauthenticated, failure.reason),
            _ => (Decision::Failed, failure.reason),
        },
    };
    let mut fields = fields(key, &request.operation, facts.result.ok());
    if !facts.needed.is_empty() {
        // At the front, as a record with too many leaves out the last.
        fields.insert(0, ("needed".to_owned(), Field::Clear(facts.needed)));
    }
    if !request.namespace.is_root() {
        let namespace = request.namespace.as_str().to_owned();
        fields.insert(0, ("namespace".to_owned(), Field::Clear(namespace)));
    }
    Record {
        request_id: request.id,
        attempt: facts.attempt,
        operation: request.operation.name().to_owned(),
        path: authorize::audit_path(&request.operation),
        principal: facts.caller.map(|caller| Principal {
            accessor: caller.accessor.to_string(),
            display_name: caller.display_name.clone(),
            policies: caller.policies.clone(),
            entity: caller.entity,
        }),
        decision,
        reason: reason.to_owned(),
        deciding_policies: facts.policies,
        rule: facts.rule,
        client: request.evidence.client_address.clone(),
        tls_identity: request.evidence.tls_identity.clone(),
        node: request.evidence.received_by.0,
        leader: facts.leader,
        region: facts.region.to_owned(),
        fields,
        response: facts.result.ok().and_then(|reply| digest(key, reply)),
        count: 1,
    }
}

/// The record of refusals that were only counted.
pub(crate) fn aggregate(
    operation: &str,
    client: String,
    count: u64,
    leader: u64,
    region: &str,
    id: aumbry_types::RequestId,
) -> Record {
    Record {
        request_id: id,
        attempt: 0,
        operation: operation.to_owned(),
        path: String::new(),
        principal: None,
        decision: Decision::Unauthenticated,
        reason: match operation {
            quotas::EXCEEDED => operation.to_owned(),
            // Those that were given an address are among them.
            "oidc.auth-url" => "COUNTED".to_owned(),
            _ => "TOKEN_INVALID".to_owned(),
        },
        deciding_policies: Vec::new(),
        rule: String::new(),
        client,
        tls_identity: String::new(),
        node: leader,
        leader,
        region: region.to_owned(),
        fields: Vec::new(),
        response: None,
        count,
    }
}

/// The record of what a leader does by itself.
pub(crate) fn internal(operation: &str, leader: u64, region: &str, id: aumbry_types::RequestId) -> Record {
    let mut record = aggregate(operation, String::new(), 1, leader, region, id);
    record.decision = Decision::Allowed;
    record.reason = String::new();
    record
}

fn fields(key: &SecretKey, operation: &Operation, reply: Option<&Reply>) -> Vec<(String, Field)> {
    let mut fields = Vec::new();
    let mut clear = |name: &str, value: String| fields.push((name.to_owned(), Field::Clear(value)));
    match operation {
        Operation::Kv(request) => match request {
            kv::Request::Put { cas: Some(cas), .. } | kv::Request::Patch { cas: Some(cas), .. } => {
                clear("cas", cas.to_string());
            }
            // The record's own path holds the beginning of a batch only.
            kv::Request::BatchGet { paths } => {
                for part in pack(paths.iter().map(SecretPath::as_str), '\n') {
                    clear("paths", part);
                }
            }
            kv::Request::WriteMetadata { change, .. } => {
                let mut setting = |name: &str, value: Option<String>| {
                    if let Some(value) = value {
                        clear(name, value);
                    }
                };
                setting("max_versions", change.max_versions.map(|n| n.to_string()));
                setting("cas_required", change.cas_required.map(|required| required.to_string()));
                setting(
                    "delete_version_after_s",
                    change.delete_version_after_s.map(|s| s.to_string()),
                );
            }
            kv::Request::Get {
                version: Some(version), ..
            }
            | kv::Request::Subkeys {
                version: Some(version), ..
            } => clear("version", version.to_string()),
            kv::Request::Delete { versions, .. }
            | kv::Request::Undelete { versions, .. }
            | kv::Request::Destroy { versions, .. } => {
                let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
                for part in pack(versions.iter().map(String::as_str), ',') {
                    clear("versions", part);
                }
            }
            kv::Request::List { after, limit, .. } => {
                clear("limit", limit.to_string());
                fields.push(("after".to_owned(), redact(key, after.as_bytes())));
            }
            _ => {}
        },
        Operation::TokenCreate(create) => {
            for part in pack(create.policies.iter().map(|policy| policy_name(policy)), ',') {
                clear("policies", part);
            }
            clear("ttl_s", create.ttl_s.to_string());
            clear("num_uses", create.num_uses.to_string());
            clear("orphan", create.orphan.to_string());
            clear("explicit_max_ttl_s", create.explicit_max_ttl_s.to_string());
            clear("renewable", create.renewable.to_string());
            clear("no_default_policy", create.no_default_policy.to_string());
            // Only if they are asked for, so that a request has the fingerprint that it always had.
            if create.period_s > 0 {
                clear("period_s", create.period_s.to_string());
            }
            if let Some(role) = &create.role {
                clear("role", role.as_str().to_owned());
            }
            let cidrs: Vec<String> = create.bound_cidrs.iter().map(ToString::to_string).collect();
            for part in pack(cidrs.iter().map(String::as_str), ',') {
                clear("bound_cidrs", part);
            }
            if let Some(token_type) = create.token_type.filter(|kind| *kind != TokenType::default()) {
                clear("token_type", token_type.name().to_owned());
            }
            if let Some(alias) = &create.entity_alias {
                fields.push(("entity_alias".to_owned(), redact(key, alias.as_bytes())));
            }
            if let Some(id) = &create.id {
                fields.push(("id".to_owned(), redact(key, id.expose())));
            }
            fields.push(("display_name".to_owned(), redact(key, create.display_name.as_bytes())));
            push_pairs(key, &mut fields, "metadata", &create.metadata);
        }
        Operation::TokenLookup(name) | Operation::TokenRevoke(name) | Operation::TokenOrphan(name) => {
            token_field(key, &mut fields, name);
        }
        // What is no accessor at its end may be a token that was put into the wrong place.
        Operation::Lease(ask) => fields.push(("lease_id".to_owned(), redact(key, ask.lease.as_bytes()))),
        Operation::Look(look) => {
            for said in look.said.iter().take(SAID_MAX) {
                fields.push(said.field(key));
            }
        }
        Operation::MountDisable(MountTable::Secrets, _, Contents::Gone) => clear("contents", "gone".to_owned()),
        Operation::MountMove { table, to, .. } => clear("to", mount_name(*table, to)),
        Operation::TokenRenew(name, increment) => {
            clear("increment_s", increment.to_string());
            token_field(key, &mut fields, name);
        }
        Operation::MountEnable {
            kind,
            description,
            options,
            ..
        } => {
            if options.version != 0 {
                clear("version", options.version.to_string());
            }
            if options.lockout != Lockout::default() {
                let Lockout {
                    threshold,
                    duration_s,
                    reset_s,
                    is_disabled,
                } = options.lockout;
                clear("lockout_threshold", threshold.to_string());
                clear("lockout_duration_s", duration_s.to_string());
                clear("lockout_counter_reset_s", reset_s.to_string());
                clear("lockout_disable", is_disabled.to_string());
            }
            fields.push(("type".to_owned(), redact(key, kind.as_bytes())));
            fields.push(("description".to_owned(), redact(key, description.as_bytes())));
        }
        Operation::MountTune(_, _, change) | Operation::KvConfigWrite(_, change) => {
            let mut setting = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    clear(name, value);
                }
            };
            setting("version", change.version.map(|n| n.to_string()));
            setting("default_lease_ttl_s", change.default_lease_ttl_s.map(|n| n.to_string()));
            setting("max_lease_ttl_s", change.max_lease_ttl_s.map(|n| n.to_string()));
            setting("max_versions", change.kv_max_versions.map(|n| n.to_string()));
            setting("cas_required", change.kv_cas_required.map(|n| n.to_string()));
            setting(
                "delete_version_after_s",
                change.kv_delete_version_after_s.map(|n| n.to_string()),
            );
            if let Some(lockout) = &change.lockout {
                setting("lockout_threshold", lockout.threshold.map(|n| n.to_string()));
                setting("lockout_duration_s", lockout.duration_s.map(|n| n.to_string()));
                setting("lockout_counter_reset_s", lockout.reset_s.map(|n| n.to_string()));
                setting("lockout_disable", lockout.is_disabled.map(|flag| flag.to_string()));
            }
            if let Some(description) = &change.description {
                fields.push(("description".to_owned(), redact(key, description.as_bytes())));
            }
        }
        Operation::Method(ask) => {
            clear("verb", ask.verb.name().to_owned());
            for said in ask.said.iter().take(SAID_MAX) {
                fields.push(said.field(key));
            }
        }
        Operation::Login(ask) => {
            login_fields(key, &mut fields, ask);
            for (id, method, code) in ask.codes.iter() {
                // What is no id may be a code that stands in the wrong place.
                match id {
                    Some(id) => fields.push((format!("passcode {id}"), redact(key, code.expose()))),
                    None => {
                        fields.push(("mfa_method".to_owned(), redact(key, method.as_bytes())));
                        fields.push(("passcode".to_owned(), redact(key, code.expose())));
                    }
                }
            }
        }
        Operation::Wrapped(ask) => fields.push(("token".to_owned(), redact(key, ask.token.expose()))),
        Operation::NoRoute(no_route) => clear("verb", no_route.verb.name().to_owned()),
        Operation::Capabilities { token, paths } => {
            for part in pack(paths.iter().map(String::as_str), '\n')
                .into_iter()
                .take(PACKED_MAX)
            {
                clear("paths", part);
            }
            token_field(key, &mut fields, token);
        }
        Operation::TokenList { after, limit } => {
            clear("limit", limit.to_string());
            fields.push(("after".to_owned(), redact(key, after.as_bytes())));
        }
        Operation::PlainKv(kv::PlainRequest::List { after, limit, .. }) => {
            clear("limit", limit.to_string());
            fields.push(("after".to_owned(), redact(key, after.as_bytes())));
        }
        Operation::JoinTokenCreate(ttl_s) => clear("ttl_s", ttl_s.to_string()),
        Operation::Join(join) => {
            clear("peer_addr", join.peer_addr.clone());
            clear("client_addr", join.client_addr.clone());
        }
        Operation::Transfer(Some(node)) => clear("to", node.to_string()),
        Operation::SealAdd { key: added, outer, .. } => {
            let kind = outer.as_ref().map_or(KeyKind::Static, |(_, bound)| bound.kind);
            clear("kind", kind.name().to_owned());
            if let Some((outer, _)) = outer {
                clear("name", outer.name().to_owned());
            }
            clear("key_id", added.id().to_string());
        }
        Operation::SealRemove(removed) => clear("key_id", removed.to_string()),
        Operation::AuditRead { from, limit, .. } => {
            clear("from", from.to_string());
            clear("limit", limit.to_string());
        }
        Operation::AuditPrune(ask) => fields.extend(ask.fields(reply)),
        Operation::AuditProof(ProofAsk::Inclusion { seq, size }) => {
            clear("seq", seq.to_string());
            clear("size", size.to_string());
        }
        Operation::AuditProof(ProofAsk::Consistency { from, to }) => {
            clear("from", from.to_string());
            clear("to", to.to_string());
        }
        Operation::PolicyWrite(_, text) => fields.push(("policy".to_owned(), redact(key, text.as_bytes()))),
        _ => {}
    }
    if let Some(Reply::Kv(reply)) = reply
        && let Some(given) = given(reply)
    {
        fields.push(("given".to_owned(), Field::Clear(given)));
    }
    // The token that was made can be named, and revoked, by whoever reads the log.
    if let Some(Reply::RootAttempt {
        accessor: Some(accessor),
        ..
    }) = reply
    {
        fields.push(("accessor".to_owned(), Field::Clear(accessor.clone())));
    }
    if let Some(Reply::NewToken(new)) = reply {
        fields.push(("accessor".to_owned(), Field::Clear(new.info.accessor.clone())));
        if let Operation::Login(_) = operation {
            // Who came in, as the method knows it.
            for (name, value) in &new.info.metadata {
                if matches!(
                    name.as_str(),
                    "role_name"
                        | "username"
                        | "service_account_name"
                        | "service_account_namespace"
                        | "cert_name"
                        | "common_name"
                ) {
                    fields.push((name.clone(), Field::Clear(value.clone())));
                }
            }
            for part in pack(new.info.policies.iter().map(|policy| policy_name(policy)), ',') {
                fields.push(("policies".to_owned(), Field::Clear(part)));
            }
        }
    }
    if let Operation::Kv(kv::Request::Put { data, .. } | kv::Request::Patch { data, .. })
    | Operation::PlainKv(kv::PlainRequest::Put { data, .. }) = operation
    {
        fields.push(("data".to_owned(), redact(key, data.expose())));
    }
    if let Operation::Kv(kv::Request::WriteMetadata { change, .. }) = operation
        && let Some(custom) = &change.custom
    {
        push_pairs(key, &mut fields, "custom_metadata", custom);
    }
    if let Operation::Kv(kv::Request::WriteMetadata { change, .. }) = operation {
        let changed = change.custom_patch.iter();
        let changed = changed.map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()));
        push_pairs(key, &mut fields, "custom_metadata", &changed.collect());
    }
    fields
}

/// Which versions a reply gives away, or made: one for each path that was asked for, in order, 0 for nothing. Those of a batch that is too large for one value are not
/// told: values have no order among themselves.
fn given(reply: &kv::Reply) -> Option<String> {
    let version = |item: &kv::Item| if item.data.is_some() { item.info.version } else { 0 };
    let given = match reply {
        kv::Reply::Item(item) => version(item).to_string(),
        kv::Reply::Items(items) => {
            let versions = items.iter().map(|item| item.as_ref().map_or(0, version).to_string());
            versions.collect::<Vec<_>>().join(",")
        }
        kv::Reply::Written { info, .. } => info.version.to_string(),
        kv::Reply::Names { .. } | kv::Reply::Metadata(_) | kv::Reply::Done => return None,
    };
    Some(given).filter(|text| text.len() <= PACKED_BYTES_MAX)
}

/// What is shown at a login.
fn login_fields(key: &SecretKey, fields: &mut Vec<(String, Field)>, ask: &LoginAsk) {
    let mut clear = |name: &str, value: String| fields.push((name.to_owned(), Field::Clear(value)));
    match &ask.shown {
        Shown::AppRole(shown) => {
            fields.push(("role_id".to_owned(), redact(key, shown.role_id.as_bytes())));
            fields.push(("secret_id".to_owned(), redact(key, shown.secret_id.expose())));
        }
        Shown::SecondFactor(shown) => {
            if let Some(id) = shown.request_id() {
                clear("mfa_request_id", id);
            }
            for (method, code) in shown.codes() {
                fields.push((format!("passcode {method}"), redact(key, code.expose())));
            }
        }
        Shown::Userpass(shown) => {
            if let Some(user) = shown.user() {
                clear("username", user.as_str().to_owned());
            }
            fields.push(("password".to_owned(), redact(key, shown.password().expose())));
        }
        Shown::Ldap(shown) => {
            // What is no usual name may be a password that was typed in the wrong place.
            fields.push(match Name::parse(&shown.username().to_ascii_lowercase()) {
                Ok(name) => ("username".to_owned(), Field::Clear(name.as_str().to_owned())),
                Err(_) => ("username".to_owned(), redact(key, shown.username().as_bytes())),
            });
            fields.push(("password".to_owned(), redact(key, shown.password().expose())));
        }
        Shown::Jwt(shown) => {
            if let Some(role) = shown.role() {
                clear("role", role.as_str().to_owned());
            }
            fields.push(("jwt".to_owned(), redact(key, shown.jwt().expose())));
        }
        Shown::Begin(shown) => {
            if let Some(role) = shown.role() {
                clear("role", role.as_str().to_owned());
            }
            fields.push(("redirect_uri".to_owned(), redact(key, shown.redirect_uri().as_bytes())));
            fields.push(("client_nonce".to_owned(), redact(key, shown.client_nonce().expose())));
        }
        Shown::Callback(shown) => {
            if let Some(error) = shown.error() {
                clear("error", error.to_owned());
            }
            fields.push(("state".to_owned(), redact(key, shown.state().expose())));
            fields.push(("code".to_owned(), redact(key, shown.code().expose())));
            fields.push(("client_nonce".to_owned(), redact(key, shown.client_nonce().expose())));
        }
        Shown::Cert(shown) => {
            if let Some(name) = shown.name() {
                clear("name", name.as_str().to_owned());
            }
            clear("certificate", hex::encode(shown.certificate()));
        }
        Shown::Kubernetes(shown) => {
            if let Some(role) = shown.role() {
                clear("role", role.as_str().to_owned());
            }
            fields.push(("jwt".to_owned(), redact(key, shown.jwt().expose())));
        }
        Shown::Custodian(shown) => fields.push(("key".to_owned(), redact(key, shown.share().expose()))),
        Shown::Malformed(_) => {}
    }
}

impl Said {
    /// As it stands in a record.
    fn field(&self, key: &SecretKey) -> (String, Field) {
        let field = match self.value.expose_str() {
            Some(text) if self.is_clear => Field::Clear(text.to_owned()),
            _ => redact(key, self.value.expose()),
        };
        (self.name.clone(), field)
    }
}

/// A mount as clients name it where both tables are meant.
fn mount_name(table: MountTable, path: &MountPath) -> String {
    match table {
        MountTable::Secrets => path.as_str().to_owned(),
        MountTable::Auth => format!("auth/{}", path.as_str()),
    }
}

fn token_field(key: &SecretKey, fields: &mut Vec<(String, Field)>, name: &TokenName) {
    match name {
        TokenName::Own => {}
        TokenName::Text(text) => fields.push(("token".to_owned(), redact(key, text.expose()))),
        // What is no accessor may be a token that was put into the wrong place.
        TokenName::Accessor(accessor) if accessor.parse::<ObjectId>().is_ok() => {
            fields.push(("accessor".to_owned(), Field::Clear(accessor.clone())));
        }
        TokenName::Accessor(other) => fields.push(("accessor".to_owned(), redact(key, other.as_bytes()))),
    }
}

/// Pairs that users choose. The names could themselves be secret.
fn push_pairs(key: &SecretKey, fields: &mut Vec<(String, Field)>, what: &str, pairs: &BTreeMap<String, String>) {
    for (name, value) in pairs {
        let lengths = [name.len().to_be_bytes(), value.len().to_be_bytes()].concat();
        let pair = [&lengths[..], name.as_bytes(), value.as_bytes()].concat();
        fields.push((what.to_owned(), redact(key, &pair)));
    }
}

/// Names of policies are shown; what is no name could be anything.
fn policy_name(policy: &str) -> &str {
    if Name::parse(policy).is_ok() {
        policy
    } else {
        "(not a name)"
    }
}

/// All items of a list, in as few values as hold them: a record that says "and more" would hide what was done. The separator is a
/// character that no item has; no path has a line break.
fn pack<'a>(items: impl Iterator<Item = &'a str>, separator: char) -> Vec<String> {
    let mut packed: Vec<String> = Vec::new();
    for mut rest in items {
        match packed.last_mut() {
            Some(last) if last.len() + 1 + rest.len() <= PACKED_BYTES_MAX => {
                last.push(separator);
                last.push_str(rest);
                continue;
            }
            _ => {}
        }
        while rest.len() > PACKED_BYTES_MAX {
            let (part, after) = rest.split_at(rest.floor_char_boundary(PACKED_BYTES_MAX));
            packed.push(part.to_owned());
            rest = after;
        }
        packed.push(rest.to_owned());
    }
    packed
}

/// Whether a record can name all paths of a batch.
pub(crate) fn can_name(paths: &[SecretPath]) -> bool {
    pack(paths.iter().map(SecretPath::as_str), '\n').len() <= PACKED_MAX
}

fn digest(key: &SecretKey, reply: &Reply) -> Option<[u8; 16]> {
    if matches!(reply, Reply::Done) {
        return None;
    }
    let bytes = aumbry_barrier::record::encode(0, reply);
    Some(aumbry_crypto::mac16(key, &[b"response", bytes.expose()]))
}

/// Tells two requests under one idempotency key apart.
pub(crate) fn fingerprint(key: &SecretKey, request: &Request) -> [u8; 16] {
    let operation = &request.operation;
    let path = authorize::audit_path(operation);
    let mut parts: Vec<Vec<u8>> = vec![operation.name().into(), path.into()];
    if !request.namespace.is_root() {
        parts.push(b"namespace".to_vec());
        parts.push(request.namespace.as_str().into());
    }
    for (name, field) in fields(key, operation, None) {
        parts.push(name.into());
        parts.push(match field {
            Field::Clear(value) => value.into(),
            Field::Hmac(value) => value.into(),
        });
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    aumbry_crypto::mac16(key, &parts)
}

/// What one value of a record holds without being cut.
const PACKED_BYTES_MAX: usize = 512;
/// A record holds 64 values; these beside its verb.
const SAID_MAX: usize = 60;
/// A record holds 64 values; a batch has no others.
const PACKED_MAX: usize = 60;
