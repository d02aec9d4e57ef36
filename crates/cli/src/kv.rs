//! `aumbry kv`: secrets.

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1;
use aumbry_types::{SecretBytes, parse_duration};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::context::{Context, value};
use crate::output::{Format, document, line, line_json, raw, time};

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
        /// Print the value of this key alone, unchanged
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
        #[arg(long)]
        delete_version_after: Option<String>,
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
    let client = context.client()?;
    let format = context.format();
    match command {
        Command::Put(write) => {
            let data = data(&write.data)?.expose().to_vec().into();
            let request = v1::KvPutRequest {
                path: write.path,
                data,
                cas: write.cas,
                ..Default::default()
            };
            written(format, client.call(request).await?)
        }
        Command::Patch(write) => {
            let data = data(&write.data)?.expose().to_vec().into();
            let request = v1::KvPatchRequest {
                path: write.path,
                data,
                cas: write.cas,
                ..Default::default()
            };
            written(format, client.call(request).await?)
        }
        Command::Get { version, field, path } => {
            let reply = client
                .call(v1::KvGetRequest {
                    path,
                    version,
                    ..Default::default()
                })
                .await?;
            show(format, field.as_deref(), reply.item.unwrap_or_default())
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

async fn metadata(command: Metadata, client: &aumbry_client::Client, format: Format) -> Result<()> {
    match command {
        Metadata::Get { path } => {
            let reply = client
                .call(v1::KvGetMetadataRequest {
                    path,
                    ..Default::default()
                })
                .await?;
            let versions: Map<String, Value> = reply
                .versions
                .iter()
                .map(|info| (info.version.to_string(), version_json(info)))
                .collect();
            document(
                format,
                &json!({
                    "current_version": reply.current_version,
                    "oldest_version": reply.oldest_version,
                    "created_time": time(reply.created_ms),
                    "updated_time": time(reply.updated_ms),
                    "max_versions": reply.max_versions,
                    "cas_required": reply.cas_required,
                    "delete_version_after": format!("{}s", reply.delete_version_after_s),
                    "custom_metadata": reply.custom_metadata,
                    "versions": versions,
                }),
            )
        }
        Metadata::Put {
            path,
            max_versions,
            cas_required,
            delete_version_after,
            custom,
        } => {
            let pairs = custom.iter().map(|pair| split(pair)).collect::<Result<Vec<_>>>()?;
            let after = delete_version_after.map(|text| parse_duration(&text)).transpose()?;
            let request = v1::KvPutMetadataRequest {
                path,
                max_versions,
                cas_required,
                delete_version_after_s: after.map(|after| after.as_secs()),
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

async fn list(client: &aumbry_client::Client, path: &str, after: String, limit: usize) -> Result<Vec<String>> {
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

fn written(format: Format, reply: v1::KvPutReply) -> Result<()> {
    document(format, &version_json(&reply.version.unwrap_or_default()))
}

fn show(format: Format, field: Option<&str>, item: v1::KvItem) -> Result<()> {
    let info = item.version.unwrap_or_default();
    if !item.has_data {
        bail!(
            "version {} is {}",
            info.version,
            if info.destroyed {
                "destroyed"
            } else {
                "deleted; restore it with `aumbry kv undelete`"
            }
        );
    }
    let data: Map<String, Value> = serde_json::from_slice(&item.data).context("the secret's data is no JSON object")?;
    if let Some(field) = field {
        let value = data.get(field).context("the secret has no such key")?;
        return match value {
            Value::String(text) => raw(text.as_bytes()),
            other => line_json(other),
        };
    }
    match format {
        Format::Table => document(format, &Value::Object(data)),
        Format::Json => {
            let mut metadata = version_json(&info);
            metadata["custom_metadata"] = json!(item.custom_metadata);
            line_json(&json!({ "data": data, "metadata": metadata }))
        }
    }
}

fn version_json(info: &v1::VersionInfo) -> Value {
    json!({
        "version": info.version,
        "created_time": time(info.created_ms),
        "deletion_time": time(info.deleted_at_ms),
        "destroyed": info.destroyed,
    })
}

pub(crate) fn done(format: Format, word: &str) -> Result<()> {
    match format {
        Format::Json => line_json(&json!({})),
        Format::Table => line(word),
    }
}

/// One JSON object from the arguments.
fn data(arguments: &[String]) -> Result<SecretBytes> {
    if let [single] = arguments
        && (single == "-" || single.starts_with('@'))
    {
        return value(single);
    }
    let mut object = Map::new();
    for argument in arguments {
        let (key, text) = split(argument)?;
        let bytes = value(text)?;
        let text = bytes
            .expose_str()
            .with_context(|| format!("the value of {key} is not UTF-8; encode it, such as with base64"))?;
        if object.insert(key.to_owned(), Value::String(text.to_owned())).is_some() {
            bail!("the key {key} is there twice");
        }
    }
    Ok(SecretBytes::new(serde_json::to_vec(&object)?))
}

/// A pair of the form key=value. The value is never repeated in an error.
pub(crate) fn split(pair: &str) -> Result<(&str, &str)> {
    pair.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .context("data is key=value, key=@file, key=-, or one @file.json")
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
        assert_eq!(check(&["a="]).as_deref(), Some(r#"{"a":""}"#));
        for bad in [&["a"][..], &["=b"], &["a=1", "a=2"], &["a=@/no/such/file"]] {
            assert_eq!(check(bad), None, "{bad:?}");
        }
    }
}
