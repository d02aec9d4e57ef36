//! Time is injected. Two kinds exist: the log's time, which drives every expiry, and the wall's, which is for people.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970 as the log counts them: stamped by the leader, never running backwards, the same on all nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogTime(pub u64);

impl LogTime {
    /// The time `ms` milliseconds later, at most the largest value.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// Milliseconds since 1970 by a node's wall clock. Shown to people, never compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallTime(pub u64);

/// A source of time.
pub trait Clock: Send + Sync {
    /// The wall clock, which an operator can set wrong.
    fn wall(&self) -> WallTime;
    /// Milliseconds since some fixed start. Never runs backwards, and goes on while the machine sleeps.
    fn boottime_ms(&self) -> u64;
}

/// The machine's clocks: `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one clock that all others stand in for"
    )]
    fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn boottime_ms(&self) -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
        seconds * 1_000 + millis
    }
}

/// A clock that moves only when told to.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    wall_ms: AtomicU64,
    boot_ms: AtomicU64,
}

impl SimulatedClock {
    /// Starts at this wall time.
    #[must_use]
    pub const fn new(wall: WallTime) -> Self {
        Self {
            wall_ms: AtomicU64::new(wall.0),
            boot_ms: AtomicU64::new(0),
        }
    }

    /// Moves both clocks on.
    pub fn advance_ms(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.boot_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an operator or a bad time server does.
    pub fn set_wall(&self, wall: WallTime) {
        self.wall_ms.store(wall.0, Ordering::SeqCst);
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> WallTime {
        WallTime(self.wall_ms.load(Ordering::SeqCst))
    }

    fn boottime_ms(&self) -> u64 {
        self.boot_ms.load(Ordering::SeqCst)
    }
}
