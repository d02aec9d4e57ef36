//! The layers of the workspace are those of the table in ARCHITECTURE.md: an edge that is not in it does not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What the table says of one crate.
struct Row {
    /// None for the tools, on which nothing may depend.
    layer: Option<u32>,
    /// The crates it may depend on.
    below: BTreeSet<String>,
}

/// The dependencies of one crate, as Cargo sees them.
struct Edges {
    /// Normal and build dependencies: what ends up in a program, or decides what does.
    used: BTreeSet<String>,
    /// Those of tests alone.
    tested: BTreeSet<String>,
}

#[test]
fn every_crate_is_in_the_table_and_every_row_is_a_crate() {
    let in_table: BTreeSet<String> = table().into_keys().collect();
    let in_workspace: BTreeSet<String> = workspace().into_keys().collect();
    assert_eq!(
        in_table, in_workspace,
        "ARCHITECTURE.md (left) and the workspace (right) name different crates"
    );
}

#[test]
fn a_row_names_lower_layers_only() {
    let table = table();
    let mut wrong = Vec::new();
    for (name, row) in &table {
        for below in &row.below {
            let allowed = match (row.layer, table.get(below).map(|row| row.layer)) {
                (_, None) => false,
                // A tool may stand on anything but on another tool.
                (None, Some(other)) => other.is_some(),
                (Some(layer), Some(other)) => other.is_some_and(|other| other < layer),
            };
            if !allowed {
                wrong.push(format!("{name} -> {below}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "edges of the table that do not lead to a lower layer: {wrong:?}"
    );
}

#[test]
fn no_crate_depends_on_more_than_the_table_allows() {
    let table = table();
    let found = differences(&table, &workspace());
    assert!(
        found.is_empty(),
        "ARCHITECTURE.md and the manifests differ; a new edge is a decision, so record it there:\n{}",
        found.join("\n")
    );
}

#[test]
fn the_comparison_sees_an_edge_too_many_and_one_too_few() {
    let mut table = table();
    let state = table.get_mut("state").expect("the table has `state`");
    assert!(state.below.remove("audit"), "state stands on audit");
    state.below.insert("policy".to_owned());
    assert_eq!(
        differences(&table, &workspace()),
        [
            "state depends on audit: not in the table",
            "state -> policy is in the table, and nothing uses it"
        ]
    );
}

#[test]
fn only_one_crate_knows_each_large_part() {
    let wrong: Vec<String> = workspace()
        .iter()
        .flat_map(|(name, edges)| {
            let is_signer = |dependency: &&String| SIGNERS.contains(&(name.as_str(), dependency.as_str()));
            let all = edges
                .used
                .iter()
                .chain(edges.tested.iter().filter(move |dependency| !is_signer(dependency)));
            all.map(move |dependency| (name.clone(), dependency.clone()))
        })
        .filter(|(name, dependency)| {
            let owners = OWNERS.iter().find(|(parts, _)| parts.contains(&dependency.as_str()));
            owners.is_some_and(|(_, owners)| !owners.contains(&name.as_str()))
        })
        .map(|(name, dependency)| format!("{name} -> {dependency}"))
        .collect();
    assert!(wrong.is_empty(), "dependencies that belong to other crates: {wrong:?}");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
        let text = fs::read_to_string(manifest).expect("the manifest can be read");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{manifest} lacks `[lints] workspace = true`"
        );
    }
}

/// The edges that one side has and the other has not.
fn differences(table: &BTreeMap<String, Row>, workspace: &BTreeMap<String, Edges>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, edges) in workspace {
        let Some(row) = table.get(name) else { continue };
        let inside = |all: &BTreeSet<String>| -> BTreeSet<String> {
            all.iter()
                .filter_map(|name| name.strip_prefix(PREFIX))
                .map(str::to_owned)
                .collect()
        };
        let (used, tested) = (inside(&edges.used), inside(&edges.tested));
        for extra in used.difference(&row.below) {
            found.push(format!("{name} depends on {extra}: not in the table"));
        }
        for unused in row.below.difference(&used) {
            found.push(format!("{name} -> {unused} is in the table, and nothing uses it"));
        }
        // Tests may stand on anything below them, but never on what stands on the crate: that would be a circle.
        for upward in tested
            .iter()
            .filter(|other| row.layer <= table.get(*other).and_then(|row| row.layer))
        {
            found.push(format!("the tests of {name} depend on {upward}: not a lower layer"));
        }
    }
    found
}

/// The rows between the two marks in ARCHITECTURE.md.
fn table() -> BTreeMap<String, Row> {
    let path = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&path).expect("ARCHITECTURE.md can be read");
    let (_, rest) = text
        .split_once(BEGIN)
        .expect("ARCHITECTURE.md has the mark before the table");
    let (rows, _) = rest
        .split_once(END)
        .expect("ARCHITECTURE.md has the mark after the table");
    let mut table = BTreeMap::new();
    for line in rows.lines().filter(|line| line.starts_with('|')).skip(HEADING_LINES) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [layer, name, _purpose, below] = cells[..] else {
            panic!("a row of the layer table has four cells: {line}")
        };
        let row = Row {
            layer: layer.parse().ok(),
            below: below
                .split(',')
                .map(str::trim)
                .filter(|name| *name != "-")
                .map(str::to_owned)
                .collect(),
        };
        let before = table.insert(name.trim_matches('`').to_owned(), row);
        assert!(before.is_none(), "the layer table names {name} twice");
    }
    table
}

/// The crates of the workspace by their short names.
fn workspace() -> BTreeMap<String, Edges> {
    packages()
        .iter()
        .map(|package| {
            let name = package["name"].as_str().expect("a package has a name");
            let dependencies = package["dependencies"].as_array().expect("a package has dependencies");
            let of_kind = |tests: bool| {
                dependencies
                    .iter()
                    .filter(|dependency| (dependency["kind"].as_str() == Some("dev")) == tests)
                    .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
                    .collect()
            };
            let edges = Edges {
                used: of_kind(false),
                tested: of_kind(true),
            };
            (name.strip_prefix(PREFIX).unwrap_or(name).to_owned(), edges)
        })
        .collect()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    metadata["packages"]
        .as_array()
        .expect("the metadata has packages")
        .clone()
}

/// Cargo runs tests in the folder of their package.
fn root() -> &'static Path {
    Path::new("..")
}

const PREFIX: &str = "aumbry-";

const BEGIN: &str = "<!-- layers: begin -->";
const END: &str = "<!-- layers: end -->";

/// The names of the columns, and the line below them.
const HEADING_LINES: usize = 2;

/// Tests that sign what is only ever verified here.
const SIGNERS: [(&str, &str); 2] = [("auth", "aws-lc-rs"), ("tests", "aws-lc-rs")];

/// Large parts, and the crates that alone may know them.
const OWNERS: [(&[&str], &[&str]); 4] = [
    (&["openraft", "openraft-rt-tokio"], &["raft"]),
    (&["rocksdb"], &["storage"]),
    (
        &[
            "aes-gcm",
            "argon2",
            "aws-lc-rs",
            "blake3",
            "hkdf",
            "hmac",
            "sha2",
            "vsss-rs",
        ],
        &["crypto"],
    ),
    (
        &["tonic", "tonic-prost", "tonic-types", "tonic-health"],
        &["api", "net", "raft", "server", "client"],
    ),
];
