//! The memory of a process, searched for words.
//!
//! Reading it needs the right to trace the process: nodes forbid that to all but root.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::canary::{Canaries, Found, Search, planted};

/// A part of a process's memory.
struct Mapping {
    start: u64,
    end: u64,
    name: String,
}

/// What a search has looked at.
#[derive(Debug)]
pub struct Searched {
    /// What was found.
    pub found: Vec<Found>,
    /// How many bytes were read.
    pub bytes: u64,
    /// The mappings that could not be read: those of devices and of the kernel.
    pub unread: Vec<String>,
}

/// Whether this process may read the memory of a node.
pub fn can_read_memory() -> bool {
    // Nobody else may, whatever the owner: nodes are not dumpable.
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let mask = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> CAP_SYS_PTRACE & 1 == 1)
    })
}

/// Searches every readable mapping of a process. First a word must be found in a process that holds it, in each form.
pub fn search_memory(process: u32, canaries: &Canaries) -> Result<Searched> {
    let mut control = Canaries::default();
    control.make();
    let control = control.search()?;
    let forms: Vec<_> = control.one_of_each_form().collect();
    let holder = Holder::start(&forms.iter().flat_map(|(_, form)| planted(form)).collect::<Vec<_>>())?;
    let found = read(holder.0.id(), &control)?.found;
    for (form, _) in forms {
        ensure!(
            found.iter().any(|found| found.form == form),
            "the search does not find what is in a process as {form:?}"
        );
    }
    read(process, &canaries.search()?)
}

/// A process that has this in its memory: in its environment.
struct Holder(Child);

impl Holder {
    fn start(bytes: &[u8]) -> Result<Self> {
        use std::os::unix::ffi::OsStrExt as _;
        let mut command = Command::new("tail");
        command.args(["-f", "/dev/null", "--pid=1", "--"]);
        command.env("PLANTED", std::ffi::OsStr::from_bytes(bytes));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(child.spawn()?))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(process: u32, search: &Search) -> Result<Searched> {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps"))?;
    let mappings = maps.lines().filter_map(parse);
    let memory = File::open(format!("/proc/{process}/mem")).context("the memory of a node is for root alone")?;
    let mut searched = Searched {
        found: Vec::new(),
        bytes: 0,
        unread: Vec::new(),
    };
    let overlap = search.longest() as u64;
    let used = Used::open(process)?;
    let mut piece = vec![0; PIECE_BYTES as usize + search.longest()];
    for mapping in mappings {
        for at in (mapping.start..mapping.end).step_by(PIECE_BYTES as usize) {
            let end = mapping.end.min(at + PIECE_BYTES);
            if !used.any(at, end)? {
                continue;
            }
            // What began in the piece before is seen whole.
            let begin = mapping.start.max(at.saturating_sub(overlap));
            let piece = &mut piece[..usize::try_from(end - begin)?];
            if memory.read_exact_at(piece, begin).is_err() {
                searched.unread.push(mapping.name.clone());
                break;
            }
            searched.bytes += end - at;
            if piece.iter().any(|byte| *byte != 0) {
                let place = format!("{} at {at:x}", mapping.name);
                searched.found.extend(search.look_in(&place, piece));
            }
        }
    }
    ensure!(searched.bytes > 0, "process {process} has no memory that can be read");
    Ok(searched)
}

/// Which pages of a process are in memory or in swap. The others were never written, or are those of a file: most of what is mapped.
struct Used {
    pages: File,
    page_bytes: u64,
}

impl Used {
    fn open(process: u32) -> Result<Self> {
        let told = Command::new("getconf").arg("PAGESIZE").output()?.stdout;
        Ok(Self {
            pages: File::open(format!("/proc/{process}/pagemap"))?,
            page_bytes: String::from_utf8(told)?.trim().parse()?,
        })
    }

    /// Whether any page between these is.
    fn any(&self, start: u64, end: u64) -> Result<bool> {
        let mut entries = vec![0; usize::try_from((end - start).div_ceil(self.page_bytes) * 8)?];
        let at = start / self.page_bytes * 8;
        // What belongs to the kernel has no entry, and is looked at.
        if self.pages.read_exact_at(&mut entries, at).is_err() {
            return Ok(true);
        }
        // The highest bit is that of memory, the next one that of swap; both are in the last byte of eight.
        Ok(entries
            .chunks(8)
            .any(|entry| entry.last().is_some_and(|last| last >> 6 != 0)))
    }
}

/// A line of `/proc/PID/maps`, if the mapping can be read.
fn parse(line: &str) -> Option<Mapping> {
    let mut parts = line.split_whitespace();
    let (start, end) = parts.next()?.split_once('-')?;
    let rights = parts.next()?;
    let name = parts.nth(3).unwrap_or("(anonymous)");
    let address = |text| u64::from_str_radix(text, 16).ok();
    rights.starts_with('r').then_some(Mapping {
        start: address(start)?,
        end: address(end)?,
        name: format!("{rights} {name}"),
    })
}

/// As large as a buffer, so that what is found in one buffer is found in a piece or two.
const PIECE_BYTES: u64 = 64 << 10;
const CAP_SYS_PTRACE: u32 = 19;
