//! Lost quorum: a look at a survivor, and the new cluster that is made of it. Offline, on the survivor's own machine.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use aumbry_server::{Look, Quarantine, Survivor};
use aumbry_types::{SecretBytes, format_duration};
use clap::Args;
use serde_json::{Value, json};

use super::seal;
use crate::context::{ask, read_stdin};
use crate::failure::{note, usage};
use crate::output::{Format, document, line, line_json, table, time};

/// Which survivor, and what confirms it.
#[derive(Args)]
#[command(
    after_help = "For a cluster that has lost more than half of its voters for good. Without --yes it only looks, and changes nothing.
With several survivors, look at each, and recover the one with the highest term, then the highest index; the others are wiped
and join again. Nobody can know what the lost members have acknowledged after the survivor's last entry.

Examples:
  aumbry operator recover --config /etc/aumbry/aumbry.toml
  aumbry operator recover --config /etc/aumbry/aumbry.toml --yes --share share-1 --share share-2 --share share-3"
)]
pub(crate) struct Recover {
    /// The configuration of the survivor, which must not be running
    #[arg(long)]
    config: PathBuf,
    /// Give up the other members for ever; asks for key shares, which confirm it
    #[arg(long)]
    yes: bool,
    /// A file with a key share, once for each; - reads them from standard input, one a line
    #[arg(long, requires = "yes")]
    share: Vec<PathBuf>,
    /// Serve root alone afterwards, until `aumbry operator snapshot release`: for a survivor so old that tokens were revoked since
    #[arg(long, requires = "yes")]
    quarantine: bool,
}

pub(super) fn recover(arguments: &Recover, format: Format) -> Result<()> {
    let survivor = Survivor::open(&arguments.config)?;
    let look = survivor.look();
    ensure!(
        !look.is_quorum,
        "node {} is the only voter of its cluster and needs no other one: start it, and unseal it",
        look.status.node
    );
    if !arguments.yes {
        return show(arguments, format, &look);
    }
    if format == Format::Table {
        show(arguments, format, &look)?;
        line("")?;
    }
    confirm(arguments, &survivor, &look)?;
    let quarantine = match arguments.quarantine {
        true => Quarantine::UntilReleased,
        false => Quarantine::No,
    };
    let recovered = survivor.recover(quarantine)?;
    document(
        format,
        &json!({
            "node_id": recovered.node.0,
            "cluster_id": recovered.cluster.to_string(),
            "from_cluster_id": look.cluster.to_string(),
            "from_index": look.last.index.0,
            "quarantined": arguments.quarantine,
            "set_aside": recovered.set_aside,
            "next": "start the node, unseal it, then let fresh nodes join; remove what was set aside once all is well",
        }),
    )
}

/// Collects shares until there are enough. Whatever is wrong, nothing has been changed.
fn confirm(arguments: &Recover, survivor: &Survivor, look: &Look) -> Result<()> {
    if arguments.share.is_empty() && std::io::stdin().is_terminal() {
        return ask_for_shares(survivor, look);
    }
    let mut wrong = Vec::new();
    let mut is_open = false;
    for (name, share) in given(arguments)? {
        match survivor.submit(share.expose()) {
            Ok(opened) => is_open |= opened,
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    if is_open {
        wrong
            .iter()
            .for_each(|text| note(&format!("not needed, and wrong: {text}")));
        return Ok(());
    }
    let seal = survivor.look().seal;
    let wrong = wrong.iter().map(|text| format!("; {text}")).collect::<String>();
    bail!(
        "{} of {} key shares: nothing was changed{wrong}",
        seal.progress,
        seal.threshold
    )
}

fn ask_for_shares(survivor: &Survivor, look: &Look) -> Result<()> {
    loop {
        let have = survivor.look().seal.progress;
        let share = ask(&format!("Key share {} of {}: ", have + 1, look.seal.threshold))?;
        ensure!(!share.expose().is_empty(), "no key share: nothing was changed");
        match survivor.submit(share.expose()) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => note(&error.to_string()),
        }
    }
}

/// The shares with the names that they are told by.
fn given(arguments: &Recover) -> Result<Vec<(String, SecretBytes)>> {
    let mut shares = Vec::new();
    let is_stdin = |file: &PathBuf| file.as_os_str() == "-";
    if arguments.share.iter().filter(|file| is_stdin(file)).count() > 1 {
        return Err(usage("standard input can be read once: give one --share -"));
    }
    let stdin = PathBuf::from("-");
    let files = match arguments.share.as_slice() {
        [] => std::slice::from_ref(&stdin),
        files => files,
    };
    for file in files {
        if !is_stdin(file) {
            shares.push((file.display().to_string(), seal::read(file)?));
            continue;
        }
        let text = read_stdin()?;
        let lines = text
            .expose()
            .split(u8::is_ascii_whitespace)
            .filter(|line| !line.is_empty());
        for (line, number) in lines.zip(1..) {
            shares.push((format!("line {number}"), SecretBytes::new(line.to_vec())));
        }
    }
    Ok(shares)
}

fn show(arguments: &Recover, format: Format, look: &Look) -> Result<()> {
    let members: Vec<Value> = look.status.members.iter().map(|member| row(look, member)).collect();
    let age_ms = look.now.0.saturating_sub(look.status.log_time);
    let facts = json!({
        "node_id": look.status.node.0,
        "name": look.name,
        "data_dir": look.data_dir,
        "cluster_id": look.cluster.to_string(),
        "term": look.last.leader.term.0,
        "last_log_index": look.last.index.0,
        "committed_index": look.status.committed.0,
        "applied_index": look.status.applied.0,
        "log_time": time(look.status.log_time),
        "log_age_s": age_ms / 1_000,
        "state_digest": aumbry_types::hex::encode(&look.status.digest),
        "audit_size": look.status.audit_size,
        "audit_root": aumbry_types::hex::encode(&look.status.audit_root),
        "forgotten_entries": look.forgotten,
        "shares": look.seal.shares,
        "threshold": look.seal.threshold,
    });
    if format == Format::Json {
        let mut facts = facts;
        facts["members"] = Value::Array(members);
        return line_json(&facts);
    }
    document(format, &facts)?;
    line("")?;
    table(format, &["id", "name", "voter", "peer_addr", "becomes"], &members)?;
    line("")?;
    said(arguments, look, age_ms).iter().try_for_each(|text| line(text))
}

fn row(look: &Look, member: &aumbry_server::Member) -> Value {
    let is_own = member.id == look.status.node;
    json!({
        "id": member.id.0,
        "name": member.name,
        "voter": member.voter,
        "peer_addr": member.peer_addr,
        "becomes": if is_own { "the new cluster" } else { "given up" },
    })
}

/// What a person must know before it is done.
fn said(arguments: &Recover, look: &Look, age_ms: u64) -> Vec<String> {
    let (term, last) = (look.last.leader.term, look.last.index);
    let tail = last.0.saturating_sub(look.status.committed.0);
    let age = format_duration(Duration::from_secs(age_ms / 1_000));
    let mut said = vec![format!(
        "Kept: everything up to log entry {last} of term {term}, of {} ({age} ago).",
        time(look.status.log_time)
    )];
    if tail > 0 {
        said.push(format!(
            "The last {tail} of these entries were not known to be committed here. They are kept too: some may hold what was acknowledged."
        ));
    }
    said.push(
        "Lost: every write that the other members acknowledged after that entry. From here nobody can know whether there were any, or how many. \
         A token or policy that was revoked in them is in force again."
            .to_owned(),
    );
    match look.forgotten {
        Some(0) => {}
        Some(count) => said.push(format!(
            "This disk has lost data: {count} entries that this node had acknowledged are not in its log."
        )),
        None => said.push(
            "The log's floor cannot be read: this disk may have lost entries that it had acknowledged.".to_owned(),
        ),
    }
    said.push(format!(
        "If another survivor has a higher term than {term}, or the same and a higher last_log_index than {last}, recover that one instead."
    ));
    said.push(
        "The members given up must never start again with their old disks: enough of them together would go on as the old cluster. Wipe them."
            .to_owned(),
    );
    if !arguments.yes {
        said.push(format!(
            "Nothing was changed. To go on, with {} of the {} key shares: `aumbry operator recover --config {} --yes`.",
            look.seal.threshold,
            look.seal.shares,
            arguments.config.display()
        ));
    }
    said
}
