//! Paths, mounts and names: what is accepted is stored as it was written, and has none of the forms that a path must not have.

use aumbry_types::{MountPath, Name, SecretPath};

use super::text;
use crate::check::{USUAL, bounded, silent};
use crate::{Target, Verdict};

pub(super) static TARGET: Target = Target {
    name: "path",
    seeds,
    run,
    words: &[
        b"/",
        b"//",
        b"/./",
        b"/../",
        b".",
        b"%2e",
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        "\u{200b}".as_bytes(),
        "\u{202e}".as_bytes(),
        "\u{feff}".as_bytes(),
        "\u{1f512}".as_bytes(),
        "\u{3164}".as_bytes(),
        b"\x7f",
    ],
    ..Target::USUAL
};

fn seeds() -> Vec<Vec<u8>> {
    let deep = vec!["a"; 32].join("/");
    let long = "b".repeat(255);
    [
        "secret/app/db",
        "a",
        "h\u{e9}/\u{1f512}",
        "policy-1.a_b",
        "mount/",
        &deep,
        &long,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else {
        return Verdict::Refused;
    };
    let path = bounded(input, USUAL, || SecretPath::parse(text));
    let mount = MountPath::parse(text);
    let name = Name::parse(text);
    match &path {
        Ok(path) => {
            assert_eq!(path.as_str(), text, "what was checked is what is stored");
            assert!(!text.is_empty() && text.len() <= 1_024 && !text.chars().any(char::is_control));
            assert_eq!(path.segments().collect::<Vec<_>>().join("/"), text);
            assert!(path.segments().count() <= 32);
            assert!(
                path.segments()
                    .all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= 255)
            );
            // Whatever is below a mount is that path without the mount.
            for (at, _) in text.match_indices('/') {
                let mount = MountPath::parse(&text[..at]).expect("the beginning of a path is one");
                let below = path
                    .below(&mount)
                    .expect("it is below")
                    .expect("it is not the mount itself");
                assert_eq!(below.as_str(), &text[at + 1..]);
            }
        }
        Err(error) => silent(input, b"", error),
    }
    let plain = text.strip_suffix('/').unwrap_or(text);
    assert_eq!(mount.is_ok(), SecretPath::parse(plain).is_ok());
    if let Ok(name) = &name {
        assert_eq!(name.as_str(), text);
        assert!(text.len() <= 128 && text.is_ascii() && SecretPath::parse(text).is_ok());
    }
    Verdict::of(path.is_ok() || mount.is_ok())
}
