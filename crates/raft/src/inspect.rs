//! `aumbry operator check` and `repair`: what of a stopped node is damaged, what can bring it back, and the steps to that.
//!
//! What decides is where the loss is. Log, floor, vote and identity are this node's word to others: if any of it is lost, the node must never vote again
//! under its id. All else follows from the log, and can be had again: from the node's own log if it reaches, else from a peer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aumbry_storage::check::{Check, Finding, LogFacts, Part};
use aumbry_storage::{DataDir, StorageError};
use aumbry_types::{ClusterId, NodeId};
use openraft::EntryPayload;

use crate::acknowledged;
use crate::consistency::Ends;
use crate::identity::{Identity, IdentityError};
use crate::rebuild::Mark;
use crate::restore;
use crate::snapshots::Taken;
use crate::state_machine::APPLIED_KEY;
use crate::types::{PeerNode, RaftLogId, StoredMembership, decode, decode_entry, raft_log_id};

/// What brings a node back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The directory belongs to no cluster yet.
    Fresh,
    /// Nothing is damaged.
    Nothing,
    /// A repair is under way: the next start fetches a snapshot from a peer.
    Start,
    /// What is damaged follows from what this node has, and is made again at the next start.
    Own,
    /// What is damaged is fetched from a peer at the next start.
    Peers,
    /// The node must give up its id and join again.
    Discard,
    /// There is no other member that could help: only a backup can.
    Backup,
}

/// What was found in a data directory.
#[derive(Debug)]
pub struct Inspection {
    /// The directory.
    pub data: DataDir,
    /// Who the node is, if that can be read.
    pub node: Option<(ClusterId, NodeId)>,
    /// What is damaged.
    pub findings: Vec<Finding>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What helps.
    pub remedy: Remedy,
    /// First and last entry of the log.
    pub log: Option<(u64, u64)>,
    /// The last applied entry.
    pub applied: Option<u64>,
    peers: Vec<(u64, PeerNode)>,
}

/// Reads everything in a data directory and changes nothing. `progress` hears how many bytes of a part were read.
///
/// # Errors
/// [`StorageError`] if the directory cannot be looked at: there is none, a process uses it, or a newer build wrote it.
pub fn inspect(path: &Path, progress: &mut dyn FnMut(Part, u64)) -> Result<Inspection, StorageError> {
    let (data, format) = DataDir::look(path)?;
    let mut check = Check::new(progress);
    match format {
        Some(error @ (StorageError::Newer { .. } | StorageError::Older { .. })) => return Err(error),
        Some(error) => check.find_error(Part::Format, error),
        None => {}
    }
    let identity = match Identity::load(&data) {
        Ok(identity) => identity,
        Err(IdentityError::Storage(error)) => {
            check.find_error(Part::Identity, error);
            None
        }
    };
    if identity.is_none() && data.read(restore::MARK)?.is_some() {
        check.note("a restore did not come to its end: the next start removes what it left");
        return Ok(nothing(data, check, Remedy::Fresh));
    }
    if identity.is_none() && !check.has(Part::Identity) {
        match crate::consistency::refuse_loss(&data, false) {
            Ok(()) => return Ok(nothing(data, check, Remedy::Fresh)),
            Err(error) => check.find_error(Part::Identity, error),
        }
    }
    if let Some(identity) = &identity {
        match acknowledged::rolled_back(&data, identity.cluster) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let what = format!(
                    "it is older than what the node has acknowledged: index {}, and it ends at {}",
                    found.acknowledged, found.end
                );
                check.find(Part::Log, &data.log(), what);
            }
            Err(error) => check.find_error(Part::Log, error),
        }
    }
    let mark = Mark::find(&data).unwrap_or_else(|error| {
        check.find_error(Part::State, error);
        None
    });
    let mut members = Members::default();
    let (log, mut ends) = read_log(&mut check, &data, &mut members);
    if mark.is_none() {
        read_applied(&mut check, &data, &mut ends, &mut members);
    }
    let is_log_whole = ![Part::Log, Part::Floor].into_iter().any(|part| check.has(part));
    if mark.is_none()
        && is_log_whole
        && let Err((part, what)) = ends.check()
        && !check.has(part)
    {
        check.find(part, &data.path().join(part.name()), what);
    }
    let node = identity.as_ref().map(|identity| (identity.cluster, identity.node));
    let own = node.map(|(_, node)| node.0);
    let peers: Vec<_> = members.newest.into_iter().filter(|(id, _)| Some(*id) != own).collect();
    let is_alone = members.at.is_some() && peers.is_empty();
    let has = |part| check.has(part);
    let remedy = if has(Part::Identity) || has(Part::Log) || has(Part::Floor) {
        if is_alone { Remedy::Backup } else { Remedy::Discard }
    } else if has(Part::State) || has(Part::Audit) {
        match reaches(&ends, &log) {
            true => Remedy::Own,
            false if is_alone => Remedy::Backup,
            // Nothing tells any more who the peers are.
            false if peers.is_empty() => Remedy::Discard,
            false => Remedy::Peers,
        }
    } else if has(Part::Snapshots) || has(Part::Format) {
        Remedy::Own
    } else if mark.is_some() {
        Remedy::Start
    } else {
        Remedy::Nothing
    };
    let inspection = Inspection {
        node,
        log: log.first.zip(log.last),
        applied: ends.applied.map(|applied| applied.index),
        peers,
        ..nothing(data, check, remedy)
    };
    Ok(inspection)
}

/// Takes the first step of the remedy, and returns where it set aside what is damaged. The node's next start takes the second.
///
/// # Errors
/// [`StorageError`] if the disk fails.
pub fn repair(inspection: &Inspection) -> Result<Option<PathBuf>, StorageError> {
    let data = &inspection.data;
    let has = |part| inspection.findings.iter().any(|finding| finding.part == part);
    let mut aside = Vec::new();
    if has(Part::State) || has(Part::Audit) {
        aside.extend([PathBuf::from("state"), PathBuf::from("audit")]);
    }
    if inspection.remedy == Remedy::Peers {
        aside.push(PathBuf::from("snapshots"));
    } else {
        let damaged = inspection
            .findings
            .iter()
            .filter(|finding| finding.part == Part::Snapshots);
        let relative = damaged.filter_map(|finding| finding.path.strip_prefix(data.path()).ok());
        aside.extend(relative.map(Path::to_owned));
    }
    let aside = match aside.is_empty() {
        true => None,
        false => Some(data.set_aside(&aside)?),
    };
    // After the damaged parts are out of the way: what is there when the mark is, is of an unfinished rebuilding, and is removed.
    if inspection.remedy == Remedy::Peers {
        let peers = inspection.peers.clone();
        Mark { peers }.leave(data)?;
    }
    if has(Part::Format) {
        data.write_format()?;
    }
    data.give_to_owner()?;
    Ok(aside)
}

/// Sets aside everything, so that the directory is that of a fresh node. Returns where to; none if there was nothing.
///
/// # Errors
/// [`StorageError`] if the disk fails.
pub fn discard(inspection: &Inspection) -> Result<Option<PathBuf>, StorageError> {
    let data = &inspection.data;
    let names: Vec<PathBuf> = data.names()?.into_iter().map(PathBuf::from).collect();
    data.write_format()?;
    let aside = match names.is_empty() {
        true => None,
        false => Some(data.set_aside(&names)?),
    };
    data.give_to_owner()?;
    Ok(aside)
}

/// The newest membership that was seen.
#[derive(Default)]
struct Members {
    at: Option<RaftLogId>,
    newest: BTreeMap<u64, PeerNode>,
}

impl Members {
    fn see<'a>(&mut self, at: Option<RaftLogId>, nodes: impl Iterator<Item = (&'a u64, &'a PeerNode)>) {
        let mut nodes = nodes.peekable();
        if at > self.at && nodes.peek().is_some() {
            self.at = at;
            self.newest = nodes.map(|(id, node)| (*id, node.clone())).collect();
        }
    }

    fn see_stored(&mut self, stored: &StoredMembership) {
        self.see(*stored.log_id(), stored.membership().nodes());
    }
}

fn read_log(check: &mut Check<'_>, data: &DataDir, members: &mut Members) -> (LogFacts, Ends) {
    let path = data.log();
    if !path.exists() {
        check.find(Part::Log, &path, "it is missing");
        return (LogFacts::default(), Ends::default());
    }
    let mut last = None;
    let log = check.log(&path, |index, bytes| {
        let entry = decode_entry(bytes).map_err(|_| "it cannot be read".to_owned())?;
        if entry.log_id.index != index {
            return Err(format!("it says that it is entry {}", entry.log_id.index));
        }
        last = Some(entry.log_id);
        if let EntryPayload::Membership(membership) = &entry.payload {
            members.see(last, membership.nodes());
        }
        Ok(())
    });
    let mut ends = Ends {
        first: log.first,
        ..Ends::default()
    };
    let [vote, _, purged] = &log.meta;
    let read = (
        vote.as_ref().map(|bytes| decode(bytes)).transpose(),
        purged.as_ref().map(|bytes| decode::<RaftLogId>(bytes)).transpose(),
    );
    match read {
        (Ok(vote), Ok(purged)) => {
            ends.vote = vote;
            ends.purged = purged;
            ends.last = last.or(purged);
        }
        _ => check.find(Part::Log, &path, "its vote or its purged mark cannot be read"),
    }
    (log, ends)
}

fn read_applied(check: &mut Check<'_>, data: &DataDir, ends: &mut Ends, members: &mut Members) {
    let rows = check.rows(&data.state(), &APPLIED_KEY);
    let marked = rows
        .marked
        .as_deref()
        .map(decode::<(Option<RaftLogId>, StoredMembership)>);
    match marked {
        Some(Ok((applied, membership))) => {
            ends.applied = applied;
            members.see_stored(&membership);
        }
        Some(Err(_)) => check.find(Part::State, &data.state(), "its applied mark cannot be read"),
        None => {}
    }
    if !check.has(Part::State) {
        check.audit(
            &data.audit(),
            ends.applied.map(|applied| applied.index),
            rows.audit,
            &rows.pruned,
        );
    }
    if !data.snapshots().exists() {
        return;
    }
    match Taken::in_directory(&data.snapshots()).read() {
        Ok(Some(taken)) => members.see_stored(&taken.last_membership),
        Ok(None) => {}
        Err(error) => check.find_error(Part::Snapshots, error),
    }
    for path in check.snapshots_in(&data.snapshots()) {
        let Some(header) = check.snapshot(&path) else { continue };
        let [term, node, index] = header.last_log_id;
        ends.snapshot = Some(index);
        match decode(&header.membership) {
            Ok(membership) => members.see_stored(&membership),
            Err(_) => check.find(Part::Snapshots, &path, "its membership cannot be read"),
        }
        let last = raft_log_id(term, node, index);
        if ends
            .purged
            .is_some_and(|purged| purged.index == index && purged != last)
        {
            check.find(Part::Snapshots, &path, "it is of another history than the log");
        }
    }
}

/// Whether the log, with the newest whole snapshot, gives the applied state again.
fn reaches(ends: &Ends, log: &LogFacts) -> bool {
    match ends.purged {
        None => log.first == Some(0),
        Some(purged) => ends.snapshot.is_some_and(|snapshot| snapshot >= purged.index),
    }
}

fn nothing(data: DataDir, check: Check<'_>, remedy: Remedy) -> Inspection {
    let (findings, notes) = check.finish();
    Inspection {
        data,
        node: None,
        findings,
        notes,
        remedy,
        log: None,
        applied: None,
        peers: Vec::new(),
    }
}
