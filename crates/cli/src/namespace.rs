//! `aumbry namespace`: tenants, right below the namespace that `--namespace` names.

use anyhow::Result;
use aumbry_client::v1::Verb;
use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::context::{ByPath, Context};
use crate::failure::usage;
use crate::logical::{Field, call};
use crate::output::done;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a namespace
    #[command(after_help = "Examples:
  aumbry namespace create team
  aumbry namespace create --custom-metadata contact=ops@example.com team
  aumbry namespace create --namespace team app           makes team/app")]
    Create {
        #[command(flatten)]
        field: Field,
        /// A note, key=value; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        custom_metadata: Vec<String>,
        /// Its name: lower-case letters, digits, - and _
        name: String,
    },
    /// List the namespaces right below
    #[command(after_help = "Examples:
  aumbry namespace list
  aumbry namespace list --namespace team")]
    List,
    /// Tell of a namespace
    #[command(after_help = "Example:
  aumbry namespace lookup team --field id")]
    Lookup {
        #[command(flatten)]
        field: Field,
        /// Its name
        name: String,
    },
    /// Delete a namespace with all that is in it; its tokens end at once
    #[command(after_help = "Example:
  aumbry namespace delete team")]
    Delete {
        /// Its name
        name: String,
    },
    /// Change what is noted about a namespace
    #[command(after_help = "Example:
  aumbry namespace patch --custom-metadata contact=ann@example.com --remove-metadata cost team")]
    Patch {
        #[command(flatten)]
        field: Field,
        /// A note, key=value; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        custom_metadata: Vec<String>,
        /// The key of a note that goes; may be given several times
        #[arg(long, value_name = "KEY")]
        remove_metadata: Vec<String>,
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    match command {
        Command::Create {
            field,
            custom_metadata,
            name,
        } => {
            let asked = ByPath::new(Verb::Write, at(&name)?).with(&body(notes(&custom_metadata)?));
            let answer = call(&client, asked).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::List => {
            let answer = call(&client, ByPath::new(Verb::List, "sys/namespaces")).await?;
            answer.show_names(format)
        }
        Command::Lookup { field, name } => {
            let answer = call(&client, ByPath::new(Verb::Read, at(&name)?)).await?;
            answer.show(format, field.field.as_deref())
        }
        Command::Delete { name } => {
            call(&client, ByPath::new(Verb::Delete, at(&name)?)).await?;
            done(format, "deleted")
        }
        Command::Patch {
            field,
            custom_metadata,
            remove_metadata,
            name,
        } => {
            let mut notes = notes(&custom_metadata)?;
            notes.extend(remove_metadata.into_iter().map(|key| (key, Value::Null)));
            if notes.is_empty() {
                return Err(usage("say what to change: --custom-metadata, --remove-metadata"));
            }
            let answer = call(&client, ByPath::new(Verb::Patch, at(&name)?).with(&body(notes))).await?;
            answer.show(format, field.field.as_deref())
        }
    }
}

fn at(name: &str) -> Result<String> {
    match name.trim_matches('/') {
        "" => Err(usage("give the name of a namespace")),
        name => Ok(format!("sys/namespaces/{name}")),
    }
}

fn notes(pairs: &[String]) -> Result<Map<String, Value>> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').ok_or_else(|| usage("a note is key=value"))?;
        Ok((key.to_owned(), Value::from(value)))
    };
    pairs.iter().map(split).collect()
}

/// Nothing is said of notes where there are none: those that stand stay.
fn body(notes: Map<String, Value>) -> Value {
    match notes.is_empty() {
        true => json!({}),
        false => json!({ "custom_metadata": notes }),
    }
}
