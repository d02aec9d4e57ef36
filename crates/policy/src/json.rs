//! Policies written in JSON: `{"path": {"secret/*": {"capabilities": [..]}}}`.

use core::fmt;
use std::collections::BTreeSet;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::document::{Attribute, Block, Kind, Value};
use crate::error::{ParseError, Reason, shown};

/// Reads the blocks of a text that the scan has passed.
///
/// # Errors
/// The first thing that is not a block of attributes, with its line where the parser knows it.
pub(crate) fn read(text: &str) -> Result<Vec<Block>, ParseError> {
    // The only data error that a tree of anything can raise is the one of `visit_map`.
    let tree: Tree = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Reason::DuplicateKey.at(error.line()),
        Category::Io | Category::Syntax | Category::Eof => Reason::Syntax.at(error.line()),
    })?;
    let Tree::Object(kinds) = tree else {
        return Err(Reason::Syntax.into());
    };
    let mut blocks = Vec::new();
    for (word, patterns) in kinds {
        let kind = Kind::from_keyword(&word).ok_or(Reason::UnknownBlock)?;
        let Tree::Object(patterns) = patterns else {
            return Err(Reason::WrongType("path and secret are objects of patterns").into());
        };
        for (pattern, attributes) in patterns {
            let Tree::Object(attributes) = attributes else {
                return Err(ParseError {
                    pattern: Some(shown(&pattern)),
                    ..Reason::WrongType("what is said of a pattern is an object").into()
                });
            };
            let attributes = attributes.into_iter().map(attribute).collect();
            blocks.push(Block {
                kind,
                pattern,
                line: None,
                attributes,
            });
        }
    }
    Ok(blocks)
}

fn attribute((key, value): (String, Tree)) -> Attribute {
    Attribute {
        key,
        line: None,
        value: value.into(),
    }
}

/// Any JSON value, in the order of the text and without equal keys.
enum Tree {
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
    Null,
}

impl From<Tree> for Value {
    fn from(tree: Tree) -> Self {
        match tree {
            Tree::Text(text) => Self::Text(text),
            Tree::Number(text) => Self::Number(text),
            Tree::Bool(bool) => Self::Bool(bool),
            Tree::List(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Tree::Object(entries) => Self::Object(entries.into_iter().map(attribute).collect()),
            Tree::Null => Self::Other,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(bool))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(Tree::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Tree, E> {
        Ok(Tree::Number(number.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        // A later value would silently replace an earlier one, and with it perhaps a deny.
        let mut seen = BTreeSet::new();
        let mut object = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("duplicate key"));
            }
            object.push((key, entries.next_value()?));
        }
        Ok(Tree::Object(object))
    }
}
