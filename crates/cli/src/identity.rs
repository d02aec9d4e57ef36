//! `aumbry identity`: entities, their aliases, and groups.

use anyhow::{Context as _, Result};
use aumbry_client::v1::Verb;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::context::{ByPath, Caller, Context};
use crate::failure::usage;
use crate::fields::{Repeated, data};
use crate::logical::{Field, call};
use crate::mounts::trimmed;
use crate::output::done;

/// What has a name.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    Entity,
    Group,
}

impl Kind {
    const fn path(self) -> &'static str {
        match self {
            Self::Entity => "identity/entity/name",
            Self::Group => "identity/group/name",
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the names of entities or groups
    #[command(after_help = "Examples:
  aumbry identity list entity
  aumbry identity list group")]
    List {
        /// Of what
        kind: Kind,
    },
    /// Read an entity or a group
    #[command(after_help = "Example:
  aumbry identity read entity ann --output yaml")]
    Read {
        #[command(flatten)]
        field: Field,
        /// Of what
        kind: Kind,
        /// Its name
        name: String,
    },
    /// Make or change an entity or a group
    #[command(after_help = "Examples:
  aumbry identity write entity ann policies=app
  aumbry identity write entity ann disabled=true
  aumbry identity write group admins policies=admin member_entity_ids=ID")]
    Write {
        /// Of what
        kind: Kind,
        /// Its name
        name: String,
        /// key=value, key=@file, key=-, a key again for a list; or one @file or - with a JSON object
        data: Vec<String>,
    },
    /// Delete an entity or a group
    #[command(after_help = "Example:
  aumbry identity delete group admins")]
    Delete {
        /// Of what
        kind: Kind,
        /// Its name
        name: String,
    },
    /// Say that who logs in under this name, by the method mounted there, is this entity
    #[command(after_help = "Example:
  aumbry identity alias --mount userpass ann ann")]
    Alias {
        /// Where the auth method is mounted
        #[arg(long)]
        mount: String,
        /// The name at the method: a user's name, the id of a role
        alias: String,
        /// The name of the entity
        entity: String,
    },
    /// Find the entity of who logs in under this name
    #[command(after_help = "Example:
  aumbry identity lookup --mount userpass ann")]
    Lookup {
        /// Where the auth method is mounted
        #[arg(long)]
        mount: String,
        /// The name at the method
        alias: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    match command {
        Command::List { kind } => {
            let answer = call(&client, ByPath::new(Verb::List, kind.path())).await?;
            answer.show_names(format)
        }
        Command::Read { field, kind, name } => {
            let answer = call(&client, ByPath::new(Verb::Read, at(kind, &name)?)).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::Write {
            kind,
            name,
            data: arguments,
        } => {
            let body = match &arguments[..] {
                [] => Vec::new(),
                arguments => data(arguments, Repeated::List)?.expose().to_vec(),
            };
            let asked = ByPath {
                body,
                ..ByPath::new(Verb::Write, at(kind, &name)?)
            };
            call(&client, asked).await?.show(format, None)
        }
        Command::Delete { kind, name } => {
            call(&client, ByPath::new(Verb::Delete, at(kind, &name)?)).await?;
            done(format, "deleted")
        }
        Command::Alias { mount, alias, entity } => {
            let id = call(&client, ByPath::new(Verb::Read, at(Kind::Entity, &entity)?))
                .await?
                .data["id"]
                .clone();
            let body = json!({ "name": alias, "canonical_id": id, "mount_accessor": accessor(&client, &mount).await? });
            let asked = ByPath::new(Verb::Write, "identity/entity-alias").with(&body);
            call(&client, asked).await?.show(format, None)
        }
        Command::Lookup { mount, alias } => {
            let body = json!({ "alias_name": alias, "alias_mount_accessor": accessor(&client, &mount).await? });
            let asked = ByPath::new(Verb::Write, "identity/lookup/entity").with(&body);
            call(&client, asked).await?.show(format, None)
        }
    }
}

fn at(kind: Kind, name: &str) -> Result<String> {
    match name {
        "" => Err(usage("give a name")),
        name => Ok(format!("{}/{name}", kind.path())),
    }
}

/// The accessor of an auth method: aliases name it so, as a mount may move.
async fn accessor(client: &Caller, mount: &str) -> Result<Value> {
    let path = trimmed(mount)?;
    let path = path.strip_prefix("auth/").unwrap_or(path);
    let mounts = call(client, ByPath::new(Verb::Read, "sys/auth")).await?.data;
    let row = mounts.get(format!("{path}/"));
    let row = row.with_context(|| format!("no auth method is mounted at {path}; see `aumbry auth list`"))?;
    Ok(row["accessor"].clone())
}
