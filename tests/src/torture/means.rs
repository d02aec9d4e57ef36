//! What the machine permits: privileges and tools, tried and not guessed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::limits::Cgroup;

/// What a scenario needs beyond processes and files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Network namespaces with bridges between them.
    Namespaces,
    /// File systems of one's own on loop devices.
    Mounts,
    /// A compiler, for small libraries that are preloaded.
    Compiler,
    /// libfaketime.
    Faketime,
    /// Limits of a process that runs.
    Limits,
    /// Control groups with limits of memory.
    Cgroups,
}

impl Need {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Namespaces,
        Self::Mounts,
        Self::Compiler,
        Self::Faketime,
        Self::Limits,
        Self::Cgroups,
    ];

    /// What is missing, in words, if it is not there.
    pub(crate) fn missing(self) -> Option<&'static str> {
        let (is_there, words) = match self {
            Self::Namespaces => (
                succeeds("unshare", &["--net", "--", "sh", "-c", BRIDGE]),
                "network namespaces (root, and the programs ip, unshare, nsenter, setpriv)",
            ),
            Self::Mounts => (
                Path::new("/dev/loop-control").exists()
                    && succeeds("unshare", &["--mount", "--", "mount", "-t", "tmpfs", "none", "/mnt"])
                    && succeeds("mkfs.ext4", &["-V"]),
                "file systems on loop devices (root, /dev/loop-control, mkfs.ext4)",
            ),
            Self::Compiler => (succeeds("cc", &["--version"]), "a C compiler (cc)"),
            Self::Faketime => (faketime().is_some(), "libfaketime (Debian: faketime)"),
            Self::Cgroups => (
                Cgroup::can_be_made(),
                "control groups with limits of memory (root, version 1, mounted at /sys/fs/cgroup/memory)",
            ),
            Self::Limits => (succeeds("prlimit", &["--version"]), "prlimit (Debian: util-linux)"),
        };
        (!is_there).then_some(words)
    }
}

/// The library that sets clocks.
pub(crate) fn faketime() -> Option<PathBuf> {
    let directories = Path::new("/usr/lib")
        .read_dir()
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let mut libraries = directories
        .chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")])
        .map(|directory| directory.join("faketime/libfaketimeMT.so.1"));
    libraries.find(|library| library.is_file())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A bridge with one end of a pair on it.
const BRIDGE: &str = "ip link add probe0 type bridge && ip link add probe1 type veth peer name probe2 \
                      && ip link set probe1 master probe0 \
                      && setpriv --version && nsenter --version && ip route add blackhole 10.77.0.1/32";
