//! The scenarios: which faults, on which cluster, how often a round has them.

use super::bed::{Net, Shape};
use super::faults::Fault::{self, *};
use super::faults::Who::{Any, Follower, Leader};
use super::means::Need;
use crate::damage::Dice;

/// One scenario.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// How likely it is beside the others.
    pub(crate) weight: u64,
    /// Its faults. They come in turn, from any of them on; several at a time are any.
    faults: &'static [Fault],
    /// How often it strikes.
    pub(crate) strikes: u64,
    /// How many faults are at work at the same time, at most.
    pub(crate) together: u64,
    /// How many clients ask.
    pub(crate) clients: u64,
    /// How many bytes values are padded to, at most.
    pub(crate) pad: usize,
    net: Net,
    has_disks: bool,
    has_syncs: bool,
    has_clocks: bool,
    /// Whether there are always five nodes.
    is_wide: bool,
}

impl Scenario {
    /// On loopback, with directories and the machine's clock.
    const fn plain(name: &'static str, weight: u64, strikes: u64, faults: &'static [Fault]) -> Self {
        Self {
            name,
            weight,
            faults,
            strikes,
            together: 1,
            clients: 6,
            pad: 2_000,
            net: Net::Loopback,
            has_disks: false,
            has_syncs: false,
            has_clocks: false,
            is_wide: false,
        }
    }

    const fn on(mut self, net: Net) -> Self {
        self.net = net;
        self
    }

    const fn with_disks(mut self) -> Self {
        self.has_disks = true;
        self
    }

    const fn with_syncs(mut self) -> Self {
        self.has_syncs = true;
        self
    }

    const fn with_clocks(mut self) -> Self {
        self.has_clocks = true;
        self
    }

    const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    const fn padded(mut self, pad: usize) -> Self {
        self.pad = pad;
        self
    }

    const fn together(mut self, together: u64) -> Self {
        self.together = together;
        self
    }

    /// The cluster of a round.
    pub(crate) fn shape(&self, dice: &mut Dice) -> Shape {
        let many = dice.below(4) == 0;
        let place = ["/data/log/", "/data/audit/", "/data/state/"][dice.below(3) as usize];
        Shape {
            nodes: if self.is_wide || many { 5 } else { 3 },
            net: self.net,
            disks: self.has_disks.then_some(VOLUME_BYTES),
            syncs: self.has_syncs.then_some(place),
            has_clocks: self.has_clocks,
        }
    }

    /// The fault of a turn, of those that the nodes can be hit by.
    pub(crate) fn fault(&self, turn: u64, dice: &mut Dice, shape: Shape) -> Fault {
        let fitting: Vec<Fault> = self.faults.iter().copied().filter(|fault| fault.fits(shape)).collect();
        let count = fitting.len() as u64;
        let at = if self.together > 1 {
            dice.below(count)
        } else {
            turn % count
        };
        fitting[at as usize]
    }

    /// Where the turns of a round begin.
    pub(crate) fn first_turn(&self, dice: &mut Dice) -> u64 {
        dice.below(self.faults.len() as u64)
    }

    /// What it cannot do without.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let wants = [
            (self.net != Net::Loopback, Need::Namespaces),
            (self.has_disks, Need::Mounts),
            (self.has_disks || self.has_syncs, Need::Compiler),
            (self.has_clocks, Need::Faketime),
            (self.faults.iter().any(|fault| matches!(fault, Files(_))), Need::Limits),
            (
                self.faults.iter().any(|fault| matches!(fault, Memory(_))),
                Need::Cgroups,
            ),
        ];
        wants
            .into_iter()
            .filter_map(|(wants, need)| wants.then_some(need))
            .collect()
    }
}

/// The scenario of this name.
pub(crate) fn scenario_of(name: &str) -> Option<&'static Scenario> {
    SCENARIOS
        .iter()
        .chain([&PLANTED])
        .find(|scenario| scenario.name == name)
}

/// What no cluster can stand, and must be found out: it shows that the harness can fail, and is no part of the torture.
pub(crate) static PLANTED: Scenario = Scenario::plain("planted", 0, 1, &[RollBackAll]);

/// All scenarios.
pub(crate) static SCENARIOS: &[Scenario] = &[
    Scenario::plain("kills", 3, 4, &[Kill(Leader), KillAll, Kill(Follower), KillMajority]),
    Scenario::plain("pauses", 2, 2, &[Pause(Leader), Pause(Follower)]),
    Scenario::plain("restarts", 1, 2, &[RollingRestart, Transfers]),
    Scenario::plain("transfers", 1, 2, &[Transfers]),
    Scenario::plain("seals", 1, 2, &[SealOne, SealAll]),
    Scenario::plain("partitions", 3, 3, &[Isolate(Leader), Isolate(Follower), Flap]).on(Net::Spaces),
    Scenario::plain("splits", 2, 2, &[Split, Bridge]).on(Net::Spaces).wide(),
    Scenario::plain("one-way", 2, 2, &[Deaf, Mute]).on(Net::Spaces),
    Scenario::plain("half-open", 2, 3, &[StallFromLeader, StallToLeader, BreakLinks]).on(Net::Links),
    Scenario::plain("slow-links", 1, 2, &[SlowLinks]).on(Net::Links),
    Scenario::plain("power", 3, 2, &[PowerOne, PowerAll]).with_disks(),
    Scenario::plain("full-disks", 2, 3, &[Full(Leader), Full(Follower), FullAll]).with_disks(),
    Scenario::plain("failed-syncs", 2, 2, &[FailSync(Leader), FailSync(Follower)]).with_syncs(),
    Scenario::plain("slow-syncs", 2, 2, &[SlowSync(Leader), SlowSync(Follower)]).with_syncs(),
    Scenario::plain("clocks", 1, 2, &[ClocksApart, ClockStrobe]).with_clocks(),
    Scenario::plain("files", 1, 2, &[Files(Leader), Files(Follower)]),
    Scenario::plain("memory", 1, 2, &[Memory(Leader), Memory(Follower)]),
    Scenario::plain("torn-tails", 1, 3, &[TornTail, LostTail]),
    Scenario::plain("bit-flips", 2, 3, &[FlipBit]),
    Scenario::plain("rolled-back", 1, 1, &[RollBack]),
    Scenario::plain("wiped", 1, 2, &[Wipe]),
    Scenario::plain("members", 2, 4, &[Grow, RemoveLeader, Replace, Shrink]),
    Scenario::plain("laggards", 2, 2, &[Laggard]).padded(20_000),
    Scenario::plain("chaos", 3, 3, CHAOS_CUT)
        .on(Net::Spaces)
        .with_syncs()
        .with_clocks()
        .together(3),
    Scenario::plain("chaos-links", 2, 3, CHAOS_LINKS)
        .on(Net::Links)
        .with_syncs()
        .together(3),
    Scenario::plain("chaos-disks", 2, 3, CHAOS_DISKS)
        .on(Net::Spaces)
        .with_disks()
        .together(2),
];

/// What can be at work at the same time as anything else of this list.
const CHAOS_CUT: &[Fault] = &[
    Kill(Any),
    Kill(Leader),
    KillAll,
    Pause(Any),
    Pause(Leader),
    Isolate(Leader),
    Isolate(Any),
    Deaf,
    Mute,
    Flap,
    SlowSync(Any),
    ClocksApart,
    ClockStrobe,
    SealOne,
    Transfers,
];

const CHAOS_LINKS: &[Fault] = &[
    Kill(Any),
    Kill(Leader),
    Pause(Any),
    SlowLinks,
    SlowLinks,
    StallFromLeader,
    StallToLeader,
    BreakLinks,
    SlowSync(Any),
    Transfers,
];

const CHAOS_DISKS: &[Fault] = &[
    Kill(Any),
    PowerOne,
    PowerAll,
    Full(Any),
    Full(Leader),
    Pause(Any),
    Isolate(Leader),
    Isolate(Any),
    Flap,
];

/// A file that others use, so much is the rest: the log's files alone may take some hundred megabytes.
const VOLUME_BYTES: u64 = 1 << 30;
