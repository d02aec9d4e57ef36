//! `aumbry token`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use aumbry_client::v1::{self, Verb};
use aumbry_types::parse_duration;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::context::{ByPath, Caller, Context, ask, read_stdin};
use crate::failure::{usage, warn};
use crate::fields::split;
use crate::logical::{Field, Wrap, call};
use crate::output::{Format, document, document_or_field, done, time};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a token
    #[command(after_help = "Examples:
  aumbry token create --policy app --ttl 1h --output json
  aumbry token create --policy app --field token
  aumbry token create --role ci --wrap-ttl 5m --field wrapping_token")]
    Create(Create),
    /// Tell of a token, your own by default
    #[command(after_help = "Examples:
  aumbry token lookup
  aumbry token lookup - <token.txt
  aumbry token lookup --accessor ACCESSOR --output yaml")]
    Lookup(Which),
    /// Renew a token, your own by default
    #[command(after_help = "Examples:
  aumbry token renew
  aumbry token renew --increment 1h - <token.txt")]
    Renew {
        /// For how long from now; as long as it was issued for by default
        #[arg(long, default_value = "0", value_parser = parse_duration)]
        increment: Duration,
        #[command(flatten)]
        which: Which,
    },
    /// Tell what a token may do with paths, your own by default
    #[command(after_help = "Examples:
  aumbry token capabilities secret/data/app secret/metadata/app
  aumbry token capabilities --accessor ACCESSOR secret/data/app
  aumbry token capabilities --token - secret/data/app <token.txt")]
    Capabilities {
        /// Of the token with this accessor
        #[arg(long, conflicts_with = "token")]
        accessor: Option<String>,
        /// `-` reads the token from standard input
        #[arg(long)]
        token: Option<String>,
        /// The paths, as policies write them
        #[arg(required = true)]
        paths: Vec<String>,
    },
    /// Revoke a token with all below it
    #[command(after_help = "Examples:
  aumbry token revoke --own
  aumbry token revoke - <token.txt
  aumbry token revoke --accessor ACCESSOR")]
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
    /// Each renewal is for so long, without end
    #[arg(long, value_parser = parse_duration)]
    period: Option<Duration>,
    /// Where it can be used from, such as 10.0.0.0/8; repeat for several
    #[arg(long)]
    bound_cidr: Vec<String>,
    /// Made by this role
    #[arg(long)]
    role: Option<String>,
    #[command(flatten)]
    field: Field,
    #[command(flatten)]
    wrap: Wrap,
}

impl Create {
    /// Whether it takes a request by path.
    fn is_by_path(&self) -> Result<bool> {
        let is_special = self.period.is_some() || !self.bound_cidr.is_empty() || self.role.is_some();
        Ok(is_special || self.wrap.ttl_s()? > 0)
    }

    fn by_path(&self) -> Result<ByPath> {
        let meta: Map<String, Value> = self
            .meta
            .iter()
            .map(|pair| split(pair).map(|(key, value)| (key.to_owned(), json!(value))))
            .collect::<Result<_>>()?;
        let mut body = json!({
            "display_name": self.display_name,
            "meta": meta,
            "no_default_policy": self.no_default_policy,
            "no_parent": self.orphan,
            "renewable": !self.not_renewable,
        });
        // What is not said is for the role to say.
        if !self.policy.is_empty() {
            body["policies"] = json!(self.policy);
        }
        if !self.bound_cidr.is_empty() {
            body["bound_cidrs"] = json!(self.bound_cidr);
        }
        let numbers = [
            ("ttl", self.ttl.as_secs()),
            ("explicit_max_ttl", self.explicit_max_ttl.as_secs()),
            ("num_uses", self.uses),
            ("period", self.period.unwrap_or_default().as_secs()),
        ];
        for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
            body[name] = json!(number);
        }
        let path = match &self.role {
            Some(role) => format!("auth/token/create/{role}"),
            None => "auth/token/create".to_owned(),
        };
        Ok(ByPath::new(Verb::Write, path).with(&body).wrapped(self.wrap.ttl_s()?))
    }
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
        Command::Create(create) if create.is_by_path()? => {
            let answer = call(&context.client()?, create.by_path()?).await?;
            if answer.auth.is_null() {
                return answer.show(format, create.field.field.as_deref());
            }
            let mut told = shown_auth(&answer.auth);
            told["token"] = answer.auth["client_token"].clone();
            document_or_field(format, create.field.field.as_deref(), &told)
        }
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
            document_or_field(format, create.field.field.as_deref(), &shown)
        }
        Command::Capabilities { accessor, token, paths } => {
            let mut body = json!({ "paths": paths });
            let path = match (accessor, token.as_deref()) {
                (Some(accessor), _) => {
                    body["accessor"] = json!(accessor);
                    "sys/capabilities-accessor"
                }
                (None, Some("-")) => {
                    let token = read_stdin()?;
                    body["token"] = json!(token.expose_str().context("the token is not text")?);
                    "sys/capabilities"
                }
                (None, Some(_)) => return Err(usage(TOKEN_AS_ARGUMENT)),
                (None, None) => "sys/capabilities-self",
            };
            let answer = call(&context.client()?, ByPath::new(Verb::Write, path).with(&body)).await?;
            let told: Map<String, Value> = paths
                .iter()
                .map(|path| (path.clone(), answer.data[path].clone()))
                .collect();
            document(format, &Value::Object(told))
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

/// The same of a token that was made by a request by path, which tells less.
pub(crate) fn shown_auth(auth: &Value) -> Value {
    json!({
        "accessor": auth["accessor"],
        "policies": auth["policies"],
        "metadata": auth["metadata"],
        "ttl": auth["lease_duration"],
        "renewable": auth["renewable"],
        "orphan": auth["orphan"],
        "num_uses": auth["num_uses"],
    })
}

/// Why a token is not taken from the command line.
pub(crate) const TOKEN_AS_ARGUMENT: &str =
    "a token on the command line would stay in the shell's history: pass `-` and the token on standard input";
