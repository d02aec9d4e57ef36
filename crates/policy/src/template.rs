//! Patterns that speak of whoever asks: `secret/data/{{identity.entity.id}}/*`.

use core::fmt;

use crate::identity::{Alias, Group, Identity};
use crate::pattern::{Pattern, PatternError};

/// A pattern with templates, which becomes a pattern for an identity.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    /// Invariant: at least one is a value; with each of those replaced by a letter they are a pattern.
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Source),
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq)]
enum Source {
    Entity(Field),
    /// By the accessor of the mount.
    Alias(String, Field),
    GroupById(String, Field),
    GroupByName(String, Field),
}

#[derive(Clone, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Metadata(String),
    CustomMetadata(String),
}

/// What a template is for one identity.
pub(crate) enum Resolved {
    /// The paths that are meant.
    Pattern(Pattern),
    /// Nobody can say what is meant. The pattern matches all that could be.
    Unknown(Pattern),
}

impl Template {
    /// Whether a text has a template, or tries to.
    pub(crate) fn is_in(text: &str) -> bool {
        text.contains("{{") || text.contains("}}")
    }

    /// Checks a pattern with templates.
    ///
    /// # Errors
    /// As [`Pattern::parse`], and [`PatternError::Template`] for one that is not known or not closed.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(PatternError::Template)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Value(Source::parse(name.trim()).ok_or(PatternError::Template)?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        let is_broken = |part: &Part| matches!(part, Part::Text(text) if text.contains(['{', '}']));
        if parts.iter().any(is_broken) || text.len() > TEXT_BYTES_MAX {
            return Err(PatternError::Template);
        }
        let template = Self {
            text: text.to_owned(),
            parts,
        };
        Pattern::parse(&template.with(|_| Some("x")).unwrap_or_default())?;
        Ok(template)
    }

    /// The text as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a value stands beside something else in its segment, so that two identities may meet in one path.
    pub(crate) fn is_joined(&self) -> bool {
        self.parts.iter().enumerate().any(|(at, part)| {
            let is_bound = |neighbour: Option<&Part>, touches: fn(&str) -> bool| match neighbour {
                Some(Part::Text(text)) => !touches(text),
                Some(Part::Value(_)) => true,
                None => false,
            };
            let before = at.checked_sub(1).and_then(|at| self.parts.get(at));
            matches!(part, Part::Value(_))
                && (is_bound(before, |text| text.ends_with('/'))
                    || is_bound(self.parts.get(at + 1), |text| text.starts_with('/')))
        })
    }

    /// Whether it speaks of names, which can be given to another.
    pub(crate) fn is_by_name(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Value(Source::Entity(field) | Source::GroupById(_, field)) => *field == Field::Name,
            Part::Value(Source::GroupByName(..)) => true,
            _ => false,
        })
    }

    /// The pattern for an identity.
    pub(crate) fn resolve(&self, identity: &Identity) -> Resolved {
        let usable = |source: &Source| source.value(identity).filter(|value| is_plain(value));
        let text = self.with(usable);
        match text.map(|text| Pattern::parse(&text)) {
            Some(Ok(pattern)) => Resolved::Pattern(pattern),
            _ => Resolved::Unknown(self.widened(identity)),
        }
    }

    /// All that the pattern could match, whatever the values are that cannot be used: one segment each, and the whole tree where a value
    /// holds a slash, for its author had more than one in mind.
    fn widened(&self, identity: &Identity) -> Pattern {
        let mut text = String::new();
        let mut is_open = false;
        for part in &self.parts {
            match part {
                // What stands beside a wildcard in its segment is of no use.
                Part::Text(plain) if is_open => {
                    if let Some(at) = plain.find('/') {
                        text.push_str(&plain[at..]);
                        is_open = false;
                    }
                }
                Part::Text(plain) => text.push_str(plain),
                Part::Value(_) if is_open => {}
                Part::Value(source) => {
                    let value = source.value(identity);
                    if let Some(value) = value.filter(|value| is_plain(value)) {
                        text.push_str(value);
                        continue;
                    }
                    let begin = text.rfind('/').map_or(0, |at| at + 1);
                    text.truncate(begin);
                    if value.is_some_and(|value| value.contains('/')) {
                        return prefix(&text);
                    }
                    text.push('+');
                    is_open = true;
                }
            }
        }
        if is_open && self.text.ends_with('*') {
            return prefix(&text[..text.len() - 1]);
        }
        // A good value can still make a bad pattern, as `..` and a very long one do.
        Pattern::parse(&text).unwrap_or_else(|_| {
            let plain = match self.parts.first() {
                Some(Part::Text(plain)) => plain.as_str(),
                _ => "",
            };
            prefix(&plain[..plain.rfind('/').map_or(0, |at| at + 1)])
        })
    }

    fn with<'a>(&'a self, value: impl Fn(&'a Source) -> Option<&'a str>) -> Option<String> {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Value(source) => value(source),
        });
        parts.collect()
    }
}

impl Source {
    fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("identity.")?;
        if let Some(rest) = rest.strip_prefix("entity.aliases.") {
            let (accessor, field) = rest.split_once('.')?;
            return (!accessor.is_empty()).then_some(Self::Alias(accessor.to_owned(), Field::parse(field)?));
        }
        if let Some(rest) = rest.strip_prefix("entity.") {
            return Some(Self::Entity(Field::parse(rest)?)).filter(Self::is_known);
        }
        let rest = rest.strip_prefix("groups.")?;
        let source = if let Some(rest) = rest.strip_prefix("ids.") {
            let (id, field) = split_group(rest)?;
            Self::GroupById(id, field)
        } else {
            let (name, field) = split_group(rest.strip_prefix("names.")?)?;
            Self::GroupByName(name, field)
        };
        Some(source).filter(Self::is_known)
    }

    /// Whether others of its kind have this field, and it says something new.
    fn is_known(&self) -> bool {
        match self {
            Self::Alias(..) => true,
            Self::Entity(field) => !matches!(field, Field::CustomMetadata(_)),
            Self::GroupById(_, field) => matches!(field, Field::Name | Field::Metadata(_)),
            Self::GroupByName(_, field) => matches!(field, Field::Id | Field::Metadata(_)),
        }
    }

    fn value<'a>(&self, identity: &'a Identity) -> Option<&'a str> {
        match self {
            Self::Entity(field) => {
                let entity = identity.entity.as_ref()?;
                match field {
                    Field::Id => Some(entity.id.as_str()),
                    Field::Name => Some(entity.name.as_str()),
                    Field::Metadata(key) => entity.metadata.get(key).map(String::as_str),
                    Field::CustomMetadata(_) => None,
                }
            }
            Self::Alias(accessor, field) => of_alias(identity.entity.as_ref()?.aliases.get(accessor)?, field),
            Self::GroupById(id, field) => of_group(identity, |group| group.id == *id, field),
            Self::GroupByName(name, field) => of_group(identity, |group| group.name == *name, field),
        }
    }
}

fn of_alias<'a>(alias: &'a Alias, field: &Field) -> Option<&'a str> {
    match field {
        Field::Id => Some(&alias.id),
        Field::Name => Some(&alias.name),
        Field::Metadata(key) => alias.metadata.get(key).map(String::as_str),
        Field::CustomMetadata(key) => alias.custom_metadata.get(key).map(String::as_str),
    }
}

/// The field of the one group that is meant; two of one name are nobody.
fn of_group<'a>(identity: &'a Identity, is_meant: impl Fn(&Group) -> bool, field: &Field) -> Option<&'a str> {
    let mut meant = identity.groups.iter().filter(|group| is_meant(group));
    let (Some(group), None) = (meant.next(), meant.next()) else {
        return None;
    };
    match field {
        Field::Id => Some(&group.id),
        Field::Name => Some(&group.name),
        Field::Metadata(key) => group.metadata.get(key).map(String::as_str),
        Field::CustomMetadata(_) => None,
    }
}

/// Names of groups have dots; the field is what comes last, or the key of the metadata.
fn split_group(rest: &str) -> Option<(String, Field)> {
    let (group, field) = match rest.split_once(".metadata.") {
        Some((group, key)) => (group, Field::Metadata(key.to_owned())),
        None => {
            let (group, field) = rest.rsplit_once('.')?;
            (group, Field::parse(field)?)
        }
    };
    let is_empty = group.is_empty() || matches!(&field, Field::Metadata(key) if key.is_empty());
    (!is_empty).then_some((group.to_owned(), field))
}

impl Field {
    fn parse(text: &str) -> Option<Self> {
        let keyed = |prefix: &str| text.strip_prefix(prefix).filter(|key| !key.is_empty());
        match text {
            "id" => Some(Self::Id),
            "name" => Some(Self::Name),
            _ => keyed("metadata.")
                .map(|key| Self::Metadata(key.to_owned()))
                .or_else(|| keyed("custom_metadata.").map(|key| Self::CustomMetadata(key.to_owned()))),
        }
    }
}

/// Whether a value is one segment, or part of one, and nothing else: whoever can choose a name must not choose a pattern.
fn is_plain(value: &str) -> bool {
    let is_meta = |c: char| matches!(c, '*' | '+' | '/' | ',' | '{' | '}') || c.is_control();
    !value.is_empty() && !value.contains(is_meta)
}

fn prefix(begin: &str) -> Pattern {
    Pattern::parse(&format!("{begin}*")).unwrap_or_else(|_| Pattern::any())
}

// A pattern holds names of secrets, and those do not belong into logs.
impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({} bytes)", self.text.len())
    }
}

/// A path has 1,024 bytes, and the name of a value is short.
const TEXT_BYTES_MAX: usize = 4_096;
