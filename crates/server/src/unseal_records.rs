//! Has a leader record what was tried on the seal of this node: wrong shares, right ones, and that it was opened.
//!
//! A sealed node has no keys and records nothing itself, but it can tell a leader that is open. The leader takes it from members alone, over their own
//! channel, and only about the member that says it.

use std::sync::Arc;
use std::time::Duration;

use aumbry_api::v1::{self, forward_answer};
use aumbry_node::{Failure, Opened, UnsealReport};
use aumbry_state::Consensus as _;
use aumbry_types::WallTime;
use bytes::Bytes;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::member::Member;

/// Runs until `stop` turns true.
pub(crate) async fn run(member: Arc<Member>, mut stop: watch::Receiver<bool>) {
    let tell = async {
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let Some(report) = member.node.due_unseal_report() else {
                continue;
            };
            let id = report.id;
            if told(&member, report).await {
                member.node.unseal_report_is_kept(id);
                pause = LOOK;
            } else {
                // No leader, or one that is sealed: both may last.
                pause = (pause * 2).min(LOOK_MAX);
            }
        }
    };
    tokio::select! {
        () = tell => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn told(member: &Member, report: UnsealReport) -> bool {
    if member.node.consensus().leadership().is_some() {
        return member.node.record_unsealing(member.raft_id(), report).await.is_ok();
    }
    let leader = member.raft.changed().borrow().leader;
    let Some(leader) = leader.filter(|leader| *leader != member.raft_id()) else {
        return false;
    };
    let forwarded = v1::Forwarded {
        unseal_report: Some(to_wire(report)),
        ..v1::Forwarded::default()
    };
    let deadline = Instant::now() + PATIENCE;
    let bytes = Bytes::from(forwarded.encode_to_vec());
    let Ok(answer) = member.raft.forward(leader, bytes, deadline).await else {
        return false;
    };
    let outcome = v1::ForwardAnswer::decode(answer).ok().and_then(|answer| answer.outcome);
    matches!(outcome, Some(forward_answer::Outcome::Answer(_)))
}

fn to_wire(report: UnsealReport) -> v1::UnsealReport {
    let wrong = report.wrong.into_iter();
    let opened = report.opened.map(|opened| v1::Unsealed {
        by: opened.by,
        client: opened.client,
        at_ms: opened.at.0,
    });
    v1::UnsealReport {
        id: report.id.to_string(),
        wrong: wrong.map(|(source, count)| v1::WrongShares { source, count }).collect(),
        shares: report.shares,
        resets: report.resets,
        opened,
    }
}

/// What a member has told.
///
/// # Errors
/// [`Failure`] if it has no id.
pub(crate) fn from_wire(report: v1::UnsealReport) -> Result<UnsealReport, Failure> {
    let id = report.id.parse();
    let wrong = report.wrong.into_iter();
    Ok(UnsealReport {
        id: id.map_err(|_| Failure::invalid("a report of unsealing has an id of 32 hexadecimal digits"))?,
        wrong: wrong.map(|wrong| (wrong.source, wrong.count)).collect(),
        shares: report.shares,
        resets: report.resets,
        opened: report.opened.map(|opened| Opened {
            by: opened.by,
            client: opened.client,
            at: WallTime(opened.at_ms),
        }),
    })
}

/// Soon enough to stand in the log beside what the node serves first.
const LOOK: Duration = Duration::from_millis(100);
/// All nodes may be sealed for days, and shares for the next one take longer than this.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// As a duty of a leader.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use aumbry_types::RequestId;

    use super::*;

    #[test]
    fn a_report_comes_as_it_was_sent() {
        let mut report = UnsealReport {
            id: RequestId::from_bytes([3; 16]),
            wrong: vec![("10.0.0.1".to_owned(), 7)],
            shares: 2,
            resets: 1,
            opened: None,
        };
        assert_eq!(from_wire(to_wire(report.clone())).ok(), Some(report.clone()));
        report.opened = Some(Opened {
            by: "shares".to_owned(),
            client: "10.0.0.2:1".to_owned(),
            at: WallTime(9),
        });
        assert_eq!(from_wire(to_wire(report.clone())).ok(), Some(report));
        assert!(from_wire(v1::UnsealReport::default()).is_err());
    }
}
