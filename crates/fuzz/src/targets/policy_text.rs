//! The text of a policy, in HCL and in JSON: what is read, written out and read again gives the same rules, and what is refused is refused
//! without more of the text than a pattern.

use aumbry_policy::Policy;

use super::text;
use crate::check::{Memory, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "policy_text",
    seeds,
    run,
    words: &[
        b"path",
        b"secret",
        b"\"",
        b"\" { ",
        b"capabilities",
        b" = [",
        b"\"read\"",
        b"\"deny\"",
        b"policy = \"write\"",
        b"mount = \"a/b\"",
        b"/*",
        b"*/",
        b"//",
        b"#",
        b"\n",
        b"<<E\n",
        b"${",
        b"%{",
        b"\\u0041",
        b"\\",
        b"\\\"",
        b"}",
        b"]",
        b"{\"path\":{",
        b":",
        b",",
        b"+",
        b"{{",
        "\u{202e}".as_bytes(),
        b"\r",
        b"allowed_parameters",
        b"denied_parameters = { \"a\" = [1, true, \"b*\"] }",
        b"required_parameters = [\"a\"]",
        b"min_wrapping_ttl = 1",
        b"pagination_limit = 2",
        b"expiration = \"2027-01-31T12:00:00Z\"",
        b"{{identity.entity.id}}",
        b"{{identity.groups.names.a.metadata.b}}",
    ],
    bombs,
    smoke: 40_000,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "",
        "path \"secret/data/app/*\" { capabilities = [\"read\", \"list\"] }\n",
        "# why\nsecret \"secret/app/*\" {\n  capabilities = [\"read\", \"delete\",]\n}\n/* no */ path \"a/+/c\" { policy = \"write\" } // end",
        "secret \"team/kv/app/*\" { mount = \"team/kv\", capabilities = [\"deny\"] }",
        "{\"path\": {\"secret/data/app/*\": {\"capabilities\": [\"read\", \"sudo\"]}}, \"secret\": {\"a/b\": {\"capabilities\": [\"scan\"]}}}",
        "path \"a/{{identity.entity.name}}/*\" { policy = \"write\", allowed_parameters { a = [\"b*\", 1, true], \"*\" = [] } denied_parameters = { c = [] } required_parameters = [\"a\"] }",
        "secret \"kv/{{identity.entity.aliases.m.name}}\" { capabilities = [\"list\"] pagination_limit = 3 min_wrapping_ttl = \"1m\" max_wrapping_ttl = 90 expiration = 5 comment = \"why\" }",
        "{\"path\": {\"a\": {\"capabilities\": [\"update\"], \"denied_parameters\": {\"n\": [-1, 2.50, 1e300, \"x\"]}, \"expiration\": \"2027-01-31T12:00:00.5+01:00\"}}}",
        "path = { \"a\" = { capabilities = [\"read\"] } }",
    ]
    .iter()
    .filter(|text| Policy::parse(text).is_ok())
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

fn bombs() -> Vec<Vec<u8>> {
    let mut bombs = super::usual_bombs();
    // As long as a policy may be.
    bombs.extend(
        ["[", "{", "a={", "{\"a\":", "\"", "/*", "#", "\\"]
            .map(|part| part.repeat((64 << 10) / part.len()).into_bytes()),
    );
    let rules = |count: usize| {
        (0..count)
            .map(|n| format!("path\"{n}\"{{policy=\"read\"}}"))
            .collect::<String>()
            .into_bytes()
    };
    bombs.extend([rules(1_000), rules(1_001), rules(2_500)]);
    bombs
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let policy = match bounded(input, MEMORY, || Policy::parse(text)) {
        Ok(policy) => policy,
        Err(error) => {
            let told = format!("{error} {error:?}");
            assert!(
                told.len() < 2_000 && !told.contains('\n'),
                "an error fits into a header"
            );
            assert!(
                error.line.is_none_or(|line| line <= text.split('\n').count()),
                "the line is there"
            );
            return Verdict::Refused;
        }
    };
    assert!(policy.rules().len() <= 1_000);
    // Rules may meet on a pattern, where a path block and an expansion of a secret block are united; each is written on its own then.
    for rule in policy.rules() {
        assert!(!rule.capabilities().is_empty(), "a rule says something");
        if policy.rules().len() <= RULES_WRITTEN_MAX {
            let written = rule.to_json();
            let again = Policy::parse(&written).unwrap_or_else(|error| panic!("what is written is refused: {error}"));
            assert_eq!(again.rules(), core::slice::from_ref(rule), "it is read as another rule");
        }
    }
    Verdict::Accepted
}

/// A rule of a few characters becomes six with patterns of their own.
const MEMORY: Memory = Memory {
    per_byte: 256,
    at_least: 64 << 10,
};
const RULES_WRITTEN_MAX: usize = 32;
