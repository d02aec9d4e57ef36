//! What local processes cost: processor time, bytes written, memory, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What a process has used so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    /// When the process was started; another time is another process with the same id.
    started: u64,
    /// Nanoseconds on a processor, by thread.
    threads: BTreeMap<u32, u64>,
    /// User and system time of all threads, of those that ended too, in ticks.
    ticks: u64,
    /// Bytes that it made the disk write; none if that must not be read.
    pub(crate) write_bytes: Option<u64>,
    /// Its memory.
    pub(crate) rss_bytes: u64,
}

impl Usage {
    /// Of this process as of now; none if there is none.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (ticks, started) = parse_stat(&stat)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        // A server without core dumps lets only root read this, or whoever may trace it.
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok();
        Some(Self {
            started,
            threads: threads(pid),
            ticks,
            write_bytes: io.and_then(|io| field(&io, "write_bytes:")),
            rss_bytes: field(&status, "VmRSS:").unwrap_or(0) * 1_024,
        })
    }

    /// Processor time since then; none if this is another process.
    ///
    /// The nanoseconds of the threads are exact, but those of a thread that has ended are gone; the ticks have them, but are coarse. So
    /// the ticks count where they are more by more than they can be wrong.
    pub(crate) fn cpu_since(&self, before: &Self) -> Option<Duration> {
        if self.started != before.started {
            return None;
        }
        let of_thread =
            |(thread, now): (&u32, &u64)| now.saturating_sub(before.threads.get(thread).copied().unwrap_or(0));
        let exact = Duration::from_nanos(self.threads.iter().map(of_thread).sum());
        let coarse = TICK * u32::try_from(self.ticks.saturating_sub(before.ticks)).unwrap_or(u32::MAX);
        Some(if coarse > exact + TICK * TICKS_WRONG {
            coarse
        } else {
            exact
        })
    }
}

fn threads(pid: u32) -> BTreeMap<u32, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let of_task = |task: fs::DirEntry| {
        let thread = task.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((thread, stat.split(' ').next()?.parse().ok()?))
    };
    tasks.filter_map(of_task).collect()
}

/// User and system time in ticks, and the time of the start. The name in front may hold anything, a `)` too.
pub(crate) fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - FIRST_FIELD)?.parse::<u64>().ok();
    Some((number(UTIME)?.checked_add(number(STIME)?)?, number(STARTTIME)?))
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Processor time of this process so far.
pub(crate) fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

/// Linux counts in hundredths of a second wherever programs can see it.
const TICK: Duration = Duration::from_millis(10);
/// User and system time are each rounded, at both ends.
const TICKS_WRONG: u32 = 4;
/// Numbers of proc(5); the first field after the name is the third.
const FIRST_FIELD: usize = 3;
const UTIME: usize = 14;
const STIME: usize = 15;
const STARTTIME: usize = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_name() {
        let line = "7 (a) b (c) S 1 1 1 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 1234 1 2 3";
        assert_eq!(parse_stat(line), Some((300, 1_234)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn time_of_threads_that_ended_is_counted() {
        let usage = |threads: &[(u32, u64)], ticks| Usage {
            started: 1,
            threads: threads.iter().copied().collect(),
            ticks,
            write_bytes: None,
            rss_bytes: 0,
        };
        let before = usage(&[(1, 1_000_000), (2, 900_000_000)], 90);
        // Nothing but rounding differs: the exact one counts, and the thread that ended takes nothing away.
        let after = usage(&[(1, 31_000_000), (3, 5_000_000)], 93);
        assert_eq!(after.cpu_since(&before), Some(Duration::from_millis(35)));
        // A thread that ended used a second in between.
        let after = usage(&[(1, 31_000_000)], 193);
        assert_eq!(after.cpu_since(&before), Some(Duration::from_millis(1_030)));
        let other = Usage {
            started: 2,
            ..before.clone()
        };
        assert_eq!(other.cpu_since(&before), None);
    }

    #[test]
    fn work_of_this_process_is_seen() {
        let pid = std::process::id();
        let (before, own) = (Usage::of(pid).unwrap(), own_cpu());
        let mut sum = 0_u64;
        while own_cpu() - own < Duration::from_millis(200) {
            sum = std::hint::black_box(sum + 1);
        }
        let after = Usage::of(pid).unwrap();
        // Other tests may run in this process too, so there is no upper bound.
        assert!(after.cpu_since(&before).unwrap() >= Duration::from_millis(150));
        assert!(after.rss_bytes > 1 << 20);
        assert!(Usage::of(u32::MAX).is_none());
    }
}
