//! From the last survivor of a cluster that lost its quorum to the first member of a new one, while the node does not run.

use std::path::{Path, PathBuf};

use aumbry_node::{Discontinuity, OfflineSeal, Quarantine, SealStatus, UnsealError};
use aumbry_raft::{RecoverError as RaftError, Remains, RemainsError, pki};
use aumbry_state::{Member, Status};
use aumbry_storage::{DataDir, StorageError};
use aumbry_types::{Clock as _, ClusterId, LogId, NodeId, SystemClock, SystemEntropy, WallTime};

use crate::config::{Config, ConfigError, Log};
use crate::lifecycle::MemberError;
use crate::restoring::certify;
use crate::telemetry;

/// A node that does not run, with its data directory locked.
pub struct Survivor {
    config: Config,
    data: DataDir,
    remains: Remains,
    seal: OfflineSeal,
}

/// What a survivor has.
pub struct Look {
    /// Its name in the configuration.
    pub name: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What it knows, with its whole log applied.
    pub status: Status,
    /// Its last entry.
    pub last: LogId,
    /// How many entries it has acknowledged and has no more; none if that cannot be told.
    pub forgotten: Option<u64>,
    /// Whether it needs no other member for a quorum, so that there is nothing to recover.
    pub is_quorum: bool,
    /// Its seal.
    pub seal: SealStatus,
    /// The wall clock of this machine.
    pub now: WallTime,
}

/// What came of it.
pub struct Recovered {
    /// The new cluster.
    pub cluster: ClusterId,
    /// The node, which keeps its id.
    pub node: NodeId,
    /// The old content of the data directory.
    pub set_aside: PathBuf,
}

/// Why a survivor was not looked at or recovered. Nothing is changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node runs.
    #[error(
        "the node of {path} is running: stop it first; as long as it runs, members that come back can still help it"
    )]
    Runs {
        /// Its data directory.
        path: PathBuf,
    },
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What it holds.
    #[error(transparent)]
    Remains(#[from] RemainsError),
    /// There is nothing to recover.
    #[error("node {0} is the only voter of its cluster and needs no other one: start it, and unseal it")]
    Whole(NodeId),
    /// Not enough shares.
    #[error("the shares were not shown yet: {have} of {need}")]
    Sealed {
        /// How many were right.
        have: u32,
        /// How many it takes.
        need: u32,
    },
    /// Keys and certificates, or the plan.
    #[error("the new cluster could not be made: {0}")]
    Make(String),
    /// The last steps.
    #[error(transparent)]
    Raft(#[from] RaftError),
}

impl From<MemberError> for RecoverError {
    fn from(error: MemberError) -> Self {
        Self::Make(error.to_string())
    }
}

impl Survivor {
    /// Reads the data directory that a configuration names, and locks it. Changes nothing.
    ///
    /// # Errors
    /// [`RecoverError`]
    pub fn open(config: &Path) -> Result<Self, RecoverError> {
        let config = Config::load(config)?;
        rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
        // What cannot go on says why before it ends the process; everything else is the caller's to tell.
        telemetry::start(&Log {
            format: config.log.format,
            level: "error".to_owned(),
        });
        let data = DataDir::open_existing(&config.data_dir).map_err(|error| match error {
            StorageError::Locked { .. } => RecoverError::Runs {
                path: config.data_dir.clone(),
            },
            other => other.into(),
        })?;
        let remains = Remains::open(&data)?;
        Ok(Self {
            config,
            data,
            remains,
            seal: OfflineSeal::default(),
        })
    }

    /// What it has.
    #[must_use]
    pub fn look(&self) -> Look {
        Look {
            name: self.config.name.clone(),
            data_dir: self.config.data_dir.clone(),
            cluster: self.remains.identity.cluster,
            status: self.remains.status.clone(),
            last: self.remains.last,
            forgotten: self.remains.forgotten,
            is_quorum: self.remains.is_quorum(),
            seal: self.seal.status(&*self.remains.view()),
            now: SystemClock.wall(),
        }
    }

    /// Takes one key share, and checks it against the seal in the survivor's own rows. True once there are enough.
    ///
    /// # Errors
    /// [`UnsealError`] says what is wrong with the share; those shown before still count.
    pub fn submit(&self, share: &[u8]) -> Result<bool, UnsealError> {
        self.seal.submit(&*self.remains.view(), share)
    }

    /// Makes it the first member of a new cluster, once enough shares were shown.
    ///
    /// # Errors
    /// [`RecoverError`]
    pub fn recover(self, quarantine: Quarantine) -> Result<Recovered, RecoverError> {
        let Self {
            config,
            data,
            remains,
            seal,
        } = self;
        let node = remains.identity.node;
        if remains.is_quorum() {
            return Err(RecoverError::Whole(node));
        }
        let status = seal.status(&*remains.view());
        if status.sealed {
            return Err(RecoverError::Sealed {
                have: status.progress,
                need: status.threshold,
            });
        }
        let cluster = ClusterId::make(&SystemEntropy);
        let key = remains.identity.key.duplicate();
        let spki = pki::public_key(&key).map_err(MemberError::from)?;
        let (identity, new) = certify(cluster, node, key, &spki)?;
        let what = Discontinuity {
            from: remains.identity.cluster,
            cluster,
            status: remains.status.clone(),
            last: remains.last,
            forgotten: remains.forgotten,
            quarantine,
        };
        let made = seal.make_entry(
            remains.view(),
            remains.next_leader(),
            &what,
            new,
            (&SystemClock, &SystemEntropy),
        );
        let entry = made.map_err(|failure| RecoverError::Make(failure.message))?;
        let member: Member = config.member(node, &spki);
        let set_aside = aumbry_raft::recover(&data, &remains, &member, &identity, entry)?;
        Ok(Recovered {
            cluster,
            node,
            set_aside,
        })
    }
}
