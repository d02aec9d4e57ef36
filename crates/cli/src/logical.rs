//! `aumbry read`, `write`, `list`, `delete`, `patch` and `unwrap`: anything by its path, as Vault's program has them.

use std::time::Duration;

use anyhow::Result;
use aumbry_client::v1::Verb;
use aumbry_types::{SecretBytes, parse_duration};
use clap::Args;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::{ByPath, Caller, Context, ask, kept_token, read_stdin, set};
use crate::failure::{Failed, usage};
use crate::fields::{Repeated, data};
use crate::output::Format;
use crate::token::TOKEN_AS_ARGUMENT;

/// Which part of the answer is printed.
#[derive(Args)]
pub(crate) struct Field {
    /// Print the value of this key alone: as it is, or with --output json as JSON
    #[arg(long)]
    pub(crate) field: Option<String>,
}

/// Whether the answer is wrapped.
#[derive(Args)]
pub(crate) struct Wrap {
    /// Wrap the answer into a token that lives so long, such as 5m, and gives it once
    #[arg(long, env = "AUMBRY_WRAP_TTL", value_parser = parse_duration)]
    wrap_ttl: Option<Duration>,
}

impl Wrap {
    /// Not wrapped.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self { wrap_ttl: None }
    }

    /// For how many seconds; 0 is not at all.
    pub(crate) fn ttl_s(&self) -> Result<u64> {
        let wanted = match (self.wrap_ttl, set("VAULT_WRAP_TTL")) {
            (Some(wanted), _) => wanted,
            (None, Some(text)) => parse_duration(&text).map_err(|error| usage(format!("VAULT_WRAP_TTL: {error}")))?,
            (None, None) => return Ok(0),
        };
        // Less than a second is still a wish to have it wrapped.
        Ok(wanted.as_secs().max(u64::from(!wanted.is_zero())))
    }
}

/// Reads what stands at a path.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry read auth/token/lookup-self
  aumbry read --field role_id auth/approle/role/app/role-id
  aumbry read secret/data/app version=2
  aumbry read --wrap-ttl 5m secret/data/app")]
pub(crate) struct Read {
    #[command(flatten)]
    field: Field,
    #[command(flatten)]
    wrap: Wrap,
    /// The path, the mount first
    path: String,
    /// What the path takes beside it, key=value
    data: Vec<String>,
}

/// Writes to a path.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry write auth/approle/role/app token_policies=app token_ttl=1h
  aumbry write --force auth/approle/role/app/secret-id
  aumbry write auth/userpass/users/ann token_policies=app password=@password.txt
  aumbry write secret/data/app @secret.json
  echo '{\"type\":\"userpass\"}' | aumbry write sys/auth/people -")]
pub(crate) struct Write {
    #[command(flatten)]
    field: Field,
    #[command(flatten)]
    wrap: Wrap,
    /// Write nothing but the path
    #[arg(long, short)]
    force: bool,
    /// The path, the mount first
    path: String,
    /// key=value, key=@file, key=- (standard input), a key again for a list; or one @file or - with a JSON object
    data: Vec<String>,
}

/// Lists the names below a path.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry list secret/metadata/team
  aumbry list auth/approle/role
  aumbry list --after m --limit 100 sys/policies/acl")]
pub(crate) struct List {
    #[command(flatten)]
    wrap: Wrap,
    /// Only names greater than this
    #[arg(long)]
    after: Option<String>,
    /// At most so many; a page of 10,000 by default
    #[arg(long)]
    limit: Option<u64>,
    /// The path, the mount first
    path: String,
}

/// Deletes what stands at a path.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry delete auth/approle/role/app
  aumbry delete sys/policies/acl/app")]
pub(crate) struct Delete {
    /// The path, the mount first
    path: String,
    /// What the path takes beside it, key=value
    data: Vec<String>,
}

/// Changes a part of what stands at a path.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry patch secret/metadata/app max_versions=5
  echo '{\"data\":{\"password\":\"new\"}}' | aumbry patch secret/data/app -")]
pub(crate) struct Patch {
    #[command(flatten)]
    field: Field,
    /// The path, the mount first
    path: String,
    /// key=value, key=@file, key=- (standard input); or one @file or - with a JSON object, where null removes
    #[arg(required = true)]
    data: Vec<String>,
}

/// Tells what a path is for. Paths of mounts are known by how they end, whether or not there is such a mount.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry path-help sys/mounts
  aumbry path-help auth/approle/role/app
  aumbry path-help --output json secret/data/app")]
pub(crate) struct PathHelp {
    /// The path, the mount first
    path: String,
}

/// Gives what was wrapped. A wrapping token does so once; that it was used before means that somebody else has seen it.
#[derive(Args)]
#[command(after_help = "Examples:
  aumbry unwrap                             asks for the wrapping token
  aumbry unwrap --field secret_id - <wrapping-token.txt")]
pub(crate) struct Unwrap {
    #[command(flatten)]
    field: Field,
    /// Your own token is the wrapping token
    #[arg(long)]
    own: bool,
    /// `-` reads the wrapping token from standard input; by default it is asked for
    token: Option<String>,
}

pub(crate) async fn read(args: Read, context: &Context) -> Result<()> {
    let asked = ByPath {
        body: body(&args.data, Repeated::List)?,
        ..ByPath::new(Verb::Read, plain_path(&args.path)?)
    };
    let answer = call(&context.client()?, asked.wrapped(args.wrap.ttl_s()?)).await?;
    answer.show(context.format(), args.field.field.as_deref())
}

pub(crate) async fn write(args: Write, context: &Context) -> Result<()> {
    if args.data.is_empty() != args.force {
        return Err(usage(match args.force {
            true => "--force is for a write without data",
            false => "give data: key=value, @file.json or -; or --force to write without any",
        }));
    }
    let asked = ByPath {
        body: body(&args.data, Repeated::List)?,
        ..ByPath::new(Verb::Write, plain_path(&args.path)?)
    };
    let answer = call(&context.client()?, asked.wrapped(args.wrap.ttl_s()?)).await?;
    answer.show(context.format(), args.field.field.as_deref())
}

pub(crate) async fn list(args: List, context: &Context) -> Result<()> {
    let mut body = json!({});
    if let Some(after) = args.after {
        body["after"] = Value::String(after);
    }
    if let Some(limit) = args.limit {
        body["limit"] = json!(limit);
    }
    let asked = ByPath::new(Verb::List, plain_path(&args.path)?).with(&body);
    let ttl_s = args.wrap.ttl_s()?;
    let answer = call(&context.client()?, asked.wrapped(ttl_s)).await?;
    match ttl_s {
        0 => answer.show_names(context.format()),
        _ => answer.show(context.format(), None),
    }
}

pub(crate) async fn delete(args: Delete, context: &Context) -> Result<()> {
    let asked = ByPath {
        body: body(&args.data, Repeated::List)?,
        ..ByPath::new(Verb::Delete, plain_path(&args.path)?)
    };
    let answer = call(&context.client()?, asked).await?;
    answer.show(context.format(), None)
}

pub(crate) async fn patch(args: Patch, context: &Context) -> Result<()> {
    let asked = ByPath {
        body: body(&args.data, Repeated::List)?,
        ..ByPath::new(Verb::Patch, plain_path(&args.path)?)
    };
    let answer = call(&context.client()?, asked).await?;
    answer.show(context.format(), args.field.field.as_deref())
}

pub(crate) async fn path_help(args: PathHelp, context: &Context) -> Result<()> {
    let path = format!("sys/internal/help/{}", plain_path(&args.path)?.trim_end_matches('/'));
    let answer = call(&context.client()?, ByPath::new(Verb::Read, path)).await?;
    answer.show(context.format(), (context.format() == Format::Table).then_some("help"))
}

pub(crate) async fn unwrap(args: Unwrap, context: &Context) -> Result<()> {
    let token = match (args.own, args.token.as_deref()) {
        (true, None) => kept_token()?,
        (false, None) => ask("Wrapping token: ")?,
        (false, Some("-")) => read_stdin()?,
        (true, Some(_)) => return Err(usage("the wrapping token is your own, or `-`, not both")),
        (false, Some(_)) => return Err(usage(TOKEN_AS_ARGUMENT)),
    };
    opened(context, token)
        .await?
        .show(context.format(), args.field.field.as_deref())
}

/// What a wrapping token wraps. It stands for itself: whoever has it needs no other.
async fn opened(context: &Context, token: SecretBytes) -> Result<Answer> {
    if token.is_empty() {
        return Err(usage("there is no wrapping token: give it on standard input"));
    }
    let client = context.build(context.builder()?.token(token))?;
    let reply = client.by_path(ByPath::new(Verb::Write, "sys/wrapping/unwrap")).await;
    let reply = reply.map_err(|error| match error.reason() {
        "TOKEN_INVALID" | "PERMISSION_DENIED" | "WRAPPING_TOKEN_GONE" => error.saying(USED),
        _ => error,
    })?;
    Answer::of(reply)
}

/// Makes a request by path.
pub(crate) async fn call(client: &Caller, asked: ByPath) -> Result<Answer> {
    let reply = client.by_path(asked).await.map_err(explained)?;
    Answer::of(reply)
}

fn explained(error: Failed) -> Failed {
    match error.reason() {
        "NO_HANDLER" => error.saying(NO_HANDLER),
        _ => error,
    }
}

fn body(arguments: &[String], repeated: Repeated) -> Result<Vec<u8>> {
    match arguments {
        [] => Ok(Vec::new()),
        arguments => Ok(data(arguments, repeated)?.expose().to_vec()),
    }
}

/// The path without the slashes that people put around it.
fn plain_path(path: &str) -> Result<String> {
    let plain = path.trim_start_matches('/');
    match plain.strip_prefix("v1/").unwrap_or(plain) {
        "" => Err(usage("name a path, the mount first")),
        plain => Ok(plain.to_owned()),
    }
}

const USED: &str = "this wrapping token is not valid: it is wrong, expired, or was used before; if it was not you who used it, \
                    what it wrapped is known to somebody else: revoke that";
const NO_HANDLER: &str = "no engine or method serves this path; `aumbry secrets list` and `aumbry auth list` tell what is mounted where, \
                          and secrets of a kv engine of version 2 are below MOUNT/data (or use `aumbry kv`)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_around_a_path_do_not_matter() {
        for (path, plain) in [
            ("/secret/data/x", Some("secret/data/x")),
            ("v1/sys/mounts", Some("sys/mounts")),
            ("/", None),
            ("", None),
            ("secret/metadata/", Some("secret/metadata/")),
        ] {
            assert_eq!(plain_path(path).ok().as_deref(), plain, "{path}");
        }
    }

    #[test]
    fn a_moment_is_still_a_wish_to_wrap() {
        for (wrap_ttl, seconds) in [
            (None, 0),
            (Some(Duration::from_millis(1)), 1),
            (Some(Duration::from_secs(90)), 90),
        ] {
            assert_eq!(Wrap { wrap_ttl }.ttl_s().unwrap(), seconds);
        }
    }
}
