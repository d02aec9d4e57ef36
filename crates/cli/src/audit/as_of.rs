//! `aumbry audit as-of`: what a policy was at an index of the log, as far as the log proves it.
//!
//! Records have the digest of a policy's text and not the text. So a text is proved, and none is recalled: the present one, or one that somebody kept.

use anyhow::{Context as _, Result};
use aumbry_client::v1::Verb;
use clap::Args;
use serde_json::{Map, Value, json};

use super::event::text;
use super::query::each;
use crate::answer::Answer;
use crate::context::{ByPath, Caller, Context, read_stdin};
use crate::logical::call;
use crate::output::{Format, line, line_json};

#[derive(Args)]
pub(crate) struct AsOf {
    /// The index of the Raft log; records tell theirs
    index: u64,
    /// The policy
    #[arg(long)]
    policy: String,
    /// A file with what it may have been, or - for standard input; without one the present text is compared
    #[arg(long)]
    file: Option<String>,
}

pub(super) const EXAMPLES: &str = "Examples:
  aumbry audit as-of 4711 --policy app
  git show v3:app.hcl | aumbry audit as-of 4711 --policy app --file -

Told is which change of the policy held at the index, who made it and when, and whether the text is the one of then. The log keeps digests of policies and not their
texts. Besides `read` and `sudo` on sys/audit-log/query it takes `update` on sys/audit-hash/log, and without a file `read` on the policy.";

pub(super) async fn run(arguments: AsOf, context: &Context) -> Result<()> {
    let (client, format) = (context.client()?, context.format());
    let name = arguments.policy.to_ascii_lowercase();
    let path = format!("sys/policies/acl/{name}");
    let body: Map<String, Value> = [
        ("path", json!(path)),
        ("operation", json!(["policy.write", "policy.delete"])),
        ("outcome", json!(["allowed"])),
        ("to_index", json!(arguments.index)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect();
    let mut change = Value::Null;
    each(&client, &body, u64::MAX, |event| {
        // The newest comes first, and what was not applied changed nothing.
        if change.is_null() && text(&event, "outcome") == "ok" {
            change = event;
        }
        Ok(())
    })
    .await?;
    let mut told = json!({ "policy": name, "index": arguments.index });
    if text(&change, "operation") == "policy.write" {
        let candidate = match arguments.file.as_deref() {
            Some("-") => read_stdin()
                .map(|text| text.expose_str().map(str::to_owned))?
                .context("the text is not UTF-8")?,
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?,
            None => present(&client, &path).await?,
        };
        let proved = proved(&client, &candidate, &change["fields"]["policy"]).await?;
        told["proved"] = json!(proved.is_some());
        if let Some(text) = proved {
            told["text"] = json!(text);
        }
    }
    told["change"] = json!({
        "operation": change["operation"],
        "seq": change["seq"],
        "index": change["index"],
        "time": change["time"],
        "who": change["principal"]["display_name"],
        "digest": change["fields"]["policy"],
    });
    show(format, &told)
}

/// The present text; nothing if there is no such policy any more.
async fn present(client: &Caller, path: &str) -> Result<String> {
    match client.by_path(ByPath::new(Verb::Read, path)).await {
        Ok(reply) => Ok(text(&Answer::of(reply)?.data, "policy").to_owned()),
        Err(error) if error.reason() == "NOT_FOUND" => Ok(String::new()),
        Err(error) => Err(error.into()),
    }
}

/// The text if it has this digest. A line break at its end is easily lost and added on the way, so it is looked at in each way.
async fn proved(client: &Caller, candidate: &str, digest: &Value) -> Result<Option<String>> {
    let bare = candidate.trim_end_matches(['\r', '\n']);
    if bare.is_empty() {
        return Ok(None);
    }
    for text in [candidate.to_owned(), bare.to_owned(), format!("{bare}\n")] {
        let asked = ByPath::new(Verb::Write, "sys/audit-hash/log").with(&json!({ "input": text }));
        if call(client, asked).await?.data["hash"] == *digest {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

fn show(format: Format, told: &Value) -> Result<()> {
    if format == Format::Json {
        return line_json(told);
    }
    let change = &told["change"];
    let (policy, index) = (text(told, "policy"), &told["index"]);
    match text(change, "operation") {
        "" => line(&format!(
            "no change of {policy} is on record up to index {index}: it was not there, or is built in"
        )),
        "policy.delete" => line(&format!(
            "{policy} was not there: it was deleted at index {} ({})",
            change["index"],
            text(change, "time")
        )),
        _ => {
            let (at, time, who) = (&change["index"], text(change, "time"), text(change, "who"));
            line(&format!(
                "{policy} was written at index {at} ({time}) by {who}, and not changed up to index {index}"
            ))?;
            if told["proved"] != true {
                return line(
                    "The text that was compared is another one. The log has the digest of the one of then alone: give a text that was kept with --file.",
                );
            }
            line("This is its text, as the digest on record proves:")?;
            // As it was written, and escaped for terminals.
            text(told, "text").lines().try_for_each(line)
        }
    }
}
