//! Templates in policies, with a name that somebody chose: a name leads to its own paths and to no others, and one that could mean more leads nowhere.

use std::collections::BTreeMap;

use aumbry_policy::identity::Entity;
use aumbry_policy::{Access, Identity, Policy, PolicySet};
use aumbry_types::{Capability, LogTime};

use super::text;
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "identity_template",
    seeds,
    run,
    words: &[
        b"/",
        b"+",
        b"*",
        b"..",
        b"{{",
        b"}}",
        b"identity.entity.id",
        b"ann",
        b"\0",
        b"a/b",
        b"\xc3\xa9",
    ],
    bombs: Vec::new,
    input_bytes_max: 256,
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "ann",
        "a.b-c_d",
        "+",
        "*",
        "ann/x",
        "a+",
        "{{identity.entity.id}}",
        "..",
    ]
    .map(|name| name.as_bytes().to_vec())
    .to_vec()
}

/// Policies that let everybody have what is below a name, twice at two ends of a path; the second takes something from all.
const POLICIES: [&str; 3] = [
    r#"path "home/{{identity.entity.name}}/*" { capabilities = ["read"] }"#,
    r#"path "team/{{identity.entity.metadata.team}}" { capabilities = ["read"] }"#,
    r#"path "shut/*" { capabilities = ["read"] }
path "shut/{{identity.entity.name}}" { capabilities = ["deny"] }"#,
];

fn run(input: &[u8]) -> Verdict {
    let Some(name) = text(input) else {
        return Verdict::Refused;
    };
    let identity = Identity {
        entity: Some(Entity {
            id: "e-1".to_owned(),
            name: name.to_owned(),
            metadata: BTreeMap::from([("team".to_owned(), name.to_owned())]),
            ..Entity::default()
        }),
        ..Identity::default()
    };
    let parsed = POLICIES.map(|text| Policy::parse(text).expect("is a policy"));
    let set = PolicySet::compile_for(parsed.iter().map(|policy| ("p", policy)), &identity);
    let may = |path: &str| set.decide(&Access::new(path, Capability::Read, LogTime(0))).allowed;
    // What is somebody else's, or everybody's.
    for other in ["e-1", "bob", "home", "a", "annx", "x", "xx"] {
        assert!(
            other == name || !may(&format!("home/{other}/key")),
            "{name:?} reaches what is {other}'s"
        );
        assert!(
            other == name || !may(&format!("team/{other}")),
            "{name:?} reaches what is {other}'s"
        );
    }
    for path in [
        "home/key",
        "home//key",
        "home/",
        "team/",
        "homes/key",
        "bob/key",
        "secret/key",
    ] {
        let is_own = path == format!("home/{name}") || path == format!("team/{name}");
        assert!(is_own || !may(path), "{name:?} reaches {path}");
    }
    let is_reached = may(&format!("home/{name}/key"));
    assert_eq!(is_reached, may(&format!("team/{name}")), "both speak of the same name");
    assert!(
        !is_reached || !name.contains(['/', '+', '*', '{', '}']),
        "{name:?} means more than one"
    );
    // A rule that takes something takes it wherever it could be meant.
    assert!(
        !may(&format!("shut/{name}")) || name.is_empty() || name.contains('/'),
        "{name:?} is not shut out"
    );
    Verdict::of(is_reached)
}
