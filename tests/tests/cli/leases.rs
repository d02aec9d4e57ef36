//! Leases, and what a path is for, from the command line.

use anyhow::{Context as _, Result, ensure};

use crate::{Bed, said};

/// A person's logins are found, looked at and ended, one by one and all at once.
#[test]
fn logins_are_leases_that_can_be_ended() -> Result<()> {
    let bed = Bed::start()?;
    bed.root(&["auth", "enable", "userpass"], "")?;
    for user in ["ann", "bob"] {
        let path = format!("auth/userpass/users/{user}");
        bed.root(&["write", &path, "token_policies=default", "password=-"], "a-password")?;
        let path = format!("auth/userpass/login/{user}");
        for _ in 0..3 {
            bed.root(&["write", &path, "password=-"], "a-password")?;
        }
    }
    let below = ["lease", "list", "auth/userpass/login/ann"];
    let names = bed.root_json(&below, "")?;
    let names = names.as_array().context("a list")?.clone();
    ensure!(names.len() == 3, "{names:?}");
    let lease = format!("auth/userpass/login/ann/{}", names[0].as_str().context("a name")?);
    let told = bed.root_json(&["lease", "lookup", &lease], "")?;
    ensure!(
        told["data"]["id"] == lease && told["data"]["ttl"].as_u64() > Some(0),
        "{told}"
    );
    // A token is renewed as a token, and the answer says how.
    let renewed = bed.cluster.cli(&["lease", "renew", "--increment", "1h", &lease], "")?;
    ensure!(
        !renewed.status.success() && said(&renewed).contains("auth/token/renew"),
        "{}",
        said(&renewed)
    );
    let count = || -> Result<u64> {
        let told = bed.root_json(&["lease", "count"], "")?;
        told["data"]["lease_count"].as_u64().context("a number")
    };
    let before = count()?;
    bed.root(&["lease", "revoke", &lease], "")?;
    ensure!(count()? == before - 1, "{before}");
    let gone = bed.cluster.cli(&["lease", "lookup", &lease], "")?;
    ensure!(gone.status.code() == Some(1), "{}", said(&gone));
    bed.root(&["lease", "revoke", "--prefix", "auth/userpass/login/"], "")?;
    ensure!(count()? == before - 6, "{before}");
    for wrong in [
        &["lease", "lookup", "/"][..],
        &["lease", "renew", "--increment", "soon", "x"],
    ] {
        ensure!(bed.cluster.cli(wrong, "")?.status.code() == Some(2), "{wrong:?}");
    }
    Ok(())
}

/// What is told of a path is what the server would do there.
#[test]
fn a_path_tells_what_it_is_for() -> Result<()> {
    let bed = Bed::start()?;
    for (path, expected) in [
        ("sys/mounts", "read"),
        ("/v1/sys/leases/lookup", "lease"),
        ("auth/approle/role/app", "role"),
        ("secret/data/app", "secret"),
    ] {
        let text = bed.root(&["path-help", path], "")?;
        ensure!(text.contains(expected), "{path}: {text}");
        let told = bed.root_json(&["path-help", path], "")?;
        let paths = told["data"]["openapi"]["paths"].as_object().context("paths")?;
        ensure!(
            !paths.is_empty()
                && told["data"]["help"]
                    .as_str()
                    .is_some_and(|help| help.contains(expected)),
            "{told}"
        );
    }
    let nothing = bed.cluster.cli(&["path-help", "sys/nothing-like-it"], "")?;
    ensure!(!nothing.status.success(), "{}", said(&nothing));
    Ok(())
}
