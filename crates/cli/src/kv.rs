//! `aumbry kv`: secrets.

mod show;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use aumbry_types::{SecretBytes, parse_duration};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::context::{Caller, Context, value};
use crate::failure::{note, usage, warn};
use crate::output::{Format, document, done, line, line_json};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a secret
    #[command(after_help = "Examples:
  aumbry kv put secret/app user=app password=@password.txt
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv put --cas 3 secret/app @secret.json")]
    Put(Write),
    /// Change some keys of a secret; a key set to null in a JSON file is removed
    Patch(Write),
    /// Read a secret
    Get {
        /// Which version; the current one by default
        #[arg(long, default_value_t = 0)]
        version: u64,
        /// Print the value of this key alone: as it is, or with --output json as JSON
        #[arg(long)]
        field: Option<String>,
        /// The secret, such as secret/app
        path: String,
    },
    /// List the names below a directory
    List {
        /// Only names greater than this
        #[arg(long, default_value = "")]
        after: String,
        /// At most so many; all by default
        #[arg(long)]
        limit: Option<usize>,
        /// The directory, or the mount
        path: String,
    },
    /// Delete the current version, or some, so that they can be restored
    Delete(Versions),
    /// Restore deleted versions
    Undelete(Versions),
    /// Remove the data of versions for good
    Destroy(Versions),
    /// What is known of a secret beside its data
    #[command(subcommand)]
    Metadata(Metadata),
}

#[derive(Args)]
pub(crate) struct Write {
    /// The version that must be current; 0 is "no such secret"
    #[arg(long)]
    cas: Option<u64>,
    /// The secret, such as secret/app
    path: String,
    /// key=value, key=@file, key=- (standard input); or one @file or - with a JSON object
    #[arg(required = true)]
    data: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Versions {
    /// The secret
    path: String,
    /// Which versions, separated by commas
    #[arg(long, value_delimiter = ',')]
    versions: Vec<u64>,
}

#[derive(Subcommand)]
pub(crate) enum Metadata {
    /// Read it
    Get {
        /// The secret
        path: String,
    },
    /// Change settings
    Put {
        /// The secret
        path: String,
        /// How many versions are kept
        #[arg(long)]
        max_versions: Option<u32>,
        /// Whether every write must name the current version
        #[arg(long)]
        cas_required: Option<bool>,
        /// After what time a new version counts as deleted, such as 30d
        #[arg(long, value_parser = parse_duration)]
        delete_version_after: Option<Duration>,
        /// Your own pairs, key=value; replaces all
        #[arg(long)]
        custom: Vec<String>,
    },
    /// Remove the secret with all its versions
    Delete {
        /// The secret
        path: String,
    },
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    // What is wrong with the arguments is told without a cluster.
    let data = match &command {
        Command::Put(write) | Command::Patch(write) => {
            if let Some(text) = misplaced(&write.path) {
                warn(format, &text);
            }
            data(&write.data)?.expose().to_vec().into()
        }
        _ => Default::default(),
    };
    let client = context.client()?;
    match command {
        Command::Put(write) => {
            let request = v1::KvPutRequest {
                path: write.path,
                data,
                cas: write.cas,
                ..Default::default()
            };
            document(
                format,
                &show::version(&client.call(request).await?.version.unwrap_or_default()),
            )
        }
        Command::Patch(write) => {
            let request = v1::KvPatchRequest {
                path: write.path,
                data,
                cas: write.cas,
                ..Default::default()
            };
            document(
                format,
                &show::version(&client.call(request).await?.version.unwrap_or_default()),
            )
        }
        Command::Get { version, field, path } => {
            let reply = client
                .call(v1::KvGetRequest {
                    path: path.clone(),
                    version,
                    ..Default::default()
                })
                .await?;
            show::secret(format, field.as_deref(), &path, &reply.item.unwrap_or_default())
        }
        Command::List { after, limit, path } => {
            let names = list(&client, &path, after, limit.unwrap_or(usize::MAX)).await?;
            match format {
                Format::Json => line_json(&json!(names)),
                Format::Table => names.iter().try_for_each(|name| line(name)),
            }
        }
        Command::Delete(Versions { path, versions }) => {
            client
                .call(v1::KvDeleteRequest {
                    path,
                    versions,
                    ..Default::default()
                })
                .await?;
            done(format, "deleted")
        }
        Command::Undelete(Versions { path, versions }) => {
            client
                .call(v1::KvUndeleteRequest {
                    path,
                    versions,
                    ..Default::default()
                })
                .await?;
            done(format, "restored")
        }
        Command::Destroy(Versions { path, versions }) => {
            client
                .call(v1::KvDestroyRequest {
                    path,
                    versions,
                    ..Default::default()
                })
                .await?;
            done(format, "destroyed")
        }
        Command::Metadata(command) => metadata(command, &client, format).await,
    }
}

async fn metadata(command: Metadata, client: &Caller, format: Format) -> Result<()> {
    match command {
        Metadata::Get { path } => {
            let reply = client
                .call(v1::KvGetMetadataRequest {
                    path,
                    ..Default::default()
                })
                .await?;
            show::metadata(format, &reply)
        }
        Metadata::Put {
            path,
            max_versions,
            cas_required,
            delete_version_after,
            custom,
        } => {
            let pairs = custom.iter().map(|pair| split(pair)).collect::<Result<Vec<_>>>()?;
            let request = v1::KvPutMetadataRequest {
                path,
                max_versions,
                cas_required,
                delete_version_after_s: delete_version_after.map(|after| after.as_secs()),
                set_custom_metadata: !pairs.is_empty(),
                custom_metadata: pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                ..Default::default()
            };
            client.call(request).await?;
            done(format, "changed")
        }
        Metadata::Delete { path } => {
            client
                .call(v1::KvDeleteMetadataRequest {
                    path,
                    ..Default::default()
                })
                .await?;
            done(format, "removed")
        }
    }
}

async fn list(client: &Caller, path: &str, after: String, limit: usize) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut after = after;
    while names.len() < limit {
        let page = u32::try_from((limit - names.len()).min(1_000))?;
        let request = v1::KvListRequest {
            path: path.to_owned(),
            after,
            limit: page,
            ..Default::default()
        };
        let reply = client.call(request).await?;
        after = reply.names.last().cloned().unwrap_or_default();
        names.extend(reply.names);
        if !reply.more {
            break;
        }
    }
    Ok(names)
}

/// One JSON object from the arguments.
fn data(arguments: &[String]) -> Result<SecretBytes> {
    if let [single] = arguments
        && (single == "-" || single.starts_with('@'))
    {
        tell_of_stdin(single == "-", "the secret's JSON object");
        return value(single);
    }
    let mut object = Map::new();
    for argument in arguments {
        let (key, text) = split(argument)?;
        tell_of_stdin(text == "-", &format!("the value of {key}"));
        let bytes = value(text)?;
        let text = bytes
            .expose_str()
            .with_context(|| format!("the value of {key} is not UTF-8; encode it, such as with base64"))?;
        if object.insert(key.to_owned(), Value::String(text.to_owned())).is_some() {
            return Err(usage(format!("the key {key} is there twice")));
        }
    }
    Ok(SecretBytes::new(serde_json::to_vec(&object)?))
}

/// A pair of the form key=value. The value is never repeated in an error.
pub(crate) fn split(pair: &str) -> Result<(&str, &str)> {
    pair.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| usage("data is key=value, key=@file, key=-, or one @file.json"))
}

/// At a terminal nobody sees that the program waits.
fn tell_of_stdin(is_read: bool, what: &str) {
    if is_read && std::io::stdin().is_terminal() {
        note(&format!("reading {what} from standard input; end it with Ctrl-D"));
    }
}

/// What is wrong with a path of Vault's HTTP interface, if it is one.
fn misplaced(path: &str) -> Option<String> {
    let mut parts = path.splitn(3, '/');
    let (mount, kind, rest) = (parts.next()?, parts.next()?, parts.next()?);
    matches!(kind, "data" | "metadata").then(|| {
        format!(
            "`{kind}/` is written in policies, and is not part of the path of a secret: did you mean {mount}/{rest}?"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_one_object() {
        let check = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            data(&arguments)
                .ok()
                .and_then(|data| data.expose_str().map(str::to_owned))
        };
        assert_eq!(check(&["a=b", "c=d=e"]).as_deref(), Some(r#"{"a":"b","c":"d=e"}"#));
        assert_eq!(check(&["a=", "b=@/dev/null"]).as_deref(), Some(r#"{"a":"","b":""}"#));
        assert_eq!(check(&["a="]).as_deref(), Some(r#"{"a":""}"#));
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"], &["a=@/no/such/file"]] {
            assert_eq!(check(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_pair_without_a_value_is_wrong_usage() {
        for bad in [&["foo"][..], &["=b"], &["a=1", "a=2"]] {
            let arguments: Vec<String> = bad.iter().map(|a| (*a).to_owned()).collect();
            let error = data(&arguments).err().unwrap();
            assert_eq!(crate::failure::exit_code(&error), 2, "{error}");
        }
    }

    #[test]
    fn a_path_of_the_http_interface_is_noticed() {
        for (path, meant) in [
            ("secret/data/x", Some("secret/x?")),
            ("secret/metadata/a/b", Some("secret/a/b?")),
            ("secret/x", None),
            ("secret/data", None),
            ("secret/x/data/y", None),
        ] {
            let told = misplaced(path);
            assert!(told.is_some() == meant.is_some(), "{path}");
            assert!(told.is_none_or(|told| told.contains(meant.unwrap())), "{path}");
        }
    }
}
