//! Policies, as they are written.

use anyhow::{Context as _, Result, bail};
use aumbry_policy::Policy;
use aumbry_types::Name;
use serde_json::json;

use super::Run;
use super::report::{Fate, Kind, Why};

pub(super) async fn run(run: &Run) -> Result<()> {
    let names = run
        .source
        .list(PATH)
        .await
        .context("cannot list the source's policies")?;
    for name in names.iter().filter(|name| *name != "root") {
        if name == "default" && !run.plan.overwrites {
            default(run).await;
            continue;
        }
        run.report.note(Kind::Policy, name, one(run, name).await);
    }
    if !run.plan.is_dry {
        let there = run
            .target
            .list(PATH)
            .await
            .context("cannot list the target's policies")?;
        let seen = names
            .iter()
            .filter(|name| !is_built_in(name) && there.contains(&name.to_ascii_lowercase()));
        run.report.verified(Kind::Policy, seen.count() as u64);
    }
    Ok(())
}

async fn one(run: &Run, name: &str) -> Result<Fate> {
    let path = format!("{PATH}/{name}");
    let wanted = run.source.read(&path).await?.context("it is gone from the source")?;
    let wanted = wanted
        .get("policy")
        .and_then(|text| text.as_str())
        .context("it has no text")?;
    // What the target would refuse is told before anything is written.
    let _ = Name::parse(&name.to_ascii_lowercase())?;
    let _ = Policy::parse(wanted)?;
    let there = run.target.read(&path).await?;
    let there = there.as_ref().and_then(|data| data.get("policy")?.as_str());
    match there {
        Some(there) if there.trim() == wanted.trim() => return Ok(Fate::Same),
        Some(_) if !run.plan.overwrites => bail!("the target has another policy of this name (--overwrite)"),
        _ => {}
    }
    let body = json!({ "policy": wanted }).to_string().into_bytes();
    run.target.write(&path, body).await?;
    Ok(Fate::Moved)
}

/// Every server has one of its own, and the two are rarely the same text: that is no fault, and nothing to hide.
async fn default(run: &Run) {
    let path = format!("{PATH}/default");
    let (Ok(Some(wanted)), Ok(Some(there))) = (run.source.read(&path).await, run.target.read(&path).await) else {
        return;
    };
    let text = |data: &serde_json::Map<String, serde_json::Value>| {
        data.get("policy")
            .and_then(|text| Some(text.as_str()?.trim().to_owned()))
    };
    if text(&wanted) != text(&there) {
        let why = "the target keeps its own; if yours grants more, write it with `aumbry policy write default FILE`, or use --overwrite";
        run.report.remains(Kind::Policy, "default", Why::ByHand(why.to_owned()));
    }
}

fn is_built_in(name: &str) -> bool {
    matches!(name, "root" | "default")
}

const PATH: &str = "sys/policies/acl";
