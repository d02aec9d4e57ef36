//! The kinds of faults. Each that never strikes in a batch of runs is a fault of this harness.

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A process is killed where it is.
    Kill(Whom),
    /// A machine loses its power.
    PowerLoss(Whom),
    /// All processes are killed at once.
    KillAll,
    /// A process dies at a place in its code.
    CrashAt(&'static str),
    /// The next sync of a log fails.
    FailedSync,
    /// Syncs take long.
    SlowSync(Whom),
    /// A bit of the log is another one after a power loss.
    BitFlip,
    /// The disk of a node is as it was some seconds ago.
    RolledBack,
    /// The disk of a node is empty.
    Wiped,
    /// A disk has little room, or none.
    Full(Fullness),
    /// The network is in two parts.
    Partition(Cut),
    /// Some links come and go.
    Flapping,
    /// Links are slow, or lose packets.
    Bad(Badness),
    /// Clients reach a node, and its answers do not reach them.
    HalfOpenClients,
    /// Clients do not reach the leader.
    NoWayToLeader,
    /// A process stands still.
    Pause(Whom),
    /// A wall clock jumps.
    ClockJump(Jump),
    /// The time of a node goes faster or slower than that of others.
    ClockRate,
    /// A node is added.
    Add,
    /// A node is removed.
    Remove(Whom),
    /// A node is removed, and another one added.
    Replace,
    /// Leadership is handed over again and again.
    TransferStorm,
    /// A node is sealed for a while.
    Seal(Whom),
    /// All nodes are sealed at once.
    SealAll,
    /// A node is away for so long that its log is purged by the others: it gets a snapshot.
    LeftBehind,
}

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    Leader,
    Anybody,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fullness {
    Low,
    Spent,
    /// Of all nodes.
    AllLow,
}

/// How the network is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cut {
    /// Into a minority and a majority.
    Halves,
    /// The leader is alone.
    LeaderAlone,
    /// What one node sends arrives nowhere.
    Mute,
    /// Nothing arrives at one node.
    Deaf,
    /// One link is cut in one direction.
    OneWay,
    /// Two parts see one node, and not each other.
    Bridge,
    /// Each node sees its neighbours only.
    Ring,
    /// Nobody sees anybody.
    Total,
}

/// What is wrong with links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Badness {
    Delay,
    Loss,
    /// Connections overtake each other.
    Jitter,
    /// The links of one node alone are slow.
    OneSlowNode,
}

/// Where a clock jumps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Jump {
    Forward,
    Back,
    /// Again and again.
    Strobe,
}

impl Kind {
    /// All kinds.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Kill(Whom::Leader),
            Self::Kill(Whom::Anybody),
            Self::PowerLoss(Whom::Leader),
            Self::PowerLoss(Whom::Anybody),
            Self::KillAll,
            Self::FailedSync,
            Self::SlowSync(Whom::Leader),
            Self::SlowSync(Whom::Anybody),
            Self::BitFlip,
            Self::RolledBack,
            Self::Wiped,
            Self::Full(Fullness::Low),
            Self::Full(Fullness::Spent),
            Self::Full(Fullness::AllLow),
            Self::Partition(Cut::Halves),
            Self::Partition(Cut::LeaderAlone),
            Self::Partition(Cut::Mute),
            Self::Partition(Cut::Deaf),
            Self::Partition(Cut::OneWay),
            Self::Partition(Cut::Bridge),
            Self::Partition(Cut::Ring),
            Self::Partition(Cut::Total),
            Self::Flapping,
            Self::Bad(Badness::Delay),
            Self::Bad(Badness::Loss),
            Self::Bad(Badness::Jitter),
            Self::Bad(Badness::OneSlowNode),
            Self::HalfOpenClients,
            Self::NoWayToLeader,
            Self::Pause(Whom::Leader),
            Self::Pause(Whom::Anybody),
            Self::ClockJump(Jump::Forward),
            Self::ClockJump(Jump::Back),
            Self::ClockJump(Jump::Strobe),
            Self::ClockRate,
            Self::Add,
            Self::Remove(Whom::Leader),
            Self::Remove(Whom::Anybody),
            Self::Replace,
            Self::TransferStorm,
            Self::Seal(Whom::Leader),
            Self::Seal(Whom::Anybody),
            Self::SealAll,
            Self::LeftBehind,
        ];
        all.extend(PLACES.map(Self::CrashAt));
        all
    }

    /// The kind of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is of nodes that need a snapshot. In such a run the log is short.
    pub(crate) fn is_of_snapshots(self) -> bool {
        matches!(self, Self::LeftBehind | Self::Replace | Self::Add)
            || matches!(self, Self::CrashAt(place) if place.starts_with(INSTALL))
    }

    /// Its name in tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kill(Whom::Leader) => "kill-leader",
            Self::Kill(Whom::Anybody) => "kill",
            Self::PowerLoss(Whom::Leader) => "power-loss-leader",
            Self::PowerLoss(Whom::Anybody) => "power-loss",
            Self::KillAll => "kill-all",
            Self::CrashAt(place) => place,
            Self::FailedSync => "failed-sync",
            Self::SlowSync(Whom::Leader) => "slow-sync-leader",
            Self::SlowSync(Whom::Anybody) => "slow-sync",
            Self::BitFlip => "bit-flip",
            Self::RolledBack => "rolled-back-disk",
            Self::Wiped => "wiped-disk",
            Self::Full(Fullness::Low) => "disk-low",
            Self::Full(Fullness::Spent) => "disk-spent",
            Self::Full(Fullness::AllLow) => "all-disks-low",
            Self::Partition(Cut::Halves) => "partition-halves",
            Self::Partition(Cut::LeaderAlone) => "partition-leader-alone",
            Self::Partition(Cut::Mute) => "partition-mute",
            Self::Partition(Cut::Deaf) => "partition-deaf",
            Self::Partition(Cut::OneWay) => "partition-one-way",
            Self::Partition(Cut::Bridge) => "partition-bridge",
            Self::Partition(Cut::Ring) => "partition-ring",
            Self::Partition(Cut::Total) => "partition-total",
            Self::Flapping => "flapping-links",
            Self::Bad(Badness::Delay) => "delay",
            Self::Bad(Badness::Loss) => "loss",
            Self::Bad(Badness::Jitter) => "jitter-reorder",
            Self::Bad(Badness::OneSlowNode) => "one-slow-node",
            Self::HalfOpenClients => "half-open-clients",
            Self::NoWayToLeader => "no-way-to-leader",
            Self::Pause(Whom::Leader) => "pause-leader",
            Self::Pause(Whom::Anybody) => "pause",
            Self::ClockJump(Jump::Forward) => "clock-forward",
            Self::ClockJump(Jump::Back) => "clock-back",
            Self::ClockJump(Jump::Strobe) => "clock-strobe",
            Self::ClockRate => "clock-rate",
            Self::Add => "add-node",
            Self::Remove(Whom::Leader) => "remove-leader",
            Self::Remove(Whom::Anybody) => "remove-node",
            Self::Replace => "replace-node",
            Self::TransferStorm => "transfer-storm",
            Self::Seal(Whom::Leader) => "seal-leader",
            Self::Seal(Whom::Anybody) => "seal",
            Self::SealAll => "seal-all",
            Self::LeftBehind => "left-behind",
        }
    }
}

/// Places at which a process can die. They are named in the simulated storage.
const PLACES: [&str; 18] = [
    "log: before an append",
    "log: after an append",
    "log: before the sync ends",
    "log: between sync and callback",
    "log: before a vote",
    TRUNCATION,
    "log: before a purge",
    "log: after a purge",
    "apply: before the bodies",
    "apply: between bodies and rows",
    "apply: after the rows",
    "flush: before the bodies",
    "flush: before the rows",
    "flush: after the rows",
    "install: before the bodies",
    "install: between bodies and rows",
    "install: before the switch",
    "install: after the switch",
];

/// How the names of places begin that are passed while a snapshot is installed.
pub(crate) const INSTALL: &str = "install:";
/// A leader that was cut off passes it, with what it took meanwhile.
pub(crate) const TRUNCATION: &str = "log: after a truncation";

/// What strikes by itself, in the course of other faults or of the work.
pub(crate) const BY_ITSELF: [&str; 11] = [
    "torn-write",
    "lost-unsynced-writes",
    "packet-loss",
    "duplicate-request",
    "snapshot-installed",
    "log-purged",
    "damaged-node-replaced",
    "sealed-node-asked",
    NAMESPACE_DELETED,
    KEYS_ROTATED,
    SHARES_REPLACED,
];
/// A new term of the keys was made, while other faults were at work.
pub(crate) const KEYS_ROTATED: &str = "keys-rotated";
/// New shares took the place of old ones, while other faults were at work.
pub(crate) const SHARES_REPLACED: &str = "shares-replaced";
/// A namespace went with all that it held, while other faults were at work.
pub(crate) const NAMESPACE_DELETED: &str = "namespace-deleted";
