//! `aumbry operator rekey`: new key shares in the place of the old ones.

use std::fs::DirBuilder;
use std::io::IsTerminal as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aumbry_client::v1::Verb;
use aumbry_types::{SecretBytes, hex};
use serde_json::{Value, json};

use super::{init, seal, seals};
use crate::context::{ByPath, Caller, Context, ask};
use crate::failure::note;
use crate::logical::call;
use crate::output::{Format, document, done, line, line_json};

/// How many shares there will be, and what is to be done.
#[derive(clap::Args)]
pub(crate) struct Rekey {
    /// How many key shares there will be
    #[arg(long, default_value_t = 5)]
    shares: u8,
    /// How many of them will open the seal
    #[arg(long, default_value_t = 3)]
    threshold: u8,
    /// Replace the root key as well: old shares, backups and other seals open nothing that is written from then on. Add other seals again afterwards
    #[arg(long, conflicts_with_all = ["verify", "status", "cancel"])]
    rotate_root: bool,
    /// Encrypt a new share to this public key of age; once for each share, in their order
    #[arg(long = "recipient", value_name = "AGE1...", value_delimiter = ',', conflicts_with_all = ["verify", "status", "cancel"])]
    recipients: Vec<String>,
    /// A file with an old key share, or with --verify a new one; as many as are needed
    #[arg(long = "share", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write each new share into a file of its own here instead of printing them
    #[arg(long)]
    out_dir: Option<PathBuf>,
    /// Try the new shares of a rekey that waits for it; from then on they count, and the old ones do not
    #[arg(long, conflicts_with_all = ["out_dir", "status", "cancel"])]
    verify: bool,
    /// Tell how far a rekey is
    #[arg(long, conflicts_with_all = ["out_dir", "files", "cancel"])]
    status: bool,
    /// End a rekey: the old shares stay, and new ones that were made are of no use
    #[arg(long, conflicts_with_all = ["out_dir", "files"])]
    cancel: bool,
}

pub(super) async fn run(asked: Rekey, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    if asked.status {
        return call(&client, ByPath::new(Verb::Read, INIT)).await?.show(format, None);
    }
    if asked.cancel {
        call(&client, ByPath::new(Verb::Delete, INIT)).await?;
        return done(format, "cancelled");
    }
    if asked.verify {
        return try_again(&client, context, &asked.files).await;
    }
    if let Some(directory) = &asked.out_dir {
        reserve(directory, &asked)?;
    }
    let old = seals::read_shares(context, &asked.files).await?;
    let begin = json!({
        "secret_shares": asked.shares,
        "secret_threshold": asked.threshold,
        "age_recipients": asked.recipients,
        "rotate_root": asked.rotate_root,
    });
    let begun = call(&client, ByPath::new(Verb::Write, INIT).with(&begin)).await?;
    let made = match make(&client, &begun.data["nonce"], &old).await {
        Ok(made) => made,
        Err(error) => {
            // Nobody goes on with it: what was shown is to be forgotten at once. If that fails too, it is within an hour.
            let _ = call(&client, ByPath::new(Verb::Delete, INIT)).await;
            return Err(error);
        }
    };
    let shares = keys(&made)?;
    let nonce = &made["verification_nonce"];
    let Some(directory) = &asked.out_dir else {
        tell(format, &asked, &shares)?;
        if !std::io::stdin().is_terminal() || !asked.recipients.is_empty() {
            return if format == Format::Json { Ok(()) } else { line(NEXT) };
        }
        let again = (1..=asked.threshold).map(|n| ask(&format!("New key share {n} of {}: ", asked.threshold)));
        verify(&client, nonce, again).await?;
        return done(format, "rekeyed");
    };
    for (path, share) in paths(directory, &asked).zip(&shares) {
        seals::write_new(&path, share).context(NEXT)?;
    }
    if !asked.recipients.is_empty() {
        // Their holders alone can try them.
        document(
            format,
            &json!({ "shares": asked.shares, "threshold": asked.threshold, "out_dir": directory, "complete": false }),
        )?;
        note(NEXT);
        return Ok(());
    }
    // What counts from then on is what stands in the files.
    let again = paths(directory, &asked)
        .take(asked.threshold.into())
        .map(|path| seal::read(&path));
    verify(&client, nonce, again).await.context(NEXT)?;
    document(
        format,
        &json!({ "shares": asked.shares, "threshold": asked.threshold, "out_dir": directory }),
    )?;
    match format {
        Format::Json => Ok(()),
        Format::Table => line(KEEP),
    }
}

/// Shows the old shares until the new ones are made.
async fn make(client: &Caller, nonce: &Value, old: &[SecretBytes]) -> Result<Value> {
    let mut told = json!({});
    for share in old {
        let answer = call(client, shown("sys/rekey/update", nonce, share)).await?;
        if answer.data["complete"] == true {
            return Ok(answer.data);
        }
        told = answer.data;
    }
    bail!(
        "{} of {} key shares were shown, and the rekey was ended; show as many as open the cluster",
        told["progress"],
        told["required"]
    )
}

/// Tries new shares until they count.
async fn verify(client: &Caller, nonce: &Value, shares: impl Iterator<Item = Result<SecretBytes>>) -> Result<()> {
    let mut told = json!({});
    for share in shares {
        let answer = call(client, shown(VERIFY, nonce, &share?)).await?;
        if answer.data["complete"] == true {
            return Ok(());
        }
        told = answer.data;
    }
    bail!(
        "{} of {} new key shares were tried; {NEXT}",
        told["progress"],
        told["t"]
    )
}

/// Tries new shares of a rekey that began before.
async fn try_again(client: &Caller, context: &Context, files: &[PathBuf]) -> Result<()> {
    let waits = call(client, ByPath::new(Verb::Read, VERIFY)).await?.data;
    let count = waits["t"].as_u64().unwrap_or_default();
    let shares = if files.is_empty() && std::io::stdin().is_terminal() {
        let share = |n| ask(&format!("New key share {n} of {count}: "));
        (1..=count).map(share).collect::<Result<Vec<_>>>()?
    } else {
        seals::read_shares(context, files).await?
    };
    verify(client, &waits["nonce"], shares.into_iter().map(Ok)).await?;
    done(context.format(), "rekeyed")
}

fn shown(path: &str, nonce: &Value, share: &SecretBytes) -> ByPath {
    let body = json!({ "nonce": nonce, "key": String::from_utf8_lossy(share.expose()) });
    ByPath::new(Verb::Write, path).with(&body)
}

/// The new shares in an answer.
fn keys(made: &Value) -> Result<Vec<SecretBytes>> {
    let keys = made["keys"].as_array().context("the answer holds no key shares")?;
    let share = |key: &Value| key.as_str().and_then(hex::decode_all).map(SecretBytes::new);
    let shares = keys.iter().map(share).collect::<Option<Vec<_>>>();
    shares.context("the answer holds no key shares that this program can read")
}

fn tell(format: Format, asked: &Rekey, shares: &[SecretBytes]) -> Result<()> {
    let texts: Vec<_> = shares
        .iter()
        .map(|share| String::from_utf8_lossy(share.expose()))
        .collect();
    if format == Format::Json {
        return line_json(&json!({ "shares": texts, "threshold": asked.threshold }));
    }
    for (n, share) in texts.iter().enumerate() {
        init::secret(&format!("share {}", n + 1), share)?;
    }
    line(KEEP)
}

/// Makes sure that new shares have somewhere to go before they are made. None of their files may be there.
fn reserve(directory: &Path, asked: &Rekey) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("cannot make {}", directory.display()))?;
    for path in paths(directory, asked) {
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} exists already: nothing was done; name another directory",
                path.display()
            );
        }
    }
    note("the old shares open the cluster until the new ones were tried");
    Ok(())
}

fn paths(directory: &Path, asked: &Rekey) -> impl Iterator<Item = PathBuf> {
    let ending = if asked.recipients.is_empty() { "" } else { ".age" };
    (1..=asked.shares).map(move |n| directory.join(format!("share-{n}{ending}")))
}

const INIT: &str = "sys/rekey/init";
const VERIFY: &str = "sys/rekey/verify";
const KEEP: &str = "Keep each share apart from the others and from this machine; they are told once.";
const NEXT: &str = "the new shares do not count yet, and the old ones do: try them with `aumbry operator rekey --verify`, \
                    or end it with `aumbry operator rekey --cancel`";
