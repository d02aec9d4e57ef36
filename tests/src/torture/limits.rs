//! Limits of a process that runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// How many files a process has open.
pub(crate) fn open_files(process: u32) -> Result<u64> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64)
}

/// Lets a process open at most so many files, or as many as it could before.
pub(crate) fn allow_files(process: u32, most: Option<u64>) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits"))?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard = line
        .and_then(|line| line.split_whitespace().nth(4))
        .context("a limit of open files")?;
    let soft = most.map_or_else(|| hard.to_owned(), |most| most.to_string());
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.to_string(), &format!("--nofile={soft}:{hard}")]);
    let set = prlimit.output().context("starting prlimit (Debian: util-linux)")?;
    ensure!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr).trim());
    Ok(())
}

/// A control group below this process's own, with a limit of memory. Dropping it gives the process back.
pub(crate) struct Cgroup {
    path: PathBuf,
    parent: PathBuf,
    process: u32,
}

impl Cgroup {
    /// Where control groups of memory are made, if that is possible.
    fn place() -> Option<PathBuf> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let below = own.lines().find_map(|line| line.split_once(":memory:/"))?.1;
        let path = PathBuf::from(ROOT).join(below);
        path.join(LIMIT).is_file().then_some(path)
    }

    /// Whether they can be made here.
    pub(crate) fn can_be_made() -> bool {
        let Some(place) = Self::place() else { return false };
        let probe = place.join(format!("aumbry-torture-{}-probe", std::process::id()));
        let is_made = fs::create_dir(&probe).is_ok();
        is_made && fs::remove_dir(probe).is_ok()
    }

    /// Gives the process so many bytes for all that it takes from now on.
    pub(crate) fn make(process: u32, bytes: u64) -> Result<Self> {
        let parent = Self::place().context("no control groups of memory")?;
        let path = parent.join(format!("aumbry-torture-{}-{process}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let cgroup = Self { path, parent, process };
        fs::write(cgroup.path.join(LIMIT), bytes.to_string())?;
        fs::write(cgroup.path.join(MEMBERS), process.to_string())?;
        Ok(cgroup)
    }

    /// Whether the limit was reached.
    pub(crate) fn has_struck(&self) -> bool {
        let count = fs::read_to_string(self.path.join("memory.failcnt"));
        count.is_ok_and(|count| count.trim() != "0")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It may have ended, and then there is nobody to be moved.
        let _ = fs::write(self.path.join(LIMIT), "-1");
        let _ = fs::write(self.parent.join(MEMBERS), self.process.to_string());
        for _ in 0..REMOVALS {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

const ROOT: &str = "/sys/fs/cgroup/memory";
const LIMIT: &str = "memory.limit_in_bytes";
const MEMBERS: &str = "cgroup.procs";
/// A process that was killed leaves its group a moment later.
const REMOVALS: u32 = 100;
