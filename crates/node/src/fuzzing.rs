//! What the fuzzer needs that nothing else outside this crate sees. Not for any other use: it changes with the code.

use aumbry_types::{NamespacePath, ObjectId};

use crate::namespaces::Tree;

/// The namespace that a path leads to from a base, and the rest of the path, where these namespaces are.
#[must_use]
pub fn descend<'a>(namespaces: &[NamespacePath], base: &NamespacePath, path: &'a str) -> (NamespacePath, &'a str) {
    let numbered = namespaces.iter().zip(1_u128..);
    Tree::of(numbered.map(|(path, number)| (path.clone(), ObjectId::from_bytes(number.to_be_bytes()))))
        .descend(base, path)
}
