//! How much room a simulated disk has: as much as the world says.

use std::path::Path;

use aumbry_sim_world::disk;
use aumbry_state::Room;

use crate::DataDir;

/// The room of the node's disk.
#[derive(Debug)]
pub struct Space;

impl Space {
    /// The disk of the host whose code runs.
    #[must_use]
    pub const fn new(_: &DataDir, _: u64) -> Self {
        Self
    }

    /// What it amounts to.
    #[must_use]
    pub fn room(&self) -> Room {
        match disk::room() {
            0 => Room::Ample,
            1 => Room::Low,
            _ => Room::Spent,
        }
    }

    /// Whether a copy of everything in these directories could be written.
    #[must_use]
    pub fn holds_a_copy(&self, _: &[&Path]) -> bool {
        self.room() != Room::Spent
    }

    /// Whether so many bytes could be written.
    #[must_use]
    pub fn holds(&self, _: u64) -> bool {
        self.room() != Room::Spent
    }
}
