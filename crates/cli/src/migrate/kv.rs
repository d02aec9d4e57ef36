//! kv engines: their mounts, and all that is below them.

use anyhow::{Context as _, Result, bail, ensure};
use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};

use super::mounts::{self, KV, Made, Mount};
use super::report::{Fate, Kind, Why};
use super::target::check_path;
use super::walk::{Directory, Walk};
use super::{Run, versions};

pub(super) async fn run(run: &Run) -> Result<()> {
    let mounts = mounts::of(run, TABLE).await?;
    for wanted in &run.plan.mounts {
        let is_there = mounts.iter().any(|mount| mount.path == *wanted && is_kv(mount));
        if !is_there {
            let why = "the source has no kv engine there".to_owned();
            run.report.remains(Kind::Mount, &format!("{wanted}/"), Why::Left(why));
        }
    }
    for mount in mounts {
        if !is_kv(&mount) {
            if !BUILT_IN.contains(&mount.kind.as_str()) && run.plan.mounts.is_empty() {
                let why = format!("an engine of the type {} is not moved", mount.kind);
                run.report
                    .remains(Kind::Other, &format!("{}/", mount.path), Why::ByHand(why));
            }
            continue;
        }
        if run.plan.mounts.is_empty() || run.plan.mounts.contains(&mount.path) {
            let mount = Mount {
                kind: KV.to_owned(),
                ..mount
            };
            one(run, &mount).await;
        }
    }
    Ok(())
}

/// What older servers call an engine of version 1 is one.
fn is_kv(mount: &Mount) -> bool {
    mount.kind == KV || mount.kind == "generic"
}

async fn one(run: &Run, mount: &Mount) {
    let name = format!("{}/", mount.path);
    let ready = prepare(run, mount).await;
    let is_ready = ready.is_ok();
    run.report.note(Kind::Mount, &name, ready);
    if !is_ready {
        return;
    }
    let mut walk = Walk::new(&run.source, listed_at(mount));
    while let Some((path, directory)) = walk.next().await {
        match directory {
            Ok(directory) => secrets(run, mount, directory).await,
            Err(error) => left(run, mount, &path, &error),
        }
    }
    if !run.plan.is_dry {
        verify(run, mount).await;
    }
}

/// The mount in the target, with the settings of the engine.
async fn prepare(run: &Run, mount: &Mount) -> Result<Fate> {
    let made = mounts::ensure(run, TABLE, mount).await?;
    if mount.version == 2
        && let Err(error) = settings(run, mount, made).await
    {
        // The secrets can be moved all the same.
        let path = format!("{}/config", mount.path);
        run.report.remains(Kind::Mount, &path, Why::Left(format!("{error:#}")));
    }
    Ok(match made {
        Made::Now => Fate::Moved,
        Made::Before => Fate::Same,
    })
}

async fn settings(run: &Run, mount: &Mount, made: Made) -> Result<()> {
    let path = format!("{}/config", mount.path);
    let wanted = run.source.read(&path).await?.map(Value::Object).unwrap_or_default();
    let there = match (run.plan.is_dry, made) {
        // A mount that a dry run did not make cannot be asked.
        (true, Made::Now) => None,
        _ => run.target.read(&path).await?.map(Value::Object),
    };
    let is_same = |there: &Value| {
        there["max_versions"].as_u64().unwrap_or(0) == wanted["max_versions"].as_u64().unwrap_or(0)
            && there["cas_required"].as_bool().unwrap_or(false) == wanted["cas_required"].as_bool().unwrap_or(false)
            && versions::seconds(&there["delete_version_after"]).ok()
                == versions::seconds(&wanted["delete_version_after"]).ok()
    };
    match there {
        Some(there) if is_same(&there) => return Ok(()),
        None if is_usual(&wanted) => return Ok(()),
        // Nobody has changed what is as it was made.
        Some(there) if !is_usual(&there) && !run.plan.overwrites => {
            bail!("the target's engine has other settings (--overwrite)")
        }
        _ => {}
    }
    let body = json!({
        "max_versions": wanted["max_versions"],
        "cas_required": wanted["cas_required"],
        "delete_version_after": versions::seconds(&wanted["delete_version_after"])?,
    });
    run.target.write(&path, body.to_string().into_bytes()).await
}

/// Whether the settings are those of an engine that nobody has set.
fn is_usual(settings: &Value) -> bool {
    settings["max_versions"].as_u64().unwrap_or(0) == 0
        && settings["cas_required"] != true
        && versions::seconds(&settings["delete_version_after"]).unwrap_or(0) == 0
}

/// The secrets of a directory, so many at a time.
async fn secrets(run: &Run, mount: &Mount, directory: Directory) {
    let names = directory
        .secrets
        .into_iter()
        .map(|name| format!("{}{name}", directory.path));
    stream::iter(names)
        .for_each_concurrent(IN_FLIGHT, |below| async move {
            let path = format!("{}/{below}", mount.path);
            let fate = match (check_path(&path), mount.version) {
                (Err(error), _) => Err(error.context("the target does not take such a name")),
                (Ok(()), 2) => versions::run(run, &mount.path, &below).await,
                (Ok(()), _) => plain(run, &path).await,
            };
            run.report.note(Kind::Secret, &path, fate);
        })
        .await;
}

/// A secret of an engine without versions.
async fn plain(run: &Run, path: &str) -> Result<Fate> {
    let wanted = run.source.raw(path, "").await?.context("it is gone from the source")?;
    let wanted = wanted.get().as_bytes();
    if let Some(there) = run.target.raw(path).await? {
        if is_equal(&there, wanted) {
            return Ok(Fate::Same);
        }
        ensure!(run.plan.overwrites, "the target has other data there (--overwrite)");
    }
    run.target.write(path, wanted.to_vec()).await?;
    run.report.version();
    Ok(Fate::Moved)
}

/// Whether two texts of JSON mean the same.
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let parse = |text| serde_json::from_slice::<Value>(text).ok();
    a == b || matches!((parse(a), parse(b)), (Some(a), Some(b)) if a == b)
}

/// Looks for each name of the source in the target.
async fn verify(run: &Run, mount: &Mount) {
    let mut walk = Walk::new(&run.source, listed_at(mount));
    while let Some((path, directory)) = walk.next().await {
        let Ok(directory) = directory else { continue };
        let there = match run.target.list(&format!("{}/{path}", listed_at(mount))).await {
            Ok(mut there) => {
                there.sort_unstable();
                there
            }
            Err(error) => {
                left(run, mount, &path, &error);
                continue;
            }
        };
        let seen = directory
            .secrets
            .iter()
            .filter(|name| there.binary_search(name).is_ok());
        run.report.verified(Kind::Secret, seen.count() as u64);
    }
}

fn left(run: &Run, mount: &Mount, path: &str, error: &anyhow::Error) {
    let why = format!("the directory cannot be listed: {error:#}");
    run.report
        .remains(Kind::Secret, &format!("{}/{path}", mount.path), Why::Left(why));
}

fn listed_at(mount: &Mount) -> String {
    match mount.version {
        2 => format!("{}/metadata", mount.path),
        _ => mount.path.clone(),
    }
}

const TABLE: &str = "sys/mounts";
/// Every server has these, and nothing in them can be moved.
const BUILT_IN: [&str; 7] = [
    "system",
    "cubbyhole",
    "identity",
    "token",
    "ns_system",
    "ns_cubbyhole",
    "ns_identity",
];
/// What a server of either kind answers side by side without a queue, and each holds a version of at most 1 MiB, twice.
const IN_FLIGHT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_same_are_equal() {
        for (a, b, expected) in [
            (r#"{"a":1,"b":2}"#, r#"{ "b": 2, "a": 1 }"#, true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            ("x", "x", true),
            ("x", "y", false),
        ] {
            assert_eq!(is_equal(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
