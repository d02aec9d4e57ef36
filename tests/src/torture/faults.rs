//! The faults. Each is injected, and is counted once it was seen to strike; [`Round::heal`] ends them all.

mod disks;
mod members;
mod network;
mod processes;

use anyhow::Result;

use super::bed::{Net, Shape};
use super::round::Round;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL of one node.
    Kill(Who),
    /// SIGKILL of so many that no quorum is left, the leader among them.
    KillMajority,
    /// SIGKILL of all, in one moment.
    KillAll,
    /// SIGSTOP of one node, for some seconds.
    Pause(Who),
    /// Each node is stopped in good order and started again, one after the other.
    RollingRestart,
    /// Leadership is handed over again and again.
    Transfers,
    /// One node is sealed.
    SealOne,
    /// All are sealed, and unsealed in another order.
    SealAll,
    /// One node may open no more files.
    Files(Who),
    /// One node gets no more memory.
    Memory(Who),
    /// The clocks of the nodes are far apart.
    ClocksApart,
    /// A clock jumps to and fro.
    ClockStrobe,

    /// Nothing passes between one node and the others; clients reach it.
    Isolate(Who),
    /// Nothing passes between two parts, of which one has a quorum.
    Split,
    /// Two parts of which each reaches one node between them.
    Bridge,
    /// What the leader says is lost, and it hears the others.
    Deaf,
    /// What the others say to the leader is lost, and they hear it.
    Mute,
    /// Links fail and come back within milliseconds.
    Flap,
    /// All directions take 1 to 150 ms, with jitter.
    SlowLinks,
    /// What the leader says stays where it is; connections stay open.
    StallFromLeader,
    /// What the others say to the leader stays where it is; connections stay open.
    StallToLeader,
    /// All connections between nodes break.
    BreakLinks,

    /// The power of one node fails: what was not synced is gone.
    PowerOne,
    /// The power of all fails in one moment.
    PowerAll,
    /// The disk of one node is full, and then has room again.
    Full(Who),
    /// The disks of all are full, and then have room again.
    FullAll,
    /// One sync fails, and the next would succeed.
    FailSync(Who),
    /// Each sync takes 100 ms to 2 s longer.
    SlowSync(Who),
    /// The log of a node that was killed ends in what was half written.
    TornTail,
    /// The log of a node that was killed lacks its end, which was acknowledged.
    LostTail,
    /// One bit of a file of a node that was stopped is another.
    FlipBit,
    /// An old copy of the data of one node is put back.
    RollBack,
    /// An old copy of the data of all nodes is put back: a violation that is planted.
    RollBackAll,
    /// The data of one node are gone: it comes back by a join token, under another id.
    Wipe,

    /// A node joins.
    Grow,
    /// A node is removed.
    Shrink,
    /// The leader is removed.
    RemoveLeader,
    /// A node joins, and another is removed.
    Replace,
    /// A node is away until its log is purged everywhere: it needs a snapshot, and is killed while it gets it.
    Laggard,
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Who leads.
    Leader,
    /// One of the others.
    Follower,
    /// Any one.
    Any,
}

impl Fault {
    /// Whether nodes of this shape can be hit by it.
    pub(crate) fn fits(self, shape: Shape) -> bool {
        match self {
            Self::Isolate(_) | Self::Deaf | Self::Mute | Self::Flap => shape.net == Net::Spaces,
            Self::Split | Self::Bridge => shape.net == Net::Spaces && shape.nodes >= 5,
            Self::SlowLinks | Self::StallFromLeader | Self::StallToLeader | Self::BreakLinks => shape.net == Net::Links,
            Self::PowerOne | Self::PowerAll | Self::Full(_) | Self::FullAll => shape.disks.is_some(),
            Self::FailSync(_) | Self::SlowSync(_) => shape.syncs.is_some(),
            Self::ClocksApart | Self::ClockStrobe => shape.has_clocks,
            _ => true,
        }
    }

    pub(super) async fn strike(self, round: &mut Round) -> Result<()> {
        if !round.is_anybody_there() {
            round.note("no process runs any more: there is nobody to be hit");
            return Ok(());
        }
        match self {
            Self::Kill(who) => round.kill(who).await,
            Self::KillMajority => round.kill_majority().await,
            Self::KillAll => round.kill_all().await,
            Self::Pause(who) => round.pause(who).await,
            Self::RollingRestart => round.restart_each().await,
            Self::Transfers => round.transfers().await,
            Self::SealOne => round.seal_one().await,
            Self::SealAll => round.seal_all().await,
            Self::Files(who) => round.no_more_files(who).await,
            Self::Memory(who) => round.no_more_memory(who).await,
            Self::ClocksApart => round.clocks_apart().await,
            Self::ClockStrobe => round.clock_strobe().await,
            Self::Isolate(who) => round.isolate(who).await,
            Self::Split => round.split().await,
            Self::Bridge => round.bridge().await,
            Self::Deaf | Self::Mute => round.one_way(self).await,
            Self::Flap => round.flap().await,
            Self::SlowLinks => round.slow_links().await,
            Self::StallFromLeader | Self::StallToLeader => round.stall(self).await,
            Self::BreakLinks => round.break_links().await,
            Self::PowerOne => round.power_one().await,
            Self::PowerAll => round.power_all().await,
            Self::Full(who) => round.full(who).await,
            Self::FullAll => round.full_all().await,
            Self::FailSync(who) => round.fail_sync(who).await,
            Self::SlowSync(who) => round.slow_sync(who).await,
            Self::TornTail => round.torn_tail().await,
            Self::LostTail => round.lost_tail().await,
            Self::FlipBit => round.flip_bit().await,
            Self::RollBack => round.roll_back().await,
            Self::RollBackAll => round.roll_back_all().await,
            Self::Wipe => round.wipe().await,
            Self::Grow => round.grow().await,
            Self::Shrink => round.shrink().await,
            Self::RemoveLeader => round.remove_leader().await,
            Self::Replace => round.replace().await,
            Self::Laggard => round.laggard().await,
        }
    }
}
