//! What the build needs and Cargo cannot bring: a C++ compiler for RocksDB, and libclang for its bindings. And the programs that the tests
//! call.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process;

/// Looks for everything, and says so.
pub(crate) fn run() -> Result<(), String> {
    ensure()?;
    println!("setup: everything that the build needs is here");
    Ok(())
}

/// Looks for what the build needs, installs what is missing where that is allowed, and is silent if nothing is.
pub(crate) fn ensure() -> Result<(), String> {
    install(missing)
}

/// The same for what the tests need beyond the build.
pub(crate) fn ensure_for_tests() -> Result<(), String> {
    install(missing_for_tests)
}

fn install(missing: fn() -> Vec<&'static str>) -> Result<(), String> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let install = format!(
        "{}apt-get update && apt-get install --yes --no-install-recommends {}",
        if packages.contains(&"slapd") { NO_DIRECTORY } else { "" },
        packages.join(" ")
    );
    let Some(prefix) = privilege() else {
        return Err(format!("needed: {}; run: sudo sh -c '{install}'", packages.join(", ")));
    };
    if !runs("apt-get", &["--version"]) {
        return Err(format!(
            "needed: {} (Debian's names), and there is no apt-get; install them",
            packages.join(", ")
        ));
    }
    println!("setup: installing {}", packages.join(", "));
    let mut command = Command::new(prefix[0]);
    command
        .args(&prefix[1..])
        .args(["DEBIAN_FRONTEND=noninteractive", "sh", "-c", &install])
        .stdin(Stdio::null());
    process::show(&mut command, &install)?;
    match missing()[..] {
        [] => Ok(()),
        ref still => Err(format!(
            "still missing after apt-get: {}; set CXX or LIBCLANG_PATH if they lie in an unusual place",
            still.join(", ")
        )),
    }
}

/// The Debian packages that are needed and not there.
fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    if !has_compiler("CC", &["cc", "gcc", "clang"]) || !has_compiler("CXX", &["c++", "g++", "clang++"]) {
        packages.extend(["g++", "libc6-dev"]);
    }
    if !has_libclang() {
        packages.push("libclang-dev");
    }
    packages
}

/// The same for the programs that tests call.
fn missing_for_tests() -> Vec<&'static str> {
    let mut packages: Vec<_> = TEST_PROGRAMS
        .iter()
        .filter(|(program, _)| !has_program(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

/// Programs for root are not on everybody's path. The tests that call them run as root.
fn has_program(program: &str) -> bool {
    // Looked for and not run: `slapd -V` tells its version and then serves.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let for_root = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut directories = std::env::split_paths(&path).chain(for_root);
    directories.any(|directory| directory.join(program).is_file())
}

fn has_compiler(variable: &str, usual: &[&str]) -> bool {
    match std::env::var(variable) {
        Ok(named) if !named.is_empty() => runs(&named, &["--version"]),
        _ => usual.iter().any(|name| runs(name, &["--version"])),
    }
}

/// Looks where the bindings' generator looks: the named directory, then those of the distributions.
fn has_libclang() -> bool {
    if let Some(named) = std::env::var_os("LIBCLANG_PATH") {
        let named = PathBuf::from(named);
        return named.is_file() || holds_libclang(&named);
    }
    let llvm = Path::new("/usr/lib")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"))
        .map(|entry| entry.path().join("lib"));
    let usual = LIBRARY_DIRS.iter().map(PathBuf::from);
    llvm.chain(usual).any(|dir| holds_libclang(&dir))
}

fn holds_libclang(dir: &Path) -> bool {
    dir.read_dir().into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Not libclang-cpp nor the runtime: the C interface alone is what bindings are made with.
        name == "libclang.so"
            || name.starts_with("libclang.so.")
            || name.starts_with("libclang-1") && name.contains(".so")
    })
}

/// How a command is run as root without a question, or none if it cannot be.
fn privilege() -> Option<&'static [&'static str]> {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if root {
        Some(&["env"])
    } else if runs("sudo", &["--non-interactive", "true"]) {
        Some(&["sudo", "--non-interactive", "env"])
    } else {
        None
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The package sets up a directory for the whole network and starts it, unless it is told to set up none. Tests start their own.
const NO_DIRECTORY: &str = "echo \"slapd slapd/no_configuration boolean true\" | debconf-set-selections && ";
/// Programs and their packages: namespaces and the nodes in them, signals, disks of their own, clocks that are wrong, the certificates of the
/// README, the questions of the runbooks, a directory, a token and the keys of custodians. What the C compiler brings is above.
const TEST_PROGRAMS: [(&str, &str); 14] = [
    ("age", "age"),
    ("faketime", "faketime"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("kill", "procps"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("slapd", "slapd"),
    ("ldapmodify", "ldap-utils"),
    ("softhsm2-util", "softhsm2"),
];

const LIBRARY_DIRS: [&str; 6] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
    "/lib64",
];
