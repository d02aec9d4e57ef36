//! `aumbry token`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_client::v1;
use aumbry_types::parse_duration;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::context::Caller;
use crate::context::{Context, ask, read_stdin};
use crate::failure::{usage, warn};
use crate::kv::split;
use crate::output::{Format, document, done, time};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a token
    #[command(after_help = "Example:
  aumbry token create --policy app --ttl 1h --output json")]
    Create(Create),
    /// Tell of a token, your own by default
    Lookup(Which),
    /// Renew a token, your own by default
    Renew {
        /// For how long from now; as long as it was issued for by default
        #[arg(long, default_value = "0", value_parser = parse_duration)]
        increment: Duration,
        #[command(flatten)]
        which: Which,
    },
    /// Revoke a token with all below it
    Revoke {
        /// Your own
        #[arg(long)]
        own: bool,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args)]
pub(crate) struct Create {
    /// A policy; repeat for several; your own by default
    #[arg(long)]
    policy: Vec<String>,
    /// For how long, such as 1h
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    ttl: Duration,
    /// The longest it can live, however often renewed
    #[arg(long, default_value = "0", value_parser = parse_duration)]
    explicit_max_ttl: Duration,
    /// How often it can be used; 0 is without limit
    #[arg(long, default_value_t = 0)]
    uses: u64,
    /// A name for people
    #[arg(long, default_value = "")]
    display_name: String,
    /// Your own pairs, key=value
    #[arg(long)]
    meta: Vec<String>,
    /// Without a parent, so that it outlives your token
    #[arg(long)]
    orphan: bool,
    /// Without the policy `default`
    #[arg(long)]
    no_default_policy: bool,
    /// It cannot be renewed
    #[arg(long)]
    not_renewable: bool,
}

/// Which token. A token is never given on the command line.
#[derive(Args)]
pub(crate) struct Which {
    /// By its accessor
    #[arg(long)]
    accessor: Option<String>,
    /// `-` reads the token from standard input
    token: Option<String>,
}

impl Which {
    fn name(&self) -> Result<Option<v1::TokenName>> {
        use v1::token_name::By;
        let by = match (&self.accessor, self.token.as_deref()) {
            (Some(accessor), None) => By::Accessor(accessor.clone()),
            (None, Some("-")) => By::Token(read_stdin()?.expose().to_vec().into()),
            (None, Some("?")) => By::Token(ask("Token: ")?.expose().to_vec().into()),
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(usage(TOKEN_AS_ARGUMENT)),
            (Some(_), Some(_)) => return Err(usage("name the token by its accessor or by `-`, not both")),
        };
        Ok(Some(v1::TokenName { by: Some(by) }))
    }
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let format = context.format();
    match command {
        Command::Create(create) => {
            let named = create.policy.clone();
            let metadata = create.meta.iter().map(|pair| split(pair)).collect::<Result<Vec<_>>>()?;
            let request = v1::TokenCreateRequest {
                policies: create.policy,
                ttl_s: create.ttl.as_secs(),
                explicit_max_ttl_s: create.explicit_max_ttl.as_secs(),
                num_uses: create.uses,
                not_renewable: create.not_renewable,
                display_name: create.display_name,
                metadata: metadata
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect(),
                orphan: create.orphan,
                no_default_policy: create.no_default_policy,
                ..Default::default()
            };
            let client = context.client()?;
            let reply = client.call(request).await?;
            let info = reply.info.unwrap_or_default();
            warn_of(format, &client, &info, &named).await;
            let mut shown = shown(&info);
            shown["token"] = json!(String::from_utf8(reply.token.to_vec()).context("the token is not text")?);
            document(format, &shown)
        }
        Command::Lookup(which) => {
            let request = v1::TokenLookupRequest {
                token: which.name()?,
                ..Default::default()
            };
            let reply = context.client()?.call(request).await?;
            document(format, &shown(&reply.info.unwrap_or_default()))
        }
        Command::Renew { increment, which } => {
            let increment_s = increment.as_secs();
            let request = v1::TokenRenewRequest {
                token: which.name()?,
                increment_s,
                ..Default::default()
            };
            let reply = context.client()?.call(request).await?;
            document(format, &shown(&reply.info.unwrap_or_default()))
        }
        Command::Revoke { own, which } => {
            let token = which.name()?;
            if own == token.is_some() {
                return Err(usage(
                    "say which token: --own, --accessor ACCESSOR, or - with the token on standard input",
                ));
            }
            context
                .client()?
                .call(v1::TokenRevokeRequest {
                    token,
                    ..Default::default()
                })
                .await?;
            done(format, "revoked")
        }
    }
}

/// Says what a new token can that people may not have meant.
async fn warn_of(format: Format, client: &Caller, info: &v1::TokenInfo, named: &[String]) {
    if info.policies.iter().any(|policy| policy == "root") {
        warn(format, "the new token is root: no policy bounds it");
    }
    if info.expires_at_ms == 0 {
        warn(format, "the new token never expires");
    }
    // Built in; asking would be for nothing.
    if named.iter().all(|name| matches!(name.as_str(), "root" | "default")) {
        return;
    }
    // Who may not list the policies is not told.
    let Ok(list) = client.call(v1::PolicyListRequest::default()).await else {
        return;
    };
    for name in named.iter().filter(|name| !list.names.contains(name)) {
        warn(
            format,
            &format!("there is no policy {name} yet: it allows nothing until it is written"),
        );
    }
}

pub(crate) fn shown(info: &v1::TokenInfo) -> Value {
    json!({
        "accessor": info.accessor,
        "policies": info.policies,
        "display_name": info.display_name,
        "metadata": info.metadata,
        "issue_time": time(info.issued_ms),
        "expire_time": time(info.expires_at_ms),
        "ttl": info.ttl_s,
        "explicit_max_ttl": info.explicit_max_ttl_s,
        "renewable": info.renewable,
        "orphan": info.orphan,
        "num_uses": info.num_uses,
    })
}

/// Why a token is not taken from the command line.
pub(crate) const TOKEN_AS_ARGUMENT: &str =
    "a token on the command line would stay in the shell's history: pass `-` and the token on standard input";
