//! What is done to the files of a stopped node.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use aumbry_types::{Entropy as _, SimulatedEntropy, SystemEntropy};
use serde_json::Value;

use crate::cluster::run_cli;
use crate::server::Refusal;

/// Numbers that look random and come again with the same seed.
pub struct Dice(SimulatedEntropy);

impl Dice {
    /// With the seed that `AUMBRY_SEED` names, or another one each time. Prints it: with it, a run is made again.
    #[must_use]
    pub fn new() -> Self {
        let mut bytes = [0; 8];
        SystemEntropy.fill(&mut bytes);
        let named = std::env::var("AUMBRY_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = named.unwrap_or_else(|| u64::from_be_bytes(bytes) >> 16);
        tell(&format!("AUMBRY_SEED={seed} makes this run again"));
        Self(SimulatedEntropy::new(seed))
    }

    /// With this seed. Whoever chose it tells it.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(SimulatedEntropy::new(seed))
    }

    /// A number below this one, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % bound
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

/// Tells what a test does, for whoever must do it again. It is shown when the test fails.
#[expect(clippy::print_stdout, reason = "what a test prints is kept with its failure")]
pub fn tell(text: &str) {
    println!("{text}");
}

/// All files below a directory, sorted.
pub fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Flips one bit of a file.
pub fn flip(path: &Path, byte: u64, bit: u32) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let at = usize::try_from(byte)?;
    *bytes.get_mut(at).context("the file is not so long")? ^= 1 << (bit % 8);
    Ok(fs::write(path, bytes)?)
}

/// Copies a directory with all that is below it.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A refusal is one line of ours that names a file and the next step, and no panic.
pub fn is_clear(refusal: &Refusal, data: &Path) -> Result<()> {
    let text = &refusal.text;
    ensure!(refusal.code != 0, "{refusal:?}");
    ensure!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    let is_told = |line: &&str| {
        let names_next = line.contains("aumbry operator check") || line.contains("aumbry operator repair");
        line.contains(&*data.to_string_lossy()) && (names_next || line.contains("use the newer build"))
    };
    ensure!(
        text.lines().filter(is_told).count() == 1,
        "it is not told in one line: {text}"
    );
    Ok(())
}

/// Runs one of the two commands; its exit code and what it told programs.
pub fn operator(command: &str, config: &Path, more: &[&str]) -> Result<(i32, Value)> {
    let config = config.to_string_lossy();
    let mut arguments = vec!["operator", command, "--output", "json", "--config", &*config];
    arguments.extend(more);
    let output = run_cli(&arguments, &[], "")?;
    let text = [output.stdout, output.stderr].concat();
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let told = serde_json::from_slice(first).with_context(|| String::from_utf8_lossy(&text).into_owned())?;
    Ok((output.status.code().unwrap_or(-1), told))
}

/// Flips a bit in the middle of a file.
pub fn flip_middle(path: &Path) -> Result<()> {
    flip(path, fs::metadata(path)?.len() / 2, 3)
}

/// The newest segment of a node's log that holds batches, and where they end. What follows is space that was filled ahead with zeros.
pub fn log_end(data: &Path) -> Result<(PathBuf, u64)> {
    for path in files_below(&data.join("log/wal"))?.into_iter().rev() {
        let end = used_bytes(&path)?;
        if path.extension().is_some_and(|ending| ending == "seg") && end > LOG_HEADER_BYTES {
            return Ok((path, end));
        }
    }
    bail!("there is no batch in the log of {}", data.display())
}

/// The size of a file without the zeros at its end.
pub fn used_bytes(path: &Path) -> Result<u64> {
    let bytes = fs::read(path)?;
    let last = bytes.iter().rposition(|byte| *byte != 0);
    Ok(last.map_or(0, |last| last as u64 + 1))
}

/// Flips a bit of the first batch in the second half of a node's log.
pub fn flip_middle_of_log(data: &Path) -> Result<()> {
    let (path, end) = log_end(data)?;
    let bytes = fs::read(&path)?;
    let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
    let mut batches = sectors
        .filter(|(_, sector)| sector.starts_with(b"aumb"))
        .map(|(n, _)| n * SECTOR_BYTES);
    let middle = batches
        .find(|at| *at as u64 >= end / 2)
        .context("no batch in the second half")?;
    flip(&path, middle as u64 + 12, 3)
}

/// The newest file below a directory whose name has this part.
pub fn newest(directory: &Path, part: &str) -> Result<PathBuf> {
    let has_part = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().contains(part))
    };
    let files = files_below(directory)?.into_iter().filter(has_part);
    files
        .max()
        .with_context(|| format!("no {part} in {}", directory.display()))
}

const LOG_HEADER_BYTES: u64 = 4096;
const SECTOR_BYTES: usize = 512;
