//! After the last fault the cluster serves again, and all nodes agree, within a bound.

use serde::{Deserialize, Serialize};

use super::Judged;

/// The end of the faults, and what came after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heal {
    /// When the last fault ended.
    pub at: u64,
    /// When a write was acknowledged that was called after it.
    pub served: Progress,
    /// When all nodes had applied the same index.
    pub converged: Progress,
}

/// When something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// At this time.
    At(u64),
    /// Not until this time, at which nobody looked any more.
    NotUntil(u64),
}

/// Judges the property. A fact is something that had to happen.
pub fn progress_after_heal(heals: &[Heal], bound: u64) -> Judged {
    let mut judged = Judged::new("progress_after_heal");
    for heal in heals {
        let last = heal.at.saturating_add(bound);
        for (what, progress) in [
            ("no write was served", heal.served),
            ("nodes did not agree", heal.converged),
        ] {
            match progress {
                Progress::At(at) => judged.fact((at > last).then(|| {
                    format!(
                        "after the faults had ended at {}, {what} until {at}, which is over the bound",
                        heal.at
                    )
                })),
                Progress::NotUntil(until) if until >= last => judged.fact(Some(format!(
                    "after the faults had ended at {}, {what} until {until}, and then nobody looked",
                    heal.at
                ))),
                Progress::NotUntil(until) => judged.not_shown(format!(
                    "after the faults had ended at {}, {what} until {until}; the bound was not waited for",
                    heal.at
                )),
            }
        }
    }
    judged
}
