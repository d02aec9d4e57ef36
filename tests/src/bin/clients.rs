//! Clients that others wrote, against a development server and against three nodes: `clients [NAME...]`.
//!
//! Each is a program in `tests/clients/NAME` that takes an address and a token, tries operations, and says how many. What it needs is installed from
//! its registry, into a directory that stays.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for a terminal"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_tests::{Cluster, Development};

/// A program with a client.
struct Client {
    name: &'static str,
    /// Installs what it needs into a directory that has a copy of it.
    install: &'static [&'static [&'static str]],
    /// Runs it there; address, token and authority follow.
    run: &'static [&'static str],
}

const CLIENTS: [Client; 5] = [
    Client {
        name: "hvac",
        install: &[
            &["python3", "-m", "venv", "venv"],
            &[
                "venv/bin/pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                "requirements.txt",
            ],
        ],
        run: &["venv/bin/python", "run.py"],
    },
    Client {
        name: "ansible",
        install: &[
            &["python3", "-m", "venv", "venv"],
            &[
                "venv/bin/pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                "requirements.txt",
            ],
            &["venv/bin/python", "collection.py"],
        ],
        run: &["venv/bin/python", "run.py"],
    },
    Client {
        name: "node-vault",
        install: &[&["npm", "install", "--silent", "--no-audit", "--no-fund"]],
        run: &["node", "run.js"],
    },
    Client {
        name: "go",
        install: &[&["go", "build", "-o", "client", "."]],
        run: &["./client"],
    },
    Client {
        name: "vaultrs",
        install: &[&["cargo", "build", "--release", "--locked", "--quiet"]],
        run: &["target/release/client"],
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clients: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_known = |name: &String| CLIENTS.iter().any(|client| client.name == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        bail!("there is no client {unknown}; there are hvac, ansible, node-vault, go and vaultrs");
    }
    let chosen = CLIENTS
        .iter()
        .filter(|client| wanted.is_empty() || wanted.iter().any(|name| name == client.name));
    for client in chosen {
        let place = install(client)?;
        let server = Development::start(TOKEN)?;
        let alone = client.try_on(&place, &format!("http://{}", server.address()), TOKEN, None)?;
        drop(server);
        let cluster = Cluster::start(3)?;
        let root = cluster.root_token();
        let root = root.expose_str().context("the token is text")?;
        let mut others = 0;
        for node in cluster.nodes() {
            others = client.try_on(&place, &format!("https://{}", node.http), root, Some(cluster.ca_file()))?;
        }
        ensure!(alone > 0 && others > 0, "{} tried nothing", client.name);
        println!(
            "{}: {alone} operations on a development server, {others} on each of three nodes",
            client.name
        );
    }
    Ok(())
}

impl Client {
    /// Runs it. Gives how many operations it tried, all of which were as they should be.
    fn try_on(&self, place: &Path, address: &str, token: &str, authority: Option<&str>) -> Result<u64> {
        let mut command = command(self.run, place);
        command.args([address, token]).args(authority);
        if let Some(authority) = authority {
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("cannot run {}", self.name))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{} on {address}: {} {said}",
            self.name,
            output.status
        );
        let count = said.lines().rev().find_map(|line| line.strip_prefix("operations "));
        let count = count.with_context(|| format!("{} did not say how many operations it tried", self.name))?;
        Ok(count.trim().parse()?)
    }
}

/// Copies the program to a place that stays, and installs what it needs there.
fn install(client: &Client) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program
        .parent()
        .and_then(Path::parent)
        .context("the program lies in a target directory")?;
    let place = target.join("clients").join(client.name);
    std::fs::create_dir_all(&place)?;
    copy(&source().join(client.name), &place)?;
    for words in client.install {
        let status = command(words, &place).status();
        let status =
            status.with_context(|| format!("cannot run {}, which {} needs; install it", words[0], client.name))?;
        ensure!(status.success(), "{} failed for {}", words.join(" "), client.name);
    }
    Ok(place)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            copy(&entry.path(), &to)?;
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn command(words: &[&str], place: &Path) -> Command {
    // A program with a path is one of the place; others are found as ever.
    let program = if words[0].contains('/') {
        place.join(words[0])
    } else {
        PathBuf::from(words[0])
    };
    let mut command = Command::new(program);
    command
        .args(&words[1..])
        .current_dir(place)
        .env_remove("CARGO_TARGET_DIR");
    command
}

fn source() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).join("clients")
}

const TOKEN: &str = "a-root-token-for-clients";
