//! `aumbry server --check`: all problems at once, and nothing changed.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use aumbry_tests::{Own, run_cli};
use serde_json::Value;

fn run(own: &Own, arguments: &[&str]) -> Result<Output> {
    let config = own.config();
    let config = config.to_string_lossy();
    let arguments: Vec<&str> = ["server", "--config", &config]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    run_cli(&arguments, &[], "")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Everything below a directory: names, modes, times of change and contents.
fn everything(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        let content = if metadata.is_file() {
            format!("{:?}", std::fs::read(&path)?)
        } else {
            found.extend(everything(&path)?);
            String::new()
        };
        let facts = format!(
            "{:o} {:?} {content}",
            metadata.permissions().mode(),
            metadata.modified()?
        );
        found.insert(path.display().to_string(), facts);
    }
    Ok(found)
}

/// A good configuration is ok before the first start, while the node runs, and afterwards; and looking changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_is_ok() -> Result<()> {
    let mut own = Own::make()?;
    let check = |own: &Own| -> Result<String> {
        let before = everything(own.directory())?;
        let output = run(own, &["--check"])?;
        let text = told(&output);
        ensure!(output.status.success() && text.starts_with("ok\n"), "{text}");
        ensure!(everything(own.directory())? == before, "something was changed");
        Ok(text)
    };
    let fresh = check(&own)?;
    ensure!(
        fresh.contains("fresh: it waits for") && fresh.contains("2100-01-01T00:00:00Z"),
        "{fresh}"
    );
    own.run().await?;
    // A log that is written meanwhile is no change of the check's.
    let running = told(&run(&own, &["--check"])?);
    ensure!(
        running.starts_with("ok\n") && running.contains("a server runs on it"),
        "{running}"
    );
    own.init().await?;
    own.stop()?;
    let member = check(&own)?;
    ensure!(
        member.contains("a member of a cluster; the server is stopped"),
        "{member}"
    );

    let json = run(&own, &["--check", "--output", "json"])?;
    let json: Value = serde_json::from_slice(&json.stdout)?;
    ensure!(
        json["ok"] == true && json["problems"] == serde_json::json!([]),
        "{json}"
    );
    ensure!(json["summary"]["client"] == own.client, "{json}");
    Ok(())
}

/// Each problem is told in a line that names the place and what to do, and nothing is changed.
///
/// Abuse cases: 77, 108.
#[tokio::test(flavor = "multi_thread")]
async fn each_problem_is_told() -> Result<()> {
    type Edit = fn(&Own, String) -> Result<String>;
    let cases: &[(&str, Edit, &[&str])] = &[
        (
            "an unknown key",
            |_, text| Ok(format!("{text}\n[log]\nlevle = \"info\"\n")),
            &["aumbry.toml:19:1: unknown field `levle`", "deploy/aumbry.toml"],
        ),
        (
            "three mistakes",
            |_, text| Ok(format!("colour = 1\n{text}\n[log]\nx = 2\n[raft]\nheartbeat_ms = 1\n")),
            &[
                "aumbry.toml:1:1: unknown field `colour`",
                "aumbry.toml:20:1: unknown field `x`",
                "raft.heartbeat_ms is at least 10",
            ],
        ),
        (
            "no TOML",
            |_, text| Ok(text.replace("name = \"own\"", "name = own")),
            &["aumbry.toml:1:8: "],
        ),
        (
            "a missing key",
            |_, text| Ok(text.replace("key_file", "#key_file")),
            &["aumbry.toml:4:1: missing field `key_file`"],
        ),
        (
            "an address that is none",
            |own, text| Ok(text.replace(&own.client, "here")),
            &["aumbry.toml:5:11: address: invalid"],
        ),
        (
            "metrics for everybody",
            |own, text| Ok(text.replace(&own.metrics, "0.0.0.0:1")),
            &["metrics.address must be a loopback address"],
        ),
        (
            "one address twice",
            |own, text| Ok(text.replace(&own.peer, &own.client)),
            &["two listeners have the same address"],
        ),
        (
            "half a pair",
            |_, text| Ok(text.replace("[health]\n", "[health]\ncert_file = \"x\"\n")),
            &["health.cert_file and health.key_file go together"],
        ),
        (
            "an advertise without port",
            |_, text| Ok(text.replace("[peer]\n", "[peer]\nadvertise = \"n1\"\n")),
            &["peer.advertise is \"n1\"; it must be host:port"],
        ),
        (
            "a level that is none",
            |_, text| Ok(format!("{text}\n[log]\nlevel = \"a=b=c\"\n")),
            &["log.level is no level"],
        ),
        (
            "no certificate",
            |own, text| remove(own, "client.pem", text),
            &["[client]: cannot use", "client.pem: it cannot be read"],
        ),
        (
            "an empty certificate",
            |own, text| write(own, "client.pem", "", text),
            &["client.pem: it holds no certificate"],
        ),
        (
            "no key in the key's file",
            |own, text| write(own, "client.key", "x", text),
            &["it must hold a private key in PEM"],
        ),
        (
            "a key that others may read",
            |own, text| chmod(own, "client.key", 0o604, text),
            &["its mode is 0604", "run `chmod 600 "],
        ),
        (
            "the key of another",
            |own, text| write(own, "client.key", &own.authority.issue()?.key, text),
            &[
                "client.key is not that of the certificate in",
                "client.pem; replace both",
            ],
        ),
        (
            "an expired certificate",
            |own, text| {
                own.write_pair(&own.authority.issue_until(2_020)?)?;
                Ok(text)
            },
            &["client.pem expired at 2020-01-01T00:00:00Z; renew it"],
        ),
        (
            "a data directory for everybody",
            |own, text| {
                std::fs::create_dir(own.path("data"))?;
                chmod(own, "data", 0o755, text)
            },
            &["data has mode 0755: run `chmod 700`"],
        ),
        (
            "a directory of something else",
            |own, text| {
                std::fs::create_dir(own.path("data"))?;
                std::fs::write(own.path("data/letters"), "")?;
                chmod(own, "data", 0o700, text)
            },
            &["data is not empty and not a data directory"],
        ),
        (
            "a newer data directory",
            |own, text| {
                std::fs::create_dir(own.path("data"))?;
                std::fs::write(own.path("data/FORMAT"), "99\n")?;
                chmod(own, "data", 0o700, text)
            },
            &["has storage format 99", "use the newer build"],
        ),
        (
            "no directory to make it in",
            |_, text| Ok(text.replace("/data\"", "/deep/data\"")),
            &["deep: this user cannot create a directory in it"],
        ),
        (
            "a join without files",
            |_, text| {
                Ok(format!(
                    "{text}\n[join]\ntoken_file = \"/no/token\"\nca_file = \"/no/ca\"\n"
                ))
            },
            &["/no/token: it cannot be read", "/no/ca: it cannot be read"],
        ),
        (
            "a join token that is none",
            |own, text| {
                std::fs::write(own.path("token"), "hello")?;
                let (token, ca) = (own.path("token"), own.path("client.pem"));
                Ok(format!("{text}\n[join]\ntoken_file = {token:?}\nca_file = {ca:?}\n"))
            },
            &["token: this is not a join token"],
        ),
    ];
    for (what, edit, expected) in cases {
        let own = Own::make()?;
        let text = edit(&own, std::fs::read_to_string(own.config())?)?;
        std::fs::write(own.config(), text)?;
        let before = everything(own.directory())?;
        let output = run(&own, &["--check"])?;
        let text = told(&output);
        ensure!(output.status.code() == Some(1), "{what}: {text}");
        for expected in *expected {
            let lines = text.lines().filter(|line| line.starts_with("problem: "));
            ensure!(
                lines.clone().any(|line| line.contains(expected)),
                "{what}: no line has {expected}:\n{text}"
            );
        }
        ensure!(
            !text.lines().any(|line| line == "ok") && !text.contains("\\n"),
            "{what}: {text}"
        );
        ensure!(everything(own.directory())? == before, "{what}: something was changed");
        let json: Value = serde_json::from_slice(&run(&own, &["--check", "--output", "json"])?.stdout)?;
        let count = text.lines().filter(|line| line.starts_with("problem: ")).count();
        ensure!(
            json["ok"] == false && json["problems"].as_array().map(Vec::len) == Some(count),
            "{what}: {json}"
        );
    }
    Ok(())
}

fn write(own: &Own, name: &str, content: &str, text: String) -> Result<String> {
    std::fs::write(own.path(name), content)?;
    Ok(text)
}

fn remove(own: &Own, name: &str, text: String) -> Result<String> {
    std::fs::remove_file(own.path(name))?;
    Ok(text)
}

fn chmod(own: &Own, name: &str, mode: u32, text: String) -> Result<String> {
    std::fs::set_permissions(own.path(name), std::fs::Permissions::from_mode(mode))?;
    Ok(text)
}

/// A port that something else has is a problem; so is one that is no port of this machine.
#[tokio::test(flavor = "multi_thread")]
async fn ports_are_looked_at() -> Result<()> {
    let own = Own::make()?;
    let taken = TcpListener::bind(&own.peer)?;
    let text = told(&run(&own, &["--check"])?);
    let expected = format!(
        "problem: {}: [peer] cannot listen there: Address already in use",
        own.peer
    );
    ensure!(text.contains(&expected), "{text}");
    drop(taken);
    ensure!(run(&own, &["--check"])?.status.success());
    let config = std::fs::read_to_string(own.config())?;
    std::fs::write(
        own.config(),
        config.replace(&own.client, "203.0.113.7:1") + "[seal.static]\nkey_file = \"/no/key\"\n",
    )?;
    let text = told(&run(&own, &["--check"])?);
    ensure!(
        text.contains("problem: 203.0.113.7:1: [client] cannot listen there"),
        "{text}"
    );
    ensure!(
        text.contains("warning: [seal.static]: cannot read the key file /no/key"),
        "{text}"
    );
    // Clients are told an address that the certificate is not for.
    ensure!(
        text.contains("warning: ") && text.contains("is not for 203.0.113.7"),
        "{text}"
    );
    Ok(())
}

/// A start with a wrong configuration says in one line what is wrong, with its line and column.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_tells_the_line() -> Result<()> {
    let own = Own::make()?;
    let config = std::fs::read_to_string(own.config())?;
    std::fs::write(
        own.config(),
        format!("{config}\n[log]\nlevle = \"info\"\nfromat = \"text\"\n"),
    )?;
    let output = run(&own, &[])?;
    let text = told(&output);
    ensure!(output.status.code() == Some(1) && text.lines().count() == 1, "{text}");
    ensure!(!text.contains("\\n") && !text.contains("\\u"), "{text}");
    for expected in [
        "is wrong: line 19, column 1: unknown field `levle`",
        "line 20, column 1: unknown field `fromat`",
    ] {
        ensure!(text.contains(expected), "{text}");
    }
    Ok(())
}
