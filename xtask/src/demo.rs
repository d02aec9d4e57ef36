//! The demo: three real nodes, told step by step.
//!
//! It drives the `aumbry` program as a user does and believes nothing that it has not seen. The first thing that is not so
//! ends it with an error, and everything that it started is stopped and removed.

mod canary;
mod cluster;
mod json;
mod story;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{checks, process, setup, workspace};
use cluster::Cluster;

/// What becomes of the cluster when all is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    CleanUp,
    Keep,
}

/// Builds, starts, shows, stops.
pub(crate) fn run(afterwards: Afterwards) -> Result<(), String> {
    let started = Instant::now();
    setup::ensure()?;
    println!("Building a release of aumbry.");
    process::show(workspace::cargo().args(checks::BUILD), "the build")?;
    println!("Built in {:.1} s.\n", started.elapsed().as_secs_f64());

    let mut work = WorkDir::make(&workspace::target_dir()?.join("demo"), afterwards)?;
    let cluster = story::tell(workspace::aumbry()?, work.path(), afterwards)?;
    match afterwards {
        Afterwards::CleanUp => {
            cluster.stop()?;
            println!("\nAll processes have stopped, and all files are removed. Everything was so.");
        }
        Afterwards::Keep => say_how_to_use(cluster, work.keep())?,
    }
    Ok(())
}

fn say_how_to_use(cluster: Cluster, work: &Path) -> Result<(), String> {
    let addresses: Vec<&str> = cluster
        .environment
        .nodes
        .iter()
        .map(|node| node.client.as_str())
        .collect();
    println!("\nEverything was so. The cluster goes on; use it so:\n");
    println!("  export AUMBRY_ADDR={}", addresses.join(","));
    println!("  export AUMBRY_CACERT={}", cluster.environment.ca);
    println!("  export AUMBRY_TOKEN={}", cluster.environment.root_token);
    println!("  alias aumbry={}", workspace::aumbry()?.display());
    println!("  aumbry operator members\n");
    println!("Its keys are in {}/env.json.", cluster.dir().display());
    println!(
        "To end it: kill -INT {0} && tail --pid={0} -f /dev/null && rm -r {1}",
        cluster.keep(),
        work.display()
    );
    Ok(())
}

/// A directory of this run's own, removed with it. Not below /tmp: that may be memory, and writes are to reach a disk.
struct WorkDir {
    path: PathBuf,
    remove: bool,
}

impl WorkDir {
    fn make(parent: &Path, afterwards: Afterwards) -> Result<Self, String> {
        remove_stale(parent);
        let kind = match afterwards {
            Afterwards::CleanUp => "run",
            Afterwards::Keep => "kept",
        };
        let path = parent.join(format!("{kind}-{}", std::process::id()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| format!("cannot make {}: {e}", path.display()))?;
        Ok(Self { path, remove: true })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the one who asked to keep the cluster.
    fn keep(&mut self) -> &Path {
        self.remove = false;
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.remove {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes what interrupted runs left: their process is gone. A kept one is nobody's but its user's.
fn remove_stale(parent: &Path) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("run-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
