//! What `aumbry secrets` and `aumbry auth` share: the settings of a mount.

use std::time::Duration;

use anyhow::Result;
use aumbry_client::v1::Verb;
use aumbry_types::parse_duration;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::context::{ByPath, Context};
use crate::failure::usage;
use crate::logical::call;
use crate::output::{document, done, table};

/// Which of the two tables of mounts.
#[derive(Clone, Copy)]
pub(crate) enum Table {
    Secrets,
    Auth,
}

impl Table {
    /// Where it is.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Secrets => "sys/mounts",
            Self::Auth => "sys/auth",
        }
    }
}

/// Settings of a mount.
#[derive(Args, Default)]
pub(crate) struct Settings {
    /// How long leases and tokens live if nothing else is said, such as 1h
    #[arg(long, value_parser = parse_duration)]
    default_lease_ttl: Option<Duration>,
    /// How long they live at most
    #[arg(long, value_parser = parse_duration)]
    max_lease_ttl: Option<Duration>,
    /// Whether it is listed for those who have no token
    #[arg(long, value_enum)]
    listing_visibility: Option<Visibility>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Visibility {
    Hidden,
    Unauth,
}

impl Settings {
    /// Those that are given, by their names.
    pub(crate) fn object(&self) -> Map<String, Value> {
        let seconds = |value: Option<Duration>| value.map(|value| json!(value.as_secs()));
        let visibility = self.listing_visibility.map(|visibility| match visibility {
            Visibility::Hidden => json!("hidden"),
            Visibility::Unauth => json!("unauth"),
        });
        let values = [
            ("default_lease_ttl", seconds(self.default_lease_ttl)),
            ("max_lease_ttl", seconds(self.max_lease_ttl)),
            ("listing_visibility", visibility),
        ];
        let given = values
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }
}

/// Changes settings of a mount, or tells them if there is nothing to change.
#[derive(Args)]
pub(crate) struct Tune {
    #[command(flatten)]
    settings: Settings,
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// The version of a kv engine: 2 for one that is of version 1
    #[arg(long)]
    version: Option<u8>,
    /// Where it is mounted
    path: String,
}

pub(crate) async fn tune(which: Table, args: Tune, context: &Context) -> Result<()> {
    let path = format!("{}/{}/tune", which.path(), trimmed(&args.path)?);
    let mut body = args.settings.object();
    if let Some(description) = args.description {
        body.insert("description".to_owned(), json!(description));
    }
    if let Some(version) = args.version {
        body.insert("options".to_owned(), json!({ "version": version.to_string() }));
    }
    let client = context.client()?;
    if body.is_empty() {
        let answer = call(&client, ByPath::new(Verb::Read, path)).await?;
        return document(context.format(), &answer.data);
    }
    call(&client, ByPath::new(Verb::Write, path).with(&Value::Object(body))).await?;
    done(context.format(), "tuned")
}

/// Mounts an engine or a method with settings.
pub(crate) async fn enable(
    which: Table,
    path: &str,
    mut body: Value,
    settings: &Settings,
    context: &Context,
) -> Result<()> {
    let config = settings.object();
    if !config.is_empty() {
        body["config"] = Value::Object(config);
    }
    let path = format!("{}/{}", which.path(), trimmed(path)?);
    call(&context.client()?, ByPath::new(Verb::Write, path).with(&body)).await?;
    done(context.format(), "enabled")
}

/// Lists the mounts of a table.
pub(crate) async fn list(which: Table, context: &Context) -> Result<()> {
    let answer = call(&context.client()?, ByPath::new(Verb::Read, which.path())).await?;
    let mounts = answer.data.as_object().cloned().unwrap_or_default();
    let row = |(path, mount): (&String, &Value)| json!({ "path": path, "type": mount["type"], "accessor": mount["accessor"], "description": mount["description"] });
    let rows: Vec<Value> = mounts.iter().map(row).collect();
    table(context.format(), &["path", "type", "accessor", "description"], &rows)
}

/// The path of a mount without the slashes around it.
pub(crate) fn trimmed(path: &str) -> Result<&str> {
    match path.trim_matches('/') {
        "" => Err(usage("say where it is mounted")),
        path => Ok(path),
    }
}
