//! `aumbry kv`: secrets.

mod plain;
mod show;

use std::time::Duration;

use anyhow::Result;
use aumbry_client::v1;
use aumbry_types::parse_duration;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::context::{ByPath, Caller, Context};
use crate::failure::{Refused, warn};
use crate::fields::{Repeated, data, split};
use crate::logical::{Field, Wrap, call};
use crate::operator::erase;
use crate::output::{Format, document, document_or_field, done, line, line_json};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a secret
    #[command(after_help = "Examples:
  aumbry kv put secret/app user=app password=@password.txt
  echo -n s3cret | aumbry kv put secret/app password=-
  aumbry kv put --cas 3 secret/app @secret.json")]
    Put(Write),
    /// Change some keys of a secret; a key set to null in a JSON file is removed
    #[command(after_help = "Examples:
  aumbry kv patch secret/app user=other
  echo '{\"password\":null}' | aumbry kv patch secret/app -")]
    Patch(Write),
    /// Read a secret
    #[command(after_help = "Examples:
  aumbry kv get secret/app
  aumbry kv get --version 2 --field password secret/app
  aumbry kv get --output yaml secret/app
  aumbry kv get --wrap-ttl 5m secret/app      a token that gives it once, to `aumbry unwrap`")]
    Get(Get),
    /// List the names below a directory
    #[command(after_help = "Example:
  aumbry kv list secret/team")]
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
    #[command(after_help = "Examples:
  aumbry kv delete secret/app
  aumbry kv delete --versions 1,2 secret/app")]
    Delete(Versions),
    /// Restore deleted versions
    #[command(after_help = "Example:
  aumbry kv undelete --versions 2 secret/app")]
    Undelete(Versions),
    /// Remove the data of versions for good
    #[command(after_help = "Example:
  aumbry kv destroy --versions 1 secret/app
  aumbry kv destroy --shred --versions 1 secret/app    and erase it from the disks of all nodes; takes sudo on sys/erasure")]
    Destroy(Destroy),
    /// Make an older version current again, as a new one
    #[command(after_help = "Example:
  aumbry kv rollback --version 2 secret/app")]
    Rollback {
        /// Which version
        #[arg(long)]
        version: u64,
        /// The secret
        path: String,
    },
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
pub(crate) struct Get {
    /// Which version; the current one by default
    #[arg(long, default_value_t = 0)]
    version: u64,
    #[command(flatten)]
    field: Field,
    #[command(flatten)]
    wrap: Wrap,
    /// The secret, such as secret/app
    path: String,
}

#[derive(Args)]
pub(crate) struct Versions {
    /// The secret
    path: String,
    /// Which versions, separated by commas
    #[arg(long, value_delimiter = ',')]
    versions: Vec<u64>,
}

#[derive(Args)]
pub(crate) struct Destroy {
    #[command(flatten)]
    versions: Versions,
    /// Erase it from the disks of all nodes as well, wait for that, and tell what is reached
    #[arg(long)]
    shred: bool,
    /// How long to wait for the nodes at most
    #[arg(long, value_parser = parse_duration, default_value = "1h", requires = "shred")]
    timeout: Duration,
}

#[derive(Subcommand)]
pub(crate) enum Metadata {
    /// Read it
    #[command(after_help = "Example:
  aumbry kv metadata get secret/app")]
    Get {
        /// The secret
        path: String,
    },
    /// Change settings
    #[command(after_help = "Example:
  aumbry kv metadata put --max-versions 5 --custom owner=ann secret/app")]
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
    #[command(after_help = "Example:
  aumbry kv metadata delete secret/app")]
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
            data(&write.data, Repeated::Refused)?.expose().to_vec()
        }
        _ => Default::default(),
    };
    let client = context.client()?;
    match command {
        Command::Put(write) => put(write, data, &client, format).await,
        Command::Patch(write) => {
            let request = v1::KvPatchRequest {
                path: write.path,
                data: data.into(),
                cas: write.cas,
                ..Default::default()
            };
            document(
                format,
                &show::version(&client.call(request).await?.version.unwrap_or_default()),
            )
        }
        Command::Get(get) => read(get, &client, format).await,
        Command::List { after, limit, path } => {
            let names = list(&client, &path, after, limit.unwrap_or(usize::MAX)).await?;
            match format {
                Format::Json => line_json(&json!(names)),
                Format::Table => names.iter().try_for_each(|name| line(name)),
            }
        }
        Command::Delete(Versions { path, versions }) => {
            let request = v1::KvDeleteRequest {
                path: path.clone(),
                versions: versions.clone(),
                ..Default::default()
            };
            match client.call(request).await {
                Err(error) if versions.is_empty() && plain::is_plain(&client, &error, &path).await => {
                    plain::delete(&client, &path).await?;
                }
                answer => drop(answer?),
            }
            done(format, "deleted")
        }
        Command::Rollback { version, path } => rollback(version, path, &client, format).await,
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
        Command::Destroy(Destroy {
            versions: Versions { path, versions },
            shred,
            timeout,
        }) => {
            client
                .call(v1::KvDestroyRequest {
                    path,
                    versions,
                    ..Default::default()
                })
                .await?;
            if shred {
                return erase::shred(&client, timeout, format).await;
            }
            done(format, "destroyed")
        }
        Command::Metadata(command) => metadata(command, &client, format).await,
    }
}

async fn put(write: Write, data: Vec<u8>, client: &Caller, format: Format) -> Result<()> {
    let request = v1::KvPutRequest {
        path: write.path.clone(),
        data: data.clone().into(),
        cas: write.cas,
        ..Default::default()
    };
    match client.call(request).await {
        Err(error) if write.cas.is_none() && plain::is_plain(client, &error, &write.path).await => {
            plain::put(client, &write.path, &data).await?;
            done(format, "written")
        }
        answer => document(format, &show::version(&answer?.version.unwrap_or_default())),
    }
}

async fn read(get: Get, client: &Caller, format: Format) -> Result<()> {
    let Get {
        version,
        field,
        wrap,
        path,
    } = get;
    let (field, ttl_s) = (field.field.as_deref(), wrap.ttl_s()?);
    if ttl_s > 0 {
        let data = plain::Place::of(client, &path).await?.data(&path);
        let mut asked = ByPath::new(v1::Verb::Read, data).wrapped(ttl_s);
        if version > 0 {
            asked = asked.with(&json!({ "version": version }));
        }
        return call(client, asked).await?.show(format, field);
    }
    let request = v1::KvGetRequest {
        path: path.clone(),
        version,
        ..Default::default()
    };
    match client.call(request).await {
        Err(error) if version == 0 && plain::is_plain(client, &error, &path).await => {
            document_or_field(format, field, &plain::get(client, &path).await?)
        }
        answer => show::secret(format, field, &path, &answer?.item.unwrap_or_default()),
    }
}

/// The older version is written under the condition that nobody wrote another meanwhile.
async fn rollback(version: u64, path: String, client: &Caller, format: Format) -> Result<()> {
    let request = v1::KvGetMetadataRequest {
        path: path.clone(),
        ..Default::default()
    };
    let current = client.call(request).await?.current_version;
    let request = v1::KvGetRequest {
        path: path.clone(),
        version,
        ..Default::default()
    };
    let item = client.call(request).await?.item.unwrap_or_default();
    if !item.has_data {
        let text = format!("version {version} is deleted or destroyed: there is nothing to go back to");
        return Err(Refused::NotFound(text).into());
    }
    let request = v1::KvPutRequest {
        path,
        data: item.data,
        cas: Some(current),
        ..Default::default()
    };
    let written = client.call(request).await?.version.unwrap_or_default();
    document(format, &show::version(&written))
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
            after: after.clone(),
            limit: page,
            ..Default::default()
        };
        let reply = match client.call(request).await {
            Err(error) if plain::is_plain(client, &error, path).await => {
                let page = plain::list(client, path, &after, limit - names.len()).await?;
                names.extend(page);
                break;
            }
            reply => reply?,
        };
        after = reply.names.last().cloned().unwrap_or_default();
        names.extend(reply.names);
        if !reply.more {
            break;
        }
    }
    Ok(names)
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
