//! `aumbry login`: gets a token by one of the auth methods, or takes one that is there, and keeps it.
//!
//! What it guarantees: no token, password or secret id is taken from the command line; the file with the token is never readable by others, and
//! appears whole or not at all.

mod browser;

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Error, Result};
use aumbry_client::v1::{self, Verb};
use aumbry_types::SecretBytes;
use serde_json::{Map, Value, json};

use self::browser::Browser;
use crate::answer::Answer;
use crate::context::{ByPath, Context, ask, read_stdin, set, token_file};
use crate::failure::{Failed, usage, warn};
use crate::fields::{Repeated, object, split};
use crate::logical::{Field, Wrap};
use crate::output::document_or_field;
use crate::token::{TOKEN_AS_ARGUMENT, shown, shown_auth};

/// Logs in and keeps the token in ~/.aumbry/token for later commands.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  aumbry login                                          asks for a token
  aumbry login --method userpass username=ann           asks for the password
  aumbry login --method approle role_id=@role-id <secret-id.txt
  aumbry login --method userpass --path people username=ann password=@password.txt
  aumbry login --method jwt role=ci jwt=@token.jwt
  aumbry login --method oidc role=staff                  opens a browser, and waits for it
  aumbry login --method oidc --path corp --no-browser --listen localhost:8251
  aumbry login --no-store --field token --method approle role_id=@role-id secret_id=@secret-id")]
pub(crate) struct Args {
    /// token, approle, userpass, oidc (by a browser), or the name of another method
    #[arg(long, default_value = "token")]
    method: String,
    /// Where the method is mounted; as its name by default
    #[arg(long)]
    path: Option<String>,
    /// Do not keep the token: print it
    #[arg(long)]
    no_store: bool,
    /// Where a browser comes back to, for oidc; the role must allow http://HOST:PORT/oidc/callback
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8250")]
    listen: String,
    /// Open no browser, for oidc: print the address alone
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    field: Field,
    #[command(flatten)]
    wrap: Wrap,
    /// What the method asks for, key=value, key=@file or key=-, secrets never as key=value; for a token, - reads it from standard input
    fields: Vec<String>,
}

pub(crate) async fn run(args: &Args, context: &Context) -> Result<()> {
    if args.method == "token" {
        return by_token(args, context).await;
    }
    let ttl_s = args.wrap.ttl_s()?;
    let reply = match by_browser(args)? {
        Some(role) => {
            let browser = Browser {
                mount: mount(args),
                role: &role,
                listen: &args.listen,
                opens: !args.no_browser,
                ttl_s,
            };
            browser.log_in(context).await?
        }
        None => {
            let (path, body) = request(args)?;
            let asked = ByPath::new(Verb::Write, path).with(&Value::Object(body)).wrapped(ttl_s);
            context.anonymous()?.by_path(asked).await.map_err(no_method)?
        }
    };
    let answer = Answer::of(reply)?;
    let format = context.format();
    let field = args.field.field.as_deref();
    let token = answer.auth["client_token"].as_str();
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        // It was wrapped, and whoever opens it has the token; or it waits for a second factor.
        return answer.show(format, field);
    };
    let mut told = shown_auth(&answer.auth);
    if args.no_store || field == Some("token") {
        told["token"] = json!(token);
    }
    if !args.no_store {
        told["kept_in"] = json!(keep(&SecretBytes::from(token.to_owned()), context)?);
    }
    document_or_field(format, field, &told)
}

async fn by_token(args: &Args, context: &Context) -> Result<()> {
    let token = match &args.fields[..] {
        [] => ask("Token: ")?,
        [dash] if dash == "-" => read_stdin()?,
        _ => return Err(usage(TOKEN_AS_ARGUMENT)),
    };
    let client = context.build(context.builder()?.token(token.duplicate()))?;
    let reply = client.call(v1::TokenLookupRequest::default()).await;
    let reply = reply.map_err(|error| match error.reason() {
        "TOKEN_INVALID" => {
            Error::from(error.saying("this token is not valid: it is wrong, expired or revoked; it was not kept"))
        }
        _ => error.into(),
    })?;
    let mut told = shown(&reply.info.unwrap_or_default());
    if !args.no_store {
        told["kept_in"] = json!(keep(&token, context)?);
    }
    document_or_field(context.format(), args.field.field.as_deref(), &told)
}

fn no_method(error: Failed) -> Failed {
    match error.reason() {
        "NO_HANDLER" | "PERMISSION_DENIED" => error.saying(NO_METHOD),
        _ => error,
    }
}

fn mount(args: &Args) -> &str {
    let mount = args.path.as_deref().unwrap_or(&args.method).trim_matches('/');
    mount.strip_prefix("auth/").unwrap_or(mount)
}

/// The role of a login by a browser, if it is one: who has a token of the issuer already shows that.
fn by_browser(args: &Args) -> Result<Option<String>> {
    let mut role = String::new();
    for field in args.fields.iter().filter(|_| args.method == "oidc") {
        match split(field)? {
            ("jwt", _) => return Ok(None),
            ("role", value) => value.clone_into(&mut role),
            (key, _) => {
                return Err(usage(format!(
                    "--method oidc takes role=NAME, or role=NAME and jwt=@file, and not {key}"
                )));
            }
        }
    }
    Ok((args.method == "oidc").then_some(role))
}

/// Where the method takes its evidence, and what it is shown. What is missing and secret is asked for.
fn request(args: &Args) -> Result<(String, Map<String, Value>)> {
    let mount = mount(args);
    for field in &args.fields {
        let (key, value) = split(field)?;
        if SECRET.contains(&key) && value != "-" && !value.starts_with('@') {
            return Err(usage(format!(
                "a {key} on the command line would stay in the shell's history: give {key}=@file or {key}=-, or leave it out to be asked"
            )));
        }
    }
    let mut fields = object(&args.fields, Repeated::Refused)?;
    for key in SECRET {
        // Files end in a line feed, which no secret of a login does.
        if let Some(Value::String(text)) = fields.get_mut(key) {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
    }
    let missing = |key: &str| usage(format!("--method {} needs {key}=...", args.method));
    match args.method.as_str() {
        "approle" => {
            if !fields.contains_key("role_id") {
                return Err(missing("role_id"));
            }
            trim(&mut fields, "role_id");
            add_asked(&mut fields, "secret_id", "Secret id: ")?;
            Ok((format!("auth/{mount}/login"), fields))
        }
        "userpass" | "ldap" | "radius" => {
            let user = fields.remove("username");
            let user = user
                .as_ref()
                .and_then(Value::as_str)
                .ok_or_else(|| missing("username"))?;
            add_asked(&mut fields, "password", "Password: ")?;
            Ok((format!("auth/{mount}/login/{user}"), fields))
        }
        _ if fields.is_empty() => Err(usage(format!(
            "say what the method {} is to be shown: key=value, secrets as key=@file or key=-",
            args.method
        ))),
        _ => Ok((format!("auth/{mount}/login"), fields)),
    }
}

fn trim(fields: &mut Map<String, Value>, key: &str) {
    if let Some(Value::String(text)) = fields.get_mut(key) {
        *text = text.trim().to_owned();
    }
}

/// Asks for what was not given; nothing is taken for none.
fn add_asked(fields: &mut Map<String, Value>, key: &str, prompt: &str) -> Result<()> {
    if fields.contains_key(key) {
        return Ok(());
    }
    let secret = ask(prompt)?;
    if !secret.is_empty() {
        let text = secret.expose_str().with_context(|| format!("the {key} is not UTF-8"))?;
        fields.insert(key.to_owned(), json!(text));
    }
    Ok(())
}

/// Keeps a token for later commands.
fn keep(token: &SecretBytes, context: &Context) -> Result<PathBuf> {
    let file = token_file()?;
    let directory = file.parent().context("HOME is not set")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    // A new file with the mode 0600 takes the place of the old one, whatever mode that had.
    let write = || -> std::io::Result<()> {
        let mut kept = tempfile::NamedTempFile::new_in(directory)?;
        kept.write_all(token.expose())?;
        kept.persist(&file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    for variable in ["AUMBRY_TOKEN", "VAULT_TOKEN"] {
        if set(variable).is_some() {
            let text = format!("{variable} is set, and stands before the token that was kept");
            warn(context.format(), &text);
        }
    }
    Ok(file)
}

/// What is never taken from the command line.
const SECRET: [&str; 5] = ["password", "secret_id", "jwt", "token", "passcode"];
const NO_METHOD: &str = "no auth method takes this login; ask where it is mounted, and say so with --path";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: Option<&str>, fields: &[&str]) -> Result<(String, Map<String, Value>)> {
        request(&args(method, path, fields))
    }

    fn args(method: &str, path: Option<&str>, fields: &[&str]) -> Args {
        Args {
            method: method.to_owned(),
            path: path.map(str::to_owned),
            listen: String::new(),
            no_browser: false,
            no_store: false,
            field: Field { field: None },
            wrap: Wrap::none(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        }
    }

    #[test]
    fn a_method_is_asked_where_it_is_mounted() {
        let (path, body) = check("userpass", None, &["username=ann", "password=@/dev/null"]).unwrap();
        assert_eq!((path.as_str(), body.len()), ("auth/userpass/login/ann", 1));
        let (path, _) = check("approle", Some("auth/apps/"), &["role_id=r", "secret_id=@/dev/null"]).unwrap();
        assert_eq!(path, "auth/apps/login");
        let (path, body) = check("jwt", None, &["role=ci", "jwt=@/dev/null"]).unwrap();
        assert_eq!((path.as_str(), &body["role"]), ("auth/jwt/login", &json!("ci")));
    }

    #[test]
    fn a_browser_is_for_those_who_have_no_token() {
        let way = |method: &str, fields: &[&str]| {
            let args = args(method, None, fields);
            by_browser(&args).map_err(|error| crate::failure::exit_code(&error))
        };
        assert_eq!(way("oidc", &[]), Ok(Some(String::new())));
        assert_eq!(way("oidc", &["role=staff"]), Ok(Some("staff".to_owned())));
        assert_eq!(way("oidc", &["role=staff", "jwt=@token"]), Ok(None));
        assert_eq!(way("oidc", &["password=x"]), Err(2));
        assert_eq!(way("jwt", &["role=staff"]), Ok(None));
    }

    #[test]
    fn no_secret_is_taken_from_the_command_line_or_repeated() {
        for (method, field) in [("userpass", "password"), ("approle", "secret_id"), ("jwt", "jwt")] {
            let given = format!("{field}=s3cret");
            let error = check(method, None, &["username=ann", "role_id=r", &given])
                .err()
                .unwrap();
            assert_eq!(crate::failure::exit_code(&error), 2);
            assert!(!format!("{error:#}").contains("s3cret"), "{error:#}");
        }
        let error = check("jwt", None, &[]).err().unwrap();
        assert_eq!(crate::failure::exit_code(&error), 2);
    }
}
