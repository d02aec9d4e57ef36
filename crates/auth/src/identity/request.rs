//! What can be asked, by path below `identity/`.

use aumbry_logical::{Body, Verb};
use aumbry_types::{Name, ObjectId};

use crate::answer::{Error, parse_name};
use crate::listing;

/// How an entity or a group is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// By its id.
    Id(ObjectId),
    /// By its name.
    Name(Name),
    /// Not at all: a new one, or one that the body names.
    Body,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// Whether names are listed, and not ids.
    pub(super) by_name: bool,
    /// Only those greater than this.
    pub(super) after: String,
    /// At most so many; 0 is as many as a page holds.
    pub(super) limit: usize,
}

/// A request of somebody who has a token.
pub enum Request {
    /// Writes an entity: the values that the body names.
    WriteEntity(By, Body),
    /// Reads an entity.
    ReadEntity(By),
    /// Deletes an entity.
    DeleteEntity(By),
    /// Deletes several.
    DeleteEntities(Vec<ObjectId>),
    /// Lists entities.
    ListEntities(Page),
    /// Makes several entities one.
    MergeEntities {
        /// Those that end.
        from: Vec<ObjectId>,
        /// The one that stays.
        to: ObjectId,
        /// Whether it may have several aliases on one mount then.
        is_forced: bool,
    },
    /// Writes an alias of an entity.
    WriteAlias(Option<ObjectId>, Body),
    /// Reads an alias.
    ReadAlias(ObjectId),
    /// Deletes an alias.
    DeleteAlias(ObjectId),
    /// Lists aliases.
    ListAliases(Page),
    /// Writes a group: the values that the body names.
    WriteGroup(By, Body),
    /// Reads a group.
    ReadGroup(By),
    /// Deletes a group.
    DeleteGroup(By),
    /// Lists groups.
    ListGroups(Page),
    /// Writes the alias of an external group.
    WriteGroupAlias(Option<ObjectId>, Body),
    /// Reads the alias of a group.
    ReadGroupAlias(ObjectId),
    /// Deletes the alias of a group.
    DeleteGroupAlias(ObjectId),
    /// Lists the aliases of groups.
    ListGroupAliases(Page),
    /// Finds an entity by what is known of it.
    LookupEntity(Body),
    /// Finds a group by what is known of it.
    LookupGroup(Body),
}

impl Request {
    /// Reads a request; the path is canonical.
    ///
    /// # Errors
    /// [`Error`]
    pub fn parse(verb: Verb, path: &str, body: Body) -> Result<Self, Error> {
        use Verb::{Delete, List, Read, Write};
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<&str> = path.split('/').collect();
        Ok(match (&segments[..], verb) {
            (["entity"], Write) => Self::WriteEntity(By::Body, body),
            (["entity", "merge"], Write) => Self::MergeEntities {
                from: ids(&body, "from_entity_ids")?,
                to: parse_id(&body.required_text("to_entity_id")?)?,
                is_forced: body.flag("force")?.unwrap_or(false),
            },
            (["entity", "batch-delete"], Write) => Self::DeleteEntities(ids(&body, "entity_ids")?),
            (["entity", by @ ("id" | "name")], List) => Self::ListEntities(page(by, &body)?),
            (["entity", by @ ("id" | "name"), one], Write) => Self::WriteEntity(parse_by(by, one)?, body),
            (["entity", by @ ("id" | "name"), one], Read) => Self::ReadEntity(parse_by(by, one)?),
            (["entity", by @ ("id" | "name"), one], Delete) => Self::DeleteEntity(parse_by(by, one)?),
            (["entity-alias"], Write) => Self::WriteAlias(body_id(&body)?, body),
            (["entity-alias", "id"], List) => Self::ListAliases(page("id", &body)?),
            (["entity-alias", "id", one], Write) => Self::WriteAlias(Some(path_id(one)?), body),
            (["entity-alias", "id", one], Read) => Self::ReadAlias(path_id(one)?),
            (["entity-alias", "id", one], Delete) => Self::DeleteAlias(path_id(one)?),
            (["group"], Write) => Self::WriteGroup(By::Body, body),
            (["group", by @ ("id" | "name")], List) => Self::ListGroups(page(by, &body)?),
            (["group", by @ ("id" | "name"), one], Write) => Self::WriteGroup(parse_by(by, one)?, body),
            (["group", by @ ("id" | "name"), one], Read) => Self::ReadGroup(parse_by(by, one)?),
            (["group", by @ ("id" | "name"), one], Delete) => Self::DeleteGroup(parse_by(by, one)?),
            (["group-alias"], Write) => Self::WriteGroupAlias(body_id(&body)?, body),
            (["group-alias", "id"], List) => Self::ListGroupAliases(page("id", &body)?),
            (["group-alias", "id", one], Write) => Self::WriteGroupAlias(Some(path_id(one)?), body),
            (["group-alias", "id", one], Read) => Self::ReadGroupAlias(path_id(one)?),
            (["group-alias", "id", one], Delete) => Self::DeleteGroupAlias(path_id(one)?),
            (["lookup", "entity"], Write) => Self::LookupEntity(body),
            (["lookup", "group"], Write) => Self::LookupGroup(body),
            (
                ["entity" | "entity-alias" | "group" | "group-alias"]
                | ["entity", "merge" | "batch-delete" | "id" | "name"]
                | ["entity-alias" | "group-alias", "id"]
                | ["group", "id" | "name"]
                | ["entity" | "group", "id" | "name", _]
                | ["entity-alias" | "group-alias", "id", _]
                | ["lookup", "entity" | "group"],
                _,
            ) => return Err(Error::Unsupported),
            _ => return Err(Error::NotFound),
        })
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::WriteEntity(..)
            | Self::DeleteEntity(_)
            | Self::DeleteEntities(_)
            | Self::MergeEntities { .. }
            | Self::WriteAlias(..)
            | Self::DeleteAlias(_)
            | Self::WriteGroup(..)
            | Self::DeleteGroup(_)
            | Self::WriteGroupAlias(..)
            | Self::DeleteGroupAlias(_) => true,
            Self::ReadEntity(_)
            | Self::ListEntities(_)
            | Self::ReadAlias(_)
            | Self::ListAliases(_)
            | Self::ReadGroup(_)
            | Self::ListGroups(_)
            | Self::ReadGroupAlias(_)
            | Self::ListGroupAliases(_)
            | Self::LookupEntity(_)
            | Self::LookupGroup(_) => false,
        }
    }
}

/// An id in a path, which has one spelling: rules are about paths. Nothing has any other, such as those that another server gave.
pub(super) fn path_id(text: &str) -> Result<ObjectId, Error> {
    text.parse().map_err(|_| Error::NotFound)
}

/// An id in a body, with the hyphens that clients of other systems put in or without.
pub(super) fn parse_id(text: &str) -> Result<ObjectId, Error> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    digits
        .parse()
        .map_err(|_| Error::Invalid("an id has 32 hexadecimal digits"))
}

/// Several, each once.
pub(super) fn ids(body: &Body, field: &'static str) -> Result<Vec<ObjectId>, Error> {
    let texts = body.texts(field)?.unwrap_or_default();
    if texts.len() > IDS_MAX {
        return Err(Error::Invalid("at most 4,000 ids in one request"));
    }
    let mut ids: Vec<ObjectId> = texts.iter().map(|text| parse_id(text)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The id in a body, if it has one.
pub(super) fn body_id(body: &Body) -> Result<Option<ObjectId>, Error> {
    let text = body.text("id")?.filter(|text| !text.is_empty());
    text.map(|text| parse_id(&text)).transpose()
}

fn parse_by(by: &str, one: &str) -> Result<By, Error> {
    match by {
        "id" => path_id(one).map(By::Id),
        _ => parse_name(one).map(By::Name),
    }
}

fn page(by: &str, body: &Body) -> Result<Page, Error> {
    Ok(Page {
        by_name: by == "name",
        after: body.text("after")?.unwrap_or_default(),
        limit: listing::limit(body)?,
    })
}

/// As many as a group has members.
const IDS_MAX: usize = super::group::MEMBERS_MAX;
