//! The audit log, asked from the command line: who had what, and what is to be done about it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{Bed, said};

/// A token with a policy, and its accessor.
fn token(bed: &Bed, name: &str) -> Result<(String, String)> {
    let made = bed.root_json(&["token", "create", "--policy", "reader", "--display-name", name], "")?;
    let text = |key: &str| -> Result<String> {
        let auth = if made["auth"].is_object() { &made["auth"] } else { &made };
        let value = auth[key]
            .as_str()
            .or_else(|| auth["client_token"].as_str().filter(|_| key == "token"));
        Ok(value.with_context(|| format!("{key} in {made}"))?.to_owned())
    };
    Ok((text("token")?, text("accessor")?))
}

fn rows(told: &Value) -> Result<&Vec<Value>> {
    told.as_array().with_context(|| format!("a list: {told}"))
}

/// Reads are found by who and by what, and what was given is planned for rotation until it is another version.
#[test]
fn reads_are_found_and_lead_to_a_plan() -> Result<()> {
    let bed = Bed::start()?;
    let policy = "path \"secret/*\" { capabilities = [\"read\"] }";
    bed.root(&["policy", "write", "reader", "-"], policy)?;
    for name in ["a", "b", "c", "d"] {
        bed.root(&["kv", "put", &format!("secret/{name}"), "x=-"], "1")?;
    }
    let (ann, accessor) = token(&bed, "ann")?;
    let (ben, _) = token(&bed, "ben")?;
    for (who, name) in [
        (&ann, "a"),
        (&ann, "a"),
        (&ann, "b"),
        (&ann, "c"),
        (&ben, "a"),
        (&ben, "d"),
    ] {
        let get = bed.run_as(&[("AUMBRY_TOKEN", who)], &["kv", "get", &format!("secret/{name}")], "")?;
        ensure!(get.status.success(), "{}", said(&get));
    }
    // b is rotated, and c is gone.
    bed.root(&["kv", "put", "secret/b", "x=-"], "2")?;
    bed.root(&["delete", "secret/metadata/c"], "")?;

    let readers = bed.root_json(&["audit", "who-read", "secret/a", "--since", "1h"], "")?;
    let readers = rows(&readers)?;
    ensure!(readers.len() == 2, "{readers:?}");
    let first = &readers[0];
    ensure!(first["reads"] == 2 && first["versions"] == json!(["1"]), "{first}");
    ensure!(first["who"].as_str().is_some_and(|who| who.contains("ann")), "{first}");
    ensure!(first["accessors"] == json!([accessor]), "{first}");

    let deeds = bed.root_json(&["audit", "what-did", "--accessor", &accessor], "")?;
    let about: Vec<(&str, u64)> = rows(&deeds)?
        .iter()
        .map(|row| {
            (
                row["path"].as_str().unwrap_or_default(),
                row["count"].as_u64().unwrap_or_default(),
            )
        })
        .collect();
    ensure!(
        about == [("secret/a", 2), ("secret/b", 1), ("secret/c", 1)],
        "{about:?}"
    );

    let plan = bed.root_json(&["audit", "blast-radius", "--token", &accessor, "--since", "1h"], "")?;
    let rotate: Vec<&Value> = rows(&plan["rotate"])?.iter().map(|row| &row["path"]).collect();
    ensure!(rotate == ["secret/a"], "{plan}");
    ensure!(plan["rotated_since"] == 1 && plan["gone"] == 1, "{plan}");
    ensure!(plan["tokens"] == json!([accessor]), "{plan}");
    let text = bed.root(&["audit", "blast-radius", "--token", &accessor, "--since", "1h"], "")?;
    ensure!(text.starts_with("1 to rotate; 1 rotated since, 1 gone since"), "{text}");
    let from_here = bed.root_json(&["audit", "blast-radius", "--ip", "127.0.0.1", "--since", "1h"], "")?;
    ensure!(rows(&from_here["rotate"])?.len() == 2, "{from_here}");

    // Records one by one, in pages, in a table.
    let query = [
        "audit",
        "query",
        "--accessor",
        &accessor,
        "--path",
        "secret/a",
        "--oldest-first",
    ];
    let table = bed.root(&query, "")?;
    ensure!(table.lines().count() == 3 && table.contains("kv.get"), "{table}");
    let none = bed.root(&["audit", "query", "--path", "secret/none"], "")?;
    ensure!(none.lines().count() == 1, "{none}");
    Ok(())
}

/// Who may not is refused; a tenant's auditor is told of the tenant's records alone; what is wrong is said.
#[test]
fn the_log_is_read_by_those_who_may() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(
        &["policy", "write", "reader", "-"],
        "path \"secret/*\" { capabilities = [\"read\"] }",
    )?;
    let (ann, _) = token(&bed, "ann")?;
    let refused = bed.run_as(&[("AUMBRY_TOKEN", &ann)], &["audit", "query"], "")?;
    ensure!(refused.status.code() == Some(4), "{}", said(&refused));
    bed.root(&["namespace", "create", "team"], "")?;
    let in_team = |arguments: &[&str], input: &str| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--namespace", "team"]).collect();
        bed.root(&arguments, input)
    };
    in_team(&["secrets", "enable", "--path", "secret", "kv"], "")?;
    in_team(&["kv", "put", "secret/theirs", "x=-"], "1")?;
    bed.root(&["kv", "put", "secret/ours", "x=-"], "1")?;
    let auditor = "path \"sys/audit-log/query\" { capabilities = [\"read\", \"sudo\"] }";
    in_team(&["policy", "write", "auditor", "-"], auditor)?;
    let made = in_team(&["token", "create", "--policy", "auditor", "--output", "json"], "")?;
    let made: Value = serde_json::from_str(&made)?;
    let token = made["token"].as_str().or_else(|| made["auth"]["client_token"].as_str());
    let token = token.with_context(|| made.to_string())?.to_owned();
    let asked = ["audit", "query", "--operation", "kv.put", "--limit", "0"];
    let tenant = [("AUMBRY_TOKEN", token.as_str()), ("AUMBRY_NAMESPACE", "team")];
    let told = said(&bed.run_as(&tenant, &asked, "")?);
    ensure!(
        told.contains("secret/theirs") && !told.contains("secret/ours"),
        "{told}"
    );
    let everything = bed.run_as(&tenant, &["audit", "log"], "")?;
    ensure!(!everything.status.success(), "{}", said(&everything));
    let above = bed.run_as(&[("AUMBRY_TOKEN", token.as_str())], &asked, "")?;
    ensure!(above.status.code() == Some(4), "{}", said(&above));
    for wrong in [
        &["audit", "query", "--since", "yesterday"][..],
        &["audit", "query", "--outcome", "maybe"],
        &["audit", "what-did"],
        &["audit", "blast-radius", "--since", "1h"],
    ] {
        let output = bed.cluster.cli(wrong, "")?;
        ensure!(!output.status.success(), "{wrong:?}: {}", said(&output));
    }
    Ok(())
}

/// What nobody has used is proposed to be taken away, and what was used, made or changed within the time is not.
#[test]
fn what_is_not_used_is_told() -> Result<()> {
    let bed = Bed::start()?;
    let told = bed.root_json(&["audit", "stale", "--days", "1"], "")?;
    ensure!(
        told["log_reaches_back"] == false && told["left_out"] == json!([]),
        "{told}"
    );
    let policy = "path \"secret/data/a\" {\n  capabilities = [\"read\"]\n}\npath \"secret/data/never\" {\n  capabilities = [\"read\"]\n}\n";
    bed.root(&["policy", "write", "reader", "-"], policy)?;
    bed.root(&["kv", "put", "secret/a", "x=-"], "1")?;
    let (ann, _) = token(&bed, "ann")?;
    let get = bed.run_as(&[("AUMBRY_TOKEN", &ann)], &["kv", "get", "secret/a"], "")?;
    ensure!(get.status.success(), "{}", said(&get));
    // All of it was made within the day.
    let told = bed.root_json(&["audit", "stale", "--days", "1"], "")?;
    for what in ["policies", "entities", "tokens", "secrets"] {
        ensure!(told[what] == json!([]), "{what}: {told}");
    }
    // Who may not list is told what is left out.
    let few = "path \"sys/audit-log/query\" { capabilities = [\"read\", \"sudo\"] }";
    bed.root(&["policy", "write", "reader", "-"], few)?;
    let told = bed.run_as(&[("AUMBRY_TOKEN", &ann)], &["audit", "stale", "--output", "json"], "")?;
    let told: Value = serde_json::from_slice(&told.stdout).with_context(|| said(&told))?;
    ensure!(
        told["left_out"] == json!(["policies", "entities", "tokens", "secrets"]),
        "{told}"
    );
    Ok(())
}

/// The text of a policy at an index is proved by the digest on record: the present one, or one that was kept.
#[test]
fn a_policy_of_then_is_proved() -> Result<()> {
    let bed = Bed::start()?;
    let texts = [
        "path \"secret/data/a\" { capabilities = [\"read\"] }",
        "path \"secret/data/b\" { capabilities = [\"read\"] }",
    ];
    let mut indexes = Vec::new();
    for text in texts {
        bed.root(&["policy", "write", "app", "-"], text)?;
        let last = bed.root_json(&["audit", "query", "--operation", "policy.write", "--limit", "1"], "")?;
        indexes.push(last["index"].as_u64().with_context(|| last.to_string())?.to_string());
    }
    let as_of = |index: &str, more: &[&str], input: &str| {
        let arguments: Vec<&str> = ["audit", "as-of", index, "--policy", "app"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        bed.root_json(&arguments, input)
    };
    let now = as_of(&indexes[1], &[], "")?;
    ensure!(now["proved"] == true && now["text"] == texts[1], "{now}");
    let then = as_of(&indexes[0], &[], "")?;
    ensure!(then["proved"] == false && then["text"].is_null(), "{then}");
    let kept = as_of(&indexes[0], &["--file", "-"], texts[0])?;
    ensure!(kept["proved"] == true && kept["text"] == texts[0], "{kept}");
    let before = as_of("1", &[], "")?;
    ensure!(
        before["change"]["operation"].is_null() && before["proved"].is_null(),
        "{before}"
    );
    bed.root(&["policy", "delete", "app"], "")?;
    let gone = as_of("1000000", &[], "")?;
    ensure!(gone["change"]["operation"] == "policy.delete", "{gone}");
    Ok(())
}
