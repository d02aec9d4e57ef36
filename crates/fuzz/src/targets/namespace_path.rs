//! Paths with namespaces, one before the path and one in the header: they lead down alone, nothing of them is lost, and there is one reading.

use aumbry_node::fuzzing::descend;
use aumbry_types::{NAMESPACE_DEPTH_MAX, NamespacePath};

use super::text;
use crate::check::{USUAL, bounded};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "namespace_path",
    seeds,
    run,
    words: &[
        b"/",
        b"//",
        b"..",
        b".",
        b"team",
        b"team/app",
        b"root",
        b"sys",
        b"auth",
        b"Team",
        b"%2f",
        b"\n",
        b"a/a/a",
    ],
    input_bytes_max: 1_024,
    ..Target::USUAL
};

/// The header, and the path: a line each.
fn seeds() -> Vec<Vec<u8>> {
    [
        "team\napp/secret/data/a",
        "\nteam/app/secret/data/a",
        "team/app\nsecret",
        "\nteam/",
        "team\nteam/app/x",
        "/a/a/\na/a/a/a/a/a/a/a/x",
        "other\n../team/secret",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some((header, path)) = text(input).and_then(|text| text.split_once('\n')) else {
        return Verdict::Refused;
    };
    let Ok(base) = bounded(input, USUAL, || NamespacePath::parse(header)) else {
        return Verdict::Refused;
    };
    // One text for each, so that no two are one and no one is two.
    assert_eq!(NamespacePath::parse(base.as_str()).as_ref(), Ok(&base));
    assert_eq!(
        header.trim_matches('/'),
        base.as_str(),
        "a header is taken as it is, but for slashes at its ends"
    );
    let names: Vec<&str> = base.as_str().split('/').filter(|name| !name.is_empty()).collect();
    assert!(names.len() <= NAMESPACE_DEPTH_MAX);
    assert!(names.iter().all(|name| !RESERVED.contains(name) && is_name(name)));
    let tree = NAMESPACES.map(|path| NamespacePath::parse(path).expect("is one"));
    let (found, rest) = descend(&tree, &base, path);
    assert!(found == base || found.below(&base).is_some(), "a path leads down alone");
    assert!(found == base || tree.contains(&found), "and to what is there");
    // The whole is what was asked for.
    let whole = |namespace: &NamespacePath, path: &str| match namespace.is_root() {
        true => path.to_owned(),
        false => format!("{namespace}/{path}"),
    };
    assert_eq!(whole(&found, rest), whole(&base, path), "nothing is lost or added");
    assert_eq!(rest.is_empty(), path.is_empty(), "a namespace is no thing that is read");
    // As far as it goes: asked again from there, it leads no further.
    assert_eq!(
        descend(&tree, &found, rest),
        (found.clone(), rest),
        "there is one reading"
    );
    let by_header = whole(&base, path);
    let from_root = descend(&tree, &NamespacePath::root(), &by_header);
    if base.is_root() || tree.contains(&base) && !path.is_empty() && has_all_above(&tree, &names) {
        assert_eq!(from_root, (found, rest), "the header and the path say the same");
    }
    Verdict::Accepted
}

/// Whether each namespace above is there too.
fn has_all_above(tree: &[NamespacePath], names: &[&str]) -> bool {
    let above = |end: usize| NamespacePath::parse(&names[..end].join("/")).is_ok_and(|path| tree.contains(&path));
    (1..=names.len()).all(above)
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    (1..=64).contains(&name.len()) && name.bytes().all(is_fine)
}

const RESERVED: [&str; 6] = ["root", "sys", "auth", "cubbyhole", "identity", "audit"];
const NAMESPACES: [&str; 12] = [
    "team",
    "team/app",
    "team/app/deep",
    "other",
    "a",
    "a/a",
    "a/a/a",
    "a/a/a/a",
    "a/a/a/a/a",
    "a/a/a/a/a/a",
    "a/a/a/a/a/a/a",
    "a/a/a/a/a/a/a/a",
];
