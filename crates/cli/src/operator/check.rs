//! `aumbry operator check`: reads everything that a stopped node keeps, and says what is damaged and what helps.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use aumbry_server::config::Config;
use aumbry_server::offline::{Finding, Inspection, Part, Remedy, inspect};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::Refused;
use crate::output::{Format, line, line_json, pairs, plain};

/// Looks at a stopped node.
#[derive(Args)]
pub(crate) struct Check {
    /// The node's configuration
    #[arg(long)]
    pub(crate) config: PathBuf,
}

pub(crate) fn check(arguments: &Check, format: Format) -> Result<()> {
    let config = Config::load(&arguments.config)?;
    let inspection = look(&config)?;
    let next = next_step(&inspection, &config, &arguments.config);
    show(&inspection, &next, format)?;
    match inspection.findings.len() {
        0 => Ok(()),
        1 => Err(Refused::NotIntact(format!("1 thing is damaged: {next}")).into()),
        found => Err(Refused::NotIntact(format!("{found} things are damaged: {next}")).into()),
    }
}

/// Reads everything, and tells a person at the terminal how far it is.
pub(super) fn look(config: &Config) -> Result<Inspection> {
    let is_watched = std::io::stderr().is_terminal();
    let mut shown = None;
    let mut progress = |part: Part, bytes: u64| {
        let now = Some((part, bytes >> 20));
        if is_watched && shown != now {
            shown = now;
            let _ = write!(std::io::stderr(), "\r{}: {} MiB read   ", part.name(), bytes >> 20);
        }
    };
    let inspected = inspect(&config.data_dir, &mut progress);
    if shown.is_some() {
        let _ = writeln!(std::io::stderr());
    }
    Ok(inspected?)
}

/// What the operator does next, in one line.
pub(super) fn next_step(inspection: &Inspection, config: &Config, file: &Path) -> String {
    let file = file.display();
    let repair = format!("`aumbry operator repair --config {file}`");
    let discard = format!("`aumbry operator repair --config {file} --discard`");
    let address = config.client_advertise();
    match inspection.remedy {
        Remedy::Fresh => "the node belongs to no cluster yet: start it, and initialise or join one".to_owned(),
        Remedy::Nothing => "nothing is damaged: start the node".to_owned(),
        Remedy::Start => "a repair is under way: start the node, which fetches its state from a peer".to_owned(),
        Remedy::Own => format!("run {repair} and start the node, which makes again what is damaged"),
        Remedy::Peers => format!("run {repair} and start the node, which fetches from a peer what is damaged"),
        Remedy::Backup => format!(
            "no other member can help: run {discard}, start the node, and restore a backup with `aumbry operator snapshot restore --address {address}`"
        ),
        Remedy::Discard => {
            let remove = match inspection.node {
                Some((_, node)) => {
                    format!("this node must not vote again as {node}: run `aumbry operator remove {node}` against the others")
                }
                None => "this node must not vote again under its id, which `aumbry operator members` tells by its name: run `aumbry operator remove` with it against the others".to_owned(),
            };
            let join = match &config.join {
                Some(join) => format!(
                    "write a new join token into {} and start the node",
                    join.token_file.display()
                ),
                None => format!(
                    "start the node, and let it join with a new token: `aumbry operator join-token`, `aumbry operator join --address {address}`"
                ),
            };
            format!("{remove}, then {discard} here, then {join}")
        }
    }
}

fn show(inspection: &Inspection, next: &str, format: Format) -> Result<()> {
    let facts = json!({
        "data_dir": inspection.data.path(),
        "node_id": inspection.node.map(|(_, node)| node.0),
        "cluster_id": inspection.node.map(|(cluster, _)| cluster.to_string()),
        "log": inspection.log.map(|(first, last)| json!({ "first": first, "last": last })),
        "applied_index": inspection.applied,
        "intact": inspection.findings.is_empty(),
        "remedy": word(inspection.remedy),
        "next": next,
        "notes": inspection.notes,
        "findings": inspection.findings.iter().map(object).collect::<Vec<_>>(),
    });
    if format == Format::Json {
        return line_json(&facts);
    }
    let text = |key: &str| plain(&facts[key]);
    let mut shown = vec![("data_dir", text("data_dir")), ("intact", text("intact"))];
    if let Some((cluster, node)) = inspection.node {
        shown.extend([("node_id", node.to_string()), ("cluster_id", cluster.to_string())]);
    }
    if let Some((first, last)) = inspection.log {
        shown.push(("log", format!("{first} to {last}")));
    }
    if let Some(applied) = inspection.applied {
        shown.push(("applied_index", applied.to_string()));
    }
    pairs("", shown)?;
    inspection
        .notes
        .iter()
        .try_for_each(|note| line(&format!("note: {note}")))?;
    let findings = inspection.findings.iter();
    findings.map(told).try_for_each(|finding| line(&finding))?;
    match inspection.findings.is_empty() {
        true => line(next),
        // The error that follows says it.
        false => Ok(()),
    }
}

fn told(finding: &Finding) -> String {
    format!(
        "damaged: {}: {}: {}",
        finding.part.name(),
        finding.path.display(),
        finding.what
    )
}

fn object(finding: &Finding) -> Value {
    let fields = [
        ("part", finding.part.name().to_owned()),
        ("path", finding.path.display().to_string()),
        ("what", finding.what.clone()),
    ];
    let fields = fields.map(|(key, value)| (key.to_owned(), Value::String(value)));
    Value::Object(Map::from_iter(fields))
}

/// The word for programs.
pub(super) const fn word(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Fresh => "fresh",
        Remedy::Nothing => "nothing",
        Remedy::Start => "start",
        Remedy::Own => "repair",
        Remedy::Peers => "repair-from-peers",
        Remedy::Discard => "discard",
        Remedy::Backup => "restore",
    }
}
