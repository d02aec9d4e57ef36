//! What a run is to do.

use std::sync::Arc;
use std::time::Duration;

use aumbry_types::SecretBytes;
use clap::ValueEnum;

use crate::Error;

/// What is asked of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mix {
    /// Read one secret
    Read,
    /// Write one secret
    Write,
    /// 95 reads to 5 writes
    Mixed,
    /// List the directory of the keys; of Aumbry and etcd its first 1,000 names, of Vault all
    List,
    /// Create a token that lives for ten minutes
    Token,
    /// Log in with the role and secret id of --approle-file; each makes a token
    Login,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Aumbry, by gRPC
    Aumbry,
    /// A server with the HTTP API of Vault, KV version 2
    Vault,
    /// etcd, by its gRPC API, version 3
    Etcd,
}

/// How requests reach Aumbry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Channel {
    /// As programs with the SDK do
    Sdk,
    /// By HTTP/2 alone, as etcd is asked: the generator costs less
    Http2,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loop {
    /// So many are always in flight: the next is sent when one is answered.
    Closed,
    /// So many are sent in a second, whether earlier ones are answered or not.
    Open {
        /// Requests in a second.
        rate: f64,
    },
}

/// Whether writes to Aumbry can be tried again safely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idempotency {
    /// Each has a key, as the SDK gives it one.
    Keyed,
    /// None has.
    Plain,
}

/// A role to log in with. Its ids are never shown.
#[derive(Clone)]
pub struct Role {
    /// Where the method is mounted, without `auth/`.
    pub mount: String,
    /// The id of the role.
    pub role_id: String,
    /// The secret id, which must be good for as many logins as the run makes.
    pub secret_id: Arc<SecretBytes>,
}

impl core::fmt::Debug for Role {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Role")
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who is asked.
    pub target: Target,
    /// How Aumbry is reached.
    pub channel: Channel,
    /// Where. Connections are spread over all.
    pub addresses: Vec<String>,
    /// The authority of their certificates, PEM.
    pub ca_pem: Vec<u8>,
    /// What is asked.
    pub mix: Mix,
    /// When.
    pub pace: Loop,
    /// How many requests are in flight at most.
    pub concurrency: usize,
    /// Over how many connections; none is as many as suit the target.
    pub connections: Option<usize>,
    /// How long the part that counts lasts.
    pub duration: Duration,
    /// How long the part before it lasts.
    pub warmup: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// The directory of the keys; its first name is the mount.
    pub path: String,
    /// How many keys there are.
    pub keys: u64,
    /// How many bytes a secret has.
    pub value_size: usize,
    /// Whether writes have idempotency keys.
    pub idempotency: Idempotency,
    /// Who logs in, for [`Mix::Login`].
    pub role: Option<Role>,
    /// The processes whose work is counted.
    pub pids: Vec<u32>,
    /// Where the nodes' metrics are.
    pub metrics: Vec<String>,
}

impl Plan {
    /// Whether the settings fit together.
    ///
    /// # Errors
    /// [`Error::Setting`] says which does not, and what to give.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Setting(text));
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return wrong(format!("--concurrency is 1 to {CONCURRENCY_MAX}"));
        }
        if !(1..=KEYS_MAX).contains(&self.keys) {
            return wrong(format!("--keys is 1 to {KEYS_MAX}"));
        }
        if !(VALUE_MIN..=VALUE_MAX).contains(&self.value_size) {
            return wrong(format!("--value-size is {VALUE_MIN} to {VALUE_MAX} bytes"));
        }
        if let Loop::Open { rate } = self.pace
            && !(rate > 0.0 && rate <= RATE_MAX)
        {
            return wrong(format!(
                "--rate is more than 0 and at most {RATE_MAX} requests a second"
            ));
        }
        if let Some(connections) = self.connections {
            if !(1..=self.concurrency).contains(&connections) {
                return wrong("--connections is 1 to --concurrency: more would never be used".to_owned());
            }
            if self.target == Target::Vault && connections != self.concurrency {
                return wrong(
                    "with --target vault each connection carries one request at a time: leave --connections out"
                        .to_owned(),
                );
            }
        }
        if self.target == Target::Etcd && matches!(self.mix, Mix::Token | Mix::Login) {
            return wrong("etcd has no tokens of this kind: choose --mix read, write, mixed or list".to_owned());
        }
        if self.mix == Mix::Login && self.role.is_none() {
            return wrong(
                "--mix login takes --approle-file: a file with {\"role_id\": \"..\", \"secret_id\": \"..\"}".to_owned(),
            );
        }
        if let Some(role) = &self.role
            && ![role.mount.as_bytes(), role.role_id.as_bytes(), role.secret_id.expose()]
                .iter()
                .all(|part| is_plain(part))
        {
            return wrong(
                "mount, role_id and secret_id of --approle-file are of letters, digits, '-', '_', '.' and '/'"
                    .to_owned(),
            );
        }
        if self.addresses.is_empty() {
            return wrong("name the servers with --address".to_owned());
        }
        let is_name = |name: &str| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        if self.path.len() > PATH_MAX || !self.path.contains('/') || !self.path.split('/').all(is_name) {
            return wrong(
                "--path is a mount and a directory of letters, digits, '-', '_' and '.', such as secret/bench"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Over how many connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        let most = match self.target {
            Target::Vault => self.concurrency,
            Target::Aumbry | Target::Etcd => CONNECTIONS_DEFAULT,
        };
        self.connections.unwrap_or_else(|| self.concurrency.min(most))
    }
}

/// Whether a text needs no escape, in JSON and in a path.
fn is_plain(text: &[u8]) -> bool {
    let is_of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    (1..=PATH_MAX).contains(&text.len()) && text.iter().all(is_of_name)
}

/// Each holds a task and a request in memory.
const CONCURRENCY_MAX: usize = 10_000;
/// The digits of a key's name.
const KEYS_MAX: u64 = 10_000_000;
/// `{"value":"x"}` and a little.
const VALUE_MIN: usize = 16;
/// What Aumbry takes at most.
const VALUE_MAX: usize = 1 << 20;
/// More than one thread can send.
const RATE_MAX: f64 = 1e6;
/// One HTTP/2 connection is served by one task at the server; eight are enough to keep two cores busy.
const CONNECTIONS_DEFAULT: usize = 8;
const PATH_MAX: usize = 200;
