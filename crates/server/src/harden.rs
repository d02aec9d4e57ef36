//! What the process gives up before it holds a secret: core dumps, and being read by other processes of the same user.

use aumbry_types::{KeyMemory, key_memory};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps and ptrace. Failing that, the node does not start.
///
/// # Errors
/// The system's answer.
pub fn harden() -> std::io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Whether keys can be written to a disk by the system: an error, unless that is accepted. What else should be known is a warning.
pub(crate) fn check_memory(allow_swap: bool) -> Result<Option<&'static str>, String> {
    judge(key_memory(), has_swap(), allow_swap)
}

fn judge(memory: KeyMemory, has_swap: bool, allow_swap: bool) -> Result<Option<&'static str>, String> {
    match (memory, has_swap) {
        (KeyMemory::Unlocked(why), true) if !allow_swap => Err(why),
        (KeyMemory::Unlocked(_), true) => Ok(Some(
            "keys are not in locked memory, and there is swap: they may be written to a disk",
        )),
        (KeyMemory::Unlocked(_), false) => Ok(Some("keys are not in locked memory; see LimitMEMLOCK= and `ulimit -l`")),
        (KeyMemory::Locked, true) => Ok(Some(
            "there is swap: keys are in locked memory, but secrets on their way through the node are not",
        )),
        (KeyMemory::Locked, false) => Ok(None),
    }
}

/// Whether the machine has swap at all. Where that cannot be read, there may be.
fn has_swap() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_swapped_unless_that_is_accepted() {
        let unlocked = || KeyMemory::Unlocked("no".to_owned());
        assert_eq!(judge(KeyMemory::Locked, false, false), Ok(None));
        assert!(judge(KeyMemory::Locked, true, false).is_ok_and(|warning| warning.is_some()));
        assert_eq!(judge(unlocked(), true, false), Err("no".to_owned()));
        assert!(judge(unlocked(), true, true).is_ok_and(|warning| warning.is_some()));
        assert!(judge(unlocked(), false, false).is_ok_and(|warning| warning.is_some()));
    }
}
