//! A request by path, with its body, into an operation: in any namespace, by any verb. What is the cluster's is in the root alone, a read writes
//! nothing, and what is refused is told without the secrets that were sent.

use aumbry_logical::Verb;
use aumbry_server::fuzzing::logical;
use aumbry_types::NamespacePath;
use serde_json::Value;

use super::text;
use crate::check::{Memory, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "logical",
    seeds,
    run,
    words: &[
        b"sys/",
        b"auth/token/",
        b"identity/",
        b"cubbyhole/",
        b"sys/namespaces/",
        b"sys/policies/acl/",
        b"sys/quotas/rate-limit/",
        b"sys/wrapping/unwrap",
        b"{\"token\":\"t\"}",
        b"{\"policy\":\"\"}",
        b"\"ttl\":",
        b"\"paths\":[",
        b"[[[[",
        b"null",
        b"-1",
        b"//",
        b"..",
    ],
    input_bytes_max: 2_048,
    ..Target::USUAL
};

const VERBS: [Verb; 6] = [
    Verb::Read,
    Verb::List,
    Verb::Scan,
    Verb::Write,
    Verb::Patch,
    Verb::Delete,
];

/// A byte for the verb and the namespace, the path in a line, the body.
fn seeds() -> Vec<Vec<u8>> {
    let asked = [
        (0, "sys/mounts\n"),
        (
            3,
            "sys/mounts/kv\n{\"type\":\"kv\",\"options\":{\"version\":\"2\"},\"config\":{\"max_lease_ttl\":\"1h\"}}",
        ),
        (
            3,
            "sys/policies/acl/p\n{\"policy\":\"path \\\"a\\\" { capabilities = [\\\"read\\\"] }\"}",
        ),
        (
            3,
            "auth/token/create\n{\"policies\":[\"p\"],\"ttl\":\"1h\",\"num_uses\":3,\"meta\":{\"a\":\"b\"}}",
        ),
        (3, "auth/token/lookup\n{\"token\":\"aum.0123456789\"}"),
        (3, "sys/capabilities-self\n{\"paths\":[\"a\",\"b\"]}"),
        (3, "sys/quotas/rate-limit/q\n{\"rate\":10,\"interval\":\"1s\"}"),
        (9, "sys/quotas/rate-limit/q\n{\"rate\":10,\"interval\":\"1s\"}"),
        (3, "sys/namespaces/team\n{\"custom_metadata\":{\"a\":\"b\"}}"),
        (9, "sys/namespaces/app\n{}"),
        (3, "identity/entity\n{\"name\":\"ann\",\"policies\":\"p\"}"),
        (3, "sys/wrapping/unwrap\n{\"token\":\"aum.w.0123456789\"}"),
        (3, "cubbyhole/a\n{\"k\":\"v\"}"),
        (5, "sys/auth/userpass\n"),
    ];
    asked
        .map(|(choice, text)| super::chosen(choice, text.as_bytes()))
        .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some((choice, rest)) = input.split_first() else {
        return Verdict::Refused;
    };
    let Some((path, body)) = text(rest).and_then(|text| text.split_once('\n')) else {
        return Verdict::Refused;
    };
    let verb = VERBS[usize::from(*choice) % VERBS.len()];
    let root = NamespacePath::root();
    let team = NamespacePath::parse("team").expect("is a path");
    let here = if (usize::from(*choice) / VERBS.len()).is_multiple_of(2) {
        &root
    } else {
        &team
    };
    let ask = |namespace: &NamespacePath, path: &str| logical(verb, namespace, path, body.as_bytes());
    let found = bounded(input, MEMORY, || ask(here, path));
    assert_eq!(found, ask(here, path), "there is one reading");
    let without = path.strip_suffix('/').unwrap_or(path);
    let slash = format!("{without}/");
    // Two of them are no path.
    assert!(
        without.ends_with('/') || ask(here, without).is_ok() == ask(here, &slash).is_ok(),
        "a slash at the end decides nothing"
    );
    let (name, is_write) = match &found {
        Ok(found) => *found,
        Err(error) => {
            // What else is sent may be told, so that its sender finds the mistake.
            let sent: Option<Value> = serde_json::from_str(body).ok();
            let secrets = SECRETS.iter().filter_map(|field| sent.as_ref()?.get(field)?.as_str());
            for secret in secrets {
                silent(secret.as_bytes(), path.as_bytes(), error);
            }
            return Verdict::Refused;
        }
    };
    // What tells something does not change anything, but where a path is a verb of its own.
    assert!(
        !is_write || verb.is_write() || name.starts_with("wrapping."),
        "{verb:?} {path} writes: {name}"
    );
    // A namespace has no more than the root has, and nothing that is the cluster's.
    assert_eq!(ask(&root, path), found, "the root has all that there is");
    if ask(&team, path).is_ok() {
        let is_of_cluster = OF_CLUSTER.iter().any(|of| name.starts_with(of));
        assert!(!is_of_cluster, "{name} is the cluster's, and reached from a namespace");
    }
    Verdict::Accepted
}

/// What names of operations begin with that are the cluster's.
const OF_CLUSTER: [&str; 12] = [
    "cluster.",
    "audit.",
    "keys.",
    "quota.",
    "sys.audit.",
    "sys.cors",
    "sys.ha-status",
    "sys.host-info",
    "sys.loggers",
    "sys.metrics",
    "sys.seal",
    "sys.step-down",
];
/// Fields whose values let somebody in.
const SECRETS: [&str; 4] = ["token", "id", "password", "passcode"];
/// As JSON, and as an operation; policies are parsed.
const MEMORY: Memory = Memory {
    per_byte: 1_024,
    at_least: 256 << 10,
};
