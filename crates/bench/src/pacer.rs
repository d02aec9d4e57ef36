//! The schedule of an open loop: permits, given out when they are due.
//!
//! The runtime's own timers are exact to a millisecond, which is longer than a request takes. So this sleeps on a timer of the kernel.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

/// Requests at even distances from a beginning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) begin: Instant,
    /// Requests in a second.
    pub(crate) rate: f64,
}

impl Schedule {
    /// When the n-th request is to be sent.
    pub(crate) fn at(self, n: u64) -> Instant {
        self.begin + Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// How many were to be sent by then. The first is due at the beginning.
    pub(crate) fn due(self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.begin).as_secs_f64() * self.rate) as u64 + 1
    }

    /// Gives a permit for each request as it becomes due, for ever.
    pub(crate) async fn keep(self, permits: &Semaphore) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut given = 0;
        loop {
            let due = self.due(Instant::now());
            if due > given {
                permits.add_permits(usize::try_from(due - given).unwrap_or(0));
                given = due;
            }
            timer.sleep_until(self.at(given)).await?;
        }
    }
}

/// A timer of the kernel.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, as it trusts the descriptor to stay open; this one is owned, and so it does"
    )]
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    async fn sleep_until(&self, at: Instant) -> io::Result<()> {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Others must run too where the schedule is faster than the machine.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; 8];
            // Else it was not: what was told is of the time before.
            if let Ok(read) = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)) {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances() {
        let schedule = Schedule {
            begin: Instant::now(),
            rate: 4.0,
        };
        let after = |ms| schedule.begin + Duration::from_millis(ms);
        assert_eq!(schedule.at(0), schedule.begin);
        assert_eq!(schedule.at(6), after(1_500));
        for (ms, due) in [(0, 1), (249, 1), (251, 2), (1_001, 5)] {
            assert_eq!(schedule.due(after(ms)), due, "{ms}");
        }
    }

    #[tokio::test]
    async fn the_timer_does_not_end_early() {
        let timer = Timer::new().unwrap();
        for micros in [0, 1, 150, 1_500] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.sleep_until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
    }
}
