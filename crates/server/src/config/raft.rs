//! Times and sizes of consensus.

use serde::Deserialize;

/// How far the nodes are from each other. It gives the times that the configuration does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// In one place: a round trip takes a few milliseconds at most.
    #[default]
    Lan,
    /// In distant places: a round trip takes about 80 ms, and a packet is lost now and then.
    Wan,
}

impl Profile {
    /// Its name in a configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }

    const fn times(self) -> Times {
        match self {
            Self::Lan => LAN,
            Self::Wan => WAN,
        }
    }
}

/// Times and sizes of consensus. The times must be the same on all nodes.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Written")]
pub struct Raft {
    /// How far the nodes are from each other.
    pub profile: Profile,
    /// How often a leader is heard, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a node campaigns, in milliseconds.
    pub election_min_ms: u64,
    /// The longest one, and the leader's lease for writes, in milliseconds. What peers are asked for is waited for by the measure of it.
    pub election_max_ms: u64,
    /// After how many bytes of log a snapshot is taken.
    pub snapshot_log_bytes: u64,
}

impl Default for Raft {
    fn default() -> Self {
        Written::default().into()
    }
}

impl Raft {
    /// The profile and the times, for people.
    pub(crate) fn summary(&self) -> String {
        let Self {
            heartbeat_ms,
            election_min_ms,
            election_max_ms,
            ..
        } = self;
        let profile = self.profile.name();
        format!("{profile}: heartbeat {heartbeat_ms} ms, elections {election_min_ms} to {election_max_ms} ms")
    }
}

impl From<Written> for Raft {
    fn from(written: Written) -> Self {
        let times = written.profile.times();
        Self {
            profile: written.profile,
            heartbeat_ms: written.heartbeat_ms.unwrap_or(times.heartbeat_ms),
            election_min_ms: written.election_min_ms.unwrap_or(times.election_min_ms),
            election_max_ms: written.election_max_ms.unwrap_or(times.election_max_ms),
            snapshot_log_bytes: written.snapshot_log_bytes.unwrap_or(SNAPSHOT_LOG_BYTES),
        }
    }
}

/// The section as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    profile: Profile,
    heartbeat_ms: Option<u64>,
    election_min_ms: Option<u64>,
    election_max_ms: Option<u64>,
    snapshot_log_bytes: Option<u64>,
}

struct Times {
    heartbeat_ms: u64,
    election_min_ms: u64,
    election_max_ms: u64,
}

/// An election is over in a second, and a disk that hangs for half of one costs no leader its place.
const LAN: Times = Times {
    heartbeat_ms: 100,
    election_min_ms: 300,
    election_max_ms: 600,
};
/// A heartbeat has three round trips' time, a vote has twelve. A packet that is lost and sent again twice (some 900 ms) is no silence.
const WAN: Times = Times {
    heartbeat_ms: 300,
    election_min_ms: 1_000,
    election_max_ms: 2_000,
};
const SNAPSHOT_LOG_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_gives_what_is_not_named() {
        let times = |text: &str| {
            let raft: Raft = toml::from_str(text).unwrap();
            (raft.heartbeat_ms, raft.election_min_ms, raft.election_max_ms)
        };
        assert_eq!(times(""), (100, 300, 600));
        assert_eq!(times("profile = \"lan\""), times(""));
        assert_eq!(times("profile = \"wan\""), (300, 1_000, 2_000));
        assert_eq!(times("profile = \"wan\"\nelection_max_ms = 3000"), (300, 1_000, 3_000));
        assert_eq!(times("election_max_ms = 3000\nheartbeat_ms = 50"), (50, 300, 3_000));
        let summary = toml::from_str::<Raft>("profile = \"wan\"\nheartbeat_ms = 400")
            .unwrap()
            .summary();
        assert_eq!(summary, "wan: heartbeat 400 ms, elections 1000 to 2000 ms");
        for bad in ["profile = \"moon\"", "profil = \"lan\"", "heartbeat_ms = \"1\""] {
            assert!(toml::from_str::<Raft>(bad).is_err(), "{bad}");
        }
    }
}
