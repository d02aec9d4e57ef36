//! Fuzzing for as long as one likes: `cargo xtask fuzz`.
//!
//! The fuzzer is built in the usual way, but with `crates/fuzz/instrument.sh` in front of the compiler for the crates of the workspace, so that
//! LLVM puts counters into them. Cargo keeps these apart from all other builds; what others wrote is not compiled again.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{process, setup, workspace};

/// What was asked for.
struct Asked {
    targets: Vec<String>,
    minutes: f64,
    seed: u64,
    input: Option<PathBuf>,
    keeps: bool,
}

/// Builds the fuzzer, and runs it for each target.
pub(crate) fn run(arguments: &[&str]) -> Result<(), String> {
    if arguments == ["--help"] || arguments == ["-h"] {
        println!("{HELP}");
        return Ok(());
    }
    let is_list = arguments == ["--list"];
    let asked = if is_list { parse(&[])? } else { parse(arguments)? };
    setup::ensure()?;
    let program = build()?;
    let all = list(&program)?;
    if is_list {
        println!("{}", all.join("\n"));
        return Ok(());
    }
    if let Some(unknown) = asked.targets.iter().find(|target| !all.contains(target)) {
        return Err(format!(
            "there is no target {unknown}; `cargo xtask fuzz --list` names them"
        ));
    }
    if let Some(input) = &asked.input {
        let [target] = &asked.targets[..] else {
            return Err("an input is tried on one target; name it".to_owned());
        };
        let mut command = fuzzer(&program);
        command.arg("try").arg(target).arg(input);
        return process::show(&mut command, "the input");
    }
    let targets = if asked.targets.is_empty() { &all } else { &asked.targets };
    println!(
        "{} targets, {} minutes each, seed {}",
        targets.len(),
        asked.minutes,
        asked.seed
    );
    let failed: Vec<&str> = targets
        .iter()
        .map(|target| fuzz(&program, target, &asked).map(|passed| (target, passed)))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter_map(|(target, passed)| (!passed).then_some(target.as_str()))
        .collect();
    match failed[..] {
        [] => Ok(()),
        _ => Err(format!(
            "findings in {}; the lines above repeat them",
            failed.join(", ")
        )),
    }
}

/// Runs one target; whether it passed.
fn fuzz(program: &Path, target: &str, asked: &Asked) -> Result<bool, String> {
    let folder = folder()?.join("findings");
    let mut command = fuzzer(program);
    command.args([
        "run",
        target,
        &(asked.minutes * 60.0).to_string(),
        &asked.seed.to_string(),
    ]);
    command.arg(&folder).arg(if asked.keeps { "keep" } else { "leave" });
    let status = command
        .status()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    if let Some(signal) = status.signal() {
        let noted = folder.join(format!("{target}.current"));
        let kept = folder.join(format!("{target}-signal-{signal}-seed-{}", asked.seed));
        let input = fs::read(&noted).map_err(|e| format!("cannot read {}: {e}", noted.display()))?;
        let (length, input) = input.split_first_chunk::<8>().ok_or("the last input was not noted")?;
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
        fs::write(&kept, &input[..length.min(input.len())])
            .map_err(|e| format!("cannot write {}: {e}", kept.display()))?;
        println!(
            "{target}: FAILED (seed {}): the process was ended by signal {signal}",
            asked.seed
        );
        println!("repeat it: cargo xtask fuzz {target} --input {}", kept.display());
    }
    Ok(status.success())
}

/// Builds the fuzzer with counters, and gives its place.
fn build() -> Result<PathBuf, String> {
    let (source, folder) = (source(), folder()?);
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let object = folder.join("counters.o");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile
        .args(["-O2", "-Wall", "-fPIC", "-c"])
        .arg(source.join("counters.c"))
        .arg("-o")
        .arg(&object);
    process::show(&mut compile, "the C compiler")?;
    let mut build = workspace::cargo();
    build
        .args(["build", "--release", "--locked", "--workspace", "--bin", PROGRAM])
        .env("RUSTC_WORKSPACE_WRAPPER", source.join("instrument.sh"))
        .env("AUMBRY_FUZZ_OBJECT", &object);
    process::show(&mut build, "the build of the fuzzer")?;
    // The next build without counters puts its own program at the same place.
    let (built, kept) = (
        workspace::target_dir()?.join("release").join(PROGRAM),
        folder.join(PROGRAM),
    );
    let _ = fs::remove_file(&kept);
    fs::copy(&built, &kept).map_err(|e| format!("cannot copy {}: {e}", built.display()))?;
    Ok(kept)
}

fn list(program: &Path) -> Result<Vec<String>, String> {
    let output = fuzzer(program).arg("list").output();
    let output = output.map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// The fuzzer, which finds its corpus as it does when Cargo starts it.
fn fuzzer(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("CARGO_MANIFEST_DIR", source());
    command
}

fn source() -> PathBuf {
    workspace::root().join("crates").join("fuzz")
}

fn folder() -> Result<PathBuf, String> {
    Ok(workspace::target_dir()?.join("fuzz"))
}

fn parse(arguments: &[&str]) -> Result<Asked, String> {
    let mut asked = Asked {
        targets: Vec::new(),
        minutes: 1.0,
        seed: 1,
        input: None,
        keeps: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .copied()
                .ok_or_else(|| format!("{argument} needs a value\n\n{HELP}"))
        };
        match *argument {
            "--minutes" => asked.minutes = number(value()?)?,
            "--seed" => asked.seed = number(value()?)?,
            "--input" => asked.input = Some(value()?.into()),
            "--keep-corpus" => asked.keeps = true,
            flag if flag.starts_with('-') => return Err(format!("unknown: {flag}\n\n{HELP}")),
            target => asked.targets.push(target.to_owned()),
        }
    }
    Ok(asked)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

const PROGRAM: &str = "aumbry-fuzz";

const HELP: &str = "\
cargo xtask fuzz [TARGET...] [--minutes N] [--seed S] [--keep-corpus]
cargo xtask fuzz TARGET --input FILE
cargo xtask fuzz --list

Runs each target, or those named, for N minutes (1), guided by coverage. The first input that fails is kept in the
target directory, and a line is printed that tries it again.

  --input FILE   try one input
  --keep-corpus  replace the corpus in the repository by the smallest inputs that reach as much
  --list         name the targets";
