//! `aumbry operator generate-root`: a root token from key shares, for when nobody holds one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1::Verb;
use aumbry_types::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::seals;
use crate::context::{ByPath, Caller, Context, ask};
use crate::failure::note;
use crate::logical::call;
use crate::output::{document, done};

/// What is to be done, and with which shares.
#[derive(clap::Args)]
pub(crate) struct GenerateRoot {
    /// A file with a key share; as many as are needed
    #[arg(long = "share", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write the token into this new file instead of printing it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["begin", "status", "cancel"])]
    out: Option<PathBuf>,
    /// Begin for custodians who are elsewhere: shows these shares, and prints the nonce for them and the one-time pad for yourself
    #[arg(long, conflicts_with_all = ["nonce", "status", "cancel", "decode"])]
    begin: bool,
    /// Show these shares to the attempt with this nonce
    #[arg(long, conflicts_with_all = ["status", "decode"])]
    nonce: Option<String>,
    /// Open the token that the last share gave, with the one-time pad that is asked for or read from standard input
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["status", "cancel", "files"])]
    decode: Option<String>,
    /// Tell how far an attempt is; takes a token
    #[arg(long, conflicts_with_all = ["files", "cancel"])]
    status: bool,
    /// End an attempt: with a share, or with a token
    #[arg(long)]
    cancel: bool,
}

pub(super) async fn run(asked: GenerateRoot, context: &Context) -> Result<()> {
    let format = context.format();
    if let Some(hidden) = &asked.decode {
        let pad = SecretBytes::from(
            ask("One-time pad: ")?
                .expose_str()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        );
        return give(&open(hidden, &pad)?, asked.out.as_deref(), context);
    }
    // Who shows a share needs no token, and the one that is kept may be none any more.
    let is_proved = !(asked.status || asked.cancel && asked.files.is_empty());
    let client = if is_proved {
        context.anonymous()?
    } else {
        context.client()?
    };
    if asked.status {
        return call(&client, ByPath::new(Verb::Read, ATTEMPT))
            .await?
            .show(format, None);
    }
    if asked.cancel {
        let mut body = json!({ "nonce": asked.nonce.unwrap_or_default() });
        if let [file, ..] = &asked.files[..] {
            body["key"] = text(&seals::read_shares(context, std::slice::from_ref(file)).await?[0]);
        }
        call(&client, ByPath::new(Verb::Delete, ATTEMPT).with(&body)).await?;
        return done(format, "cancelled");
    }
    let shares = seals::read_shares(context, &asked.files).await?;
    if let Some(nonce) = &asked.nonce {
        let told = show(&client, &json!(nonce), &shares).await?;
        document(format, &told)?;
        if told["complete"] == true {
            note("give `encoded_token` to whoever began: `aumbry operator generate-root --decode` opens it");
        }
        return Ok(());
    }
    let (first, rest) = shares
        .split_first()
        .context("no key share was given; name one with --share")?;
    let begin = ByPath::new(Verb::Write, ATTEMPT).with(&json!({ "key": text(first) }));
    let begun = call(&client, begin).await?.data;
    if asked.begin {
        show(&client, &begun["nonce"], rest).await?;
        document(
            format,
            &json!({ "nonce": begun["nonce"], "otp": begun["otp"], "required": begun["required"] }),
        )?;
        note("keep `otp` to yourself; custodians show their shares with --nonce");
        return Ok(());
    }
    let told = match begun["complete"].as_bool() {
        Some(true) => Ok(begun.clone()),
        _ => show(&client, &begun["nonce"], rest).await,
    };
    let ended = told.and_then(|told| match told["encoded_token"].as_str() {
        Some(hidden) if !hidden.is_empty() => Ok(hidden.to_owned()),
        _ => bail!(
            "{} of {} key shares were shown, and the attempt was ended; show as many as open the cluster, or use --begin",
            told["progress"],
            told["required"]
        ),
    });
    let hidden = match ended {
        Ok(hidden) => hidden,
        Err(error) => {
            // Nobody goes on with it: what was shown is to be forgotten at once. If that fails too, it is within an hour.
            let body = json!({ "nonce": begun["nonce"], "key": text(first) });
            let _ = call(&client, ByPath::new(Verb::Delete, ATTEMPT).with(&body)).await;
            return Err(error);
        }
    };
    let pad = SecretBytes::from(begun["otp"].as_str().unwrap_or_default().to_owned());
    give(&open(&hidden, &pad)?, asked.out.as_deref(), context)
}

/// Shows shares until the token is made, and gives the last answer.
async fn show(client: &Caller, nonce: &Value, shares: &[SecretBytes]) -> Result<Value> {
    let mut told = json!({ "progress": 1 });
    for share in shares {
        let body = json!({ "nonce": nonce, "key": text(share) });
        told = call(client, ByPath::new(Verb::Write, UPDATE).with(&body)).await?.data;
        if told["complete"] == true {
            break;
        }
    }
    Ok(told)
}

fn text(share: &SecretBytes) -> Value {
    json!(String::from_utf8_lossy(share.expose()))
}

/// The token that the pad hides.
fn open(hidden: &str, pad: &SecretBytes) -> Result<SecretBytes> {
    let hidden = STANDARD_NO_PAD.decode(hidden.trim_end_matches('='));
    let hidden = Zeroizing::new(hidden.ok().context("the token that is to be opened is not in base64")?);
    if hidden.len() != pad.len() {
        bail!(
            "the one-time pad has {} characters, and the token {}; copy all of both",
            pad.len(),
            hidden.len()
        );
    }
    let token = hidden.iter().zip(pad.expose()).map(|(a, b)| a ^ b);
    let token = SecretBytes::new(token.collect());
    if aumbry_crypto::token::parse(token.expose()).is_err() {
        bail!("the one-time pad is not that of this token");
    }
    Ok(token)
}

fn give(token: &SecretBytes, out: Option<&Path>, context: &Context) -> Result<()> {
    let text = token.expose_str().unwrap_or_default();
    match out {
        Some(path) => {
            seals::write_new(path, token)?;
            document(context.format(), &json!({ "file": path }))
        }
        None => {
            document(context.format(), &json!({ "root_token": text }))?;
            note("revoke it once it has done what it was made for: `aumbry token revoke --own`");
            Ok(())
        }
    }
}

const ATTEMPT: &str = "sys/generate-root/attempt";
const UPDATE: &str = "sys/generate-root/update";
