//! Which edges of the code an input reached: the counters that LLVM puts into an instrumented build.
//!
//! The counters lie in this process; `counters.c`, which is linked into an instrumented build alone, tells where. They are read and
//! cleared through `/proc/self/mem`, because this workspace has no `unsafe`. In any other build there are none.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// The counters of this process, and what has been seen of them.
#[derive(Debug)]
pub struct Coverage {
    memory: File,
    start: u64,
    /// What the counters are now.
    counters: Vec<u8>,
    /// For each counter the magnitudes that were seen, one bit each.
    seen: Vec<u8>,
    /// Where a counter was ever above zero, in whole blocks: the others are not read each time.
    active: Vec<Range<usize>>,
    is_active: Vec<bool>,
    collections: u64,
    edges: usize,
    zeros: Vec<u8>,
}

impl Coverage {
    /// The counters of this process; none if it is not instrumented.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of_this_process() -> io::Result<Option<Self>> {
        let place = std::env::var(PLACE).ok();
        let Some((start, end)) = place.as_deref().and_then(parse) else {
            return Ok(None);
        };
        let memory = File::options().read(true).write(true).open("/proc/self/mem")?;
        let length = (end - start) as usize;
        let mut coverage = Self {
            memory,
            start,
            counters: vec![0; length],
            seen: vec![0; length],
            active: Vec::new(),
            is_active: vec![false; length.div_ceil(BLOCK_BYTES)],
            collections: 0,
            edges: 0,
            zeros: vec![0; length],
        };
        coverage.memory.read_exact_at(&mut coverage.counters, start)?;
        coverage.memory.write_all_at(&vec![0; length], start)?;
        Ok(Some(coverage))
    }

    /// How many edges were ever reached.
    #[must_use]
    pub const fn edges(&self) -> usize {
        self.edges
    }

    /// Forgets what was seen.
    pub fn forget(&mut self) {
        self.seen.fill(0);
        self.edges = 0;
    }

    /// Sets the counters to zero.
    ///
    /// # Panics
    /// If the kernel refuses the memory that it gave before.
    pub fn clear(&mut self) {
        for range in &self.active {
            let at = self.start + range.start as u64;
            let zeros = &self.zeros[..range.len()];
            self.memory.write_all_at(zeros, at).expect("the counters are written");
        }
    }

    /// How many counters reached a magnitude that was never seen.
    ///
    /// # Panics
    /// If the kernel refuses the memory that it gave before.
    pub fn collect(&mut self) -> usize {
        // Now and then all are read: a block may have become active.
        if self.collections.is_multiple_of(ALL_EVERY) {
            self.memory
                .read_exact_at(&mut self.counters, self.start)
                .expect("the counters are read");
            self.look_for_active();
        }
        self.collections += 1;
        let mut found = 0;
        for range in &self.active {
            let (counters, seen) = (&mut self.counters[range.clone()], &mut self.seen[range.clone()]);
            self.memory
                .read_exact_at(counters, self.start + range.start as u64)
                .expect("the counters are read");
            for (eight, seen) in counters.chunks(8).zip(seen.chunks_mut(8)) {
                if eight.iter().all(|counter| *counter == 0) {
                    continue;
                }
                for (counter, seen) in eight.iter().zip(seen) {
                    let magnitude = magnitude(*counter);
                    if *seen & magnitude != magnitude {
                        self.edges += usize::from(*seen == 0);
                        *seen |= magnitude;
                        found += 1;
                    }
                }
            }
        }
        found
    }

    /// Blocks that are near each other are one range: a call of the kernel takes longer than some more bytes.
    fn look_for_active(&mut self) {
        for (is_active, block) in self.is_active.iter_mut().zip(self.counters.chunks(BLOCK_BYTES)) {
            *is_active |= block.iter().any(|counter| *counter > 0);
        }
        self.active.clear();
        for number in (0..self.is_active.len()).filter(|number| self.is_active[*number]) {
            let range = number * BLOCK_BYTES..self.counters.len().min((number + 1) * BLOCK_BYTES);
            match self.active.last_mut() {
                Some(last) if range.start - last.end <= GAP_BYTES_MAX => last.end = range.end,
                _ => self.active.push(range),
            }
        }
    }
}

/// A bit for each of: not, once, twice, three times, 4 to 7, 8 to 15, 16 to 31, 32 to 127, more often.
const fn magnitude(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        _ => 128,
    }
}

fn parse(place: &str) -> Option<(u64, u64)> {
    let (start, end) = place.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    (start < end).then_some((start, end))
}

/// Set by `counters.c` before `main`.
const PLACE: &str = "AUMBRY_FUZZ_COUNTERS";
const BLOCK_BYTES: usize = 256;
const GAP_BYTES_MAX: usize = 8 << 10;
/// A full look takes as long as some dozen executions.
const ALL_EVERY: u64 = 512;
