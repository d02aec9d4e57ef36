//! Who is alive, and how processes end.

use std::panic::panic_any;

use crate::{HostId, trace, with};

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Death {
    /// It was killed; its machine goes on.
    Killed,
    /// The machine lost its power.
    PowerLost,
    /// It ended itself, for this reason.
    Fatal(String),
    /// A bug: something in it panicked.
    Panicked(String),
}

/// A machine with at most one process.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) is_process_alive: bool,
    pub(crate) is_machine_up: bool,
    pub(crate) death: Option<Death>,
    /// Where the process is to die, and how often it passes there before.
    armed: Option<(Armed, u64)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Armed {
    /// None is any place.
    point: Option<&'static str>,
    kind: &'static str,
    death: Death,
}

/// What unwinds a task whose process has ended. It is no bug, and nobody is told of it.
#[derive(Debug)]
pub struct Ended;

/// A process begins.
pub fn begin(host: HostId) {
    with(|world| {
        let host = world.hosts.entry(host).or_default();
        host.is_process_alive = true;
        host.is_machine_up = true;
        host.death = None;
        host.armed = None;
    });
}

/// Whether a process runs there.
#[must_use]
pub fn is_alive(host: HostId) -> bool {
    with(|world| world.hosts.get(&host).is_some_and(|host| host.is_process_alive))
}

/// Ends a process. Nothing that it still does has any effect.
pub fn end(host: HostId, death: Death) {
    trace::note("end", &[host]);
    with(|world| {
        let Some(known) = world.hosts.get_mut(&host) else { return };
        if !known.is_process_alive {
            return;
        }
        known.is_process_alive = false;
        known.is_machine_up = death != Death::PowerLost;
        known.death = Some(death);
    });
    crate::disk::stop(host);
    crate::net::stop(host);
}

/// How the process ended, told once.
pub fn take_death(host: HostId) -> Option<Death> {
    with(|world| world.hosts.get_mut(&host).and_then(|host| host.death.take()))
}

/// A machine has its power again.
pub fn power_up(host: HostId) {
    with(|world| world.hosts.entry(host).or_default().is_machine_up = true);
}

/// Ends the process whose code runs, and unwinds.
pub fn die(death: Death) -> ! {
    end(crate::current(), death);
    panic_any(Ended)
}

/// Lets a process die when it has passed a place so many times; none is any place. The kind is counted when it happens.
pub fn arm(host: HostId, point: Option<&'static str>, passes: u64, kind: &'static str, death: Death) {
    with(|world| {
        if let Some(host) = world.hosts.get_mut(&host) {
            host.armed = Some((Armed { point, kind, death }, passes));
        }
    });
}

/// Whether a process is to die somewhere.
#[must_use]
pub fn is_armed(host: HostId) -> bool {
    with(|world| world.hosts.get(&host).is_some_and(|host| host.armed.is_some()))
}

/// A place at which a process can die, of the process whose code runs.
pub fn point(name: &'static str) {
    let host = crate::current();
    if let Some(death) = strike(host, name) {
        end(host, death);
        panic_any(Ended)
    }
}

/// As [`point`], for a place that is outside of the process's own code: nothing unwinds. Whether it died.
pub(crate) fn point_outside(host: HostId, name: &'static str) -> bool {
    let death = strike(host, name);
    if let Some(death) = death {
        end(host, death);
        return true;
    }
    false
}

fn strike(host: HostId, name: &'static str) -> Option<Death> {
    with(|world| {
        let known = world.hosts.get_mut(&host)?;
        if !known.is_process_alive {
            return None;
        }
        let (armed, passes) = known.armed.as_mut()?;
        if armed.point.is_some_and(|point| point != name) {
            return None;
        }
        if *passes > 0 {
            *passes -= 1;
            return None;
        }
        let Armed { kind, death, .. } = armed.clone();
        known.armed = None;
        *world.strikes.entry(kind).or_default() += 1;
        let now = world.now_ms;
        world.trace.note(now, host, name, &[]);
        Some(death)
    })
}
