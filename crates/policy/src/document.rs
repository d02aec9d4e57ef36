//! What HCL and JSON have in common: blocks of attributes. Nothing here is checked for meaning yet.

/// The kind of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// About a path of the API.
    Path,
    /// About a secret.
    Secret,
}

/// One block: a pattern and what is said of it.
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) pattern: String,
    /// From 1, where the parser knows it.
    pub(crate) line: Option<usize>,
    pub(crate) attributes: Vec<Attribute>,
}

/// One key and its value.
pub(crate) struct Attribute {
    pub(crate) key: String,
    /// From 1, where the parser knows it.
    pub(crate) line: Option<usize>,
    pub(crate) value: Value,
}

/// A value, as far as policies need it.
pub(crate) enum Value {
    Text(String),
    /// Its digits as they stand, or as JSON means them.
    Number(String),
    Bool(bool),
    List(Vec<Self>),
    /// Keys may repeat here: whoever reads it refuses that.
    Object(Vec<Attribute>),
    /// Anything else; a policy has no use for it, so only its being there is kept.
    Other,
}

impl Value {
    /// The texts of a list of nothing else.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        let Self::List(items) = self else { return None };
        items
            .iter()
            .map(|item| match item {
                Self::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Kind {
    /// The kind with this keyword.
    pub(crate) fn from_keyword(word: &str) -> Option<Self> {
        match word {
            "path" => Some(Self::Path),
            "secret" => Some(Self::Secret),
            _ => None,
        }
    }
}
